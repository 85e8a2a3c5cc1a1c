//! Test kit for WebSocket programs.
//!
//! [`fuzz`] holds the bodies of the fuzz targets.

pub mod fuzz;
