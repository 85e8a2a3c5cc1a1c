//! What the transports have in common for the client: bytes out, bytes in, messages heard.

use std::net::SocketAddr;

use super::http1::Http1;
use super::http2::Http2;
use super::websocket::WebSocket;
use crate::Error;
use crate::options::{Options, Wire as Kind};

pub(super) enum Heard<'a> {
    /// Messages may be sent, or come, from now on.
    Open,
    Message(&'a [u8]),
}

/// One connection, without its socket.
pub(super) trait Wire {
    /// What is sent as soon as there is a connection. It may be open at once.
    fn begin(&mut self, out: &mut Vec<u8>, heard: &mut dyn FnMut(Heard<'_>));

    /// Sends a message, to have it back.
    fn say(&mut self, message: &[u8], out: &mut Vec<u8>);

    /// Takes what has come, as far as it is whole, and says how much that was. What the transport
    /// has to answer goes to `out`.
    fn hear(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        heard: &mut dyn FnMut(Heard<'_>),
    ) -> Result<usize, Error>;
}

pub(super) fn new(options: &Options, host: SocketAddr) -> Box<dyn Wire> {
    match options.wire {
        Kind::WebSocket => Box::new(WebSocket::new(options, host)),
        Kind::Http1 => Box::new(Http1::new(options, host)),
        Kind::Http2 => Box::new(Http2::new(options, host)),
    }
}
