//! The end of an application: its WebSockets end with it.

use std::time::Duration;

use axum::Router;
use axum::routing::any;
use provod::axum::WebSocketUpgrade;
use provod::server::Drain;
use provod::{CloseCode, Server, connect};
use provod_testkit::peer::{Peer, soon};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::servers::{axum_with, echo};
use crate::streams;

fn restart() -> Drain {
    let mut drain = Drain::default();
    drain.code = CloseCode::SERVICE_RESTART;
    drain
}

#[tokio::test]
async fn a_graceful_shutdown_ends_the_websockets_too() {
    let upgrader = Server::new().upgrader().unwrap();
    let theirs = upgrader.clone();
    let app = Router::new()
        .route("/", any(|ws: WebSocketUpgrade| async move { ws.with(&theirs).on_upgrade(echo) }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = axum::serve(listener, app).with_graceful_shutdown(async {
        let _ = stopped.await;
    });
    let serving = tokio::spawn(serving.into_future());

    let mut ws = soon(connect(format!("ws://{address}/"))).await.unwrap();
    let mut connection = streams::connect(address).await;
    let (response, mut stream) =
        streams::ask(&mut connection, "/", "websocket", &streams::GOOD).await;
    let mut body = response.into_body();
    assert_eq!(upgrader.stats().open, 2);

    stop.send(()).unwrap();
    let draining = tokio::spawn(async move { upgrader.drain(restart()).await });
    assert_eq!(soon(ws.recv()).await.unwrap(), None);
    assert_eq!(ws.closed().await.code(), CloseCode::SERVICE_RESTART);
    // The client over HTTP/2 answers as it should.
    streams::expect(&mut body, &[0x88, 2, 3, 244]).await;
    streams::say_last(&mut stream, provod_testkit::peer::close(1012));
    assert_eq!(soon(draining).await.unwrap(), 0);
    drop((body, stream, connection));
    soon(serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_does_not_end_is_dropped_and_what_comes_later_is_turned_away() {
    let upgrader = Server::new().upgrader().unwrap();
    let theirs = upgrader.clone();
    let address = axum_with(move |ws| {
        ws.with(&theirs).on_upgrade(|_ws| async { std::future::pending().await })
    })
    .await;
    let mut silent = Peer::open(address).await;
    let mut drain = Drain::default();
    drain.deadline = Duration::from_millis(50);
    assert_eq!(soon(upgrader.drain(drain)).await, 1);
    silent.expect_close(1001).await;
    silent.expect_end().await;
    let error = soon(connect(format!("ws://{address}/"))).await.unwrap_err();
    assert_eq!(error.http_response().unwrap().status(), 503);
    assert_eq!(upgrader.stats().refusals.get("draining"), Some(&1));
    assert_eq!(soon(upgrader.drain(drain)).await, 0, "there is nothing left");
}

#[tokio::test]
async fn one_that_opens_during_a_drain_is_closed_too() {
    let upgrader = Server::new().upgrader().unwrap();
    let theirs = upgrader.clone();
    // The answer is held back until the drain has begun.
    let (release, held) = oneshot::channel::<()>();
    let held = std::sync::Arc::new(tokio::sync::Mutex::new(Some(held)));
    let (asked, mut was_asked) = tokio::sync::mpsc::unbounded_channel();
    let app = Router::new().route(
        "/",
        any(|ws: WebSocketUpgrade| async move {
            let response = ws.with(&theirs).on_upgrade(echo);
            asked.send(()).unwrap();
            let held = held.lock().await.take();
            if let Some(held) = held {
                let _ = held.await;
            }
            response
        }),
    );
    let address = crate::servers::axum(app).await;
    let connecting = tokio::spawn(connect(format!("ws://{address}/")));
    soon(was_asked.recv()).await.unwrap();
    let draining = upgrader.clone();
    let draining = tokio::spawn(async move { draining.drain(restart()).await });
    soon(async {
        // Whoever comes now is turned away, so the drain has begun.
        let url = format!("ws://{address}/");
        while connect(&url).await.is_ok() {}
    })
    .await;
    release.send(()).unwrap();
    let mut ws = soon(connecting).await.unwrap().unwrap();
    assert_eq!(soon(ws.recv()).await.unwrap(), None);
    assert_eq!(ws.closed().await.code(), CloseCode::SERVICE_RESTART);
    assert_eq!(soon(draining).await.unwrap(), 0);
}
