//! A message in the making: its bytes, its limits, its UTF-8.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;

use crate::buffers::Gathered;
use crate::config::{Config, Limits};
use crate::error::{Error, LimitError, ProtocolError};
use crate::event::{Event, Payload};
use crate::message::MessageKind;
use crate::utf8::Utf8Check;

/// All the room that messages of this process are given in advance: see
/// [`Config::advance`](crate::Config::advance).
const ADVANCE: usize = 64 << 20;
static ADVANCED: AtomicUsize = AtomicUsize::new(0);

/// Room that was given in advance.
#[derive(Debug)]
struct Advance(usize);

impl Advance {
    fn take(bytes: usize) -> Option<Self> {
        let take = |given: usize| given.checked_add(bytes).filter(|sum| *sum <= ADVANCE);
        ADVANCED.fetch_update(Relaxed, Relaxed, take).ok().map(|_| Self(bytes))
    }
}

impl Drop for Advance {
    fn drop(&mut self) {
        ADVANCED.fetch_sub(self.0, Relaxed);
    }
}

/// A message of which a part has arrived.
#[derive(Debug)]
pub(crate) struct Assembly {
    pub(crate) kind: MessageKind,
    pub(crate) compressed: bool,
    /// Given out piece by piece instead of whole.
    streamed: bool,
    /// A piece was given out.
    begun: bool,
    fragments: u32,
    /// Payload bytes that the headers so far announced.
    announced: u64,
    /// Bytes of the message that have arrived, after inflating.
    size: u64,
    utf8: Utf8Check,
    /// What is held of an uncompressed message.
    plain: Gathered,
    advance: Option<Advance>,
    /// What is held of a compressed one.
    pub(crate) inflated: Vec<u8>,
}

impl Assembly {
    pub(crate) fn new(kind: MessageKind, compressed: bool, streamed: bool) -> Self {
        Self {
            kind,
            compressed,
            streamed,
            begun: false,
            fragments: 0,
            announced: 0,
            size: 0,
            utf8: Utf8Check::default(),
            plain: Gathered::default(),
            advance: None,
            inflated: Vec::new(),
        }
    }

    /// Checks the next frame's header against the limits, before anything is held for it.
    pub(crate) fn frame(&mut self, len: u64, limits: &Limits) -> Result<(), LimitError> {
        // Every message has a first frame.
        let limit = limits.max_fragments.max(1);
        if self.fragments >= limit {
            return Err(LimitError::TooManyFragments { limit });
        }
        self.fragments += 1;
        // Both are below 2^63.
        self.announced = self.announced.saturating_add(len);
        let limit = limits.max_message;
        // DEFLATE that does not shrink adds little; more than this is empty blocks, which cost time
        // and give nothing.
        let most =
            if self.compressed { limit.saturating_mul(2).saturating_add(1024) } else { limit };
        if self.announced > most {
            return Err(LimitError::MessageTooLong { limit });
        }
        Ok(())
    }

    /// Bytes that may still be inflated, and one more, which shows that the limit is passed.
    pub(crate) fn room(&self, limits: &Limits) -> u64 {
        limits.max_message.saturating_sub(self.size).saturating_add(1)
    }

    /// Bytes of memory held.
    pub(crate) fn held(&self) -> usize {
        self.plain.capacity() + self.inflated.capacity()
    }

    fn check(&mut self, piece: &[u8]) -> Result<(), Error> {
        if self.kind == MessageKind::Text {
            self.utf8.push(piece).map_err(|_| ProtocolError::InvalidUtf8)?;
        }
        Ok(())
    }

    /// Gives the message out piece by piece from here.
    pub(crate) fn stream(&mut self) {
        self.streamed = true;
    }

    /// What was held when that began.
    pub(crate) fn give_out_held(&mut self) -> Option<Event> {
        let held = match (self.streamed, self.plain.is_empty(), self.inflated.is_empty()) {
            (true, false, _) => self.plain.take(),
            (true, true, false) => Bytes::from(std::mem::take(&mut self.inflated)),
            _ => return None,
        };
        Some(self.chunk(false, Payload::Owned(held)))
    }

    /// Takes an unmasked piece that lies at `at` in the input.
    pub(crate) fn located(&mut self, input: &[u8], at: usize) -> Result<Option<Event>, Error> {
        self.size += input.len() as u64;
        self.check(input)?;
        if self.streamed {
            if input.is_empty() {
                return Ok(None);
            }
            return Ok(Some(self.chunk(false, Payload::Located(at..at + input.len()))));
        }
        self.plain.push(input);
        Ok(None)
    }

    /// Where that is allowed, makes room for all of a frame of which `coming` bytes are here and
    /// `missing` are not; returns whether it did.
    pub(crate) fn make_room(&mut self, coming: usize, missing: u64, config: &Config) -> bool {
        if self.streamed || self.compressed {
            return false;
        }
        let missing = usize::try_from(missing).unwrap_or(usize::MAX);
        let have = self.plain.len() + coming;
        let all = have.saturating_add(missing);
        let more = missing.saturating_sub(have.max(4096));
        let allowed = more == 0
            || (all <= config.advance
                && self.advance.is_none()
                && Advance::take(more).map(|advance| self.advance = Some(advance)).is_some());
        if allowed {
            self.plain.grow(all, config.buffers.as_ref());
        }
        allowed
    }

    /// Room in the message's own buffer for some of `missing` more bytes, and for no others.
    pub(crate) fn spare(&mut self, missing: u64, config: &Config) -> Option<&mut [u8]> {
        if self.streamed || self.compressed {
            return None;
        }
        let have = self.plain.len();
        if (self.plain.room().len() as u64) < missing.min(4096)
            && !self.make_room(0, missing, config)
        {
            self.plain.grow(have + have.max(4096), None);
        }
        let room = self.plain.room();
        // Where there is more room, bytes of the next frame would come here, too.
        let most = usize::try_from(missing).map_or(room.len(), |missing| missing.min(room.len()));
        Some(&mut room[..most])
    }

    /// `n` bytes were put into that room: unmasks and checks them.
    pub(crate) fn direct(&mut self, n: usize, unmask: impl FnOnce(&mut [u8])) -> Result<(), Error> {
        let new = self.plain.came(n);
        unmask(new);
        self.size += new.len() as u64;
        if self.kind == MessageKind::Text {
            self.utf8.push(new).map_err(|_| ProtocolError::InvalidUtf8)?;
        }
        Ok(())
    }

    /// The last `n` bytes of `inflated` are new.
    pub(crate) fn inflated(&mut self, n: usize, limits: &Limits) -> Result<Option<Event>, Error> {
        self.size += n as u64;
        if self.size > limits.max_message {
            return Err(LimitError::MessageTooLong { limit: limits.max_message }.into());
        }
        let from = self.inflated.len().saturating_sub(n);
        if self.kind == MessageKind::Text {
            self.utf8.push(&self.inflated[from..]).map_err(|_| ProtocolError::InvalidUtf8)?;
        }
        if self.streamed && !self.inflated.is_empty() {
            let piece = Bytes::from(std::mem::take(&mut self.inflated));
            return Ok(Some(self.chunk(false, Payload::Owned(piece))));
        }
        Ok(None)
    }

    fn chunk(&mut self, last: bool, payload: Payload) -> Event {
        let first = !std::mem::replace(&mut self.begun, true);
        Event::Chunk { kind: self.kind, first, last, payload }
    }

    /// The last frame is complete. `piece` is its last piece, where that was given out as a chunk
    /// in this very call.
    pub(crate) fn finish(mut self, piece: Option<Event>) -> Result<Event, Error> {
        if !self.utf8.is_complete() {
            return Err(ProtocolError::InvalidUtf8.into());
        }
        if let Some(Event::Chunk { kind, first, payload, .. }) = piece {
            return Ok(Event::Chunk { kind, first, last: true, payload });
        }
        let bytes = if self.compressed {
            Bytes::from(std::mem::take(&mut self.inflated))
        } else {
            self.plain.take()
        };
        if self.streamed {
            return Ok(self.chunk(true, Payload::Owned(bytes)));
        }
        Ok(Event::Message { kind: self.kind, payload: Payload::Owned(bytes) })
    }
}
