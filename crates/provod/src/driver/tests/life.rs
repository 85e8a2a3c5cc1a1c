//! Whole lives of connections: everything a handle can do, given up at any time, as a seed says.
//! What was sent is heard whole and in order, every connection ends, and nothing stays counted.

use std::time::Duration;

use futures_util::SinkExt;
use provod_proto::handshake::DeflateParams;
use provod_proto::{CloseCode, Message, MessageKind, Side};
use tokio::io::AsyncWriteExt as _;
use tokio::time::{sleep, timeout};

use super::script::open;
use crate::config::{Config, MemoryBudget};
use crate::group::{Group, SlowPolicy};
use crate::receiver::Receiver;
use crate::sender::Sender;

/// Longer than any life is, whatever is waited for: a hang and no wait.
const LIFE: Duration = Duration::from_secs(3600);

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) as usize % n
    }

    /// A moment, often none at all.
    fn moment(&mut self) -> Duration {
        Duration::from_millis([0, 0, 1, 5, 100][self.below(5)])
    }

    fn len(&mut self) -> usize {
        4 + match self.below(8) {
            0 => 0,
            1..=4 => self.below(200),
            5 | 6 => self.below(5000),
            _ => self.below(100_000),
        }
    }
}

/// Message `n` of sender `id`: nothing of another fits in.
fn said(id: u8, n: u16, len: usize) -> Vec<u8> {
    let mut bytes = vec![id ^ n as u8; len];
    bytes[0] = id;
    bytes[1..3].copy_from_slice(&n.to_be_bytes());
    bytes
}

/// The last message of each sender.
#[derive(Default)]
struct Heard([Option<u16>; 16]);

impl Heard {
    fn take(&mut self, bytes: &[u8]) {
        let (id, n) = (bytes[0], u16::from_be_bytes([bytes[1], bytes[2]]));
        assert!(bytes[3..].iter().all(|b| *b == id ^ n as u8), "torn");
        let last = self.0[usize::from(id)].replace(n);
        assert!(last.is_none_or(|last| last < n), "{last:?} was before {n}");
    }
}

async fn speaks(mut sender: Sender, id: u8, group: Group, mut random: Random) {
    for n in 0..60 {
        let (moment, bytes) = (random.moment(), said(id, n, random.len()));
        match random.below(10) {
            0 | 1 => drop(timeout(LIFE, sender.send(bytes)).await.expect("a send ends")),
            2 => drop(timeout(moment, sender.send(bytes)).await),
            3 => drop(sender.try_send(bytes)),
            4 => drop(timeout(moment, sender.feed(Message::binary(bytes))).await),
            5 => drop(timeout(moment, SinkExt::<Message>::flush(&mut sender)).await),
            6 => {
                let writes = write(&sender, bytes, &mut random);
                drop(timeout(LIFE, writes).await.expect("a streamed message ends"));
            }
            // What waits for room may be passed by what is sent.
            7 => drop(group.publish(said(id + 4, n, bytes.len()))),
            8 => drop(timeout(moment, sender.ping()).await),
            _ => drop(timeout(moment, sender.drained()).await),
        }
        sleep(random.moment()).await;
    }
}

async fn write(
    sender: &Sender,
    bytes: Vec<u8>,
    random: &mut Random,
) -> Result<(), crate::BoxError> {
    let mut writer = sender.send_writer(MessageKind::Binary).await?;
    let moment = random.moment();
    match random.below(6) {
        0 => return Ok(()),
        1 => {
            writer.write_all(&bytes[..bytes.len().min(1000)]).await?;
            return Ok(());
        }
        _ => {}
    }
    for piece in bytes.chunks(1 + random.below(20_000)) {
        writer.write_all(piece).await?;
        if random.below(4) == 0 {
            let _ = timeout(moment, writer.flush()).await;
        }
    }
    Ok(writer.finish().await?)
}

async fn hears(mut receiver: Receiver, mut random: Random) {
    let mut heard = Heard::default();
    let turns = random.below(300);
    for _ in 0..turns {
        match random.below(8) {
            // Perhaps nobody says anything any more.
            0..=2 => match timeout(Duration::from_secs(100), receiver.recv()).await {
                Ok(Ok(Some(message))) => heard.take(message.as_bytes()),
                _ => break,
            },
            3 => {
                if let Ok(Ok(Some(message))) = timeout(random.moment(), receiver.recv()).await {
                    heard.take(message.as_bytes());
                }
            }
            4 | 5 => {
                let (moment, most) = (random.moment(), random.below(5));
                let Ok(Ok(Some(mut reader))) = timeout(moment, receiver.recv_reader()).await else {
                    continue;
                };
                let mut all = Vec::new();
                let mut whole = false;
                for _ in 0..most {
                    match timeout(moment, reader.chunk()).await {
                        Ok(Ok(Some(bytes))) => all.extend(bytes),
                        Ok(Ok(None)) => {
                            whole = true;
                            break;
                        }
                        _ => {}
                    }
                }
                if whole {
                    heard.take(&all);
                }
            }
            6 => drop(timeout(random.moment(), receiver.closed()).await),
            _ => sleep(random.moment()).await,
        }
    }
    match random.below(3) {
        0 => drop(receiver),
        1 => {
            receiver.sender().close(CloseCode::NORMAL, "").unwrap();
            while let Ok(Some(_)) = timeout(LIFE, receiver.recv()).await.expect("it ends") {}
        }
        _ => {
            receiver.sender().close(CloseCode::NORMAL, "").unwrap();
            timeout(LIFE, receiver.closed()).await.expect("it ends");
        }
    }
}

async fn live(seed: u64) {
    let mut random = Random(seed);
    let params = DeflateParams {
        server_no_context_takeover: random.below(2) == 0,
        client_no_context_takeover: random.below(2) == 0,
        server_max_window_bits: 10,
        client_max_window_bits: 15,
    };
    let deflate = (random.below(2) == 0).then_some(params);
    let budget = MemoryBudget::new([1 << 30, 50_000][random.below(2)]);
    let mut config = Config::default();
    config.compression.threshold = 100;
    config.high_water = [1, 1000, 64 << 10][random.below(3)];
    config.hard_limit = [1000, 1 << 20][random.below(2)];
    config.read_ahead = [0, 1000, 64 << 10][random.below(3)];
    let (near, far) = tokio::io::duplex([64, 4096, 64 << 10][random.below(3)]);
    let client = open(Side::Client, config.clone(), deflate, near);
    let server = open(Side::Server, config, deflate, far);
    let group = Group::new();
    let mut tasks = Vec::new();
    for (side, ws) in [client, server].into_iter().enumerate() {
        budget.watch(&ws.sender.shared);
        let policies =
            [SlowPolicy::Close, SlowPolicy::DropNewest, SlowPolicy::DropOldest, SlowPolicy::Latest];
        let member = group.join(&ws.sender(), policies[random.below(4)]);
        let (sender, receiver) = ws.split();
        for n in 0..3 {
            // What the group says to both ends is said by this sender alone.
            let (id, random) = ((side * 8 + n) as u8, Random(random.0 ^ (id(side, n) << 32)));
            let group = if n == 0 { group.clone() } else { Group::new() };
            tasks.push(tokio::spawn(speaks(sender.clone(), id, group, random)));
        }
        tasks.push(tokio::spawn(hears(receiver, Random(random.0 ^ (id(side, 7) << 32)))));
        tasks.push(tokio::spawn(async move {
            timeout(LIFE, sender.closed()).await.expect("it ends");
            drop(member);
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    // Drivers end in tasks of their own.
    let let_go = async {
        while (budget.used(), group.len()) != (0, 0) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LIFE, let_go).await.expect("nothing stays counted, and nobody in the group");
}

fn id(side: usize, n: usize) -> u64 {
    (side * 8 + n + 1) as u64
}

#[test]
fn whatever_is_given_up_all_is_whole_and_in_order_and_let_go() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap()
    };
    for seed in 0..60 {
        runtime().block_on(live(seed));
    }
}
