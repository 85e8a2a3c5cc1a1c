//! The settings of a connection, and what connections share.

use std::time::Duration;

use provod_proto as proto;

pub use provod_proto::deflate::Level;
pub use provod_proto::handshake::{DeflateConfig, DeflateParams, HeadLimits};
pub use provod_proto::{Compression, Keepalive, Limits};

pub use crate::budget::MemoryBudget;

/// The settings of a connection. All have defaults that are safe on the open internet.
///
/// ```
/// use std::time::Duration;
///
/// use provod::config::Keepalive;
///
/// let mut config = provod::Config::default();
/// config.limits.max_message = 64 << 10;
/// config.close_timeout = Duration::from_secs(2);
/// // A vanished peer is noticed after 15 s instead of 45.
/// config.keepalive = Some(Keepalive::new(Duration::from_secs(10), Duration::from_secs(5)));
/// // Compression, where it is agreed, from 256 bytes on.
/// config.compression.threshold = 256;
///
/// let server = provod::Server::new().config(config.clone());
/// let client = provod::Client::new("ws://example.com/").config(config);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// How long and in how many pieces a message may be. Default: 16 MiB, 131,072 frames.
    pub limits: Limits,
    /// Pings every 25 s and gives a silent peer up 20 s after one; `None` switches both off, and
    /// a peer that has vanished is then noticed only when something is sent, or never.
    pub keepalive: Option<Keepalive>,
    /// The closing handshake ends within this time; zero does not wait for the peer. Default: 5 s.
    pub close_timeout: Duration,
    /// After this end's own Close, that time starts anew with each frame that still comes, so that
    /// the peer can say all it has left; while messages wait to be taken and nothing is read, it
    /// does not run. So a peer that never ends, or an application that takes nothing, puts the end
    /// off for ever. Default: off, the time is absolute.
    pub close_extends: bool,
    /// Which messages are compressed and how hard, where compression was negotiated.
    pub compression: Compression,
    /// [`send`](crate::WebSocket::send) waits while this many bytes are queued; with 0, until
    /// all before it has left. Default: 64 KiB.
    pub high_water: usize,
    /// [`try_send`](crate::Sender::try_send) refuses while this many bytes are queued, and so does
    /// a [`Group`](crate::Group) by its member's policy; 0 refuses everything. Default: 1 MiB.
    pub hard_limit: usize,
    /// Received messages wait for the application up to about this many bytes; then the connection
    /// is not read, and the peer feels it. Default: 64 KiB.
    pub read_ahead: usize,
    /// A wire trace, where one is on, shows this many of the first bytes of each payload. Default:
    /// 0.
    pub trace_payload: usize,
}

impl Default for Config {
    fn default() -> Self {
        let core = proto::Config::default();
        Self {
            limits: core.limits,
            keepalive: core.keepalive,
            close_timeout: core.close_timeout,
            close_extends: core.close_extends,
            compression: core.compression,
            high_water: 64 << 10,
            hard_limit: 1 << 20,
            read_ahead: 64 << 10,
            trace_payload: 0,
        }
    }
}

impl Config {
    /// What of it concerns the core. The wire trace is on when the target `provod::wire` is at
    /// trace level.
    pub(crate) fn core(&self) -> proto::Config {
        let mut core = proto::Config::default();
        core.limits = self.limits;
        core.keepalive = self.keepalive;
        core.close_timeout = self.close_timeout;
        core.close_extends = self.close_extends;
        core.compression = self.compression;
        core.trace = crate::trace::is_on();
        core.trace_payload = self.trace_payload;
        core
    }
}
