//! Servers for the tests, whose echo is a handler.

use std::net::SocketAddr;

use provod::handler::{Received, Socket};
use provod::message::{MessageKind, MessageWriter};
use provod::server::Running;
use provod::{Config, Error, Handler, Message, Sender, Server};
use tokio::sync::mpsc;

use crate::hall::Hall;

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

/// Gives the test its connections.
struct Porter(mpsc::UnboundedSender<Held>);

impl Handler for Porter {
    type Peer = ();

    fn open(&self, ws: &mut Socket<'_>, (): ()) {
        let _ = self.0.send(Held(ws.sender()));
    }

    fn message(&self, _: &mut Socket<'_>, (): &mut (), _: Received<'_>) {}
}

/// A connection, with as much of a WebSocket as the tests of both kinds use.
pub(crate) struct Held(Sender);

impl Held {
    pub(crate) fn sender(&self) -> Sender {
        self.0.clone()
    }

    pub(crate) fn buffered_amount(&self) -> usize {
        self.0.buffered_amount()
    }

    pub(crate) async fn send(&self, message: impl Into<Message>) -> Result<(), Error> {
        self.0.send(message).await
    }

    pub(crate) async fn send_writer(&self, kind: MessageKind) -> Result<MessageWriter, Error> {
        self.0.send_writer(kind).await
    }

    /// The end: its messages are the handler's.
    pub(crate) async fn recv(&mut self) -> Result<Option<Message>, Error> {
        self.0.closed().await;
        Ok(None)
    }
}

/// Starts `server`, which gives its connections to the test.
pub(crate) async fn hall(server: Server) -> Hall<Held> {
    let (out, opened) = mpsc::unbounded_channel();
    let (running, address) = call(server, Porter(out)).await;
    Hall { running, address, opened }
}

pub(crate) async fn hall_with(config: Config) -> Hall<Held> {
    hall(Server::new().config(config)).await
}
