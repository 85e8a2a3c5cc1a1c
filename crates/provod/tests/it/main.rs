//! The server as a peer meets it: real sockets, raw bytes.
#![allow(clippy::unwrap_used)]

mod peer;
mod servers;

mod client;
mod closing;
mod draining;
mod frames;
mod handshake;
mod keepalive;
mod observing;
mod sending;
#[cfg(unix)]
mod sockets;
mod splitting;
mod streaming;
