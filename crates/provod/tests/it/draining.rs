//! How a server ends.

use std::sync::Arc;
use std::time::Duration;

use provod::server::{Accept, Drain};
use provod::{CloseCode, Config, Server};
use tokio::net::TcpStream;

use crate::peer::{Peer, close, first_closed, raw, request, soon, text, until};
use crate::servers::{address, echo, start, start_with};

fn drain(deadline: Duration) -> Drain {
    let mut drain = Drain::default();
    drain.deadline = deadline;
    drain
}

const LONG: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_drain_closes_everybody_with_1001_and_stops_accepting() {
    let (running, address) = start(Server::new()).await;
    let mut peers = Vec::new();
    for _ in 0..5 {
        peers.push(Peer::open(address).await);
    }
    let mut unfinished = Peer::connect(address).await;
    unfinished.send("GET / HTTP/1.1\r\nHo").await;
    until(|| running.stats().accepted == 6).await;
    let running = Arc::new(running);
    let ended = tokio::spawn({
        let running = running.clone();
        async move { running.drain(drain(LONG)).await }
    });
    for peer in &mut peers {
        peer.expect_close(1001).await;
        peer.send(close(1001)).await;
        peer.expect_end().await;
    }
    assert_eq!(unfinished.answer().await.status, 503);
    drop(peers);
    // A peer that has its 503 and does not hang up holds nothing up.
    assert_eq!(soon(ended).await.unwrap(), 0);
    unfinished.expect_end().await;
    assert!(TcpStream::connect(address).await.is_err());
    let stats = running.stats();
    assert_eq!((stats.open, stats.refusals["draining"]), (0, 1));
    soon(running.wait()).await;
}

#[tokio::test]
async fn a_notice_turns_the_health_answer_and_nothing_else() {
    async fn health(address: std::net::SocketAddr) -> u16 {
        let mut peer = Peer::connect(address).await;
        peer.send("GET /up HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        peer.answer().await.status
    }
    let (running, address) = start(Server::new().health("/up")).await;
    assert_eq!(health(address).await, 200);
    let mut early = Peer::open(address).await;
    let mut slowly = drain(LONG);
    slowly.notice = LONG;
    let running = Arc::new(running);
    let noticing = tokio::spawn({
        let running = running.clone();
        async move { running.drain(slowly).await }
    });
    soon(async { while health(address).await != 503 {} }).await;
    let mut late = Peer::open(address).await;
    for peer in [&mut early, &mut late] {
        peer.send(text("go on")).await;
        peer.expect_text("go on").await;
    }
    noticing.abort();
    assert!(noticing.await.unwrap_err().is_cancelled());
    assert_eq!(health(address).await, 503);
    let ended = tokio::spawn(async move { running.drain(drain(LONG)).await });
    for mut peer in [early, late] {
        peer.expect_close(1001).await;
        peer.send(close(1001)).await;
        peer.expect_end().await;
    }
    assert_eq!(soon(ended).await.unwrap(), 0);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn what_was_queued_leaves_before_the_1001() {
    let (running, address) = start_with(Server::new(), |mut ws| async move {
        ws.send(vec![9; 3 << 20]).await?;
        ws.recv().await?;
        Ok(())
    })
    .await;
    let mut peer = Peer::open(address).await;
    until(|| running.stats().messages_out == 1).await;
    let ended = tokio::spawn(async move { running.drain(drain(LONG)).await });
    assert!(peer.message().await.payload == vec![9; 3 << 20]);
    peer.expect_close(1001).await;
    peer.send(close(1001)).await;
    drop(peer);
    assert_eq!(soon(ended).await.unwrap(), 0);
}

#[tokio::test]
async fn the_deadline_drops_the_stubborn_and_their_handlers() {
    let held = Arc::new(());
    let hold = held.clone();
    let mut config = Config::default();
    config.close_timeout = LONG;
    let (running, address) = start_with(Server::new().config(config), move |ws| {
        let hold = hold.clone();
        async move {
            let _hold = hold;
            let _ws = ws;
            std::future::pending().await
        }
    })
    .await;
    let mut stubborn = Peer::open(address).await;
    let dropped = soon(running.drain(drain(Duration::from_millis(100)))).await;
    assert_eq!(dropped, 1);
    stubborn.expect_close(1001).await;
    stubborn.gone().await;
    drop(running);
    until(|| Arc::strong_count(&held) == 1).await;
}

#[tokio::test]
async fn a_spread_that_may_take_an_hour_is_short_for_few_connections() {
    let (running, address) = start(Server::new()).await;
    let mut peers = Vec::new();
    for _ in 0..10 {
        peers.push(Peer::open(address).await);
    }
    let mut slowly = drain(LONG);
    slowly.spread = LONG;
    slowly.code = CloseCode::SERVICE_RESTART;
    let ended = tokio::spawn(async move { running.drain(slowly).await });
    // Whoever is not closed yet is served.
    let first = first_closed(&mut peers).await;
    drop(peers.remove(first));
    for mut peer in peers {
        while peer.frame().await.expect("the Close comes first").opcode != 8 {}
        peer.send(close(1012)).await;
        peer.expect_end().await;
    }
    assert_eq!(soon(ended).await.unwrap(), 0);
}

#[tokio::test]
async fn a_drain_that_is_given_up_stops_the_server() {
    let (running, address) = start(Server::new()).await;
    let mut stubborn = Peer::open(address).await;
    let ended = tokio::spawn(async move { running.drain(drain(LONG)).await });
    stubborn.expect_close(1001).await;
    // The running server was moved into the drain.
    ended.abort();
    stubborn.gone().await;
}

#[tokio::test]
async fn dropping_a_server_stops_everything() {
    for workers in [0, 2] {
        let held = Arc::new(());
        let hold = held.clone();
        let (running, address) = start_with(Server::new().workers(workers), move |ws| {
            let hold = hold.clone();
            async move {
                let _hold = hold;
                echo(ws).await
            }
        })
        .await;
        let mut open = Peer::open(address).await;
        let mut unfinished = Peer::connect(address).await;
        unfinished.send("GET /").await;
        open.send(text("x")).await;
        open.expect_text("x").await;
        drop(running);
        open.gone().await;
        unfinished.gone().await;
        until(|| std::net::TcpStream::connect(address).is_err()).await;
        // Every task and worker has let go of the handler: the threads have ended.
        until(|| Arc::strong_count(&held) == 1).await;
    }
}

#[tokio::test]
async fn a_port_can_be_taken_again_as_soon_as_a_drain_ends() {
    for workers in [0, 2] {
        let (mut running, address) = start(Server::new().workers(workers)).await;
        for _ in 0..20 {
            let mut peer = Peer::open(address).await;
            peer.send(raw(10, "").to_bytes()).await;
            let ended = tokio::spawn(async move { running.drain(drain(LONG)).await });
            peer.expect_close(1001).await;
            peer.send(close(1001)).await;
            drop(peer);
            assert_eq!(soon(ended).await.unwrap(), 0);
            let again = Server::new().workers(workers).listen(address).start(echo);
            running = soon(again).await.expect("the port is free");
        }
        assert_eq!(soon(running.drain(drain(LONG))).await, 0);
        let again = Server::new().listen(address).start(echo);
        drop(soon(again).await.expect("the port is free, with nobody connected too"));
    }
}

#[tokio::test]
async fn an_application_that_never_decides_does_not_outlive_the_server() {
    let held = Arc::new(());
    let hold = held.clone();
    let running = Server::new()
        .listen("127.0.0.1:0")
        .workers(1)
        .on_request(move |_| {
            let hold = hold.clone();
            async move {
                let _hold = hold;
                std::future::pending::<Result<Accept<()>, _>>().await
            }
        })
        .start(echo)
        .await
        .unwrap();
    let mut peer = Peer::connect(address(&running)).await;
    peer.send(request("/", &[])).await;
    until(|| Arc::strong_count(&held) == 3).await;
    soon(running.drain(drain(Duration::from_millis(50)))).await;
    until(|| Arc::strong_count(&held) == 1).await;
    peer.gone().await;
}

#[tokio::test]
async fn a_connection_that_opens_during_a_drain_is_closed_with_its_code() {
    let gate = Arc::new(tokio::sync::Notify::new());
    let wait = gate.clone();
    let running = Server::new()
        .listen("127.0.0.1:0")
        .on_request(move |_| {
            let wait = wait.clone();
            async move {
                wait.notified().await;
                Ok(Accept::new(()))
            }
        })
        .start(echo)
        .await
        .unwrap();
    let address = address(&running);
    let mut peer = Peer::connect(address).await;
    peer.send(request("/", &[])).await;
    until(|| running.stats().accepted == 1).await;
    let ended = tokio::spawn(async move { running.drain(drain(LONG)).await });
    until(|| std::net::TcpStream::connect(address).is_err()).await;
    gate.notify_one();
    assert_eq!(peer.answer().await.status, 101);
    peer.expect_close(1001).await;
    peer.send(close(1001)).await;
    peer.expect_end().await;
    drop(peer);
    assert_eq!(soon(ended).await.unwrap(), 0);
}
