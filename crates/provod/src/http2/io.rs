//! A transport as the `h2` crate wants one.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::transport::Transport;

/// A transport of which `first` was read already.
pub(crate) struct Io<T> {
    first: Bytes,
    io: T,
}

impl<T> Io<T> {
    pub(crate) fn new(first: Bytes, io: T) -> Self {
        Self { first, io }
    }
}

impl<T: Transport> AsyncRead for Io<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let most = buf.remaining();
        if self.first.has_remaining() && most > 0 {
            let n = most.min(self.first.len());
            buf.put_slice(&self.first.split_to(n));
            return Poll::Ready(Ok(()));
        }
        if most > 0 {
            ready!(self.io.poll_read(cx, buf, most))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: Transport> AsyncWrite for Io<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.io.poll_write(cx, &[IoSlice::new(buf)])
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

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_half_close(cx)
    }
}
