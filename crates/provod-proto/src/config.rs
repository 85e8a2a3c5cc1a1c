//! What a connection may do and how much of it.

use std::sync::Arc;
use std::time::Duration;

use crate::buffers::Buffers;
use crate::deflate::Level;

/// One of the two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The end that opened the connection. It masks its frames (RFC 6455 section 5.3).
    Client,
    /// The end that was connected to. It closes TCP first (RFC 6455 section 7.1.1).
    Server,
}

impl Side {
    /// The other end.
    #[must_use]
    pub fn peer(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// How much a peer may make this end hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The longest message, in bytes after inflating; 0 leaves only empty ones. Default: 16 MiB.
    pub max_message: u64,
    /// The most frames in one message, empty ones included. Default: 131,072.
    pub max_fragments: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_message: 16 << 20, max_fragments: 131_072 }
    }
}

/// When this end pings, and when a silent peer is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Keepalive {
    /// A Ping is sent this often, at most every millisecond. Default: 25 s.
    pub interval: Duration,
    /// A peer that shows no sign of life for this long after a Ping is lost. Default: 20 s.
    pub timeout: Duration,
}

impl Keepalive {
    /// Pings every `interval`, gives a silent peer `timeout` after each.
    #[must_use]
    pub fn new(interval: Duration, timeout: Duration) -> Self {
        Self { interval, timeout }
    }
}

impl Default for Keepalive {
    fn default() -> Self {
        Self::new(Duration::from_secs(25), Duration::from_secs(20))
    }
}

/// How messages are compressed where permessage-deflate was negotiated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compression {
    /// Messages below this many bytes leave uncompressed. Default: 1024.
    pub threshold: usize,
    /// How hard to compress. Default: 3.
    pub level: Level,
}

impl Default for Compression {
    fn default() -> Self {
        Self { threshold: 1024, level: Level::default() }
    }
}

/// Everything about a connection that does not come out of the opening handshake. Shared by many
/// connections.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// How much a peer may make this end hold.
    pub limits: Limits,
    /// Pings and the pong deadline; `None` switches both off.
    pub keepalive: Option<Keepalive>,
    /// The closing handshake ends within this time. Default: 5 s.
    pub close_timeout: Duration,
    /// After this end's own Close, the time starts anew with each frame that still comes, so that
    /// a peer can say all it has left. Default: off, the time is absolute.
    pub close_extends: bool,
    /// Longer messages leave as fragments of this many bytes, so that a Pong can pass between
    /// them. Default: 256 KiB.
    pub fragment_size: usize,
    /// How messages are compressed where that was negotiated.
    pub compression: Compression,
    /// A message's buffer grows at most to twice what has arrived. Messages up to this many bytes
    /// may be given room for all that their header claims, which spares copying them as they grow:
    /// as long as all such room in the process is below 64 MiB, so that claims cost an attacker
    /// nothing. 0 is for those who count their memory. Default: 4 MiB.
    pub advance: usize,
    /// Buffers of messages that [`advance`](Self::advance) is for are kept here to be used again.
    /// Default: they are not kept.
    pub buffers: Option<Arc<Buffers>>,
    /// Note the header of each frame for
    /// [`Connection::poll_trace`](crate::Connection::poll_trace).
    pub trace: bool,
    /// Note also this many of the first bytes of each payload. Default: 0.
    pub trace_payload: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            keepalive: Some(Keepalive::default()),
            close_timeout: Duration::from_secs(5),
            close_extends: false,
            fragment_size: 256 << 10,
            compression: Compression::default(),
            advance: 4 << 20,
            buffers: None,
            trace: false,
            trace_payload: 0,
        }
    }
}
