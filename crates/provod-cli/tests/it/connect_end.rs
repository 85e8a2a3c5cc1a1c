//! The end of input of `provod connect`, and what is in flight then; slow readers.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::peer::soon;
use crate::process::Provod;
use crate::visitor::{Host, binary, close, command, ended, finish, text, visit};

#[tokio::test]
async fn no_echo_in_flight_is_lost_at_the_end_of_input() {
    for options in [&[][..], &["--compress"]] {
        let server = Provod::start("listen", options);
        let url = format!("ws://{}/", server.address);
        let mut input = String::new();
        for n in 0..10_000 {
            input.push_str(&format!("message {n} {}\n", "x".repeat(n % 300)));
        }
        visit(&[options, &[&*url]].concat(), &input).await.expect_ok(&input);
    }
}

#[tokio::test]
async fn large_lines_go_both_ways() {
    let server = Provod::start("listen", &[]);
    let url = format!("ws://{}/", server.address);
    let line = "0123456789abcde\u{2014}".repeat(400_000);
    let input = format!("{line}\nshort\n{line}");
    visit(&[&url], &input).await.expect_ok(format!("{input}\n"));
}

#[tokio::test]
async fn each_frame_starts_the_close_timeout_anew() {
    let host = Host::new().await;
    let server = async {
        let (mut guest, _) = host.open().await;
        guest.expect(1, b"slowly").await;
        guest.expect_close(1000).await;
        // The silence in between is part of the scene: longer than the close timeout in all,
        // shorter each.
        for n in 0..6 {
            tokio::time::sleep(Duration::from_millis(400)).await;
            guest.send(text(&n.to_string())).await;
        }
        guest.send(close(1000, "")).await;
    };
    let arguments = ["--close-timeout=2s", &host.url()];
    let (seen, ()) = tokio::join!(visit(&arguments, "slowly\n"), server);
    seen.expect_ok("0\n1\n2\n3\n4\n5\n");
}

#[tokio::test]
async fn no_close_reads_on_until_the_peer_closes() {
    let host = Host::new().await;
    let server = async {
        let (mut guest, _) = host.open().await;
        guest.expect(1, b"subscribe").await;
        // The Pong comes instead of a Close.
        guest.send(b"\x89\x01x").await;
        guest.expect(10, b"x").await;
        guest.send([text("news"), close(1000, "")].concat()).await;
        guest.expect_close(1000).await;
    };
    let arguments = ["--no-close", "--close-timeout=100ms", &host.url()];
    let (seen, ()) = tokio::join!(visit(&arguments, "subscribe\n"), server);
    seen.expect_ok("news\n");
}

#[tokio::test]
async fn the_peer_closes_while_input_waits() {
    let host = Host::new().await;
    let mut child = command(&[&host.url()]).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(b"a\nunfinished").await.unwrap();
    let server = async {
        let (mut guest, _) = host.open().await;
        guest.expect(1, b"a").await;
        guest.send(close(1000, "")).await;
        guest.expect_close(1000).await;
        guest.gone().await;
    };
    let (seen, ()) = tokio::join!(ended(child), server);
    seen.expect_ok("");
}

#[tokio::test]
async fn a_line_without_end_is_bounded() {
    let host = Host::new().await;
    let mut child = command(&["--max-message=1M", &host.url()]).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let endless = async move {
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..1000 {
            if stdin.write_all(&piece).await.is_err() {
                return;
            }
        }
        panic!("a gigabyte was taken for one line");
    };
    let server = async {
        let (mut guest, _) = host.open().await;
        guest.expect_close(1001).await;
        guest.send(close(1001, "")).await;
    };
    let (seen, (), ()) = tokio::join!(ended(child), server, soon(endless));
    seen.expect_failure(1, &["line 1 of the input is longer than 1048576 bytes"]);
}

/// Resident memory of a process in bytes; 0 where the system does not say.
fn memory(pid: Option<u32>) -> usize {
    let statm = format!("/proc/{}/statm", pid.unwrap());
    let statm = std::fs::read_to_string(statm).unwrap_or_default();
    statm.split(' ').nth(1).and_then(|n| n.parse::<usize>().ok()).unwrap_or(0) * 4096
}

#[tokio::test]
async fn slow_standard_output_slows_the_peer_down() {
    let host = Host::new().await;
    // Nobody reads its output, and its input has ended: the close timeout does not run meanwhile.
    let mut child = command(&["--close-timeout=500ms", &host.url()]).spawn().unwrap();
    drop(child.stdin.take());
    let (mut guest, _) = host.open().await;
    guest.expect_close(1000).await;
    let before = memory(child.id());
    let message = binary(&[7; 50_000]);
    let mut sent = 0;
    // The kernel's buffers take some megabytes. A second without progress is a peer that is
    // slowed down, and longer than the close timeout.
    loop {
        let patience = Duration::from_secs(1);
        match tokio::time::timeout(patience, guest.io.write_all(&message)).await {
            Ok(result) => result.unwrap(),
            Err(_) => break,
        }
        sent += 1;
        assert!(sent < 4000, "200 MB were taken that nobody read");
    }
    let grown = memory(child.id()).saturating_sub(before);
    assert!(grown < 8 << 20, "{} KiB more", grown >> 10);
    assert!(child.try_wait().unwrap().is_none());
    // Once it is read, all of it comes. How much of the last message was written is not known: the
    // rest of it is whatever fills it up.
    let mut stdout = child.stdout.take().unwrap();
    let read = async {
        let mut all = Vec::new();
        stdout.read_to_end(&mut all).await.unwrap();
        all
    };
    let hang_up = async {
        drop(guest);
    };
    let (all, ()) = soon(async { tokio::join!(read, hang_up) }).await;
    assert!(all.len() >= sent * 50_000 && all.iter().all(|b| *b == 7), "{sent} {}", all.len());
    let seen = finish(child, "").await;
    seen.expect_failure(11, &["without a Close frame"]);
}

#[cfg(unix)]
#[tokio::test]
async fn a_signal_ends_it_though_nobody_reads_its_output() {
    use rustix::process::{Pid, Signal, kill_process};
    let host = Host::new().await;
    let mut child = command(&["--close-timeout=200ms", &host.url()]).spawn().unwrap();
    let pid = Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
    let (mut guest, _) = host.open().await;
    // More than a pipe takes; the Pong says that it has arrived.
    guest.send([binary(&[7; 200_000]), b"\x89\x00".to_vec()].concat()).await;
    guest.expect(10, b"").await;
    kill_process(pid, Signal::TERM).unwrap();
    guest.expect_close(1001).await;
    assert_eq!(soon(child.wait()).await.unwrap().code(), Some(143));
}

#[tokio::test]
async fn input_is_not_read_faster_than_the_peer_takes_it() {
    let host = Host::new().await;
    let mut child = command(&[&host.url()]).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let (_guest, _) = host.open().await;
    let lines = [[b'x'; 999].as_slice(), b"\n"].concat().repeat(100);
    let mut taken = 0;
    let patience = Duration::from_secs(1);
    while let Ok(result) = tokio::time::timeout(patience, stdin.write_all(&lines)).await {
        result.unwrap();
        taken += 1;
        assert!(taken < 1000, "100 MB were taken for a peer that reads nothing");
    }
    assert!(memory(child.id()) < 64 << 20);
}
