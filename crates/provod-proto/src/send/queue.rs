//! What waits to be encoded: control frames, messages, and the message that is sent in pieces.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::error::UsageError;
use crate::frame::{MAX_CONTROL, OpCode};
use crate::utf8::Utf8Check;

/// Pongs that wait unwritten; more push out the oldest (RFC 6455 section 5.5.3 allows it).
const MAX_PONGS: usize = 64;
/// Pings that wait unwritten; one more is refused.
const MAX_PINGS: usize = 64;
/// What the header of a frame takes at least. It is counted for each message that waits, so that
/// the loss of a message of no bytes shows.
pub(super) const LEAST_HEADER: usize = 2;

/// A data message, or a piece of one, that waits.
#[derive(Debug)]
pub(super) struct Pending {
    /// Text or Binary; only the first frame of the message carries it.
    pub(super) opcode: OpCode,
    pub(super) data: Bytes,
    pub(super) rest: Rest,
    pub(super) form: Form,
    /// There is a mark at its first byte.
    pub(super) marked: bool,
    /// Marks at its end.
    pub(super) marks: u32,
}

// Thousands of them may wait.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Pending>() <= 40);

/// What follows a piece of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// Nothing: it is the last one.
    None,
    /// More.
    More,
    /// More, and the compressor keeps nothing of what is there for later.
    Flushed,
}

impl Pending {
    /// A whole message, or the last piece of one.
    pub(super) fn whole(opcode: OpCode, data: Bytes, form: Form) -> Self {
        Self { opcode, data, rest: Rest::None, form, marked: false, marks: 0 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    /// To be compressed when its turn comes.
    Compress,
    /// Compressed already, without history.
    Compressed,
}

/// A message that is sent piece by piece.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    opcode: OpCode,
    form: Form,
    /// For text.
    utf8: Utf8Check,
    /// A piece was queued.
    begun: bool,
}

impl Stream {
    pub(super) fn new(opcode: OpCode, form: Form) -> Self {
        Self { opcode, form, utf8: Utf8Check::default(), begun: false }
    }
}

/// There is none where nothing waits and no message is sent in pieces.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) pongs: VecDeque<Bytes>,
    pub(super) pings: VecDeque<Bytes>,
    pub(super) waiting: VecDeque<Pending>,
    pub(super) stream: Option<Stream>,
    /// A message of which a frame is on the wire and the rest is not.
    pub(super) open: bool,
    /// A message of which a piece is on the wire, or in the compressor, and the rest is not.
    pub(super) midway: bool,
    /// The bytes of `waiting`, and the least header of each.
    pub(super) bytes: usize,
    /// Marks of messages that wait.
    pub(super) marks: u64,
}

impl Queue {
    /// Whether nothing waits, though a message may be sent in pieces.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.pongs.is_empty() && self.pings.is_empty()
    }

    pub(super) fn push(&mut self, pending: Pending) {
        self.bytes += LEAST_HEADER + pending.data.len();
        self.waiting.push_back(pending);
    }

    /// A whole message with a mark at its first byte.
    pub(super) fn push_marked(&mut self, pending: Pending) {
        self.marks += 1;
        self.push(Pending { marked: true, ..pending });
    }

    pub(super) fn pong(&mut self, payload: Bytes) {
        if self.pongs.len() == MAX_PONGS {
            self.pongs.pop_front();
        }
        self.pongs.push_back(payload);
    }

    pub(super) fn ping(&mut self, payload: Bytes) -> Result<(), UsageError> {
        if self.pings.len() == MAX_PINGS {
            return Err(UsageError::TooManyPings);
        }
        debug_assert!(payload.len() <= MAX_CONTROL);
        self.pings.push_back(payload);
        Ok(())
    }

    /// A piece of the message that is sent in pieces.
    pub(super) fn chunk(&mut self, data: Bytes, last: bool) -> Result<(), UsageError> {
        let Some(Stream { opcode, form, utf8, begun }) = &mut self.stream else {
            return Err(UsageError::NoMessageInProgress);
        };
        if data.is_empty() && !last {
            return Ok(());
        }
        if *opcode == OpCode::Text {
            let mut with = utf8.clone();
            let good = with.push(&data).is_ok() && (with.is_complete() || !last);
            if !good {
                return Err(UsageError::InvalidUtf8);
            }
            *utf8 = with;
        }
        *begun = true;
        let whole = Pending::whole(*opcode, data, *form);
        let rest = if last { Rest::None } else { Rest::More };
        let pending = Pending { rest, ..whole };
        if last {
            self.stream = None;
        }
        self.push(pending);
        Ok(())
    }

    pub(super) fn cancel(&mut self) -> bool {
        self.stream.take_if(|stream| !stream.begun).is_some()
    }

    pub(super) fn flush(&mut self) -> Result<(), UsageError> {
        let Some(&Stream { opcode, form, begun, .. }) = self.stream.as_ref() else {
            return Err(UsageError::NoMessageInProgress);
        };
        if form != Form::Compress || !begun {
            return Ok(());
        }
        match self.waiting.back_mut() {
            Some(back) if back.rest != Rest::None => back.rest = Rest::Flushed,
            _ => {
                let data = Bytes::new();
                let whole = Pending::whole(opcode, data, form);
                self.push(Pending { rest: Rest::Flushed, ..whole });
            }
        }
        Ok(())
    }

    /// Marks the end of the last message, if one waits.
    pub(super) fn mark(&mut self) -> bool {
        let Some(last) = self.waiting.back_mut() else { return false };
        last.marks += 1;
        self.marks += 1;
        true
    }
}
