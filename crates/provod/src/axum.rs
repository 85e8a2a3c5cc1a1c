//! WebSockets in an axum application.
//!
//! ```no_run
//! use axum::Router;
//! use axum::response::Response;
//! use axum::routing::any;
//! use provod::axum::WebSocketUpgrade;
//!
//! async fn echo(ws: WebSocketUpgrade) -> Response {
//!     ws.protocols(["echo"]).on_upgrade(|mut ws| async move {
//!         while let Some(message) = ws.recv().await? {
//!             ws.send(message).await?;
//!         }
//!         Ok(())
//!     })
//! }
//!
//! # async fn example() -> std::io::Result<()> {
//! let app = Router::new().route("/echo", any(echo));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! axum::serve(listener, app).await
//! # }
//! ```
//!
//! Over HTTP/1.1 a WebSocket is asked for with GET, over HTTP/2 with CONNECT: `any` takes both, and
//! axum's feature `http2` must be on for the latter.

use std::net::SocketAddr;

use ::axum::body::Body;
use ::axum::extract::{ConnectInfo, FromRequestParts, OptionalFromRequestParts};
use ::axum::response::Response;
use http::request::Parts;

use crate::hyper::{self, Upgrade};

/// An extractor: a valid request for a WebSocket, with all that can be said about the answer. See
/// [`Upgrade`] for what it can do.
///
/// A request that is none is answered as by [`Upgrade::new`]. `Option<WebSocketUpgrade>` is `None`
/// for one that asks for no WebSocket, so that a page may be at the same path.
///
/// Settings of all WebSockets, and their end at a graceful shutdown, are an [`Upgrader`]'s: name it
/// with [`with`](Upgrade::with), or put it among the request's extensions, for all routes:
///
/// ```
/// use axum::{Extension, Router};
/// use axum::response::{Html, IntoResponse, Response};
/// use axum::routing::any;
/// use provod::Server;
/// use provod::axum::WebSocketUpgrade;
///
/// async fn chat(ws: Option<WebSocketUpgrade>) -> Response {
///     match ws {
///         Some(ws) => ws.on_upgrade(|mut ws| async move { Ok(ws.send("Hello").await?) }),
///         None => Html("<!doctype html><title>Chat</title>").into_response(),
///     }
/// }
///
/// # fn example() -> Result<(), provod::Error> {
/// let mut config = provod::Config::default();
/// config.limits.max_message = 64 << 10;
/// let upgrader = Server::new().config(config).upgrader()?;
/// let app: Router = Router::new().route("/", any(chat)).layer(Extension(upgrader));
/// # Ok(())
/// # }
/// # example().unwrap();
/// ```
///
/// [`Upgrader`]: crate::hyper::Upgrader
pub type WebSocketUpgrade = Upgrade<Body>;

impl<S: Sync> FromRequestParts<S> for Upgrade<Body> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        extract(parts)
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Upgrade<Body> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Response> {
        if hyper::asks(hyper::Parts::of(parts)) { extract(parts).map(Some) } else { Ok(None) }
    }
}

#[expect(clippy::result_large_err, reason = "the answer is what axum wants")]
fn extract(parts: &mut Parts) -> Result<Upgrade<Body>, Response> {
    let upgrade = Upgrade::extract(parts)?;
    Ok(match parts.extensions.get::<ConnectInfo<SocketAddr>>() {
        Some(ConnectInfo(peer)) => upgrade.peer(peer),
        None => upgrade,
    })
}
