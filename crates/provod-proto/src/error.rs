//! Errors, sorted by who is at fault: the peer, a limit, or the caller.

use std::fmt;

use crate::close::CloseCode;

/// Why a connection failed, or why a call was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The peer broke a rule of RFC 6455 or RFC 7692. The connection is failed.
    Protocol(ProtocolError),
    /// A configured limit was hit. The connection is failed.
    Limit(LimitError),
    /// The caller used the connection in a way its state does not allow. Nothing was changed.
    Usage(UsageError),
}

impl Error {
    /// The close code that tells the peer about this error (RFC 6455 section 7.4.1); `None` when
    /// the peer is not concerned.
    #[must_use]
    pub fn close_code(&self) -> Option<CloseCode> {
        match self {
            Self::Protocol(e) => Some(e.close_code()),
            Self::Limit(e) => Some(e.close_code()),
            Self::Usage(_) => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(e) => write!(f, "the peer broke the protocol: {e}"),
            Self::Limit(e) => write!(f, "a limit was hit: {e}"),
            Self::Usage(e) => write!(f, "wrong use: {e}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<ProtocolError> for Error {
    fn from(e: ProtocolError) -> Self {
        Self::Protocol(e)
    }
}
impl From<LimitError> for Error {
    fn from(e: LimitError) -> Self {
        Self::Limit(e)
    }
}
impl From<UsageError> for Error {
    fn from(e: UsageError) -> Self {
        Self::Usage(e)
    }
}

/// A sentence of the RFCs that the peer violated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A reserved bit was set that no negotiated extension defines (RFC 6455 section 5.2).
    ReservedBits,
    /// RSV1 on a continuation frame (RFC 7692 section 6.1).
    CompressedContinuation,
    /// RSV1 on a control frame (RFC 7692 section 6.1).
    CompressedControl,
    /// An opcode that is not defined (RFC 6455 section 5.2).
    ReservedOpcode,
    /// A client frame that is not masked (RFC 6455 section 5.1).
    UnmaskedClientFrame,
    /// A server frame that is masked (RFC 6455 section 5.1).
    MaskedServerFrame,
    /// A payload length that is not encoded in the minimal number of bytes (RFC 6455 section 5.2).
    LengthNotMinimal,
    /// A 64-bit payload length with the most significant bit set (RFC 6455 section 5.2).
    LengthTooLarge,
    /// A control frame that is fragmented (RFC 6455 section 5.5).
    FragmentedControl,
    /// A control frame with more than 125 bytes of payload (RFC 6455 section 5.5).
    ControlTooLong,
    /// A continuation frame with no message to continue (RFC 6455 section 5.4).
    UnexpectedContinuation,
    /// A new data frame inside a fragmented message (RFC 6455 section 5.4).
    ExpectedContinuation,
    /// A text message that is not UTF-8 (RFC 6455 section 8.1).
    InvalidUtf8,
    /// A Close frame with a payload of one byte (RFC 6455 section 5.5.1).
    CloseLength,
    /// A Close frame with a code that must not be sent (RFC 6455 section 7.4).
    CloseCode,
    /// A Close reason that is not UTF-8 (RFC 6455 section 5.5.1).
    CloseReason,
    /// Compressed data that is not DEFLATE (RFC 7692 section 7.2.2).
    InvalidDeflate,
}

impl ProtocolError {
    /// The close code this violation maps to (RFC 6455 section 7.4.1).
    #[must_use]
    pub fn close_code(self) -> CloseCode {
        match self {
            Self::InvalidUtf8 | Self::CloseReason | Self::InvalidDeflate => CloseCode::INVALID_DATA,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }

    /// The violated rule in one line, with its section.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::ReservedBits => "a reserved bit is set (RFC 6455 section 5.2)",
            Self::CompressedContinuation => "RSV1 on a continuation frame (RFC 7692 section 6.1)",
            Self::CompressedControl => "RSV1 on a control frame (RFC 7692 section 6.1)",
            Self::ReservedOpcode => "a reserved opcode (RFC 6455 section 5.2)",
            Self::UnmaskedClientFrame => "a client frame is not masked (RFC 6455 section 5.1)",
            Self::MaskedServerFrame => "a server frame is masked (RFC 6455 section 5.1)",
            Self::LengthNotMinimal => "a length is not minimally encoded (RFC 6455 section 5.2)",
            Self::LengthTooLarge => "a length above 2^63-1 (RFC 6455 section 5.2)",
            Self::FragmentedControl => "a fragmented control frame (RFC 6455 section 5.5)",
            Self::ControlTooLong => "a control frame above 125 bytes (RFC 6455 section 5.5)",
            Self::UnexpectedContinuation => {
                "a continuation frame outside a message (RFC 6455 section 5.4)"
            }
            Self::ExpectedContinuation => {
                "a new message inside a fragmented one (RFC 6455 section 5.4)"
            }
            Self::InvalidUtf8 => "a text message is not UTF-8 (RFC 6455 section 8.1)",
            Self::CloseLength => "a Close payload of one byte (RFC 6455 section 5.5.1)",
            Self::CloseCode => "a close code that must not be sent (RFC 6455 section 7.4)",
            Self::CloseReason => "a close reason is not UTF-8 (RFC 6455 section 5.5.1)",
            Self::InvalidDeflate => "compressed data is not DEFLATE (RFC 7692 section 7.2.2)",
        }
    }
}

impl std::error::Error for ProtocolError {}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

/// A limit of [`Limits`](crate::Limits) that the peer's data would have passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LimitError {
    /// A message longer than `max_message` bytes, counted after inflating.
    MessageTooLong {
        /// The limit, in bytes.
        limit: u64,
    },
    /// A message of more than `max_fragments` frames.
    TooManyFragments {
        /// The limit, in frames.
        limit: u32,
    },
    /// Memory that many connections share ran short, and this one held the most: see
    /// [`Connection::shed`](crate::Connection::shed).
    MemoryBudget,
}

impl LimitError {
    /// The close code this limit maps to: 1009, Message Too Big, and 1013, Try Again Later, where
    /// memory ran short.
    #[must_use]
    pub fn close_code(self) -> CloseCode {
        match self {
            Self::MessageTooLong { .. } | Self::TooManyFragments { .. } => CloseCode::TOO_BIG,
            Self::MemoryBudget => CloseCode::TRY_AGAIN_LATER,
        }
    }
}

impl std::error::Error for LimitError {}

impl fmt::Display for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MessageTooLong { limit } => write!(f, "a message above {limit} bytes"),
            Self::TooManyFragments { limit } => write!(f, "a message of more than {limit} frames"),
            Self::MemoryBudget => f.write_str("memory ran short and this connection held the most"),
        }
    }
}

/// A call that the connection's state does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UsageError {
    /// The connection is closing or closed: nothing more can be sent.
    Closing,
    /// A streamed message is being sent: it must be finished first.
    MessageInProgress,
    /// A chunk was sent with no streamed message begun.
    NoMessageInProgress,
    /// More than 64 Pings wait to be sent.
    TooManyPings,
    /// A control payload above 125 bytes, or a close reason above 123.
    ControlTooLong,
    /// A close code that must not be sent (RFC 6455 section 7.4).
    CloseCode,
    /// A text message that is not UTF-8.
    InvalidUtf8,
}

impl std::error::Error for UsageError {}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closing => "the connection is closing, nothing more can be sent",
            Self::MessageInProgress => "a streamed message must be finished first",
            Self::NoMessageInProgress => "no streamed message was begun",
            Self::TooManyPings => "64 Pings wait to be sent",
            Self::ControlTooLong => "a Ping or Pong carries at most 125 bytes, a reason 123",
            Self::CloseCode => "this close code must not be sent (RFC 6455 section 7.4)",
            Self::InvalidUtf8 => "a text message must be UTF-8",
        })
    }
}
