//! Peers that send more than one turn should handle, and their neighbours.

use std::sync::{Arc, Mutex};

use provod::config::DeflateConfig;
use provod::handler::{Received, Socket};
use provod::{Config, Handler, Server};
use provod_proto::deflate::{Level, Pool, compress_once};

use crate::peer::{Peer, close, open_with, ping, raw, text, until};
use crate::servers::{Echo, call, patient};

const DEFLATE: [&str; 1] = ["Sec-WebSocket-Extensions: permessage-deflate"];

/// Writes down whose messages come, by their first byte.
#[derive(Clone, Default)]
struct Order(Arc<Mutex<Vec<u8>>>);

impl Handler for Order {
    type Peer = ();

    fn open(&self, _: &mut Socket<'_>, (): ()) {}

    fn message(&self, _: &mut Socket<'_>, (): &mut (), message: Received<'_>) {
        self.0.lock().unwrap().push(message.as_bytes()[0]);
    }
}

/// Sends a flood and the mark of its end, and messages of neighbours right before and behind it.
/// Returns how much of the flood was handled before the last neighbour, and how much there was.
///
/// A socket takes some 40 KB at once, and more must not come: the worker would have its turn.
async fn flood(wire: Vec<u8>, last: Vec<u8>) -> (usize, usize) {
    let order = Order::default();
    let server = Server::new().config(patient()).compression(DeflateConfig::default());
    let (_running, address) = call(server, order.clone()).await;
    let (mut flooding, _) = open_with(address, "/", &DEFLATE).await;
    let (mut one, mut other) = (Peer::open(address).await, Peer::open(address).await);
    // The worker has seen all there was of each.
    for peer in [&mut one, &mut flooding, &mut other] {
        peer.send(text("x")).await;
    }
    until(|| order.0.lock().unwrap().len() == 3).await;
    order.0.lock().unwrap().clear();
    // All is there when the worker, on this very thread, has its next turn: whether it begins with
    // the first or with the last, a neighbour is behind the flood.
    one.send(text("n")).await;
    flooding.send(wire).await;
    other.send(text("n")).await;
    flooding.send(last).await;
    let count = |who| order.0.lock().unwrap().iter().filter(|other| **other == who).count();
    until(|| (count(b'n'), count(b'e')) == (2, 1)).await;
    let order = order.0.lock().unwrap();
    let at = order.iter().rposition(|who| *who == b'n').expect("it was handled");
    (at - 1, order.len() - 3)
}

/// A frame whose message inflates to `len` bytes.
fn shrunk(opcode: u8, len: usize) -> Vec<u8> {
    let payload = compress_once(&vec![b'f'; len], 15, Level::default(), &Pool::new(1));
    raw(opcode, payload).rsv1(true).to_bytes()
}

#[tokio::test]
async fn a_neighbour_of_one_whose_input_inflates_a_thousandfold_has_its_turn() {
    let (before, all) = flood(shrunk(2, 1 << 20).repeat(30), text("e")).await;
    assert_eq!(all, 30);
    assert!(before <= 2, "{before} MiB in one turn");
    // Messages whose inflating needs no second step, too.
    let (before, all) = flood(shrunk(2, 60 << 10).repeat(150), text("e")).await;
    assert_eq!(all, 150);
    assert!(before <= 2 * (1 << 20) / (60 << 10), "{before} of 60 KiB in one turn");
}

#[tokio::test]
async fn fragments_that_inflate_are_counted_before_their_message_is_whole() {
    // Each inflates to 60,000 bytes, the message to 6,000,000.
    let payload = compress_once(&vec![b'f'; 60_000], 15, Level::default(), &Pool::new(1));
    let piece = [&payload[..], &[0, 0, 0xff, 0xff]].concat();
    let mut wire = text("f");
    wire.extend(raw(2, &piece[..]).rsv1(true).fin(false).to_bytes());
    for _ in 0..98 {
        wire.extend(raw(0, &piece[..]).fin(false).to_bytes());
    }
    wire.extend(raw(0, payload).to_bytes());
    let (before, all) = flood(wire, text("e")).await;
    assert_eq!((before, all), (1, 2), "the neighbour waited for 6 MB");
}

#[tokio::test]
async fn a_neighbour_of_one_who_sends_thousands_of_frames_has_its_turn() {
    for frame in [text("f"), [ping(""), text("f")].concat()] {
        let (before, all) = flood(frame.repeat(2900), text("e")).await;
        assert_eq!(all, 2900);
        assert!(before < 1500, "{before} messages in one turn");
    }
    let pings = [text("f"), ping("").repeat(6000), text("f")].concat();
    let (before, all) = flood(pings, text("e")).await;
    assert_eq!((before, all), (1, 2), "the neighbour waited for 6,000 Pings");
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
    assert_eq!(order.0.lock().unwrap().len(), 5000);
}
