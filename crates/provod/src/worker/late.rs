//! TCP sockets that become the runtime's only if they must be waited for.
//!
//! The request of a connection has mostly come when its turn does. Then a socket that a worker
//! adopts is registered once, with the worker, and the runtime never hears of it.

use std::future::poll_fn;
use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};

use bytes::BufMut;
use tokio::net::TcpStream;

use super::readiness::Readiness;
use super::stream::Stream;
use crate::transport::Transport;

/// Read at once; more comes with the next read.
const READ: usize = 2048;

/// A listener of a worker's own.
pub(crate) struct Porch {
    listener: mio::net::TcpListener,
    readiness: Readiness,
}

impl Porch {
    /// A listener for the runtime that this is called in.
    pub(crate) fn new(listener: std::net::TcpListener) -> io::Result<Self> {
        let mut listener = mio::net::TcpListener::from_std(listener);
        let readiness = Readiness::new()?;
        readiness.register_listener(&mut listener)?;
        Ok(Self { listener, readiness })
    }

    pub(crate) async fn accept(&mut self) -> io::Result<(LateTcp, SocketAddr)> {
        poll_fn(|cx| {
            loop {
                match self.listener.accept() {
                    Ok((stream, peer)) => {
                        // Small messages must not wait for the acknowledgement of earlier ones.
                        // Where that fails the connection is gone, which its first read finds.
                        let _ = stream.set_nodelay(true);
                        return Poll::Ready(Ok((LateTcp::New(stream), peer)));
                    }
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                        if !self.readiness.poll(cx, |_, _| ()) {
                            return Poll::Pending;
                        }
                    }
                    Err(e) => return Poll::Ready(Err(e)),
                }
            }
        })
        .await
    }
}

/// A connected socket.
pub(crate) enum LateTcp {
    /// Nobody watches it.
    New(mio::net::TcpStream),
    Watched(TcpStream),
    /// It could not be watched.
    Broken,
}

impl LateTcp {
    /// Lets the runtime watch it from now on.
    fn watched(&mut self) -> io::Result<&mut TcpStream> {
        if matches!(self, Self::New(_))
            && let Self::New(stream) = std::mem::replace(self, Self::Broken)
        {
            *self = Self::Watched(TcpStream::from_std(OwnedFd::from(stream).into())?);
        }
        match self {
            Self::Watched(stream) => Ok(stream),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// For a worker.
    pub(crate) fn into_stream(self) -> io::Result<Stream> {
        match self {
            Self::New(stream) => Ok(Stream::Tcp(stream)),
            Self::Watched(stream) => {
                Ok(Stream::Tcp(mio::net::TcpStream::from_std(stream.into_std()?)))
            }
            Self::Broken => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

fn must_wait<T>(result: &io::Result<T>) -> bool {
    result.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock)
}

impl Transport for LateTcp {
    fn poll_read<B: BufMut>(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut B,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        if let Self::New(stream) = self {
            let mut bytes = [0; READ];
            let room = most.min(READ).min(buf.remaining_mut());
            let read = stream.read(&mut bytes[..room]);
            if let Ok(n) = read {
                buf.put_slice(&bytes[..n]);
            }
            if !must_wait(&read) {
                return Poll::Ready(read);
            }
        }
        self.watched()?.poll_read(cx, buf, most)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Self::New(stream) = self {
            let written = stream.write_vectored(slices);
            if !must_wait(&written) {
                return Poll::Ready(written);
            }
        }
        Transport::poll_write(self.watched()?, cx, slices)
    }

    fn poll_half_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::New(stream) => Poll::Ready(stream.shutdown(Shutdown::Write)),
            _ => Transport::poll_half_close(self.watched()?, cx),
        }
    }
}
