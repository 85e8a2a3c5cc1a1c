//! A refused upgrade: its status, its headers and the start of its body.

use std::time::Duration;

use provod::{Error, HttpResponse};

use super::{answered, plain};
use crate::peer::soon;
use crate::scripted::Scripted;

fn response(e: &Error) -> &HttpResponse {
    assert!(!e.is_handshake() && !e.is_lost() && !e.is_timeout(), "{e}");
    e.http_response().unwrap_or_else(|| panic!("no answer of HTTP: {e}"))
}

/// The body that is reported for this answer.
async fn body(answer: &str) -> String {
    let e = answered(&plain(), answer).await.expect_err(answer);
    String::from_utf8_lossy(response(&e).body()).into_owned()
}

#[tokio::test]
async fn status_reason_headers_and_body_are_there() {
    let answer = "HTTP/1.1 401 Who are you?\r\nWWW-Authenticate: Basic\r\nX: 1\r\nx: 2\r\n\
                  Content-Length: 7\r\n\r\nsecret!and more";
    let e = answered(&plain(), answer).await.expect_err("a refusal");
    let response = response(&e);
    assert_eq!((response.status(), response.reason()), (401, "Who are you?"));
    assert_eq!(response.header("www-authenticate"), Some(&b"Basic"[..]));
    let all: Vec<_> = response.headers().filter(|(n, _)| n.eq_ignore_ascii_case("x")).collect();
    assert_eq!(all, [("X", &b"1"[..]), ("x", &b"2"[..])]);
    assert_eq!(response.body(), b"secret!");
}

#[tokio::test]
async fn rfc9112_6_3_the_body_ends_where_the_head_says() {
    for (answer, expected) in [
        ("HTTP/1.1 404 x\r\nContent-Length: 3\r\n\r\nabcdef", "abc"),
        ("HTTP/1.1 404 x\r\nContent-Length: 9\r\n\r\nabcdef", "abcdef"),
        ("HTTP/1.1 404 x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nabc", "abc"),
        ("HTTP/1.1 404 x\r\n\r\nabc", "abc"),
        ("HTTP/1.0 404 x\r\n\r\nabc", "abc"),
        ("HTTP/1.1 204 x\r\n\r\nabc", ""),
        ("HTTP/1.1 304 x\r\nContent-Length: 3\r\n\r\nabc", ""),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
            "abc",
        ),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno chunks", "no chunks"),
        ("HTTP/1.1 999 x\r\n\r\n", ""),
    ] {
        assert_eq!(body(answer).await, expected, "{answer:?}");
    }
}

#[tokio::test]
async fn the_body_is_cut_at_4_kib() {
    let long = "x".repeat(100_000);
    assert_eq!(body(&format!("HTTP/1.1 500 x\r\n\r\n{long}")).await.len(), 4096);
    let answer = format!("HTTP/1.1 500 x\r\nContent-Length: 100000\r\n\r\n{long}");
    assert_eq!(body(&answer).await.len(), 4096);
    let answer = format!("HTTP/1.1 500 x\r\nTransfer-Encoding: chunked\r\n\r\n186a0\r\n{long}\r\n");
    assert_eq!(body(&answer).await.len(), 4096);
}

/// How long the client waits, in milliseconds of tokio's clock, for a server that sends this and
/// one more `x` after each `pause`; and the body that it reports.
async fn waits(start: &str, pause: Duration) -> (u128, String) {
    let (near, mut server) = Scripted::pipe();
    let begun = tokio::time::Instant::now();
    let script = async {
        server.answer(start).await;
        loop {
            tokio::time::sleep(pause).await;
            server.send("x").await;
        }
    };
    let client = plain().handshake_timeout(Duration::from_secs(600));
    let e = tokio::select! {
        ws = client.connect_over(near) => ws.expect_err("a refusal"),
        () = script => unreachable!("it has no end"),
    };
    let body = String::from_utf8_lossy(response(&e).body()).into_owned();
    (begun.elapsed().as_millis(), body)
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_and_falls_silent_costs_a_moment() {
    let never = Duration::from_secs(3600);
    let announced = "HTTP/1.1 403 x\r\nContent-Length: 100\r\n\r\nsome";
    assert_eq!(waits(announced, never).await, (1000, "some".to_owned()));
    assert_eq!(waits("HTTP/1.1 403 x\r\n\r\n", never).await, (1000, String::new()));
    // One that has said all is not waited for.
    assert_eq!(waits("HTTP/1.1 403 x\r\nContent-Length: 0\r\n\r\n", never).await.0, 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_drips_is_not_waited_for_until_its_end() {
    let (took, body) = waits("HTTP/1.1 403 x\r\n\r\n", Duration::from_millis(900)).await;
    assert_eq!((took, body.as_str()), (3000, "xxx"));
}

#[tokio::test]
async fn what_the_server_says_cannot_steer_a_terminal() {
    let answer = "HTTP/1.1 302 \u{9b}2J\u{202e}\r\nLocation: http://x/\u{9b}31m\u{202e}\r\n\
                  Content-Length: 4\r\n\r\n\u{1b}[2J";
    let e = answered(&plain(), answer).await.expect_err("a redirect");
    for text in [e.to_string(), format!("{e:?}")] {
        let steers = |c: char| c.is_control() || c == '\u{202e}';
        assert!(!text.chars().any(steers), "{text:?}");
    }
    assert!(e.to_string().contains("redirects"), "{e}");
    assert_eq!(response(&e).body(), b"\x1b[2J");
}

#[tokio::test]
async fn a_refusal_that_is_reset_keeps_what_came() {
    let address = crate::scripted::listen(|mut stream| async move {
        use tokio::io::AsyncWriteExt as _;
        stream.readable().await.expect("a request");
        let answer = b"HTTP/1.1 503 x\r\nContent-Length: 9\r\n\r\nfull";
        stream.write_all(answer).await.expect("it is taken");
        // Closed with the request unread, the connection is reset.
    })
    .await;
    let e = soon(provod::connect(format!("ws://{address}/"))).await.expect_err("a refusal");
    // The reset may overtake the answer, which then is lost.
    assert!(e.is_lost() || response(&e).status() == 503, "{e}");
}
