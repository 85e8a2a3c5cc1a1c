//! Test kit for WebSocket programs.
//!
//! [`fuzz`] holds the bodies of the fuzz targets.

pub mod emulator;
pub mod fuzz;
pub mod pair;
pub mod peer;
mod random;

pub use provod_proto as proto;
