//! WebSockets over HTTP/1.1.

use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use axum::middleware::{Next, from_fn};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::{any, get};
use axum::{Extension, Router};
use provod::axum::WebSocketUpgrade;
use provod::close::Cause;
use provod::config::DeflateConfig;
use provod::hyper::Upgrade;
use provod::{Client, CloseCode, Config, Error, Server, connect};
use provod_testkit::peer::{MASK, Peer, request, soon, text};
use tokio::io::duplex;
use tokio::sync::mpsc;

use crate::servers::{Wrapped, axum, axum_with, echo, echoing, hyper, hyper_http1};

async fn echoes(address: SocketAddr) {
    let mut ws = soon(connect(format!("ws://{address}/"))).await.unwrap();
    for message in ["", "one", "two"] {
        ws.send(message).await.unwrap();
        assert_eq!(soon(ws.recv()).await.unwrap(), Some(message.into()));
    }
    let long = "long".repeat(100_000);
    ws.send(&*long).await.unwrap();
    assert_eq!(soon(ws.recv()).await.unwrap(), Some(long.as_str().into()));
    let closed = soon(ws.close(1000, "")).await.unwrap();
    assert!(closed.is_clean(), "{closed:?}");
}

#[tokio::test]
async fn every_server_hands_its_connections_over() {
    echoes(hyper(echoing).await).await;
    echoes(hyper_http1(|tcp| tcp, true, echoing).await).await;
    echoes(hyper_http1(Wrapped, true, echoing).await).await;
    echoes(axum_with(|ws| ws.on_upgrade(echo)).await).await;
    echoes(
        axum(Router::new().route("/", get(|ws: WebSocketUpgrade| async { ws.on_upgrade(echo) })))
            .await,
    )
    .await;
}

/// A server that tells whom it talks to; only who has the socket itself knows.
async fn peer_told(address: SocketAddr) -> String {
    let mut ws = soon(connect(format!("ws://{address}/"))).await.unwrap();
    let told = soon(ws.recv()).await.unwrap().unwrap();
    told.as_text().unwrap().to_owned()
}

fn telling<R>(mut request: http::Request<R>) -> http::Response<String> {
    match Upgrade::new(&mut request) {
        Ok(upgrade) => upgrade.on_upgrade(|ws| async move { Ok(ws.send(ws.peer()).await?) }),
        Err(refusal) => refusal,
    }
}

#[tokio::test]
async fn a_plain_socket_is_taken_back_and_any_other_stream_stays_with_hyper() {
    let is_address = |peer: String| peer.parse::<SocketAddr>().is_ok();
    assert!(is_address(peer_told(hyper(telling).await).await));
    assert!(is_address(peer_told(hyper_http1(|tcp| tcp, true, telling).await).await));
    let told = peer_told(
        axum_with(|ws| ws.on_upgrade(|ws| async move { Ok(ws.send(ws.peer()).await?) })).await,
    );
    assert!(is_address(told.await));
    assert_eq!(peer_told(hyper_http1(Wrapped, true, telling).await).await, "stream");
}

#[tokio::test]
async fn a_unix_socket_is_taken_back() {
    use hyper_util::rt::TokioIo;
    let (near, far) = tokio::net::UnixStream::pair().unwrap();
    tokio::spawn(async move {
        let service = hyper::service::service_fn(|request| {
            std::future::ready(Ok::<_, std::convert::Infallible>(telling(request)))
        });
        let server = hyper::server::conn::http1::Builder::new();
        server.serve_connection(TokioIo::new(far), service).with_upgrades().await
    });
    let mut ws = soon(Client::new("ws://localhost/").connect_over(near)).await.unwrap();
    assert_eq!(soon(ws.recv()).await.unwrap(), Some("unix".into()));
}

#[tokio::test]
async fn frames_in_the_packet_of_the_request_are_not_lost() {
    for address in [
        hyper(echoing).await,
        hyper_http1(|tcp| tcp, true, echoing).await,
        hyper_http1(Wrapped, true, echoing).await,
        axum_with(|ws| ws.on_upgrade(echo)).await,
    ] {
        let mut peer = Peer::connect(address).await;
        let mut packet = request("/", &[]).into_bytes();
        packet.extend(text("one").masked(MASK).to_bytes());
        packet.extend(text("two").masked(MASK).to_bytes());
        peer.send(packet).await;
        assert_eq!(peer.answer().await.status, 101);
        peer.expect_text("one").await;
        peer.expect_text("two").await;
    }
}

#[tokio::test]
async fn settings_are_those_of_the_upgrader_and_of_the_request() {
    let mut config = Config::default();
    config.limits.max_message = 100;
    let server = Server::new().config(config).subprotocols(["two", "one"]);
    let upgrader = server.compression(DeflateConfig::default()).upgrader().unwrap();
    let stats = upgrader.clone();
    let app = Router::new()
        .route(
            "/all",
            any(|ws: WebSocketUpgrade| async {
                ws.header("Set-Cookie", "a=1").header("set-cookie", "b=2").on_upgrade(echo)
            }),
        )
        .route(
            "/own",
            any(|ws: WebSocketUpgrade| async {
                assert_eq!(ws.requested_protocols(), ["one", "three"]);
                ws.protocols(["three"]).on_upgrade(echo)
            }),
        )
        .layer(Extension(upgrader));
    let address = axum(app).await;
    let client = |path: &str| {
        let client = Client::new(format!("ws://{address}/{path}")).subprotocol("one");
        client.subprotocol("three").compression(DeflateConfig::default())
    };

    let mut ws = soon(client("all").connect()).await.unwrap();
    assert_eq!(ws.subprotocol(), Some("one"));
    assert!(ws.compression().is_some());
    let headers = ws.response().unwrap().headers();
    let cookies: Vec<_> = headers.filter(|(n, _)| n.eq_ignore_ascii_case("set-cookie")).collect();
    assert_eq!(cookies.iter().map(|(_, value)| *value).collect::<Vec<_>>(), [b"a=1", b"b=2"]);
    ws.send("a".repeat(100)).await.unwrap();
    assert_eq!(soon(ws.recv()).await.unwrap().unwrap().len(), 100);
    assert_eq!(stats.stats().open, 1);
    ws.send("a".repeat(101)).await.unwrap();
    assert_eq!(soon(ws.recv()).await.unwrap(), None);
    assert_eq!(ws.closed().await.code().as_u16(), 1009);

    let ws = soon(client("own").connect()).await.unwrap();
    assert_eq!(ws.subprotocol(), Some("three"));
}

#[tokio::test]
async fn a_handler_ends_as_one_of_our_own_server() {
    let app = Router::new()
        .route("/ok", any(|ws: WebSocketUpgrade| async { ws.on_upgrade(|_ws| async { Ok(()) }) }))
        .route(
            "/error",
            any(|ws: WebSocketUpgrade| async {
                ws.on_upgrade(|_ws| async { Err("it went wrong".into()) })
            }),
        )
        .route(
            "/panic",
            any(|ws: WebSocketUpgrade| async {
                ws.on_upgrade(|_ws| async { panic!("as the test wants") })
            }),
        )
        .route(
            "/dropped",
            any(|ws: WebSocketUpgrade| async {
                let (response, opening) = ws.accept();
                tokio::spawn(async move { opening.await.map(drop) });
                response
            }),
        );
    let address = axum(app).await;
    for (path, code) in [("ok", 1000), ("error", 1011), ("panic", 1011), ("dropped", 1001)] {
        let mut ws = soon(connect(format!("ws://{address}/{path}"))).await.unwrap();
        assert_eq!(soon(ws.recv()).await.unwrap(), None, "{path}");
        let closed = ws.closed().await;
        assert_eq!((closed.code(), &closed.cause), (CloseCode::from(code), &Cause::Peer), "{path}");
    }
}

#[tokio::test]
async fn layers_routers_and_pages_stand_in_between() {
    async fn layer(request: axum::extract::Request, next: Next) -> Response {
        let mut response = next.run(request).await;
        response.headers_mut().insert("x-layer", "passed".parse().unwrap());
        response
    }
    async fn page(ws: Option<WebSocketUpgrade>) -> Response {
        match ws {
            Some(ws) => ws.on_upgrade(|ws| async move {
                Ok(ws.send(format!("{}?{}", ws.path(), ws.query().unwrap_or("-"))).await?)
            }),
            None => Html("a page").into_response(),
        }
    }
    let app =
        Router::new().nest("/in", Router::new().route("/page", any(page))).layer(from_fn(layer));
    let address = axum(app).await;

    let mut ws = soon(connect(format!("ws://{address}/in/page?q"))).await.unwrap();
    assert_eq!(ws.response().unwrap().header("X-Layer"), Some(&b"passed"[..]));
    assert_eq!(soon(ws.recv()).await.unwrap(), Some("/in/page?q".into()));

    let mut peer = Peer::connect(address).await;
    peer.send("GET /in/page HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let answer = peer.answer().await;
    assert_eq!((answer.status, &*answer.body), (200, "a page"));
    // It asks for a WebSocket, and badly: the page is no answer to that.
    peer.send(request("/in/page", &["Sec-WebSocket-Version: 8"])).await;
    assert_eq!(peer.answer().await.status, 400);
}

#[tokio::test]
async fn the_peer_is_whom_the_application_says() {
    let told = |ws: WebSocketUpgrade| async {
        ws.on_upgrade(|ws| async move { Ok(ws.send(ws.peer()).await?) })
    };
    let named = |ws: WebSocketUpgrade| async {
        ws.peer("203.0.113.7:1").on_upgrade(|ws| async move { Ok(ws.send(ws.peer()).await?) })
    };
    let app = Router::new().route("/told", any(told)).route("/named", any(named));
    let address = SocketAddr::from(([192, 0, 2, 1], 99));
    let server = axum(app.layer(Extension(ConnectInfo(address)))).await;
    for (path, peer) in [("told", "192.0.2.1:99"), ("named", "203.0.113.7:1")] {
        let mut ws = soon(connect(format!("ws://{server}/{path}"))).await.unwrap();
        assert_eq!(soon(ws.recv()).await.unwrap(), Some(peer.into()));
    }
}

#[tokio::test]
async fn whoever_waits_for_a_connection_that_does_not_come_is_told() {
    let (told, mut errors) = mpsc::unbounded_channel::<Error>();
    let failing = move |mut request: http::Request<hyper::body::Incoming>| {
        let upgrade = Upgrade::new(&mut request).unwrap();
        let told = told.clone();
        let upgrade = upgrade.on_failed_upgrade(move |error| told.send(error).unwrap());
        let mut response = upgrade.on_upgrade(echo);
        if request.uri().path() == "/changed" {
            *response.status_mut() = http::StatusCode::OK;
            response.headers_mut().clear();
        }
        response
    };
    // Something between the handler and hyper has changed the answer.
    let address = hyper(failing.clone()).await;
    let mut peer = Peer::connect(address).await;
    peer.send(request("/changed", &[])).await;
    assert_eq!(peer.answer().await.status, 200);
    // With the next request the connection is another's for good.
    peer.send(request("/changed", &[])).await;
    let error = soon(errors.recv()).await.unwrap();
    assert!(error.is_lost(), "{error}");
    // The server was started without upgrades.
    let address = hyper_http1(|tcp| tcp, false, failing).await;
    let mut peer = Peer::connect(address).await;
    peer.send(request("/", &[])).await;
    let error = soon(errors.recv()).await.unwrap();
    assert!(error.is_lost(), "{error}");
    assert!(error.to_string().contains("did not hand the connection over"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_ever_for_an_answer_that_is_never_sent() {
    use hyper_util::rt::TokioIo;
    let (told, mut errors) = mpsc::unbounded_channel::<Error>();
    let (near, far) = duplex(1 << 16);
    let server = tokio::spawn(async move {
        let service = hyper::service::service_fn(move |mut request| {
            let told = told.clone();
            async move {
                let upgrade = Upgrade::<String>::new(&mut request).unwrap();
                let (_response, opening) = upgrade.accept();
                // As one does who has not read its documentation.
                told.send(opening.await.unwrap_err()).unwrap();
                Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
            }
        });
        let server = hyper::server::conn::http1::Builder::new();
        server.serve_connection(TokioIo::new(far), service).with_upgrades().await
    });
    let mut peer = Peer::client(near);
    peer.send(request("/", &[])).await;
    let error = errors.recv().await.unwrap();
    assert!(error.is_timeout(), "{error}");
    server.abort();
}
