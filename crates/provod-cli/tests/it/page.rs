//! Plain HTTP at `provod serve`.

use crate::peer::{Peer, text};
use crate::process::Provod;

#[tokio::test]
async fn a_browser_gets_the_page_and_what_it_needs() {
    let server = Provod::serve(&[]);
    let accept = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    for target in ["/", "/chat", "/%D0%BC%D0%B8%D1%80?x=y"] {
        let page = server.get(target, &[accept]).await;
        assert_eq!(page.status, 200);
        assert_eq!(page.header("Content-Type"), Some("text/html; charset=utf-8"));
        assert_eq!(page.header("X-Content-Type-Options"), Some("nosniff"));
        assert_eq!(page.header("Referrer-Policy"), Some("no-referrer"));
        assert_eq!(page.header("Vary"), Some("Accept"));
        assert_eq!(page.header("Cache-Control"), Some("no-cache"));
        let policy = page.header("Content-Security-Policy").expect("a policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
        assert!(policy.contains("connect-src 'self' ws://localhost wss://localhost;"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(page.body.contains("/_provod/page.js") && page.body.contains("/_provod/page.css"));
    }
    let style = server.get("/_provod/page.css", &[]).await;
    assert_eq!(
        (style.status, style.header("Content-Type")),
        (200, Some("text/css; charset=utf-8"))
    );
    // The page's scripts, found as a browser finds them.
    let mut scripts = vec!["page.js".to_owned()];
    let mut next = 0;
    while let Some(name) = scripts.get(next).cloned() {
        let answer = server.get(&format!("/_provod/{name}"), &[]).await;
        let kind = Some("text/javascript; charset=utf-8");
        assert_eq!((answer.status, answer.header("Content-Type")), (200, kind), "{name}");
        for line in answer.body.lines().filter(|line| line.starts_with("import ")) {
            let import = line.split("'./").nth(1).and_then(|rest| rest.strip_suffix("';"));
            let import = import.expect("a file beside this one").to_owned();
            if !scripts.contains(&import) {
                scripts.push(import);
            }
        }
        next += 1;
    }
    assert!(scripts.iter().any(|name| name == "provod-reconnect.js"), "{scripts:?}");
}

#[tokio::test]
async fn other_plain_requests_are_told_to_upgrade() {
    let server = Provod::serve(&[]);
    for lines in [&[][..], &["Accept: */*"], &["Accept: application/json, text/html;q=0"]] {
        let answer = server.get("/chat", lines).await;
        assert_eq!(answer.status, 426, "{lines:?}");
        assert_eq!(answer.header("Upgrade"), Some("websocket"));
        assert_eq!(answer.header("Sec-WebSocket-Version"), Some("13"));
    }
    let mut peer = Peer::connect(server.address).await;
    peer.send("POST /chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi").await;
    let answer = peer.answer().await;
    assert_eq!((answer.status, answer.header("Allow")), (405, Some("GET, HEAD")));
}

#[tokio::test]
async fn health_and_counters_are_there_and_nothing_else() {
    let server = Provod::serve(&[]);
    let health = server.get("/_provod/health", &[]).await;
    assert_eq!((health.status, health.body.as_str()), (200, "ok\n"));
    let counters = server.get("/_provod/counters", &[]).await;
    assert_eq!(counters.header("Content-Type"), Some("application/json"));
    assert!(server.counter("accepted").await >= 2);
    for target in ["/_provod", "/_provod/", "/_provod/secrets", "/_provod/../etc/passwd"] {
        assert_eq!(server.get(target, &["Accept: text/html"]).await.status, 404, "{target}");
    }
    let long = format!("/{}", "a".repeat(300));
    assert_eq!(server.get(&long, &["Accept: text/html"]).await.status, 400);
}

#[tokio::test]
async fn metrics_are_in_the_form_that_prometheus_reads() {
    let server = Provod::serve(&[]);
    let mut plain = server.join("/r").await;
    plain.send(text("x")).await;
    plain.expect_text("x").await;
    let answer = server.get("/_provod/metrics", &[]).await;
    let kind = answer.header("Content-Type");
    assert_eq!(kind, Some("text/plain; version=0.0.4; charset=utf-8"));
    let mut types = std::collections::BTreeMap::new();
    let mut samples = std::collections::BTreeMap::new();
    for line in answer.body.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert!(types.insert(name, kind).is_none(), "{name} twice");
        } else if !line.starts_with("# HELP ") {
            let (sample, value) = line.rsplit_once(' ').expect("a value");
            let name = sample.split('{').next().expect("a name");
            assert!(types.contains_key(name), "{name} has no type before it");
            assert_eq!(types[name] == "counter", name.ends_with("_total"), "{line}");
            assert!(samples.insert(sample, value.parse::<u64>().expect("a number")).is_none());
        }
    }
    for (sample, value) in [
        ("provod_connections_open", 1),
        ("provod_rooms", 1),
        ("provod_room_plain_clients", 1),
        ("provod_room_members", 0),
        ("provod_messages_received_total", 1),
        ("provod_messages_sent_total", 1),
    ] {
        assert_eq!(samples[sample], value, "{sample}");
    }
    assert!(samples["provod_history_bytes"] > 0);
    plain.bye().await;
    server.until_counter("open", |n| n == 0).await;
    let answer = server.get("/_provod/metrics", &[]).await;
    assert!(answer.body.contains("\nprovod_closes_received_total{code=\"1000\"} 1\n"));
}
