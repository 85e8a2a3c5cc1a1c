//! The client: from an address to an open WebSocket.

mod address;
mod dial;
mod mask;
mod open;
mod response;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use provod_proto::handshake::{DeflateConfig, HeadLimits};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::config::Config;
use crate::error::Error;
use crate::websocket::WebSocket;

pub use response::HttpResponse;

use address::Address;

/// Connects to `url`, such as `ws://127.0.0.1:8080/chat?room=7`, with all defaults. See [`Client`]
/// for everything that can be set.
///
/// ```no_run
/// # async fn example() -> Result<(), provod::Error> {
/// let mut ws = provod::connect("ws://example.com/chat").await?;
/// ws.send("Hello").await?;
/// while let Some(message) = ws.recv().await? {
///     println!("{message:?}");
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// As [`Client::connect`].
pub async fn connect(url: impl AsRef<str>) -> Result<WebSocket, Error> {
    Client::new(url).connect().await
}

/// A client, and all that can be set about how it connects. It can connect any number of times.
///
/// ```no_run
/// # async fn example() -> Result<(), provod::Error> {
/// use std::time::Duration;
///
/// let mut ws = provod::Client::new("ws://example.com/chat")
///     .header("Authorization", "Bearer 7d1f")
///     .subprotocol("chat.v2")
///     .compression(provod::DeflateConfig::default())
///     .connect_timeout(Duration::from_secs(3))
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a client does nothing until it connects"]
pub struct Client {
    url: String,
    headers: Vec<(String, Vec<u8>)>,
    subprotocols: Vec<String>,
    origin: Option<String>,
    deflate: Option<DeflateConfig>,
    head: HeadLimits,
    config: Arc<Config>,
    timeouts: Timeouts,
    unix: Option<PathBuf>,
}

/// How long each step may take.
#[derive(Debug, Clone, Copy)]
struct Timeouts {
    resolve: Duration,
    connect: Duration,
    handshake: Duration,
}

impl Client {
    /// A client for `url`: `ws://host:port/path?query`; `http` means `ws`. What is wrong with it,
    /// and with everything else that is set, [`connect`](Self::connect) tells.
    pub fn new(url: impl AsRef<str>) -> Self {
        Self {
            url: url.as_ref().to_owned(),
            headers: Vec::new(),
            subprotocols: Vec::new(),
            origin: None,
            deflate: None,
            head: HeadLimits::default(),
            config: Arc::default(),
            timeouts: Timeouts {
                resolve: Duration::from_secs(10),
                connect: Duration::from_secs(10),
                handshake: Duration::from_secs(10),
            },
            unix: None,
        }
    }

    /// Adds a header to the request, such as `Authorization` or `Cookie`. Those of the handshake
    /// itself cannot be set.
    pub fn header(mut self, name: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.into(), value.as_ref().to_vec()));
        self
    }

    /// Offers one more subprotocol, less wanted than those before it. Whether the server chose one
    /// tells [`WebSocket::subprotocol`].
    pub fn subprotocol(mut self, name: impl Into<String>) -> Self {
        self.subprotocols.push(name.into());
        self
    }

    /// Sends an `Origin` (RFC 6455 section 10.2), as browsers do. Some servers want one.
    pub fn origin(mut self, origin: impl Into<String>) -> Self {
        self.origin = Some(origin.into());
        self
    }

    /// Offers permessage-deflate (RFC 7692). Whether the server agreed tells
    /// [`WebSocket::compression`].
    pub fn compression(mut self, config: DeflateConfig) -> Self {
        self.deflate = Some(config);
        self
    }

    /// Sets limits, queues and times of the connection.
    pub fn config(mut self, config: Config) -> Self {
        self.config = Arc::new(config);
        self
    }

    /// How much the head of the server's answer may hold. Default: 8 KiB, 64 headers.
    pub fn head_limits(mut self, limits: HeadLimits) -> Self {
        self.head = limits;
        self
    }

    /// How long the name's resolution may take. Default: 10 s.
    pub fn resolve_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.resolve = timeout;
        self
    }

    /// How long it may take until the server, on any of its addresses, takes the connection.
    /// Default: 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.connect = timeout;
        self
    }

    /// How long the server may take for its answer once it is connected. Default: 10 s.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.handshake = timeout;
        self
    }

    /// Connects to this Unix socket; the URL says what is asked for there.
    #[cfg(unix)]
    pub fn unix_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.unix = Some(path.into());
        self
    }

    /// Connects. Frames that come with the server's answer are received as all others.
    ///
    /// Dropping the future gives the attempt up.
    ///
    /// # Errors
    ///
    /// One for each step, with a question on [`Error`]: the URL or a setting is not valid, the name
    /// cannot be resolved, nobody takes the connection, the server refuses
    /// ([`Error::http_response`] has what it said), its answer is not one (RFC 6455 section 4.1), or
    /// time ran out.
    pub async fn connect(&self) -> Result<WebSocket, Error> {
        let address = Address::parse(&self.url)?;
        #[cfg(unix)]
        if let Some(path) = &self.unix {
            let io = dial::unix(path, self.timeouts.connect).await?;
            return open::open(self, &address, io, format!("unix:{}", path.display())).await;
        }
        let (io, peer) = dial::tcp(&address, &self.timeouts).await?;
        open::open(self, &address, io, peer.to_string()).await
    }

    /// Opens a WebSocket on a stream that is connected already, such as a tunnel, a TLS stream or a
    /// pipe; the URL says what is asked for there.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_over<T>(&self, io: T) -> Result<WebSocket, Error>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let address = Address::parse(&self.url)?;
        open::open(self, &address, io, address.authority().to_owned()).await
    }
}
