//! Test kit for WebSocket programs.
//!
//! [`fuzz`] holds the bodies of the fuzz targets.

pub mod emulator;
pub mod fuzz;
mod random;

pub use provod_proto as proto;
