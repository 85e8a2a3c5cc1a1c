//! Proxies in front of the server that say for whom they connect.

use std::net::SocketAddr;
use std::time::Duration;

use provod::handler::{Received, Socket};
use provod::{Handler, Server};

use crate::peer::{Peer, request, soon, text, until};
use crate::servers::{address, hall, start};

/// Says who somebody is.
struct Who;

impl Handler for Who {
    type Peer = ();

    fn open(&self, ws: &mut Socket<'_>, (): ()) {
        let peer = ws.peer().to_owned();
        let _ = ws.send(peer);
    }

    fn message(&self, ws: &mut Socket<'_>, (): &mut (), message: Received<'_>) {
        let _ = ws.send(message);
    }
}

/// A header for 203.0.113.9, port 49153, with a value of a kind that nobody knows.
fn header() -> Vec<u8> {
    let mut out = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x14".to_vec();
    out.extend([203, 0, 113, 9, 10, 0, 0, 1, 0xC0, 0x01, 0, 80]);
    out.extend([0xE5, 0, 5, 1, 2, 3, 4, 5]);
    out
}

fn behind_loopback() -> Server {
    Server::new().proxy_protocol(["127.0.0.0/8", "::1"])
}

async fn connect(address: SocketAddr, header: &[u8]) -> Peer {
    let mut peer = Peer::connect(address).await;
    peer.send(header).await;
    peer
}

#[tokio::test]
async fn the_peer_is_whom_the_proxy_names() {
    let server = behind_loopback();
    let mut hall = hall(server).await;
    let mut peer = connect(hall.address, &header()).await;
    peer.upgrade("/", &[]).await;
    let ws = soon(hall.opened.recv()).await.expect("it opens");
    assert_eq!(ws.peer(), "203.0.113.9:49153");
    // LOCAL: the proxy itself.
    let mut peer = connect(hall.address, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0").await;
    peer.upgrade("/", &[]).await;
    let ws = soon(hall.opened.recv()).await.expect("it opens");
    assert!(ws.peer().starts_with("127.0.0.1:"), "{}", ws.peer());
    // A client of the proxy's Unix socket.
    let mut unix = b"\r\n\r\n\0\r\nQUIT\n\x21\x31\0\xD8".to_vec();
    unix.extend([0; 216]);
    let mut peer = connect(hall.address, &unix).await;
    peer.upgrade("/", &[]).await;
    assert_eq!(soon(hall.opened.recv()).await.expect("it opens").peer(), "unix");
}

#[tokio::test]
async fn a_worker_hears_of_it_too_in_one_piece_or_many() {
    let server = behind_loopback().workers(1).listen("127.0.0.1:0");
    let running = server.start_handler(Who).await.expect("it starts");
    for pieces in [false, true] {
        let mut all = header();
        all.extend(request("/", &[]).as_bytes());
        all.extend(text("hello"));
        let mut peer = Peer::connect(address(&running)).await;
        if pieces {
            for byte in all {
                peer.send(&[byte][..]).await;
                tokio::task::yield_now().await;
            }
        } else {
            peer.send(&all).await;
        }
        assert_eq!(peer.answer().await.status, 101);
        peer.expect_text("203.0.113.9:49153").await;
        peer.expect_text("hello").await;
        peer.bye().await;
    }
}

#[tokio::test]
async fn nobody_else_may_say_who_he_is() {
    let server = Server::new().proxy_protocol(["192.0.2.0/24"]);
    let (running, address) = start(server).await;
    let mut peer = Peer::connect(address).await;
    peer.try_send(&header()).await;
    peer.gone().await;
    assert_eq!(running.stats().refusals.get("proxy"), Some(&1));
}

#[tokio::test]
async fn a_connection_without_a_header_ends() {
    let (running, address) = start(behind_loopback()).await;
    let mut bad_version = header();
    bad_version[12] = 0x31;
    let requests = [
        request("/", &[]).into_bytes(),
        b"PROXY TCP4 1.2.3.4 5.6.7.8 9 80\r\n".to_vec(),
        bad_version,
    ];
    for bytes in &requests {
        let mut peer = Peer::connect(address).await;
        peer.try_send(bytes).await;
        peer.gone().await;
    }
    assert_eq!(running.stats().refusals.get("proxy"), Some(&3));
}

#[tokio::test(start_paused = true)]
async fn a_header_that_does_not_come_is_waited_for_as_long_as_a_request() {
    let (running, address) = start(behind_loopback()).await;
    for length in [0, 1, 15, 16, header().len() - 1] {
        let mut peer = Peer::connect(address).await.patience(Duration::from_secs(3600));
        peer.send(&header()[..length]).await;
        peer.gone().await;
    }
    assert_eq!(running.stats().refusals.get("proxy"), Some(&5));
}

#[tokio::test]
async fn silent_proxies_make_room_for_others() {
    let (running, address) = start(behind_loopback().max_connections(4)).await;
    let mut silent = Vec::new();
    for n in 0..12 {
        silent.push(Peer::connect(address).await);
        until(|| running.stats().accepted == n + 1).await;
    }
    let mut peer = connect(address, &header()).await;
    peer.upgrade("/", &[]).await;
    peer.bye().await;
    assert!(running.stats().refusals["evicted"] >= 9);
}

#[tokio::test]
async fn addresses_that_are_none_are_told_before_the_server_starts() {
    for (trusted, line) in [
        (&["10.0.0.0/8", "10.0.0.0/33"][..], "\"10.0.0.0/33\" is no address of a proxy: "),
        (&["proxy.example"], "\"proxy.example\" is no address of a proxy: "),
        (&[], "\"\" is no address of a proxy: "),
    ] {
        let server = Server::new().proxy_protocol(trusted).listen("127.0.0.1:0");
        let error = server.start(crate::servers::echo).await.expect_err("it cannot start");
        assert!(error.is_usage() && error.to_string().starts_with(line), "{error}");
    }
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn the_header_comes_before_tls() {
    use crate::tls::{connect_behind, trusted};

    let (tls, client) = trusted();
    let mut hall = hall(behind_loopback().tls(tls)).await;
    let ws = connect_behind(hall.address, &header(), &client).await;
    let accepted = soon(hall.opened.recv()).await.expect("it opens");
    assert_eq!(accepted.peer(), "203.0.113.9:49153");
    drop(ws);
}
