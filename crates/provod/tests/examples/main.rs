//! The crate's examples as programs, each with those who would talk to it.
//!
//! `cargo test` builds examples unless it is told to test something else; for one test alone build
//! them first: `cargo build -p provod --all-features --examples`.
#![allow(clippy::unwrap_used)]

mod program;

mod axum_app;
mod behind_a_proxy;
mod chat_rooms;
mod echo_server;
#[cfg(unix)]
mod graceful_restart;
mod whole;
