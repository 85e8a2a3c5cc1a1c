//! WebSockets over HTTP/2 (RFC 8441): our client with our server, either with the `h2` crate at the
//! other end, and frames written by hand.

mod hostile;
mod others;
mod plain;
mod raw;
mod talk;
#[cfg(feature = "tls")]
mod tls;

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::ext::Protocol;
use http::{Method, Request, Version};
use provod::Client;
use provod::client::Http2;
use tokio::net::TcpStream;

/// A client that wants HTTP/2.
fn client(address: SocketAddr) -> Client {
    Client::new(format!("ws://{address}/room?n=7")).http2(Http2::Require)
}

/// A connection of HTTP/2 by another implementation.
async fn connect(address: SocketAddr) -> SendRequest<Bytes> {
    let io = TcpStream::connect(address).await.expect("the server listens");
    let (send, connection) = h2::client::handshake(io).await.expect("it speaks HTTP/2");
    tokio::spawn(connection);
    let mut send = send.ready().await.expect("it is open");
    // SETTINGS have come when a request was answered.
    let asked = Request::get(format!("http://{address}/none")).body(()).unwrap();
    let answer = send.send_request(asked, true).unwrap().0;
    let _ = crate::peer::soon(answer).await;
    send.ready().await.expect("it is open")
}

/// The request of RFC 8441 section 5.1 for this server.
fn upgrade(address: SocketAddr) -> Request<()> {
    Request::builder()
        .method(Method::CONNECT)
        .version(Version::HTTP_2)
        .uri(format!("http://{address}/chat"))
        .extension(Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13")
        .body(())
        .unwrap()
}
