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
//! - [`connect`] opens a WebSocket as a client, [`Client`] sets everything about how: headers,
//!   subprotocols, compression, a time limit for each step.
//! - [`serve`] starts a server with all defaults, [`Server`] sets everything: addresses, limits,
//!   origins, compression, workers, an answer for each request, a graceful drain.
//! - [`WebSocket`] receives and sends; its [`Sender`] can be cloned and given to any task.
//! - [`Group`] sends one message to many, encoded and compressed once; what happens to those who
//!   read too slowly is a [`SlowPolicy`]. A [`MemoryBudget`] bounds all connections together.
//! - [`Client::connect_over`] and [`Server::accept_over`] work on any stream; [`pipe`] connects two
//!   ends in memory, for tests.
//! - The protocol itself is the crate [`provod_proto`], re-exported as [`proto`].
//!
//! Nothing needs to be flushed, Pings are answered and a silent peer is noticed whatever the
//! application does, every queue is bounded, and each future says whether it is cancel safe.

mod budget;
mod client;
mod config;
mod counters;
mod driver;
mod error;
mod futures;
mod group;
mod one_line;
mod pipe;
mod receiver;
mod runtime;
mod sender;
mod server;
mod streaming;
mod trace;
mod transport;
mod websocket;

/// What a handler may fail with: any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

pub use provod_proto as proto;
pub use provod_proto::deflate::{Level, Pool};
pub use provod_proto::handshake::{DeflateConfig, HeadLimits, OriginPolicy, Response};
pub use provod_proto::{
    Cause, CloseCode, CloseFrame, Closed, Compress, Compression, Keepalive, Limits, Message,
    MessageKind, Prepared, Utf8Bytes,
};

pub use budget::MemoryBudget;
pub use client::{Client, HttpResponse, connect};
pub use config::Config;
pub use counters::{Counters, Stats};
pub use error::{Error, TrySendError};
pub use group::{Group, Member, Published, SlowPolicy};
pub use pipe::{pipe, pipe_with};
pub use receiver::Receiver;
pub use sender::Sender;
pub use server::{Accept, Address, Drain, Request, Running, Server, serve};
pub use streaming::{MessageReader, MessageWriter};
pub use websocket::WebSocket;

/// The examples of the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
