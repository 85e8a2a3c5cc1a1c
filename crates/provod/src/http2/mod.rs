//! What a server and a client of WebSockets over HTTP/2 (RFC 8441) have in common.
//!
//! A connection of HTTP/2 is one task, which moves frames for its streams; a WebSocket on a stream
//! has a driver as on a socket, and [`Http2Stream`] is what the driver sees of it.

mod stream;

use std::io;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::Config;

pub(crate) use stream::Http2Stream;

/// A peer may send so much on a stream before it is read, and on a connection so much for each
/// stream: one that is not read takes nothing from the others.
const WINDOW: usize = 64 << 10;
const MOST_WINDOW: usize = 16 << 20;
/// Bytes of a stream that were written and have not left.
pub(crate) const SEND_BUFFER: usize = 64 << 10;
/// Streams that were reset, and are remembered for a second so that frames that are on their way
/// harm nobody.
pub(crate) const RESET_STREAMS: usize = 50;
/// Resets that the peer's faults may cost.
pub(crate) const FAULTS: usize = 100;
/// Streams that the peer may open and reset before anybody has looked at them.
pub(crate) const UNSEEN_RESETS: usize = 20;

/// How much may be in flight towards this end.
pub(crate) struct Windows {
    pub(crate) stream: u32,
    pub(crate) connection: u32,
    /// What small frames may cost beside their bytes until they are taken over. A stream full of
    /// frames of one byte is not a fault: each of its bytes may cost 256.
    pub(crate) overhead: usize,
}

impl Windows {
    pub(crate) fn new(config: &Config, streams: usize) -> Self {
        let stream = config.read_ahead.clamp(WINDOW, MOST_WINDOW);
        // RFC 9113 section 6.9.1.
        let connection = stream.saturating_mul(streams.max(1)).min(i32::MAX as usize);
        let overhead = stream.saturating_mul(256);
        Self { stream: stream as u32, connection: connection as u32, overhead }
    }
}

const SECRET: [&str; 4] = ["authorization", "cookie", "proxy-authorization", "set-cookie"];

/// Fields as the `http` crate has them. Those that it does not take are left out: they were checked
/// when they were set.
pub(crate) fn header_map(fields: Vec<(String, Vec<u8>)>) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes());
        let value = HeaderValue::from_maybe_shared(Bytes::from(value));
        if let (Ok(name), Ok(mut value)) = (name, value) {
            // No table that compresses heads keeps them (RFC 7541 section 7.1.3).
            value.set_sensitive(SECRET.contains(&name.as_str()));
            let _ = map.try_append(name, value);
        }
    }
    map
}

/// The fields of a head of the `http` crate.
pub(crate) fn fields(map: &HeaderMap) -> impl Iterator<Item = (&str, &[u8])> {
    map.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
}

/// What an error of HTTP/2 means to one stream.
pub(crate) fn io_error(e: h2::Error) -> io::Error {
    use io::ErrorKind;
    let reason = e.reason();
    let word = || reason.map_or_else(String::new, |reason| format!("{reason:?}"));
    let (kind, what) = match (e.is_reset(), e.is_go_away(), e.is_remote()) {
        (true, _, true) => (
            ErrorKind::ConnectionReset,
            format!("the peer reset the HTTP/2 stream with {} (RFC 9113 section 7)", word()),
        ),
        (true, _, false) => (
            ErrorKind::InvalidData,
            format!("the peer broke the rules of HTTP/2 on this stream: {}", word()),
        ),
        (_, true, true) => (
            ErrorKind::ConnectionAborted,
            format!("the peer ended the HTTP/2 connection with {}", word()),
        ),
        (_, true, false) => {
            (ErrorKind::InvalidData, format!("the peer broke the rules of HTTP/2: {}", word()))
        }
        _ => match e.get_io().map(io::Error::kind) {
            Some(kind) => (kind, format!("the HTTP/2 connection broke: {e}")),
            None => (ErrorKind::Other, format!("HTTP/2: {e}")),
        },
    };
    io::Error::new(kind, what)
}
