//! The server: listeners, handshakes, workers and drain.

mod accept;
mod admission;
mod application;
mod arrival;
mod decide;
#[cfg(feature = "http2")]
mod http2;
mod listen;
mod open;
mod outage;
mod over;
mod proxies;
mod request;
mod run;
mod settings;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use provod_proto as proto;
use provod_proto::handshake::{DeflateConfig, HeadLimits};
use tokio::sync::watch;

use crate::BoxError;
use crate::budget::MemoryBudget;
use crate::config::Config;
use crate::driver::Shared;
use crate::error::Error;
use crate::handler::Handler;
use crate::runtime;
#[cfg(feature = "tls")]
use crate::tls::{ServerTls, Terms};
use crate::websocket::WebSocket;

pub use provod_proto::handshake::{OriginPolicy, Response};

pub use crate::counters::{Counters, Stats};
pub use listen::Address;
pub use request::{Accept, Request};
pub use run::{Drain, Running};

pub(crate) use open::Guard;

use admission::Admission;
use application::{Application, Calls, Tasks};
use outage::Outage;
use proxies::Proxies;
use settings::Settings;

/// Listens on `address` and runs `handler` for each WebSocket, with all defaults, until the process
/// ends.
///
/// `address` is `host:port`, or `unix:` and a path. See [`Server`] for everything that can be set.
///
/// ```no_run
/// # async fn example() -> Result<(), provod::Error> {
/// provod::serve("127.0.0.1:8080", |mut ws: provod::WebSocket| async move {
///     while let Some(message) = ws.recv().await? {
///         ws.send(message).await?;
///     }
///     Ok(())
/// })
/// .await
/// # }
/// ```
///
/// A handler that returns `Ok` closes with 1000, one that fails or panics with 1011. Dropping the
/// future stops the server.
///
/// # Errors
///
/// When the address cannot be listened on.
pub async fn serve<H, F>(address: impl ToString, handler: H) -> Result<(), Error>
where
    H: Fn(WebSocket) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    Server::new().listen(address).serve(handler).await
}

type OnRequest<S> = Box<
    dyn Fn(Request) -> Pin<Box<dyn Future<Output = Result<Accept<S>, Response>> + Send>>
        + Send
        + Sync,
>;

/// A server before it starts. `S` is what [`on_request`](Self::on_request) hands to the handler.
///
/// A handler shares its thread with other connections, as any task does: one that blocks holds
/// them up, so slow work without an `await` belongs in `tokio::task::spawn_blocking`.
///
/// ```no_run
/// # async fn example() -> Result<(), provod::Error> {
/// use provod::server::Drain;
///
/// let running = provod::Server::new()
///     .listen("127.0.0.1:0")
///     .subprotocols(["chat.v2"])
///     .compression(provod::config::DeflateConfig::default())
///     .start(|mut ws: provod::WebSocket| async move {
///         while let Some(message) = ws.recv().await? {
///             ws.send(message).await?;
///         }
///         Ok(())
///     })
///     .await?;
/// println!("listening on {:?}", running.addresses());
/// running.drain(Drain::default()).await; // as when the process is told to end
/// # Ok(())
/// # }
/// ```
#[must_use = "a server does nothing until it is started"]
pub struct Server<S = ()> {
    addresses: Vec<String>,
    settings: Settings,
    max_connections: Option<usize>,
    workers: usize,
    on_request: OnRequest<S>,
    counters: Arc<Counters>,
}

impl<S> fmt::Debug for Server<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("addresses", &self.addresses)
            .field("workers", &self.workers)
            .field("subprotocols", &self.settings.subprotocols)
            .field("compression", &self.settings.deflate)
            .finish_non_exhaustive()
    }
}

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

impl Server {
    /// A server that listens nowhere yet.
    pub fn new() -> Self {
        Self {
            addresses: Vec::new(),
            settings: Settings::default(),
            max_connections: None,
            workers: 0,
            on_request: Box::new(|_| Box::pin(async { Ok(Accept::new(())) })),
            counters: Arc::default(),
        }
    }
}

impl<S: Send + 'static> Server<S> {
    /// Adds an address to listen on: `host:port`, where port 0 lets the system choose, or `unix:`
    /// and a path.
    pub fn listen(mut self, address: impl ToString) -> Self {
        self.addresses.push(address.to_string());
        self
    }

    /// Sets limits, keepalive, timeouts and queues of each connection.
    pub fn config(mut self, config: Config) -> Self {
        self.settings.config = Arc::new(config);
        self.settings.core_config.take();
        self
    }

    /// Sets which pages may connect. Default: those of the same host and port as the request's
    /// `Host`; programs, which send no `Origin`, always may.
    ///
    /// ```
    /// use provod::Server;
    /// use provod::server::OriginPolicy;
    ///
    /// # fn example() -> Result<(), provod::BoxError> {
    /// let policy = OriginPolicy::same_host()
    ///     .allow("https://app.example.com")? // exactly this origin
    ///     .allow("partner.example")?; // this host, http and https, any port
    /// let server = Server::new().origin(policy);
    ///
    /// // On a loopback address, for a page of this machine: see OriginPolicy::on_loopback.
    /// let local = Server::new().origin(OriginPolicy::same_host().on_loopback(true));
    /// # Ok(())
    /// # }
    /// # example().unwrap();
    /// ```
    pub fn origin(mut self, policy: OriginPolicy) -> Self {
        self.settings.origin = policy;
        self
    }

    /// Sets the subprotocols that the server speaks. The first of the client's that is among them
    /// is agreed.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), provod::Error> {
    /// provod::Server::new()
    ///     .listen("127.0.0.1:8080")
    ///     .subprotocols(["chat.v2", "chat.v1"])
    ///     .serve(|mut ws: provod::WebSocket| async move {
    ///         match ws.subprotocol() {
    ///             Some("chat.v2") => ws.send("{\"hello\":2}").await?,
    ///             Some(_) => ws.send("hello").await?,
    ///             None => {
    ///                 ws.close(4001, "speak chat.v2 or chat.v1").await?;
    ///             }
    ///         }
    ///         Ok(())
    ///     })
    ///     .await
    /// # }
    /// ```
    pub fn subprotocols<I: IntoIterator<Item: Into<String>>>(mut self, names: I) -> Self {
        self.settings.subprotocols = names.into_iter().map(Into::into).collect();
        self
    }

    /// Agrees to permessage-deflate (RFC 7692) with clients that offer it. Default: off.
    ///
    /// Context takeover compresses better, and costs each connection that uses it up to 64 KB: the
    /// windows of both sides, which
    /// [`DeflateConfig::server_max_window_bits`](crate::config::DeflateConfig::server_max_window_bits)
    /// and its twin make smaller.
    ///
    /// ```
    /// use provod::config::DeflateConfig;
    ///
    /// let without_takeover = DeflateConfig {
    ///     server_no_context_takeover: true,
    ///     client_no_context_takeover: true,
    ///     ..DeflateConfig::default()
    /// };
    /// let server = provod::Server::new().compression(without_takeover);
    /// ```
    pub fn compression(mut self, deflate: DeflateConfig) -> Self {
        self.settings.deflate = Some(deflate);
        self
    }

    /// Sets how large a request head may be. Default: 8 KiB, 64 headers.
    pub fn head_limits(mut self, limits: HeadLimits) -> Self {
        self.settings.head = limits;
        self
    }

    /// Sets how long a client may take for its request head. Default: 10 s.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.settings.handshake_timeout = timeout;
        self
    }

    /// Sets how many connections may be open; more are answered 503. A quarter of them may be
    /// unfinished handshakes: beyond that the oldest is dropped. Default: the process's
    /// descriptor limit minus 64 and what the workers need, or half of it where that is more.
    pub fn max_connections(mut self, max: usize) -> Self {
        self.max_connections = Some(max);
        self
    }

    /// Sets the budget that bounds the memory of all connections together; a handle to it may be
    /// given to several servers. Default: none, each connection has its own limits and no more.
    ///
    /// At most a quarter of it goes to unfinished handshakes: beyond that the oldest is dropped.
    pub fn memory_budget(mut self, budget: &MemoryBudget) -> Self {
        self.settings.budget = Some(budget.clone());
        self
    }

    /// Speaks TLS on all TCP addresses: clients connect with `wss://` and `https://`. A request that
    /// comes without TLS is answered 400. Unix sockets stay plain. Default: no TLS.
    ///
    /// Certificates and keys are checked when the server starts.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: ServerTls) -> Self {
        self.settings.tls = Some(tls);
        self
    }

    /// Expects the header of PROXY protocol version 2 at the beginning of each TCP connection, also
    /// before TLS, from these addresses: `10.0.0.7`, or a range such as `10.0.0.0/8` or `fd00::/8`.
    /// [`peer`](Request::peer) is then the client's address, which the header tells.
    ///
    /// Others could claim to be anybody, so who connects from another address is hung up on, as is
    /// who sends no valid header within the [`handshake_timeout`](Self::handshake_timeout): both
    /// are counted in [`Stats::refusals`] as `proxy`. Health checks of HAProxy (`LOCAL`) keep their
    /// own address. Unix sockets expect no header. Default: none is expected, and a header is
    /// answered 400.
    pub fn proxy_protocol<I: IntoIterator<Item: AsRef<str>>>(mut self, trusted: I) -> Self {
        self.settings.proxies = Some(Proxies::new(trusted));
        self
    }

    /// Starts `n` threads with a runtime each and runs the connections there. Default, or 0: on the
    /// runtime that starts the server.
    pub fn workers(mut self, n: usize) -> Self {
        self.workers = n;
        self
    }

    /// Answers GET on this path with 200, on the same port, before the request is checked any
    /// further; with 503 once a drain has begun, for its [`notice`](Drain::notice). After that the
    /// server accepts nothing, which a load balancer takes for unhealthy too.
    pub fn health(mut self, path: impl Into<String>) -> Self {
        self.settings.health = Some(path.into());
        self
    }

    /// Sets how many streams, each a WebSocket, a client may open on one connection of HTTP/2 (RFC
    /// 8441), which is spoken on the same port as HTTP/1.1. Default: 100; with 0 HTTP/2 is not
    /// spoken.
    ///
    /// Each stream counts as a connection for [`max_connections`](Self::max_connections). A
    /// connection without streams is one too, and is closed after a minute.
    #[cfg(feature = "http2")]
    pub fn http2_streams(mut self, most: usize) -> Self {
        self.settings.http2_streams = most;
        self
    }

    /// Decides on each request, with its full head: `Ok` opens a WebSocket and hands a value to the
    /// handler, `Err` gives any answer of HTTP. Requests of plain HTTP come here too, see
    /// [`Request::is_upgrade`]; for them `Ok` is answered 426.
    ///
    /// Requests that break the rules, or come from a page that may not connect, are answered
    /// before.
    ///
    /// Who is it? What it returns in [`Accept`] reaches the handler:
    ///
    /// ```no_run
    /// use provod::Server;
    /// use provod::server::{Accept, Response};
    ///
    /// # async fn example() -> Result<(), provod::Error> {
    /// Server::new()
    ///     .listen("127.0.0.1:8080")
    ///     .on_request(|request| async move {
    ///         match request.header("Authorization") {
    ///             Some(b"Bearer let-me-in") => Ok(Accept::new(String::from("Anna"))),
    ///             _ => Err(Response::text(401, "who are you?")),
    ///         }
    ///     })
    ///     .serve_with(|ws, name| async move {
    ///         ws.send(format!("Hello, {name}")).await?;
    ///         Ok(())
    ///     })
    ///     .await
    /// # }
    /// ```
    ///
    /// A page on the same port, and a 404 for what is neither:
    ///
    /// ```
    /// use provod::Server;
    /// use provod::server::{Accept, Response};
    ///
    /// # fn example() -> Result<(), provod::BoxError> {
    /// let page = Response::new(200)
    ///     .header("Content-Type", b"text/html; charset=utf-8")?
    ///     .body("<!doctype html><title>Hello</title>");
    /// let server = Server::new().on_request(move |request| {
    ///     let answer = match (request.path(), request.is_upgrade()) {
    ///         ("/chat", true) => Ok(Accept::new(())),
    ///         ("/", false) => Err(page.clone()),
    ///         _ => Err(Response::text(404, "there is nothing here")),
    ///     };
    ///     async { answer }
    /// });
    /// # Ok(())
    /// # }
    /// # example().unwrap();
    /// ```
    pub fn on_request<T, H, F>(self, decide: H) -> Server<T>
    where
        H: Fn(Request) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Accept<T>, Response>> + Send + 'static,
    {
        Server {
            addresses: self.addresses,
            settings: self.settings,
            max_connections: self.max_connections,
            workers: self.workers,
            on_request: Box::new(move |request| Box::pin(decide(request))),
            counters: self.counters,
        }
    }

    /// The counters, to be read at any time, also before the server starts and after it has ended.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// Runs `handler` for each WebSocket until the process ends. Dropping the future stops the
    /// server.
    ///
    /// # Errors
    ///
    /// When an address cannot be listened on
    /// ([`is_address_in_use`](Error::is_address_in_use)), it or another setting is not valid
    /// ([`is_usage`](Error::is_usage)), or a worker cannot be started.
    pub async fn serve<H, F>(self, handler: H) -> Result<(), Error>
    where
        H: Fn(WebSocket) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.serve_with(move |ws, _| handler(ws)).await
    }

    /// As [`serve`](Self::serve), with what [`on_request`](Self::on_request) handed over.
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve).
    pub async fn serve_with<H, F>(self, handler: H) -> Result<(), Error>
    where
        H: Fn(WebSocket, S) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.start_with(handler).await?.wait().await;
        Ok(())
    }

    /// Starts the server and returns once it listens. Dropping what it returns stops the server.
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve).
    pub async fn start<H, F>(self, handler: H) -> Result<Running, Error>
    where
        H: Fn(WebSocket) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.start_with(move |ws, _| handler(ws)).await
    }

    /// As [`start`](Self::start), with what [`on_request`](Self::on_request) handed over.
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve).
    pub async fn start_with<H, F>(self, handler: H) -> Result<Running, Error>
    where
        H: Fn(WebSocket, S) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.start_application(Box::new(Tasks(Arc::new(handler)))).await
    }

    /// As [`serve_with`](Self::serve_with), for a [`Handler`].
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve).
    pub async fn serve_handler<H: Handler<S>>(self, handler: H) -> Result<(), Error> {
        self.start_handler(handler).await?.wait().await;
        Ok(())
    }

    /// As [`start_with`](Self::start_with), for a [`Handler`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), provod::BoxError> {
    /// use provod::handler::{Received, Socket};
    /// use provod::{Handler, Server};
    ///
    /// struct Shout;
    ///
    /// impl Handler for Shout {
    ///     type Peer = u32; // how many messages came so far
    ///
    ///     fn open(&self, ws: &mut Socket<'_>, (): ()) -> u32 {
    ///         let _ = ws.send("say something");
    ///         0
    ///     }
    ///
    ///     fn message(&self, ws: &mut Socket<'_>, count: &mut u32, message: Received<'_>) {
    ///         *count += 1;
    ///         let text = message.as_text().unwrap_or_default().to_uppercase();
    ///         let _ = ws.send(format!("{count}: {text}"));
    ///     }
    /// }
    ///
    /// let running = Server::new().listen("127.0.0.1:0").start_handler(Shout).await?;
    /// let mut ws = provod::connect(format!("ws://{}/", running.addresses()[0])).await?;
    /// ws.send("hello").await?;
    /// assert_eq!(ws.recv().await?, Some("say something".into()));
    /// assert_eq!(ws.recv().await?, Some("1: HELLO".into()));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve).
    pub async fn start_handler<H: Handler<S>>(self, handler: H) -> Result<Running, Error> {
        self.start_application(Box::new(Calls(Arc::new(handler)))).await
    }

    async fn start_application(
        self,
        application: Box<dyn Application<S>>,
    ) -> Result<Running, Error> {
        runtime::check()?;
        self.settings.check()?;
        // A worker has a few of its own, and one for each address.
        let spare = 64 + self.workers * (4 + self.addresses.len());
        let max = self.max_connections.unwrap_or_else(|| {
            listen::descriptor_limit().map_or(10_000, |n| n.saturating_sub(spare).max(n / 2))
        });
        let handshakes = self.settings.most_handshakes();
        #[cfg(feature = "tls")]
        let start = |tls: &ServerTls| tls.start(self.settings.speaks_http2());
        #[cfg(feature = "tls")]
        let tls = self.settings.tls.as_ref().map(start).transpose()?;
        let (phase, _) = watch::channel(Phase::Running);
        let core = Arc::new(Core {
            settings: self.settings,
            on_request: self.on_request,
            application,
            admission: Arc::new(Admission::new(max, handshakes)),
            counters: self.counters,
            outage: Outage::default(),
            phase,
            #[cfg(feature = "tls")]
            tls,
        });
        run::start(core, &self.addresses, self.workers).await
    }
}

/// Where a server is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// The health answer says that the end is near; all else goes on.
    Noticed,
    Draining(proto::CloseCode),
    Stopped,
}

/// What the tasks of a running server share.
struct Core<S> {
    settings: Settings,
    on_request: OnRequest<S>,
    application: Box<dyn Application<S>>,
    admission: Arc<Admission>,
    counters: Arc<Counters>,
    outage: Outage,
    phase: watch::Sender<Phase>,
    #[cfg(feature = "tls")]
    tls: Option<Terms>,
}

impl Phase {
    /// Whether connections are still taken.
    fn is_accepting(self) -> bool {
        matches!(self, Self::Running | Self::Noticed)
    }
}

impl<S> Core<S> {
    fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// What its opening handshakes need.
    fn opening(&self) -> Opening<'_, S> {
        Opening {
            settings: &self.settings,
            on_request: &self.on_request,
            counters: &self.counters,
            phase: &self.phase,
            #[cfg(feature = "http2")]
            is_http2: self.settings.speaks_http2(),
        }
    }

    /// Closes a connection because the server drains or has stopped.
    fn close_for_drain(&self, shared: &Shared) {
        match self.phase() {
            Phase::Running | Phase::Noticed => {}
            Phase::Draining(code) => shared.close(proto::CloseFrame::new(code, "").ok()),
            Phase::Stopped => shared.abort(),
        }
    }
}

/// What an opening handshake needs, with or without a listener.
struct Opening<'a, S> {
    settings: &'a Settings,
    on_request: &'a OnRequest<S>,
    counters: &'a Arc<Counters>,
    phase: &'a watch::Sender<Phase>,
    /// Whether a peer may begin with HTTP/2.
    #[cfg(feature = "http2")]
    is_http2: bool,
}

impl<S> Opening<'_, S> {
    fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Waits until the server has stopped.
    async fn stopped(&self) {
        // The sender outlives `self`, so this ends with `Stopped` and nothing else.
        let _ = self.phase.subscribe().wait_for(|p| *p == Phase::Stopped).await;
    }
}
