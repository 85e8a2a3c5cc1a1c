//! Sending: waiting, refusing, order, fairness, cancelling, and a peer that does not read.

use std::sync::Arc;
use std::time::Duration;

use provod::close::Cause;
use provod::config::{Keepalive, Level};
use provod::error::TrySendError;
use provod::proto::deflate::Pool;
use provod::server::Running;
use provod::{Config, Message, Prepared, Server, WebSocket};
use tokio::sync::mpsc;

use crate::peer::{Peer, binary, close, open_narrow, soon, text, until};
use crate::servers::{hasty, patient, start, start_with};

/// More than the system's buffers between two sockets hold.
const STOPPER: usize = 16 << 20;

/// A connection whose WebSocket the test itself holds; the peer has a small receive buffer.
pub(crate) async fn connected(config: Config) -> (Running, Peer, WebSocket) {
    let (out, mut opened) = mpsc::unbounded_channel();
    let (running, address) = start_with(Server::new().config(config), move |ws| {
        let _ = out.send(ws);
        std::future::ready(Ok(()))
    })
    .await;
    let peer = open_narrow(address).await;
    let ws = soon(opened.recv()).await.expect("the handler runs");
    (running, peer, ws)
}

/// Polls once and drops.
async fn give_up<F: Future>(future: F) -> Option<F::Output> {
    tokio::time::timeout(Duration::ZERO, future).await.ok()
}

#[tokio::test]
async fn a_dropped_send_is_queued_whole_or_not_at_all() {
    let (_running, mut peer, ws) = connected(Config::default()).await;
    ws.send(vec![7; STOPPER]).await.unwrap();
    for _ in 0..10 {
        assert!(give_up(ws.send("dropped while it waited")).await.is_none());
    }
    let last = tokio::spawn(async move {
        ws.send("after").await.unwrap();
        ws
    });
    assert!(peer.message().await.payload == vec![7; STOPPER]);
    peer.expect_text("after").await;
    let ws = soon(last).await.unwrap();
    // With room, a send is done when it is first polled.
    assert!(give_up(ws.send("at once")).await.is_some());
    peer.expect_text("at once").await;
}

#[tokio::test]
async fn those_who_wait_send_in_the_order_in_which_they_came() {
    let (_running, mut peer, ws) = connected(Config::default()).await;
    ws.send(vec![0; STOPPER]).await.unwrap();
    let mut tasks = Vec::new();
    for n in 0..20 {
        let sender = ws.sender();
        tasks.push(tokio::spawn(async move { sender.send(format!("{n}")).await }));
        tokio::task::yield_now().await;
    }
    // One in the middle and the first give up; the others must be woken all the same.
    tasks[7].abort();
    tasks[0].abort();
    peer.message().await;
    for n in (1..20).filter(|n| *n != 7) {
        peer.expect_text(&n.to_string()).await;
    }
    for (n, task) in tasks.into_iter().enumerate() {
        assert_eq!(soon(task).await.is_ok(), n != 0 && n != 7);
    }
}

#[tokio::test]
async fn many_senders_share_a_connection_fairly() {
    let mut config = Config::default();
    // Each message fills the queue, so each sender waits for each message.
    config.high_water = 1;
    let (_running, mut peer, ws) = connected(config).await;
    for task in 0..8u8 {
        let sender = ws.sender();
        tokio::spawn(async move {
            for n in 0..50u8 {
                sender.send(vec![task, n]).await.unwrap();
            }
        });
    }
    let mut seen = [0u8; 8];
    for _ in 0..8 * 50 {
        let payload = peer.message().await.payload;
        let (task, n) = (usize::from(payload[0]), payload[1]);
        assert_eq!(seen[task], n, "the order of one task is kept");
        seen[task] += 1;
        let least = seen.iter().min().unwrap();
        assert!(seen[task] - least <= 2, "{seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_wake_is_lost_between_threads() {
    let mut config = Config::default();
    config.high_water = 100;
    let (_running, mut peer, ws) = connected(config).await;
    for task in 0..8u8 {
        let sender = ws.sender();
        tokio::spawn(async move {
            for n in 0..500u16 {
                if n % 50 == 0 {
                    give_up(sender.send(vec![255])).await;
                }
                sender.send([&[task][..], &n.to_be_bytes(), &[0; 50]].concat()).await.unwrap();
            }
        });
    }
    let mut next = [0u16; 8];
    while next != [500; 8] {
        let payload = peer.message().await.payload;
        if payload[0] == 255 {
            continue;
        }
        let task = usize::from(payload[0]);
        assert_eq!(u16::from_be_bytes([payload[1], payload[2]]), next[task]);
        next[task] += 1;
    }
}

#[tokio::test]
async fn try_send_never_waits_and_gives_the_message_back() {
    let mut config = Config::default();
    config.hard_limit = 100_000;
    let (running, mut peer, ws) = connected(config).await;
    ws.try_send(vec![0; STOPPER]).unwrap();
    assert!(ws.buffered_amount() >= STOPPER);
    match ws.try_send("too much") {
        Err(TrySendError::Full(message)) => assert_eq!(message.as_text(), Some("too much")),
        other => panic!("{other:?}"),
    }
    let prepared = Prepared::new(Message::text("prepared"), Level::default(), &Pool::default());
    assert!(matches!(ws.sender().try_send_prepared(&prepared), Err(TrySendError::Full(_))));
    assert_eq!(running.stats().messages_dropped, 2);
    peer.message().await;
    until(|| ws.buffered_amount() == 0).await;
    ws.sender().try_send_prepared(&prepared).unwrap();
    peer.expect_text("prepared").await;
    peer.send(close(1000)).await;
    let mut ws = ws;
    soon(ws.closed()).await;
    match ws.try_send("late") {
        Err(TrySendError::Closed(message)) => assert_eq!(message.as_text(), Some("late")),
        other => panic!("{other:?}"),
    }
    assert!(ws.send("late").await.unwrap_err().is_closed());
    assert!(ws.sender().send("late").await.unwrap_err().is_closed());
}

#[tokio::test]
async fn small_messages_count_more_than_their_bytes() {
    let (_running, _peer, ws) = connected(Config::default()).await;
    ws.try_send(vec![0; STOPPER / 16]).unwrap();
    // Memory is what the limit is about: empty messages are no loophole.
    let sent = (0..).take_while(|_| ws.try_send("").is_ok()).count();
    assert!(sent < 100_000, "{sent} empty messages were queued");
}

#[tokio::test]
async fn those_who_wait_are_told_when_the_connection_ends() {
    let (_running, peer, ws) = connected(hasty()).await;
    ws.send(vec![0; STOPPER]).await.unwrap();
    let waiting: Vec<_> = (0..5)
        .map(|_| {
            let sender = ws.sender();
            tokio::spawn(async move { sender.send("x").await })
        })
        .collect();
    let sender = ws.sender();
    let ended = tokio::spawn(async move { sender.closed().await });
    tokio::task::yield_now().await;
    drop(peer);
    for task in waiting {
        assert!(soon(task).await.unwrap().unwrap_err().is_closed());
    }
    assert!(soon(ended).await.unwrap().unsent > 0);
}

#[tokio::test]
async fn a_peer_that_never_reads_is_given_up_by_the_keepalive() {
    let mut config = Config::default();
    config.keepalive = Some(Keepalive::new(Duration::from_millis(50), Duration::from_millis(50)));
    let (_running, _peer, mut ws) = connected(config).await;
    ws.send(vec![0; STOPPER]).await.unwrap();
    // It waits for room that never comes.
    let e = soon(ws.send("x")).await.unwrap_err();
    assert!(e.is_closed(), "{e}");
    assert!(soon(ws.recv()).await.unwrap_err().is_timeout());
    assert_eq!(soon(ws.closed()).await.cause, Cause::Silent);
}

#[tokio::test]
async fn a_peer_that_sends_and_never_reads_is_felt_and_not_hoarded() {
    let (running, address) = start(Server::new()).await;
    let mut peer = open_narrow(address).await;
    let message = binary(&vec![0; 1 << 20]);
    let mut sent = 0u64;
    // The echo waits, then the handler, then the reading: the peer's own send must stall.
    while let Some(true) = peer.try_send_for(&message, Duration::from_millis(500)).await {
        sent += 1;
        assert!(sent < 200, "back-pressure never came");
    }
    assert!(running.stats().bytes_in <= sent * (1 << 20) + (1 << 21));
}

#[tokio::test]
async fn large_messages_go_both_ways() {
    let (_running, address) = start(Server::new()).await;
    let mut peer = Peer::open(address).await;
    for len in [1 << 20, 16 << 20] {
        let payload: Vec<u8> = (0..len).map(|i: u32| (i >> 3) as u8).collect();
        peer.send(binary(&payload)).await;
        assert!(peer.message().await.payload == payload);
    }
    peer.bye().await;
}

#[tokio::test]
async fn ten_thousand_small_messages_come_back_in_order() {
    let (_running, address) = start(Server::new()).await;
    let mut peer = Peer::open(address).await;
    let batch: Vec<u8> = (0..10_000).flat_map(|n| text(&n.to_string())).collect();
    peer.send(batch).await;
    for n in 0..10_000 {
        peer.expect_text(&n.to_string()).await;
    }
    peer.bye().await;
}

#[tokio::test]
async fn one_prepared_message_reaches_everybody() {
    let prepared =
        Prepared::new(Message::text("to all ".repeat(1000)), Level::default(), &Pool::default());
    let shared = Arc::new(prepared);
    let (_running, address) = start_with(Server::new(), move |mut ws| {
        let shared = shared.clone();
        async move {
            ws.send("first").await?;
            ws.sender().try_send_prepared(&shared).map_err(|e| e.to_string())?;
            ws.send("last").await?;
            ws.recv().await?;
            Ok(())
        }
    })
    .await;
    for _ in 0..3 {
        let mut peer = Peer::open(address).await;
        peer.expect_text("first").await;
        peer.expect_text(&"to all ".repeat(1000)).await;
        peer.expect_text("last").await;
        peer.bye().await;
    }
}

#[tokio::test]
async fn a_ping_overtakes_queued_data_and_a_close_does_not() {
    let (_running, mut peer, mut ws) = connected(patient()).await;
    ws.try_send(vec![0; STOPPER]).unwrap();
    let sender = ws.sender();
    tokio::spawn(async move { sender.ping().await });
    tokio::task::yield_now().await;
    let closing = tokio::spawn(async move { ws.close(1000, "").await });
    let mut order = Vec::new();
    loop {
        let frame = peer.frame().await.expect("the Close comes first");
        match frame.opcode {
            8 => break,
            9 => order.push("ping"),
            _ => order.push("data"),
        }
    }
    assert!(order.len() > 4 && order.last() == Some(&"data"), "{order:?}");
    assert!(order.contains(&"ping"), "{order:?}");
    peer.send(close(1000)).await;
    assert!(soon(closing).await.unwrap().unwrap().is_clean());
}

#[tokio::test]
async fn drained_waits_for_room_or_for_the_end() {
    let (_running, mut peer, ws) = connected(patient()).await;
    soon(ws.drained()).await;
    ws.send(vec![0; STOPPER]).await.unwrap();
    assert!(give_up(ws.drained()).await.is_none());
    let sender = ws.sender();
    let waiting = tokio::spawn(async move { sender.drained().await });
    assert!(peer.message().await.payload.len() == STOPPER);
    soon(waiting).await.unwrap();
    assert!(ws.buffered_amount() < Config::default().high_water);

    ws.send(vec![0; STOPPER]).await.unwrap();
    let sender = ws.sender();
    let waiting = tokio::spawn(async move { sender.drained().await });
    tokio::task::yield_now().await;
    drop(peer);
    soon(waiting).await.unwrap();
}

#[tokio::test]
async fn a_reader_that_falls_behind_hears_everything_once_it_goes_on() {
    let mut config = Config::default();
    config.read_ahead = 10_000;
    let (_running, mut peer, mut ws) = connected(config).await;
    let sent = tokio::spawn(async move {
        for n in 0..2000u32 {
            peer.send(binary(&[&n.to_be_bytes()[..], &[0; 500]].concat())).await;
        }
        peer.send(close(1000)).await;
        peer
    });
    for n in 0..2000u32 {
        let message = soon(ws.recv()).await.unwrap().expect("no Close yet");
        assert_eq!(message.as_bytes()[..4], n.to_be_bytes());
        if n % 50 == 0 {
            tokio::task::yield_now().await;
        }
    }
    assert!(soon(ws.recv()).await.unwrap().is_none());
    let mut peer = soon(sent).await.unwrap();
    peer.expect_close(1000).await;
    peer.expect_end().await;
}

#[tokio::test]
async fn a_handler_that_sends_after_the_end_does_not_make_its_task_spin() {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    let polls: &'static AtomicUsize = Box::leak(Box::default());
    let over: &'static AtomicUsize = Box::leak(Box::default());
    let (_running, address) = start_with(Server::new(), move |ws| async move {
        let mut closed = std::pin::pin!(async move {
            ws.sender().closed().await;
            assert!(ws.send("to nobody").await.is_err());
            assert!(ws.try_send("to nobody").is_err());
            over.store(1, Relaxed);
            std::future::pending::<()>().await;
        });
        std::future::poll_fn(|cx| {
            polls.fetch_add(1, Relaxed);
            closed.as_mut().poll(cx)
        })
        .await;
        Ok(())
    })
    .await;
    drop(Peer::open(address).await);
    soon(until(|| over.load(Relaxed) == 1)).await;
    let before = polls.load(Relaxed);
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert!(polls.load(Relaxed) - before < 20, "{} polls", polls.load(Relaxed) - before);
}

#[tokio::test]
async fn waiting_for_the_end_or_for_room_and_giving_up_leaves_nothing_behind() {
    struct Counted;
    impl std::task::Wake for Counted {
        fn wake(self: Arc<Self>) {}
    }
    let (_running, _peer, ws) = connected(Config::default()).await;
    ws.send(vec![7; STOPPER]).await.unwrap();
    let waker = Arc::new(Counted);
    for _ in 0..100 {
        let sender = ws.sender();
        let waker = std::task::Waker::from(waker.clone());
        let mut cx = std::task::Context::from_waker(&waker);
        assert!(std::pin::pin!(sender.closed()).poll(&mut cx).is_pending());
        assert!(std::pin::pin!(sender.drained()).poll(&mut cx).is_pending());
        assert!(std::pin::pin!(sender.send("x")).poll(&mut cx).is_pending());
    }
    assert_eq!(Arc::strong_count(&waker), 1);
}
