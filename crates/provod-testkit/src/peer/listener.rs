//! Where a client under test finds its scripted server.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::panic::Location;

use tokio::net::TcpListener;

use super::{PATIENCE, Peer, Place, within};

/// A port of this machine on which the test plays the server.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub async fn bind() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        Self { listener, address }
    }

    /// The address that a client connects to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as a URL, without a path: `ws://127.0.0.1:1234`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// The next client, of whom nothing was read.
    #[track_caller]
    pub fn accept(&self) -> impl Future<Output = Peer> + Send + '_ {
        self.next(Location::caller())
    }

    async fn next(&self, place: Place) -> Peer {
        let accepted = within(PATIENCE, self.listener.accept(), place).await;
        let (stream, _) = accepted.unwrap_or_else(|e| panic!("{place}: {e}"));
        Peer::server(stream)
    }

    /// The next client, who asked for a WebSocket, well, and was given one.
    #[track_caller]
    pub fn open(&self) -> impl Future<Output = Peer> + Send + '_ {
        let place = Location::caller();
        async move {
            let mut peer = self.next(place).await;
            let request = peer.next_request(place).await;
            peer.accept(&request, &[]).await;
            peer
        }
    }
}
