//! What can go wrong with a connection or a message, counted by kind.

use std::collections::BTreeMap;
use std::fmt;
use std::io;

/// So many are told in full.
const TOLD: usize = 5;

/// One thing that went wrong.
#[derive(Debug)]
pub(super) enum Wrong {
    /// The TCP connection was not made, or broke.
    Io(&'static str, io::Error),
    /// The answer to the request is not the right one.
    Handshake(String),
    /// Nothing came in time.
    Timeout(&'static str),
    /// The server's bytes are no frames, or none that may come here.
    Protocol(&'static str),
    /// The server closed, with this code and reason.
    Closed(String),
    /// A reply of another opcode.
    Opcode(u8),
    /// A reply of another length: that of the reply, and that of the message.
    Length(u64, u64),
    /// A reply with other bytes, from this position on.
    Content(u64),
    /// A reply that was due at another place.
    Order(String),
    /// A reply to nothing.
    Unasked,
    /// A compressed reply that cannot be inflated, or one where nothing was agreed.
    Compression(&'static str),
    /// So many replies that never came.
    Missing(u64),
}

impl Wrong {
    /// From the payload of a Close frame.
    pub(super) fn close(payload: &[u8]) -> Self {
        Self::Closed(match payload {
            [a, b, reason @ ..] => {
                let code = u16::from_be_bytes([*a, *b]);
                format!("{code} {}", crate::escape::line(reason)).trim_end().to_owned()
            }
            _ => "no code".to_owned(),
        })
    }

    /// The kind, as reports name it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Io(what, _) => what,
            Self::Handshake(_) => "handshake",
            Self::Timeout(_) => "timeout",
            Self::Protocol(_) => "protocol",
            Self::Closed(_) => "closed",
            Self::Opcode(_) => "opcode",
            Self::Length(..) => "length",
            Self::Content(_) => "content",
            Self::Order(_) => "order",
            Self::Unasked => "unasked",
            Self::Compression(_) => "compression",
            Self::Missing(_) => "missing",
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(what, e) => write!(f, "{what}: {e}"),
            Self::Handshake(why) => write!(f, "handshake: {why}"),
            Self::Timeout(what) => write!(f, "timeout: {what}"),
            Self::Protocol(what) => write!(f, "the server sent {what}"),
            Self::Closed(how) => write!(f, "the server closed: {how}"),
            Self::Opcode(got) => write!(f, "a reply with opcode {got}"),
            Self::Length(got, want) => write!(f, "a reply of {got} bytes to a message of {want}"),
            Self::Content(at) => write!(f, "a reply with other bytes from {at} on"),
            Self::Order(what) => write!(f, "out of order: {what}"),
            Self::Unasked => f.write_str("a reply to nothing"),
            Self::Compression(what) => f.write_str(what),
            Self::Missing(n) => write!(f, "{n} replies never came"),
        }
    }
}

/// Counts of failures, and the first of them in words.
#[derive(Debug, Default, Clone)]
pub(super) struct Failures {
    pub(super) by_kind: BTreeMap<&'static str, u64>,
    pub(super) first: Vec<String>,
}

impl Failures {
    #[cold]
    pub(super) fn add(&mut self, connection: usize, wrong: &Wrong) {
        let n = if let Wrong::Missing(n) = wrong { *n } else { 1 };
        *self.by_kind.entry(wrong.kind()).or_default() += n;
        if self.first.len() < TOLD {
            self.first.push(format!("connection {connection}: {wrong}"));
        }
    }

    pub(super) fn total(&self) -> u64 {
        self.by_kind.values().sum()
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (kind, n) in other.by_kind {
            *self.by_kind.entry(kind).or_default() += n;
        }
        self.first.extend(other.first);
        self.first.truncate(TOLD);
    }
}
