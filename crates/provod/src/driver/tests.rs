//! The driver over transports that play a script.

mod script;
mod vectors;
