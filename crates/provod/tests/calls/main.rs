//! The server as a peer meets it, where the application is a [`provod::Handler`]: what the tests of
//! the other kind say of an echo server holds here too, and what handlers alone can do.
#![allow(clippy::unwrap_used)]

#[path = "../it/hall.rs"]
mod hall;
#[path = "../it/servers.rs"]
#[allow(dead_code)] // Its echo server is the other kind's.
mod others;
#[path = "../it/peer.rs"]
mod peer;
mod servers;

#[path = "../it/budget.rs"]
mod budget;
#[path = "../it/closing.rs"]
mod closing;
#[path = "../it/draining.rs"]
mod draining;
mod floods;
#[path = "../it/frames.rs"]
mod frames;
#[path = "../it/group.rs"]
mod group;
mod handlers;
mod neighbours;
#[path = "../it/observing.rs"]
mod observing;
mod panics;
#[path = "../it/resets.rs"]
mod resets;
mod rooms;
mod stuck;
