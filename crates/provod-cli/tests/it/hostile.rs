//! Peers that try to use up the server: memory and descriptors, measured from outside.

use std::process::Command;

use provod_proto::deflate::{Level, Pool, compress_once};

#[cfg(unix)]
use crate::peer::until;
use crate::peer::{Peer, close, header, open_narrow, open_with, ping, raw, request, text};
use crate::process::{BINARY, Provod};

/// What one hostile peer may cost at most, and more than an allocator's slack.
const BOUND: usize = 24 << 20;

/// Runs `attack` against an echo server and checks what it left behind.
async fn bounded(options: &[&str], attack: impl AsyncFnOnce(&Provod)) {
    let server = Provod::start("listen", options);
    // What the first connection costs once.
    let mut first = server.join("/").await;
    first.send(text("x")).await;
    first.expect_text("x").await;
    let before = server.memory();
    attack(&server).await;
    let after = server.memory();
    assert!(after < before + BOUND, "{} KiB more", (after - before) >> 10);
    // The server lives.
    first.send(text("y")).await;
    first.expect_text("y").await;
}

#[tokio::test]
async fn claimed_lengths_allocate_nothing() {
    bounded(&["--max-message=1000G"], async |server| {
        let mut peers = Vec::new();
        for _ in 0..20 {
            let mut peer = server.join("/").await;
            let mut bytes = header(0x82, 1 << 39);
            bytes.extend([0; 5000]);
            peer.send(bytes).await;
            peers.push(peer);
        }
        server_has_read(server, 20 * 5000).await;
    })
    .await;
}

/// Waits until the server has received this much.
async fn server_has_read(server: &Provod, bytes: u64) {
    // `listen` has no counters: a connection that comes later is answered later.
    let _ = bytes;
    for _ in 0..3 {
        let mut peer = server.join("/").await;
        peer.send(text("x")).await;
        peer.expect_text("x").await;
    }
}

#[tokio::test]
async fn pings_never_read_keep_no_more_than_some_pongs() {
    bounded(&[], async |server| {
        let mut peer = open_narrow(server.address).await;
        let flood = ping(&"x".repeat(125)).repeat(1000);
        for _ in 0..500 {
            peer.send(&flood).await;
        }
    })
    .await;
}

#[tokio::test]
async fn messages_never_taken_back_stop_at_the_peers_own_window() {
    bounded(&[], async |server| {
        let mut peer = open_narrow(server.address).await;
        let message = raw(2, vec![0; 60_000]).to_bytes();
        let patience = std::time::Duration::from_millis(300);
        let mut sent = 0;
        while peer.try_send_for(&message, patience).await == Some(true) {
            sent += 1;
            assert!(sent < 2000, "120 MB were taken from a peer that reads nothing");
        }
    })
    .await;
}

#[tokio::test]
async fn fragments_without_bytes_cost_nothing() {
    bounded(&[], async |server| {
        let mut peer = server.join("/").await;
        peer.send(raw(1, "").fin(false).to_bytes()).await;
        let flood = raw(0, "").fin(false).to_bytes().repeat(10_000);
        for _ in 0..14 {
            peer.send(&flood).await;
        }
        peer.expect_close(1009).await;
        peer.expect_end().await;
    })
    .await;
}

#[tokio::test]
async fn compressed_bombs_inflate_to_the_limit_at_most() {
    let bomb = compress_once(&vec![0; 48 << 20], 15, Level::default(), &Pool::default());
    bounded(&["--compress", "--max-message=1M"], async |server| {
        for _ in 0..5 {
            let line = "Sec-WebSocket-Extensions: permessage-deflate";
            let (mut peer, _) = open_with(server.address, "/", &[line]).await;
            peer.send(raw(2, bomb.clone()).rsv1(true).to_bytes()).await;
            peer.expect_close(1009).await;
            peer.expect_end().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_thousand_connections_come_and_go() {
    bounded(&[], async |server| {
        for round in 0..10 {
            let mut peers = Vec::new();
            for _ in 0..100 {
                peers.push(server.join("/").await);
            }
            for peer in &mut peers {
                peer.send([text("x"), close(1000)].concat()).await;
            }
            for peer in &mut peers {
                if round % 2 == 0 {
                    peer.expect_text("x").await;
                    peer.expect_close(1000).await;
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn unfinished_heads_cost_what_they_hold() {
    bounded(&[], async |server| {
        let mut peers = Vec::new();
        for _ in 0..100 {
            let mut peer = Peer::connect(server.address).await;
            peer.send(format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(8000))).await;
            peers.push(peer);
        }
        server_has_read(server, 100 * 8000).await;
    })
    .await;
}

/// A number behind `name=` in the last line of the log that says `what`.
#[cfg(unix)]
fn logged(log: &str, what: &str, name: &str) -> Option<u32> {
    let line = log.lines().rev().find(|line| line.contains(what))?;
    let number = line.split_once(&format!(" {name}="))?.1.split(' ').next()?;
    number.parse().ok()
}

/// A server that lets in more than it has descriptors for meets a crowd.
#[cfg(unix)]
async fn survives_running_out_of_descriptors(command: &str, workers: u32) {
    let script = format!(
        "ulimit -n 50; exec {BINARY} {command} 127.0.0.1:0 --workers={workers} \
         --max-connections=1000"
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]);
    let mut server = Provod::spawn(shell);
    let mut member = server.join("/room").await;
    let begun = std::time::Instant::now();
    let mut crowd = Vec::new();
    for _ in 0..100 {
        crowd.push(Peer::connect(server.address).await);
    }
    let complaint = "cannot accept connections";
    until(|| server.log().contains(complaint)).await;
    // Who is inside is served meanwhile.
    for _ in 0..200 {
        member.send(text("x")).await;
        member.expect_text("x").await;
    }
    drop(crowd);
    let mut late = server.join("/room").await;
    late.send(text("y")).await;
    late.expect_text("y").await;
    if command == "serve" {
        member.expect_text("y").await;
    }
    let again = "connections are accepted again";
    until(|| server.log().contains(again)).await;
    let seconds = begun.elapsed().as_secs_f64();
    // Each loop tries 20 times a second, and does not spin.
    let log = server.log();
    let failures = logged(&log, complaint, "failures").expect("a number")
        + logged(&log, again, "more_failures").expect("a number");
    let most = f64::from(workers) * (seconds * 20.0 + 2.0);
    assert!(f64::from(failures) <= most, "{failures} attempts in {seconds} s: {log}");
    // The line says how many, and what to do, and is not written for each attempt.
    assert_eq!(logged(&log, complaint, "descriptor_limit"), Some(50), "{log}");
    assert!(logged(&log, complaint, "open").is_some_and(|open| (10..50).contains(&open)), "{log}");
    assert!(log.contains("ulimit -n"), "{log}");
    let lines = log.matches(complaint).count();
    assert!(lines as f64 <= 1.0 + seconds / 10.0, "{log}");
    if command == "serve" {
        assert!(server.counter("accept_errors").await > 0);
    }
    assert!(server.child.try_wait().unwrap().is_none());
}

#[cfg(unix)]
#[tokio::test]
async fn running_out_of_descriptors_is_survived() {
    for command in ["serve", "listen"] {
        for workers in [1, 2] {
            survives_running_out_of_descriptors(command, workers).await;
        }
    }
}

#[cfg(unix)]
#[tokio::test]
async fn few_descriptors_make_a_small_server_and_not_one_of_a_single_place() {
    let mut command = Command::new("sh");
    let script = format!("ulimit -n 60; exec {BINARY} serve 127.0.0.1:0 --workers=1");
    command.args(["-c", &script]);
    let server = Provod::spawn(command);
    let mut members = Vec::new();
    for _ in 0..30 {
        members.push(server.join("/room").await);
    }
    let mut peer = Peer::connect(server.address).await;
    peer.send(request("/room", &[])).await;
    assert_eq!(peer.answer().await.status, 503);
}

#[tokio::test]
async fn a_log_that_nobody_reads_any_more_ends_nothing() {
    let mut command = Command::new(BINARY);
    command.args(["serve", "127.0.0.1:0", "--workers=1", "--log=trace"]);
    let server = Provod::spawn_deaf(command);
    for _ in 0..3 {
        let mut peer = server.join("/").await;
        peer.send(text("x")).await;
        peer.expect_text("x").await;
        peer.bye().await;
    }
}
