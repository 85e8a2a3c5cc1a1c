//! A client's connection once it is open: masks, closing, and what drops it.

use std::time::Duration;

use provod::{Config, WebSocket};
use provod_proto::raw::RawFrame;

use super::plain;
use crate::peer::soon;
use crate::scripted::{Scripted, good};
use crate::servers::{hasty, patient};

/// An open WebSocket and the server it talks to.
async fn open(config: Config) -> (WebSocket, Scripted) {
    let (near, mut server) = Scripted::pipe();
    let client = plain().config(config);
    let served = async {
        server.answer(&good(&[])).await;
        server
    };
    let (ws, server) = soon(async { tokio::join!(client.connect_over(near), served) }).await;
    (ws.expect("a good answer opens"), server)
}

#[tokio::test]
async fn rfc6455_5_3_each_frame_has_a_masking_key_of_its_own() {
    let (ws, mut server) = open(patient()).await;
    let mut keys = std::collections::HashSet::new();
    // More than one batch of keys.
    for _ in 0..200 {
        ws.send("same").await.expect("it is queued");
        let (first, key, payload) = server.frame().await;
        assert_eq!((first, &payload[..]), (0x81, &b"same"[..]));
        assert_ne!(key, [0; 4]);
        keys.insert(key);
    }
    // Two of 200 random keys are equal once in 200,000 runs; three of them never.
    assert!(keys.len() >= 199, "{}", keys.len());
    server.send(RawFrame::new(9, "ping").to_bytes()).await;
    let (first, key, payload) = server.frame().await;
    assert_eq!((first, &payload[..]), (0x8A, &b"ping"[..]));
    assert_ne!(key, [0; 4]);
}

#[tokio::test]
async fn rfc6455_5_1_a_masked_frame_of_a_server_fails_with_1002() {
    let (mut ws, mut server) = open(patient()).await;
    server.send(RawFrame::new(1, "good").to_bytes()).await;
    server.send(RawFrame::new(1, "bad").masked([1, 2, 3, 4]).to_bytes()).await;
    assert_eq!(soon(ws.recv()).await.expect("the good one"), Some("good".into()));
    let e = soon(ws.recv()).await.expect_err("the bad one");
    assert!(e.is_protocol(), "{e}");
    assert_eq!(e.close_code(), Some(provod::CloseCode::PROTOCOL_ERROR));
    let (first, _, payload) = server.frame().await;
    assert_eq!((first, &payload[..2]), (0x88, &1002u16.to_be_bytes()[..]));
}

#[tokio::test(start_paused = true)]
async fn rfc6455_7_1_1_the_server_closes_tcp_first() {
    let (mut ws, mut server) = open(patient()).await;
    server.send(RawFrame::new(8, 1000u16.to_be_bytes()).to_bytes()).await;
    assert_eq!(soon(ws.recv()).await.expect("a Close"), None);
    let (first, _, payload) = server.frame().await;
    assert_eq!((first, &payload[..]), (0x88, &1000u16.to_be_bytes()[..]));
    let waited = tokio::time::timeout(Duration::from_secs(20), server.ended()).await;
    assert!(waited.is_err(), "the client must wait for the server to close");
    drop(server);
    assert!(soon(ws.closed()).await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn rfc6455_7_1_1_a_server_that_does_not_close_tcp_is_not_waited_for_without_end() {
    let (mut ws, mut server) = open(hasty()).await;
    server.send(RawFrame::new(8, 1000u16.to_be_bytes()).to_bytes()).await;
    assert_eq!(soon(ws.recv()).await.expect("a Close"), None);
    assert_eq!(server.frame().await.0, 0x88);
    assert!(server.ended().await);
    assert!(soon(ws.closed()).await.received.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_websocket_closes_with_1001_and_ends_in_time() {
    let (ws, mut server) = open(hasty()).await;
    ws.send("last words").await.expect("it is queued");
    drop(ws);
    assert_eq!(server.frame().await.2, b"last words");
    let (first, _, payload) = server.frame().await;
    assert_eq!((first, &payload[..]), (0x88, &1001u16.to_be_bytes()[..]));
    // This server never answers.
    assert!(server.ended().await);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_reads_cannot_hold_up_the_end() {
    let (mut ws, server) = open(hasty()).await;
    while ws.try_send("x".repeat(10_000)).is_ok() {}
    let closed = soon(ws.close(1000, "")).await.expect("a legal code");
    assert!(!closed.is_clean() && closed.received.is_none(), "{closed:?}");
    drop(server);
}

#[tokio::test]
async fn a_connect_that_is_dropped_gives_the_stream_up() {
    let (near, mut server) = Scripted::pipe();
    let client = plain();
    let connecting = client.connect_over(near);
    tokio::select! {
        biased;
        _ = connecting => panic!("nobody has answered"),
        _ = server.request() => {}
    }
    assert!(soon(server.ended()).await);
}

#[test]
fn a_runtime_that_is_dropped_leaves_nobody_waiting() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let (mut ws, _server) = first.block_on(open(Config::default()));
    drop(first);
    runtime().block_on(async {
        assert!(soon(ws.recv()).await.is_err_and(|e| e.is_lost()));
        assert!(soon(ws.send("x")).await.is_err());
        assert!(!soon(ws.closed()).await.is_clean());
    });
}
