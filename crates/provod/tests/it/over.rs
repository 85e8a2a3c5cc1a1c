//! A server on a stream of one's own, and two ends in memory.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use provod::config::DeflateConfig;
use provod::server::{Accept, Response};
use provod::{Client, Config, Error, Sender, Server, WebSocket};
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadBuf, ReadHalf,
};

use crate::peer::{Peer, not_stuck, soon, text, until};
use crate::servers::{hasty, patient};

type Opened = Result<WebSocket, Error>;

/// Both ends of a handshake in memory.
async fn meet<S: Send + 'static>(client: Client, server: &Server<S>) -> (Opened, Opened) {
    let (near, far) = tokio::io::duplex(4096);
    soon(async { tokio::join!(client.connect_over(near), server.accept_over(far)) }).await
}

fn plain() -> Client {
    Client::new("ws://localhost/room?n=7")
}

/// A message each way, then the end of it.
async fn talk(mut client: WebSocket, mut server: WebSocket) {
    client.send("to the server").await.expect("it is queued");
    assert_eq!(soon(server.recv()).await.expect("it comes"), Some("to the server".into()));
    server.send(vec![7; 100_000]).await.expect("it is queued");
    let got = soon(client.recv()).await.expect("it comes").expect("a message");
    assert_eq!(got.as_bytes(), &[7; 100_000][..]);
    let (closed, end) =
        soon(async { tokio::join!(client.close(4000, "bye"), server.recv()) }).await;
    assert!(closed.expect("a legal code").is_clean());
    assert_eq!(end.expect("a Close"), None);
    let closed = soon(server.closed()).await;
    assert_eq!(closed.code(), 4000.into());
}

#[tokio::test]
async fn client_and_server_meet_on_a_stream_of_ones_own() {
    let server = Server::new().subprotocols(["chat"]).compression(DeflateConfig::default());
    let client = plain().subprotocol("chat").compression(DeflateConfig::default());
    // The settings hold for any number of streams.
    for _ in 0..2 {
        let (opened, accepted) = meet(client.clone(), &server).await;
        let (opened, accepted) = (opened.expect("it opens"), accepted.expect("it is accepted"));
        assert_eq!((accepted.path(), accepted.query()), ("/room", Some("n=7")));
        for end in [&opened, &accepted] {
            assert_eq!(end.subprotocol(), Some("chat"));
            assert!(end.compression().is_some());
        }
        talk(opened, accepted).await;
    }
    assert_eq!(server.counters().read().opened, 2);
}

#[tokio::test]
async fn a_stream_that_holds_bytes_back_is_flushed() {
    let (near, far) = tokio::io::duplex(4096);
    let (near, far) = (tokio::io::BufStream::new(near), tokio::io::BufStream::new(far));
    let (client, server) = (plain(), Server::new());
    let both = async { tokio::join!(client.connect_over(near), server.accept_over(far)) };
    let (opened, accepted) = soon(both).await;
    talk(opened.expect("it opens"), accepted.expect("it is accepted")).await;
}

#[tokio::test]
async fn on_request_decides_and_hands_a_value_over() {
    let server = Server::new().on_request(|request| async move {
        match request.query() {
            Some("n=7") => Ok(Accept::new(7)),
            _ => Err(Response::text(402, "not without money")),
        }
    });
    let (near, far) = tokio::io::duplex(4096);
    let client = plain();
    let both = async { tokio::join!(client.connect_over(near), server.accept_over_with(far)) };
    let (opened, accepted) = soon(both).await;
    let (accepted, n) = accepted.expect("it is accepted");
    assert_eq!(n, 7);
    talk(opened.expect("it opens"), accepted).await;

    let (opened, accepted) = meet(Client::new("ws://localhost/"), &server).await;
    let e = opened.expect_err("a refusal");
    assert_eq!(e.http_response().map(provod::client::HttpResponse::status), Some(402));
    let e = accepted.expect_err("a refusal");
    assert!(e.is_handshake() && e.to_string().contains("402"), "{e}");
}

#[tokio::test]
async fn a_refused_request_is_answered_and_the_error_says_why() {
    let server = Server::new();
    let elsewhere = plain().origin("https://elsewhere.example");
    let (opened, accepted) = meet(elsewhere, &server).await;
    let status =
        opened.expect_err("refused").http_response().map(provod::client::HttpResponse::status);
    assert_eq!(status, Some(403));
    let e = accepted.expect_err("refused");
    assert!(e.is_handshake() && e.to_string().contains("may not connect"), "{e}");

    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "426"),
        ("nonsense \x1b[2J\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", "400"),
    ] {
        let (mut near, far) = tokio::io::duplex(4096);
        near.write_all(request.as_bytes()).await.expect("it is taken");
        near.shutdown().await.expect("it ends");
        let e = soon(server.accept_over(far)).await.expect_err(request);
        assert!(e.is_handshake() && e.to_string().contains(status), "{request:?}: {e}");
        let mut answer = String::new();
        soon(near.read_to_string(&mut answer)).await.expect("an answer and the end");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
}

#[tokio::test]
async fn a_client_that_hangs_up() {
    for request in ["", "GET / HTTP/1.1\r\n"] {
        let (mut near, far) = tokio::io::duplex(4096);
        near.write_all(request.as_bytes()).await.expect("it is taken");
        drop(near);
        let e = soon(Server::new().accept_over(far)).await.expect_err("nobody asked");
        assert!(e.is_lost(), "{e}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_too_little_ends_at_the_deadline() {
    let server = Server::new().handshake_timeout(Duration::from_secs(7));
    for said in ["", "GET / HTTP"] {
        let (mut near, far) = tokio::io::duplex(4096);
        near.write_all(said.as_bytes()).await.expect("it is taken");
        let begun = tokio::time::Instant::now();
        let e = server.accept_over(far).await.expect_err("silence");
        assert!(e.is_timeout() && !e.is_handshake(), "{e}");
        assert_eq!(begun.elapsed().as_secs(), 7);
    }
}

#[tokio::test]
async fn a_raw_peer_with_frames_behind_its_request() {
    let (near, far) = tokio::io::duplex(4096);
    let server = Server::new();
    let mut peer = Peer::client(near);
    peer.send([crate::peer::request("/", &[]).into_bytes(), text("early")].concat()).await;
    let mut ws = soon(server.accept_over(far)).await.expect("it is accepted");
    assert_eq!(soon(ws.recv()).await.expect("it comes"), Some("early".into()));
    assert_eq!(peer.answer().await.status, 101);
    drop(ws);
    peer.expect_close(1001).await;
}

#[tokio::test(start_paused = true)]
async fn a_pipe_is_a_connection() {
    let (client, server) = provod::pipe();
    talk(client, server).await;
}

#[tokio::test(start_paused = true)]
async fn either_end_of_a_pipe_may_be_dropped() {
    let (client, mut server) = provod::pipe();
    drop(client);
    assert_eq!(soon(server.recv()).await.expect("a Close"), None);
    assert!(soon(server.closed()).await.is_clean());
    let (mut client, server) = provod::pipe();
    drop(server);
    assert_eq!(soon(client.recv()).await.expect("a Close"), None);
    assert!(soon(client.closed()).await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn back_pressure_goes_through_a_pipe() {
    let (client, mut server) = provod::pipe_with(patient(), patient());
    let message = "x".repeat(10_000);
    let mut sent = 0;
    // Time moves on only when nobody has anything left to do.
    while tokio::time::timeout(Duration::from_secs(1), client.send(&*message)).await.is_ok() {
        sent += 1;
        assert!(sent < 100, "a peer that does not read must be felt");
    }
    for _ in 0..sent {
        assert_eq!(soon(server.recv()).await.expect("it comes"), Some((&*message).into()));
    }
    soon(client.send("more")).await.expect("there is room again");
}

#[tokio::test(start_paused = true)]
async fn each_end_of_a_pipe_has_its_own_settings() {
    let mut narrow = hasty();
    narrow.limits.max_message = 10;
    let (mut client, mut server) = provod::pipe_with(Config::default(), narrow);
    server.send("more than ten bytes").await.expect("it is queued");
    assert!(soon(client.recv()).await.expect("it comes").is_some());
    client.send("more than ten bytes").await.expect("it is queued");
    assert!(soon(server.recv()).await.is_err_and(|e| e.is_limit()));
}

#[tokio::test]
async fn a_message_that_inflates_past_the_limit_fails_with_1009() {
    let mut narrow = hasty();
    narrow.limits.max_message = 10_000;
    let compressing = DeflateConfig::default();
    let client = plain().compression(compressing).config(narrow);
    let (opened, accepted) = meet(client, &Server::new().compression(compressing)).await;
    let (mut client, mut server) = (opened.expect("it opens"), accepted.expect("it is accepted"));
    server.send(vec![0; 10 << 20]).await.expect("it is queued");
    let e = soon(client.recv()).await.expect_err("a bomb");
    assert!(e.is_limit() && e.close_code() == Some(1009.into()), "{e}");
    assert_eq!(soon(server.recv()).await.expect("a Close"), None);
    assert_eq!(soon(server.closed()).await.code(), 1009.into());
}

#[tokio::test]
async fn the_limits_of_the_config_hold_on_a_stream_of_ones_own() {
    let mut config = Config::default();
    config.limits.max_message = 10;
    let (opened, accepted) = meet(plain(), &Server::new().config(config)).await;
    let (opened, mut accepted) = (opened.expect("it opens"), accepted.expect("it is accepted"));
    opened.send("eleven byte").await.expect("it is queued");
    let e = soon(accepted.recv()).await.expect_err("it is too long");
    assert!(e.is_limit(), "{e}");
}

/// A stream that uses the connection which it carried, when it is let go.
struct Saying(ReadHalf<DuplexStream>, Arc<Mutex<Option<Sender>>>);

impl AsyncRead for Saying {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Drop for Saying {
    fn drop(&mut self) {
        let sender = self.1.lock().unwrap().take().expect("it is dropped once");
        assert!(sender.try_send("goodbye").is_err(), "it is over");
    }
}

#[test]
fn a_stream_of_ones_own_may_use_the_connection_when_it_is_dropped() {
    not_stuck(async {
        let (near, far) = tokio::io::duplex(4096);
        let (read, write) = tokio::io::split(near);
        let said = Arc::new(Mutex::new(None));
        let near = tokio::io::join(Saying(read, said.clone()), write);
        let (client, server) = (Client::new("ws://localhost/"), Server::new());
        let (client, accepted) =
            soon(async { tokio::join!(client.connect_over(near), server.accept_over(far)) }).await;
        let (mut client, accepted) = (client.unwrap(), accepted.unwrap());
        *said.lock().unwrap() = Some(client.sender());
        drop(accepted);
        assert_eq!(soon(client.recv()).await.unwrap(), None);
        until(|| said.lock().unwrap().is_none()).await;
    });
}
