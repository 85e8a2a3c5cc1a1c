//! A frame or a message of which a part has arrived.

use bytes::Bytes;

use super::{Rules, Step};
use crate::assemble::Assembly;
use crate::close::CloseFrame;
use crate::config::{Config, Limits};
use crate::deflate::Inflater;
use crate::error::{Error, ProtocolError};
use crate::event::Event;
use crate::frame::{Expect, FrameHeader, HeaderReader, OpCode};
use crate::mask::apply_mask;
use crate::message::MessageKind;

/// Bytes inflated in one call, so that one call is bounded in time.
const INFLATE_STEP: usize = 64 << 10;
/// Below this, the rest of a frame is not worth a read of its own.
const DIRECT_MIN: u64 = 4096;

/// A frame whose payload is arriving.
#[derive(Debug, Clone, Copy)]
struct Frame {
    header: FrameHeader,
    done: u64,
}

impl Frame {
    fn missing(&self) -> u64 {
        self.header.len - self.done
    }

    fn unmask(&self, data: &mut [u8], skip: usize) {
        if let Some(key) = self.header.mask {
            apply_mask(data, key, self.done + skip as u64);
        }
    }
}

/// There is none between messages.
#[derive(Debug, Default)]
pub(super) struct Partial {
    header: HeaderReader,
    frame: Option<Frame>,
    message: Option<Assembly>,
    /// The last frame of a compressed message is in; what the inflater holds is still to come.
    finishing: bool,
    /// A control frame that arrives in pieces.
    control: Vec<u8>,
    /// Bytes at the front of the input that an earlier call unmasked and did not consume.
    unmasked: usize,
}

impl Partial {
    pub(super) fn stream(&mut self) {
        if let Some(message) = &mut self.message {
            message.stream();
        }
    }

    /// Whether the stream may end here without cutting a frame or a message.
    pub(super) fn at_border(&self) -> bool {
        self.header.held() == 0 && self.frame.is_none() && self.message.is_none()
    }

    /// Bytes of memory that the message in the making holds.
    pub(super) fn held(&self) -> usize {
        self.message.as_ref().map_or(0, |m| m.held()) + self.control.capacity()
    }

    /// Handles at most one frame.
    pub(super) fn step(
        &mut self,
        input: &mut [u8],
        inflater: Option<&mut Inflater>,
        rules: &Rules<'_>,
    ) -> Result<Step, Error> {
        let mut step = Step::default();
        if let Some(held) = self.message.as_mut().and_then(|m| m.give_out_held()) {
            step.event = Some(held);
            step.again = self.finishing;
            return Ok(step);
        }
        if self.finishing {
            return self.finish_inflating(step, inflater, &rules.config.limits);
        }
        let frame = match self.frame {
            Some(frame) => frame,
            None => {
                let expect = Expect {
                    sender: rules.sender,
                    deflate: inflater.is_some(),
                    in_message: self.message.is_some(),
                };
                let (n, header) = self.header.read(input, expect)?;
                step.consumed = n;
                let Some(header) = header else { return Ok(step) };
                step.header = Some((header, n));
                self.begin(&header, rules)?;
                *self.frame.insert(Frame { header, done: 0 })
            }
        };
        if frame.header.opcode.is_control() {
            return self.control(step, frame, input);
        }
        if self.message.as_ref().is_some_and(|m| m.compressed) {
            return self.inflate(step, frame, input, inflater, &rules.config.limits);
        }
        self.data(step, frame, input, rules.config)
    }

    /// Opens or continues a message, within the limits.
    fn begin(&mut self, header: &FrameHeader, rules: &Rules<'_>) -> Result<(), Error> {
        let kind = match header.opcode {
            OpCode::Text => Some(MessageKind::Text),
            OpCode::Binary => Some(MessageKind::Binary),
            OpCode::Continuation => None,
            OpCode::Close | OpCode::Ping | OpCode::Pong => return Ok(()),
        };
        if let Some(kind) = kind {
            self.message = Some(Assembly::new(kind, header.rsv1, rules.streamed));
        }
        match &mut self.message {
            Some(message) => Ok(message.frame(header.len, &rules.config.limits)?),
            // The header reader refuses a continuation outside a message.
            None => Err(ProtocolError::UnexpectedContinuation.into()),
        }
    }

    /// The part of `input` behind what the step has consumed that belongs to the frame.
    fn payload<'a>(step: &Step, frame: &Frame, input: &'a mut [u8]) -> &'a mut [u8] {
        let rest = &mut input[step.consumed..];
        let n = usize::try_from(frame.missing()).map_or(rest.len(), |m| m.min(rest.len()));
        &mut rest[..n]
    }

    fn control(&mut self, mut step: Step, frame: Frame, input: &mut [u8]) -> Result<Step, Error> {
        let payload = Self::payload(&step, &frame, input);
        frame.unmask(payload, 0);
        let n = payload.len();
        step.consumed += n;
        if n as u64 != frame.missing() {
            // At most 125 bytes in all: the header was checked.
            self.control.extend_from_slice(payload);
            self.frame = Some(Frame { done: frame.done + n as u64, ..frame });
            return Ok(step);
        }
        self.frame = None;
        let bytes = if self.control.is_empty() {
            Bytes::copy_from_slice(payload)
        } else {
            self.control.extend_from_slice(payload);
            Bytes::from(std::mem::take(&mut self.control))
        };
        step.event = Some(match frame.header.opcode {
            OpCode::Ping => Event::Ping(bytes),
            OpCode::Pong => Event::Pong { payload: bytes, rtt: None },
            _ => Event::Close(CloseFrame::decode(&bytes)?),
        });
        Ok(step)
    }

    fn data(
        &mut self,
        mut step: Step,
        frame: Frame,
        input: &mut [u8],
        config: &Config,
    ) -> Result<Step, Error> {
        let at = step.consumed;
        let payload = Self::payload(&step, &frame, input);
        frame.unmask(payload, 0);
        let n = payload.len();
        step.consumed += n;
        // `begin` opened the message.
        let Some(message) = &mut self.message else { return Ok(step) };
        let missing = frame.missing() - n as u64;
        if missing >= DIRECT_MIN {
            // Now, so that this piece is not copied again.
            message.make_room(n, missing, config);
        }
        step.event = message.located(payload, at)?;
        self.advance(step, frame, n)
    }

    /// `n` more bytes of a data frame are in.
    fn advance(&mut self, mut step: Step, frame: Frame, n: usize) -> Result<Step, Error> {
        let frame = Frame { done: frame.done + n as u64, ..frame };
        if frame.missing() > 0 {
            self.frame = Some(frame);
            return Ok(step);
        }
        self.frame = None;
        if frame.header.fin
            && let Some(message) = self.message.take()
        {
            step.event = Some(message.finish(step.event.take())?);
        }
        Ok(step)
    }

    /// Room that the rest of a large frame is read into.
    pub(super) fn spare(&mut self, config: &Config) -> Option<&mut [u8]> {
        let missing = self.frame.as_ref()?.missing();
        let control = self.frame.as_ref()?.header.opcode.is_control();
        if control || missing < DIRECT_MIN {
            return None;
        }
        self.message.as_mut()?.spare(missing, config)
    }

    /// `n` bytes were read into that room.
    pub(super) fn direct(&mut self, n: usize) -> Result<Step, Error> {
        let (Some(frame), Some(message)) = (self.frame, &mut self.message) else {
            return Ok(Step::default());
        };
        let n = usize::try_from(frame.missing()).map_or(n, |missing| n.min(missing));
        message.direct(n, |new| frame.unmask(new, 0))?;
        self.advance(Step::default(), frame, n)
    }

    fn inflate(
        &mut self,
        mut step: Step,
        frame: Frame,
        input: &mut [u8],
        inflater: Option<&mut Inflater>,
        limits: &Limits,
    ) -> Result<Step, Error> {
        let payload = Self::payload(&step, &frame, input);
        let skip = self.unmasked.min(payload.len());
        frame.unmask(&mut payload[skip..], skip);
        self.unmasked = self.unmasked.max(payload.len());
        let (Some(message), Some(inflater)) = (&mut self.message, inflater) else {
            // RSV1 is refused where no inflater was negotiated.
            return Err(ProtocolError::ReservedBits.into());
        };
        if !payload.is_empty() {
            let most = message.room(limits).min(INFLATE_STEP as u64) as usize;
            let done = inflater.step(payload, &mut message.inflated, most)?;
            if done.consumed == 0 && done.produced == 0 && !done.more {
                return Err(ProtocolError::InvalidDeflate.into());
            }
            step.event = message.inflated(done.produced, limits)?;
            step.inflated += done.produced;
            step.consumed += done.consumed;
            self.unmasked -= done.consumed;
            let frame = Frame { done: frame.done + done.consumed as u64, ..frame };
            self.frame = Some(frame);
            if self.unmasked > 0 {
                step.again = true;
                return Ok(step);
            }
            if frame.missing() > 0 {
                return Ok(step);
            }
        } else if frame.missing() > 0 {
            return Ok(step);
        }
        self.frame = None;
        if !frame.header.fin {
            return Ok(step);
        }
        self.finishing = true;
        if step.event.is_some() {
            step.again = true;
            return Ok(step);
        }
        self.finish_inflating(step, Some(inflater), limits)
    }

    fn finish_inflating(
        &mut self,
        mut step: Step,
        inflater: Option<&mut Inflater>,
        limits: &Limits,
    ) -> Result<Step, Error> {
        let (Some(message), Some(inflater)) = (&mut self.message, inflater) else {
            self.finishing = false;
            return Ok(step);
        };
        let most = message.room(limits).min(INFLATE_STEP as u64) as usize;
        let done = inflater.finish_step(&mut message.inflated, most)?;
        step.event = message.inflated(done.produced, limits)?;
        step.inflated += done.produced;
        if !done.done {
            step.again = true;
            return Ok(step);
        }
        self.finishing = false;
        if let Some(message) = self.message.take() {
            step.event = Some(message.finish(step.event.take())?);
        }
        Ok(step)
    }
}
