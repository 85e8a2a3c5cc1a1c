//! The client in a browser: the page's own WebSocket, under the names of this crate.
//!
//! Everything runs in the one thread of a page or of a worker, so nothing here is `Send`.

pub mod client;
pub mod config;
pub mod error;
mod shared;
pub(crate) mod timer;
mod websocket;

pub(crate) use shared::{LOOK, close_frame};
pub use websocket::{Receiver, Sender, WebSocket};
