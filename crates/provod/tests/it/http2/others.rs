//! Our client at servers of others, good and bad, by the `h2` crate and by hand.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::{Request, Response};
use provod::client::Http2;
use provod::{Client, WebSocket};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::client;
use crate::peer::soon;

struct Other {
    listener: TcpListener,
    address: SocketAddr,
}

type Served = Connection<TcpStream, Bytes>;
type Asked = (Request<RecvStream>, SendResponse<Bytes>);

impl Other {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, address }
    }

    async fn accept(&self, builder: &Builder) -> Served {
        let (io, _) = soon(self.listener.accept()).await.unwrap();
        soon(builder.handshake(io)).await.unwrap()
    }
}

fn good() -> Builder {
    let mut builder = Builder::new();
    builder.enable_connect_protocol();
    builder
}

fn connecting(client: &Client) -> JoinHandle<Result<WebSocket, provod::Error>> {
    let client = client.clone();
    tokio::spawn(async move { client.connect().await })
}

async fn next(served: &mut Served) -> Asked {
    soon(served.accept()).await.unwrap().unwrap()
}

fn ok() -> Response<()> {
    Response::new(())
}

#[tokio::test]
async fn the_request_is_that_of_rfc8441_5_1() {
    let other = Other::start().await;
    let client = client(other.address)
        .subprotocol("chat")
        .origin("https://example.com")
        .header("Authorization", "Bearer 7d1f");
    let opening = connecting(&client);
    let mut served = other.accept(&good()).await;
    let (request, mut respond) = next(&mut served).await;
    assert_eq!(request.method(), "CONNECT");
    let protocol = request.extensions().get::<h2::ext::Protocol>().unwrap();
    assert_eq!(protocol.as_str(), "websocket");
    assert_eq!(request.uri().to_string(), format!("http://{}/room?n=7", other.address));
    let mut names: Vec<_> = request.headers().keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    let expected = ["authorization", "origin", "sec-websocket-protocol", "sec-websocket-version"];
    assert_eq!(names, expected);
    let mut answer = ok();
    answer.headers_mut().insert("sec-websocket-protocol", "chat".parse().unwrap());
    let mut send = respond.send_response(answer, false).unwrap();
    // Frames that come with the answer are received as all others, and the end without a Close is
    // 1006.
    send.send_data(Bytes::from_static(b"\x81\x02hi"), false).unwrap();
    send.send_data(Bytes::new(), true).unwrap();
    let driven = tokio::spawn(async move { while served.accept().await.is_some() {} });
    let mut ws = soon(opening).await.unwrap().unwrap();
    assert_eq!(ws.subprotocol(), Some("chat"));
    assert_eq!(soon(ws.recv()).await.unwrap(), Some("hi".into()));
    let e = soon(ws.recv()).await.unwrap_err();
    assert!(e.is_lost() && e.to_string().contains("without a Close"), "{e}");
    drop((ws, client));
    soon(driven).await.unwrap();
}

#[tokio::test]
async fn a_server_without_the_setting_takes_no_websockets() {
    let other = Other::start().await;
    let opening = connecting(&client(other.address));
    let mut served = other.accept(&Builder::new()).await;
    tokio::spawn(async move { while served.accept().await.is_some() {} });
    let e = soon(opening).await.unwrap().unwrap_err();
    assert!(e.is_handshake() && e.to_string().contains("RFC 8441"), "{e}");
}

#[tokio::test]
async fn what_is_not_http2_is_said_so() {
    for (answer, lost) in [
        (&b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"[..], false),
        (b"SSH-2.0-OpenSSH_9.9\r\n", false),
        (b"", true),
    ] {
        let other = Other::start().await;
        let opening = connecting(&client(other.address));
        let (mut io, _) = soon(other.listener.accept()).await.unwrap();
        let mut preface = [0; 24];
        soon(io.read_exact(&mut preface)).await.unwrap();
        io.write_all(answer).await.unwrap();
        io.shutdown().await.unwrap();
        let e = soon(opening).await.unwrap().unwrap_err();
        assert_eq!((e.is_handshake(), e.is_lost()), (!lost, lost), "{e}");
        assert!(lost || e.to_string().contains("HTTP/2"), "{e}");
    }
}

#[tokio::test]
async fn silence_has_a_deadline_at_each_step() {
    let short = Duration::from_millis(50);
    // Before SETTINGS.
    let other = Other::start().await;
    let client = client(other.address).handshake_timeout(short);
    let opening = connecting(&client);
    let (_io, _) = soon(other.listener.accept()).await.unwrap();
    let e = soon(opening).await.unwrap().unwrap_err();
    assert!(e.is_timeout() && e.to_string().contains(&other.address.to_string()), "{e}");
    // After them; and what was silent is not used again.
    for _ in 0..2 {
        let opening = connecting(&client);
        let mut served = other.accept(&good()).await;
        let (_request, _respond) = next(&mut served).await;
        let driven = tokio::spawn(async move { while served.accept().await.is_some() {} });
        let e = soon(opening).await.unwrap().unwrap_err();
        assert!(e.is_timeout(), "{e}");
        soon(driven).await.unwrap();
    }
}

#[tokio::test]
async fn a_refusal_carries_what_it_says() {
    let other = Other::start().await;
    let client = client(other.address);
    let opening = connecting(&client);
    let mut served = other.accept(&good()).await;
    let (_request, mut respond) = next(&mut served).await;
    let mut refusal = ok();
    *refusal.status_mut() = http::StatusCode::TOO_MANY_REQUESTS;
    refusal.headers_mut().insert("retry-after", "7".parse().unwrap());
    let mut send = respond.send_response(refusal, false).unwrap();
    // No end, and more than is wanted.
    send.send_data(vec![b'x'; 30_000].into(), false).unwrap();
    tokio::spawn(async move { while served.accept().await.is_some() {} });
    let e = soon(opening).await.unwrap().unwrap_err();
    let answer = e.http_response().unwrap();
    assert_eq!((answer.status(), answer.header("Retry-After")), (429, Some(&b"7"[..])));
    assert_eq!(answer.body(), &[b'x'; 4096][..]);
}

#[tokio::test]
async fn a_reset_is_the_error_of_one_socket_and_names_its_reason() {
    let other = Other::start().await;
    let client = client(other.address);
    let opening = connecting(&client);
    let mut served = other.accept(&good()).await;
    let (_request, mut respond) = next(&mut served).await;
    let mut first = respond.send_response(ok(), false).unwrap();
    let second = connecting(&client);
    let (_request, mut respond) = next(&mut served).await;
    let mut other_send = respond.send_response(ok(), false).unwrap();
    // One that is reset before its answer.
    let third = connecting(&client);
    let (_request, mut respond) = next(&mut served).await;
    respond.send_reset(Reason::INTERNAL_ERROR);
    tokio::spawn(async move { while served.accept().await.is_some() {} });
    let (mut one, mut two) = (soon(opening).await.unwrap().unwrap(), soon(second).await.unwrap());
    let e = soon(third).await.unwrap().unwrap_err();
    assert!(e.to_string().contains("INTERNAL_ERROR"), "{e}");
    first.send_data(Bytes::from_static(b"\x81\x05hel"), false).unwrap();
    let two = two.as_mut().unwrap();
    other_send.send_data(Bytes::from_static(b"\x81\x01a"), false).unwrap();
    assert_eq!(soon(two.recv()).await.unwrap(), Some("a".into()));
    first.send_reset(Reason::ENHANCE_YOUR_CALM);
    let e = soon(one.recv()).await.unwrap_err();
    assert!(e.is_lost() && e.to_string().contains("ENHANCE_YOUR_CALM"), "{e}");
    other_send.send_data(Bytes::from_static(b"\x81\x01b"), false).unwrap();
    assert_eq!(soon(two.recv()).await.unwrap(), Some("b".into()));
}

#[tokio::test]
async fn after_a_goaway_open_sockets_go_on_and_new_ones_go_elsewhere() {
    let other = Other::start().await;
    let client = client(other.address);
    let opening = connecting(&client);
    let mut served = other.accept(&good()).await;
    let (_request, mut respond) = next(&mut served).await;
    let mut old = respond.send_response(ok(), false).unwrap();
    served.graceful_shutdown();
    tokio::spawn(async move { while served.accept().await.is_some() {} });
    let mut ws = soon(opening).await.unwrap().unwrap();
    old.send_data(Bytes::from_static(b"\x81\x01a"), false).unwrap();
    assert_eq!(soon(ws.recv()).await.unwrap(), Some("a".into()));
    let second = connecting(&client);
    let mut served = other.accept(&good()).await;
    let (_request, mut respond) = next(&mut served).await;
    let mut new = respond.send_response(ok(), false).unwrap();
    tokio::spawn(async move { while served.accept().await.is_some() {} });
    let mut second = soon(second).await.unwrap().unwrap();
    new.send_data(Bytes::from_static(b"\x81\x01b"), false).unwrap();
    old.send_data(Bytes::from_static(b"\x81\x01c"), false).unwrap();
    assert_eq!(soon(second.recv()).await.unwrap(), Some("b".into()));
    assert_eq!(soon(ws.recv()).await.unwrap(), Some("c".into()));
}

#[tokio::test]
async fn a_refused_stream_is_asked_for_again() {
    let other = Other::start().await;
    let client = client(other.address);
    let opening = connecting(&client);
    let mut served = other.accept(&good()).await;
    let (_request, mut respond) = next(&mut served).await;
    let _old = respond.send_response(ok(), false).unwrap();
    let second = connecting(&client);
    let (_request, mut respond) = next(&mut served).await;
    respond.send_reset(Reason::REFUSED_STREAM);
    tokio::spawn(async move { while served.accept().await.is_some() {} });
    let _first = soon(opening).await.unwrap().unwrap();
    let mut served = other.accept(&good()).await;
    let (_request, mut respond) = next(&mut served).await;
    let _new = respond.send_response(ok(), false).unwrap();
    tokio::spawn(async move { while served.accept().await.is_some() {} });
    soon(second).await.unwrap().unwrap();
}

#[tokio::test]
async fn one_stream_may_be_a_connection_of_ones_own() {
    let (running, address) = crate::servers::start(provod::Server::new()).await;
    let io = TcpStream::connect(address).await.unwrap();
    let client = Client::new("ws://localhost/").http2(Http2::Require);
    let mut ws = soon(client.connect_over(io)).await.unwrap();
    ws.send("over").await.unwrap();
    assert_eq!(soon(ws.recv()).await.unwrap(), Some("over".into()));
    assert_eq!(running.stats().opened_http2, 1);
}
