//! One memory budget for many connections: who gives way, who lives on, and that nothing is
//! counted for ever.

use std::io::IoSlice;
use std::net::SocketAddr;
use std::sync::Arc;

use provod::config::{DeflateConfig, HeadLimits, MemoryBudget};
use provod::group::SlowPolicy;
use provod::proto::deflate::Pool;
use provod::proto::{self, Compress, Connection, DeflateSetup, MessageKind, Role, Timestamp};
use provod::server::Running;
use provod::{Config, Group, Server, WebSocket};
use tokio::sync::mpsc;

use crate::peer::{
    Peer, binary, close, header, open_narrow, open_with, raw, request, soon, text, until,
};
use crate::servers::{patient, start, start_with};

const MB: usize = 1 << 20;

/// The header and `len` bytes of a fragment, to which more must follow.
fn part(first: bool, len: usize) -> Vec<u8> {
    raw(if first { 2 } else { 0 }, vec![7; len]).fin(false).to_bytes()
}

/// Sends `len` bytes of an unfinished message in pieces, and waits until they are counted.
async fn hold(peer: &mut Peer, budget: &MemoryBudget, len: usize) {
    let before = budget.used();
    for at in (0..len).step_by(10_000) {
        peer.send(part(at == 0, 10_000)).await;
    }
    until(|| budget.used() >= before + len).await;
}

/// A server whose WebSockets the test itself holds.
async fn held(server: Server) -> (Running, SocketAddr, mpsc::UnboundedReceiver<WebSocket>) {
    let (out, opened) = mpsc::unbounded_channel();
    let (running, address) = start_with(server, move |ws| {
        let _ = out.send(ws);
        std::future::ready(Ok(()))
    })
    .await;
    (running, address, opened)
}

#[tokio::test]
async fn the_greediest_gives_way_though_it_is_idle_and_the_others_go_on() {
    let budget = MemoryBudget::new(2 * MB);
    let (running, address) = start(Server::new().memory_budget(&budget)).await;
    let mut greedy = Peer::open(address).await;
    hold(&mut greedy, &budget, 900_000).await;
    assert_eq!(budget.shed(), 0);
    let mut others = Vec::new();
    while budget.shed() == 0 {
        let mut peer = Peer::open(address).await;
        peer.send(part(true, 100_000)).await;
        others.push(peer);
        assert!(others.len() < 30, "the budget is passed and nobody gives way");
        // Each may need twice its bytes.
        until(|| budget.shed() > 0 || budget.used() >= 900_000 + others.len() * 100_000).await;
    }
    let reason = greedy.expect_close(1013).await;
    assert!(reason.contains("memory"), "{reason}");
    greedy.send(close(1013)).await;
    greedy.expect_end().await;
    assert!(budget.used() <= budget.limit());
    for peer in &mut others {
        peer.send(raw(0, "end").to_bytes()).await;
        assert_eq!(peer.message().await.payload.len(), 100_003);
    }
    assert_eq!((budget.shed(), running.stats().shed), (1, 1));
    for peer in others {
        peer.bye().await;
    }
    until(|| budget.used() == 0).await;
}

#[tokio::test]
async fn an_idle_connection_holds_nothing() {
    let budget = MemoryBudget::new(MB);
    let (_running, address) = start(Server::new().memory_budget(&budget)).await;
    let mut peer = Peer::open(address).await;
    for len in [5, 5000, 50_000, 500_000] {
        peer.send(binary(&vec![1; len])).await;
        assert_eq!(peer.message().await.payload.len(), len);
        until(|| budget.used() == 0).await;
    }
    // Input that came in one read with what was handled, and is not whole.
    peer.send([text("whole"), header(0x82, 100)].concat()).await;
    peer.expect_text("whole").await;
    until(|| budget.used() < 1000).await;
    assert!(budget.peak() <= budget.limit() + MB);
    assert_eq!(budget.shed(), 0);
}

/// The frames of `len` zeros, compressed and not finished: some thousandth of that.
fn zeros(len: usize) -> Vec<u8> {
    let params = proto::handshake::DeflateParams {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        server_max_window_bits: 15,
        client_max_window_bits: 15,
    };
    let setup = DeflateSetup { params, compress: true, pool: Pool::default() };
    let now = Timestamp::default();
    let role = Role::Client(Box::new(|| [1, 2, 3, 4]));
    let mut client = Connection::new(role, Arc::default(), Some(setup), now);
    client.begin_message(MessageKind::Binary, Compress::Always).unwrap();
    client.send_chunk(vec![0; len].into(), false).unwrap();
    let mut out = Vec::new();
    loop {
        let mut slices = [IoSlice::new(&[]); 16];
        let n = client.poll_transmit(&mut slices, now);
        if n == 0 {
            return out;
        }
        let taken = slices[..n].iter().map(|s| (out.extend_from_slice(s), s.len()).1).sum();
        client.handle_transmitted(taken, now);
    }
}

#[tokio::test]
async fn what_is_inflated_and_never_finished_gives_way() {
    let budget = MemoryBudget::new(24 * MB);
    let server = Server::new().compression(DeflateConfig::default()).memory_budget(&budget);
    let (running, address) = start(server).await;
    let bomb = zeros(15 * MB);
    assert!(bomb.len() < 50_000);
    let mut peers = Vec::new();
    for _ in 0..10 {
        let offer = "Sec-WebSocket-Extensions: permessage-deflate";
        let (mut peer, _) = open_with(address, "/", &[offer]).await;
        peer.send(&bomb).await;
        peers.push(peer);
    }
    let mut small = Peer::open(address).await;
    // One may stay; it holds up to twice what it inflated.
    until(|| running.stats().shed >= 9 && running.stats().open <= 2).await;
    assert!(budget.used() <= budget.limit());
    // One step, in which a buffer may have doubled.
    assert!(budget.peak() <= budget.limit() + 16 * MB + MB, "{}", budget.peak());
    small.send(text("I live")).await;
    small.expect_text("I live").await;
    small.bye().await;
    drop(peers);
    until(|| budget.used() == 0).await;
}

#[tokio::test]
async fn slow_readers_of_big_echoes_give_way_and_quick_ones_do_not() {
    let budget = MemoryBudget::new(6 * MB);
    let server = Server::new().config(patient()).memory_budget(&budget);
    let (running, address) = start(server).await;
    let mut quick = Peer::open(address).await;
    let mut slow = Vec::new();
    for _ in 0..8 {
        let mut peer = open_narrow(address).await;
        slow.push(tokio::spawn(async move {
            // It never reads, and sends as long as it can.
            let message = binary(&vec![1; MB]);
            while peer.try_send(&message).await {}
        }));
    }
    for _ in 0..50 {
        quick.send(binary(&[2; 10_000])).await;
        assert_eq!(quick.message().await.payload.len(), 10_000);
    }
    until(|| budget.shed() > 0).await;
    assert!(budget.peak() <= budget.limit() + 4 * MB, "{}", budget.peak());
    quick.send(text("still here")).await;
    quick.expect_text("still here").await;
    slow.iter().for_each(tokio::task::JoinHandle::abort);
    quick.bye().await;
    until(|| running.stats().open == 0 && budget.used() == 0).await;
}

#[tokio::test]
async fn the_application_is_told_what_to_do() {
    let budget = MemoryBudget::new(300_000);
    let mut config = patient();
    config.read_ahead = MB;
    let (running, address, mut opened) =
        held(Server::new().config(config).memory_budget(&budget)).await;
    let mut peer = Peer::open(address).await;
    let mut ws = soon(opened.recv()).await.unwrap();
    let sender = ws.sender();
    peer.send([binary(&[1; 200_000]), binary(&[2; 200_000])].concat()).await;
    until(|| budget.shed() == 1).await;
    // What waited is gone, and that is not hidden.
    let error = soon(ws.recv()).await.unwrap_err();
    assert!(error.is_limit() && !error.is_lost(), "{error:?}");
    assert_eq!(error.close_code().map(u16::from), Some(1013));
    let line = error.to_string();
    assert!(line.contains("memory budget") && line.contains("raise") && !line.contains('\n'));
    assert_eq!(soon(ws.recv()).await.unwrap_err().to_string(), line);
    assert!(ws.send("late").await.unwrap_err().is_closed());
    peer.expect_close(1013).await;
    assert!(running.stats().messages_dropped > 0);
    // Nothing is counted though handles live on.
    until(|| budget.used() == 0).await;
    assert_eq!(soon(sender.closed()).await.sent.flatten().map(|f| f.code.as_u16()), Some(1013));
}

#[tokio::test]
async fn received_messages_count_until_they_are_taken() {
    let budget = MemoryBudget::new(MB);
    let (_running, address, mut opened) = held(Server::new().memory_budget(&budget)).await;
    let mut peer = Peer::open(address).await;
    let mut ws = soon(opened.recv()).await.unwrap();
    peer.send(binary(&[1; 20_000])).await;
    until(|| budget.used() >= 20_000).await;
    // The peer is gone, and what it said still waits.
    drop(peer);
    soon(ws.sender().closed()).await;
    assert!(budget.used() >= 20_000);
    assert_eq!(ws.recv().await.unwrap().unwrap().len(), 20_000);
    until(|| budget.used() == 0).await;
}

#[tokio::test]
async fn a_client_gives_way_too_and_counts_in_the_same_sum() {
    let budget = MemoryBudget::new(100_000);
    let mut clients = Vec::new();
    for _ in 0..2 {
        let (near, far) = tokio::io::duplex(1 << 20);
        let client = provod::Client::new("ws://localhost/").memory_budget(&budget);
        let mut server = Peer::server(far);
        let accepting = async {
            let request = server.request().await;
            server.accept(&request, &[]).await;
        };
        let (ws, ()) = soon(async { tokio::join!(client.connect_over(near), accepting) }).await;
        clients.push((ws.unwrap(), server));
    }
    let unfinished = |len| proto::raw::RawFrame::new(2, vec![7; len]).fin(false);
    clients[0].1.send(unfinished(60_000)).await;
    until(|| budget.used() >= 60_000).await;
    clients[1].1.send(unfinished(40_500)).await;
    let error = soon(clients[0].0.recv()).await.unwrap_err();
    assert!(error.is_limit(), "{error}");
    clients[0].1.expect_close(1013).await;
    assert_eq!(budget.shed(), 1);
    let (second, server) = &mut clients[1];
    server.send(proto::raw::RawFrame::new(0, "")).await;
    assert_eq!(soon(second.recv()).await.unwrap().unwrap().len(), 40_500);
    clients.clear();
    until(|| budget.used() == 0).await;
}

#[tokio::test]
async fn what_a_group_keeps_for_a_slow_member_counts() {
    let budget = MemoryBudget::new(20 * MB);
    let (_running, address, mut opened) = held(Server::new().memory_budget(&budget)).await;
    let mut peers = Vec::new();
    let mut sockets = Vec::new();
    for _ in 0..2 {
        peers.push(open_narrow(address).await);
        sockets.push(soon(opened.recv()).await.unwrap());
    }
    let group = Group::new();
    let _member = group.join(&sockets[0].sender(), SlowPolicy::DropOldest);
    group.publish(vec![1; 16 * MB]);
    let before = budget.used();
    group.publish(vec![2; 500_000]);
    assert!(budget.used() >= before + 500_000);
    // What passes the budget is counted, and makes room, before the call returns.
    let _second = group.join(&sockets[1].sender(), SlowPolicy::Close);
    let published = group.publish(vec![3; 21 * MB]);
    assert_eq!((published.queued, budget.shed()), (2, 2));
    assert!(budget.used() <= 4096);
    assert_eq!(group.publish("too late").queued, 0);
    drop(peers);
    until(|| group.is_empty() && budget.used() == 0).await;
}

#[tokio::test]
async fn nothing_stays_counted_when_a_server_is_dropped() {
    let budget = MemoryBudget::new(64 * MB);
    let server = Server::new().workers(2).memory_budget(&budget);
    let (running, address) = start_with(server, |ws| async move {
        // It takes nothing, and holds on to its connection.
        ws.drained().await;
        std::future::pending::<()>().await;
        drop(ws);
        Ok(())
    })
    .await;
    let mut peers = Vec::new();
    for n in 0..6 {
        let mut peer = Peer::open(address).await;
        match n % 3 {
            0 => hold(&mut peer, &budget, 200_000).await,
            1 => peer.send(binary(&[1; 30_000])).await,
            _ => peer.send("\u{82}").await,
        }
        peers.push(peer);
    }
    let mut silent = Peer::connect(address).await;
    silent.send("GET / HT").await;
    until(|| budget.used() > 460_000).await;
    drop(running);
    until(|| budget.used() == 0).await;
    drop((peers, silent));
}

#[tokio::test]
async fn handshakes_count_and_find_503_when_all_is_used() {
    let budget = MemoryBudget::new(1000);
    let head = HeadLimits { max_bytes: 4000, ..HeadLimits::default() };
    let (running, address) = start(Server::new().head_limits(head).memory_budget(&budget)).await;
    let mut silent = Peer::connect(address).await;
    silent.send("GET /").await;
    until(|| budget.used() == 4000).await;
    let mut late = Peer::connect(address).await;
    late.send(request("/", &[])).await;
    let answer = late.answer().await;
    assert_eq!((answer.status, answer.header("Retry-After")), (503, Some("5")));
    assert_eq!(running.stats().refusals.get("memory"), Some(&1));
    drop(silent);
    until(|| budget.used() == 0).await;
    let mut peer = Peer::open(address).await;
    peer.send(text("room again")).await;
    peer.expect_text("room again").await;
}

#[tokio::test]
async fn silent_handshakes_get_a_quarter_and_lock_nobody_out() {
    let budget = MemoryBudget::new(MB);
    let (running, address) = start(Server::new().memory_budget(&budget)).await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        let mut peer = Peer::connect(address).await;
        peer.send("GET /").await;
        silent.push(peer);
    }
    let peer = Peer::open(address).await;
    peer.bye().await;
    assert!(budget.peak() <= MB / 4 + 3 * 8192, "{}", budget.peak());
    assert!(running.stats().refusals.get("evicted").is_some_and(|n| *n >= 68));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_serves_several_servers_and_threads_and_ends_at_0() {
    let budget = MemoryBudget::new(3 * MB);
    let server = || Server::new().workers(2).memory_budget(&budget);
    let (first, one) = start(server()).await;
    let (second, two) = start(server()).await;
    let mut tasks = Vec::new();
    for n in 0..12 {
        let address = if n % 2 == 0 { one } else { two };
        tasks.push(tokio::spawn(async move {
            for round in 0..20 {
                let mut peer = open_narrow(address).await;
                let greedy = n < 4;
                let len = if greedy { MB } else { 5_000 };
                if round % 3 == 0 {
                    peer.send(part(true, len)).await;
                } else {
                    peer.send(binary(&vec![n; len])).await;
                    if !greedy {
                        assert_eq!(peer.message().await.payload.len(), len, "a small one");
                    }
                }
                drop(peer);
            }
        }));
    }
    for task in tasks {
        tokio::time::timeout(std::time::Duration::from_secs(120), task).await.unwrap().unwrap();
    }
    until(|| first.stats().open + second.stats().open == 0).await;
    until(|| budget.used() == 0).await;
    assert_eq!(budget.shed(), first.stats().shed + second.stats().shed);
}

#[tokio::test]
async fn without_a_budget_nobody_gives_way() {
    let (running, address) = start(Server::new().config(Config::default())).await;
    let mut peers = Vec::new();
    for _ in 0..10 {
        let mut peer = Peer::open(address).await;
        peer.send(part(true, 2 * MB)).await;
        peers.push(peer);
    }
    for peer in &mut peers {
        peer.send(raw(0, "end").to_bytes()).await;
        assert_eq!(peer.message().await.payload.len(), 2 * MB + 3);
    }
    assert_eq!(running.stats().shed, 0);
}
