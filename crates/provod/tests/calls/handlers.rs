//! What a handler is called with, and when; what it may do meanwhile.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use provod::config::DeflateConfig;
use provod::group::{self, SlowPolicy};
use provod::handler::{Received, Socket};
use provod::message::MessageKind;
use provod::proto::raw::RawFrame;
use provod::server::{Accept, Drain};
use provod::{CloseCode, Closed, Config, Group, Handler, Message, Prepared, Sender, Server};
use tokio::sync::{Notify, mpsc};

use crate::peer::{Peer, binary, close, open_narrow, open_with, ping, raw, soon, text, until};
use crate::servers::{Echo, address, call, patient};

/// A handler made of a function for messages.
pub(crate) struct On<F>(pub(crate) F);

impl<F> Handler for On<F>
where
    F: Fn(&mut Socket<'_>, Received<'_>) + Send + Sync + 'static,
{
    type Peer = ();

    fn open(&self, _: &mut Socket<'_>, (): ()) {}

    fn message(&self, ws: &mut Socket<'_>, (): &mut (), message: Received<'_>) {
        (self.0)(ws, message);
    }
}

/// A message of `len` bytes that can be told from others.
fn numbered(n: u32, len: usize) -> Vec<u8> {
    let mut bytes = n.to_be_bytes().to_vec();
    bytes.resize(len, 7);
    bytes
}

/// Writes down what it is called with.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    fn note(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    fn pages(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Handler<String> for Diary {
    type Peer = usize;

    fn open(&self, ws: &mut Socket<'_>, name: String) -> usize {
        let (path, query, protocol) = (ws.path(), ws.query(), ws.subprotocol());
        self.note(format!("open {name} {path} {query:?} {protocol:?}"));
        ws.send(format!("hello {name}")).unwrap();
        0
    }

    fn message(&self, _: &mut Socket<'_>, count: &mut usize, message: Received<'_>) {
        *count += 1;
        let (kind, text) = (message.kind(), message.as_text().map(str::to_owned));
        self.note(format!("{count} {kind:?} {text:?} {:?}", message.into_message().into_bytes()));
    }

    fn close(&self, count: usize, closed: &Closed) {
        self.note(format!("close {count} {}", closed.code()));
    }
}

#[tokio::test]
async fn the_calls_come_in_order_with_what_belongs_to_them() {
    let diary = Diary::default();
    let server = Server::new().listen("127.0.0.1:0").subprotocols(["b"]).on_request(|request| {
        let name = request.header("X-Name").unwrap_or(b"nobody").to_vec();
        std::future::ready(Ok(Accept::new(String::from_utf8(name).unwrap())))
    });
    let running = server.start_handler(diary.clone()).await.unwrap();
    let lines = ["X-Name: Anna", "Sec-WebSocket-Protocol: a, b"];
    let (mut peer, _) = open_with(address(&running), "/room?x=1", &lines).await;
    peer.expect_text("hello Anna").await;
    let mut wire = text("ab");
    wire.extend(raw(2, "c").fin(false).to_bytes());
    wire.extend(ping("between"));
    wire.extend(raw(0, "d").to_bytes());
    wire.extend(close(4000));
    peer.send(wire).await;
    peer.expect(RawFrame::new(10, "between")).await;
    peer.expect_close(4000).await;
    until(|| diary.pages().len() == 4).await;
    let pages = [
        r#"open Anna /room Some("x=1") Some("b")"#,
        r#"1 Text Some("ab") b"ab""#,
        r#"2 Binary None b"cd""#,
        "close 2 4000",
    ];
    assert_eq!(diary.pages(), pages);
}

#[tokio::test]
async fn a_lost_connection_and_a_violation_are_closes_too() {
    for (wire, code) in [(None, 1006), (Some(raw(3, "").to_bytes()), 1006)] {
        let diary = Diary::default();
        let server = Server::new().listen("127.0.0.1:0");
        let server = server.on_request(|_| std::future::ready(Ok(Accept::new(String::new()))));
        let running = server.start_handler(diary.clone()).await.unwrap();
        let (mut peer, _) = open_with(address(&running), "/", &[]).await;
        peer.expect_text("hello ").await;
        peer.send(text("x")).await;
        match wire {
            Some(wire) => {
                peer.send(wire).await;
                peer.expect_close(1002).await;
            }
            None => drop(peer),
        }
        until(|| diary.pages().len() == 3).await;
        assert_eq!(diary.pages()[2], format!("close 1 {code}"));
    }
}

#[tokio::test]
async fn messages_that_come_together_are_answered_in_one_write() {
    // Each answer alone would be a segment of its own: the peer's first read shows all of them.
    let (_running, address) = call(Server::new(), Echo).await;
    let mut peer = Peer::open(address).await;
    for size in [1, 125, 126, 1000] {
        let wire: Vec<u8> = (0..32).flat_map(|n| binary(&vec![n; size])).collect();
        peer.send(wire).await;
        for n in 0..32 {
            assert_eq!(peer.message().await.payload, vec![n; size]);
        }
    }
}

#[tokio::test]
async fn answers_of_any_length_keep_their_order() {
    // Copied, written from where they lie, and owned ones; compressed and not.
    let sizes = [0, 1, 7 << 10, 9 << 10, 100, 300 << 10, 1, 70_000, 1, 2 << 20, 3];
    for deflate in [false, true] {
        let mut server = Server::new();
        if deflate {
            server = server.compression(DeflateConfig::default());
        }
        let (_running, address) = call(server, Echo).await;
        let lines: &[&str] =
            if deflate { &["Sec-WebSocket-Extensions: permessage-deflate"] } else { &[] };
        let client = provod::Client::new(format!("ws://{address}/"));
        let client = if deflate { client.compression(DeflateConfig::default()) } else { client };
        let mut ws = client.connect().await.unwrap();
        assert_eq!(ws.compression().is_some(), !lines.is_empty());
        let sender = ws.sender();
        tokio::spawn(async move {
            for (n, size) in sizes.into_iter().enumerate() {
                sender.send(vec![n as u8; size]).await.unwrap();
            }
        });
        for (n, size) in sizes.into_iter().enumerate() {
            let message = soon(ws.recv()).await.unwrap().unwrap();
            assert!(message == Message::from(vec![n as u8; size]), "message {n} of {size} bytes");
        }
    }
}

#[tokio::test]
async fn what_is_said_through_a_group_or_a_handle_keeps_its_place() {
    struct Mixed(Group);

    impl Handler for Mixed {
        type Peer = (group::Member, Sender);

        fn open(&self, ws: &mut Socket<'_>, (): ()) -> Self::Peer {
            (self.0.join(&ws.sender(), SlowPolicy::Close), ws.sender())
        }

        fn message(&self, ws: &mut Socket<'_>, (_, sender): &mut Self::Peer, _: Received<'_>) {
            ws.send("1").unwrap();
            self.0.publish("2");
            ws.send("3").unwrap();
            sender.try_send("4").unwrap();
            ws.send("5").unwrap();
            self.0.publish("6".repeat(400_000));
            ws.send("7").unwrap();
            ws.send_prepared(&Prepared::from("8")).unwrap();
            ws.send(vec![9; 20_000]).unwrap();
            ws.send("10").unwrap();
        }
    }

    let (_running, address) = call(Server::new(), Mixed(Group::new())).await;
    let mut peer = Peer::open(address).await;
    for _ in 0..3 {
        peer.send(text("go")).await;
        for n in 1..=5 {
            peer.expect_text(&n.to_string()).await;
        }
        assert_eq!(peer.message().await.text(), "6".repeat(400_000));
        peer.expect_text("7").await;
        peer.expect_text("8").await;
        assert_eq!(peer.message().await.payload, vec![9; 20_000]);
        peer.expect_text("10").await;
    }
}

#[tokio::test]
async fn many_connections_hear_what_one_says_to_a_group() {
    struct Room(Group);

    impl Handler for Room {
        type Peer = group::Member;

        fn open(&self, ws: &mut Socket<'_>, (): ()) -> group::Member {
            self.0.join(&ws.sender(), SlowPolicy::Close)
        }

        fn message(&self, _: &mut Socket<'_>, member: &mut group::Member, message: Received<'_>) {
            member.publish(message.into_message());
        }
    }

    for workers in [0, 1, 3] {
        let room = Group::new();
        let server = Server::new().workers(workers);
        let (running, address) = call(server, Room(room.clone())).await;
        let mut peers = Vec::new();
        for _ in 0..50 {
            peers.push(Peer::open(address).await);
        }
        until(|| room.len() == 50).await;
        for n in 0..20 {
            peers[n].send(text(&format!("from {n}"))).await;
            for (at, peer) in peers.iter_mut().enumerate() {
                if at != n {
                    peer.expect_text(&format!("from {n}")).await;
                }
            }
        }
        drop(peers);
        until(|| room.is_empty() && running.stats().open == 0).await;
    }
}

#[tokio::test]
async fn a_wait_holds_up_the_next_message_and_nobody_else() {
    let gate = Arc::new(Notify::new());
    let opened = gate.clone();
    let (_running, address) = call(
        Server::new(),
        On(move |ws: &mut Socket<'_>, message: Received<'_>| {
            let text = message.as_text().unwrap().to_owned();
            ws.send(&*text).unwrap();
            if text == "wait" {
                let gate = opened.clone();
                ws.wait(async move { gate.notified().await });
            }
        }),
    )
    .await;
    let (mut one, mut other) = (Peer::open(address).await, Peer::open(address).await);
    let mut wire = text("wait");
    wire.extend(text("next"));
    wire.extend(ping("p"));
    one.send(wire).await;
    // The Ping behind the message that waits is answered all the same, perhaps before the one that
    // does not.
    let mut seen = [one.frame().await.unwrap().opcode, one.frame().await.unwrap().opcode];
    seen.sort_unstable();
    assert_eq!(seen, [1, 10]);
    other.send(text("meanwhile")).await;
    other.expect_text("meanwhile").await;
    one.send(text("and")).await;
    gate.notify_one();
    one.expect_text("next").await;
    one.expect_text("and").await;
}

#[tokio::test]
async fn what_waits_for_a_handler_is_bounded_and_not_lost() {
    let gate = Arc::new(Notify::new());
    let opened = gate.clone();
    let first = AtomicUsize::new(0);
    let mut config = patient();
    config.read_ahead = 10_000;
    let (running, address) = call(
        Server::new().config(config),
        On(move |ws: &mut Socket<'_>, message: Received<'_>| {
            if first.fetch_add(1, SeqCst) == 0 {
                let gate = opened.clone();
                ws.wait(async move { gate.notified().await });
            }
            let _ = ws.send(message);
        }),
    )
    .await;
    let mut peer = Peer::open(address).await;
    let mut sent = 0u32;
    // Until the peer's own window is full.
    let patience = Duration::from_millis(300);
    while peer.try_send_for(&binary(&numbered(sent, 10_000)), patience).await == Some(true) {
        sent += 1;
        assert!(sent < 10_000, "100 MB were taken for a handler that waits");
    }
    // About one read of 256 KiB, and what waits already.
    assert!(running.stats().messages_in < 60, "{:?}", running.stats());
    gate.notify_one();
    for n in 0..sent {
        assert_eq!(peer.message().await.payload[..4], n.to_be_bytes());
    }
}

#[tokio::test]
async fn a_close_waits_for_the_messages_before_it() {
    let gate = Arc::new(Notify::new());
    let opened = gate.clone();
    let (_running, address) = call(
        Server::new().config(patient()),
        On(move |ws: &mut Socket<'_>, message: Received<'_>| {
            let _ = ws.send(message);
            let gate = opened.clone();
            ws.wait(async move { gate.notified().await });
        }),
    )
    .await;
    let mut peer = Peer::open(address).await;
    for n in 0..3 {
        peer.send(text(&n.to_string())).await;
    }
    peer.send(close(1000)).await;
    for n in 0..3 {
        peer.expect_text(&n.to_string()).await;
        gate.notify_one();
    }
    peer.expect_close(1000).await;
}

#[tokio::test]
async fn a_wait_that_panics_is_over() {
    let (_running, address) = call(
        Server::new(),
        On(|ws: &mut Socket<'_>, message: Received<'_>| {
            let _ = ws.send(message);
            ws.wait(async { panic!("a test's") });
        }),
    )
    .await;
    let mut peer = Peer::open(address).await;
    for n in 0..3 {
        peer.send(text(&n.to_string())).await;
        peer.expect_text(&n.to_string()).await;
    }
}

#[tokio::test]
async fn a_panic_closes_its_own_connection_with_1011() {
    struct Bad(Arc<AtomicUsize>);

    struct Kept(Arc<AtomicUsize>);

    impl Drop for Kept {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    impl Handler for Bad {
        type Peer = Kept;

        fn open(&self, ws: &mut Socket<'_>, (): ()) -> Kept {
            assert_ne!(ws.path(), "/open", "a test's");
            Kept(self.0.clone())
        }

        fn message(&self, ws: &mut Socket<'_>, _: &mut Kept, message: Received<'_>) {
            ws.send("first").unwrap();
            assert_ne!(message.as_text(), Some("panic"), "a test's");
        }

        fn close(&self, kept: Kept, _: &Closed) {
            drop(kept);
            panic!("a test's");
        }
    }

    let dropped = Arc::<AtomicUsize>::default();
    let (running, address) = call(Server::new(), Bad(dropped.clone())).await;
    let mut good = Peer::open(address).await;
    let (mut at_once, _) = open_with(address, "/open", &[]).await;
    at_once.expect_close(1011).await;
    let mut bad = Peer::open(address).await;
    bad.send(text("panic")).await;
    bad.expect_text("first").await;
    bad.expect_close(1011).await;
    until(|| dropped.load(SeqCst) == 1).await;
    good.send(text("still there?")).await;
    good.expect_text("first").await;
    assert_eq!(running.stats().handler_panics, 2);
    good.send(close(1000)).await;
    good.expect_close(1000).await;
    until(|| dropped.load(SeqCst) == 2).await;
}

#[tokio::test]
async fn a_reader_that_stops_holds_up_itself_and_loses_nothing() {
    let (running, address) = call(Server::new().config(patient()), Echo).await;
    let mut slow = open_narrow(address).await;
    let mut sent = 0u32;
    let patience = Duration::from_millis(300);
    while slow.try_send_for(&binary(&numbered(sent, 50_000)), patience).await == Some(true) {
        sent += 1;
        assert!(sent < 2_000, "100 MB were taken from a peer that reads nothing");
    }
    let mut other = Peer::open(address).await;
    other.send(text("still there?")).await;
    other.expect_text("still there?").await;
    for n in 0..sent {
        assert_eq!(slow.message().await.payload[..4], n.to_be_bytes());
    }
    assert_eq!(running.stats().messages_dropped, 0);
}

#[tokio::test]
async fn drained_is_called_when_the_queue_has_run_low() {
    struct Source(mpsc::UnboundedSender<&'static str>);

    impl Handler for Source {
        type Peer = ();

        fn open(&self, _: &mut Socket<'_>, (): ()) {}

        fn message(&self, ws: &mut Socket<'_>, (): &mut (), _: Received<'_>) {
            while ws.send(vec![7; 100_000]).is_ok() {}
            self.0.send("full").unwrap();
        }

        fn drained(&self, ws: &mut Socket<'_>, (): &mut ()) {
            self.0.send("drained").unwrap();
            let _ = ws.send("that was all");
        }
    }

    let (out, mut calls) = mpsc::unbounded_channel();
    let (_running, address) = call(Server::new(), Source(out)).await;
    let mut peer = open_narrow(address).await;
    peer.send(text("go")).await;
    assert_eq!(soon(calls.recv()).await, Some("full"));
    let mut bytes = 0;
    loop {
        let message = peer.message().await;
        if message.opcode == MessageKind::Text as u8 + 1 {
            break;
        }
        bytes += message.payload.len();
    }
    assert!(bytes >= 1 << 20, "the hard limit is 1 MiB: {bytes}");
    assert_eq!(soon(calls.recv()).await, Some("drained"));
}

/// What it sends is sent by others, and it waits whenever it is called.
struct Filled {
    told: mpsc::UnboundedSender<&'static str>,
    message: Arc<Notify>,
    drained: Arc<Notify>,
}

impl Handler for Filled {
    type Peer = ();

    fn open(&self, _: &mut Socket<'_>, (): ()) {}

    fn message(&self, ws: &mut Socket<'_>, (): &mut (), message: Received<'_>) {
        if message.as_text() != Some("go") {
            return self.told.send("next").unwrap();
        }
        let (sender, gate) = (ws.sender(), self.message.clone());
        while sender.try_send(vec![7; 100_000]).is_ok() {}
        self.told.send("full").unwrap();
        ws.wait(async move { gate.notified().await });
    }

    fn drained(&self, ws: &mut Socket<'_>, (): &mut ()) {
        self.told.send("drained").unwrap();
        let gate = self.drained.clone();
        ws.wait(async move { gate.notified().await });
    }
}

/// Fills the queue of a connection by other hands; all that its handler waits for must be over
/// before the next message.
async fn fill(mut peer: Peer, handler: &Filled, calls: &mut mpsc::UnboundedReceiver<&'static str>) {
    peer.send([text("go"), text("next")].concat()).await;
    assert_eq!(soon(calls.recv()).await, Some("full"));
    let reading = tokio::spawn(async move {
        loop {
            peer.message().await;
        }
    });
    assert_eq!(soon(calls.recv()).await, Some("drained"), "though nothing was answered");
    for gate in [&handler.drained, &handler.message] {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(calls.try_recv().is_err(), "something is waited for");
        gate.notify_one();
    }
    assert_eq!(soon(calls.recv()).await, Some("next"));
    reading.abort();
}

fn filled() -> (Filled, Filled, mpsc::UnboundedReceiver<&'static str>) {
    let (told, calls) = mpsc::unbounded_channel();
    let (message, drained) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let one = Filled { told: told.clone(), message: message.clone(), drained: drained.clone() };
    (one, Filled { told, message, drained }, calls)
}

#[tokio::test]
async fn drained_is_called_whoever_filled_the_queue_and_may_wait_beside_a_message() {
    let (handler, same, mut calls) = filled();
    let (_running, address) = call(Server::new().config(patient()), handler).await;
    fill(open_narrow(address).await, &same, &mut calls).await;
}

#[tokio::test]
async fn a_handler_closes_and_drains_as_any_other() {
    let (running, address) = call(
        Server::new(),
        On(|ws: &mut Socket<'_>, message: Received<'_>| match message.as_text() {
            Some("close") => {
                ws.send("before").unwrap();
                ws.close(4001, "as you wish").unwrap();
                assert!(ws.send("behind").is_err());
                assert!(ws.close(1005, "").is_err());
            }
            _ => ws.send("go on").unwrap(),
        }),
    )
    .await;
    let (mut one, mut other) = (Peer::open(address).await, Peer::open(address).await);
    one.send(text("close")).await;
    one.expect_text("before").await;
    assert_eq!(one.expect_close(4001).await, "as you wish");
    other.send(text("?")).await;
    other.expect_text("go on").await;
    let drain = tokio::spawn(async move { running.drain(Drain::default()).await });
    other.expect_close(CloseCode::GOING_AWAY.as_u16()).await;
    other.send(close(1001)).await;
    other.expect_end().await;
    drop((one, other));
    assert_eq!(soon(drain).await.unwrap(), 0);
}

#[cfg(unix)]
#[tokio::test]
async fn a_handler_serves_unix_sockets_too() {
    let path = std::env::temp_dir().join(format!("provod-calls-{}", std::process::id()));
    let server = Server::new().listen(format!("unix:{}", path.display()));
    let running = server.start_handler(Echo).await.unwrap();
    let stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    let mut peer = Peer::client(stream);
    peer.upgrade("/", &[]).await;
    for len in [1, 1000, 1 << 20] {
        peer.send(binary(&numbered(1, len.max(4)))).await;
        assert_eq!(peer.message().await.payload.len(), len.max(4));
    }
    drop(running);
    peer.gone().await;
}

#[tokio::test]
async fn a_worker_keeps_its_timers() {
    let mut config = Config::default();
    config.keepalive =
        Some(provod::config::Keepalive::new(Duration::from_millis(50), Duration::from_millis(100)));
    let (running, address) = call(Server::new().config(config), Echo).await;
    let mut peer = Peer::open(address).await;
    // It is asked, and given up when it does not answer.
    assert_eq!(peer.frame().await.unwrap().opcode, 9);
    peer.gone().await;
    until(|| running.stats().open == 0).await;
}
