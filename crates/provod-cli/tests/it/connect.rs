//! What `provod connect` sends and prints, and each option's effect.

use tokio::io::AsyncWriteExt as _;

use crate::process::Provod;
use crate::visitor::{Host, binary, close, command, ended, field, finish, text, visit};

fn url(server: &Provod) -> String {
    format!("ws://{}/", server.address)
}

#[tokio::test]
async fn lines_become_messages_and_messages_lines() {
    let server = Provod::start("listen", &[]);
    let seen = visit(&[&url(&server)], "Привет\n\nb c\r\nlast without newline").await;
    seen.expect_ok("Привет\n\nb c\nlast without newline\n");
}

#[tokio::test]
async fn frames_are_text_or_with_b_binary_and_only_line_ends_are_cut() {
    let host = Host::new().await;
    let server = async {
        let (mut guest, _) = host.open().await;
        guest.expect(1, b"a").await;
        guest.expect(1, b"b\r").await;
        guest.expect(1, b" c ").await;
        guest.bye().await;
    };
    let (seen_text, ()) = tokio::join!(visit(&[&host.url()], "a\nb\r\r\n c "), server);
    seen_text.expect_ok("");
    let server = async {
        let (mut guest, _) = host.open().await;
        guest.expect(2, b"\xff\x00\r").await;
        guest.expect(2, b"").await;
        guest.expect(2, b"x\r").await;
        guest.bye().await;
    };
    let input = b"\xff\x00\r\n\nx\r";
    let (seen_binary, ()) = tokio::join!(visit(&["-b", &host.url()], input), server);
    seen_binary.expect_ok("");
}

#[tokio::test]
async fn into_a_pipe_bytes_are_unchanged() {
    let host = Host::new().await;
    let server = async {
        let (mut guest, _) = host.open().await;
        guest.send(text("\x1b[2J\r\u{9b}\u{202e}")).await;
        guest.send([binary(b"\xff\x00\x1b"), binary(b"\n"), binary(b"")].concat()).await;
        guest.send(text("end")).await;
        guest.bye().await;
    };
    let (seen, ()) = tokio::join!(visit(&[&host.url()], ""), server);
    seen.expect_ok(["\x1b[2J\r\u{9b}\u{202e}\n".as_bytes(), b"\xff\x00\x1b\nend\n"].concat());
}

#[tokio::test]
async fn frames_in_the_packet_of_the_answer_are_printed() {
    let host = Host::new().await;
    let server = async {
        let mut guest = host.guest().await;
        let mut answer = crate::visitor::answer(&guest.head().await, &[]).into_bytes();
        answer.extend([text("hello"), close(1000, "bye")].concat());
        guest.send(answer).await;
        guest.expect_close(1000).await;
    };
    let child = command(&[&host.url()]).spawn().unwrap();
    let (seen, ()) = tokio::join!(ended(child), server);
    seen.expect_ok("hello\n");
}

#[tokio::test]
async fn one_sends_a_line_prints_an_answer_and_closes() {
    let host = Host::new().await;
    let server = async {
        let (mut guest, _) = host.open().await;
        guest.expect(1, b"question").await;
        guest.send([text("answer"), text("more")].concat()).await;
        guest.bye().await;
    };
    // Its input stays open.
    let mut child = command(&["--one", &host.url()]).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(b"question\nanother\n").await.unwrap();
    let (seen, ()) = tokio::join!(ended(child), server);
    seen.expect_ok("answer\n");
}

#[tokio::test]
async fn one_without_input_prints_what_the_server_says_first() {
    let host = Host::new().await;
    let server = async {
        let (mut guest, _) = host.open().await;
        guest.send(text("news")).await;
        guest.bye().await;
    };
    let (seen, ()) = tokio::join!(visit(&["--one", &host.url()], ""), server);
    seen.expect_ok("news\n");
}

#[tokio::test]
async fn one_without_an_answer_fails() {
    let host = Host::new().await;
    let server = async {
        let (mut guest, _) = host.open().await;
        guest.send(close(1000, "")).await;
        guest.gone().await;
    };
    let child = command(&["--one", &host.url()]).spawn().unwrap();
    let (seen, ()) = tokio::join!(ended(child), server);
    seen.expect_failure(1, &["closed before"]);
}

#[tokio::test]
async fn headers_subprotocols_and_origin_reach_the_server() {
    let host = Host::new().await;
    let server = async {
        let (guest, head) = host.open_with(&["Sec-WebSocket-Protocol: b"]).await;
        guest.bye().await;
        head
    };
    let url = format!("{}a/b?c=d", host.url());
    let arguments = [
        &*url,
        "-H",
        "X-One: 1: 2",
        "--header=Cookie:k=v",
        "-s",
        "a",
        "--subprotocol=b",
        "--origin=https://example.com",
    ];
    let (seen, head) = tokio::join!(visit(&arguments, ""), server);
    seen.expect_ok("");
    assert!(head.starts_with("GET /a/b?c=d HTTP/1.1\r\n"), "{head}");
    assert_eq!(field(&head, "X-One"), Some("1: 2"));
    assert_eq!(field(&head, "Cookie"), Some("k=v"));
    assert_eq!(field(&head, "Sec-WebSocket-Protocol"), Some("a, b"));
    assert_eq!(field(&head, "Origin"), Some("https://example.com"));
    assert_eq!(field(&head, "Sec-WebSocket-Extensions"), None);
}

#[tokio::test]
async fn without_options_nothing_is_offered() {
    let host = Host::new().await;
    let server = async {
        let (guest, head) = host.open().await;
        guest.bye().await;
        head
    };
    let (seen, head) = tokio::join!(visit(&[&host.url()], ""), server);
    seen.expect_ok("");
    for name in ["Origin", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"] {
        assert_eq!(field(&head, name), None, "{head}");
    }
}

#[tokio::test]
async fn compress_is_offered_and_used_from_the_threshold_on() {
    for (client, server) in [
        (&["--compress"][..], &["--compress"][..]),
        (&["--compress=takeover"], &["--compress=takeover"]),
        (&["--compress=takeover"], &["--compress"]),
        (&["--compress", "--compress-threshold=0"], &["--compress", "--compress-threshold=0"]),
        (&["--compress"], &[]),
        (&["--compress=off"], &["--compress"]),
    ] {
        let server = Provod::start("listen", server);
        let url = url(&server);
        let input = format!("short\n{}\nпривет\n", "a".repeat(100_000));
        let seen = visit(&[client, &[&*url]].concat(), &input).await;
        seen.expect_ok(&input);
    }
    let host = Host::new().await;
    let server = async {
        let mut guest = host.guest().await;
        let head = guest.head().await;
        let offer = field(&head, "Sec-WebSocket-Extensions").unwrap().to_owned();
        let agreed = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
                      client_no_context_takeover";
        guest.send(crate::visitor::answer(&head, &[agreed])).await;
        guest.expect(1, b"short").await;
        let (_, compressed) = guest.frame().await.unwrap();
        assert!(compressed.len() < 100, "{}", compressed.len());
        guest.bye().await;
        offer
    };
    let input = format!("short\n{}\n", "a".repeat(1024));
    let (seen, offer) = tokio::join!(visit(&["--compress", &host.url()], &input), server);
    seen.expect_ok("");
    assert!(offer.starts_with("permessage-deflate"), "{offer}");
    assert!(offer.contains("client_no_context_takeover"), "{offer}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_is_connected_to() {
    let path = std::env::temp_dir().join(format!("provod-connect-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let socket = path.to_str().unwrap();
    let server = async {
        let (mut io, _) = crate::peer::soon(listener.accept()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            tokio::io::AsyncReadExt::read_buf(&mut io, &mut head).await.unwrap();
        }
        let head = String::from_utf8(head).unwrap();
        let answer = crate::visitor::answer(&head, &[]).into_bytes();
        io.write_all(&[answer, text("here"), close(1001, "")].concat()).await.unwrap();
        head
    };
    let (seen, head) = tokio::join!(visit(&["--unix-socket", socket, "/chat?x"], ""), server);
    std::fs::remove_file(&path).unwrap();
    seen.expect_ok("here\n");
    assert!(head.starts_with("GET /chat?x HTTP/1.1\r\n"), "{head}");
    assert_eq!(field(&head, "Host"), Some("localhost"));
    let seen = visit(&["--unix-socket", socket, "/"], "").await;
    seen.expect_failure(5, &[socket]);
}

#[tokio::test]
async fn the_scheme_and_this_machine_may_be_left_out() {
    let server = Provod::start("listen", &[]);
    for short in [server.address.to_string(), server.address.port().to_string()] {
        visit(&[&short], "x\n").await.expect_ok("x\n");
    }
}

#[tokio::test]
async fn http2_is_spoken_where_it_is_asked_for() {
    let server = Provod::start("listen", &[]);
    visit(&["--http2", &url(&server)], "a\nb\n").await.expect_ok("a\nb\n");
    visit(&["--http1.1", &url(&server)], "a\n").await.expect_ok("a\n");
    // A server that does not speak it.
    let host = Host::new().await;
    let answers = async {
        let mut guest = host.guest().await;
        guest.send("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await;
        guest
    };
    let address = host.url();
    let (seen, _guest) = tokio::join!(visit(&["--http2", &address], ""), answers);
    seen.expect_failure(8, &["HTTP/2"]);
}

#[tokio::test]
async fn log_says_what_happens_and_standard_output_does_not() {
    let server = Provod::start("listen", &[]);
    let seen = visit(&["--log=info,provod::wire=trace", &url(&server)], "x\n").await;
    assert_eq!((seen.code, seen.text()), (Some(0), "x\n"), "{seen:?}");
    for part in ["connected", "opcode=Text", "opcode=Close", "closed code=1000"] {
        assert!(seen.stderr.contains(part), "no {part} in {seen:?}");
    }
}

#[tokio::test]
async fn messages_are_printed_and_sent_as_they_come() {
    let host = Host::new().await;
    let mut child = command(&[&host.url()]).spawn().unwrap();
    let (mut guest, _) = host.open().await;
    let mut stdout = tokio::io::BufReader::new(child.stdout.take().unwrap());
    for n in 0..3 {
        let line = format!("{n}\n");
        child.stdin.as_mut().unwrap().write_all(line.as_bytes()).await.unwrap();
        guest.expect(1, n.to_string().as_bytes()).await;
        guest.send(text(&n.to_string())).await;
        let mut printed = String::new();
        let read = tokio::io::AsyncBufReadExt::read_line(&mut stdout, &mut printed);
        crate::peer::soon(read).await.unwrap();
        assert_eq!(printed, line);
    }
    let (seen, ()) = tokio::join!(finish(child, ""), guest.bye());
    seen.expect_ok("");
}
