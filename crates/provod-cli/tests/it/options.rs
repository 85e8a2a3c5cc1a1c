//! Each option has its effect.

use crate::peer::{Peer, binary, header, open_with, request, text, until};
use crate::process::Provod;

async fn status(server: &Provod, lines: &[&str]) -> u16 {
    let mut peer = Peer::connect(server.address).await;
    peer.send(request("/", lines)).await;
    peer.answer().await.status
}

#[tokio::test]
async fn max_message_bounds_messages() {
    let server = Provod::serve(&["--max-message=1K"]);
    let mut peer = server.join("/").await;
    peer.send(binary(&[1; 1024])).await;
    assert_eq!(peer.message().await.payload.len(), 1024);
    peer.send(header(0x82, 1025)).await;
    peer.expect_close(1009).await;
    peer.expect_end().await;
}

#[tokio::test]
async fn max_connections_bounds_connections() {
    let server = Provod::serve(&["--max-connections=2"]);
    let _open = [server.join("/").await, server.join("/").await];
    assert_eq!(status(&server, &[]).await, 503);
}

#[tokio::test]
async fn memory_budget_bounds_all_connections_together() {
    for command in ["serve", "listen"] {
        let server = Provod::start(command, &["--memory-budget=256K"]);
        let (mut greedy, mut small) = (server.join("/").await, server.join("/").await);
        // The beginning of a message that is within the limit of a connection.
        greedy.send(header(0x82, 1 << 20)).await;
        greedy.send(&[0; 400_000]).await;
        greedy.expect_close(1013).await;
        small.send(text("I live")).await;
        small.expect_text("I live").await;
        if command == "serve" {
            server.until_counter("shed", |n| n == 1).await;
        }
    }
}

#[tokio::test]
async fn handshake_timeout_cuts_slow_heads() {
    let server = Provod::serve(&["--handshake-timeout=500ms"]);
    let mut peer = Peer::connect(server.address).await;
    peer.send("GET / HTTP/1.1\r\n").await;
    assert_eq!(peer.answer().await.status, 408);
    peer.expect_end().await;
}

#[tokio::test]
async fn origins_are_the_same_host_and_loopback_until_others_are_allowed() {
    let server = Provod::serve(&[]);
    for (origin, expected) in [
        ("Origin: http://localhost:3000", 101),
        ("Origin: http://127.0.0.1", 101),
        ("Origin: https://a.example", 403),
        ("Origin: null", 403),
    ] {
        assert_eq!(status(&server, &[origin]).await, expected, "{origin}");
    }
    let rebound = request("/", &[]).replace("Host: localhost", "Host: evil.example");
    let mut peer = Peer::connect(server.address).await;
    peer.send(rebound).await;
    assert_eq!(peer.answer().await.status, 403);

    let server = Provod::serve(&["--allow-origin=https://a.example", "--allow-origin", "null"]);
    assert_eq!(status(&server, &["Origin: https://a.example"]).await, 101);
    assert_eq!(status(&server, &["Origin: null"]).await, 101);
    assert_eq!(status(&server, &["Origin: https://b.example"]).await, 403);
    let server = Provod::serve(&["--allow-origin=*"]);
    assert_eq!(status(&server, &["Origin: https://b.example"]).await, 101);
    let server = Provod::start("listen", &[]);
    assert_eq!(status(&server, &["Origin: https://b.example"]).await, 101);
}

const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits";

#[tokio::test]
async fn compress_and_its_threshold_say_what_is_compressed() {
    let once = Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover");
    let small = Some("permessage-deflate; server_max_window_bits=12; client_max_window_bits=12");
    // How long a text must be to come back compressed; none does without agreement.
    for (command, options, agreed, from) in [
        ("serve", &[][..], once, Some(1024)),
        ("serve", &["--compress=off"], None, None),
        ("serve", &["--compress=on", "--compress-threshold=100"], once, Some(100)),
        ("serve", &["--compress=takeover"], small, Some(1024)),
        ("listen", &[], None, None),
        ("listen", &["--compress"], once, Some(1024)),
        ("listen", &["--compress", "--compress-threshold", "0"], once, Some(20)),
    ] {
        let server = Provod::start(command, options);
        let (mut peer, answer) = open_with(server.address, "/", &[OFFER]).await;
        let what = format!("{command} {options:?}");
        assert_eq!(answer.header("Sec-WebSocket-Extensions"), agreed, "{what}");
        for len in [20, 99, 100, 1023, 1024, 5000] {
            peer.send(text(&"a".repeat(len))).await;
            let frame = peer.message().await;
            assert_eq!(frame.rsv1, from.is_some_and(|from| len >= from), "{what}: {len}");
            assert_eq!(frame.rsv1, frame.payload.len() < len, "{what}: {len}");
        }
        peer.bye().await;
    }
}

#[tokio::test]
async fn log_says_what_is_logged() {
    let talk = async |filter: &str| {
        let server = Provod::serve(&[&format!("--log={filter}")]);
        let mut peer = server.join("/").await;
        peer.send(text("secret")).await;
        peer.expect_text("secret").await;
        peer.bye().await;
        server.until_counter("open", |n| n == 0).await;
        server.whole_log()
    };
    assert_eq!(talk("off").await, "");
    let frames = talk("warn,provod::wire=trace").await;
    assert!(frames.contains("opcode=Text") && frames.contains("opcode=Close"), "{frames}");
    assert!(!frames.contains("secret") && !frames.contains('\x1b'), "{frames}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn workers_says_how_many_threads_carry_connections() {
    for workers in [1, 3] {
        let server = Provod::serve(&[&format!("--workers={workers}")]);
        let tasks = format!("/proc/{}/task", server.child.id());
        // A thread gives itself its name, which may take a moment.
        until(|| {
            let names = std::fs::read_dir(&tasks).unwrap().map(|task| {
                std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default()
            });
            names.filter(|name| name.starts_with("provod-")).count() == workers
        })
        .await;
    }
}

#[tokio::test]
async fn log_format_json_writes_an_object_a_line() {
    let server = Provod::serve(&["--log-format=json", "--log=debug"]);
    let peer = server.join("/r?token=s3cret").await;
    peer.bye().await;
    until(|| server.log().contains("\"message\":\"ended\"")).await;
    let log = server.whole_log();
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    assert!(!log.contains("s3cret"), "{log}");
    let line = |message: &str| {
        let found = lines.iter().find(|line| line["message"] == message);
        found.unwrap_or_else(|| panic!("no {message:?} in {log}"))
    };
    assert!(line("listening")["address"].is_string());
    assert_eq!(line("opened")["path"], "/r");
    let ended = line("ended");
    assert_eq!((&ended["code"], &ended["clean"]), (&1000.into(), &true.into()));
    assert!(ended["seconds"].is_f64() && ended["timestamp"].is_string());
}
