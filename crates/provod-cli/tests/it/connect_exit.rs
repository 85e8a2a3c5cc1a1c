//! The exit codes of `provod connect`, against servers that answer wrongly or not at all.

use provod_proto::deflate::{Level, Pool, compress_once};
use provod_proto::raw::RawFrame;
use tokio::io::AsyncWriteExt as _;

use crate::peer::soon;
use crate::visitor::{Guest, Host, Visit, answer, binary, close, command, ended, text, visit};

/// Visits a server that does `script` before it reads the request; the input stays open.
async fn at(arguments: &[&str], script: impl AsyncFnOnce(Guest)) -> Visit {
    let host = Host::new().await;
    let child = command(&[arguments, &[&*host.url()]].concat()).spawn().unwrap();
    let server = async { script(host.guest().await).await };
    let (seen, ()) = tokio::join!(ended(child), server);
    seen
}

/// The same, with the WebSocket open.
async fn opened(arguments: &[&str], script: impl AsyncFnOnce(Guest)) -> Visit {
    at(arguments, async |mut guest| {
        let head = guest.head().await;
        guest.send(answer(&head, &[])).await;
        script(guest).await;
    })
    .await
}

/// The server says this after the handshake and waits for the client to go.
async fn told(arguments: &[&str], bytes: &[u8]) -> Visit {
    opened(arguments, async |mut guest| {
        guest.send(bytes).await;
        guest.gone().await;
    })
    .await
}

#[tokio::test]
async fn code_2_wrong_usage() {
    for (arguments, says) in [
        (&[][..], "URL"),
        (&["--one", "--no-close", "x"], "--no-close"),
        (&["-H", "no colon", "x"], "Name: value"),
        (&["--connect-timeout=0", "x"], "--connect-timeout"),
        (&["--max-message=x", "x"], "--max-message"),
        (&["--log=loud", "x"], "--log"),
        (&["x", "y"], "y"),
        (&["--unknown", "x"], "--unknown"),
    ] {
        let seen = visit(arguments, "").await;
        assert_eq!(seen.code, Some(2), "{seen:?}");
        assert!(seen.stderr.contains(says), "{seen:?}");
    }
    for (arguments, says) in [
        (&["ftp://localhost/"][..], "ftp"),
        (&["ws://"], "host"),
        (&["ws://localhost/#x"], "fragment"),
        (&["ws://local host/\x1b[2J"], "address"),
        (&["-H", "a b: c", "ws://localhost/"], "a b"),
        (&["-H", "a: \x1b", "ws://localhost/"], "control"),
        (&["-H", "Upgrade: x", "ws://localhost/"], "Upgrade"),
        (&["-s", "a b", "ws://localhost/"], "a b"),
    ] {
        // Some of it is found out only once the server is there.
        let host = Host::new().await;
        let own = host.url();
        let arguments: Vec<_> =
            arguments.iter().map(|a| if *a == "ws://localhost/" { &*own } else { a }).collect();
        visit(&arguments, "").await.expect_failure(2, &[says]);
    }
}

#[tokio::test]
async fn code_4_the_name_cannot_be_resolved() {
    // RFC 6761 section 6.4: never a name.
    visit(&["ws://name.invalid/"], "").await.expect_failure(4, &["name.invalid"]);
}

#[tokio::test]
async fn code_5_nobody_takes_the_connection() {
    let gone = Host::new().await.url();
    let port = gone.trim_start_matches("ws://").trim_end_matches('/');
    visit(&[&gone], "").await.expect_failure(5, &[port]);
}

#[tokio::test]
async fn code_7_an_answer_that_is_no_upgrade() {
    let seen = at(&[], async |mut guest| {
        guest.head().await;
        guest.send(b"HTTP/1.1 403 For\x80bidden\r\nContent-Length: 20\r\n\r\n").await;
        guest.send(b"go\x1b[2J\r\nprovod: away").await;
    })
    .await;
    seen.expect_failure(7, &["403", r"go\u{1b}[2J\r\nprovod: away"]);
    let seen = at(&[], async |mut guest| {
        guest.head().await;
        let head =
            "HTTP/1.1 302 Fo\u{9b}und\r\nLocation: http://x/\u{9b}\r\nContent-Length: 0\r\n\r\n";
        guest.send(head).await;
    })
    .await;
    seen.expect_failure(7, &["302", "http://x/"]);
    let server = crate::process::Provod::serve(&[]);
    let url = format!("ws://{}/_provod/health", server.address);
    visit(&[&url], "").await.expect_failure(7, &["404"]);
}

#[tokio::test]
async fn code_8_an_answer_that_is_not_valid() {
    let good = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    for bad in [
        format!("{good}Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"),
        format!("{good}\r\n"),
        "HTTP/1.1 101 x\r\n\r\n".to_owned(),
        "SSH-2.0-OpenSSH_9.6\r\n\r\n".to_owned(),
        "\x1b[2J".repeat(10_000),
        "HTTP/1.1 200 OK\r\n".to_owned() + &"X: y\r\n".repeat(10_000),
        "HTTP/1.1 101 x\r\nX: ".to_owned() + &"y".repeat(1 << 20),
    ] {
        let seen = at(&[], async |mut guest| {
            guest.head().await;
            guest.send(&bad).await;
            guest.gone().await;
        })
        .await;
        seen.expect_failure(8, &["answer is not valid"]);
        assert!(seen.stdout.is_empty());
    }
    for unasked in ["Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Extensions: permessage-deflate"]
    {
        let seen = at(&[], async |mut guest| {
            let head = guest.head().await;
            guest.send(answer(&head, &[unasked])).await;
            guest.gone().await;
        })
        .await;
        seen.expect_failure(8, &["answer is not valid"]);
    }
    // The answer ends in its head.
    let seen = at(&[], async |mut guest| {
        guest.head().await;
        guest.send("HTTP/1.1 101 Switching\r\nUpgr").await;
    })
    .await;
    seen.expect_failure(8, &["answer is not valid"]);
}

#[tokio::test]
async fn code_9_the_peer_breaks_the_protocol() {
    let masked = RawFrame::new(1, "x").masked([1, 2, 3, 4]).to_bytes();
    for (bad, code) in [
        (masked, 1002),
        (RawFrame::new(1, b"\xff\xfe").to_bytes(), 1007),
        (RawFrame::new(3, "").to_bytes(), 1002),
        (b"\xc1\x01x".to_vec(), 1002),
        (b"\x89\x7e\x00\x80".to_vec(), 1002),
        (b"\x88\x01x".to_vec(), 1002),
        (close(1005, ""), 1002),
        (RawFrame::new(8, b"\x03\xe8\xff").to_bytes(), 1007),
    ] {
        let seen = opened(&[], async |mut guest| {
            guest.send([text("good"), bad].concat()).await;
            guest.expect_close(code).await;
        })
        .await;
        seen.expect_failure(9, &["the peer broke the protocol", "RFC 6455"]);
        assert_eq!(seen.text(), "good\n");
    }
}

#[tokio::test]
async fn code_10_the_peer_closes_with_another_code() {
    let seen = told(&[], &close(1003, "no\x1b[2J\u{202e}\nprovod: fine")).await;
    seen.expect_failure(10, &[r"1003: no\u{1b}[2J\u{202e}\nprovod: fine"]);
    told(&[], &close(4999, "")).await.expect_failure(10, &["4999"]);
    // The answer to the client's own Close counts too.
    let host = Host::new().await;
    let server = async {
        let (mut guest, _) = host.open().await;
        guest.expect_close(1000).await;
        guest.send(close(1011, "oops")).await;
    };
    let (seen, ()) = tokio::join!(visit(&[&host.url()], ""), server);
    seen.expect_failure(10, &["1011: oops"]);
}

#[tokio::test]
async fn codes_9_and_10_are_told_though_the_peer_takes_no_more_input() {
    for (last, code, says) in [
        (close(4008, "slow down"), 10, "4008: slow down"),
        (RawFrame::new(3, "").to_bytes(), 9, "opcode"),
    ] {
        // Behind a reset, only Linux still gives out what came before it.
        for hangs_up in [false, cfg!(target_os = "linux")] {
            let host = Host::new().await;
            let arguments = ["--close-timeout=200ms", &*host.url()];
            let mut child = command(&arguments).spawn().unwrap();
            let mut stdin = child.stdin.take().unwrap();
            // More than any queue and socket holds: it ends when nobody reads it any more.
            let endless = async move {
                let lines = [[b'x'; 9999].as_slice(), b"\n"].concat().repeat(10);
                while stdin.write_all(&lines).await.is_ok() {}
            };
            let server = async {
                let (mut guest, _) = host.open().await;
                guest.frame().await.expect("the first line");
                guest.send([text("last"), last.clone()].concat()).await;
                // With input unread, this is a reset behind the last words.
                if hangs_up { None } else { Some(guest) }
            };
            let (seen, (), _guest) = tokio::join!(ended(child), soon(endless), server);
            seen.expect_failure(code, &[says]);
            assert_eq!(seen.text(), "last\n");
        }
    }
}

#[tokio::test]
async fn code_0_the_peer_closes_with_1000_1001_or_none_while_input_is_open() {
    let none = RawFrame::new(8, "").to_bytes();
    for bye in [close(1000, "bye"), close(1001, "restart\x1b"), none] {
        told(&[], &[text("x"), bye].concat()).await.expect_ok("x\n");
    }
}

#[tokio::test]
async fn code_11_the_connection_is_lost() {
    // Before the answer, between frames, in a frame.
    let seen = at(&[], async |mut guest| drop(guest.head().await)).await;
    seen.expect_failure(11, &["lost"]);
    let seen = at(&[], async |mut guest| {
        guest.head().await;
        guest.reset();
    })
    .await;
    seen.expect_failure(11, &["lost"]);
    for bytes in [text("x"), [text("x"), b"\x81\x05ab".to_vec()].concat()] {
        let seen = opened(&[], async |mut guest| guest.send(&bytes).await).await;
        seen.expect_failure(11, &["without a Close frame"]);
        assert_eq!(seen.text(), "x\n");
    }
    let seen = opened(&[], async |guest| guest.reset()).await;
    seen.expect_failure(11, &["lost"]);
}

#[tokio::test]
async fn code_11_also_when_the_close_is_not_answered() {
    let host = Host::new().await;
    let server = async {
        let (mut guest, _) = host.open().await;
        guest.expect_close(1000).await;
    };
    let (seen, ()) = tokio::join!(visit(&[&host.url()], ""), server);
    seen.expect_failure(11, &["without a Close frame"]);
}

#[tokio::test]
async fn code_12_silence() {
    // No answer to the request, a head that does not end, no answer to the Close.
    let seen = at(&["--handshake-timeout=100ms"], async |mut guest| guest.gone().await).await;
    seen.expect_failure(12, &["100ms"]);
    let seen = at(&["--handshake-timeout=300ms"], async |mut guest| {
        guest.head().await;
        guest.send("HTTP/1.1 101 Switching\r\nX:").await;
        guest.gone().await;
    })
    .await;
    seen.expect_failure(12, &["300ms"]);
    let host = Host::new().await;
    for arguments in [&[][..], &["--one"]] {
        let server = async {
            let (mut guest, _) = host.open().await;
            if !arguments.is_empty() {
                guest.send(text("x")).await;
            }
            guest.expect_close(1000).await;
            guest.gone().await;
        };
        let url = host.url();
        let arguments = [arguments, &["--close-timeout=100ms", &*url]].concat();
        let (seen, ()) = tokio::join!(visit(&arguments, ""), server);
        seen.expect_failure(12, &["closing handshake"]);
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn code_12_nobody_takes_the_connection_in_time() {
    // Linux answers no further connection while so many wait to be accepted.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    let patience = std::time::Duration::from_millis(200);
    let connect = || tokio::time::timeout(patience, tokio::net::TcpStream::connect(address));
    while let Ok(connected) = connect().await {
        waiting.push(connected.unwrap());
        assert!(waiting.len() < 100);
    }
    let seen = visit(&["--connect-timeout=200ms", &format!("ws://{address}/")], "").await;
    seen.expect_failure(12, &["connecting", "200ms"]);
}

#[tokio::test]
async fn code_1_limits() {
    let long = [text("ok"), binary(&[0; 1025])].concat();
    let seen = told(&["--max-message=1K"], &long).await;
    seen.expect_failure(1, &["1024"]);
    assert_eq!(seen.text(), "ok\n");
    let fragments = [b"\x01\x00".to_vec(), b"\x00\x00".repeat(200_000)].concat();
    let seen = told(&[], &fragments).await;
    seen.expect_failure(1, &["frames"]);
    // 32 MiB of zeros in some 32 KiB.
    let bomb = compress_once(&vec![0; 32 << 20], 15, Level::default(), &Pool::default());
    let bomb = RawFrame::new(2, bomb).rsv1(true).to_bytes();
    let seen = at(&["--compress"], async |mut guest| {
        let head = guest.head().await;
        let agreed = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
                      client_no_context_takeover";
        guest.send(answer(&head, &[agreed])).await;
        guest.send(&bomb).await;
        guest.gone().await;
    })
    .await;
    seen.expect_failure(1, &["limit"]);
    assert!(seen.stdout.is_empty());
}

#[tokio::test]
async fn code_1_input_that_cannot_be_sent() {
    for (arguments, input, says) in [
        (&[][..], &b"good\n\xff\n"[..], "line 2 of the input is not UTF-8"),
        (&["--max-message=4"], b"good\r\ngood!\n", "line 2 of the input is longer than 4"),
        (&["--max-message=4"], b"good\ngood!", "line 2 of the input is longer than 4"),
        (&["--one"], b"\xff\ngood\n", "line 1 of the input is not UTF-8"),
    ] {
        let host = Host::new().await;
        let server = async {
            let (mut guest, _) = host.open().await;
            if arguments != ["--one"] {
                guest.expect(1, b"good").await;
            }
            guest.expect_close(1001).await;
            // The answer to what was good is printed.
            guest.send([text("ok"), close(1001, "")].concat()).await;
        };
        let (seen, ()) = tokio::join!(visit(&[arguments, &[&*host.url()]].concat(), input), server);
        seen.expect_failure(1, &[says]);
        assert_eq!(seen.text(), if arguments == ["--one"] { "" } else { "ok\n" });
    }
}

#[cfg(unix)]
#[tokio::test]
async fn code_1_standard_input_that_cannot_be_read() {
    let host = Host::new().await;
    let mut command = command(&[&host.url()]);
    command.stdin(std::fs::File::open(std::env::temp_dir()).unwrap());
    let child = command.spawn().unwrap();
    let server = async {
        let (mut guest, _) = host.open().await;
        guest.expect_close(1001).await;
        guest.send(close(1001, "")).await;
    };
    let (seen, ()) = tokio::join!(ended(child), server);
    seen.expect_failure(1, &["standard input"]);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn code_1_standard_output_that_cannot_be_written() {
    let host = Host::new().await;
    let mut command = command(&[&host.url()]);
    command.stdout(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    let child = command.spawn().unwrap();
    let server = async {
        let (mut guest, _) = host.open().await;
        guest.send(text("x")).await;
        guest.expect_close(1001).await;
        guest.send(close(1001, "")).await;
    };
    let (seen, ()) = tokio::join!(ended(child), server);
    seen.expect_failure(1, &["standard output"]);
}

#[tokio::test]
async fn code_0_whoever_read_the_output_has_gone() {
    let host = Host::new().await;
    let mut child = command(&[&host.url()]).spawn().unwrap();
    drop(child.stdout.take());
    let server = async {
        let (mut guest, _) = host.open().await;
        guest.send(text("x")).await;
        guest.expect_close(1000).await;
        guest.send([text("more"), close(1000, "")].concat()).await;
    };
    let (seen, ()) = tokio::join!(ended(child), server);
    seen.expect_ok("");
}

#[cfg(unix)]
#[tokio::test]
async fn codes_130_and_143_signals() {
    use rustix::process::{Pid, Signal, kill_process};
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let host = Host::new().await;
        let child = command(&[&host.url()]).spawn().unwrap();
        let pid = Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
        let server = async {
            let (mut guest, _) = host.open().await;
            guest.send(b"\x89\x00").await;
            guest.expect(10, b"").await;
            kill_process(pid, signal).unwrap();
            guest.expect_close(1001).await;
            guest.send(close(1001, "")).await;
        };
        let (seen, ()) = tokio::join!(ended(child), server);
        assert_eq!((seen.code, &*seen.stderr), (Some(code), ""), "{seen:?}");

        // A peer that does not answer the Close: the second signal is enough.
        let child = command(&["--close-timeout=1h", &host.url()]).spawn().unwrap();
        let pid = Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
        let server = async {
            let (mut guest, _) = host.open().await;
            guest.send(b"\x89\x00").await;
            guest.expect(10, b"").await;
            kill_process(pid, signal).unwrap();
            guest.expect_close(1001).await;
            kill_process(pid, signal).unwrap();
            guest.gone().await;
        };
        let (seen, ()) = tokio::join!(ended(child), server);
        assert_eq!(seen.code, Some(code), "{seen:?}");

        // A server that does not even answer the request.
        let mut child = command(&["--handshake-timeout=1h", &host.url()]).spawn().unwrap();
        let pid = Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
        let mut guest = host.guest().await;
        guest.head().await;
        kill_process(pid, signal).unwrap();
        assert_eq!(soon(child.wait()).await.unwrap().code(), Some(code));
    }
}
