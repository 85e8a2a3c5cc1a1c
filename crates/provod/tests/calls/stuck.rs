//! What must not be forgotten while something waits for a handler.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use provod::config::Keepalive;
use provod::handler::{Received, Socket};
use provod::server::Drain;
use provod::{Config, Handler, Prepared, Server};
use tokio::sync::Notify;

use crate::handlers::On;
use crate::peer::{Peer, binary, close, open_narrow, soon, text, until};
use crate::servers::{call, patient};

/// A handler that waits after its first message, until it is let go on, and echoes.
fn waits_once(gate: &Arc<Notify>) -> impl Handler {
    let (gate, first) = (gate.clone(), AtomicUsize::new(0));
    On(move |ws: &mut Socket<'_>, message: Received<'_>| {
        if first.fetch_add(1, SeqCst) == 0 {
            let gate = gate.clone();
            ws.wait(async move { gate.notified().await });
        }
        assert_ne!(message.as_text(), Some("panic"), "a test's");
        let _ = ws.send(message);
    })
}

/// Small enough that one message of 1,000 bytes stops the reading.
fn short_sighted() -> Config {
    let mut config = patient();
    config.read_ahead = 1000;
    config.keepalive = None;
    config
}

/// Echoes, and keeps something for each connection.
struct Keeps(Arc<()>);

impl Handler for Keeps {
    type Peer = Arc<()>;

    fn open(&self, _: &mut Socket<'_>, (): ()) -> Arc<()> {
        self.0.clone()
    }

    fn message(&self, ws: &mut Socket<'_>, _: &mut Arc<()>, message: Received<'_>) {
        let _ = ws.send(message);
    }
}

#[tokio::test]
async fn a_dead_peer_that_left_messages_waiting_is_given_up() {
    let mut config = Config::default();
    config.keepalive = Some(Keepalive::new(Duration::from_millis(50), Duration::from_millis(100)));
    let kept = Arc::new(());
    let (_running, address) = call(Server::new().config(config), Keeps(kept.clone())).await;
    let mut dead = open_narrow(address).await;
    // More than the server's queue and both sides' windows take.
    let patience = Duration::from_millis(300);
    while dead.try_send_for(&binary(&[7; 50_000]), patience).await == Some(true) {}
    // Though it never hangs up.
    until(|| Arc::strong_count(&kept) == 2).await;
}

#[tokio::test]
async fn the_end_of_a_stream_is_found_behind_what_waited() {
    let gate = Arc::new(Notify::new());
    let (running, address) = call(Server::new().config(short_sighted()), waits_once(&gate)).await;
    let mut peer = Peer::open(address).await;
    peer.send(text("first")).await;
    peer.expect_text("first").await;
    peer.send(binary(&[7; 2000])).await;
    until(|| running.stats().messages_in == 2).await;
    peer.send(text("third")).await;
    peer.finish().await;
    // The worker has looked at the socket once another one is answered.
    let mut other = Peer::open(address).await;
    for n in 0..3 {
        other.send(text(&n.to_string())).await;
        other.expect_text(&n.to_string()).await;
    }
    gate.notify_one();
    assert_eq!(peer.message().await.payload.len(), 2000);
    peer.expect_text("third").await;
    peer.gone().await;
}

#[tokio::test]
async fn the_end_of_a_stream_is_found_behind_a_close_that_waited() {
    let gate = Arc::new(Notify::new());
    let (running, address) = call(Server::new().config(patient()), waits_once(&gate)).await;
    let mut peer = Peer::open(address).await;
    peer.send(text("first")).await;
    peer.expect_text("first").await;
    peer.send(close(1000)).await;
    peer.finish().await;
    let mut other = Peer::open(address).await;
    for n in 0..3 {
        other.send(text(&n.to_string())).await;
        other.expect_text(&n.to_string()).await;
    }
    gate.notify_one();
    peer.expect_close(1000).await;
    drop(other);
    assert_eq!(running.drain(Drain::default()).await, 0);
}

#[tokio::test]
async fn a_panic_leaves_nothing_that_waits() {
    let gate = Arc::new(Notify::new());
    let (running, address) = call(Server::new().config(short_sighted()), waits_once(&gate)).await;
    let mut peer = Peer::open(address).await;
    let mut wire = text("first");
    wire.extend(text("panic"));
    wire.extend(binary(&[7; 2000]));
    peer.send(wire).await;
    peer.expect_text("first").await;
    until(|| running.stats().messages_in == 3).await;
    gate.notify_one();
    peer.expect_close(1011).await;
    drop(peer);
    assert_eq!(running.drain(Drain::default()).await, 0);
}

#[tokio::test]
async fn a_server_that_is_dropped_does_not_wait_for_handlers() {
    let gate = Arc::new(Notify::new());
    let (running, address) = call(Server::new(), waits_once(&gate)).await;
    let mut peer = Peer::open(address).await;
    peer.send(text("first")).await;
    peer.expect_text("first").await;
    drop(running);
    peer.gone().await;
}

#[tokio::test]
async fn a_handler_that_has_closed_hears_nothing_more() {
    let heard = Arc::new(AtomicUsize::new(0));
    let count = heard.clone();
    let (_running, address) = call(
        Server::new(),
        On(move |ws: &mut Socket<'_>, _: Received<'_>| {
            count.fetch_add(1, SeqCst);
            ws.close(4001, "enough").unwrap();
        }),
    )
    .await;
    let mut peer = Peer::open(address).await;
    peer.send([text("one"), text("two"), text("three")].concat()).await;
    peer.expect_close(4001).await;
    assert_eq!(heard.load(SeqCst), 1);
}

#[tokio::test]
async fn prepared_answers_are_held_back_too() {
    let prepared = Prepared::from(vec![7; 100_000]);
    let (running, address) = call(
        Server::new().config(patient()),
        On(move |ws: &mut Socket<'_>, _: Received<'_>| drop(ws.send_prepared(&prepared))),
    )
    .await;
    let mut peer = open_narrow(address).await;
    peer.send(text("more").repeat(100)).await;
    for _ in 0..100 {
        assert_eq!(peer.message().await.payload.len(), 100_000);
    }
    assert_eq!(running.stats().messages_dropped, 0);
}

#[tokio::test]
async fn what_was_sent_before_another_thread_closed_is_not_lost() {
    let (_running, address) = call(
        Server::new(),
        On(move |ws: &mut Socket<'_>, _: Received<'_>| {
            let sender = ws.sender();
            ws.send("before").unwrap();
            thread::spawn(move || drop(sender.close(4001, ""))).join().unwrap();
            assert!(ws.send(&[7; 10_000][..]).is_err());
        }),
    )
    .await;
    let mut peer = Peer::open(address).await;
    peer.send(text("go")).await;
    peer.expect_text("before").await;
    peer.expect_close(4001).await;
}

#[tokio::test]
async fn what_another_thread_answers_comes_behind() {
    let (_running, address) = call(
        Server::new(),
        On(move |ws: &mut Socket<'_>, _: Received<'_>| {
            ws.send("first").unwrap();
            let sender = ws.sender();
            thread::spawn(move || drop(sender.try_send("second"))).join().unwrap();
        }),
    )
    .await;
    let mut peer = Peer::open(address).await;
    peer.send(text("go")).await;
    peer.expect_text("first").await;
    peer.expect_text("second").await;
}

/// A wait that is over before the turn that began it, and sockets that come ready while others are
/// looked at, many times.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn nothing_sleeps_on_many_threads() {
    let (_running, address) = call(
        Server::new(),
        On(|ws: &mut Socket<'_>, message: Received<'_>| {
            let _ = ws.send(message);
            ws.wait(async {});
        }),
    )
    .await;
    let talks: Vec<_> = (0..8)
        .map(|_| {
            tokio::spawn(async move {
                let mut peer = Peer::open(address).await;
                for n in 0..3000 {
                    let n = n.to_string();
                    peer.send(text(&n)).await;
                    soon(peer.expect_text(&n)).await;
                }
            })
        })
        .collect();
    for talk in talks {
        talk.await.unwrap();
    }
}
