//! What the client asks, and the settings that it refuses before anything is sent.

use std::future::Future as _;
use std::time::Duration;

use provod::Client;
use provod::config::DeflateConfig;

use super::{plain, request_of};
use crate::peer::soon;
use crate::scripted::header;

/// Settings that cannot be: nothing is sent, and the error says these words.
async fn refused(client: Client, words: &[&str]) {
    let (near, mut far) = tokio::io::duplex(64 << 10);
    let e = soon(client.connect_over(near)).await.expect_err(&format!("{client:?}"));
    assert!(e.is_usage(), "{e:?}");
    let text = e.to_string();
    for word in words {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(!text.chars().any(char::is_control), "{text:?}");
    let mut sent = Vec::new();
    soon(tokio::io::AsyncReadExt::read_to_end(&mut far, &mut sent)).await.expect("the end");
    assert!(sent.is_empty(), "{:?}", String::from_utf8_lossy(&sent));
}

#[tokio::test]
async fn rfc6455_4_1_the_request() {
    let client = Client::new("ws://EXAMPLE.com:80/chat?room=7")
        .header("Cookie", "id=7")
        .header("X", "1")
        .header("X", "2")
        .subprotocol("b")
        .subprotocol("a")
        .origin("https://example.com")
        .compression(DeflateConfig::default());
    let request = request_of(&client).await;
    assert!(request.starts_with("GET /chat?room=7 HTTP/1.1\r\n"), "{request}");
    for (name, value) in [
        ("Host", "example.com"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Protocol", "b, a"),
        ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
        ("Origin", "https://example.com"),
        ("Cookie", "id=7"),
    ] {
        assert_eq!(header(&request, name), Some(value), "{request}");
    }
    assert!(request.contains("\r\nX: 1\r\nX: 2\r\n"), "{request}");
    let key = header(&request, "Sec-WebSocket-Key").expect("a key").to_owned();
    assert_eq!(key.len(), 24);
    let again = request_of(&client).await;
    assert_ne!(header(&again, "Sec-WebSocket-Key"), Some(&*key), "a key is new each time");
    assert_eq!(request_of(&plain()).await.lines().count(), 7, "nothing that was not asked for");
}

#[tokio::test]
async fn rfc7617_credentials_of_the_url_are_sent_and_not_shown() {
    let client = Client::new("ws://Aladdin:open%20sesame@example.com/x?token=hush");
    let sent = request_of(&client).await;
    assert_eq!(header(&sent, "Authorization"), Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
    assert!(!sent.contains("sesame"), "{sent}");
    let client = client.header("authorization", "Bearer hush").header("Cookie", "a=hush");
    let sent = request_of(&client).await;
    assert_eq!(header(&sent, "Authorization"), Some("Bearer hush"), "what is set counts");
    assert_eq!(sent.matches("uthorization").count(), 1, "{sent}");
    let shown = format!("{client:?}");
    for secret in ["hush", "sesame", "Aladdin", "QWxhZGRp"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(shown.contains("ws://example.com/x") && shown.contains("Cookie"), "{shown}");
}

#[tokio::test]
async fn the_host_header_can_be_another_than_the_urls() {
    let client = Client::new("ws://127.0.0.1:1/").header("host", "virtual.example:8080");
    let sent = request_of(&client).await;
    assert_eq!(header(&sent, "Host"), Some("virtual.example:8080"));
    assert_eq!(sent.to_ascii_lowercase().matches("\r\nhost:").count(), 1);
    for bad in ["", "a b", "a/b", "user@a", "a:b", "\u{ff}"] {
        refused(plain().header("Host", bad), &["host"]).await;
    }
}

#[tokio::test]
async fn a_line_end_cannot_be_smuggled_in() {
    for bad in ["x\r\nY: z", "x\nY: z", "x\rY", "x\0", "\u{1b}[2J"] {
        refused(plain().header("X", bad), &["control"]).await;
        refused(plain().header("Host", bad), &[]).await;
        refused(plain().header("Authorization", bad), &["control"]).await;
        refused(plain().header(bad, "x"), &["header name"]).await;
        refused(plain().subprotocol(bad), &["token"]).await;
        refused(plain().origin(bad), &["origin"]).await;
        refused(plain().origin(format!("http://{bad}")), &["origin"]).await;
        refused(Client::new(format!("ws://example.com/{bad}")), &["control"]).await;
        refused(Client::new(format!("ws://{bad}/")), &["control"]).await;
    }
    for bad in ["", "a b", "a:b", "a,b", "é"] {
        refused(plain().header(bad, "x"), &["header name"]).await;
        refused(plain().subprotocol(bad), &["token"]).await;
    }
    refused(plain().subprotocol("a").subprotocol("a"), &["twice"]).await;
    refused(plain().origin("example.com"), &["scheme://host"]).await;
    refused(plain().origin("https://example.com/path"), &["scheme://host"]).await;
}

#[tokio::test]
async fn headers_of_the_handshake_are_refused_with_the_way_to_set_them() {
    for (name, words) in [
        ("Origin", "Client::origin"),
        ("sec-websocket-protocol", "Client::subprotocol"),
        ("Sec-WebSocket-Extensions", "Client::compression"),
        ("Sec-WebSocket-Key", "leave it out"),
        ("Sec-WebSocket-Version", "leave it out"),
        ("Sec-WebSocket-Accept", "decides"),
        ("UPGRADE", "leave it out"),
        ("Connection", "leave it out"),
        ("Content-Length", "body"),
        ("Transfer-Encoding", "body"),
    ] {
        refused(plain().header(name, "x"), &[name, words]).await;
    }
    for name in ["Authorization", "Cookie", "Host"] {
        let twice = plain().header(name, "x").header(name.to_lowercase(), "y");
        refused(twice, &[name, "twice"]).await;
    }
}

#[tokio::test]
async fn an_address_that_is_none_is_refused() {
    for (url, word) in [
        ("example.com", "ws://"),
        ("ws://example.com/#top", "%23"),
        ("ws://u:hunter2@example.com:0/", "port 0"),
    ] {
        refused(Client::new(url), &[word]).await;
        let e = provod::connect(url).await.expect_err(url);
        assert!(e.is_usage() && !format!("{e} {e:?}").contains("hunter2"), "{e}");
    }
    #[cfg(not(feature = "tls"))]
    assert!(provod::connect("wss://example.com").await.is_err_and(|e| e.is_tls()));
}

#[tokio::test]
async fn times_of_nothing_and_without_end_are_no_panic() {
    let (_running, address) = crate::servers::start(provod::Server::new()).await;
    for time in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
        let mut config = provod::Config::default();
        config.close_timeout = time;
        config.keepalive = None;
        let client = Client::new(format!("ws://{address}/"))
            .config(config)
            .resolve_timeout(time)
            .connect_timeout(time)
            .proxy_timeout(time)
            .handshake_timeout(time);
        match soon(client.connect()).await {
            Ok(mut ws) => drop(soon(ws.close(1000, "")).await.expect("a legal code")),
            Err(e) => assert!(e.is_timeout() && time != Duration::MAX, "{e}"),
        }
        let server = provod::Server::new().handshake_timeout(time);
        let (near, far) = tokio::io::duplex(1024);
        let client = plain();
        let both = async { tokio::join!(client.connect_over(near), server.accept_over(far)) };
        let (_, accepted) = soon(both).await;
        assert!(accepted.is_ok() || time != Duration::MAX, "{accepted:?}");
    }
}

#[test]
fn outside_of_a_runtime_it_is_an_error() {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let client = plain();
    let mut connecting = std::pin::pin!(client.connect());
    let std::task::Poll::Ready(Err(e)) = connecting.as_mut().poll(&mut context) else {
        panic!("it must fail at once");
    };
    assert!(e.is_usage() && e.to_string().contains("tokio"), "{e}");
}

#[tokio::test]
async fn a_client_can_connect_in_a_task_of_its_own() {
    let (near, far) = tokio::io::duplex(4096);
    let client = tokio::spawn(async move { plain().connect_over(near).await.map(drop) });
    let server =
        tokio::spawn(async move { provod::Server::new().accept_over(far).await.map(drop) });
    assert!(soon(client).await.expect("no panic").is_ok());
    assert!(soon(server).await.expect("no panic").is_ok());
    let dialing = tokio::spawn(async { provod::connect("ws://127.0.0.1:0/").await.map(drop) });
    assert!(soon(dialing).await.expect("no panic").is_err());
}
