//! A connection on its way from hyper to us.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;

use crate::driver::{Driver, HandlerFuture, Shared};
use crate::error::{Error, Kind};
use crate::server::Guard;
use crate::server::upgrader::{Begun, Workers};
use crate::websocket::WebSocket;
#[cfg(unix)]
use crate::worker::{Home, New, Stream};
use ::hyper::rt::{Read, Write};
use ::hyper::upgrade::{OnUpgrade, Upgraded};

/// What hyper had wrapped up.
enum Io {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
    /// TLS, HTTP/2, or what the application has made.
    Other(TokioIo<Upgraded>),
}

/// A request that is answered with a 101, and what is to become of its connection.
pub(super) struct Handover {
    pub(super) begun: Begun,
    pub(super) connection: OnUpgrade,
    pub(super) peer: Option<Box<str>>,
    pub(super) target: String,
    pub(super) is_http2: bool,
}

impl Handover {
    /// Waits for the connection.
    pub(super) async fn open(self) -> Result<Opened, Error> {
        let Self { begun, connection, peer, target, is_http2 } = self;
        let upgraded = match begun.wait(connection).await.map_err(Error::new)? {
            Ok(upgraded) => upgraded,
            Err(e) => {
                let what = format!("the HTTP server did not hand the connection over: {e}");
                return Err(Error::new(Kind::Transport(io::Error::other(what))));
            }
        };
        let (io, carry) = take_back(upgraded);
        if let Io::Tcp(tcp) = &io {
            // Small messages must not wait for the acknowledgement of earlier ones. Where that fails
            // the connection is gone, which its first read finds.
            let _ = tcp.set_nodelay(true);
        }
        let peer = peer.or_else(|| io.peer()).unwrap_or_else(|| "stream".into());
        let (shared, guard) = begun.open(&peer, &target, is_http2);
        Ok(Opened { shared, io, carry, guard })
    }
}

/// An open WebSocket that nobody drives yet.
pub(super) struct Opened {
    pub(super) shared: Arc<Shared>,
    io: Io,
    carry: BytesMut,
    guard: Guard,
}

impl Opened {
    /// Drives it in a task of its own.
    pub(super) fn run(self, handler: Option<HandlerFuture>) {
        let Self { shared, io, carry, guard } = self;
        match io {
            Io::Tcp(io) => tokio::spawn(Driver::new(shared, io, carry, handler).with_guard(guard)),
            #[cfg(unix)]
            Io::Unix(io) => tokio::spawn(Driver::new(shared, io, carry, handler).with_guard(guard)),
            Io::Other(io) => {
                tokio::spawn(Driver::new(shared, io, carry, handler).with_guard(guard))
            }
        };
    }

    /// Gives it to a worker where it is a plain socket, and to a task of its own where not.
    pub(super) fn hand_to<S: 'static>(self, workers: &Workers<S>, state: S) {
        #[cfg(unix)]
        let (opened, state) = match workers.next() {
            Some(home) => match self.settle(home, state) {
                Ok(()) => return,
                Err(back) => back,
            },
            None => (self, state),
        };
        #[cfg(not(unix))]
        let opened = self;
        let handler = workers.run(WebSocket::new(opened.shared.clone()), state);
        opened.run(Some(handler));
    }

    #[cfg(unix)]
    fn settle<S>(self, home: &Home<S>, state: S) -> Result<(), (Self, S)> {
        let Self { shared, io, carry, guard } = self;
        let stream = match io {
            Io::Tcp(tcp) => {
                tcp.into_std().map(|tcp| Stream::Tcp(mio::net::TcpStream::from_std(tcp)))
            }
            Io::Unix(unix) => {
                unix.into_std().map(|unix| Stream::Unix(mio::net::UnixStream::from_std(unix)))
            }
            io => return Err((Self { shared, io, carry, guard }, state)),
        };
        match stream {
            Ok(stream) => home.adopt(New { stream, shared, carry, state, guard }),
            Err(error) => {
                tracing::debug!(peer = shared.info.peer(), %error, "a socket broke");
                shared.abort();
            }
        }
        Ok(())
    }
}

impl Io {
    fn peer(&self) -> Option<Box<str>> {
        match self {
            Self::Tcp(tcp) => tcp.peer_addr().ok().map(|peer| peer.to_string().into()),
            #[cfg(unix)]
            Self::Unix(_) => Some("unix".into()),
            Self::Other(_) => None,
        }
    }
}

/// Takes a plain socket out of hyper's hands, with what was read of it behind the request.
fn take_back(upgraded: Upgraded) -> (Io, BytesMut) {
    let upgraded = match taken::<TcpStream>(upgraded) {
        Ok((io, read)) => return (Io::Tcp(io), read.into()),
        Err(upgraded) => upgraded,
    };
    #[cfg(unix)]
    let upgraded = match taken::<tokio::net::UnixStream>(upgraded) {
        Ok((io, read)) => return (Io::Unix(io), read.into()),
        Err(upgraded) => upgraded,
    };
    (Io::Other(TokioIo::new(upgraded)), BytesMut::new())
}

/// Takes a `T` back from hyper, or from the server in hyper-util that tells HTTP/1.1 from HTTP/2,
/// which wraps it once more. axum has the latter.
fn taken<T: 'static>(upgraded: Upgraded) -> Result<(T, Bytes), Upgraded>
where
    TokioIo<T>: Read + Write + Unpin,
{
    let upgraded = match auto::upgrade::downcast::<TokioIo<T>>(upgraded) {
        Ok(parts) => return Ok((parts.io.into_inner(), parts.read_buf)),
        Err(upgraded) => upgraded,
    };
    let parts = upgraded.downcast::<TokioIo<T>>()?;
    Ok((parts.io.into_inner(), parts.read_buf))
}
