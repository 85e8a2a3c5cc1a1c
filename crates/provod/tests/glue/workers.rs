//! A `Handler` for requests that hyper and axum have read.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::routing::any;
use provod::axum::WebSocketUpgrade;
use provod::handler::{Received, Socket};
use provod::hyper::{Upgrade, Workers};
use provod::server::Drain;
use provod::{Closed, Handler, Server};
use provod_testkit::peer::{MASK, Peer, close, request, soon, text};
use tokio::sync::mpsc;

use crate::servers::{Wrapped, axum, hyper_http1};
use crate::streams;

/// Answers with the number of the message, and tells of the end.
struct Counting(mpsc::UnboundedSender<u16>);

impl Handler<u32> for Counting {
    type Peer = u32;

    fn open(&self, _: &mut Socket<'_>, first: u32) -> u32 {
        first
    }

    fn message(&self, ws: &mut Socket<'_>, number: &mut u32, message: Received<'_>) {
        let text = message.as_text().unwrap_or_default().to_owned();
        ws.send(format!("{number}: {text}")).expect("it is open");
        *number += 1;
    }

    fn close(&self, _: u32, closed: &Closed) {
        self.0.send(closed.code().as_u16()).expect("the test listens");
    }
}

fn counting() -> (Workers<u32>, mpsc::UnboundedReceiver<u16>) {
    let (told, ends) = mpsc::unbounded_channel();
    let upgrader = Server::new().upgrader().unwrap();
    (upgrader.start_handler(Counting(told)).unwrap(), ends)
}

async fn enter(
    State(workers): State<Workers<u32>>,
    ws: WebSocketUpgrade,
) -> axum::response::Response {
    ws.hand_to(&workers, 7)
}

async fn serving(workers: &Workers<u32>) -> SocketAddr {
    axum(Router::new().route("/", any(enter)).with_state(workers.clone())).await
}

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

#[tokio::test]
async fn a_plain_socket_leaves_the_http_server_for_a_worker() {
    let (workers, mut ends) = counting();
    let address = serving(&workers).await;
    let before = tasks();
    let mut peers = Vec::new();
    for _ in 0..8 {
        let mut peer = Peer::connect(address).await;
        // What comes with the request goes along.
        let mut packet = request("/", &[]).into_bytes();
        packet.extend(text("one").masked(MASK).to_bytes());
        peer.send(packet).await;
        assert_eq!(peer.answer().await.status, 101);
        peer.expect_text("7: one").await;
        peers.push(peer);
    }
    soon(async {
        // Neither hyper nor we keep a task for any of them.
        while tasks() > before {
            tokio::task::yield_now().await;
        }
    })
    .await;
    for peer in &mut peers {
        peer.send(text("two")).await;
        peer.expect_text("8: two").await;
        peer.send(close(1000)).await;
        peer.expect_close(1000).await;
        assert_eq!(soon(ends.recv()).await, Some(1000));
    }
}

#[tokio::test]
async fn any_other_stream_has_a_task_of_its_own() {
    let (workers, mut ends) = counting();
    let theirs = workers.clone();
    let address = hyper_http1(Wrapped, true, move |mut request| {
        Upgrade::new(&mut request).unwrap().hand_to(&theirs, 1)
    })
    .await;
    let mut peer = Peer::open(address).await;
    peer.send(text("a")).await;
    peer.expect_text("1: a").await;
    drop(peer);
    assert_eq!(soon(ends.recv()).await, Some(1006));

    let mut connection = streams::connect(serving(&workers).await).await;
    let (response, mut stream) =
        streams::ask(&mut connection, "/", "websocket", &streams::GOOD).await;
    streams::say(&mut stream, text("b"));
    streams::expect(&mut response.into_body(), b"\x81\x047: b").await;
}

#[tokio::test]
async fn a_drain_ends_them_too() {
    let (told, mut ends) = mpsc::unbounded_channel();
    let upgrader = Server::new().upgrader().unwrap();
    let workers = upgrader.start_handler(Counting(told)).unwrap();
    let address = serving(&workers).await;
    let mut peer = Peer::open(address).await;
    peer.send(text("a")).await;
    peer.expect_text("7: a").await;
    assert_eq!(upgrader.stats().open, 1);
    let draining = tokio::spawn(async move { upgrader.drain(Drain::default()).await });
    peer.expect_close(1001).await;
    peer.send(close(1001)).await;
    peer.expect_end().await;
    drop(peer);
    assert_eq!(soon(ends.recv()).await, Some(1001));
    assert_eq!(soon(draining).await.unwrap(), 0);
}
