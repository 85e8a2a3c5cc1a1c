//! How the command ends.

use rustix::process::Signal;

use crate::peer::{Peer, close, soon, text};
use crate::process::Provod;

#[tokio::test]
async fn ctrl_c_and_sigterm_close_with_1001_and_exit_0() {
    for command in ["serve", "listen"] {
        for signal in [Signal::INT, Signal::TERM] {
            let mut server = Provod::start(command, &["--drain=0s"]);
            let (mut a, mut b) = (server.join("/a").await, server.join("/b").await);
            // A client that asks nothing holds nothing up.
            let _silent = Peer::connect(server.address).await;
            a.send(text("x")).await;
            a.expect_text("x").await;
            server.signal(signal);
            for peer in [&mut a, &mut b] {
                peer.expect_close(1001).await;
                peer.send(close(1001)).await;
                peer.expect_end().await;
            }
            drop((a, b));
            assert_eq!(server.ended().await.code(), Some(0));
        }
    }
}

#[tokio::test]
async fn a_signal_right_after_the_ready_line_is_heard() {
    for _ in 0..10 {
        let mut server = Provod::serve(&[]);
        server.signal(Signal::INT);
        assert_eq!(server.ended().await.code(), Some(0));
    }
}

#[tokio::test]
async fn who_asks_for_the_health_is_told_before_anything_ends() {
    let mut server = Provod::serve(&["--drain-notice=1h"]);
    assert_eq!(server.get("/_provod/health", &[]).await.status, 200);
    let mut early = server.join("/r").await;
    server.signal(Signal::TERM);
    soon(async { while server.get("/_provod/health", &[]).await.status != 503 {} }).await;
    let mut late = server.join("/r").await;
    late.send(text("as before")).await;
    early.expect_text("as before").await;
    late.expect_text("as before").await;
    // A second signal cuts the notice short.
    server.signal(Signal::TERM);
    for peer in [&mut early, &mut late] {
        peer.expect_close(1001).await;
        peer.send(close(1001)).await;
    }
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test]
async fn after_the_notice_all_are_closed() {
    let mut server = Provod::serve(&["--drain-notice=200ms"]);
    server.get("/_provod/health", &[]).await;
    let mut member = server.join("/r").await;
    server.signal(Signal::TERM);
    member.expect_close(1001).await;
    member.send(close(1001)).await;
    assert_eq!(server.ended().await.code(), Some(0));
    assert!(server.log().contains("health answer is 503"), "{}", server.log());
    // Ctrl-C has no notice.
    let mut server = Provod::serve(&["--drain-notice=1h"]);
    server.get("/_provod/health", &[]).await;
    server.signal(Signal::INT);
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_quits() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut server = Provod::serve(&["--close-timeout=1h", "--drain=0s"]);
        let mut stubborn = server.join("/").await;
        server.signal(signal);
        stubborn.expect_close(1001).await;
        server.signal(signal);
        assert_eq!(server.ended().await.code(), Some(code));
    }
}

#[tokio::test]
async fn a_drain_of_an_hour_is_short_for_few_connections() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Provod::serve(&["--drain=1h"]);
        let mut members = Vec::new();
        for n in 0..3 {
            members.push(server.join(&format!("/{n}")).await);
        }
        server.signal(signal);
        for mut member in members {
            member.expect_close(1001).await;
            member.send(close(1001)).await;
            member.expect_end().await;
        }
        assert_eq!(server.ended().await.code(), Some(0));
    }
}

#[tokio::test]
async fn a_drain_waits_for_the_stubborn_as_long_as_it_was_told() {
    let mut server = Provod::serve(&["--drain=1h", "--close-timeout=1h"]);
    let (mut stubborn, mut good) = (server.join("/a").await, server.join("/b").await);
    server.signal(Signal::TERM);
    stubborn.expect_close(1001).await;
    good.expect_close(1001).await;
    good.send(close(1001)).await;
    good.expect_end().await;
    assert!(server.child.try_wait().unwrap().is_none());
    stubborn.send(close(1001)).await;
    drop((stubborn, good));
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test]
async fn the_close_timeout_bounds_the_end() {
    let mut server = Provod::serve(&["--close-timeout=500ms", "--drain=0s"]);
    let mut stubborn = server.join("/").await;
    server.signal(Signal::TERM);
    stubborn.expect_close(1001).await;
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_unix_socket_is_removed_at_the_end() {
    let path = std::env::temp_dir().join(format!("provod-cli-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let mut child = std::process::Command::new(crate::process::BINARY)
        .args(["serve", &format!("unix:{}", path.display())])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let stdout = child.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
    assert_eq!(line, format!("provod serve: listening on unix:{}\n", path.display()));
    let stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    let mut peer = Peer::client(stream);
    peer.upgrade("/chat", &[]).await;
    peer.send(text("x")).await;
    peer.expect_text("x").await;
    peer.bye().await;
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!path.exists());
}
