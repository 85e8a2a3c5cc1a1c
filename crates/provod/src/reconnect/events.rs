//! What a client that connects again tells.

use std::fmt;
use std::time::Duration;

use provod_proto::{Closed, Message};

use super::lost::Lost;

/// What happens to a [`Reconnecting`](crate::Reconnecting).
///
/// The order is `Connecting`, then `Open` with any number of `Message`, or not; `Lost`; then
/// `Waiting` and again `Connecting`, or `Closed`, which is the last one.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// An attempt begins, the how-manieth in a row: counting begins anew behind a connection that
    /// was open for [`Backoff::stable`](super::Backoff::stable).
    Connecting(u32),
    /// The connection is open, and what [`on_open`](super::Setup::on_open) does has been done.
    Open,
    /// A message came.
    Message(Message),
    /// The attempt failed, or the connection was lost.
    Lost(Lost),
    /// The next attempt begins in so long, or with
    /// [`retry_now`](crate::Reconnecting::retry_now).
    Waiting(Duration),
    /// There will be no further attempt.
    Closed(Ended),
}

/// Why there is no further attempt. `Display` gives one printable line.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Ended {
    /// This end closed; with how the connection ended, where one was open and was not lost.
    Closed(Option<Closed>),
    /// What the connection was lost by says that it is of no use to try again.
    GaveUp(Lost),
    /// The last loss after [`Backoff::attempts`](super::Backoff::attempts), or when
    /// [`Backoff::elapsed`](super::Backoff::elapsed) was over.
    Exhausted(Lost),
    /// The task that connects was ended: by a panic in a callback, or with its runtime.
    Stopped,
}

impl Ended {
    /// The last loss, where that is what ended it.
    #[must_use]
    pub fn lost(&self) -> Option<&Lost> {
        match self {
            Self::GaveUp(lost) | Self::Exhausted(lost) => Some(lost),
            Self::Closed(_) | Self::Stopped => None,
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(_) => f.write_str("closed by this end"),
            Self::GaveUp(lost) => write!(f, "given up: {lost}"),
            Self::Exhausted(lost) => write!(f, "given up after too many attempts: {lost}"),
            Self::Stopped => f.write_str("stopped: a callback panicked, or the runtime ended"),
        }
    }
}
