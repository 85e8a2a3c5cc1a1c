//! The closing handshake (RFC 6455 section 7) as a declared state machine, and its outcome as a
//! type.

use std::fmt;

use crate::error::{Error, ProtocolError, UsageError};
use crate::frame::MAX_CONTROL;
use crate::message::Utf8Bytes;

/// A close code (RFC 6455 section 7.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: an endpoint goes away, such as a server that shuts down.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: a kind of data that cannot be accepted.
    pub const UNSUPPORTED: Self = Self(1003);
    /// 1005: the Close frame held no code. Never on the wire.
    pub const NO_STATUS: Self = Self(1005);
    /// 1006: the connection was lost without a Close frame. Never on the wire.
    pub const ABNORMAL: Self = Self(1006);
    /// 1007: data that is not of its declared kind, such as text that is not UTF-8.
    pub const INVALID_DATA: Self = Self(1007);
    /// 1008: a message that violates the endpoint's policy.
    pub const POLICY: Self = Self(1008);
    /// 1009: a message that is too big.
    pub const TOO_BIG: Self = Self(1009);
    /// 1010: the client wanted an extension that the server did not grant.
    pub const MANDATORY_EXTENSION: Self = Self(1010);
    /// 1011: the server met an unexpected condition.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012: the service restarts (IANA registry).
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: try again later (IANA registry).
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// 1014: a gateway got a bad answer (IANA registry).
    pub const BAD_GATEWAY: Self = Self(1014);

    /// The code with this number, whatever it is; see [`may_be_sent`](Self::may_be_sent).
    #[must_use]
    pub const fn new(code: u16) -> Self {
        Self(code)
    }

    /// The number.
    #[must_use]
    pub const fn as_u16(self) -> u16 {
        self.0
    }

    /// Whether a Close frame may carry the code: the registered ones but 1004, 1005, 1006 and 1015,
    /// and all of 3000 to 4999 (RFC 6455 section 7.4).
    #[must_use]
    pub const fn may_be_sent(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloseCode({})", self.0)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<u16> for CloseCode {
    fn from(code: u16) -> Self {
        Self(code)
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

/// What a Close frame says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CloseFrame {
    /// The code.
    pub code: CloseCode,
    /// The reason, at most 123 bytes; for people, not for programs.
    pub reason: Utf8Bytes,
}

impl CloseFrame {
    /// A frame that may be sent.
    ///
    /// # Errors
    ///
    /// When the code must not be sent (RFC 6455 section 7.4) or the reason is above 123 bytes.
    pub fn new(code: CloseCode, reason: impl Into<Utf8Bytes>) -> Result<Self, UsageError> {
        let frame = Self { code, reason: reason.into() };
        frame.check()?;
        Ok(frame)
    }

    /// Whether the frame may be sent: its fields are public, so it need not come from `new`.
    pub(crate) fn check(&self) -> Result<(), UsageError> {
        if !self.code.may_be_sent() {
            return Err(UsageError::CloseCode);
        }
        if self.reason.len() > MAX_CONTROL - 2 {
            return Err(UsageError::ControlTooLong);
        }
        Ok(())
    }

    /// Reads the payload of a received Close frame (RFC 6455 section 5.5.1); `None` when it is
    /// empty.
    pub(crate) fn decode(payload: &[u8]) -> Result<Option<Self>, ProtocolError> {
        let (code, reason) = match payload {
            [] => return Ok(None),
            [_] => return Err(ProtocolError::CloseLength),
            [a, b, reason @ ..] => (CloseCode(u16::from_be_bytes([*a, *b])), reason),
        };
        if !code.may_be_sent() {
            return Err(ProtocolError::CloseCode);
        }
        let reason = Utf8Bytes::try_from(bytes::Bytes::copy_from_slice(reason))
            .map_err(|_| ProtocolError::CloseReason)?;
        Ok(Some(Self { code, reason }))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut payload = Vec::with_capacity(2 + self.reason.len());
        payload.extend_from_slice(&self.code.0.to_be_bytes());
        payload.extend_from_slice(self.reason.as_bytes());
        payload
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// This end asked for it first.
    Local,
    /// The peer's Close frame came first.
    Peer,
    /// The peer broke the protocol or hit a limit: this end failed the connection (RFC 6455
    /// section 7.1.7).
    Failed(Error),
    /// The stream ended, or broke, with no Close frame.
    Lost,
    /// The peer showed no sign of life after a Ping.
    Silent,
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed {
    /// What ended it.
    pub cause: Cause,
    /// The peer's Close frame; the inner `None` is one without a code.
    pub received: Option<Option<CloseFrame>>,
    /// This end's Close frame, if the whole of it was handed to the transport.
    pub sent: Option<Option<CloseFrame>>,
    /// Bytes (headers included) that were queued and never handed to the transport.
    pub unsent: usize,
}

impl Closed {
    /// The end of a connection that something else has driven, such as a browser.
    #[must_use]
    pub fn new(
        cause: Cause,
        received: Option<Option<CloseFrame>>,
        sent: Option<Option<CloseFrame>>,
        unsent: usize,
    ) -> Self {
        Self { cause, received, sent, unsent }
    }

    /// Both ends sent their Close frames (RFC 6455 section 7.1.4).
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.received.is_some() && self.sent.is_some() && !matches!(self.cause, Cause::Failed(_))
    }

    /// The code as a browser would give it: the peer's, 1005 when its Close had none, 1006 when
    /// there was no Close (RFC 6455 section 7.1.5).
    #[must_use]
    pub fn code(&self) -> CloseCode {
        match &self.received {
            Some(Some(frame)) => frame.code,
            Some(None) => CloseCode::NO_STATUS,
            None => CloseCode::ABNORMAL,
        }
    }
}

/// Where the closing handshake stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum State {
    /// Messages go both ways.
    Open,
    /// Our Close is queued or sent, the peer's has not come.
    Asked,
    /// The peer's Close has come; our answer waits until the application has taken every earlier
    /// message.
    PeerHeld,
    /// The peer broke a rule; our Close waits likewise.
    FailHeld,
    /// The peer's stream has ended without a Close; the application may still answer what came.
    EofHeld,
    /// Our last byte is queued.
    Flushing,
    /// All is said. The server has half-closed; what still comes is thrown away until the peer's
    /// end.
    Draining,
    /// Nothing is left to do.
    Done,
}

/// What moves the closing handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Input {
    /// The application closes.
    Local,
    /// The peer's Close frame.
    Peer,
    /// The peer broke the protocol or hit a limit.
    Violation,
    /// The application has taken every earlier message and asked for the next, or is gone.
    Release,
    /// The output queue has run empty.
    Flushed,
    /// The peer's stream has ended.
    Eof,
    /// The close timer has run out.
    Timeout,
    /// The transport broke, or the peer is silent.
    Lost,
}

/// What a transition asks of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// Nothing.
    None,
    /// Start the close timer.
    Timer,
    /// Queue our Close behind all data; start the close timer.
    Close,
    /// Start the close timer anew, with nothing to send.
    Restart,
    /// Half-close, if that is this side's part; start the close timer.
    HalfClose,
    /// Stop all timers, give up what is queued.
    End,
}

/// The table: what each input does in each state.
pub(crate) const fn transition(state: State, input: Input) -> (State, Action) {
    use {Action as A, Input as I, State as S};
    match (state, input) {
        (S::Done, _) => (S::Done, A::None),
        (_, I::Lost) => (S::Done, A::End),

        (S::Open, I::Local) => (S::Asked, A::Close),
        (S::Open, I::Peer) => (S::PeerHeld, A::Timer),
        (S::Open, I::Violation) => (S::FailHeld, A::Timer),
        (S::Open, I::Eof) => (S::EofHeld, A::Timer),

        (S::Asked, I::Peer | I::Violation | I::Eof) => (S::Flushing, A::None),
        (S::Asked, I::Timeout) => (S::Done, A::End),

        (S::PeerHeld | S::FailHeld | S::EofHeld, I::Local) => (S::Flushing, A::Close),
        (S::PeerHeld | S::FailHeld, I::Release | I::Timeout) => (S::Flushing, A::Close),
        (S::EofHeld, I::Release) => (S::Flushing, A::Restart),
        (S::EofHeld, I::Timeout) => (S::Done, A::End),

        (S::Flushing, I::Flushed) => (S::Draining, A::HalfClose),
        (S::Flushing | S::Draining, I::Timeout) => (S::Done, A::End),
        (S::Draining, I::Eof) => (S::Done, A::End),

        _ => (state, A::None),
    }
}

#[cfg(test)]
mod tests;
