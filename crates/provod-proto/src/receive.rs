//! The receiving half: bytes to frames to messages, at most one event a call.

use crate::config::{Config, Limits, Side};
use crate::deflate::Inflater;
use crate::error::{Error, LimitError, ProtocolError};
use crate::event::{Event, Payload, Progress};
use crate::frame::FrameHeader;
use crate::mask::apply_mask;
use crate::message::MessageKind;
use crate::utf8::is_utf8;

mod partial;

use partial::Partial;

/// What one step did.
#[derive(Debug, Default)]
pub(crate) struct Step {
    pub(crate) consumed: usize,
    pub(crate) event: Option<Event>,
    pub(crate) again: bool,
    pub(crate) inflated: usize,
    /// A header that was completed in this step, and where its payload begins in the input.
    pub(crate) header: Option<(FrameHeader, usize)>,
}

/// A message that lies whole in the input, unmasked.
pub(crate) struct Located {
    pub(crate) kind: MessageKind,
    pub(crate) at: usize,
    pub(crate) end: usize,
}

impl Located {
    #[inline(always)]
    pub(crate) fn into_progress(self, streamed: bool) -> Progress {
        let Self { kind, at, end } = self;
        let payload = Payload::Located(at..end);
        let event = if streamed {
            Event::Chunk { kind, first: true, last: true, payload }
        } else {
            Event::Message { kind, payload }
        };
        Progress { consumed: end, event: Some(event), again: false, inflated: 0 }
    }
}

/// What holds for all messages of a connection.
pub(crate) struct Rules<'a> {
    /// Whose frames these are.
    pub(crate) sender: Side,
    /// Messages are given out in pieces.
    pub(crate) streamed: bool,
    pub(crate) config: &'a Config,
}

#[derive(Debug)]
pub(crate) struct Incoming {
    inflater: Option<Box<Inflater>>,
    /// What has begun to arrive; nothing is kept between messages.
    partial: Option<Box<Partial>>,
}

impl Incoming {
    pub(crate) fn new(inflater: Option<Box<Inflater>>) -> Self {
        Self { inflater, partial: None }
    }

    /// What has begun to arrive is given out in pieces from here.
    pub(crate) fn stream(&mut self) {
        if let Some(partial) = &mut self.partial {
            partial.stream();
        }
    }

    /// Whether the stream may end here without cutting a frame or a message.
    pub(crate) fn at_border(&self) -> bool {
        self.partial.as_ref().is_none_or(|partial| partial.at_border())
    }

    /// Bytes of memory that the message in the making holds.
    pub(crate) fn held(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.held())
    }

    /// Whether anything is allocated for a message in the making.
    #[cfg(test)]
    pub(crate) fn is_allocated(&self) -> bool {
        self.partial.is_some()
    }

    /// No more input will be looked at: lets go what is held of it.
    pub(crate) fn abandon(&mut self) {
        self.partial = None;
        self.inflater = None;
    }

    /// The fast path: a message of one uncompressed frame that lies whole at the front of the
    /// input, when no other one has begun. `Ok(None)`: [`step`](Self::step) must see to it, and
    /// nothing was done.
    #[inline(always)]
    pub(crate) fn whole_message(
        &self,
        input: &mut [u8],
        sender: Side,
        limits: &Limits,
    ) -> Result<Option<Located>, Error> {
        if self.partial.is_some() {
            return Ok(None);
        }
        let [first, second, ..] = *input else { return Ok(None) };
        let kind = match first {
            // FIN and the opcode, no reserved bit (RFC 6455 section 5.2).
            0x81 => MessageKind::Text,
            0x82 => MessageKind::Binary,
            _ => return Ok(None),
        };
        let (key_size, len7) = match sender {
            Side::Client => (4, usize::from(second ^ 0x80)),
            Side::Server => (0, usize::from(second)),
        };
        // A mask bit that is wrong leaves more than 127.
        let (at, len) = match len7 {
            0..=125 => (2 + key_size, len7),
            126 | 127 => match long_length(input, len7) {
                Some((size, len)) => (size + key_size, len),
                None => return Ok(None),
            },
            _ => return Ok(None),
        };
        let Some((head, rest)) = input.split_at_mut_checked(at) else { return Ok(None) };
        let Some(payload) = rest.get_mut(..len) else { return Ok(None) };
        if len as u64 > limits.max_message {
            return Err(LimitError::MessageTooLong { limit: limits.max_message }.into());
        }
        if key_size > 0
            && let Some(key) = head.last_chunk::<4>()
        {
            apply_mask(payload, *key, 0);
        }
        if kind == MessageKind::Text && !is_utf8(payload) {
            return Err(ProtocolError::InvalidUtf8.into());
        }
        Ok(Some(Located { kind, at, end: at + len }))
    }

    /// Handles at most one frame, of any kind and however little of it has come.
    pub(crate) fn step(&mut self, input: &mut [u8], rules: &Rules<'_>) -> Result<Step, Error> {
        let mut partial = self.partial.take().unwrap_or_default();
        let step = partial.step(input, self.inflater.as_deref_mut(), rules);
        if !partial.at_border() {
            self.partial = Some(partial);
        }
        step
    }

    /// Room that the rest of a large frame is read into.
    pub(crate) fn spare(&mut self, config: &Config) -> Option<&mut [u8]> {
        self.partial.as_mut()?.spare(config)
    }

    /// `n` bytes were read into that room.
    pub(crate) fn direct(&mut self, n: usize) -> Result<Step, Error> {
        let Some(partial) = &mut self.partial else { return Ok(Step::default()) };
        let step = partial.direct(n);
        if partial.at_border() {
            self.partial = None;
        }
        step
    }
}

/// The bytes up to the masking key and the length of the payload of a header that lies at the front
/// of `input` and has a longer length; `None` where it is cut, wrong, or too long to lie there.
fn long_length(input: &[u8], len7: usize) -> Option<(usize, usize)> {
    let rest = input.get(2..)?;
    if len7 == 126 {
        let len = u16::from_be_bytes(*rest.first_chunk()?).into();
        return (len > 125).then_some((4, len));
    }
    let len = usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?;
    (len > 0xFFFF).then_some((10, len))
}
