//! TLS (RFC 8446) for clients and servers, over rustls.
//!
//! The crypto provider is always passed along: nothing here reads or sets the process-wide default,
//! so that it does not matter which ones the rest of a program brings.

mod client;
mod fault;
mod key_log;
pub(crate) mod pem;
mod server;
mod stream;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use client::ClientTls;
/// The version of rustls whose configurations are taken here.
pub use rustls;
pub use server::ServerTls;

pub(crate) use client::{Connector, With, handshake};
#[cfg(feature = "http2")]
pub(crate) use fault::inner;
pub(crate) use fault::{failed, is_tls};
pub(crate) use server::Terms;
pub(crate) use stream::Secure;

/// The cryptography that is used wherever the application does not bring a configuration of its
/// own.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
