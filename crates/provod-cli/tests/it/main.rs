//! The command `provod`, run as a user runs it.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "../../../provod/tests/it/peer.rs"]
mod peer;
mod process;

mod hostile;
mod options;
mod page;
mod rooms;
#[cfg(unix)]
mod signals;
mod usage;
