//! How the command ends.

use rustix::process::Signal;

use crate::peer::{Peer, close, text};
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
async fn sigterm_spreads_the_closes_over_drain_and_ctrl_c_does_not() {
    let mut server = Provod::serve(&["--drain=1h"]);
    let mut members = Vec::new();
    for n in 0..3 {
        members.push(server.join(&format!("/{n}")).await);
    }
    server.until_counter("open", |n| n == 3).await;
    server.signal(Signal::TERM);
    crate::peer::until(|| std::net::TcpStream::connect(server.address).is_err()).await;
    let first = crate::peer::first_closed(&mut members).await;
    members.remove(first);
    // One at once, the others later: they are served until then.
    for member in &mut members {
        member.send(text("still there?")).await;
        member.expect_text("still there?").await;
    }
    server.signal(Signal::TERM);
    assert_eq!(server.ended().await.code(), Some(143));

    let mut server = Provod::serve(&["--drain=1h"]);
    let mut members = vec![server.join("/").await, server.join("/").await];
    server.signal(Signal::INT);
    for member in &mut members {
        member.expect_close(1001).await;
        member.send(close(1001)).await;
    }
    drop(members);
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test]
async fn the_close_timeout_bounds_the_end() {
    let mut server = Provod::serve(&["--close-timeout=50ms", "--drain=0s"]);
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
    let (mut peer, _) = Peer::new(stream).upgrade("/chat", &[]).await;
    peer.send(text("x")).await;
    peer.expect_text("x").await;
    peer.bye().await;
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!path.exists());
}
