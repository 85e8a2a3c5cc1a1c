//! The server as a peer meets it: real sockets, raw bytes.
#![allow(clippy::unwrap_used)]

mod peer;
mod servers;

mod closing;
mod frames;
mod handshake;
