//! The WebSocket protocol as pure state machines.
#![forbid(unsafe_code)]

mod close;
pub mod deflate;
mod error;
pub mod handshake;

pub use close::CloseCode;
pub use error::{Error, LimitError, ProtocolError, UsageError};
