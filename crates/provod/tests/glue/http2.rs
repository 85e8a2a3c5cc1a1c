//! WebSockets as streams of HTTP/2 (RFC 8441), through hyper.

use axum::Router;
use axum::response::Response;
use axum::routing::any;
use h2::Reason;
use provod::axum::WebSocketUpgrade;
use provod::close::Cause;
use provod::config::DeflateConfig;
use provod::{BoxError, Server, WebSocket};
use provod_testkit::peer::{MASK, close, soon, text};
use tokio::sync::mpsc;

use crate::servers::{axum, axum_with, echo, echoing, hyper};
use crate::streams::{GOOD, ask, connect, expect, names, say, say_last};

/// What a server writes for a text below 126 bytes.
fn unmasked(payload: &str) -> Vec<u8> {
    [&[0x81, payload.len() as u8], payload.as_bytes()].concat()
}

#[tokio::test]
async fn many_share_a_connection() {
    for address in [hyper(echoing).await, axum_with(|ws| ws.on_upgrade(echo)).await] {
        let mut connection = connect(address).await;
        let mut open = Vec::new();
        for _ in 0..5 {
            let (response, stream) = ask(&mut connection, "/", "websocket", &GOOD).await;
            assert_eq!(response.status(), 200);
            let names = names(response.headers());
            for name in ["upgrade", "connection", "sec-websocket-accept", "content-length"] {
                assert!(!names.contains(&name), "{name} in {names:?}");
            }
            open.push((response.into_body(), stream));
        }
        for (n, (body, stream)) in open.iter_mut().enumerate() {
            say(stream, text(format!("I am {n}")));
            expect(body, &unmasked(&format!("I am {n}"))).await;
        }
        let (mut body, mut stream) = open.pop().unwrap();
        say_last(&mut stream, close(1000));
        expect(&mut body, &[0x88, 2, 3, 232]).await;
        while let Some(data) = soon(body.data()).await {
            assert!(data.unwrap().is_empty(), "nothing comes behind the Close but the end");
        }
        let (body, stream) = &mut open[0];
        say(stream, text("the others live on"));
        expect(body, &unmasked("the others live on")).await;
    }
}

#[tokio::test]
async fn settings_hold_there_too() {
    let server = Server::new().subprotocols(["chat"]).compression(DeflateConfig::default());
    let upgrader = server.upgrader().unwrap();
    let address =
        axum_with(move |ws| ws.with(&upgrader).header("x-own", "yes").on_upgrade(echo)).await;
    let mut connection = connect(address).await;
    let headers = [
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "none, chat"),
        ("sec-websocket-extensions", "permessage-deflate"),
        ("origin", "http://localhost"),
    ];
    let (response, _stream) = ask(&mut connection, "/", "websocket", &headers).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
    let extensions = response.headers()["sec-websocket-extensions"].to_str().unwrap();
    assert!(extensions.starts_with("permessage-deflate"), "{extensions}");
    assert_eq!(response.headers()["x-own"], "yes");
}

#[tokio::test]
async fn bad_ones_are_refused() {
    for address in [hyper(echoing).await, axum_with(|ws| ws.on_upgrade(echo)).await] {
        let mut connection = connect(address).await;
        let version = ("sec-websocket-version", "13");
        for (protocol, headers, status) in [
            ("websocket", &[][..], 426),
            ("websocket", &[("sec-websocket-version", "8")], 426),
            ("websocket", &[version, ("origin", "https://elsewhere.example")], 403),
            ("websocket", &[version, ("sec-websocket-protocol", "a, a")], 400),
            ("something-else", &[version], 501),
        ] {
            let (response, _stream) = ask(&mut connection, "/", protocol, headers).await;
            assert_eq!(response.status(), status, "{protocol} {headers:?}");
            assert!(!names(response.headers()).contains(&"upgrade"));
        }
        // Plain HTTP.
        let request = http::Request::get("http://localhost/").body(()).unwrap();
        let (response, _) = connection.send_request(request, true).unwrap();
        assert_eq!(soon(response).await.unwrap().status(), 426);
        let (response, _stream) = ask(&mut connection, "/", "websocket", &GOOD).await;
        assert_eq!(response.status(), 200, "the connection is still good");
    }
}

#[tokio::test]
async fn a_stream_that_is_cut_is_a_lost_connection() {
    let (out, mut opened) = mpsc::unbounded_channel::<WebSocket>();
    let app = Router::new().route(
        "/a/path",
        any(|ws: WebSocketUpgrade| async move {
            ws.on_upgrade(move |ws| async move { Ok::<(), BoxError>(out.send(ws)?) })
        }),
    );
    let address = axum(app).await;
    let mut connection = connect(address).await;

    for ends in [true, false] {
        let (_response, mut stream) = ask(&mut connection, "/a/path?q", "websocket", &GOOD).await;
        let mut ws = soon(opened.recv()).await.unwrap();
        assert_eq!((ws.path(), ws.query()), ("/a/path", Some("q")));
        say(&mut stream, text("whole"));
        let half = text("half").masked(MASK).to_bytes();
        stream.send_data(half[..7].to_vec().into(), ends).unwrap();
        assert_eq!(soon(ws.recv()).await.unwrap(), Some("whole".into()));
        if !ends {
            stream.send_reset(Reason::CANCEL);
        }
        let error = soon(ws.recv()).await.unwrap_err();
        assert!(error.is_lost(), "{error}");
        assert_eq!(soon(ws.closed()).await.code().as_u16(), 1006);
        assert!(!matches!(ws.closed().await.cause, Cause::Peer));
    }
}

#[tokio::test]
async fn whoever_does_not_read_is_waited_for() {
    let address = axum_with(|ws| -> Response {
        ws.on_upgrade(|ws| async move {
            for n in 0..64 {
                ws.send(vec![n; 64 << 10]).await?;
            }
            Ok(())
        })
    })
    .await;
    let mut connection = connect(address).await;
    let (response, mut stream) = ask(&mut connection, "/", "websocket", &GOOD).await;
    let mut body = response.into_body();
    let mut len = 0;
    // 64 messages with headers of 10 bytes, and a Close with 1000.
    let all = 64 * ((64 << 10) + 10) + 4;
    while let Some(data) = soon(body.data()).await {
        let data = data.unwrap();
        len += data.len();
        body.flow_control().release_capacity(data.len()).unwrap();
        if len == all && !data.is_empty() {
            say_last(&mut stream, close(1000));
        }
    }
    assert_eq!(len, all);
}
