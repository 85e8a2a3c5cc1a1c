//! WebSockets from requests that hyper or axum has read: real servers, our client, raw bytes, and
//! HTTP/2 by hand.
#![allow(clippy::unwrap_used)]

mod servers;
mod streams;

mod ending;
mod http1;
mod http2;
mod refusals;
#[cfg(all(feature = "tls", feature = "http2"))]
mod tls;
mod workers;
