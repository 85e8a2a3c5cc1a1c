//! `provod connect --reconnect`: servers that come and go.

use tokio::io::AsyncWriteExt as _;

use crate::visitor::{Guest, Host, close, command, ended, finish, text};

/// Answers the Ping that asks what was read.
async fn confirm(guest: &mut Guest) {
    let (opcode, payload) = guest.frame().await.expect("a Ping");
    assert_eq!(opcode, 9, "{payload:?}");
    guest.send([&[0x8A, payload.len() as u8], &payload[..]].concat()).await;
}

#[tokio::test]
async fn it_connects_again_and_tells_of_it() {
    let host = Host::new().await;
    let mut child = command(&["--reconnect", &host.url()]).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(b"one\n").await.unwrap();
    let (mut guest, _) = host.open().await;
    guest.expect(1, b"one").await;
    confirm(&mut guest).await;
    guest.send(text("a")).await;
    guest.send(close(1012, "restart")).await;
    guest.expect_close(1012).await;
    drop(guest);

    // A line that is written while nobody is there waits.
    child.stdin.as_mut().unwrap().write_all(b"two\n").await.unwrap();
    let server = async {
        drop(host.guest().await);
        let (mut guest, _) = host.open().await;
        guest.expect(1, b"two").await;
        guest.expect(1, b"three").await;
        confirm(&mut guest).await;
        guest.send(text("b")).await;
        guest.bye().await;
    };
    let (seen, ()) = tokio::join!(finish(child, "three"), server);
    assert_eq!((seen.code, seen.text()), (Some(0), "a\nb\n"), "{seen:?}");
    let lines: Vec<_> = seen.stderr.lines().collect();
    for (n, start) in [
        "provod: connecting",
        "provod: connected",
        "provod: lost: the server closed with 1012: restart",
        "provod: waiting ",
        "provod: connecting, attempt 2",
        "provod: lost: the connection was lost: ",
        "provod: waiting ",
        "provod: connecting, attempt 3",
        "provod: connected",
    ]
    .into_iter()
    .enumerate()
    {
        assert!(lines.get(n).is_some_and(|line| line.starts_with(start)), "{start}: {seen:?}");
    }
    assert_eq!(lines.len(), 9, "{seen:?}");
}

#[tokio::test]
async fn a_line_in_doubt_is_named_and_not_sent_again() {
    let host = Host::new().await;
    let mut child = command(&["--reconnect", &host.url()]).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(b"sure\n").await.unwrap();
    let (mut guest, _) = host.open().await;
    guest.expect(1, b"sure").await;
    confirm(&mut guest).await;
    let server = async {
        guest.expect(1, b"doubtful").await;
        // All is known then, and there is nothing to connect again for.
        drop(guest);
    };
    let (seen, ()) = tokio::join!(finish(child, "doubtful\n"), server);
    assert_eq!(seen.code, Some(11), "{seen:?}");
    assert!(seen.stderr.contains("provod: line 2 may not have arrived"), "{seen:?}");
    assert!(!seen.stderr.contains("line 1"), "{seen:?}");
    assert!(seen.stderr.ends_with("provod: one line may not have arrived\n"), "{seen:?}");
}

#[tokio::test]
async fn a_line_in_doubt_is_named_where_the_server_ends_it() {
    // Which of the two is seen first is a matter of chance.
    for (code, exit) in [(1000, 11), (4001, 10)].repeat(6) {
        let host = Host::new().await;
        let child = command(&["--reconnect", &host.url()]).spawn().unwrap();
        let server = async {
            let (mut guest, _) = host.open().await;
            guest.expect(1, b"doubtful").await;
            guest.send(close(code, "")).await;
            // The Ping that asks what was read, and the Close.
            while guest.frame().await.is_some_and(|(opcode, _)| opcode != 8) {}
        };
        let (seen, ()) = tokio::join!(finish(child, "doubtful\n"), server);
        assert!(seen.stderr.contains("provod: line 1 may not have arrived"), "{seen:?}");
        assert_eq!(seen.code, Some(exit), "{seen:?}");
    }
}

#[tokio::test]
async fn what_is_of_no_use_ends_it() {
    for (code, exit) in [(1000, 0), (4001, 10)] {
        let host = Host::new().await;
        let child = command(&["--reconnect", &host.url()]).spawn().unwrap();
        let server = async {
            let (mut guest, _) = host.open().await;
            guest.send(close(code, "\u{1b}[2J")).await;
            guest.expect_close(code).await;
        };
        let (seen, ()) = tokio::join!(ended(child), server);
        assert_eq!(seen.code, Some(exit), "{seen:?}");
        assert!(!seen.stderr.contains('\u{1b}'), "{seen:?}");
    }
    let host = Host::new().await;
    let server = async {
        let mut guest = host.guest().await;
        guest.head().await;
        guest.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
    };
    let child = command(&["--reconnect", &host.url()]).spawn().unwrap();
    let (seen, ()) = tokio::join!(ended(child), server);
    assert_eq!(seen.code, Some(7), "{seen:?}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_signal_ends_the_wait() {
    use tokio::io::{AsyncBufReadExt as _, BufReader};

    let mut child = command(&["--reconnect", "ws://127.0.0.1:1/"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    loop {
        let line = crate::peer::soon(lines.next_line()).await.unwrap().expect("a line");
        if line.starts_with("provod: waiting") {
            break;
        }
    }
    let pid = rustix::process::Pid::from_raw(child.id().unwrap() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let status = crate::peer::soon(child.wait()).await.unwrap();
    assert_eq!(status.code(), Some(130));
}
