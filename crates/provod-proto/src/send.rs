//! The sending half: messages to frames to bytes, control frames first.
//!
//! Two queues. *Waiting* messages and control frames are not encoded yet, so a Ping or Pong can
//! still pass the data. The *wire* holds encoded bytes in their final order, topped up to about
//! [`WIRE_TARGET`] at a time, so that what nothing can pass any more is bounded.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

use crate::close::CloseFrame;
use crate::config::Config;
use crate::deflate::Compressor;
use crate::error::UsageError;
use crate::frame::{FrameHeader, MAX_CONTROL, MAX_HEADER, OpCode};
use crate::mask::{MaskSource, apply_mask};
use crate::message::{Message, MessageKind};
use crate::prepared::Prepared;
use crate::utf8::Utf8Check;

mod wire;

use wire::Wire;

/// The wire is topped up while it holds less than this.
const WIRE_TARGET: usize = 64 << 10;
/// Payload bytes that are encoded in one go.
const FILL_INPUT: usize = 256 << 10;
/// Pongs that wait unwritten; more push out the oldest (RFC 6455 section 5.5.3 allows it).
const MAX_PONGS: usize = 64;
/// Pings that wait unwritten; one more is refused.
const MAX_PINGS: usize = 64;
/// What the header of a frame takes at least. It is counted for each message that waits, so that
/// the loss of a message of no bytes shows.
const LEAST_HEADER: usize = 2;
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

/// A data message, or a piece of one, that waits.
#[derive(Debug)]
struct Pending {
    /// Text or Binary; only the first frame of the message carries it.
    opcode: OpCode,
    data: Bytes,
    /// The last piece of its message.
    last: bool,
    /// The compressor keeps nothing of it for later.
    flush: bool,
    form: Form,
    /// Marks at its end.
    marks: u32,
}

impl Pending {
    /// A whole message, or the last piece of one.
    fn whole(opcode: OpCode, data: Bytes, form: Form) -> Self {
        Self { opcode, data, last: true, flush: false, form, marks: 0 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    /// To be compressed when its turn comes.
    Compress,
    /// Compressed already, without history.
    Compressed,
}

/// A message that is sent piece by piece.
#[derive(Debug, Clone)]
struct Stream {
    opcode: OpCode,
    form: Form,
    /// For text.
    utf8: Utf8Check,
    /// A piece was queued.
    begun: bool,
}

/// The compressor and the window that the peer can inflate.
pub(crate) struct Deflate {
    pub(crate) compressor: Compressor,
    pub(crate) window_bits: u8,
    /// History is kept between messages.
    pub(crate) takeover: bool,
}

pub(crate) struct Outgoing {
    masks: Option<Box<dyn MaskSource>>,
    deflate: Option<Box<Deflate>>,
    wire: Wire,
    pongs: VecDeque<Bytes>,
    pings: VecDeque<Bytes>,
    waiting: VecDeque<Pending>,
    stream: Option<Stream>,
    /// A message of which a frame is on the wire and the rest is not.
    open: bool,
    /// A message of which a piece is on the wire, or in the compressor, and the rest is not.
    midway: bool,
    close: Option<Option<CloseFrame>>,
    close_encoded: bool,
    waiting_bytes: usize,
    /// Marks ever made, and those behind messages that wait.
    marked: u64,
    waiting_marks: u64,
}

/// A frame that was encoded in a step, for keepalive and the trace.
pub(crate) struct Encoded {
    pub(crate) header: FrameHeader,
    /// The payload before masking and after compression.
    pub(crate) payload: Bytes,
}

impl Outgoing {
    pub(crate) fn new(masks: Option<Box<dyn MaskSource>>, deflate: Option<Box<Deflate>>) -> Self {
        Self {
            masks,
            deflate,
            wire: Wire::default(),
            pongs: VecDeque::new(),
            pings: VecDeque::new(),
            waiting: VecDeque::new(),
            stream: None,
            open: false,
            midway: false,
            close: None,
            close_encoded: false,
            waiting_bytes: 0,
            marked: 0,
            waiting_marks: 0,
        }
    }

    fn form(&self, len: usize, compress: Compress, threshold: usize) -> Form {
        let wanted = match compress {
            Compress::Auto => len >= threshold,
            Compress::Always => true,
            Compress::Never => false,
        };
        if wanted && self.deflate.is_some() { Form::Compress } else { Form::Plain }
    }

    pub(crate) fn message(
        &mut self,
        message: Message,
        compress: Compress,
        config: &Config,
    ) -> Result<(), UsageError> {
        self.may_begin()?;
        let form = self.form(message.len(), compress, config.compression.threshold);
        let opcode = message.kind().opcode();
        self.push(Pending::whole(opcode, message.into_bytes(), form));
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
            && let Some(deflate) = &mut self.deflate
            && let Some(data) = prepared.compressed(deflate.window_bits)
        {
            let data = data.clone();
            self.push(Pending::whole(opcode, data, Form::Compressed));
            return Ok(());
        }
        if self.masks.is_none()
            && payload.len() <= config.fragment_size
            && self.nothing_waits()
            && self.wire.len() < WIRE_TARGET
            && !config.trace
        {
            self.wire.shared(prepared.frame());
            return Ok(());
        }
        self.push(Pending::whole(opcode, payload.clone(), Form::Plain));
        Ok(())
    }

    pub(crate) fn begin(
        &mut self,
        kind: MessageKind,
        compress: Compress,
    ) -> Result<(), UsageError> {
        self.may_begin()?;
        // The length is not known yet, so `Auto` compresses.
        let form = self.form(usize::MAX, compress, 0);
        self.stream =
            Some(Stream { opcode: kind.opcode(), form, utf8: Utf8Check::default(), begun: false });
        Ok(())
    }

    pub(crate) fn chunk(&mut self, data: Bytes, last: bool) -> Result<(), UsageError> {
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
        let pending = Pending { last, ..whole };
        if last {
            self.stream = None;
        }
        self.push(pending);
        Ok(())
    }

    pub(crate) fn cancel(&mut self) -> bool {
        self.stream.take_if(|stream| !stream.begun).is_some()
    }

    /// Lets the compressor give out what it has kept of the message begun.
    pub(crate) fn flush(&mut self) -> Result<(), UsageError> {
        let Some(&Stream { opcode, form, begun, .. }) = self.stream.as_ref() else {
            return Err(UsageError::NoMessageInProgress);
        };
        if form != Form::Compress || !begun {
            return Ok(());
        }
        match self.waiting.back_mut() {
            Some(back) if !back.last => back.flush = true,
            _ => {
                let data = Bytes::new();
                let whole = Pending::whole(opcode, data, form);
                self.push(Pending { last: false, flush: true, ..whole });
            }
        }
        Ok(())
    }

    fn may_begin(&self) -> Result<(), UsageError> {
        if self.stream.is_some() { Err(UsageError::MessageInProgress) } else { Ok(()) }
    }

    fn push(&mut self, pending: Pending) {
        self.waiting_bytes += LEAST_HEADER + pending.data.len();
        self.waiting.push_back(pending);
    }

    pub(crate) fn pong(&mut self, payload: Bytes) {
        if self.close_encoded {
            // It can never leave (RFC 6455 section 5.5.1), and nothing may wait for it.
            return;
        }
        if self.pongs.len() == MAX_PONGS {
            self.pongs.pop_front();
        }
        self.pongs.push_back(payload);
    }

    pub(crate) fn ping(&mut self, payload: Bytes) -> Result<(), UsageError> {
        if payload.len() > MAX_CONTROL {
            return Err(UsageError::ControlTooLong);
        }
        if self.pings.len() == MAX_PINGS {
            return Err(UsageError::TooManyPings);
        }
        self.pings.push_back(payload);
        Ok(())
    }

    /// Queues the Close frame behind all data. A message that is streamed stays unfinished.
    pub(crate) fn close(&mut self, frame: Option<CloseFrame>) {
        self.stream = None;
        self.close.get_or_insert(frame);
    }

    /// The Close frame that was wholly handed to the transport.
    pub(crate) fn close_sent(&self) -> Option<&Option<CloseFrame>> {
        self.close.as_ref().filter(|_| self.close_encoded && self.wire.len() == 0)
    }

    /// The window, as a power of two, that messages are compressed with.
    pub(crate) fn window_bits(&self) -> Option<u8> {
        self.deflate.as_ref().map(|deflate| deflate.window_bits)
    }

    /// Marks the end of what is queued; returns how many marks there were before.
    pub(crate) fn mark(&mut self) -> u64 {
        match self.waiting.back_mut() {
            Some(last) => {
                last.marks += 1;
                self.waiting_marks += 1;
            }
            None => self.wire.mark(),
        }
        self.marked += 1;
        self.marked - 1
    }

    /// Marks that the transport has reached.
    pub(crate) fn marks_passed(&self) -> u64 {
        self.marked - self.waiting_marks - self.wire.marks() as u64
    }

    /// Bytes that are queued and not handed to the transport; headers count in full once encoded,
    /// and before that with two bytes for each message.
    pub(crate) fn buffered(&self) -> usize {
        self.waiting_bytes + self.wire.len()
    }

    /// Bytes of memory that the queue holds, about: many small messages cost more than their bytes.
    pub(crate) fn held(&self) -> usize {
        self.buffered() + self.waiting.len() * PENDING_COST
    }

    #[cfg(test)]
    pub(crate) fn copied_capacity(&self) -> usize {
        self.wire.capacity()
    }

    /// Whether whole frames that were encoded elsewhere may follow what is on the wire.
    pub(crate) fn takes_frames(&self) -> bool {
        self.masks.is_none()
            && self.stream.is_none()
            && !self.midway
            && self.waiting.is_empty()
            && self.close.is_none()
    }

    /// Puts bytes of such frames behind what is on the wire.
    pub(crate) fn frames(&mut self, frames: &[u8]) {
        if !self.close_encoded {
            self.wire.frames(frames);
        }
    }

    /// Whether everything was handed to the transport.
    pub(crate) fn is_flushed(&self) -> bool {
        self.wire.len() == 0 && self.nothing_waits() && (self.close.is_none() || self.close_encoded)
    }

    fn nothing_waits(&self) -> bool {
        self.waiting.is_empty() && self.pongs.is_empty() && self.pings.is_empty()
    }

    /// Gives up all that is queued, for good; returns how many bytes that were.
    pub(crate) fn abandon(&mut self) -> usize {
        let lost = self.abandon_waiting() + self.wire.len();
        self.wire = Wire::default();
        self.close = None;
        self.close_encoded = true;
        lost
    }

    /// Gives up all that is not encoded but a Close, and the compressor; nothing but a Close may be
    /// queued after it. Returns how many bytes that were.
    pub(crate) fn abandon_waiting(&mut self) -> usize {
        self.waiting = VecDeque::new();
        self.waiting_marks = 0;
        self.pongs = VecDeque::new();
        self.pings = VecDeque::new();
        self.stream = None;
        self.deflate = None;
        std::mem::take(&mut self.waiting_bytes)
    }

    /// Bytes that are encoded and not handed to the transport.
    pub(crate) fn encoded(&self) -> usize {
        self.wire.len()
    }

    /// Encodes frames while the wire has room, and tells of each.
    pub(crate) fn fill(&mut self, config: &Config, mut seen: impl FnMut(Encoded)) {
        let before = self.waiting_bytes;
        // What compresses well fills the wire slowly, so the work is bounded by what goes in, too.
        while self.wire.len() == 0
            || (self.wire.len() < WIRE_TARGET && before - self.waiting_bytes < FILL_INPUT)
        {
            let Some(encoded) = self.encode_next(config) else { break };
            seen(encoded);
        }
    }

    /// The next frame in order: Pongs, Pings, data, Close. A control frame may stand between the
    /// fragments of a message (RFC 6455 section 5.4).
    fn encode_next(&mut self, config: &Config) -> Option<Encoded> {
        if self.close_encoded {
            // Nothing follows a Close (RFC 6455 section 5.5.1).
            return None;
        }
        if let Some(payload) = self.pongs.pop_front() {
            return Some(self.encode(OpCode::Pong, true, false, payload));
        }
        if let Some(payload) = self.pings.pop_front() {
            return Some(self.encode(OpCode::Ping, true, false, payload));
        }
        while let Some(pending) = self.waiting.pop_front() {
            if let Some(encoded) = self.encode_data(pending, config) {
                return Some(encoded);
            }
        }
        if self.waiting.capacity() > 64 {
            self.waiting = VecDeque::new();
        }
        let frame = self.close.as_ref()?;
        let payload = frame.as_ref().map(|f| Bytes::from(f.encode())).unwrap_or_default();
        self.close_encoded = true;
        Some(self.encode(OpCode::Close, true, false, payload))
    }

    /// The next frame of a data message; `None` when the compressor has kept the piece for later.
    fn encode_data(&mut self, mut pending: Pending, config: &Config) -> Option<Encoded> {
        let size = config.fragment_size.max(1);
        let whole = !self.midway && pending.last && pending.data.len() <= size;
        let piece = pending.data.split_to(pending.data.len().min(size));
        self.waiting_bytes -= piece.len();
        let fin = pending.last && pending.data.is_empty();
        self.midway = !fin;
        let mut form = pending.form;
        let mut payload = piece;
        if form == Form::Compress
            && let Some(deflate) = &mut self.deflate
        {
            let mut out = Vec::new();
            deflate.compressor.compress(&payload, fin, &mut out);
            if !pending.data.is_empty() || (pending.flush && !fin) {
                // A fragment leaves as such: the peer can go on with it, and one step stays one
                // step.
                deflate.compressor.flush(&mut out);
            }
            if whole && !deflate.takeover && out.len() >= payload.len() {
                // It does not shrink, and no history knows of it: it leaves as it is.
                form = Form::Plain;
            } else {
                payload = Bytes::from(out);
            }
        }
        if form == Form::Compressed
            && fin
            && let Some(deflate) = &mut self.deflate
            && deflate.takeover
        {
            // The peer's history now holds a message that ours does not. Distances never reach
            // behind a reset, so both agree again from here.
            deflate.compressor.reset();
        }
        let kind = pending.opcode;
        let mut marks = 0;
        if pending.data.is_empty() {
            self.waiting_bytes -= LEAST_HEADER;
            self.waiting_marks -= u64::from(pending.marks);
            marks = pending.marks;
        } else {
            self.waiting.push_front(pending);
        }
        let encoded = (!payload.is_empty() || fin).then(|| {
            let (opcode, rsv1) =
                if self.open { (OpCode::Continuation, false) } else { (kind, form != Form::Plain) };
            self.open = !fin;
            self.encode(opcode, fin, rsv1, payload)
        });
        (0..marks).for_each(|_| self.wire.mark());
        encoded
    }

    fn encode(&mut self, opcode: OpCode, fin: bool, rsv1: bool, payload: Bytes) -> Encoded {
        let mask = self.masks.as_mut().map(|m| m.next_key());
        let header = FrameHeader { fin, rsv1, opcode, mask, len: payload.len() as u64 };
        self.wire.expect(self.waiting_bytes + self.waiting.len() * MAX_HEADER);
        match mask {
            Some(key) => self.wire.copied(&header, &payload, |data| apply_mask(data, key, 0)),
            None => self.wire.frame(&header, &payload),
        }
        Encoded { header, payload }
    }

    pub(crate) fn slices<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        self.wire.slices(out)
    }

    pub(crate) fn advance(&mut self, n: usize) {
        self.wire.advance(n);
    }
}
