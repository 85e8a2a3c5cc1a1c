//! A stream on which TLS is agreed.

use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use bytes::BufMut;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::transport::Transport;

/// A stream of tokio-rustls, whichever side it is.
pub(crate) struct Secure<T>(Box<T>);

impl<T> Secure<T> {
    pub(crate) fn new(stream: T) -> Self {
        Self(Box::new(stream))
    }
}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Transport for Secure<T> {
    fn poll_read<B: BufMut>(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut B,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        self.0.poll_read(cx, buf, most).map_err(|e| match e.kind() {
            // The words of rustls are for programmers.
            io::ErrorKind::UnexpectedEof => io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "it ended without a Close frame, and without the end of TLS (close_notify)",
            ),
            _ => e,
        })
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, slices)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush(cx)
    }

    fn poll_half_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_half_close(cx)
    }
}
