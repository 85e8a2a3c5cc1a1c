//! What can be seen of a server from outside: its counters and its wire trace.

use std::io;
use std::sync::{Arc, Mutex};

use provod::group::{Group, SlowPolicy};
use provod::server::Stats;
use provod::{Config, Server};

use crate::peer::{Peer, close, not_stuck, open_with, ping, raw, text, until};
use crate::servers::{hasty, start, start_with};

#[tokio::test]
async fn the_counters_tell_what_happened() {
    let server = Server::new().max_connections(5).health("/up");
    let counters = server.counters();
    assert_eq!(counters.read(), Stats::default());
    let (running, address) = start_with(server, |mut ws| async move {
        match ws.path() {
            "/panic" => panic!("on purpose"),
            "/deaf" => return Ok(()),
            _ => {}
        }
        while let Some(message) = ws.recv().await? {
            ws.send(message).await?;
        }
        Ok(())
    })
    .await;
    let opened = Peer::open(address).await;
    assert_eq!((running.stats().opened, running.stats().open), (1, 1));
    opened.bye().await;

    let mut peer = Peer::open(address).await;
    // 6 + 5 bytes of a masked message, 2 + 5 of its echo, a Close of 8 and its answer of 4.
    peer.send([text("hello"), close(4321)].concat()).await;
    peer.expect_text("hello").await;
    peer.expect_close(4321).await;
    peer.expect_end().await;
    drop(peer);
    until(|| running.stats().open == 0).await;
    let stats = running.stats();
    assert_eq!((stats.messages_in, stats.messages_out), (1, 1));
    assert_eq!((stats.bytes_in, stats.bytes_out), (8 + 11 + 8, 4 + 7 + 4));
    assert_eq!((stats.close_codes[&1000], stats.close_codes[&4321]), (1, 1));

    let (mut peer, _) = open_with(address, "/panic", &[]).await;
    peer.expect_close(1011).await;
    peer.send(close(1011)).await;
    peer.expect_end().await;
    drop(peer);
    // Received, and never taken.
    let (mut peer, _) = open_with(address, "/deaf", &[]).await;
    peer.expect_close(1000).await;
    peer.finish().await;
    peer.expect_end().await;
    drop(peer);
    for line in ["GET /up HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "??"] {
        let mut peer = Peer::connect(address).await;
        peer.send(line).await;
        peer.answer().await;
    }
    until(|| running.stats().open == 0).await;
    let stats = running.stats();
    assert_eq!((stats.accepted, stats.opened, stats.open), (7, 4, 0));
    assert_eq!((stats.plain_requests, stats.handler_panics), (2, 1));
    assert_eq!((stats.refusals["not_upgrade"], stats.refusals["head"]), (1, 1));
    assert_eq!((stats.close_codes[&1011], stats.close_codes[&1006]), (1, 1));
    assert_eq!((stats.accept_errors, stats.turned_away), (0, 0));

    let mut many = Vec::new();
    for _ in 0..5 {
        many.push(Peer::open(address).await);
    }
    assert_eq!(Peer::connect(address).await.answer().await.status, 503);
    assert_eq!(running.stats().turned_away, 1);
    drop(running);
    until(|| counters.read().open == 0).await;
}

#[tokio::test]
async fn messages_that_nobody_takes_are_counted() {
    let (running, address) = start_with(Server::new().config(hasty()), |ws| async move {
        // Until the peer has said all it has to say.
        while ws.sender().ping().await.is_ok() {}
        Ok(())
    })
    .await;
    let mut peer = Peer::open(address).await;
    let question = peer.frame().await.unwrap();
    assert_eq!(question.opcode, 9);
    // The handler holds the WebSocket and never asks for a message, until it ends.
    peer.send([text("a"), text("b"), close(1000)].concat()).await;
    peer.expect_close(1000).await;
    peer.expect_end().await;
    assert_eq!((running.stats().messages_in, running.stats().messages_dropped), (2, 2));
}

/// A log that those who are connected can watch.
#[derive(Clone, Default)]
struct Watched(Group);

impl io::Write for Watched {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.publish(String::from_utf8_lossy(buf).into_owned());
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_log_may_be_sent_on_the_connections_that_it_is_about() {
    not_stuck(async {
        let log = Watched::default();
        let room = log.0.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter("provod=debug")
            .with_ansi(false)
            .with_writer(move || log.clone())
            .finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        // Members that their handlers do not own stay until their connections are over.
        let members = Mutex::new(Vec::new());
        let (_running, address) = start_with(Server::new(), move |mut ws| {
            let member = room.join(&ws.sender(), SlowPolicy::DropNewest);
            members.lock().unwrap().push(member);
            async move {
                ws.send("joined").await?;
                match ws.recv().await?.as_ref().and_then(|m| m.as_text()) {
                    Some("fail") => Err("on purpose".into()),
                    Some("panic") => panic!("on purpose"),
                    _ => Ok(()),
                }
            }
        })
        .await;
        let mut watcher = Peer::open(address).await;
        watcher.expect_text("joined").await;
        for (said, logged) in [
            (raw(5, "").to_bytes(), "closing"),
            (text("fail"), "a handler failed"),
            (text("panic"), "a handler panicked"),
        ] {
            let mut peer = Peer::open(address).await;
            peer.send(said).await;
            while !watcher.frame().await.unwrap().text().contains(logged) {}
        }
    });
}

/// Collects a log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn start(&self, filter: &str) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(false)
            .with_writer(move || log.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }
}

impl io::Write for Log {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn traced(config: Config, filter: &str) -> String {
    let log = Log::default();
    let _guard = log.start(filter);
    let (_running, address) = start(Server::new().config(config)).await;
    let mut peer = Peer::open(address).await;
    let fragments =
        [raw(1, "sec").fin(false).to_bytes(), ping("\x1b[2J"), raw(0, "ret").to_bytes()];
    peer.send(fragments.concat()).await;
    assert_eq!(peer.frame().await.unwrap().opcode, 10);
    peer.expect_text("secret").await;
    peer.bye().await;
    log.text()
}

#[tokio::test]
async fn the_wire_trace_shows_frames_and_no_payload() {
    let log = traced(Config::default(), "provod::wire=trace").await;
    let frames: Vec<&str> = log.lines().filter(|line| line.contains("provod::wire")).collect();
    let shown = |way: &str, opcode: &str| {
        let count = |line: &&&str| {
            line.contains(&format!("way=\"{way}\"")) && line.contains(&format!("opcode={opcode}"))
        };
        frames.iter().filter(count).count()
    };
    for way in ["in", "out"] {
        assert_eq!((shown(way, "Text"), shown(way, "Close")), (1, 1), "{log}");
    }
    assert_eq!((shown("in", "Continuation"), shown("in", "Ping")), (1, 1), "{log}");
    assert_eq!(shown("out", "Pong"), 1, "{log}");
    assert!(!log.contains("sec") && !log.contains("ret"), "{log}");
}

#[tokio::test]
async fn the_wire_trace_shows_payloads_when_asked_and_no_raw_control_characters() {
    let mut config = Config::default();
    config.trace_payload = 3;
    let log = traced(config, "provod::wire=trace").await;
    assert!(log.contains("sec") && log.contains("ret") && !log.contains("secret"), "{log}");
    assert!(!log.contains('\x1b') && log.contains("x1b[2"), "{log}");
}

#[tokio::test]
async fn the_wire_trace_is_off_until_asked() {
    assert_eq!(traced(Config::default(), "provod::wire=debug").await, "");
}
