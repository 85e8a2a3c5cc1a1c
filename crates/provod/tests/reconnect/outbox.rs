//! What waits, what makes room, and what is asked of the peer.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use provod::error::TrySendError;
use provod::reconnect::{Delivery, OutboxLimits, WhenFull};
use provod::{Client, Message, Reconnecting};
use provod_testkit::peer::{Listener, Peer, raw, soon, text};

use crate::servers::{endless, outbox, quick, until_open, until_waiting};

/// A client whose server cannot be reached, for now.
async fn unconnected(limits: OutboxLimits) -> (Reconnecting, Listener) {
    let server = Listener::bind().await;
    let setup = Client::new(server.url()).reconnecting().backoff(endless()).outbox(limits);
    let mut ws = setup.start().unwrap();
    drop(server.accept().await);
    until_waiting(&mut ws).await;
    (ws, server)
}

async fn connected() -> (Reconnecting, Peer, Listener) {
    let server = Listener::bind().await;
    let mut ws = Client::new(server.url()).reconnecting().backoff(quick()).start().unwrap();
    let peer = server.open().await;
    until_open(&mut ws).await;
    (ws, peer, server)
}

/// Polls once.
async fn now<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    let mut future = Some(future);
    poll_fn(|cx| match future.take() {
        Some(future) => Poll::Ready(future.poll(cx)),
        None => Poll::Pending,
    })
    .await
}

async fn pong(peer: &mut Peer) {
    let ping = peer.frame().await.unwrap();
    assert_eq!(ping.opcode, 9, "{ping:?}");
    peer.send(raw(10, ping.payload)).await;
}

#[tokio::test]
async fn senders_wait_for_room_in_their_order() {
    let (ws, server) = unconnected(outbox(1, WhenFull::Wait)).await;
    let first = ws.send("1").await.unwrap();
    let (mut second, mut given_up, mut third) =
        (pin!(ws.send("2")), Box::pin(ws.send("given up")), pin!(ws.send("3")));
    assert!(now(second.as_mut()).await.is_pending());
    assert!(now(given_up.as_mut()).await.is_pending());
    assert!(now(third.as_mut()).await.is_pending());
    assert!(matches!(ws.try_send("4"), Err(TrySendError::Full(m)) if m == "4".into()));
    drop(given_up);

    ws.retry_now();
    let mut peer = server.open().await;
    peer.expect_text("1").await;
    pong(&mut peer).await;
    assert_eq!(soon(first).await, Delivery::Sent);
    // Behind the second one, though it is polled first.
    assert!(now(third.as_mut()).await.is_pending());
    let second = soon(second).await.unwrap();
    peer.expect_text("2").await;
    pong(&mut peer).await;
    assert_eq!(soon(second).await, Delivery::Sent);
    drop(soon(third).await.unwrap());
    peer.expect_text("3").await;
}

#[tokio::test]
async fn a_closing_one_lets_all_who_wait_go() {
    let (mut ws, _server) = unconnected(outbox(1, WhenFull::Wait)).await;
    let sender = ws.sender();
    drop(ws.send("1").await.unwrap());
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let sender = sender.clone();
            tokio::spawn(async move { sender.send("waits").await.map(drop) })
        })
        .collect();
    let closing = ws.close(1000, "");
    soon(closing).await.unwrap();
    for task in waiting {
        let refused = soon(task).await.unwrap().unwrap_err();
        assert_eq!(refused, TrySendError::Closed("waits".into()));
    }
}

#[tokio::test]
async fn a_full_outbox_refuses() {
    let (ws, _server) = unconnected(outbox(2, WhenFull::Reject)).await;
    let kept = [ws.send("1").await.unwrap(), ws.send("2").await.unwrap()];
    assert_eq!(ws.send("3").await.unwrap_err(), TrySendError::Full("3".into()));
    assert!(matches!(ws.deliver("4").await, Delivery::NotSent(m) if m == "4".into()));
    // One that is withdrawn makes room.
    assert!(kept[0].withdraw() && !kept[0].withdraw());
    let [first, _second] = kept;
    assert_eq!(soon(first).await, Delivery::NotSent("1".into()));
    ws.send("5").await.map(drop).unwrap();
}

#[tokio::test]
async fn the_oldest_make_room() {
    let (ws, server) = unconnected(outbox(2, WhenFull::DropOldest)).await;
    let mut receipts = Vec::new();
    for n in 0..5 {
        receipts.push(ws.send(n.to_string()).await.unwrap());
    }
    for (n, receipt) in receipts.drain(..3).enumerate() {
        assert_eq!(soon(receipt).await, Delivery::NotSent(n.to_string().into()));
    }
    ws.retry_now();
    let mut peer = server.open().await;
    peer.expect_text("3").await;
    peer.expect_text("4").await;
    // A connection has them all: what it has cannot be dropped.
    assert_eq!(ws.send("5").await.unwrap_err(), TrySendError::Full("5".into()));
    pong(&mut peer).await;
    for receipt in receipts {
        assert_eq!(soon(receipt).await, Delivery::Sent);
    }
}

#[tokio::test]
async fn bytes_are_counted() {
    let mut limits = outbox(100, WhenFull::Reject);
    limits.bytes = 10;
    let (ws, _server) = unconnected(limits).await;
    ws.send("123456789").await.map(drop).unwrap();
    ws.send(Message::binary(vec![0; 1000])).await.map(drop).unwrap();
    assert!(ws.send("").await.is_err());
}

#[tokio::test]
async fn nothing_is_asked_where_nobody_wants_to_know() {
    let (ws, mut peer, _server) = connected().await;
    for n in 0..100 {
        drop(ws.send(n.to_string()).await.unwrap());
    }
    for n in 0..100 {
        peer.expect_text(&n.to_string()).await; // and no Ping between them
    }
    let receipt = ws.send("and this one?").await.unwrap();
    peer.expect_text("and this one?").await;
    pong(&mut peer).await;
    assert_eq!(soon(receipt).await, Delivery::Sent);
}

#[tokio::test]
async fn one_question_at_a_time_for_however_many_messages() {
    let (ws, mut peer, _server) = connected().await;
    let mut receipts = vec![ws.send("0").await.unwrap()];
    peer.expect_text("0").await;
    let ping = peer.frame().await.unwrap();
    assert_eq!(ping.opcode, 9);
    for n in 1..500 {
        receipts.push(ws.send(n.to_string()).await.unwrap());
    }
    for n in 1..500 {
        peer.expect_text(&n.to_string()).await; // and no Ping between them
    }
    peer.send(raw(10, ping.payload)).await;
    pong(&mut peer).await; // for all that followed
    for receipt in receipts {
        assert_eq!(soon(receipt).await, Delivery::Sent);
    }
}

#[tokio::test]
async fn a_pong_of_another_ping_confirms_nothing() {
    let (ws, mut peer, _server) = connected().await;
    let receipt = ws.send("1").await.unwrap();
    peer.expect_text("1").await;
    let ping = peer.frame().await.unwrap();
    let mut other = ping.payload.clone();
    other[0] ^= 0xFF;
    other[7] ^= 0xFF;
    // Unsolicited ones (RFC 6455 section 5.5.3).
    peer.send(raw(10, "")).await;
    peer.send(raw(10, vec![0; 8])).await;
    peer.send(raw(10, other[..7].to_vec())).await;
    drop(peer);
    assert_eq!(soon(receipt).await, Delivery::InDoubt("1".into()));
}

#[tokio::test]
async fn a_receipt_can_be_asked_again_and_under_a_timeout() {
    let (ws, server) = unconnected(OutboxLimits::default()).await;
    let mut receipt = ws.send("1").await.unwrap();
    let early = tokio::time::timeout(Duration::ZERO, &mut receipt).await;
    assert!(early.is_err());
    ws.retry_now();
    let mut peer = server.open().await;
    peer.expect_text("1").await;
    pong(&mut peer).await;
    for _ in 0..2 {
        assert_eq!(soon(&mut receipt).await, Delivery::Sent);
    }
    assert!(!receipt.withdraw());
}

#[tokio::test]
async fn a_dropped_recv_loses_nothing_and_a_slow_reader_slows_the_peer() {
    let (mut ws, mut peer, _server) = connected().await;
    let sending = tokio::spawn(async move {
        for n in 0..2000 {
            peer.send(text(format!("{n} {}", "x".repeat(1000)))).await;
        }
        peer
    });
    for n in 0..2000 {
        // Polled once and dropped, again and again.
        let message = loop {
            let next = now(pin!(ws.recv())).await;
            match next {
                Poll::Ready(message) => break message.unwrap(),
                Poll::Pending => tokio::task::yield_now().await,
            }
        };
        let text = message.as_text().unwrap().to_owned();
        assert!(text.starts_with(&format!("{n} ")), "{text:.10}");
    }
    soon(sending).await.unwrap();
}
