//! WebSocket for Rust.
mod config;
mod counters;
mod driver;
mod error;
mod trace;
mod transport;
mod websocket;

/// What a handler may fail with: any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub use config::Config;
pub use counters::Stats;
pub use error::{Error, TrySendError};
pub use websocket::{Sender, WebSocket};
