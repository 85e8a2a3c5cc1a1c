//! What can go wrong, as one opaque type with questions.

use std::fmt;
use std::io;
use std::sync::Arc;

use provod_proto::{self as proto, CloseCode, UsageError};

/// Why an operation failed. Cloning shares it.
///
/// `Display` gives one line with the cause; the questions tell programs what to do about it.
#[derive(Clone)]
pub struct Error(Arc<Kind>);

#[derive(Debug)]
pub(crate) enum Kind {
    /// The peer broke the protocol or hit a limit.
    Peer(proto::Error),
    /// The caller's doing.
    Usage(UsageError),
    /// The connection is over or closing: nothing can be sent.
    Closed,
    /// The stream ended without a Close frame.
    Ended,
    /// The transport broke.
    Transport(io::Error),
    /// No sign of life after a Ping.
    Silent,
    /// The closing handshake did not end in time.
    CloseTimeout,
    /// This end gave the connection up, as at the end of a drain.
    Aborted,
    /// An address cannot be listened on.
    Listen { address: String, source: io::Error },
    /// A setting that cannot be.
    Setting(String),
    /// A worker thread or runtime cannot be started.
    Start(io::Error),
}

impl Error {
    pub(crate) fn new(kind: Kind) -> Self {
        Self(Arc::new(kind))
    }

    /// Time ran out: the peer was silent, or did not end the closing handshake.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(*self.0, Kind::Silent | Kind::CloseTimeout)
    }

    /// The connection was lost: the stream ended or broke, or time ran out, without a closing
    /// handshake.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        matches!(
            *self.0,
            Kind::Ended | Kind::Transport(_) | Kind::Silent | Kind::CloseTimeout | Kind::Aborted
        )
    }

    /// The connection is closing or closed, so nothing more can be sent.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(*self.0, Kind::Closed)
    }

    /// The peer broke a rule of the protocol.
    #[must_use]
    pub fn is_protocol(&self) -> bool {
        matches!(*self.0, Kind::Peer(proto::Error::Protocol(_)))
    }

    /// The peer hit a limit, such as the longest message, or the connection had to give way because
    /// a [`MemoryBudget`](crate::MemoryBudget) was used up.
    #[must_use]
    pub fn is_limit(&self) -> bool {
        matches!(*self.0, Kind::Peer(proto::Error::Limit(_)))
    }

    /// The address is in use already.
    #[must_use]
    pub fn is_address_in_use(&self) -> bool {
        matches!(&*self.0, Kind::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse)
    }

    /// The close code that this end sent because of the error (RFC 6455 section 7.4.1).
    #[must_use]
    pub fn close_code(&self) -> Option<CloseCode> {
        match &*self.0 {
            Kind::Peer(e) => e.close_code(),
            _ => None,
        }
    }

    /// The protocol's own word for the violation or limit.
    #[must_use]
    pub fn as_protocol(&self) -> Option<&proto::Error> {
        match &*self.0 {
            Kind::Peer(e) => Some(e),
            _ => None,
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Kind::Peer(proto::Error::Limit(proto::LimitError::MemoryBudget)) => f.write_str(
                "the memory budget is used up and this connection held the most: raise the budget, \
                 or lower what one connection may hold",
            ),
            Kind::Peer(e) => e.fmt(f),
            Kind::Usage(e) => e.fmt(f),
            Kind::Closed => f.write_str("the connection is closing or closed"),
            Kind::Ended => f.write_str("the connection was lost: it ended without a Close frame"),
            Kind::Transport(e) => write!(f, "the connection was lost: {e}"),
            Kind::Silent => {
                f.write_str("the connection was lost: no sign of life from the peer after a Ping")
            }
            Kind::CloseTimeout => {
                f.write_str("the connection was lost: the closing handshake did not end in time")
            }
            Kind::Aborted => f.write_str("the connection was given up by this end"),
            Kind::Listen { address, source } => match source.kind() {
                io::ErrorKind::AddrInUse => write!(
                    f,
                    "cannot listen on {address}: the address is in use; stop the other program or \
                     choose another port"
                ),
                io::ErrorKind::PermissionDenied => write!(
                    f,
                    "cannot listen on {address}: permission denied; ports below 1024 need a \
                     privilege, choose another port"
                ),
                _ => write!(f, "cannot listen on {address}: {source}"),
            },
            Kind::Setting(what) => f.write_str(what),
            Kind::Start(e) => write!(f, "cannot start a worker: {e}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &*self.0 {
            Kind::Transport(e) | Kind::Start(e) => Some(e),
            Kind::Listen { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<UsageError> for Error {
    fn from(e: UsageError) -> Self {
        Self::new(match e {
            UsageError::Closing => Kind::Closed,
            e => Kind::Usage(e),
        })
    }
}

impl From<proto::Error> for Error {
    fn from(e: proto::Error) -> Self {
        match e {
            proto::Error::Usage(e) => e.into(),
            e => Self::new(Kind::Peer(e)),
        }
    }
}

/// A message that [`try_send`](crate::Sender::try_send) did not take.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum TrySendError<T> {
    /// The send queue is at its hard limit: the peer reads too slowly.
    Full(T),
    /// The connection is closing or closed.
    Closed(T),
}

impl<T> TrySendError<T> {
    /// The message.
    pub fn into_message(self) -> T {
        match self {
            Self::Full(message) | Self::Closed(message) => message,
        }
    }
}

impl<T> fmt::Display for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the send queue is full: the peer reads too slowly",
            Self::Closed(_) => "the connection is closing or closed",
        })
    }
}

impl<T: fmt::Debug> std::error::Error for TrySendError<T> {}
