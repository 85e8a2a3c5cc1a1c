//! Panics that are not the handler's, in the midst of a worker's turn.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use provod::config::Keepalive;
use provod::handler::{Received, Socket};
use provod::server::Running;
use provod::{Closed, Handler, Sender, Server};

use crate::peer::{Peer, raw, text, until};
use crate::servers::{call, patient};

/// Echoes, and gives out the senders.
#[derive(Clone, Default)]
struct Open {
    senders: Arc<Mutex<Vec<Sender>>>,
    closed: Arc<AtomicUsize>,
}

impl Handler for Open {
    type Peer = ();

    fn open(&self, ws: &mut Socket<'_>, (): ()) {
        self.senders.lock().unwrap().push(ws.sender());
    }

    fn message(&self, ws: &mut Socket<'_>, (): &mut (), message: Received<'_>) {
        let _ = ws.send(message);
    }

    fn close(&self, (): (), _: &Closed) {
        self.closed.fetch_add(1, SeqCst);
    }
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("a test's");
    }
}

/// Whoever waits for the end of the connection panics when it comes.
fn mine(sender: &Sender) {
    let waker = Waker::from(Arc::new(Panics));
    // The place in the queue is left when the future is dropped.
    let waiting = Box::leak(Box::new(sender.clone()));
    let closed = Box::leak(Box::new(Box::pin(waiting.closed())));
    assert!(closed.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
}

async fn echoes(peer: &mut Peer, what: &str) {
    peer.send(text(what)).await;
    peer.expect_text(what).await;
}

async fn goes_on(running: &Running, address: SocketAddr, open: &Open) {
    let mut first = Peer::open(address).await;
    let mut others = Vec::new();
    for _ in 0..5 {
        others.push(Peer::open(address).await);
    }
    echoes(&mut first, "x").await;
    mine(&open.senders.lock().unwrap()[0]);
    // Its end, and what the others say, may come to the worker in one turn.
    first.finish().await;
    for (n, other) in others.iter_mut().enumerate() {
        other.send(text(&n.to_string())).await;
    }
    first.expect_end().await;
    for (n, other) in others.iter_mut().enumerate() {
        other.expect_text(&n.to_string()).await;
        echoes(other, "still here").await;
    }
    until(|| running.stats().open == 5).await;
    // The handler was told of the end, once; the panic was counted.
    assert_eq!(open.closed.load(SeqCst), 1);
    assert_eq!(running.stats().handler_panics, 1);
    echoes(&mut Peer::open(address).await, "a new one").await;
}

#[tokio::test]
async fn a_panic_in_a_turn_ends_one_connection_and_not_its_worker() {
    for workers in [0, 1] {
        let open = Open::default();
        let server = Server::new().config(patient()).workers(workers);
        let (running, address) = call(server, open.clone()).await;
        goes_on(&running, address, &open).await;
    }
}

#[tokio::test]
async fn alarms_that_were_due_with_a_panic_ring() {
    let mut config = patient();
    config.keepalive = Some(Keepalive::new(Duration::from_millis(50), Duration::from_millis(50)));
    let open = Open::default();
    let (running, address) = call(Server::new().config(config), open.clone()).await;
    // They never answer a Ping.
    let mut silent = Vec::new();
    for _ in 0..5 {
        silent.push(Peer::open(address).await);
    }
    until(|| open.senders.lock().unwrap().len() == 5).await;
    open.senders.lock().unwrap().iter().for_each(mine);
    until(|| running.stats().open == 0).await;
    assert_eq!(open.closed.load(SeqCst), 5);
}

#[test]
fn a_worker_that_is_dropped_tells_all_whatever_panics() {
    let open = Open::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let running = runtime.block_on(async {
        let (running, address) = call(Server::new().config(patient()), open.clone()).await;
        for _ in 0..3 {
            let mut peer = Peer::open(address).await;
            echoes(&mut peer, "x").await;
            std::mem::forget(peer);
        }
        running
    });
    let senders = open.senders.lock().unwrap().clone();
    mine(&senders[1]);
    drop(runtime);
    for sender in &senders {
        let mut closed = pin!(sender.closed());
        assert!(closed.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
    }
    assert_eq!((open.closed.load(SeqCst), running.stats().open), (3, 0));
}

/// A log that fails at what is said of a connection's end, and of the failure.
struct Broken;

impl io::Write for Broken {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(lines);
        // What was written before a panic is there again, before the next line.
        let line = text.lines().last().unwrap_or_default();
        assert!(!["closing", "panicked", "ended"].iter().any(|say| line.contains(say)), "a test's");
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_log_that_panics_ends_what_it_was_told_of_and_no_more() {
    let log = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG);
    let log = log.with_writer(|| Broken).finish();
    let _guard = tracing::subscriber::set_default(log);
    let open = Open::default();
    let (running, address) = call(Server::new().config(patient()), open.clone()).await;
    let mut other = Peer::open(address).await;
    for _ in 0..3 {
        let mut peer = Peer::open(address).await;
        peer.send(raw(3, "").to_bytes()).await;
        peer.expect_close(1002).await;
        peer.expect_end().await;
        echoes(&mut other, "still here").await;
    }
    until(|| running.stats().open == 1).await;
    assert_eq!(open.closed.load(SeqCst), 3);
}
