//! A transport that a test opens and shuts: bytes arrive, and room is there, when the test says so.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::BufMut;
use provod_proto::Side;

use super::script::open;
use crate::config::Config;
use crate::transport::Transport;
use crate::websocket::WebSocket;

#[derive(Default)]
struct Inside {
    input: Vec<u8>,
    room: usize,
    written: Vec<u8>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// The test's end, and the driver's.
#[derive(Clone, Default)]
pub(super) struct Gate(Arc<Mutex<Inside>>);

impl Gate {
    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().expect("no test panics while it holds this")
    }

    /// These bytes arrive, and are read.
    pub(super) async fn give(&self, bytes: &[u8]) {
        let reader = {
            let mut inside = self.lock();
            inside.input.extend_from_slice(bytes);
            inside.reader.take()
        };
        reader.into_iter().for_each(Waker::wake);
        while !self.lock().input.is_empty() {
            tokio::task::yield_now().await;
        }
        // What was read is handled before the driver's turn ends.
        tokio::task::yield_now().await;
    }

    /// The peer has room for so many bytes more.
    pub(super) fn make_room(&self, bytes: usize) {
        let writer = {
            let mut inside = self.lock();
            inside.room = inside.room.saturating_add(bytes);
            inside.writer.take()
        };
        writer.into_iter().for_each(Waker::wake);
    }

    pub(super) fn written(&self) -> Vec<u8> {
        self.lock().written.clone()
    }
}

/// A server's end that is open, and whose peer has no room yet.
pub(super) fn opened(config: Config) -> (Gate, WebSocket) {
    let gate = Gate::default();
    let ws = open(Side::Server, config, None, gate.clone());
    (gate, ws)
}

/// Polls once and drops.
pub(super) fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Lets all other tasks do what they can.
pub(super) async fn settled() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

impl Transport for Gate {
    fn poll_read<B: BufMut>(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut B,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        let mut inside = self.lock();
        let n = inside.input.len().min(most);
        if n == 0 {
            inside.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        buf.put_slice(&inside.input[..n]);
        inside.input.drain(..n);
        Poll::Ready(Ok(n))
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut inside = self.lock();
        let mut taken = 0;
        for slice in slices {
            let n = slice.len().min(inside.room);
            inside.written.extend_from_slice(&slice[..n]);
            inside.room -= n;
            taken += n;
        }
        if taken == 0 {
            inside.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_half_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
