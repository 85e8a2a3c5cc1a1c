//! What ends it, and what does not.

use std::time::Duration;

use provod::reconnect::{Delivery, Ended, Event, Verdict};
use provod::{Client, CloseCode, Reconnecting};
use provod_testkit::peer::{Listener, Peer, close, raw, soon, text};

use crate::servers::{endless, quick, until, until_open, until_waiting};

fn start(server: &Listener) -> Reconnecting {
    Client::new(server.url()).reconnecting().backoff(endless()).start().unwrap()
}

async fn ended(ws: &mut Reconnecting) -> Ended {
    let ended = until(ws, |event| match event {
        Event::Closed(ended) => Some(ended.clone()),
        _ => None,
    })
    .await;
    assert!(soon(ws.next_event()).await.is_none() && soon(ws.recv()).await.is_none());
    assert_eq!(ws.ended().map(|e| e.to_string()), Some(ended.to_string()));
    ended
}

/// A Close with a reason.
fn close_with(code: u16, reason: &str) -> Vec<u8> {
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(reason.as_bytes());
    raw(8, payload).to_bytes()
}

#[tokio::test]
async fn codes_that_give_up() {
    for code in [1000, 1008, 4001] {
        let server = Listener::bind().await;
        let mut ws = start(&server);
        let mut peer = server.open().await;
        peer.send(close_with(code, "be\u{1b}cause")).await;
        let Ended::GaveUp(lost) = ended(&mut ws).await else { panic!("{code}") };
        assert_eq!(lost.code(), Some(CloseCode::from(code)));
        let line = format!("the server closed with {code}: be\\u{{1b}}cause");
        assert_eq!(lost.to_string(), line);
        let refused = ws.send("too late").await.unwrap_err();
        assert_eq!(refused.into_message(), "too late".into());
    }
}

#[tokio::test]
async fn codes_that_try_again() {
    for code in [1001, 1011, 1012] {
        let server = Listener::bind().await;
        let mut ws = Client::new(server.url()).reconnecting().backoff(quick()).start().unwrap();
        server.open().await.send(close(code)).await;
        until_open(&mut ws).await;
        until_waiting(&mut ws).await;
        let mut peer = server.open().await;
        until_open(&mut ws).await;
        peer.send(text("again")).await;
        assert_eq!(soon(ws.recv()).await, Some("again".into()));
    }
}

#[tokio::test]
async fn a_server_that_breaks_off_is_tried_again() {
    let server = Listener::bind().await;
    let mut ws = Client::new(server.url()).reconnecting().backoff(quick()).start().unwrap();
    // In front of its answer, in the middle of it, and behind it.
    drop(server.accept().await);
    let mut peer = server.accept().await;
    peer.request().await;
    peer.send("HTTP/1.1 101 Swit".to_owned()).await;
    drop(peer);
    drop(server.open().await);
    server.open().await.send(raw(11, "not an opcode")).await;
    let _peer = server.open().await;
    for _ in 0..3 {
        until_open(&mut ws).await;
    }
}

async fn answer(peer: &mut Peer, head: &str) {
    peer.request().await;
    peer.send(format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n")).await;
}

#[tokio::test]
async fn answers_of_http() {
    for (head, gives_up) in [
        ("401 Unauthorized", true),
        ("404 Not Found", true),
        ("301 Moved\r\nLocation: /", true),
        ("200 OK", true),
        ("502 Bad Gateway", false),
        ("408 Request Timeout", false),
    ] {
        let server = Listener::bind().await;
        let mut ws = start(&server);
        answer(&mut server.accept().await, head).await;
        if gives_up {
            let ended = ended(&mut ws).await;
            assert_eq!(ended.lost().unwrap().status().unwrap().to_string(), head[..3]);
        } else {
            until_waiting(&mut ws).await;
        }
    }
}

#[tokio::test]
async fn a_server_says_when_to_come_back() {
    for (head, least, most) in [
        ("503 Busy\r\nRetry-After: 7", 7, 1807),
        ("429 Slow Down\r\nRetry-After: 100000", 300, 2100),
        (
            "503 Busy\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
             Retry-After: Sun, 06 Nov 1994 08:50:07 GMT",
            30,
            1830,
        ),
        ("503 Busy", 1800, 3600),
    ] {
        let server = Listener::bind().await;
        let mut ws = start(&server);
        answer(&mut server.accept().await, head).await;
        let wait = until_waiting(&mut ws).await;
        let range = Duration::from_secs(least)..=Duration::from_secs(most);
        assert!(range.contains(&wait), "{head}: {wait:?}");
    }
}

#[tokio::test]
async fn now_is_a_good_moment() {
    let server = Listener::bind().await;
    let mut ws = start(&server);
    answer(&mut server.accept().await, "503 Busy").await;
    until_waiting(&mut ws).await;
    ws.retry_now();
    // What is said while an attempt is under way counts for the wait behind it.
    let mut peer = server.accept().await;
    ws.retry_now();
    answer(&mut peer, "503 Busy").await;
    let mut peer = server.open().await;
    until_open(&mut ws).await;
    // And on an open connection it means nothing.
    ws.retry_now();
    peer.send(close(1012)).await;
    until_waiting(&mut ws).await;
    ws.sender().retry_now();
    let _peer = server.open().await;
    until_open(&mut ws).await;
}

#[tokio::test]
async fn a_policy_decides_otherwise() {
    let server = Listener::bind().await;
    let mut ws = Client::new(server.url())
        .reconnecting()
        .backoff(quick())
        .policy(|lost| match (lost.code().map(u16::from), lost.status()) {
            (Some(4001), _) | (_, Some(404)) => Verdict::Again,
            (Some(1012), _) => Verdict::GiveUp,
            _ => lost.verdict(),
        })
        .start()
        .unwrap();
    answer(&mut server.accept().await, "404 Not Found").await;
    server.open().await.send(close(4001)).await;
    server.open().await.send(close(1012)).await;
    assert!(matches!(ended(&mut ws).await, Ended::GaveUp(lost) if lost.code().is_some()));
}

#[tokio::test]
async fn attempts_are_used_up() {
    let server = Listener::bind().await;
    let mut backoff = quick();
    backoff.attempts = Some(3);
    let mut ws = Client::new(server.url()).reconnecting().backoff(backoff).start().unwrap();
    let receipt = ws.send("nobody hears it").await.unwrap();
    for _ in 0..3 {
        drop(server.accept().await);
    }
    let Ended::Exhausted(lost) = ended(&mut ws).await else { panic!("it goes on") };
    assert!(lost.as_error().is_some_and(|e| e.is_lost()), "{lost}");
    assert_eq!(soon(receipt).await, Delivery::NotSent("nobody hears it".into()));
}

#[tokio::test]
async fn a_url_that_is_none_gives_up() {
    let mut ws = Client::new("ws://").reconnecting().start().unwrap();
    let ended = ended(&mut ws).await;
    assert!(ended.lost().unwrap().as_error().unwrap().is_usage(), "{ended}");
}

#[tokio::test]
async fn closing_while_it_connects_and_while_it_waits() {
    let server = Listener::bind().await;
    for waits in [false, true] {
        let mut ws = start(&server);
        let receipt = ws.send("nobody hears it").await.unwrap();
        let mut peer = server.accept().await;
        if waits {
            answer(&mut peer, "503 Busy").await;
            until_waiting(&mut ws).await;
        }
        let ended = soon(ws.close(1000, "")).await.unwrap();
        assert!(matches!(ended, Ended::Closed(None)), "{ended:?}");
        assert_eq!(soon(receipt).await, Delivery::NotSent("nobody hears it".into()));
        assert!(ws.try_send("too late").is_err());
        assert!(matches!(soon(ws.close(1000, "")).await, Ok(Ended::Closed(None))));
    }
}

#[tokio::test]
async fn an_open_one_closes_behind_its_outbox_and_gives_the_outcome() {
    let server = Listener::bind().await;
    let mut ws = start(&server);
    let mut peer = server.open().await;
    until_open(&mut ws).await;
    let receipts = [ws.send("one").await.unwrap(), ws.send("two").await.unwrap()];
    let scripted = async {
        peer.expect_text("one").await;
        peer.expect_text("two").await;
        let ping = peer.frame().await.unwrap();
        assert_eq!(ping.opcode, 9);
        peer.send(raw(10, ping.payload)).await;
        assert_eq!(peer.expect_close(4000).await, "done");
        peer.send(close(4000)).await;
    };
    let (ended, ()) = tokio::join!(soon(ws.close(4000, "done")), scripted);
    let Ended::Closed(Some(closed)) = ended.unwrap() else { panic!("it was open") };
    assert!(closed.is_clean() && closed.unsent == 0);
    for receipt in receipts {
        assert_eq!(soon(receipt).await, Delivery::Sent);
    }
}

#[tokio::test]
async fn a_close_of_the_peer_confirms_nothing() {
    for closes in [true, false] {
        let server = Listener::bind().await;
        let mut ws = start(&server);
        let mut peer = server.open().await;
        until_open(&mut ws).await;
        let receipt = ws.send("the last word").await.unwrap();
        let scripted = async {
            peer.expect_text("the last word").await;
            assert_eq!(peer.frame().await.unwrap().opcode, 9);
            // It may have been on its way before the peer read anything of this.
            if closes {
                peer.send(close(4001)).await;
                peer.expect_close(4001).await;
            }
            drop(peer);
        };
        let (ended, ()) = tokio::join!(soon(ws.close(1000, "")), scripted);
        // Whatever the peer's code means elsewhere, this end wanted to close.
        let Ended::Closed(closed) = ended.unwrap() else { panic!("it closed") };
        let code = closes.then_some(CloseCode::from(4001));
        assert_eq!(closed.map(|closed| closed.code()), code);
        assert_eq!(soon(receipt).await, Delivery::InDoubt("the last word".into()));
    }
}

#[tokio::test]
async fn a_bad_code_changes_nothing() {
    let server = Listener::bind().await;
    let mut ws = start(&server);
    assert!(ws.close(1006, "").await.is_err_and(|e| e.is_usage()));
    assert!(ws.sender().close(1000, "x".repeat(124)).is_err_and(|e| e.is_usage()));
    let _peer = server.open().await;
    until_open(&mut ws).await;
}

#[tokio::test]
async fn dropping_it_closes_with_1001() {
    let server = Listener::bind().await;
    let mut ws = start(&server);
    let mut peer = server.open().await;
    until_open(&mut ws).await;
    let sender = ws.sender();
    drop(ws);
    peer.expect_close(1001).await;
    assert!(sender.try_send("too late").is_err());
}

#[test]
fn the_end_of_the_runtime_is_told() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let (mut ws, receipt) = first.block_on(async {
        let server = Listener::bind().await;
        let mut ws = start(&server);
        answer(&mut server.accept().await, "503 Busy").await;
        until_waiting(&mut ws).await;
        let receipt = ws.send("nobody hears it").await.unwrap();
        (ws, receipt)
    });
    drop(first);
    runtime().block_on(async {
        assert!(matches!(ended(&mut ws).await, Ended::Stopped));
        assert_eq!(soon(receipt).await, Delivery::NotSent("nobody hears it".into()));
    });
}

#[test]
fn without_a_runtime_it_is_an_error_and_no_panic() {
    let started = Client::new("ws://localhost/").reconnecting().start();
    assert!(started.is_err_and(|e| e.is_usage()));
}
