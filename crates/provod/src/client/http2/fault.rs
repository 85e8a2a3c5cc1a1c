//! What TLS said when it failed: h2 passes on its words, and not the error.

use std::io::{self, IoSlice};
#[cfg(feature = "tls")]
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{BufMut, BytesMut};

use crate::error::Error;
use crate::transport::Transport;

/// As much is read of what comes behind a failure.
const WORD: usize = 4096;

/// The failure of a connection's TLS, once there is one.
#[derive(Clone, Default)]
pub(super) struct Fault {
    #[cfg(feature = "tls")]
    seen: Arc<Mutex<Option<rustls::Error>>>,
}

impl Fault {
    fn see(&self, e: &io::Error) {
        #[cfg(feature = "tls")]
        if let Some(e) = crate::tls::inner(e) {
            *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(e.clone());
        }
        let _ = e;
    }

    /// The error of a connection to `place` that broke, if TLS broke it.
    pub(super) fn error(&self, place: &str) -> Option<Error> {
        #[cfg(feature = "tls")]
        {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
            Some(crate::tls::failed(io::Error::new(io::ErrorKind::InvalidData, seen), place))
        }
        #[cfg(not(feature = "tls"))]
        {
            let _ = place;
            None
        }
    }
}

/// A stream whose failure is kept.
pub(super) struct Watched<T> {
    io: T,
    fault: Fault,
    /// Nothing has come yet.
    is_silent: bool,
    /// Why nothing can be written any more.
    broken: Option<io::Error>,
}

impl<T: Transport> Watched<T> {
    pub(super) fn new(io: T, fault: Fault) -> Self {
        Self { io, fault, is_silent: true, broken: None }
    }

    /// What a write came to. Whoever hangs up may have said why, and that is read first: a server
    /// that does not take the client's certificate says so, and the client may write meanwhile.
    fn written<N>(&mut self, cx: &mut Context<'_>, written: io::Result<N>) -> Poll<io::Result<N>> {
        let e = match written {
            Err(e) if self.is_silent => e,
            written => return Poll::Ready(written),
        };
        // Its first word, or its end.
        match self.poll_read(cx, &mut BytesMut::new(), WORD) {
            Poll::Ready(_) => Poll::Ready(Err(e)),
            Poll::Pending => {
                self.broken = Some(e);
                Poll::Pending
            }
        }
    }
}

impl<T: Transport> Transport for Watched<T> {
    fn poll_read<B: BufMut>(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut B,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        self.io.poll_read(cx, buf, most).map(|read| {
            self.is_silent = false;
            read.inspect_err(|e| self.fault.see(e))
        })
    }

    fn hold(&mut self, cx: &mut Context<'_>) {
        self.io.hold(cx);
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = match self.broken.take() {
            Some(e) => Err(e),
            None => ready!(self.io.poll_write(cx, slices)),
        };
        self.written(cx, written)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = match self.broken.take() {
            Some(e) => Err(e),
            None => ready!(self.io.poll_flush(cx)),
        };
        self.written(cx, flushed)
    }

    fn poll_half_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_half_close(cx)
    }
}
