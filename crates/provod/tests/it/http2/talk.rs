//! Our client and our server.

use std::sync::Arc;

use provod::config::DeflateConfig;
use provod::handler::{Received, Socket};
use provod::message::MessageKind;
use provod::server::{Accept, Drain, Response};
use provod::{CloseCode, Config, Handler, Server, WebSocket};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::client;
use crate::hall::Hall;
use crate::peer::{soon, until};
use crate::servers::{address, echo, hall, patient, start, start_with};

/// The server's end of what was opened last.
async fn next(hall: &mut Hall<WebSocket>) -> WebSocket {
    soon(hall.opened.recv()).await.expect("the handler runs")
}

#[tokio::test]
async fn messages_of_all_sizes_come_back_on_one_connection() {
    let deflate = DeflateConfig::default();
    let (running, address) = start(Server::new().compression(deflate)).await;
    let client = client(address);
    let mut plain = soon(client.connect()).await.unwrap();
    let mut small = soon(client.clone().compression(deflate).connect()).await.unwrap();
    assert!(plain.compression().is_none() && small.compression().is_some());
    assert_eq!(plain.response().map(|response| response.status()), Some(200));
    for len in [0, 1, 125, 126, 65_535, 65_536, 1_000_000, 5_000_000] {
        for ws in [&mut plain, &mut small] {
            let message = "x".repeat(len);
            ws.send(message.clone()).await.unwrap();
            let back = soon(ws.recv()).await.unwrap().unwrap();
            assert!(back.as_text() == Some(&message), "{len}");
        }
    }
    let stats = running.stats();
    assert_eq!((stats.accepted, stats.opened, stats.opened_http2), (1, 2, 2));
    for ws in [&mut plain, &mut small] {
        let closed = soon(ws.close(4001, "bye")).await.unwrap();
        assert!(closed.is_clean(), "{closed:?}");
        assert_eq!(closed.code(), CloseCode::from(4001));
    }
    until(|| running.stats().open == 0).await;
    assert_eq!(running.stats().close_codes[&4001], 2);
}

#[tokio::test]
async fn many_messages_both_ways_at_once() {
    let (_running, address) = start(Server::new()).await;
    let client = client(address);
    let mut all = Vec::new();
    for _ in 0..10 {
        let mut ws = soon(client.connect()).await.unwrap();
        all.push(tokio::spawn(async move {
            let sender = ws.sender();
            let sending = tokio::spawn(async move {
                for n in 0..2000 {
                    sender.send(format!("message {n}")).await.unwrap();
                }
            });
            for n in 0..2000 {
                let message = ws.recv().await.unwrap().unwrap();
                assert_eq!(message.as_text(), Some(&*format!("message {n}")));
            }
            sending.await.unwrap();
            ws.close(1000, "").await.unwrap()
        }));
    }
    for one in all {
        assert!(soon(one).await.unwrap().is_clean());
    }
}

#[tokio::test]
async fn the_server_closes_and_the_client_answers() {
    let mut hall = hall(Server::new()).await;
    let mut ws = soon(client(hall.address).connect()).await.unwrap();
    let mut served = next(&mut hall).await;
    assert_eq!((served.path(), served.query()), ("/room", Some("n=7")));
    assert!(served.peer_addr().is_some());
    served.send("last words").await.unwrap();
    let closing = tokio::spawn(async move { served.close(4002, "go").await.unwrap() });
    assert_eq!(soon(ws.recv()).await.unwrap(), Some("last words".into()));
    assert_eq!(soon(ws.recv()).await.unwrap(), None);
    assert_eq!(soon(ws.closed()).await.code(), CloseCode::from(4002));
    let closed = soon(closing).await.unwrap();
    assert!(closed.is_clean(), "{closed:?}");
    assert_eq!(closed.code(), CloseCode::from(4002));
}

#[tokio::test]
async fn a_socket_that_is_dropped_ends_alone() {
    let mut hall = hall(Server::new()).await;
    let client = client(hall.address);
    let first = soon(client.connect()).await.unwrap();
    let mut gone = next(&mut hall).await;
    let mut other = soon(client.connect()).await.unwrap();
    let served = next(&mut hall).await;
    drop(first);
    assert_eq!(soon(gone.recv()).await.unwrap(), None);
    assert_eq!(soon(gone.closed()).await.code(), CloseCode::GOING_AWAY);
    served.send("still here").await.unwrap();
    assert_eq!(soon(other.recv()).await.unwrap(), Some("still here".into()));
}

#[tokio::test]
async fn a_slow_socket_does_not_hold_up_its_siblings() {
    let mut hall = hall(Server::new()).await;
    let client = client(hall.address);
    let slow = soon(client.connect()).await.unwrap();
    let mut slow_served = next(&mut hall).await;
    // In both directions: nobody reads either end.
    let flood = |sender: provod::Sender| async move {
        let mut sent = 0;
        while sender.try_send(vec![7; 10_000]).is_ok() {
            sent += 1;
        }
        sent
    };
    let there = flood(slow.sender()).await;
    let back = flood(slow_served.sender()).await;
    for _ in 0..3 {
        let mut fast = soon(client.connect()).await.unwrap();
        let mut served = next(&mut hall).await;
        let echo = tokio::spawn(async move {
            while let Some(message) = served.recv().await.unwrap() {
                served.send(message).await.unwrap();
            }
        });
        for _ in 0..50 {
            fast.send(vec![1; 100_000]).await.unwrap();
            assert_eq!(soon(fast.recv()).await.unwrap().unwrap().len(), 100_000);
        }
        assert!(soon(fast.close(1000, "")).await.unwrap().is_clean());
        soon(echo).await.unwrap();
    }
    assert!(slow.buffered_amount() > 0 && slow_served.buffered_amount() > 0);
    // And nothing of it is lost.
    for _ in 0..there {
        assert_eq!(soon(slow_served.recv()).await.unwrap().unwrap().len(), 10_000);
    }
    let mut slow = slow;
    for _ in 0..back {
        assert_eq!(soon(slow.recv()).await.unwrap().unwrap().len(), 10_000);
    }
}

#[tokio::test]
async fn a_message_streams_both_ways() {
    let mut hall = hall(Server::new()).await;
    let ws = soon(client(hall.address).connect()).await.unwrap();
    let mut served = next(&mut hall).await;
    let sending = tokio::spawn(async move {
        let mut writer = ws.send_writer(MessageKind::Binary).await.unwrap();
        for n in 0..300u32 {
            writer.write_all(&vec![n as u8; 10_000]).await.unwrap();
        }
        writer.finish().await.unwrap();
        ws
    });
    let mut reader = soon(served.recv_reader()).await.unwrap().unwrap();
    let mut all = Vec::new();
    soon(reader.read_to_end(&mut all)).await.unwrap();
    assert_eq!((all.len(), all[0], all[2_999_999]), (3_000_000, 0, 43));
    drop(soon(sending).await.unwrap());
}

#[tokio::test]
async fn limits_and_violations_end_one_socket() {
    let mut config = Config::default();
    config.limits.max_message = 1000;
    let (running, address) = start(Server::new().config(config)).await;
    let client = client(address);
    let mut good = soon(client.connect()).await.unwrap();
    let mut bad = soon(client.connect()).await.unwrap();
    bad.send(vec![0; 1001]).await.unwrap();
    assert_eq!(soon(bad.recv()).await.unwrap(), None);
    assert_eq!(soon(bad.closed()).await.code(), CloseCode::TOO_BIG);
    good.send("fine").await.unwrap();
    assert_eq!(soon(good.recv()).await.unwrap(), Some("fine".into()));
    until(|| running.stats().open == 1).await;
}

#[tokio::test]
async fn the_application_decides_as_for_http_1() {
    let server = Server::new().subprotocols(["b"]).on_request(|request| async move {
        assert!(request.is_http2() && request.is_upgrade());
        assert_eq!((request.method(), request.path()), ("GET", "/room"));
        assert!(request.header("host").is_some());
        match request.header("X-Who") {
            Some(b"anna") => Ok(Accept::new("Anna".to_owned()).header("X-Hello", "anna")),
            _ => Err(Response::text(401, "who are you?").body("x".repeat(10_000))),
        }
    });
    let running = server
        .listen("127.0.0.1:0")
        .start_with(|ws, name| async move {
            ws.send(name).await?;
            Ok(())
        })
        .await
        .unwrap();
    let client = client(address(&running)).subprotocol("a").subprotocol("b");
    let e = soon(client.connect()).await.unwrap_err();
    let answer = e.http_response().unwrap();
    assert_eq!((answer.status(), answer.body().len()), (401, 4096), "{e}");
    let mut ws = soon(client.header("X-Who", "anna").connect()).await.unwrap();
    assert_eq!(ws.subprotocol(), Some("b"));
    assert_eq!(ws.response().unwrap().header("x-hello"), Some(&b"anna"[..]));
    assert_eq!(soon(ws.recv()).await.unwrap(), Some("Anna".into()));
    assert_eq!(running.stats().refusals["application"], 1);
}

#[tokio::test]
async fn a_page_of_another_origin_is_refused() {
    let (running, address) = start(Server::new()).await;
    let e = soon(client(address).origin("https://evil.example").connect()).await.unwrap_err();
    assert_eq!(e.http_response().unwrap().status(), 403, "{e}");
    assert_eq!(running.stats().refusals["origin"], 1);
}

#[tokio::test]
async fn a_drain_closes_the_streams_and_the_connection() {
    let (running, address) = start(Server::new().config(patient())).await;
    let client = client(address);
    let mut one = soon(client.connect()).await.unwrap();
    let mut other = soon(client.connect()).await.unwrap();
    let mut drain = Drain::default();
    drain.code = CloseCode::SERVICE_RESTART;
    drain.deadline = std::time::Duration::from_secs(3600);
    let running = Arc::new(running);
    let draining = tokio::spawn({
        let running = running.clone();
        async move { running.drain(drain).await }
    });
    for ws in [&mut one, &mut other] {
        assert_eq!(soon(ws.recv()).await.unwrap(), None);
        assert_eq!(soon(ws.closed()).await.code(), CloseCode::SERVICE_RESTART);
    }
    assert_eq!(soon(draining).await.unwrap(), 0);
    let e = soon(client.connect()).await.unwrap_err();
    assert!(e.is_connect(), "{e}");
}

#[tokio::test]
async fn each_stream_takes_a_place_and_the_rest_is_answered_503() {
    let (running, address) = start(Server::new().max_connections(2)).await;
    let client = client(address);
    let mut one = soon(client.connect()).await.unwrap();
    let _two = soon(client.connect()).await.unwrap();
    let e = soon(client.connect()).await.unwrap_err();
    assert_eq!(e.http_response().unwrap().status(), 503, "{e}");
    assert_eq!(running.stats().refusals["full"], 1);
    soon(one.close(1000, "")).await.unwrap();
    until(|| running.stats().open == 1).await;
    soon(client.connect()).await.unwrap();
}

#[tokio::test]
async fn more_streams_than_a_connection_takes_go_to_another() {
    let (running, address) = start(Server::new().http2_streams(2)).await;
    let client = client(address);
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(soon(client.connect()).await.unwrap());
    }
    assert_eq!((running.stats().opened, running.stats().accepted), (5, 3));
    for ws in &mut all {
        ws.send("here").await.unwrap();
        assert_eq!(soon(ws.recv()).await.unwrap(), Some("here".into()));
    }
    // A stream that ends makes room for another.
    soon(all[0].close(1000, "")).await.unwrap();
    all.remove(0);
    let mut again = soon(client.connect()).await.unwrap();
    again.send("here").await.unwrap();
    assert_eq!(soon(again.recv()).await.unwrap(), Some("here".into()));
}

#[tokio::test]
async fn however_many_a_server_takes_all_on_a_connection_may_be_unread() {
    // Each pushes as much as a stream has room for, and more.
    let server = Server::new().http2_streams(200).listen("127.0.0.1:0");
    let handler = |ws: WebSocket| async move {
        while ws.send(vec![7; 16 << 10]).await.is_ok() {}
        Ok(())
    };
    let running = server.start(handler).await.unwrap();
    let client = client(address(&running));
    let mut all = Vec::new();
    for _ in 0..120 {
        all.push(soon(client.connect()).await.unwrap());
    }
    // The last one is read, and none of the others.
    let mut last = all.pop().unwrap();
    for _ in 0..64 {
        soon(last.recv()).await.unwrap().unwrap();
    }
    assert_eq!(running.stats().accepted, 2);
}

#[tokio::test]
async fn connecting_at_once_shares_one_connection_too() {
    let (running, address) = start(Server::new()).await;
    let client = client(address);
    let all: Vec<_> = (0..20)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.connect().await })
        })
        .collect();
    for one in all {
        soon(one).await.unwrap().unwrap();
    }
    assert_eq!((running.stats().opened, running.stats().accepted), (20, 1));
}

#[tokio::test]
async fn a_connection_ends_with_the_client_and_its_sockets() {
    let (running, address) = start(Server::new()).await;
    let client = client(address);
    let mut ws = soon(client.connect()).await.unwrap();
    drop(client);
    ws.send("alive").await.unwrap();
    assert_eq!(soon(ws.recv()).await.unwrap(), Some("alive".into()));
    drop(ws);
    // Nobody is left who would have to be waited for.
    let mut drain = Drain::default();
    drain.deadline = std::time::Duration::from_secs(3600);
    assert_eq!(soon(running.drain(drain)).await, 0);
}

#[tokio::test]
async fn a_lost_connection_is_replaced() {
    let (running, address) = start(Server::new()).await;
    let client = client(address);
    let mut ws = soon(client.connect()).await.unwrap();
    drop(running);
    assert!(soon(ws.recv()).await.unwrap_err().is_lost());
    let listen = async {
        loop {
            let server = Server::new().listen(address);
            match server.start(echo).await {
                Ok(running) => return running,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    let running = soon(listen).await;
    let mut ws = soon(client.connect()).await.unwrap();
    ws.send("again").await.unwrap();
    assert_eq!(soon(ws.recv()).await.unwrap(), Some("again".into()));
    assert_eq!(running.stats().opened_http2, 1);
}

/// Echoes from a worker, or where there is none from a task.
struct Calls;

impl Handler for Calls {
    type Peer = ();

    fn open(&self, _: &mut Socket<'_>, (): ()) {}

    fn message(&self, ws: &mut Socket<'_>, (): &mut (), message: Received<'_>) {
        let _ = ws.send(message.as_text().unwrap_or_default().to_owned());
    }
}

#[tokio::test]
async fn handlers_and_workers_take_both_versions() {
    let server = Server::new().listen("127.0.0.1:0").workers(2);
    let running = server.start_handler(Calls).await.unwrap();
    let address = address(&running);
    let new = soon(client(address).connect()).await.unwrap();
    let old = soon(provod::connect(format!("ws://{address}/"))).await.unwrap();
    for mut ws in [new, old] {
        ws.send("echo").await.unwrap();
        assert_eq!(soon(ws.recv()).await.unwrap(), Some("echo".into()));
    }
    assert_eq!((running.stats().opened, running.stats().opened_http2), (2, 1));
}

#[tokio::test]
async fn a_server_may_be_told_not_to_speak_it() {
    let (running, address) = start_with(Server::new().http2_streams(0), echo).await;
    let e = soon(client(address).connect()).await.unwrap_err();
    assert!(e.is_handshake() || e.is_lost(), "{e}");
    assert_eq!(running.stats().refusals["head"], 1);
}
