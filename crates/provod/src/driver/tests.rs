//! The driver over transports that play a script.
#![allow(clippy::unwrap_used)]

mod cancelling;
mod gate;
mod life;
mod peers;
mod reading;
mod roles;
mod script;
mod turns;
mod vectors;
