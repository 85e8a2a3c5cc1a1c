//! What can be set about a connection in a browser.

use std::time::Duration;

/// The settings of a connection in a browser. How long messages may be, Pings and compression are
/// the browser's own affair: a page cannot set them.
///
/// ```
/// let mut config = provod::Config::default();
/// config.high_water = 16 << 10;
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// [`send`](crate::WebSocket::send) waits while the browser holds this many bytes that it has
    /// not sent. Default: 64 KiB.
    pub high_water: usize,
    /// [`try_send`](crate::Sender::try_send) refuses while the browser holds this many. Default: 1
    /// MiB.
    pub hard_limit: usize,
    /// A page cannot slow its server down: what is received and not taken waits in memory. When it
    /// is more than this many bytes, of which each message counts 64 more than it has, the connection
    /// is closed with 4009. Default: 64 MiB.
    pub receive_limit: usize,
    /// [`close`](crate::WebSocket::close) ends within this time; the browser may go on trying.
    /// Default: 5 s.
    pub close_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            high_water: 64 << 10,
            hard_limit: 1 << 20,
            receive_limit: 64 << 20,
            close_timeout: Duration::from_secs(5),
        }
    }
}
