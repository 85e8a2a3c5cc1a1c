//! The sending half: messages to frames to bytes, control frames first.
//!
//! Two queues, neither of which exists while it is empty. In the [`Queue`], messages and control
//! frames are not encoded yet, so a Ping or Pong can still pass the data. The [`Wire`] holds
//! encoded bytes in their final order, topped up to about [`WIRE_TARGET`] at a time, so that what
//! nothing can pass any more is bounded. A message that finds the queue empty and room on the wire
//! is encoded at once.

use std::io::IoSlice;

use bytes::Bytes;

use crate::close::CloseFrame;
use crate::config::Config;
use crate::deflate::Compressor;
use crate::error::UsageError;
use crate::frame::{FrameHeader, MAX_CONTROL};
use crate::mask::MaskSource;
use crate::message::{Message, MessageKind, MessageRef};
use crate::prepared::{Prepared, PreparedFrames};

mod encode;
mod queue;
mod wire;

use queue::{Form, Pending, Queue, Stream};
use wire::Wire;

/// The wire is topped up while it holds less than this.
const WIRE_TARGET: usize = 64 << 10;
/// Payload bytes that are encoded in one go.
const FILL_INPUT: usize = 256 << 10;
/// What a waiting message costs beside its bytes: its place in the queue and its allocation.
const PENDING_COST: usize = 128;

/// Whether one message is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Compress {
    /// When it is at least as long as the threshold.
    #[default]
    Auto,
    /// Whatever its length.
    Always,
    /// Not at all; for data that does not shrink or must not be mixed with secrets.
    Never,
}

/// The compressor and the window that the peer can inflate.
pub(crate) struct Deflate {
    pub(crate) compressor: Compressor,
    pub(crate) window_bits: u8,
    /// History is kept between messages.
    pub(crate) takeover: bool,
}

/// What changes payloads on their way out. Most servers' connections have none.
struct Coding {
    masks: Option<Box<dyn MaskSource>>,
    deflate: Option<Deflate>,
}

/// The Close frame, from when it is queued.
#[derive(Default)]
struct Closing {
    /// `None` where there is none, because the output was given up.
    frame: Option<Option<CloseFrame>>,
    /// Nothing is encoded any more.
    over: bool,
}

pub(crate) struct Outgoing {
    coding: Option<Box<Coding>>,
    wire: Option<Box<Wire>>,
    queue: Option<Box<Queue>>,
    closing: Option<Box<Closing>>,
    /// Marks ever made.
    marked: u64,
}

/// What was queued and will never leave.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct GivenUp {
    pub(crate) bytes: usize,
    /// Marks that the transport has not reached.
    pub(crate) marks: u64,
}

/// A frame that was encoded in a step, for keepalive and the trace.
pub(crate) struct Encoded {
    pub(crate) header: FrameHeader,
    /// The payload before masking and after compression.
    pub(crate) payload: Bytes,
}

impl Outgoing {
    pub(crate) fn new(masks: Option<Box<dyn MaskSource>>, deflate: Option<Deflate>) -> Self {
        let coding =
            (masks.is_some() || deflate.is_some()).then(|| Box::new(Coding { masks, deflate }));
        Self { coding, wire: None, queue: None, closing: None, marked: 0 }
    }

    fn deflate(&mut self) -> Option<&mut Deflate> {
        self.coding.as_mut()?.deflate.as_mut()
    }

    fn form(&self, len: usize, compress: Compress, threshold: usize) -> Form {
        if self.coding.as_ref().is_none_or(|coding| coding.deflate.is_none()) {
            return Form::Plain;
        }
        let wanted = match compress {
            Compress::Auto => len >= threshold,
            Compress::Always => true,
            Compress::Never => false,
        };
        if wanted { Form::Compress } else { Form::Plain }
    }

    // ---- what is to be sent ----

    #[inline]
    pub(crate) fn message(
        &mut self,
        message: Message,
        compress: Compress,
        config: &Config,
    ) -> Result<(), UsageError> {
        self.may_begin()?;
        let form = self.form(message.len(), compress, config.compression.threshold);
        let opcode = message.kind().opcode();
        if form == Form::Plain && self.may_pass(message.len(), config) {
            self.encode(opcode, true, false, &message.into_bytes());
        } else {
            self.push(Pending::whole(opcode, message.into_bytes(), form));
        }
        Ok(())
    }

    /// Queues a message with a mark at its first byte; returns how many marks there were before.
    pub(crate) fn message_marked(
        &mut self,
        message: Message,
        compress: Compress,
        config: &Config,
    ) -> Result<u64, UsageError> {
        self.may_begin()?;
        let form = self.form(message.len(), compress, config.compression.threshold);
        let pending = Pending::whole(message.kind().opcode(), message.into_bytes(), form);
        self.queue.get_or_insert_default().push_marked(pending);
        self.marked += 1;
        Ok(self.marked - 1)
    }

    #[inline]
    pub(crate) fn slice(
        &mut self,
        message: MessageRef<'_>,
        compress: Compress,
        config: &Config,
    ) -> Result<(), UsageError> {
        let payload = message.as_bytes();
        // While a message is sent in pieces there is a queue, so this is not in the midst of one.
        if self.coding.is_none() && self.may_pass(payload.len(), config) {
            let opcode = message.kind().opcode();
            let len = payload.len() as u64;
            let header = FrameHeader { fin: true, rsv1: false, opcode, mask: None, len };
            self.wire.get_or_insert_default().copied(&header, payload, |_| {});
            return Ok(());
        }
        self.slice_in_turn(message, compress, config)
    }

    /// The same where it waits or changes on its way.
    #[inline(never)]
    fn slice_in_turn(
        &mut self,
        message: MessageRef<'_>,
        compress: Compress,
        config: &Config,
    ) -> Result<(), UsageError> {
        self.may_begin()?;
        let payload = message.as_bytes();
        let form = self.form(payload.len(), compress, config.compression.threshold);
        let opcode = message.kind().opcode();
        if form == Form::Plain && self.may_pass(payload.len(), config) {
            let header = self.header(opcode, true, false, payload.len());
            self.copy(&header, payload);
        } else {
            self.push(Pending::whole(opcode, Bytes::copy_from_slice(payload), form));
        }
        Ok(())
    }

    pub(crate) fn prepared(
        &mut self,
        prepared: &Prepared,
        compress: Compress,
        config: &Config,
    ) -> Result<(), UsageError> {
        self.may_begin()?;
        let payload = prepared.payload();
        let opcode = prepared.kind().opcode();
        let wanted = self.form(payload.len(), compress, config.compression.threshold);
        if wanted == Form::Compress
            && let Some(bits) = self.window_bits()
            && let Some(data) = prepared.compressed(bits)
        {
            let data = data.clone();
            self.push(Pending::whole(opcode, data, Form::Compressed));
            return Ok(());
        }
        let masks = self.coding.as_ref().is_some_and(|coding| coding.masks.is_some());
        if !masks && self.may_pass(payload.len(), config) {
            self.wire.get_or_insert_default().shared(prepared.frame());
            return Ok(());
        }
        self.push(Pending::whole(opcode, payload.clone(), Form::Plain));
        Ok(())
    }

    /// Whether a message of `len` bytes that leaves as it is may be encoded at once, as it would be
    /// with the next [`fill`](Self::fill).
    #[inline]
    fn may_pass(&self, len: usize, config: &Config) -> bool {
        self.queue.is_none()
            && len <= config.fragment_size
            && self.encoded() < WIRE_TARGET
            && !config.trace
    }

    pub(crate) fn begin(
        &mut self,
        kind: MessageKind,
        compress: Compress,
    ) -> Result<(), UsageError> {
        self.may_begin()?;
        // The length is not known yet, so `Auto` compresses.
        let form = self.form(usize::MAX, compress, 0);
        self.queue.get_or_insert_default().stream = Some(Stream::new(kind.opcode(), form));
        Ok(())
    }

    pub(crate) fn chunk(&mut self, data: Bytes, last: bool) -> Result<(), UsageError> {
        self.queue.as_mut().ok_or(UsageError::NoMessageInProgress)?.chunk(data, last)
    }

    pub(crate) fn cancel(&mut self) -> bool {
        let canceled = self.queue.as_mut().is_some_and(|queue| queue.cancel());
        self.drop_empty_queue();
        canceled
    }

    /// Lets the compressor give out what it has kept of the message begun.
    pub(crate) fn flush(&mut self) -> Result<(), UsageError> {
        self.queue.as_mut().ok_or(UsageError::NoMessageInProgress)?.flush()
    }

    #[inline]
    fn may_begin(&self) -> Result<(), UsageError> {
        match &self.queue {
            Some(queue) if queue.stream.is_some() => Err(UsageError::MessageInProgress),
            _ => Ok(()),
        }
    }

    fn push(&mut self, pending: Pending) {
        self.queue.get_or_insert_default().push(pending);
    }

    pub(crate) fn pong(&mut self, payload: Bytes) {
        // Behind a Close it can never leave (RFC 6455 section 5.5.1), and nothing may wait for it.
        if !self.is_over() {
            self.queue.get_or_insert_default().pong(payload);
        }
    }

    pub(crate) fn ping(&mut self, payload: Bytes) -> Result<(), UsageError> {
        if payload.len() > MAX_CONTROL {
            return Err(UsageError::ControlTooLong);
        }
        self.queue.get_or_insert_default().ping(payload)
    }

    /// Queues the Close frame behind all data. A message that is streamed stays unfinished.
    pub(crate) fn close(&mut self, frame: Option<CloseFrame>) {
        if let Some(queue) = &mut self.queue {
            queue.stream = None;
        }
        self.drop_empty_queue();
        self.closing.get_or_insert_default().frame.get_or_insert(frame);
    }

    // ---- questions ----

    /// Whether nothing is encoded any more.
    fn is_over(&self) -> bool {
        self.closing.as_ref().is_some_and(|closing| closing.over)
    }

    /// The Close frame that was wholly handed to the transport.
    pub(crate) fn close_sent(&self) -> Option<&Option<CloseFrame>> {
        let closing = self.closing.as_ref().filter(|closing| closing.over)?;
        closing.frame.as_ref().filter(|_| self.encoded() == 0)
    }

    /// The window, as a power of two, that messages are compressed with.
    pub(crate) fn window_bits(&self) -> Option<u8> {
        Some(self.coding.as_ref()?.deflate.as_ref()?.window_bits)
    }

    /// Marks the end of what is queued; returns how many marks there were before.
    pub(crate) fn mark(&mut self) -> u64 {
        let waits = self.queue.as_mut().is_some_and(|queue| queue.mark());
        if !waits && let Some(wire) = &mut self.wire {
            wire.mark();
        }
        self.marked += 1;
        self.marked - 1
    }

    /// Marks that the transport has reached.
    pub(crate) fn marks_passed(&self) -> u64 {
        let waiting = self.queue.as_ref().map_or(0, |queue| queue.marks);
        self.marked - waiting - self.wire.as_ref().map_or(0, |wire| wire.marks() as u64)
    }

    /// Bytes that are encoded and not handed to the transport.
    #[inline]
    pub(crate) fn encoded(&self) -> usize {
        self.wire.as_ref().map_or(0, |wire| wire.len())
    }

    /// Bytes that are queued and not handed to the transport; headers count in full once encoded,
    /// and before that with two bytes for each message.
    #[inline]
    pub(crate) fn buffered(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.bytes) + self.encoded()
    }

    /// Bytes of memory that the queue holds, about: many small messages cost more than their bytes.
    #[inline]
    pub(crate) fn held(&self) -> usize {
        let waiting = self.queue.as_ref().map_or(0, |queue| queue.waiting.len());
        self.buffered() + waiting * PENDING_COST
    }

    /// Memory that the copied frames take, and whether anything at all is allocated for output.
    #[cfg(test)]
    pub(crate) fn allocated(&self) -> (usize, bool) {
        let copied = self.wire.as_ref().map_or(0, |wire| wire.capacity());
        (copied, self.wire.is_some() || self.queue.is_some() || self.closing.is_some())
    }

    /// Whether whole frames that were encoded elsewhere may follow what is on the wire.
    pub(crate) fn takes_frames(&self) -> bool {
        let masks = self.coding.as_ref().is_some_and(|coding| coding.masks.is_some());
        !masks && self.queue.is_none() && self.closing.is_none()
    }

    /// Puts bytes of such frames behind what is on the wire.
    pub(crate) fn frames(&mut self, frames: &[u8]) {
        if !self.is_over() {
            self.wire.get_or_insert_default().frames(frames);
        }
    }

    /// Whether there is nothing at all to send.
    pub(crate) fn is_empty(&self) -> bool {
        self.wire.is_none() && self.queue.is_none() && self.closing.is_none()
    }

    /// Prepared frames were written as far as `taken`.
    pub(crate) fn prepared_sent(&mut self, frames: &PreparedFrames, taken: usize) {
        if frames.compressed {
            self.foreign_history();
        }
        if taken < frames.bytes().len() {
            let rest = frames.bytes().slice(taken..);
            self.wire.get_or_insert_default().shared(&rest);
        }
    }

    /// The peer's history now holds a message that ours does not. Distances never reach behind a
    /// reset, so both agree again from here.
    fn foreign_history(&mut self) {
        if let Some(deflate) = self.deflate()
            && deflate.takeover
        {
            deflate.compressor.reset();
        }
    }

    /// Whether everything was handed to the transport.
    #[inline]
    pub(crate) fn is_flushed(&self) -> bool {
        self.wire.is_none()
            && self.queue.as_ref().is_none_or(|queue| queue.is_empty())
            && self.closing.as_ref().is_none_or(|closing| closing.over)
    }

    // ---- giving up ----

    /// Gives up all that is queued, for good; returns what that was.
    pub(crate) fn abandon(&mut self) -> GivenUp {
        let waiting = self.abandon_waiting();
        let marks = self.wire.as_ref().map_or(0, |wire| wire.marks() as u64);
        let lost = GivenUp { bytes: waiting.bytes + self.encoded(), marks: waiting.marks + marks };
        self.wire = None;
        self.closing = Some(Box::new(Closing { frame: None, over: true }));
        lost
    }

    /// Gives up all that is not encoded but a Close, and the compressor; nothing but a Close may be
    /// queued after it. Returns what that was.
    pub(crate) fn abandon_waiting(&mut self) -> GivenUp {
        if let Some(coding) = &mut self.coding {
            coding.deflate = None;
        }
        let queue = self.queue.take();
        queue.map_or_else(GivenUp::default, |q| GivenUp { bytes: q.bytes, marks: q.marks })
    }

    fn drop_empty_queue(&mut self) {
        self.queue.take_if(|queue| queue.is_empty() && queue.stream.is_none());
    }

    // ---- the transport ----

    #[inline]
    pub(crate) fn slices<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        self.wire.as_ref().map_or(0, |wire| wire.slices(out))
    }

    #[inline]
    pub(crate) fn advance(&mut self, n: usize) {
        if let Some(wire) = &mut self.wire {
            wire.advance(n);
            if wire.len() == 0 {
                self.wire = None;
            }
        }
    }
}

impl FrameHeader {
    fn with(self, payload: Bytes) -> Encoded {
        Encoded { header: self, payload }
    }
}
