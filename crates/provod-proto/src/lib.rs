//! The WebSocket protocol (RFC 6455) and permessage-deflate (RFC 7692) as pure state machines.
//!
//! No I/O, no clock, no randomness: bytes, time and masking keys are arguments, frames and timers
//! are results. [`Connection`] is one connection after the opening handshake and shows the run
//! loop; [`handshake`] is what comes before it. The crate `provod` drives both over tokio.
//!
//! Nothing that a peer sends makes this crate panic. A panic is a bug here, never input.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod assemble;
mod buffers;
mod close;
mod config;
mod connection;
pub mod deflate;
mod error;
mod event;
mod frame;
pub mod handshake;
mod keepalive;
mod mask;
mod message;
mod prepared;
#[cfg(any(test, feature = "raw"))]
pub mod raw;
mod receive;
mod send;
mod time;
mod timer;
mod utf8;

pub use buffers::Buffers;
pub use close::{Cause, CloseCode, CloseFrame, Closed};
pub use config::{Compression, Config, Keepalive, Limits, Side};
pub use connection::{Connection, DeflateSetup, Role};
pub use error::{Error, LimitError, ProtocolError, UsageError};
pub use event::{Event, Payload, Progress, TracedFrame, Whole};
pub use frame::{FrameHeader, OpCode, message_frame, message_header};
pub use mask::{MaskSource, apply_mask};
pub use message::{Message, MessageKind, MessageRef, Utf8Bytes};
pub use prepared::{Prepared, PreparedForm, PreparedFrames};
pub use send::Compress;
pub use time::Timestamp;
pub use timer::TimerKind;
