//! The client: from an address to an open WebSocket.

mod address;
mod body;
mod dial;
mod exchange;
#[cfg(feature = "http2")]
mod http2;
mod mask;
mod names;
mod open;
mod proxy;
mod redirect;
mod request;
mod response;
#[cfg(feature = "tls")]
mod sealed;
mod stream;
mod way;

use std::fmt;
use std::net::IpAddr;
#[cfg(unix)]
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use provod_proto::handshake::{ClientRequest, DeflateConfig, HeadLimits};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::budget::MemoryBudget;
use crate::config::Config;
use crate::error::Error;
use crate::runtime;
use crate::websocket::WebSocket;

#[cfg(feature = "http2")]
pub use http2::Http2;
#[cfg(feature = "http2")]
use http2::Opened;
pub use names::IpVersion;
pub use proxy::Proxy;
pub use response::HttpResponse;

pub(crate) use mask::SystemMasks;

use address::Address;
use names::Names;
use redirect::Trail;
use way::Reached;

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
///     .compression(provod::config::DeflateConfig::default())
///     .connect_timeout(Duration::from_secs(3))
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
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
    names: Names,
    proxy: Option<Proxy>,
    redirects: u32,
    #[cfg(feature = "tls")]
    tls: crate::tls::Connector,
    #[cfg(unix)]
    unix: Option<PathBuf>,
    budget: Option<MemoryBudget>,
    #[cfg(feature = "http2")]
    http2: Http2,
    #[cfg(feature = "http2")]
    pool: http2::Pool,
}

/// How long each step may take.
#[derive(Debug, Clone, Copy)]
struct Timeouts {
    resolve: Duration,
    connect: Duration,
    #[cfg(feature = "tls")]
    tls: Duration,
    proxy: Duration,
    handshake: Duration,
}

impl Timeouts {
    /// Of all steps together.
    #[cfg(feature = "http2")]
    fn all(&self) -> Duration {
        let steps = [
            self.resolve,
            self.connect,
            self.proxy,
            #[cfg(feature = "tls")]
            self.tls,
            self.handshake,
        ];
        steps.into_iter().fold(Duration::ZERO, Duration::saturating_add)
    }
}

impl Client {
    /// A client for `url`: `ws://host:port/path?query`, or `wss://` over TLS; `http` means `ws` and
    /// `https` means `wss`. User and password, as in `wss://user:password@host`, become an
    /// `Authorization` header (RFC 7617).
    ///
    /// What is wrong with it, and with everything else that is set, [`connect`](Self::connect)
    /// tells before anything is sent.
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
                #[cfg(feature = "tls")]
                tls: Duration::from_secs(10),
                proxy: Duration::from_secs(10),
                handshake: Duration::from_secs(10),
            },
            names: Names::default(),
            proxy: None,
            redirects: 0,
            #[cfg(feature = "tls")]
            tls: crate::tls::Connector::default(),
            #[cfg(unix)]
            unix: None,
            budget: None,
            #[cfg(feature = "http2")]
            http2: Http2::default(),
            #[cfg(feature = "http2")]
            pool: http2::Pool::default(),
        }
    }

    /// Whether to use HTTP/2 (RFC 8441), with one connection for the WebSockets of this client and
    /// its clones. Default: [`Http2::Never`].
    ///
    /// The connection lives until the client, its clones and their WebSockets are gone. One that is
    /// lost, or that the server takes no more WebSockets on, is replaced by the next
    /// [`connect`](Self::connect); that may wait for the server twice.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), provod::Error> {
    /// use provod::client::Http2;
    ///
    /// let client = provod::Client::new("ws://127.0.0.1:8080/chat").http2(Http2::Require);
    /// let (first, second) = (client.connect().await?, client.connect().await?); // one connection
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "http2")]
    pub fn http2(mut self, http2: Http2) -> Self {
        self.http2 = http2;
        self
    }

    /// Adds a header to the request, such as `Authorization` or `Cookie`. `Host` replaces what the
    /// URL says, for a server that is reached under another name. The headers of the handshake
    /// itself are refused: they have methods of their own.
    pub fn header(mut self, name: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.into(), value.as_ref().to_vec()));
        self
    }

    /// Offers one more subprotocol, less wanted than those before it.
    ///
    /// A server may choose none, and the connection opens (RFC 6455 section 4.1); a program that
    /// cannot go on without asks [`WebSocket::subprotocol`] first. One that was not offered is an
    /// error.
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

    /// Counts the memory of the connection in a budget that it shares with others; when that is
    /// used up, the connection may have to give way.
    pub fn memory_budget(mut self, budget: &MemoryBudget) -> Self {
        self.budget = Some(budget.clone());
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

    /// How long the TLS handshake may take, with the server and with an `https` proxy each.
    /// Default: 10 s.
    #[cfg(feature = "tls")]
    pub fn tls_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.tls = timeout;
        self
    }

    /// How long a proxy may take until the tunnel to the server stands, once it is connected.
    /// Default: 10 s.
    pub fn proxy_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.proxy = timeout;
        self
    }

    /// How long the server may take for its answer once it is connected. Default: 10 s.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.handshake = timeout;
        self
    }

    /// What is trusted in TLS, and who this end says it is. Clones of the client share its sessions,
    /// so that the next handshake with the same server is shorter (RFC 8446 section 2.2).
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: crate::tls::ClientTls) -> Self {
        self.tls = crate::tls::Connector::new(tls);
        self.other_way()
    }

    /// Goes through a proxy. Default: none, whatever the environment says; see
    /// [`Proxy::from_env`].
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.proxy = Some(proxy);
        self.other_way()
    }

    /// Follows at most so many redirects (301, 302, 303, 307, 308; RFC 9110 section 15.4). Default:
    /// 0, and a redirect is an error with an [`HttpResponse`].
    ///
    /// Never from `wss` to `ws`. To another origin (scheme, host or port) goes nothing that may be a
    /// secret: no user and password, none of the headers that were set but `Accept`,
    /// `Accept-Language` and `User-Agent`, no client certificate; also not if a further redirect
    /// leads back. Subprotocols and the `Origin` go along: do not hide a token in them.
    pub fn redirects(mut self, most: u32) -> Self {
        self.redirects = most;
        self
    }

    /// Takes these addresses for `host`, as in a URL, at this port, and asks no resolver; may be
    /// called for several.
    pub fn resolve_to(
        mut self,
        host: impl Into<String>,
        port: u16,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> Self {
        self.names.known.push((host.into(), port, addresses.into_iter().collect()));
        self.other_way()
    }

    /// Connects to addresses of this family alone. Default: both, in turn (RFC 8305 section 4).
    pub fn ip_version(mut self, version: IpVersion) -> Self {
        self.names.version = Some(version);
        self.other_way()
    }

    /// Connects to this Unix socket; the URL says what is asked for there. Nothing is resolved then,
    /// and no proxy is asked.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), provod::Error> {
    /// let client = provod::Client::new("ws://localhost/chat").unix_socket("/run/provod.sock");
    /// let ws = client.connect().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(unix)]
    pub fn unix_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.unix = Some(path.into());
        self.other_way()
    }

    /// Connects. Frames that come with the server's answer are received as all others.
    ///
    /// All addresses of the name are tried, the next one when one has failed or was silent for a
    /// moment. Dropping the future gives the attempt up.
    ///
    /// # Errors
    ///
    /// One for each step, with a question on [`Error`]:
    ///
    /// | what happened | question |
    /// |---|---|
    /// | the URL or a setting is not valid; nothing was tried | [`is_usage`](Error::is_usage) |
    /// | TLS failed: the certificate, its name, its time, ... | [`is_tls`](Error::is_tls) |
    /// | a proxy refused or failed | [`is_proxy`](Error::is_proxy) |
    /// | the name cannot be resolved | [`is_resolve`](Error::is_resolve) |
    /// | nobody takes the connection | [`is_connect`](Error::is_connect) |
    /// | the server answered something else than 101 | [`http_response`](Error::http_response) |
    /// | the answer is not valid (RFC 6455 section 4.1) | [`is_handshake`](Error::is_handshake) |
    /// | the server hung up | [`is_lost`](Error::is_lost) |
    /// | time ran out | [`is_timeout`](Error::is_timeout) |
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), provod::Error> {
    /// let client = provod::Client::new("ws://example.com/chat");
    /// let ws = match client.connect().await {
    ///     Ok(ws) => ws,
    ///     Err(e) if e.is_timeout() || e.is_connect() => client.connect().await?,
    ///     Err(e) => {
    ///         if let Some(response) = e.http_response() {
    ///             println!("status {}: {}", response.status(), response.body().escape_ascii());
    ///         }
    ///         return Err(e);
    ///     }
    /// };
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(&self) -> Result<WebSocket, Error> {
        let (mut address, mut request) = self.prepare()?;
        let mut trail = Trail::new(&address, self.redirects);
        loop {
            let e = match self.ask(request, &address, trail.is_own()).await {
                Ok(ws) => return Ok(ws),
                Err(e) => e,
            };
            address = trail.follow(&address, e)?;
            #[cfg(unix)]
            if self.unix.is_some() && !trail.is_own() {
                return Err(trail.leaves_the_socket(&address));
            }
            request = request::request(self, &address, trail.is_own())?;
        }
    }

    /// Asks the server at `address` for a WebSocket, in the version of HTTP that is set or chosen
    /// with it.
    async fn ask(
        &self,
        request: ClientRequest,
        address: &Address,
        is_own: bool,
    ) -> Result<WebSocket, Error> {
        #[cfg(feature = "http2")]
        let reached = match Box::pin(http2::connect(self, &request, address, is_own)).await? {
            Opened::Http2(ws) => return Ok(ws),
            Opened::Http1(reached) => reached,
        };
        #[cfg(not(feature = "http2"))]
        let reached = None;
        let Reached { io, peer, .. } = match reached {
            Some(reached) => reached,
            None => way::reach(self, address, is_own, &[way::HTTP1]).await?,
        };
        open::open(self, request, address, io, peer).await
    }

    /// Connections that go another way are not shared.
    fn other_way(self) -> Self {
        #[cfg(feature = "http2")]
        return Self { pool: http2::Pool::default(), ..self };
        #[cfg(not(feature = "http2"))]
        self
    }

    /// A client that connects with these settings, and connects again whenever its connection is
    /// lost.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut ws = provod::Client::new("ws://example.com/feed").reconnecting().start()?;
    /// ws.send("subscribe").await?;
    /// while let Some(message) = ws.recv().await {
    ///     println!("{message:?}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn reconnecting(self) -> crate::reconnect::Setup {
        crate::reconnect::Setup::new(self)
    }

    /// Opens a WebSocket on a stream that is connected already, such as a tunnel, a TLS stream or a
    /// pipe; the URL says what is asked for there. No TLS is made on it, no proxy is asked, and no
    /// redirect is followed. The server's side of this is
    /// [`Server::accept_over`](crate::Server::accept_over).
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let stream = tokio::net::TcpStream::connect("192.0.2.7:8080").await?;
    /// let ws = provod::Client::new("ws://example.com/chat").connect_over(stream).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_over<T>(&self, io: T) -> Result<WebSocket, Error>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (address, request) = self.prepare()?;
        #[cfg(feature = "http2")]
        if self.http2 == Http2::Require {
            let opened = http2::connect_over(self, &request, &address, io).await;
            return opened.map_err(http2::Trouble::into_error);
        }
        open::open(self, request, &address, io, address.authority().to_owned()).await
    }

    /// Checks all that is set, before anybody is troubled with it.
    fn prepare(&self) -> Result<(Address, ClientRequest), Error> {
        runtime::check()?;
        let address = Address::parse(&self.url)?;
        let request = request::request(self, &address, true)?;
        Ok((address, request))
    }
}

/// A client with all defaults.
impl<T: AsRef<str>> From<T> for Client {
    fn from(url: T) -> Self {
        Self::new(url)
    }
}

impl fmt::Debug for Client {
    /// What may be secret stays out: user, password and query of the URL, values of headers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = Address::parse(&self.url).map_or_else(|_| "(invalid)".to_owned(), |a| a.shown());
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("Client")
            .field("url", &url)
            .field("headers", &names)
            .field("subprotocols", &self.subprotocols)
            .field("origin", &self.origin)
            .field("compression", &self.deflate)
            .field("proxy", &self.proxy)
            .finish_non_exhaustive()
    }
}
