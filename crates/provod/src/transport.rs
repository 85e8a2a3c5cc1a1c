//! The seam between the driver and what carries the bytes.

use std::future::{Future as _, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::{Buf as _, BufMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};

/// Writes all of `bytes`, and on from whatever buffer the stream has.
pub(crate) async fn write_all<T: Transport>(io: &mut T, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let n = poll_fn(|cx| io.poll_write(cx, &[IoSlice::new(bytes)])).await?;
        if n == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes.advance(n);
    }
    poll_fn(|cx| io.poll_flush(cx)).await
}

/// A stream of bytes both ways. Every [`AsyncRead`] and [`AsyncWrite`] is one.
pub(crate) trait Transport: Send + Unpin + 'static {
    /// Appends at most `most` bytes to `buf`, which has room; 0 is the end of the stream.
    fn poll_read<B: BufMut>(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut B,
        most: usize,
    ) -> Poll<io::Result<usize>>;

    /// Called while nothing is to be read: takes over what has come where it would cost more than
    /// its bytes to leave it. Whoever sends must not be told that there is room.
    fn hold(&mut self, cx: &mut Context<'_>) {
        let _ = cx;
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>>;

    /// Passes on what was taken and is still held in a buffer, as a TLS stream does with records.
    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ends this end's half of the stream.
    fn poll_half_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Transport for T {
    fn poll_read<B: BufMut>(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut B,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        // The future of one read keeps nothing between polls, so it can be made anew each time.
        pin!(self.read_buf(&mut buf.limit(most))).poll(cx)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self).poll_write_vectored(cx, slices)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self).poll_flush(cx)
    }

    fn poll_half_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self).poll_shutdown(cx)
    }
}

/// A transport as the traits of tokio, for what is written for these; what was read of it already
/// comes first.
#[cfg(feature = "http2")]
pub(crate) struct Async<T> {
    io: T,
    /// What was read already.
    front: bytes::BytesMut,
}

#[cfg(feature = "http2")]
impl<T: Transport> Async<T> {
    pub(crate) fn new(io: T, front: bytes::BytesMut) -> Self {
        Self { io, front }
    }
}

#[cfg(feature = "http2")]
impl<T: Transport> AsyncRead for Async<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.front.is_empty() {
            let n = buf.remaining().min(self.front.len());
            buf.put_slice(&self.front.split_to(n));
            if self.front.is_empty() {
                self.front = bytes::BytesMut::new();
            }
            return Poll::Ready(Ok(()));
        }
        let most = buf.remaining();
        self.io.poll_read(cx, buf, most).map_ok(drop)
    }
}

#[cfg(feature = "http2")]
impl<T: Transport> AsyncWrite for Async<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.io.poll_write(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io.poll_write(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_half_close(cx)
    }
}
