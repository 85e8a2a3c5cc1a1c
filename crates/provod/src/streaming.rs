//! One message as a stream of bytes: [`MessageReader`] and [`MessageWriter`].

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use provod_proto::{Compress, MessageKind};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::driver::{Flush, Piece, Place, Queue, Shared};
use crate::error::{Error, Kind};

/// A message that is received as it arrives, with
/// [`recv_reader`](crate::WebSocket::recv_reader).
///
/// Read it as [`AsyncRead`], or with [`chunk`](Self::chunk). Its end is the end of the message;
/// when the connection ends first, that is an error. Text is checked to be UTF-8 as it arrives; a
/// character may be cut between reads. Dropped or leaked before the end, the rest of the message is
/// thrown away.
///
/// It borrows what it reads from: to send meanwhile, take a [`Sender`](crate::Sender) before, with
/// [`WebSocket::sender`](crate::WebSocket::sender).
pub struct MessageReader<'a> {
    shared: &'a Shared,
    kind: MessageKind,
    bytes: Bytes,
    last: bool,
}

impl<'a> MessageReader<'a> {
    pub(crate) fn new(shared: &'a Shared, first: Piece) -> Self {
        Self { shared, kind: first.kind, bytes: first.bytes, last: first.last }
    }

    /// Text or binary.
    #[must_use]
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// The next bytes of the message, as they came; `None` at its end.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// The connection was lost or closed in the middle of the message, or the peer broke the
    /// protocol or hit a limit.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        poll_fn(|cx| self.poll_fill(cx.waker())).await?;
        Ok(if self.bytes.is_empty() { None } else { Some(std::mem::take(&mut self.bytes)) })
    }

    /// Waits until there are bytes, or none will come.
    fn poll_fill(&mut self, waker: &Waker) -> Poll<Result<(), Error>> {
        while self.bytes.is_empty() && !self.last {
            let piece = ready!(self.shared.poll_piece(waker))?;
            self.bytes = piece.bytes;
            self.last = piece.last;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for MessageReader<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_fill(cx.waker()))?;
        let n = self.bytes.len().min(buf.remaining());
        buf.put_slice(&self.bytes.split_to(n));
        Poll::Ready(Ok(()))
    }
}

impl Drop for MessageReader<'_> {
    fn drop(&mut self) {
        if !self.last {
            self.shared.skip_rest();
        }
    }
}

impl fmt::Debug for MessageReader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageReader").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Bytes that are collected before they leave as a fragment.
const FRAGMENT: usize = 16 << 10;

/// A message that is sent as it is written, with [`send_writer`](crate::WebSocket::send_writer).
///
/// Write it as [`AsyncWrite`] and end it with [`finish`](Self::finish) or a shutdown. Writes wait
/// while more than [`high_water`](crate::Config::high_water) bytes are queued. What was written
/// leaves in fragments of some 16 KiB, or with a flush. Text must be UTF-8 and is checked as it is
/// written; a character may be cut between writes.
///
/// Dropped before anything of the message has left, it was never there. Dropped later, the message
/// cannot be told complete: the connection is closed with 1011.
#[must_use = "a message that is not finished is not sent"]
pub struct MessageWriter {
    shared: Arc<Shared>,
    kind: MessageKind,
    compress: Compress,
    buf: BytesMut,
    phase: Phase,
    /// The compressor may have kept something of what was queued.
    unflushed: bool,
    /// A piece was refused and is gone: what follows would hide the gap.
    failed: bool,
    flush: Flush,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing was queued yet.
    New,
    /// Some of it was.
    Begun,
    /// All was.
    Finished,
}

impl MessageWriter {
    pub(crate) async fn begin(
        shared: &Arc<Shared>,
        kind: MessageKind,
        compress: Compress,
    ) -> Result<Self, Error> {
        let mut place = Place::new(shared, Queue::Senders);
        poll_fn(|cx| shared.poll_take_turn(&mut place.slot, cx.waker())).await?;
        Ok(Self {
            shared: shared.clone(),
            kind,
            compress,
            buf: BytesMut::new(),
            phase: Phase::New,
            unflushed: false,
            failed: false,
            flush: Flush::default(),
        })
    }

    /// Ends the message: waits for room and queues what is left of it.
    ///
    /// Cancel safe as dropping the writer is.
    ///
    /// # Errors
    ///
    /// When the connection is closing or closed, or the text ends inside a character.
    pub async fn finish(mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_end(cx.waker())).await
    }

    fn poll_end(&mut self, waker: &Waker) -> Poll<Result<(), Error>> {
        if self.phase == Phase::Finished {
            return Poll::Ready(Ok(()));
        }
        self.poll_piece(true, waker)
    }

    /// Queues what was collected.
    fn poll_piece(&mut self, last: bool, waker: &Waker) -> Poll<Result<(), Error>> {
        if self.failed {
            return Poll::Ready(Err(Error::new(Kind::Closed)));
        }
        ready!(self.shared.poll_room(waker));
        let begin = (self.phase == Phase::New).then_some((self.kind, self.compress));
        let data = std::mem::take(&mut self.buf).freeze();
        self.failed = true;
        self.shared.send_piece(begin, data, last)?;
        self.failed = false;
        self.flush.begin_anew();
        self.phase = if last { Phase::Finished } else { Phase::Begun };
        self.unflushed = true;
        if last {
            self.shared.give_turn_back(false);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for MessageWriter {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.phase == Phase::Finished || self.failed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.buf.len() >= FRAGMENT {
            ready!(self.poll_piece(false, cx.waker()))?;
        }
        // At most one fragment is taken, so that what waits here is bounded.
        let n = data.len().min(FRAGMENT);
        self.buf.extend_from_slice(&data[..n]);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.phase != Phase::Finished {
            if !this.buf.is_empty() || this.failed {
                ready!(this.poll_piece(false, cx.waker()))?;
            }
            if this.phase == Phase::Begun && std::mem::take(&mut this.unflushed) {
                this.shared.flush_message()?;
            }
        }
        this.shared.poll_flushed(&mut this.flush, cx.waker()).map_err(io::Error::from)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_end(cx.waker()))?;
        self.poll_flush(cx)
    }
}

impl Drop for MessageWriter {
    fn drop(&mut self) {
        self.flush.leave(&self.shared);
        if self.phase != Phase::Finished {
            self.shared.give_turn_back(self.phase == Phase::Begun);
        }
    }
}

impl fmt::Debug for MessageWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageWriter").field("kind", &self.kind).finish_non_exhaustive()
    }
}
