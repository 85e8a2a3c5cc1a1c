//! What a connection tells its driver.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;

use crate::close::CloseFrame;
use crate::frame::FrameHeader;
use crate::message::MessageKind;

/// Where the bytes of a message are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// In the input of the call that returned the event, unmasked in place: this range of it.
    Located(Range<usize>),
    /// In a buffer of their own.
    Owned(Bytes),
}

/// A whole message that [`handle_messages`](crate::Connection::handle_messages) found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole {
    /// Text or binary. Text was checked to be UTF-8.
    pub kind: MessageKind,
    /// Where its bytes begin in the input, unmasked in place.
    pub start: u32,
    /// How many there are.
    pub len: u32,
}

impl Whole {
    /// Its place in the input.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        let start = self.start as usize;
        start..start + self.len as usize
    }
}

/// What the peer said.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A whole message. Text was checked to be UTF-8.
    Message {
        /// Text or binary.
        kind: MessageKind,
        /// Its bytes, inflated where they were compressed.
        payload: Payload,
    },
    /// A piece of a message, where [`stream_messages`](crate::Connection::stream_messages) is on.
    /// Text was checked as far as it has come; a character may be cut between pieces.
    Chunk {
        /// Text or binary.
        kind: MessageKind,
        /// The first piece of its message.
        first: bool,
        /// The last piece of its message.
        last: bool,
        /// The bytes, perhaps none.
        payload: Payload,
    },
    /// A Ping; its Pong is queued already.
    Ping(Bytes),
    /// A Pong.
    Pong {
        /// What it carries.
        payload: Bytes,
        /// The round-trip time, when it answers one of our Pings.
        rtt: Option<Duration>,
    },
    /// The peer's Close frame, `None` if it had no code. The answer waits for
    /// [`release_close`](crate::Connection::release_close).
    Close(Option<CloseFrame>),
}

/// What one call of [`handle_input`](crate::Connection::handle_input) did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Progress {
    /// Bytes taken from the front of the input. The rest must be given again, unchanged.
    pub consumed: usize,
    /// At most one event.
    pub event: Option<Event>,
    /// There is more to do without further input: call again, even with none.
    pub again: bool,
    /// Bytes that were inflated: what this step cost, beside the bytes that it consumed. At most
    /// 128 KiB.
    pub inflated: usize,
}

/// A frame that was seen, for a wire trace.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TracedFrame {
    /// Whether this end sent it.
    pub sent: bool,
    /// Its header.
    pub header: FrameHeader,
    /// The first bytes of its payload, unmasked, as many as were asked for and at hand.
    pub payload: Vec<u8>,
}
