//! The command `provod`, run as a user runs it.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "../../../provod/tests/it/client/certificates.rs"]
mod certificates;
#[allow(dead_code)]
#[path = "../../../provod/tests/it/peer.rs"]
mod peer;
mod process;
mod visitor;

mod bench;
mod connect;
mod connect_end;
mod connect_exit;
mod connect_network;
#[cfg(unix)]
mod connect_terminal;
mod hostile;
mod options;
mod page;
#[cfg(target_os = "linux")]
mod resets;
mod room_protocol;
mod rooms;
mod secure;
#[cfg(unix)]
mod signals;
mod usage;
