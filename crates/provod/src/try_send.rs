//! The error that gives a message back.

use std::fmt;

/// A message that [`try_send`](crate::Sender::try_send) did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrySendError<T> {
    /// The send queue is at its hard limit, since the peer reads too slowly; or a message is sent
    /// in pieces, and no other can be.
    Full(T),
    /// The connection is closing or closed.
    Closed(T),
}

impl<T> TrySendError<T> {
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn map<U>(self, f: impl FnOnce(T) -> U) -> TrySendError<U> {
        match self {
            Self::Full(message) => TrySendError::Full(f(message)),
            Self::Closed(message) => TrySendError::Closed(f(message)),
        }
    }

    /// The message.
    #[must_use]
    pub fn into_message(self) -> T {
        match self {
            Self::Full(message) | Self::Closed(message) => message,
        }
    }
}

impl<T> fmt::Display for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => {
                "the send queue is full: the peer reads too slowly, or a message is being streamed"
            }
            Self::Closed(_) => "the connection is closing or closed",
        })
    }
}

impl<T: fmt::Debug> std::error::Error for TrySendError<T> {}
