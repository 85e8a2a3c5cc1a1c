//! A server whose connections the test itself holds.

use std::net::SocketAddr;

use provod::server::Running;
use tokio::sync::mpsc;

use crate::peer::{Peer, open_narrow, open_with, soon};

/// `W`: what the server gives out for each connection.
pub(crate) struct Hall<W> {
    pub(crate) running: Running,
    pub(crate) address: SocketAddr,
    pub(crate) opened: mpsc::UnboundedReceiver<W>,
}

impl<W> Hall<W> {
    pub(crate) async fn enter_with(&mut self, lines: &[&str]) -> (Peer, W) {
        let (peer, _) = open_with(self.address, "/", lines).await;
        (peer, soon(self.opened.recv()).await.expect("the handler runs"))
    }

    pub(crate) async fn enter(&mut self) -> (Peer, W) {
        self.enter_with(&[]).await
    }

    /// A peer that does not read until it is asked to, with a small receive buffer.
    pub(crate) async fn enter_slow(&mut self) -> (Peer, W) {
        let peer = open_narrow(self.address).await;
        (peer, soon(self.opened.recv()).await.expect("the handler runs"))
    }
}
