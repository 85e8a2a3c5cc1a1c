//! Peers that send more than one turn should handle, and their neighbours.

use std::sync::{Arc, Mutex};

use provod::config::DeflateConfig;
use provod::handler::{Received, Socket};
use provod::{Config, Handler, Server};
use provod_proto::deflate::{Level, Pool, compress_once};

use crate::peer::{Peer, close, open_with, ping, raw, text, until};
use crate::servers::{Echo, call, patient};

const DEFLATE: [&str; 1] = ["Sec-WebSocket-Extensions: permessage-deflate"];

/// Writes down the first bytes of what comes. Behind the first of a flood, `f`, somebody else wants
/// to run on the same thread, and writes down an `n` when he does.
#[derive(Clone, Default)]
struct Order(Arc<Mutex<Vec<u8>>>);

impl Handler for Order {
    type Peer = ();

    fn open(&self, _: &mut Socket<'_>, (): ()) {}

    fn message(&self, _: &mut Socket<'_>, (): &mut (), message: Received<'_>) {
        let mut order = self.0.lock().unwrap();
        let first = message.as_bytes()[0];
        if first == b'f' && !order.contains(&first) {
            let order = self.0.clone();
            tokio::spawn(async move { order.lock().unwrap().push(b'n') });
        }
        order.push(first);
    }
}

/// Sends a flood, of which a worker must not handle all before others on its thread may run.
/// Returns how much of it was handled before, and how much there was.
async fn flood(wire: Vec<u8>) -> (usize, usize) {
    let order = Order::default();
    let server = Server::new().config(patient()).compression(DeflateConfig::default());
    let (_running, address) = call(server, order.clone()).await;
    let (mut peer, _) = open_with(address, "/", &DEFLATE).await;
    peer.send(wire).await;
    peer.send(text("e")).await;
    until(|| order.0.lock().unwrap().ends_with(b"e")).await;
    let order = order.0.lock().unwrap();
    let at = order.iter().position(|who| *who == b'n').expect("it ran");
    (at, order.len() - 2)
}

/// A frame whose message inflates to `len` bytes.
fn shrunk(opcode: u8, len: usize) -> Vec<u8> {
    let payload = compress_once(&vec![b'f'; len], 15, Level::default(), &Pool::new(1));
    raw(opcode, payload).rsv1(true).to_bytes()
}

#[tokio::test]
async fn input_that_inflates_a_thousandfold_takes_many_turns() {
    let (before, all) = flood(shrunk(2, 1 << 20).repeat(30)).await;
    assert_eq!(all, 30);
    assert!(before <= 8, "{before} MiB at once");
    // Messages whose inflating needs no second step, too.
    let (before, all) = flood(shrunk(2, 60 << 10).repeat(300)).await;
    assert_eq!(all, 300);
    assert!(before <= 8 * (1 << 20) / (60 << 10), "{before} times 60 KiB at once");
}

#[tokio::test]
async fn fragments_that_inflate_are_counted_before_their_message_is_whole() {
    // Each inflates to 60,000 bytes, the message to 12,000,000.
    let payload = compress_once(&vec![b'f'; 60_000], 15, Level::default(), &Pool::new(1));
    let piece = [&payload[..], &[0, 0, 0xff, 0xff]].concat();
    let mut wire = text("f");
    wire.extend(raw(2, &piece[..]).rsv1(true).fin(false).to_bytes());
    for _ in 0..198 {
        wire.extend(raw(0, &piece[..]).fin(false).to_bytes());
    }
    wire.extend(raw(0, payload).to_bytes());
    assert_eq!(flood(wire).await, (1, 2), "12 MB at once");
}

#[tokio::test]
async fn thousands_of_frames_take_many_turns() {
    for frame in [text("f"), [ping(""), text("f")].concat()] {
        let (before, all) = flood(frame.repeat(10_000)).await;
        assert_eq!(all, 10_000);
        assert!(before <= 8 * 1024, "{before} messages at once");
    }
    let pings = [text("f"), ping("").repeat(10_000), text("f")].concat();
    assert_eq!(flood(pings).await, (1, 2), "10,000 Pings at once");
}

#[tokio::test]
async fn all_of_a_flood_is_answered_in_its_order_and_its_end_comes_last() {
    let wire: Vec<u8> = (0..10_000).flat_map(|n| text(&n.to_string())).collect();
    for closes in [true, false] {
        let (running, address) = call(Server::new().config(patient()), Echo).await;
        let mut peer = Peer::open(address).await;
        peer.send(wire.clone()).await;
        if closes {
            peer.send(close(4000)).await;
        }
        peer.finish().await;
        for n in 0..10_000 {
            peer.expect_text(&n.to_string()).await;
        }
        if closes {
            peer.expect_close(4000).await;
        }
        peer.gone().await;
        until(|| running.stats().open == 0).await;
    }
}

#[tokio::test]
async fn a_flood_behind_a_full_queue_waits_and_is_not_lost() {
    let mut config = patient();
    config.read_ahead = 1000;
    let (_running, address) = call(Server::new().config(config), Echo).await;
    let mut peer = crate::peer::open_narrow(address).await;
    let wire: Vec<u8> = (0..20_000).flat_map(|n| text(&format!("{n:100}"))).collect();
    let sent = wire.len();
    assert!(sent > 2 << 20);
    let (mut wire, mut n) = (&wire[..], 0);
    while n < 20_000 {
        let now = wire.len().min(50_000);
        let (some, rest) = wire.split_at(now);
        peer.send(some).await;
        wire = rest;
        let whole = (sent - wire.len()) / text(&format!("{n:100}")).len();
        while n < whole.saturating_sub(3000) || (wire.is_empty() && n < whole) {
            peer.expect_text(&format!("{n:100}")).await;
            n += 1;
        }
    }
}

#[tokio::test]
async fn a_flood_ends_with_its_connection() {
    // Nothing of what waits keeps a connection that was aborted, or whose peer broke the protocol.
    let order = Order::default();
    let (running, address) = call(Server::new().config(Config::default()), order.clone()).await;
    let mut peer = Peer::open(address).await;
    let wire = [text("f").repeat(5000), raw(3, "").to_bytes(), text("f").repeat(5000)].concat();
    peer.send(wire).await;
    peer.expect_close(1002).await;
    drop(peer);
    until(|| running.stats().open == 0).await;
    let heard = order.0.lock().unwrap().iter().filter(|who| **who == b'f').count();
    assert_eq!(heard, 5000);
}
