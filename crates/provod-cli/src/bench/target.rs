//! Whom to measure: a URL resolved once, and sockets to it.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
#[cfg(unix)]
use std::path::PathBuf;

use mio::event::Source;
use mio::{Interest, Registry, Token};
use provod::config::DeflateConfig;
use provod::proto::handshake::{ClientRequest, FieldError};
use socket2::{Domain, Protocol, Socket, Type};

use super::Failure;

/// Where connections go.
#[derive(Debug, Clone)]
pub(super) struct Target {
    to: To,
    host: String,
    path: String,
    headers: Vec<(String, String)>,
    pub(super) deflate: Option<DeflateConfig>,
    /// There is no handshake, and frames come back as they were sent.
    pub(super) raw: bool,
    /// The local addresses that connections take in turn; none leaves it to the system.
    sources: Vec<IpAddr>,
}

#[derive(Debug, Clone)]
enum To {
    Tcp(SocketAddr),
    #[cfg(unix)]
    Unix(PathBuf),
}

impl Target {
    /// Resolves the name in `url`, which is whole. With a Unix socket nothing is resolved.
    pub(super) fn new(
        url: &str,
        #[cfg(unix)] unix_socket: Option<&PathBuf>,
        headers: &[(String, String)],
        deflate: Option<DeflateConfig>,
        raw: bool,
        sources: &[IpAddr],
    ) -> Result<Self, Failure> {
        // Not with the address itself, which may hold a password.
        let wrong = |why: String| Failure::usage(format!("the address is not valid: {why}"));
        let parsed = url::Url::parse(url).map_err(|e| wrong(e.to_string()))?;
        match parsed.scheme() {
            "ws" => {}
            "wss" => {
                let line = "provod bench measures ws:// alone, TLS is not in it";
                return Err(Failure::tls(line));
            }
            other => return Err(wrong(format!("the scheme is ws, not {other}"))),
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            let why = "user and password are sent with -H 'Authorization: Basic ...'";
            return Err(wrong(why.to_owned()));
        }
        let Some(name) = parsed.host_str().filter(|name| !name.is_empty()) else {
            return Err(wrong("there is no host".to_owned()));
        };
        let host = parsed.port().map_or(name.to_owned(), |port| format!("{name}:{port}"));
        let path = parsed
            .query()
            .map_or(parsed.path().to_owned(), |query| format!("{}?{query}", parsed.path()));
        let resolve = || {
            let authority = format!("{name}:{}", parsed.port().unwrap_or(80));
            let mut found = authority
                .to_socket_addrs()
                .map_err(|e| Failure::resolve(format!("cannot resolve {name}: {e}")))?;
            let fits = |to: &SocketAddr| sources.iter().all(|s| s.is_ipv4() == to.is_ipv4());
            let address = found.find(fits);
            address.map(To::Tcp).ok_or_else(|| {
                Failure::resolve(format!("{name} has no address of the family of --source"))
            })
        };
        #[cfg(unix)]
        let to = match unix_socket {
            Some(path) => To::Unix(path.clone()),
            None => resolve()?,
        };
        #[cfg(not(unix))]
        let to = resolve()?;
        let (headers, sources) = (headers.to_vec(), sources.to_vec());
        let target = Self { to, host, path, headers, deflate, raw, sources };
        target.request([0; 16], None).map_err(|e| wrong(e.to_string()))?;
        Ok(target)
    }

    /// The request of a connection, to a room where there are several.
    pub(super) fn request(
        &self,
        nonce: [u8; 16],
        room: Option<usize>,
    ) -> Result<ClientRequest, FieldError> {
        let path = match (room, self.path.split_once('?')) {
            (None, _) => self.path.clone(),
            (Some(room), None) => format!("{}/{room}", self.path.trim_end_matches('/')),
            (Some(room), Some((path, query))) => {
                format!("{}/{room}?{query}", path.trim_end_matches('/'))
            }
        };
        let mut request = ClientRequest::new(&self.host, &path, nonce)?;
        for (name, value) in &self.headers {
            request = request.header(name, value.as_bytes())?;
        }
        Ok(match self.deflate {
            Some(deflate) => request.deflate(deflate),
            None => request,
        })
    }

    /// Begins to connect; `n` numbers the connection and so chooses its local address.
    pub(super) fn connect(&self, n: usize) -> io::Result<Stream> {
        let to = match &self.to {
            To::Tcp(to) => *to,
            #[cfg(unix)]
            To::Unix(path) => return mio::net::UnixStream::connect(path).map(Stream::Unix),
        };
        let stream = match self.sources.get(n % self.sources.len().max(1)) {
            None => mio::net::TcpStream::connect(to)?,
            Some(&source) => {
                let socket =
                    Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
                socket.set_nonblocking(true)?;
                socket.bind(&SocketAddr::new(source, 0).into())?;
                match socket.connect(&to.into()) {
                    Ok(()) => {}
                    Err(e) if is_under_way(&e) => {}
                    Err(e) => return Err(e),
                }
                mio::net::TcpStream::from_std(socket.into())
            }
        };
        // It may be refused while the connection is being made, on some systems.
        let _ = stream.set_nodelay(true);
        Ok(Stream::Tcp(stream))
    }
}

fn is_under_way(e: &io::Error) -> bool {
    #[cfg(unix)]
    let started = e.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error());
    #[cfg(not(unix))]
    let started = false;
    started || e.kind() == io::ErrorKind::WouldBlock
}

/// A socket to the target.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(mio::net::TcpStream),
    #[cfg(unix)]
    Unix(mio::net::UnixStream),
}

impl Stream {
    /// Why it could not be connected, if that is known.
    pub(super) fn take_error(&self) -> io::Result<Option<io::Error>> {
        match self {
            Self::Tcp(stream) => stream.take_error(),
            #[cfg(unix)]
            Self::Unix(stream) => stream.take_error(),
        }
    }

    pub(super) fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buf),
            #[cfg(unix)]
            Self::Unix(stream) => stream.read(buf),
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            #[cfg(unix)]
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        match self {
            Self::Tcp(stream) => stream.register(registry, token, both),
            #[cfg(unix)]
            Self::Unix(stream) => stream.register(registry, token, both),
        }
    }
}
