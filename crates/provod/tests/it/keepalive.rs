//! Pings (RFC 6455 sections 5.5.2 and 5.5.3).

use std::time::Duration;

use provod::config::Keepalive;
use provod::{Config, Server};
use provod_testkit::peer::Frame;

use crate::peer::{Peer, binary, ping, raw, soon, text};
use crate::sending::connected;
use crate::servers::start;

fn pinging(interval: u64, timeout: u64) -> Config {
    let mut config = Config::default();
    let ms = Duration::from_millis;
    config.keepalive = Some(Keepalive::new(ms(interval), ms(timeout)));
    config
}

async fn expect_ping(peer: &mut Peer) -> Frame {
    let frame = peer.frame().await.expect("a Ping");
    assert_eq!(frame.opcode, 9, "{frame:?}");
    frame
}

fn pong(ping: &Frame) -> Vec<u8> {
    raw(10, ping.payload.clone()).to_bytes()
}

#[tokio::test]
async fn keepalive_pings_come_and_keep_a_peer_that_answers() {
    let (_running, mut peer, mut ws) = connected(pinging(10, 20_000)).await;
    for _ in 0..10 {
        let ping = expect_ping(&mut peer).await;
        peer.send(pong(&ping)).await;
    }
    peer.send(text("alive")).await;
    assert_eq!(soon(ws.recv()).await.unwrap().unwrap().as_text(), Some("alive"));
    assert!(ws.latency().is_some());
}

#[tokio::test]
async fn a_silent_peer_is_lost_after_a_ping() {
    let (running, mut peer, mut ws) = connected(pinging(20, 20)).await;
    let e = soon(ws.recv()).await.unwrap_err();
    assert!(e.is_timeout() && e.is_lost(), "{e}");
    assert_eq!(soon(ws.closed()).await.cause, provod::close::Cause::Silent);
    expect_ping(&mut peer).await;
    peer.gone().await;
    assert_eq!(running.stats().close_codes[&1006], 1);
}

#[tokio::test]
async fn any_bytes_are_a_sign_of_life() {
    let (_running, mut peer, mut ws) = connected(pinging(20, 1000)).await;
    // No Pong ever, but a message behind each of some Pings, over many deadlines.
    for n in 0..60 {
        expect_ping(&mut peer).await;
        if n % 5 == 0 {
            peer.send(text("x")).await;
            assert!(soon(ws.recv()).await.unwrap().is_some());
        }
    }
}

#[tokio::test]
async fn the_deadline_waits_while_the_application_does_not_take_what_came() {
    let (_running, mut peer, mut ws) = connected(pinging(20, 1000)).await;
    // More than the read-ahead: the Pongs behind it lie unread.
    let mut flood = binary(&vec![1; 100_000]);
    flood.extend(binary(b"end"));
    peer.send(flood).await;
    for _ in 0..60 {
        let ping = expect_ping(&mut peer).await;
        peer.send(pong(&ping)).await;
    }
    assert_eq!(soon(ws.recv()).await.unwrap().unwrap().len(), 100_000);
    assert_eq!(soon(ws.recv()).await.unwrap().unwrap().as_bytes(), b"end");
}

#[tokio::test]
async fn ping_measures_the_way_there_and_back() {
    let (_running, mut peer, ws) = connected(Config::default()).await;
    assert_eq!(ws.latency(), None);
    let sender = ws.sender();
    let mut measured = tokio::spawn(async move { sender.ping().await });
    let ping = expect_ping(&mut peer).await;
    // What was not asked is no answer.
    peer.send([raw(10, "").to_bytes(), raw(10, "12345678").to_bytes(), text("x")].concat()).await;
    let mut ws = ws;
    soon(ws.recv()).await.unwrap();
    assert!(tokio::time::timeout(Duration::ZERO, &mut measured).await.is_err());
    peer.send(pong(&ping)).await;
    let rtt = soon(measured).await.unwrap().unwrap();
    assert_eq!(ws.latency(), Some(rtt));
}

#[tokio::test]
async fn rfc6455_5_5_3_a_pong_to_the_newest_ping_answers_the_older_ones() {
    let (_running, mut peer, ws) = connected(Config::default()).await;
    let mut waiting = Vec::new();
    for _ in 0..40 {
        let sender = ws.sender();
        waiting.push(tokio::spawn(async move { sender.ping().await }));
    }
    let mut newest = None;
    for _ in 0..40 {
        newest = Some(expect_ping(&mut peer).await);
    }
    peer.send(pong(&newest.unwrap())).await;
    for task in waiting {
        soon(task).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn forty_pings_at_once_are_all_answered() {
    let (_running, mut peer, ws) = connected(Config::default()).await;
    let mut waiting = Vec::new();
    for _ in 0..40 {
        let sender = ws.sender();
        waiting.push(tokio::spawn(async move { sender.ping().await }));
    }
    let mut pongs = Vec::new();
    for _ in 0..40 {
        pongs.extend(pong(&expect_ping(&mut peer).await));
    }
    peer.send(pongs).await;
    for task in waiting {
        soon(task).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_ping_that_cannot_be_answered_any_more_ends() {
    let mut config = Config::default();
    config.close_timeout = Duration::from_secs(3600);
    let (_running, mut peer, ws) = connected(config).await;
    let sender = ws.sender();
    let waiting = tokio::spawn(async move { sender.ping().await });
    expect_ping(&mut peer).await;
    // Nobody takes the end of the stream, which holds up the end of the connection, not of the
    // Ping.
    peer.finish().await;
    assert!(soon(waiting).await.unwrap().is_err());
}

#[tokio::test]
async fn every_ping_of_a_burst_is_answered_in_order_to_a_peer_that_reads() {
    let (_running, address) = start(Server::new()).await;
    let mut peer = Peer::open(address).await;
    let burst: Vec<u8> = (0..1000).flat_map(|n| ping(&n.to_string())).collect();
    peer.send(&burst).await;
    for n in 0..1000 {
        let frame = soon(peer.frame()).await.expect("a Pong");
        assert_eq!((frame.opcode, frame.payload), (10, n.to_string().into_bytes()));
    }
    peer.bye().await;
}
