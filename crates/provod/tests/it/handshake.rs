//! The opening handshake (RFC 6455 section 4) and plain HTTP.

use std::time::Duration;

use provod::Server;
use provod::config::{DeflateConfig, HeadLimits};
use provod::server::{Accept, OriginPolicy, Response};
use provod_testkit::peer::Wire;

use crate::peer::{Peer, close, open_with, ping, request, soon, text, until};
use crate::servers::{address, echo, hasty, start, start_with};

/// The answer to `bytes`, which must be a refusal: it says why in one line, and the connection
/// ends.
async fn refused(server: Server, bytes: impl Wire) -> crate::peer::Answer {
    let (_running, address) = start(server).await;
    let mut peer = Peer::connect(address).await;
    peer.send(bytes).await;
    let answer = peer.answer().await;
    let connection = answer.header("Connection").expect("Connection");
    assert!(connection.split(", ").any(|token| token == "close"), "{answer:?}");
    assert!(answer.body.trim().len() > 5 && answer.body.ends_with('\n'), "{answer:?}");
    assert_eq!(answer.body.lines().count(), 1, "{answer:?}");
    peer.expect_end().await;
    answer
}

fn without(line: &str) -> String {
    let request = request("/", &[]);
    let start = request.find(line).expect("the line is there");
    let end = start + request[start..].find("\r\n").expect("it ends") + 2;
    format!("{}{}", &request[..start], &request[end..])
}

#[tokio::test]
async fn rfc6455_4_2_2_the_answer_opens_the_connection() {
    let (_running, address) = start(Server::new()).await;
    let (peer, answer) = open_with(address, "/chat?x=1", &[]).await;
    assert_eq!(answer.header("Upgrade"), Some("websocket"));
    assert_eq!(answer.header("Connection"), Some("Upgrade"));
    // RFC 6455 section 1.3 works this pair out.
    assert_eq!(answer.header("Sec-WebSocket-Accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(answer.header("Sec-WebSocket-Protocol"), None);
    assert_eq!(answer.header("Sec-WebSocket-Extensions"), None);
    peer.bye().await;
}

#[tokio::test]
async fn each_broken_request_gets_its_status() {
    let good = request("/", &[]);
    let add = |line: &str| request("/", &[line]);
    let cases: Vec<(u16, String)> = vec![
        (426, without("Upgrade:")),
        (426, good.replace("Upgrade: websocket", "Upgrade: h2c")),
        (426, good.replace("Version: 13", "Version: 12")),
        (426, good.replace("Version: 13", "Version: 013")),
        (426, good.replace("Version: 13", "Version: 13, 8")),
        (426, without("Sec-WebSocket-Version:")),
        (400, without("Host:")),
        (400, without("Connection:")),
        (400, good.replace("Connection: Upgrade", "Connection: keep-alive")),
        (400, without("Sec-WebSocket-Key:")),
        (400, good.replace("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ")),
        (400, good.replace("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ=")),
        (400, good.replace("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZXh4eA==")),
        (400, good.replace("Host: localhost", "Host: local host")),
        (400, good.replace("Host: localhost", "Host: a/b")),
        (400, add("Host: localhost")),
        (400, add("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")),
        (400, add("Sec-WebSocket-Version: 13")),
        (400, request("/", &["Origin: http://localhost", "Origin: http://evil.example"])),
        (400, add("Content-Length: 5")),
        (400, add("Content-Length: -0")),
        (400, add("Transfer-Encoding: chunked")),
        (400, add("Transfer-Encoding: identity")),
        (400, request("/", &["Content-Length: 0", "Content-Length: 0"])),
        (400, add("Sec-WebSocket-Protocol: a, a")),
        (400, add("Sec-WebSocket-Protocol: a b")),
        (400, add("Sec-WebSocket-Protocol: ")),
        (400, add("Sec-WebSocket-Extensions: permessage-deflate; =")),
        // Texts that made the parsers of others take for ever.
        (400, add(&format!("Sec-WebSocket-Extensions: a; b=\"{}", "\\c".repeat(3900)))),
        (400, add(&format!("Sec-WebSocket-Protocol: a{}b", " ".repeat(7800)))),
        (400, add(&format!("Sec-WebSocket-Protocol: {}", "a,".repeat(3800)))),
        (400, good.replace("HTTP/1.1", "HTTP/1.0")),
        (400, good.replace("HTTP/1.1", "HTTP/2.0")),
        (400, good.replace("HTTP/1.1", "http/1.1")),
        (405, good.replace("GET ", "POST ")),
        (405, good.replace("GET ", "DELETE ")),
        (400, good.replace("GET /", "GET")),
        (400, good.replace("GET /", "GET *")),
        (400, good.replace("GET / ", "GET /\u{e9} ")),
        (400, good.replace("\r\n", "\n")),
        (400, good.replace("Host: localhost\r\n", "Host: localhost\n")),
        (400, good.replace("Host: localhost\r\n", "Host: localhost\r")),
        (400, good.replace("Host: localhost\r\n", "Host: localhost\r\n folded\r\n")),
        (400, good.replace("Host: localhost", "Host : localhost")),
        (400, add("X: a\0b")),
        (400, add("X\u{7f}: a")),
        (400, add(": a")),
        (400, add("no colon")),
        (400, "\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03".to_owned()),
        (400, "\r\n\r\n".to_owned()),
        (400, "\0".to_owned()),
        (403, add("Origin: http://evil.example")),
        (403, add("Origin: null")),
        (403, add("Origin: http://localhost:81")),
        (403, add("Origin: nonsense")),
        (414, format!("GET /{} HTTP/1.1\r\n", "a".repeat(9000))),
        (431, add(&format!("X: {}", "a".repeat(9000)))),
        (431, request("/", &["X: y"; 65])),
    ];
    for (status, bytes) in cases {
        let answer = refused(Server::new(), &bytes).await;
        assert_eq!(answer.status, status, "{bytes:?}: {answer:?}");
    }
}

#[tokio::test]
async fn rfc9110_15_5_22_a_426_names_the_protocol_and_its_version() {
    for bytes in [without("Upgrade:"), request("/", &[]).replace("Version: 13", "Version: 8")] {
        let answer = refused(Server::new(), bytes).await;
        assert_eq!(answer.status, 426);
        assert_eq!(answer.header("Upgrade"), Some("websocket"));
        assert_eq!(answer.header("Connection"), Some("Upgrade, close"));
        assert_eq!(answer.header("Sec-WebSocket-Version"), Some("13"));
    }
}

#[tokio::test]
async fn what_proxies_and_browsers_really_send_is_taken() {
    let (_running, address) = start(Server::new()).await;
    let good = request("/", &[]);
    for head in [
        good.replace("Connection: Upgrade", "connection: keep-alive, upgrade"),
        good.replace("Connection: Upgrade", "Connection: keep-alive\r\nConnection: UPGRADE"),
        good.replace("Upgrade: websocket", "Upgrade: WebSocket"),
        good.replace("Upgrade: websocket", "Upgrade: h2c, websocket"),
        good.replace("Host: localhost", "hOST:localhost:8080"),
        good.replace("Host: localhost", "Host: [::1]:80"),
        good.replace("GET / ", "GET http://localhost/chat?a "),
        good.replace("GET / ", "GET ws://localhost "),
        request("/", &["Content-Length: 0"]),
        request("/", &["X: \u{e9}\t"]),
        request("/", &["X: y"; 58]),
        request("/", &["Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: b"]),
        request("/", &["Origin: http://localhost"]),
        request("/", &["Origin: http://LOCALHOST:80"]),
        format!("\r\n{good}"),
    ] {
        let mut peer = Peer::connect(address).await;
        peer.send(&head).await;
        let answer = peer.answer().await;
        assert_eq!(answer.status, 101, "{head:?}: {answer:?}");
        peer.bye().await;
    }
}

#[tokio::test]
async fn a_head_may_drip_in_byte_by_byte() {
    let (_running, address) = start(Server::new()).await;
    let mut peer = Peer::connect(address).await;
    for byte in request("/", &[]).bytes() {
        peer.send([byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(peer.answer().await.status, 101);
    peer.bye().await;
}

#[tokio::test]
async fn frames_in_the_same_packet_as_the_request_are_not_lost() {
    let (_running, address) = start(Server::new()).await;
    let mut peer = Peer::connect(address).await;
    let mut bytes = request("/", &[]).into_bytes();
    bytes.extend(text("first"));
    bytes.extend(ping("p"));
    // The front of a frame, whose rest comes later.
    let second = text("second");
    bytes.extend(&second[..4]);
    peer.send(bytes).await;
    assert_eq!(peer.answer().await.status, 101);
    // The Pong overtakes the message that is queued with it.
    assert_eq!(peer.frame().await.unwrap().opcode, 10);
    peer.expect_text("first").await;
    peer.send(&second[4..]).await;
    peer.expect_text("second").await;
    peer.bye().await;
}

#[tokio::test]
async fn a_second_head_behind_the_first_is_bad_frames_and_no_second_request() {
    let (running, address) = start(Server::new()).await;
    let mut peer = Peer::connect(address).await;
    peer.send(request("/", &[]).repeat(2)).await;
    assert_eq!(peer.answer().await.status, 101);
    peer.expect_close(1002).await;
    peer.expect_end().await;
    assert_eq!(running.stats().opened, 1);
}

#[tokio::test]
async fn what_follows_a_refused_request_is_not_read_as_another() {
    let (running, address) = start(Server::new()).await;
    let mut peer = Peer::connect(address).await;
    let post = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n";
    peer.send(format!("{post}{}", request("/", &[]))).await;
    assert_eq!(peer.answer().await.status, 405);
    peer.expect_end().await;
    assert_eq!(running.stats().opened, 0);
}

#[tokio::test]
async fn a_slow_head_is_cut_with_408() {
    let server = Server::new().handshake_timeout(Duration::from_millis(500));
    let (running, address) = start(server).await;
    let mut peer = Peer::connect(address).await;
    peer.send("GET / HTTP/1.1\r\n").await;
    // Bytes that keep coming must not move the deadline.
    let mut drip = tokio::time::interval(Duration::from_millis(20));
    let answer = loop {
        tokio::select! {
            answer = peer.answer() => break answer,
            _ = drip.tick() => {}
        }
        peer.send("X").await;
    };
    assert_eq!(answer.status, 408);
    assert_eq!(answer.header("Connection"), Some("close"));
    peer.finish().await;
    peer.expect_end().await;
    assert_eq!(running.stats().refusals["timeout"], 1);
}

#[tokio::test]
async fn a_silent_peer_is_cut_at_the_deadline() {
    let server = Server::new().handshake_timeout(Duration::from_millis(50));
    let (running, address) = start(server).await;
    let mut peer = Peer::connect(address).await;
    peer.expect_end().await;
    assert_eq!(running.stats().refusals["timeout"], 1);
}

#[tokio::test]
async fn a_peer_that_leaves_in_mid_head_leaves_nothing_behind() {
    let (running, address) = start(Server::new().max_connections(1)).await;
    for _ in 0..3 {
        let mut peer = Peer::connect(address).await;
        peer.send("GET / HT").await;
        peer.finish().await;
        peer.expect_end().await;
    }
    until(|| running.stats().refusals.get("cut") == Some(&3)).await;
    Peer::open(address).await.bye().await;
}

#[tokio::test]
async fn head_limits_can_be_set() {
    let limits = HeadLimits { max_bytes: 400, max_headers: 6 };
    let server = || Server::new().head_limits(limits);
    assert_eq!(refused(server(), request("/", &["A: b"; 2])).await.status, 431);
    let long = format!("A: {}", "b".repeat(400));
    assert_eq!(refused(server(), request("/", &[&long])).await.status, 431);
    let (_running, address) = start(server()).await;
    open_with(address, "/", &["A: b"]).await.0.bye().await;
}

#[tokio::test]
async fn a_body_on_a_plain_request_is_refused_unread() {
    let get = |line: &str| format!("GET / HTTP/1.1\r\nHost: localhost\r\n{line}\r\n\r\n");
    for line in ["Content-Length: 7", "Transfer-Encoding: chunked"] {
        let mut bytes = get(line);
        bytes.push_str("nothing");
        let answer = refused(Server::new(), bytes).await;
        assert_eq!(answer.status, 413, "{line}");
    }
    for (line, status) in [("Content-Length: 0", 426), ("Content-Length: x", 400)] {
        assert_eq!(refused(Server::new(), get(line)).await.status, status, "{line}");
    }
}

#[tokio::test]
async fn a_refused_peer_reads_its_answer_though_it_goes_on_sending() {
    let (_running, address) = start(Server::new()).await;
    let mut peer = Peer::connect(address).await;
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n";
    peer.send(head).await;
    peer.send(vec![b'x'; 1_000_000]).await;
    let answer = peer.answer().await;
    assert_eq!(answer.status, 405);
    assert_eq!(answer.header("Allow"), Some("GET, HEAD"));
    peer.expect_end().await;
}

#[tokio::test]
async fn plain_http_knows_health_and_head_and_old_versions() {
    let server = || Server::new().health("/up");
    let (_running, address) = start(server()).await;
    for (request, status, body) in [
        ("GET /up HTTP/1.1\r\nHost: localhost\r\n\r\n", 200, "ok\n"),
        ("GET /up?x=y HTTP/1.1\r\nHost: localhost\r\n\r\n", 200, "ok\n"),
        ("GET /up HTTP/1.0\r\n\r\n", 200, "ok\n"),
        ("GET / HTTP/1.0\r\n\r\n", 426, ""),
        ("GET /up HTTP/1.1\r\n\r\n", 400, ""),
        ("DELETE /up HTTP/1.1\r\nHost: localhost\r\n\r\n", 405, ""),
    ] {
        let mut peer = Peer::connect(address).await;
        peer.send(request).await;
        let answer = peer.answer().await;
        assert_eq!(answer.status, status, "{request:?}: {answer:?}");
        assert!(body.is_empty() || answer.body == body, "{answer:?}");
        peer.expect_end().await;
    }
    // RFC 9110 section 9.3.2: the same head, and no body behind it.
    let mut peer = Peer::connect(address).await;
    peer.send("HEAD /up HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    peer.finish().await;
    let mut head = String::new();
    while let Some(byte) = peer.byte().await {
        head.push(char::from(byte));
    }
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("Content-Length: 3\r\n"), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "{head}");
}

#[tokio::test]
async fn origins_are_checked_by_the_policy() {
    let origin = |name: &str| format!("Origin: {name}");
    let listed = OriginPolicy::listed().allow("https://a.example").unwrap();
    let listed = listed.allow("b.example").unwrap().allow("null").unwrap();
    for (policy, name, status) in [
        (OriginPolicy::any(), "http://evil.example", 101),
        (OriginPolicy::any(), "nonsense", 101),
        (listed.clone(), "https://a.example", 101),
        (listed.clone(), "http://a.example", 403),
        (listed.clone(), "https://a.example:444", 403),
        (listed.clone(), "https://a.example.evil.example", 403),
        (listed.clone(), "http://b.example", 101),
        (listed.clone(), "null", 101),
        (listed.clone(), "http://localhost", 403),
        (OriginPolicy::same_host().on_loopback(true), "http://127.0.0.1:3000", 101),
        (OriginPolicy::same_host().on_loopback(true), "http://[::1]", 101),
        (OriginPolicy::same_host().on_loopback(true), "http://localhost.evil.example", 403),
        (OriginPolicy::same_host(), "http://127.0.0.1:3000", 403),
        (OriginPolicy::same_host(), "file://", 403),
    ] {
        let (_running, address) = start(Server::new().origin(policy.clone())).await;
        let mut peer = Peer::connect(address).await;
        peer.send(request("/", &[&origin(name)])).await;
        let answer = peer.answer().await;
        assert_eq!(answer.status, status, "{policy:?} {name}: {answer:?}");
    }
}

#[tokio::test]
async fn dns_rebinding_is_refused_on_loopback() {
    let policy = OriginPolicy::same_host().on_loopback(true);
    let evil = request("/", &["Origin: http://evil.example"])
        .replace("Host: localhost", "Host: evil.example");
    assert_eq!(refused(Server::new().origin(policy.clone()), evil).await.status, 403);
    let plain = "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    assert_eq!(refused(Server::new().origin(policy), plain).await.status, 403);
}

#[tokio::test]
async fn rfc6455_4_2_2_the_clients_first_known_subprotocol_is_chosen() {
    let (_running, address) = start(Server::new().subprotocols(["v2", "v1"])).await;
    for (offer, chosen) in
        [("v1, v2", Some("v1")), ("other, v2", Some("v2")), ("V1", None), ("other", None)]
    {
        let line = format!("Sec-WebSocket-Protocol: {offer}");
        let (peer, answer) = open_with(address, "/", &[&line]).await;
        assert_eq!(answer.header("Sec-WebSocket-Protocol"), chosen, "{offer}");
        peer.bye().await;
    }
    let (peer, answer) = open_with(address, "/", &[]).await;
    assert_eq!(answer.header("Sec-WebSocket-Protocol"), None);
    peer.bye().await;
}

#[tokio::test]
async fn rfc7692_7_1_offers_are_answered_or_declined() {
    let default = DeflateConfig::default();
    let bits10 =
        DeflateConfig { server_max_window_bits: 10, client_max_window_bits: 11, ..default };
    let cases = [
        (default, "permessage-deflate", Some("permessage-deflate")),
        (default, "x-other, permessage-deflate", Some("permessage-deflate")),
        (default, "x-webkit-deflate-frame", None),
        (default, "Permessage-Deflate", None),
        (
            default,
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
        ),
        (default, "permessage-deflate; client_max_window_bits", Some("permessage-deflate")),
        (
            default,
            "permessage-deflate; server_max_window_bits=9",
            Some("permessage-deflate; server_max_window_bits=9"),
        ),
        (
            default,
            "permessage-deflate; server_max_window_bits=\"12\"",
            Some("permessage-deflate; server_max_window_bits=12"),
        ),
        (
            default,
            "permessage-deflate; client_max_window_bits=8",
            Some("permessage-deflate; client_max_window_bits=8"),
        ),
        (
            bits10,
            "permessage-deflate; client_max_window_bits",
            Some("permessage-deflate; server_max_window_bits=10; client_max_window_bits=11"),
        ),
        (bits10, "permessage-deflate", Some("permessage-deflate; server_max_window_bits=10")),
        (default, "permessage-deflate; server_max_window_bits=8", None),
        (default, "permessage-deflate; server_max_window_bits", None),
        (default, "permessage-deflate; server_max_window_bits=", Some("400")),
        (default, "permessage-deflate; server_max_window_bits=0", None),
        (default, "permessage-deflate; server_max_window_bits=7", None),
        (default, "permessage-deflate; server_max_window_bits=16", None),
        (default, "permessage-deflate; server_max_window_bits=1000", None),
        (default, "permessage-deflate; server_max_window_bits=010", None),
        (default, "permessage-deflate; server_max_window_bits=-9", None),
        (default, "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10", None),
        (default, "permessage-deflate; server_no_context_takeover=1", None),
        (default, "permessage-deflate; unknown", None),
        (default, "permessage-deflate; unknown, permessage-deflate", Some("permessage-deflate")),
        (default, "permessage-deflate, permessage-deflate", Some("permessage-deflate")),
    ];
    for (config, offer, expected) in cases {
        let (_running, address) = start(Server::new().compression(config)).await;
        let mut peer = Peer::connect(address).await;
        peer.send(request("/", &[&format!("Sec-WebSocket-Extensions: {offer}")])).await;
        let answer = peer.answer().await;
        if expected == Some("400") {
            assert_eq!(answer.status, 400, "{offer}: {answer:?}");
            continue;
        }
        assert_eq!(answer.status, 101, "{offer}: {answer:?}");
        assert_eq!(answer.header("Sec-WebSocket-Extensions"), expected, "{offer}");
    }
    let (_running, address) = start(Server::new()).await;
    let line = "Sec-WebSocket-Extensions: permessage-deflate";
    let (peer, answer) = open_with(address, "/", &[line]).await;
    assert_eq!(answer.header("Sec-WebSocket-Extensions"), None, "off until asked");
    peer.bye().await;
}

#[tokio::test]
async fn the_application_decides_with_the_whole_head_and_hands_over_state() {
    let running = Server::new()
        .listen("127.0.0.1:0")
        .subprotocols(["a", "b"])
        .on_request(|request| async move {
            assert_eq!(request.headers().count(), 7);
            match request.header("authorization") {
                Some(name) if request.is_upgrade() => {
                    let name = String::from_utf8_lossy(name).into_owned();
                    Ok(Accept::new(name).subprotocol("b").header("Set-Cookie", "seen=1"))
                }
                Some(_) => Err(Response::text(404, "nothing here")),
                None => {
                    Err(Response::text(401, "who?").header("WWW-Authenticate", b"Basic").unwrap())
                }
            }
        })
        .start_with(|ws, name| async move {
            let agreed = ws.subprotocol().unwrap_or("none").to_owned();
            ws.send(format!("{name} {} {:?} {agreed}", ws.path(), ws.query())).await?;
            Ok(())
        })
        .await
        .unwrap();
    let address = address(&running);
    let lines = ["Authorization: Anna", "Sec-WebSocket-Protocol: a, b"];
    let (mut peer, answer) = open_with(address, "/p%20q?x=%3F", &lines).await;
    assert_eq!(answer.header("Set-Cookie"), Some("seen=1"));
    assert_eq!(answer.header("Sec-WebSocket-Protocol"), Some("b"));
    peer.expect_text("Anna /p%20q Some(\"x=%3F\") b").await;
    peer.expect_close(1000).await;

    let mut peer = Peer::connect(address).await;
    peer.send(request("/", &["A: 1", "B: 2"])).await;
    let answer = peer.answer().await;
    assert_eq!((answer.status, answer.body.as_str()), (401, "who?\n"));
    assert_eq!(answer.header("WWW-Authenticate"), Some("Basic"));
    peer.expect_end().await;
    assert_eq!(running.stats().refusals["application"], 1);
}

#[tokio::test]
async fn line_breaks_in_what_the_application_answers_never_reach_the_wire() {
    for accept in [
        Accept::new(()).header("X", "a\r\nSet-Cookie: evil=1"),
        Accept::new(()).header("X\r\nY", "a"),
        Accept::new(()).header("X", "a\0"),
        Accept::new(()).header("Connection", "close"),
        Accept::new(()).header("Sec-WebSocket-Accept", "x"),
        Accept::new(()).subprotocol("a\r\nX: y"),
        Accept::new(()).subprotocol("not-offered"),
    ] {
        let server = Server::new().on_request(move |_| std::future::ready(Ok(accept.clone())));
        let answer = refused(server, request("/", &["Sec-WebSocket-Protocol: a"])).await;
        assert_eq!(answer.status, 500, "{answer:?}");
        assert!(!answer.head.contains("evil"), "{answer:?}");
    }
    assert!(Response::new(200).header("X", b"a\nb").is_err());
}

#[tokio::test]
async fn a_request_callback_that_panics_is_answered_500_and_the_server_goes_on() {
    let server = Server::new().on_request(|request| async move {
        assert!(request.path() != "/panic", "on purpose");
        Ok(Accept::new(()))
    });
    let (running, address) = start(server).await;
    let mut peer = Peer::connect(address).await;
    peer.send(request("/panic", &[])).await;
    assert_eq!(peer.answer().await.status, 500);
    peer.expect_end().await;
    Peer::open(address).await.bye().await;
    assert_eq!(running.stats().handler_panics, 1);
}

#[tokio::test]
async fn a_full_server_answers_503_and_takes_the_next_when_there_is_room() {
    let (running, address) = start(Server::new().max_connections(2)).await;
    let first = Peer::open(address).await;
    let _second = Peer::open(address).await;
    let mut third = Peer::connect(address).await;
    third.send(request("/", &[])).await;
    let answer = third.answer().await;
    assert_eq!(answer.status, 503);
    assert!(answer.header("Retry-After").is_some());
    third.expect_end().await;
    assert_eq!(running.stats().turned_away, 1);
    assert_eq!(running.stats().refusals["full"], 1);
    first.bye().await;
    let fourth = soon(async {
        loop {
            let mut peer = Peer::connect(address).await;
            peer.send(request("/", &[])).await;
            if peer.answer().await.status == 101 {
                return peer;
            }
        }
    });
    fourth.await.bye().await;
}

#[tokio::test]
async fn silent_sockets_beyond_a_quarter_of_the_places_make_room_for_newer_ones() {
    let (running, address) = start(Server::new().max_connections(8)).await;
    let mut oldest = Peer::connect(address).await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(Peer::connect(address).await);
    }
    // However many have come and stay silent, whoever asks gets in.
    let good = Peer::open(address).await;
    assert_eq!(oldest.answer().await.status, 503);
    oldest.expect_end().await;
    good.bye().await;
    assert!(running.stats().refusals["evicted"] >= 30);
}

#[tokio::test]
async fn a_handler_that_never_yields_an_answer_does_not_hold_up_the_others() {
    let (_running, address) = start_with(Server::new().config(hasty()), |ws| async move {
        if ws.path() == "/stuck" {
            std::future::pending::<()>().await;
        }
        echo(ws).await
    })
    .await;
    let (mut stuck, _) = open_with(address, "/stuck", &[]).await;
    stuck.send(text("x")).await;
    let mut good = Peer::open(address).await;
    good.send(text("y")).await;
    good.expect_text("y").await;
    good.bye().await;
    // The Close is held for an application that might still take "x", until the close timeout.
    stuck.send(close(1000)).await;
    stuck.expect_close(1000).await;
    stuck.expect_end().await;
}
