//! WebSocket for Rust: a client that just connects and a server as plain as Node's `ws`, safe by
//! default.
//!
//! ```no_run
//! # async fn example() -> Result<(), provod::Error> {
//! provod::serve("127.0.0.1:8080", |mut ws: provod::WebSocket| async move {
//!     while let Some(message) = ws.recv().await? {
//!         ws.send(message).await?;
//!     }
//!     Ok(())
//! })
//! .await
//! # }
//! ```
//!
//! - [`connect`] opens a WebSocket as a client, over TLS for `wss`; [`Client`] sets everything about
//!   how: headers, subprotocols, compression, trust, proxies, redirects, a time limit for each step.
//! - [`serve`] starts a server with all defaults, [`Server`] sets everything: addresses, limits,
//!   origins, compression, workers, an answer for each request, a graceful drain.
//! - [`Reconnecting`] connects again by itself, and says what became of each message.
//! - [`WebSocket`] receives and sends; its [`Sender`] can be cloned and given to any task.
//! - [`Group`] sends one message to many, encoded and compressed once; what happens to those who
//!   read too slowly is a [`SlowPolicy`](group::SlowPolicy). A
//!   [`MemoryBudget`](config::MemoryBudget) bounds all connections together.
//! - [`Client::connect_over`] and [`Server::accept_over`] work on any stream; [`pipe`] connects two
//!   ends in memory, for tests. The crate `provod-testkit` has a peer that follows a script, and a
//!   bad network.
//! - [`blocking`] is a client whose calls wait, for programs without async.
//! - `provod::hyper` and `provod::axum`, behind features of these names, open WebSockets on requests
//!   that another HTTP server has read.
//! - What is set or asked rarely is a module deeper: [`client`], [`server`], `tls`, [`config`],
//!   [`message`], [`close`], [`group`], [`reconnect`], [`error`].
//! - The protocol itself is the crate [`provod_proto`], re-exported as [`proto`].
//!
//! Nothing needs to be flushed, Pings are answered and a silent peer is noticed whatever the
//! application does, every queue is bounded, and each future says whether it is cancel safe.
//!
//! All of it runs on tokio, in a runtime with I/O and time enabled, as those of `#[tokio::main]`
//! and `#[tokio::test]` are. Tests may pause its clock.
//!
//! # Features
//!
//! | feature | default | what it brings |
//! |---|---|---|
//! | `tls` | yes | `wss://` in clients and servers: the module `tls`, over rustls |
//! | `http2` | yes | WebSockets over HTTP/2 (RFC 8441), in clients and servers |
//! | `hyper` | | the module `hyper` |
//! | `axum` | | the module `axum`, and `hyper` |
//!
//! For `wasm32-unknown-unknown` the client alone is there, with the same names.
//!
//! # Examples
//!
//! Whole programs are in the crate's `examples`: `echo_server`, `chat_client` and `chat_rooms`,
//! `axum_app` (users with a token or a cookie; `--features axum`), `notifications` (other programs
//! say what a user's page shows), `game` (positions 20 times a second), `upload` (a message of any
//! size in little memory), `fan_out` (a ticker with slow subscribers), `reconnecting_ticker` (a
//! client that misses nothing while servers come and go), `behind_a_proxy` (a client in a company's
//! network), `graceful_restart` (a new process takes over), `seed_server` and `seed_client`.

#[cfg(all(feature = "axum", not(target_family = "wasm")))]
pub mod axum;
#[cfg(not(target_family = "wasm"))]
pub mod blocking;
#[cfg(not(target_family = "wasm"))]
mod budget;
#[cfg(not(target_family = "wasm"))]
pub mod client;
#[cfg(not(target_family = "wasm"))]
pub mod config;
#[cfg(not(target_family = "wasm"))]
mod counters;
#[cfg(doctest)]
mod documents;
#[cfg(not(target_family = "wasm"))]
mod driver;
#[cfg(not(target_family = "wasm"))]
pub mod error;
#[cfg(not(target_family = "wasm"))]
mod futures;
#[cfg(not(target_family = "wasm"))]
pub mod group;
#[cfg(not(target_family = "wasm"))]
pub mod handler;
#[cfg(all(feature = "http2", not(target_family = "wasm")))]
mod http2;
#[cfg(all(feature = "hyper", not(target_family = "wasm")))]
pub mod hyper;
mod one_line;
#[cfg(not(target_family = "wasm"))]
mod pipe;
#[cfg(not(target_family = "wasm"))]
mod receiver;
pub mod reconnect;
#[cfg(not(target_family = "wasm"))]
mod runtime;
#[cfg(not(target_family = "wasm"))]
mod sender;
#[cfg(not(target_family = "wasm"))]
pub mod server;
#[cfg(not(target_family = "wasm"))]
mod streaming;
#[cfg(all(feature = "tls", not(target_family = "wasm")))]
pub mod tls;
#[cfg(not(target_family = "wasm"))]
mod trace;
#[cfg(not(target_family = "wasm"))]
mod transport;
mod try_send;
#[cfg(target_family = "wasm")]
mod web;
#[cfg(not(target_family = "wasm"))]
mod websocket;
#[cfg(unix)]
mod worker;

/// Messages: their kinds, whole or piece by piece, compressed or not.
///
/// What [`send`](crate::WebSocket::send) is given decides the kind: `&str` and `String` are text,
/// `Vec<u8>`, `&[u8]` and `Bytes` are binary.
///
/// ```
/// use provod::Message;
/// use provod::message::MessageKind;
///
/// let text = Message::from("привет");
/// assert_eq!((text.kind(), text.len()), (MessageKind::Text, 12));
/// assert_eq!(text.as_text(), Some("привет"));
///
/// let binary = Message::from(vec![1, 2, 3]);
/// assert_eq!(binary.as_text(), None);
/// assert_eq!(binary.clone().into_bytes(), binary.as_bytes()); // shared, not copied
/// ```
///
/// To tell many the same, encode and compress it once:
///
/// ```no_run
/// # fn example(senders: Vec<provod::Sender>) {
/// use provod::Prepared;
///
/// let news = Prepared::from("the same for all");
/// for sender in &senders {
///     if sender.try_send_prepared(&news).is_err() {
///         println!("{sender:?} is too slow, or has gone");
///     }
/// }
/// # }
/// ```
pub mod message {
    pub use provod_proto::{Message, MessageKind, Utf8Bytes};

    #[cfg(not(target_family = "wasm"))]
    pub use crate::streaming::{MessageReader, MessageWriter};
    #[cfg(not(target_family = "wasm"))]
    pub use provod_proto::{Compress, Prepared};
}

/// How a connection ended (RFC 6455 section 7).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), provod::Error> {
/// use provod::CloseCode;
/// use provod::close::Cause;
///
/// let (mut client, mut server) = provod::pipe();
/// tokio::spawn(async move { client.close(4001, "the game is over").await });
/// assert_eq!(server.recv().await?, None);
///
/// let closed = server.closed().await;
/// assert_eq!(closed.cause, Cause::Peer); // who closed first
/// assert_eq!(closed.code(), CloseCode::from(4001));
/// let frame = closed.received.clone().flatten();
/// assert_eq!(frame.map(|frame| frame.reason.as_str().to_owned()), Some("the game is over".into()));
/// assert!(closed.is_clean() && closed.unsent == 0); // both said Close, nothing queued was lost
/// # Ok(())
/// # }
/// ```
pub mod close {
    pub use provod_proto::{Cause, CloseCode, CloseFrame, Closed};
}

/// What a handler may fail with: any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

pub use provod_proto as proto;
#[cfg(not(target_family = "wasm"))]
pub use provod_proto::Prepared;
pub use provod_proto::{CloseCode, Closed, Message, Utf8Bytes};

#[doc(inline)]
pub use client::{Client, connect};
#[doc(inline)]
pub use config::Config;
#[doc(inline)]
pub use error::Error;
#[cfg(not(target_family = "wasm"))]
#[doc(inline)]
pub use group::Group;
#[cfg(not(target_family = "wasm"))]
#[doc(inline)]
pub use handler::Handler;
#[cfg(not(target_family = "wasm"))]
pub use pipe::{pipe, pipe_with};
#[cfg(not(target_family = "wasm"))]
pub use receiver::Receiver;
#[doc(inline)]
pub use reconnect::Reconnecting;
#[cfg(not(target_family = "wasm"))]
pub use sender::Sender;
#[cfg(not(target_family = "wasm"))]
#[doc(inline)]
pub use server::{Server, serve};
#[cfg(target_family = "wasm")]
pub use web::{Receiver, Sender, WebSocket, client, config, error};
#[cfg(not(target_family = "wasm"))]
pub use websocket::WebSocket;
