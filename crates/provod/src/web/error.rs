//! What can go wrong in a browser, which tells a page little about why.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use provod_proto::UsageError;

use crate::one_line::OneLine;

pub use crate::try_send::TrySendError;

/// Why an operation failed. Cloning shares it.
///
/// A browser hides from its pages why a connection was not opened or was lost, so that they cannot
/// explore the network: `Display` says what is known, and the browser's console often says more.
#[derive(Debug, Clone)]
pub struct Error(Arc<Kind>);

#[derive(Debug)]
pub(crate) enum Kind {
    /// The caller's doing.
    Usage(UsageError),
    /// An address or a subprotocol that the browser does not take.
    Refused(&'static str),
    /// A setting that cannot be.
    Setting(String),
    /// A close code that a page must not send.
    CloseCode(u16),
    /// The connection did not open.
    Connect(String),
    /// It did not open in time.
    Timeout(Duration),
    /// The connection is over or closing: nothing can be sent.
    Closed,
    /// It ended without a closing handshake.
    Lost,
    /// More was received than was taken.
    TooMuch(usize),
}

impl Error {
    pub(crate) fn new(kind: Kind) -> Self {
        Self(Arc::new(kind))
    }

    /// The URL, a subprotocol, a close code or another argument is not valid: nothing was tried.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(*self.0, Kind::Usage(_) | Kind::Refused(_) | Kind::Setting(_) | Kind::CloseCode(_))
    }

    /// The connection did not open: the server was not reached or did not agree. A browser does not
    /// tell which.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        matches!(*self.0, Kind::Connect(_))
    }

    /// Time ran out.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(*self.0, Kind::Timeout(_))
    }

    /// The connection was lost: it ended without a closing handshake.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        matches!(*self.0, Kind::Lost)
    }

    /// The connection is closing or closed, so nothing more can be sent.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(*self.0, Kind::Closed)
    }

    /// More was received than the application took:
    /// [`Config::receive_limit`](crate::Config::receive_limit).
    #[must_use]
    pub fn is_limit(&self) -> bool {
        matches!(*self.0, Kind::TooMuch(_))
    }
}

impl From<UsageError> for Error {
    fn from(e: UsageError) -> Self {
        Self::new(Kind::Usage(e))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(OneLine::new(f), "{}", self.0)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(e) => e.fmt(f),
            Self::Refused(why) => write!(f, "the browser does not take this address: {why}"),
            Self::Setting(what) => f.write_str(what),
            Self::CloseCode(code) => write!(
                f,
                "a page must not close with {code}: 1000 and 3000 to 4999 are for applications"
            ),
            Self::Connect(host) => write!(
                f,
                "cannot connect to {host}; the browser tells a page no more, its console may"
            ),
            Self::Timeout(limit) => write!(f, "connecting took longer than {limit:?}"),
            Self::Closed => f.write_str("the connection is closing or closed"),
            Self::Lost => f.write_str("the connection was lost: it ended without a Close frame"),
            Self::TooMuch(limit) => write!(
                f,
                "more than {limit} bytes were received and not taken: call recv() more often, or \
                 raise receive_limit"
            ),
        }
    }
}

impl std::error::Error for Error {}
