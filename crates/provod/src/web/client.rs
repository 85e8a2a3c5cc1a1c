//! The client in a browser: from an address to an open WebSocket.

use std::fmt;
use std::time::Duration;

use super::config::Config;
use super::error::{Error, Kind};
use super::shared::{Shared, shown};
use super::timer::timeout;
use super::websocket::WebSocket;
use crate::reconnect::Setup;

/// Connects to `url` with all defaults. See [`Client`] for what can be set.
///
/// # Errors
///
/// As [`Client::connect`].
pub async fn connect(url: impl AsRef<str>) -> Result<WebSocket, Error> {
    Client::new(url).connect().await
}

/// A client, and all that a page can set about how it connects. It can connect any number of
/// times.
#[derive(Clone)]
#[must_use = "a client does nothing until it connects"]
pub struct Client {
    url: String,
    subprotocols: Vec<String>,
    config: Config,
    connect_timeout: Duration,
}

impl Client {
    /// A client for `url`: `wss://host:port/path?query`; browsers of 2024 and later also take one
    /// that is relative to the page.
    pub fn new(url: impl AsRef<str>) -> Self {
        Self {
            url: url.as_ref().to_owned(),
            subprotocols: Vec::new(),
            config: Config::default(),
            connect_timeout: Duration::from_secs(30),
        }
    }

    /// Offers one more subprotocol, less wanted than those before it. A server that chooses none of
    /// them is an error in a browser.
    pub fn subprotocol(mut self, name: impl Into<String>) -> Self {
        self.subprotocols.push(name.into());
        self
    }

    /// Sets queues and times of the connection.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// How long it may take until the connection is open. Default: 30 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Connects. Dropping the future gives the attempt up.
    ///
    /// # Errors
    ///
    /// | what happened | question |
    /// |---|---|
    /// | the URL or a subprotocol is not valid, or a page of `https` asks for `ws` | [`is_usage`](Error::is_usage) |
    /// | the server was not reached, or did not agree; a browser does not tell which | [`is_connect`](Error::is_connect) |
    /// | time ran out | [`is_timeout`](Error::is_timeout) |
    pub async fn connect(&self) -> Result<WebSocket, Error> {
        let shared = Shared::start(&self.url, &self.subprotocols, self.config.clone())?;
        let limit = self.connect_timeout;
        match timeout(limit, shared.opened()).await {
            Some(true) => Ok(WebSocket::new(shared)),
            Some(false) => Err(Error::new(Kind::Connect(shown(&self.url)))),
            None => Err(Error::new(Kind::Timeout(limit))),
        }
    }

    /// A client that connects again by itself when its connection is lost: what can be set about
    /// that.
    pub fn reconnecting(self) -> Setup {
        Setup::new(self)
    }
}

impl fmt::Debug for Client {
    /// What may be secret stays out: user, password and query of the URL, and subprotocols, in
    /// which pages hide tokens for want of a header.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("url", &shown(&self.url))
            .field("subprotocols", &self.subprotocols.len())
            .finish_non_exhaustive()
    }
}
