//! WebSockets from requests that hyper has read, over HTTP/1.1 and HTTP/2 (RFC 8441).
//!
//! ```no_run
//! use std::convert::Infallible;
//!
//! use hyper::body::Incoming;
//! use hyper::service::service_fn;
//! use hyper_util::rt::{TokioExecutor, TokioIo};
//! use hyper_util::server::conn::auto::Builder;
//! use provod::hyper::Upgrade;
//!
//! async fn answer(
//!     mut request: hyper::Request<Incoming>,
//! ) -> Result<hyper::Response<String>, Infallible> {
//!     Ok(match Upgrade::new(&mut request) {
//!         Ok(upgrade) => upgrade.on_upgrade(|mut ws| async move {
//!             while let Some(message) = ws.recv().await? {
//!                 ws.send(message).await?;
//!             }
//!             Ok(())
//!         }),
//!         Err(refusal) => refusal, // not a request for a WebSocket, or a bad one
//!     })
//! }
//!
//! # async fn example() -> std::io::Result<()> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! loop {
//!     let (tcp, _) = listener.accept().await?;
//!     tokio::spawn(async move {
//!         let mut server = Builder::new(TokioExecutor::new());
//!         server.http2().enable_connect_protocol(); // WebSockets over HTTP/2, too
//!         let service = service_fn(answer);
//!         // "with upgrades", or no connection is ever handed over
//!         let _ = server.serve_connection_with_upgrades(TokioIo::new(tcp), service).await;
//!     });
//! }
//! # }
//! ```
//!
//! - [`Upgrade`] is one request. It checks it as the crate's own [`Server`](crate::Server) does,
//!   and has the right answer where it is refused.
//! - [`Upgrader`] has the settings of all, and their list: limits, origins, compression, a memory
//!   budget, the end of all WebSockets when the application shuts down. Without one the defaults
//!   hold. Its [`Workers`] call a [`Handler`](crate::Handler).
//!
//! A connection that hyper got as a `TokioIo` of a `TcpStream` or `UnixStream` is taken out of its
//! hands, as that of axum's `serve` is: from then on nothing lies between the socket and us. What
//! the client sent behind its request is carried over.
//!
//! Over TLS and HTTP/2 the bytes go on through hyper. Of an HTTP/2 stream hyper tells no more than
//! that it is over: one that the client resets looks like one that ends without a Close frame,
//! which is a lost connection (1006) either way.

mod handover;
mod head;
mod upgrade;

#[cfg(feature = "axum")]
pub(crate) use head::{Parts, asks};

#[doc(inline)]
pub use crate::server::upgrader::{Upgrader, Workers};
pub use upgrade::{Upgrade, is_upgrade};
