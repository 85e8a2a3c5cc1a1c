//! The command `provod`, run as a user runs it.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "../../../provod/tests/it/peer.rs"]
mod peer;
mod process;
mod visitor;

mod bench;
mod connect;
mod connect_again;
mod connect_end;
mod connect_exit;
#[cfg(unix)]
mod connect_terminal;
mod hostile;
mod options;
mod page;
#[cfg(target_os = "linux")]
mod resets;
mod room_protocol;
mod rooms;
#[cfg(unix)]
mod signals;
mod usage;
