//! Servers for the tests, whose echo is a handler.

use std::net::SocketAddr;

use provod::handler::{Received, Socket};
use provod::server::Running;
use provod::{Handler, Server};

pub(crate) use crate::others::{address, echo, hasty, patient, start_with};

pub(crate) struct Echo;

impl Handler for Echo {
    type Peer = ();

    fn open(&self, _: &mut Socket<'_>, (): ()) {}

    fn message(&self, ws: &mut Socket<'_>, (): &mut (), message: Received<'_>) {
        // Where the connection is closing, there is nobody to answer.
        let _ = ws.send(message);
    }
}

/// Starts `server` as an echo server.
pub(crate) async fn start(server: Server) -> (Running, SocketAddr) {
    call(server, Echo).await
}

/// Starts `server` with a handler.
pub(crate) async fn call<H: Handler>(server: Server, handler: H) -> (Running, SocketAddr) {
    let listening = server.listen("127.0.0.1:0");
    let running = listening.start_handler(handler).await.expect("the server starts");
    let address = address(&running);
    (running, address)
}
