//! A client of HTTP/2 that is written by hand, on the crate `h2`.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use provod_proto::raw::RawFrame;
use provod_testkit::peer::{MASK, soon};

/// A connection with prior knowledge.
pub(crate) async fn connect(address: SocketAddr) -> SendRequest<Bytes> {
    let tcp = soon(tokio::net::TcpStream::connect(address)).await.unwrap();
    let (send, connection) = soon(h2::client::handshake(tcp)).await.unwrap();
    tokio::spawn(connection);
    let mut send = soon(send.ready()).await.unwrap();
    soon(async {
        // The server's settings come with its first frames.
        while !send.is_extended_connect_protocol_enabled() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    })
    .await;
    send = soon(send.ready()).await.unwrap();
    send
}

/// Asks for a WebSocket, or something like it.
pub(crate) async fn ask(
    send: &mut SendRequest<Bytes>,
    target: &str,
    protocol: &'static str,
    headers: &[(&'static str, &str)],
) -> (Response<RecvStream>, SendStream<Bytes>) {
    let mut request = Request::builder()
        .method("CONNECT")
        .uri(format!("http://localhost{target}"))
        .extension(Protocol::from_static(protocol));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (response, stream) = send.send_request(request.body(()).unwrap(), false).unwrap();
    (soon(response).await.unwrap(), stream)
}

/// The headers of a good request.
pub(crate) const GOOD: [(&str, &str); 1] = [("sec-websocket-version", "13")];

pub(crate) fn say(stream: &mut SendStream<Bytes>, frame: RawFrame) {
    stream.send_data(frame.masked(MASK).to_bytes().into(), false).unwrap();
}

/// Says the last that this end has to say.
pub(crate) fn say_last(stream: &mut SendStream<Bytes>, frame: RawFrame) {
    stream.send_data(frame.masked(MASK).to_bytes().into(), true).unwrap();
}

/// The next bytes of a stream, as many as these, which they must be.
pub(crate) async fn expect(stream: &mut RecvStream, expected: &[u8]) {
    let mut got = Vec::new();
    while got.len() < expected.len() {
        let data = soon(stream.data()).await.expect("more").unwrap();
        stream.flow_control().release_capacity(data.len()).unwrap();
        got.extend_from_slice(&data);
    }
    assert_eq!(got, expected);
}

pub(crate) fn names(headers: &HeaderMap) -> Vec<&str> {
    headers.keys().map(http::HeaderName::as_str).collect()
}
