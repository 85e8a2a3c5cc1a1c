//! HTTP/2 by ALPN (RFC 9113 section 3.2), and the way back to HTTP/1.1.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use provod::client::Http2;
use provod::tls::ServerTls;
use provod::{Client, Server, WebSocket};
use tokio::net::TcpListener;

use crate::client::certificates::{Ca, accept, server};
use crate::peer::soon;
use crate::servers::{echo, start};

async fn talk(ws: &mut WebSocket) {
    ws.send(vec![7; 300_000]).await.expect("it is open");
    assert_eq!(soon(ws.recv()).await.expect("an echo").expect("a message").len(), 300_000);
}

fn at(address: SocketAddr, ca: &Ca, http2: Http2) -> Client {
    Client::new(format!("wss://localhost:{}/", address.port()))
        .resolve_to("localhost", address.port(), [address.ip()])
        .tls(ca.trusted())
        .http2(http2)
}

fn over_tls(server: Server, ca: &Ca) -> Server {
    let pair = ca.local();
    server.tls(ServerTls::from_pem(pair.certificate, pair.key))
}

#[tokio::test]
async fn a_server_over_tls_takes_what_the_client_chooses() {
    let ca = Ca::new();
    let (running, address) = start(over_tls(Server::new(), &ca)).await;
    for (http2, so_far) in [(Http2::Never, 0), (Http2::Prefer, 2), (Http2::Require, 4)] {
        let client = at(address, &ca, http2);
        let mut one = soon(client.connect()).await.unwrap();
        let mut two = soon(client.connect()).await.unwrap();
        talk(&mut one).await;
        talk(&mut two).await;
        assert!(soon(one.close(1000, "")).await.unwrap().is_clean());
        assert!(soon(two.close(1000, "")).await.unwrap().is_clean());
        assert_eq!(running.stats().opened_http2, so_far);
    }
    // Two connections of HTTP/1.1, then one for each client.
    assert_eq!((running.stats().opened, running.stats().accepted), (6, 4));
    assert_eq!(running.drain(provod::server::Drain::default()).await, 0);
}

#[tokio::test]
async fn a_server_of_http_1_is_asked_on_the_same_connection() {
    let ca = Ca::new();
    let (running, address) = start(over_tls(Server::new().http2_streams(0), &ca)).await;
    let client = at(address, &ca, Http2::Prefer);
    for _ in 0..2 {
        talk(&mut soon(client.connect()).await.unwrap()).await;
    }
    assert_eq!((running.stats().opened, running.stats().accepted), (2, 2));
    let e = soon(at(address, &ca, Http2::Require).connect()).await.unwrap_err();
    assert!(e.is_handshake() || e.is_tls(), "{e}");
}

#[tokio::test]
async fn a_server_of_http_2_without_websockets_is_asked_in_http_1() {
    let ca = Ca::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut config = server(&ca.local(), None);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let config = Arc::new(config);
    let served = tokio::spawn(async move {
        let mut chosen = Vec::new();
        for _ in 0..4 {
            let (io, _) = listener.accept().await.unwrap();
            let stream = accept(config.clone(), io).await.unwrap();
            let alpn = stream.get_ref().1.alpn_protocol().unwrap().to_vec();
            if alpn == b"h2" {
                let mut served = h2::server::handshake::<_>(stream).await.unwrap();
                let served: &mut h2::server::Connection<_, Bytes> = &mut served;
                while served.accept().await.is_some() {}
            } else {
                let ws = Server::new().accept_over(stream).await.unwrap();
                tokio::spawn(echo(ws));
            }
            chosen.push(String::from_utf8(alpn).unwrap());
        }
        chosen
    });
    let client = at(address, &ca, Http2::Prefer);
    let (one, two) = soon(async { tokio::join!(client.connect(), client.connect()) }).await;
    talk(&mut one.unwrap()).await;
    talk(&mut two.unwrap()).await;
    // It is known now.
    talk(&mut soon(client.connect()).await.unwrap()).await;
    assert_eq!(soon(served).await.unwrap(), ["h2", "http/1.1", "http/1.1", "http/1.1"]);
}
