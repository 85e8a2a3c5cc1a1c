//! The sockets that a worker drives.

use std::any::Any;
use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::Shutdown;

use mio::event::Source as _;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};

use super::late::LateTcp;

/// A connected socket that does not block.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Takes the socket out of the runtime's hands; gives `io` back where it is not a plain one.
    pub(crate) fn from_io<T: Any>(io: T) -> Result<io::Result<Self>, T> {
        let mut io = Some(io);
        let any: &mut dyn Any = &mut io;
        if let Some(tcp) = any.downcast_mut::<Option<LateTcp>>().and_then(Option::take) {
            return Ok(tcp.into_stream());
        }
        if let Some(tcp) =
            any.downcast_mut::<Option<tokio::net::TcpStream>>().and_then(Option::take)
        {
            return Ok(tcp.into_std().map(|tcp| Self::Tcp(TcpStream::from_std(tcp))));
        }
        if let Some(unix) =
            any.downcast_mut::<Option<tokio::net::UnixStream>>().and_then(Option::take)
        {
            return Ok(unix.into_std().map(|unix| Self::Unix(UnixStream::from_std(unix))));
        }
        match io {
            Some(io) => Err(io),
            None => unreachable!("it is taken out only where this returns"),
        }
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        match self {
            Self::Tcp(tcp) => tcp.register(registry, token, both),
            Self::Unix(unix) => unix.register(registry, token, both),
        }
    }

    pub(super) fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = match self {
                Self::Tcp(tcp) => tcp.read(buf),
                Self::Unix(unix) => unix.read(buf),
            };
            if !is_interrupted(&read) {
                return read;
            }
        }
    }

    /// Whether nothing lies there to be read, or only the end. What does is thrown away in part.
    pub(super) fn is_empty(&mut self) -> bool {
        match self.read(&mut [0]) {
            Ok(n) => n == 0,
            Err(e) => e.kind() == io::ErrorKind::WouldBlock,
        }
    }

    pub(super) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            let written = match (&mut *self, slices) {
                // One slice needs no gathering, which costs the system more.
                (Self::Tcp(tcp), [one]) => tcp.write(one),
                (Self::Tcp(tcp), many) => tcp.write_vectored(many),
                (Self::Unix(unix), many) => unix.write_vectored(many),
            };
            if !is_interrupted(&written) {
                return written;
            }
        }
    }

    pub(super) fn half_close(&self) -> io::Result<()> {
        match self {
            Self::Tcp(tcp) => tcp.shutdown(Shutdown::Write),
            Self::Unix(unix) => unix.shutdown(Shutdown::Write),
        }
    }
}

fn is_interrupted<T>(result: &io::Result<T>) -> bool {
    result.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::Interrupted)
}
