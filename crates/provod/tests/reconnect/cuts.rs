//! The connection is cut at every byte of a conversation, both ways, and what the client says of
//! each message is compared with what the server has really read. Time is virtual.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use provod::config::DeflateConfig;
use provod::reconnect::{Backoff, Delivery, Ended, Event};
use provod::{Client, Config, Message, Server};
use provod_testkit::emulator::{Faults, Stream, duplex};

/// What the servers have read, over all connections, in order.
type Record = Arc<Mutex<Vec<Message>>>;

#[derive(Debug, Clone)]
struct Case {
    to_server: Faults,
    to_client: Faults,
    compressed: bool,
    resend: bool,
    /// No second attempt is made.
    once: bool,
    /// Messages of many reads, writes and frames.
    long: bool,
}

impl Case {
    fn plain() -> Self {
        let (to_server, to_client) = (Faults::none(), Faults::none());
        Self { to_server, to_client, compressed: false, resend: false, once: false, long: false }
    }
}

fn messages(long: bool) -> Vec<Message> {
    if long {
        let byte = |n: u32| (n.wrapping_mul(0x9E37_79B9) >> 24) as u8;
        let message = |len: u32| (len..2 * len).map(byte).collect::<Vec<u8>>();
        return [300_000, 20_000, 100_000].map(|len| Message::binary(message(len))).into();
    }
    let long = "again and again ".repeat(4);
    vec![
        Message::text("first"),
        Message::binary(vec![1, 0, 2]),
        Message::text(format!("second {long}")),
        Message::text("третье"),
        Message::binary(""),
        Message::text("last"),
    ]
}

/// Reads and answers until the connection ends.
async fn serve(stream: Stream, compressed: bool, record: Record) {
    let mut config = Config::default();
    config.compression.threshold = 0;
    let mut server = Server::new().config(config);
    if compressed {
        server = server.compression(DeflateConfig::default());
    }
    let Ok(mut ws) = server.accept_over(stream).await else { return };
    let _ = ws.send("welcome").await;
    while let Ok(Some(message)) = ws.recv().await {
        record.lock().unwrap().push(message.clone());
        let _ = ws.send(message).await;
    }
}

fn client(compressed: bool) -> Client {
    let mut config = Config::default();
    config.compression.threshold = 0;
    let client = Client::new("ws://localhost/").config(config);
    if compressed { client.compression(DeflateConfig::default()) } else { client }
}

struct Outcome {
    deliveries: Vec<(Message, Delivery)>,
    received: Vec<Message>,
    attempts: u32,
    ended: Ended,
}

async fn converse(case: &Case) -> Outcome {
    let record = Record::default();
    let attempts = Arc::new(AtomicU32::new(0));
    let servers = Arc::new(Mutex::new(Vec::new()));
    let mut backoff = Backoff::default();
    backoff.attempts = case.once.then_some(1);
    let (dialed, spawned, recorded, made) =
        (attempts.clone(), servers.clone(), record.clone(), case.clone());
    let mut ws = Client::new("ws://localhost/")
        .reconnecting()
        .backoff(backoff)
        .resend_in_doubt(case.resend)
        .connect_with(move |attempt| {
            dialed.fetch_add(1, Relaxed);
            let (near, far) = match attempt.lost {
                None => duplex(made.to_server.clone(), made.to_client.clone()),
                Some(_) => duplex(Faults::none(), Faults::none()),
            };
            let serving = tokio::spawn(serve(far, made.compressed, recorded.clone()));
            spawned.lock().unwrap().push(serving);
            let client = client(made.compressed);
            async move { Ok(client.connect_over(near).await?) }
        })
        .start()
        .unwrap();
    let sender = ws.sender();
    let reading = tokio::spawn(async move {
        while let Some(event) = ws.next_event().await {
            if let Event::Closed(_) = event {
                break;
            }
        }
        ws.ended().unwrap()
    });

    let mut deliveries = Vec::new();
    // Some at once, and some when it is known what became of those.
    for group in messages(case.long).chunks(3) {
        let mut receipts = Vec::new();
        for message in group {
            receipts.push((message.clone(), sender.send(message.clone()).await));
        }
        for (message, receipt) in receipts {
            let delivery = match receipt {
                Ok(receipt) => receipt.await,
                Err(refused) => Delivery::NotSent(refused.into_message()),
            };
            deliveries.push((message, delivery));
        }
    }
    sender.close(1000, "").unwrap();
    let ended = reading.await.unwrap();
    let servers = std::mem::take(&mut *servers.lock().unwrap());
    for server in servers {
        server.await.unwrap();
    }
    let received = std::mem::take(&mut *record.lock().unwrap());
    Outcome { deliveries, received, attempts: attempts.load(Relaxed), ended }
}

/// Runs a conversation and compares what was said of each message with what was read. Returns
/// whether the connection was not lost at all.
async fn check(case: &Case) -> bool {
    // What hangs is found: the clock runs on when nobody does anything.
    let hour = Duration::from_secs(3600);
    let outcome = tokio::time::timeout(hour, converse(case)).await;
    let outcome = outcome.unwrap_or_else(|_| panic!("it hangs: {case:?}"));
    let Outcome { deliveries, received, attempts, ended } = outcome;
    for (message, delivery) in &deliveries {
        let times = received.iter().filter(|m| *m == message).count();
        let good = match delivery {
            Delivery::Sent if case.resend => times >= 1,
            Delivery::Sent => times == 1,
            Delivery::NotSent(back) => times == 0 && back == message,
            Delivery::InDoubt(back) => (times <= 1 || case.resend) && back == message,
            _ => false,
        };
        assert!(good, "{message:.20?} is {delivery:.20?}, and was read {times} times: {case:?}");
    }
    if !case.once {
        let kept = |(_, d): &(_, Delivery)| !matches!(d, Delivery::NotSent(_));
        assert!(deliveries.iter().all(kept), "{deliveries:?}: {case:?}");
    }
    if case.resend && !case.once {
        assert!(deliveries.iter().all(|(_, d)| d.is_sent()), "{deliveries:?}: {case:?}");
    }
    // Nothing overtakes: without repetitions, what was read is in order.
    let order: Vec<_> = messages(case.long).into_iter().filter(|m| received.contains(m)).collect();
    if case.resend {
        let mut first = Vec::new();
        received.into_iter().for_each(|m| {
            if !first.contains(&m) {
                first.push(m)
            }
        });
        assert_eq!(first, order, "{case:?}");
    } else {
        assert_eq!(received, order, "{case:?}");
    }
    attempts == 1 && matches!(ended, Ended::Closed(Some(closed)) if closed.is_clean())
}

/// A fault at this offset of a direction.
type At = fn(Faults, u64) -> Faults;

/// Cuts one direction at every byte, in every way, until the cut lies behind the conversation.
async fn at_every_byte(to_server: bool, compressed: bool) {
    let cut: At = |faults, at| faults.cut(at);
    let half_close: At = |faults, at| faults.half_close(at);
    let bytewise: At = |faults, at| faults.short_writes(1..=1).cut(at);
    for (fault, kind) in [cut, half_close, bytewise].into_iter().zip(["cut", "half", "bytewise"]) {
        let modes = [(false, false), (true, false), (false, true)];
        let modes = if kind == "cut" { &modes[..] } else { &modes[..1] };
        for &(resend, once) in modes {
            for at in 0.. {
                assert!(at < 3000, "no cut is behind the conversation: {kind}");
                let mut case = Case { compressed, resend, once, ..Case::plain() };
                let faults = if to_server { &mut case.to_server } else { &mut case.to_client };
                *faults = fault(Faults::none(), at);
                if check(&case).await {
                    break;
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn cut_at_every_byte_to_the_server() {
    at_every_byte(true, false).await;
}

#[tokio::test(start_paused = true)]
async fn cut_at_every_byte_to_the_client() {
    at_every_byte(false, false).await;
}

#[tokio::test(start_paused = true)]
async fn cut_at_every_byte_to_the_server_compressed() {
    at_every_byte(true, true).await;
}

#[tokio::test(start_paused = true)]
async fn cut_at_every_byte_to_the_client_compressed() {
    at_every_byte(false, true).await;
}

/// The system takes what is written, and nothing of it arrives: the dangerous case for whoever
/// believes that written is sent.
#[tokio::test(start_paused = true)]
async fn a_network_that_swallows_at_every_byte() {
    for compressed in [false, true] {
        for to_server in [true, false] {
            for at in 0..700 {
                let mut case = Case { compressed, ..Case::plain() };
                let faults = if to_server { &mut case.to_server } else { &mut case.to_client };
                *faults = Faults::none().stall(at);
                check(&case).await;
            }
        }
    }
}

/// Little room on the way: messages wait half handed over.
#[tokio::test(start_paused = true)]
async fn a_rough_network_that_breaks() {
    for seed in 0..300 {
        let at = 150 + seed * 7 % 400;
        let to_server = Faults::rough(seed).cut(at);
        let to_client = Faults::rough(seed + 1);
        let (compressed, resend) = (seed % 2 == 0, seed % 3 == 0);
        check(&Case { to_server, to_client, compressed, resend, ..Case::plain() }).await;
    }
}

/// Messages that are cut into fragments and fill every buffer on their way.
#[tokio::test(start_paused = true)]
async fn long_messages_that_are_cut() {
    for compressed in [false, true] {
        for n in 0..10 {
            let mut case = Case { compressed, resend: n % 2 == 0, long: true, ..Case::plain() };
            let faults = if n % 4 < 3 { &mut case.to_server } else { &mut case.to_client };
            *faults = Faults::none().capacity(30_000).cut(200 + n * 44_443);
            check(&case).await;
        }
    }
}
