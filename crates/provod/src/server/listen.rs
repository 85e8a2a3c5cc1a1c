//! Where a server listens.

use std::fmt;
use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpSocket, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};

use crate::error::{Error, Kind};
#[cfg(unix)]
use crate::worker::{LateTcp, Porch};

/// Connections that the system may hold until they are accepted.
const BACKLOG: u32 = 4096;

/// An address that a server listens on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    #[cfg(unix)]
    Unix(PathBuf),
}

impl Address {
    /// The TCP address, if it is one.
    #[must_use]
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            #[cfg(unix)]
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            #[cfg(unix)]
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A socket that listens and belongs to no runtime yet.
pub(super) enum Bound {
    Tcp(std::net::TcpListener),
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixListener),
}

impl Bound {
    /// Listens on `address`: `host:port`, or `unix:` and a path.
    pub(super) async fn bind(address: &str) -> Result<(Self, Address), Error> {
        let failed = |source| Error::new(Kind::Listen { address: address.to_owned(), source });
        #[cfg(unix)]
        if let Some(path) = address.strip_prefix("unix:") {
            if path.is_empty() {
                // The system would choose a name that nobody knows.
                return Err(failed(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "the path is empty",
                )));
            }
            let path = PathBuf::from(path);
            let listener = bind_unix(&path).map_err(failed)?;
            return Ok((Self::Unix(listener), Address::Unix(path)));
        }
        let mut last = io::Error::new(io::ErrorKind::InvalidInput, "the name has no address");
        for candidate in tokio::net::lookup_host(address).await.map_err(failed)? {
            match bind_tcp(candidate) {
                Ok(listener) => {
                    let address = listener.local_addr().map_err(failed)?;
                    return Ok((Self::Tcp(listener), Address::Tcp(address)));
                }
                Err(e) => last = e,
            }
        }
        Err(failed(last))
    }

    pub(super) fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(listener) => Self::Tcp(listener.try_clone()?),
            #[cfg(unix)]
            Self::Unix(listener) => Self::Unix(listener.try_clone()?),
        })
    }

    /// Hands the socket to the runtime that runs. `to_workers`: these take the connections.
    pub(super) fn into_listener(self, to_workers: bool) -> io::Result<Listener> {
        Ok(match self {
            #[cfg(unix)]
            Self::Tcp(listener) if to_workers => Listener::Porch(Porch::new(listener)?),
            Self::Tcp(listener) => Listener::Tcp(TcpListener::from_std(listener)?),
            #[cfg(unix)]
            Self::Unix(listener) => Listener::Unix(UnixListener::from_std(listener)?),
        })
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restarted server must not wait for its old connections to be forgotten. On Windows the
    // option would let two servers share the port.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

#[cfg(unix)]
fn bind_unix(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    use std::os::unix::fs::FileTypeExt as _;
    use std::os::unix::net::{UnixListener, UnixStream};

    // A socket that nobody listens on is what a killed server left behind.
    let is_socket = path.symlink_metadata().is_ok_and(|m| m.file_type().is_socket());
    if is_socket {
        let refused = |e: io::Error| e.kind() == io::ErrorKind::ConnectionRefused;
        if UnixStream::connect(path).is_err_and(refused) {
            std::fs::remove_file(path)?;
        }
    }
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The file of a Unix socket that was bound here.
#[cfg(unix)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device, inode, and time of modification: an inode's number is used again.
    identity: (u64, u64, i64, i64),
}

#[cfg(unix)]
impl SocketFile {
    /// The file at `path`, if there is one.
    pub(super) fn of(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let found = path.symlink_metadata().ok()?;
        let identity = (found.dev(), found.ino(), found.mtime(), found.mtime_nsec());
        Some(Self { path: path.to_owned(), identity })
    }

    /// Removes the file, unless another server has put its own in its place.
    pub(super) fn remove(&self) {
        let now = Self::of(&self.path);
        if now.is_some_and(|now| now.identity == self.identity) {
            // Whoever removed it in this moment has done what was to be done.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// A socket that listens in a runtime.
pub(super) enum Listener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Porch(Porch),
    #[cfg(unix)]
    Unix(UnixListener),
}

/// A connection that was accepted.
pub(super) enum Socket {
    Tcp(TcpStream, SocketAddr),
    #[cfg(unix)]
    Late(LateTcp, SocketAddr),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Listener {
    pub(super) async fn accept(&mut self) -> io::Result<Socket> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Small messages must not wait for the acknowledgement of earlier ones. Where that
                // fails the connection is gone already, which its first read finds; it is no
                // failure to accept.
                let _ = stream.set_nodelay(true);
                Ok(Socket::Tcp(stream, peer))
            }
            #[cfg(unix)]
            Self::Porch(porch) => {
                let (stream, peer) = porch.accept().await?;
                Ok(Socket::Late(stream, peer))
            }
            #[cfg(unix)]
            Self::Unix(listener) => Ok(Socket::Unix(listener.accept().await?.0)),
        }
    }
}

/// The descriptors that this process may open, if the system says.
pub(super) fn descriptor_limit() -> Option<usize> {
    #[cfg(unix)]
    {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        limit.current.and_then(|n| usize::try_from(n).ok())
    }
    #[cfg(not(unix))]
    None
}
