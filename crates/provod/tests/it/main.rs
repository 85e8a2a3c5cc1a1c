//! The server as a peer meets it: real sockets, raw bytes.
#![allow(clippy::unwrap_used)]

mod peer;
mod servers;

mod budget;
mod client;
mod closing;
mod draining;
mod faults;
mod frames;
mod group;
mod hall;
mod handshake;
#[cfg(feature = "http2")]
mod http2;
mod keepalive;
mod members;
mod observing;
mod over;
mod proxied;
mod resets;
mod scripted;
mod sending;
#[cfg(unix)]
mod sockets;
mod splitting;
mod streaming;
#[cfg(feature = "tls")]
mod tls;
