//! Clients that connect again, against servers that come and go.
#![allow(clippy::unwrap_used)]

mod callbacks;
mod clock;
mod cuts;
mod endings;
mod outbox;
mod restarts;
mod servers;
