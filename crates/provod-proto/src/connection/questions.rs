//! What can be asked of a connection.

use std::time::Duration;

use super::{Connection, Rare};
use crate::close::{Cause, Closed, State};

impl Connection {
    /// Whether messages may still be sent.
    #[must_use]
    pub fn can_send(&self) -> bool {
        self.may_send().is_ok()
    }

    /// Whether a Close that this end owes waits for [`release_close`](Self::release_close).
    #[must_use]
    pub fn is_close_held(&self) -> bool {
        matches!(self.state, State::PeerHeld | State::FailHeld | State::EofHeld)
    }

    /// Whether input still means something: no Close, violation or end of stream has come.
    #[must_use]
    pub fn is_receiving(&self) -> bool {
        matches!(self.state, State::Open | State::Asked)
    }

    /// Whether the driver should read: input means something, or must be drained so that the peer,
    /// which may be blocked in writing, reads our last words.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        let draining = matches!(self.state, State::Flushing | State::Draining);
        (self.is_receiving() || draining) && !self.eof
    }

    /// Bytes queued and not yet handed to the transport.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.outgoing.buffered()
    }

    /// Bytes of memory that the send queue holds, about: [`buffered`](Self::buffered) and the cost
    /// of many small messages beside their bytes. What a limit on the queue should look at.
    #[must_use]
    pub fn held(&self) -> usize {
        self.outgoing.held()
    }

    /// Bytes of memory that the message in the making holds, for a budget; about what has arrived
    /// of it, never more than twice.
    #[must_use]
    pub fn held_input(&self) -> usize {
        self.incoming.held()
    }

    /// How many marks the transport has passed, or will never reach because what they marked was
    /// given up.
    #[must_use]
    pub fn marks_passed(&self) -> u64 {
        self.outgoing.marks_passed()
    }

    /// How many marks the transport has really reached: as [`marks_passed`](Self::marks_passed),
    /// without those of what was given up.
    #[must_use]
    pub fn marks_reached(&self) -> u64 {
        let given_up = self.rare.as_ref().map_or(0, |rare| rare.marks_given_up);
        self.outgoing.marks_passed().saturating_sub(given_up)
    }

    /// The window, as a power of two, that this end compresses messages with; `None` where it does
    /// not compress.
    #[must_use]
    pub fn compresses_with(&self) -> Option<u8> {
        self.outgoing.window_bits()
    }

    /// Whether there is anything to write.
    #[must_use]
    pub fn has_output(&self) -> bool {
        !self.is_output_lost() && !self.outgoing.is_flushed()
    }

    /// The round-trip time of the last Ping that was answered.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        self.keepalive.latency()
    }

    /// How it ended; `Some` as soon as nothing can change that, which on a server is before the
    /// peer's end of the stream.
    #[must_use]
    pub fn closed(&self) -> Option<&Closed> {
        self.rare.as_ref()?.closed.as_ref()
    }

    /// Whether the driver should let the transport go.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether both sides have sent their Close, ours has left, and nothing has come behind the
    /// peer's, as RFC 6455 section 5.5.1 wants it.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        let failed = matches!(self.cause(), Some(Cause::Failed(_)));
        let said_last = |rare: &Rare| rare.received.is_some() && !rare.talks_on;
        self.state == State::Draining && !failed && self.rare.as_deref().is_some_and(said_last)
    }
}
