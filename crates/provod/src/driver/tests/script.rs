//! A transport that gives out pieces of input, each in a read of its own, and keeps what is
//! written.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::{BufMut, BytesMut};
use provod_proto::deflate::Pool;
use provod_proto::handshake::DeflateParams;
use provod_proto::{Connection, DeflateSetup, Role, Side};

use crate::config::Config;
use crate::driver::{Driver, Info, Shared};
use crate::transport::Transport;
use crate::websocket::WebSocket;

/// The key that clients mask with here.
pub(super) const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// After its input the stream ends.
pub(super) struct Script {
    input: VecDeque<Vec<u8>>,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Script {
    pub(super) fn new(pieces: &[&[u8]]) -> (Self, Arc<Mutex<Vec<u8>>>) {
        let written = Arc::default();
        let pieces = pieces.iter().filter(|piece| !piece.is_empty());
        let input = pieces.map(|piece| piece.to_vec()).collect();
        (Self { input, written: Arc::clone(&written) }, written)
    }
}

impl Transport for Script {
    fn poll_read<B: BufMut>(
        &mut self,
        _: &mut Context<'_>,
        buf: &mut B,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        let Some(piece) = self.input.front_mut() else { return Poll::Ready(Ok(0)) };
        let n = piece.len().min(most);
        buf.put_slice(&piece[..n]);
        piece.drain(..n);
        if piece.is_empty() {
            self.input.pop_front();
        }
        Poll::Ready(Ok(n))
    }

    fn poll_write(
        &mut self,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut written = self.written.lock().expect("no test panics while it writes");
        let before = written.len();
        slices.iter().for_each(|slice| written.extend_from_slice(slice));
        Poll::Ready(Ok(written.len() - before))
    }

    fn poll_half_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// An open connection over `io`, its driver spawned.
pub(super) fn open(
    side: Side,
    config: Config,
    deflate: Option<DeflateParams>,
    io: impl Transport,
) -> WebSocket {
    let role = match side {
        Side::Server => Role::Server,
        Side::Client => Role::Client(Box::new(|| KEY)),
    };
    let setup =
        deflate.map(|params| DeflateSetup { params, compress: true, pool: Pool::default() });
    let info = Info::new("script", "/", None, deflate, None);
    let core = Arc::new(config.core());
    let shared = Shared::new(
        |now| Connection::new(role, core, setup, now),
        info,
        Arc::new(config),
        Arc::default(),
    );
    tokio::spawn(Driver::new(shared.clone(), io, BytesMut::new(), None));
    WebSocket::new(shared)
}
