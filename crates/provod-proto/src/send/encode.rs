//! From what waits to the wire: which frame is next, and its bytes.

use std::collections::VecDeque;

use bytes::Bytes;

use super::queue::{Form, LEAST_HEADER, Pending, Queue, Rest};
use super::{Encoded, FILL_INPUT, Outgoing, WIRE_TARGET};
use crate::config::Config;
use crate::frame::{FrameHeader, MAX_HEADER, OpCode};
use crate::mask::apply_mask;

impl Outgoing {
    /// Encodes frames while the wire has room, and tells of each.
    pub(crate) fn fill(&mut self, config: &Config, mut seen: impl FnMut(Encoded)) {
        if self.queue.is_none() && self.closing.is_none() {
            return;
        }
        let waiting = |this: &Self| this.queue.as_ref().map_or(0, |queue| queue.bytes);
        let before = waiting(self);
        // What compresses well fills the wire slowly, so the work is bounded by what goes in, too.
        while self.encoded() == 0
            || (self.encoded() < WIRE_TARGET && before - waiting(self) < FILL_INPUT)
        {
            let Some(encoded) = self.encode_next(config) else { break };
            seen(encoded);
        }
    }

    /// The next frame in order: Pongs, Pings, data, Close. A control frame may stand between the
    /// fragments of a message (RFC 6455 section 5.4).
    fn encode_next(&mut self, config: &Config) -> Option<Encoded> {
        if self.is_over() {
            // Nothing follows a Close (RFC 6455 section 5.5.1).
            return None;
        }
        if let Some(mut queue) = self.queue.take() {
            let encoded = self.encode_waiting(&mut queue, config);
            self.queue = Some(queue);
            self.drop_empty_queue();
            if encoded.is_some() {
                return encoded;
            }
        }
        let closing = self.closing.as_mut()?;
        let frame = closing.frame.as_ref()?;
        let payload = frame.as_ref().map(|f| Bytes::from(f.encode())).unwrap_or_default();
        closing.over = true;
        Some(self.encode(OpCode::Close, true, false, &payload).with(payload))
    }

    fn encode_waiting(&mut self, queue: &mut Queue, config: &Config) -> Option<Encoded> {
        let control = match queue.pongs.pop_front() {
            Some(payload) => Some((OpCode::Pong, payload)),
            None => queue.pings.pop_front().map(|payload| (OpCode::Ping, payload)),
        };
        if let Some((opcode, payload)) = control {
            self.expect(queue);
            return Some(self.encode(opcode, true, false, &payload).with(payload));
        }
        while let Some(pending) = queue.waiting.pop_front() {
            if let Some(encoded) = self.encode_data(queue, pending, config) {
                return Some(encoded);
            }
        }
        if queue.waiting.capacity() > 64 {
            queue.waiting = VecDeque::new();
        }
        None
    }

    /// The next frame of a data message; `None` when the compressor has kept the piece for later.
    fn encode_data(
        &mut self,
        queue: &mut Queue,
        mut pending: Pending,
        config: &Config,
    ) -> Option<Encoded> {
        let size = config.fragment_size.max(1);
        let last = pending.rest == Rest::None;
        let whole = !queue.midway && last && pending.data.len() <= size;
        let piece = pending.data.split_to(pending.data.len().min(size));
        queue.bytes -= piece.len();
        let fin = last && pending.data.is_empty();
        queue.midway = !fin;
        let mut form = pending.form;
        let mut payload = piece;
        if form == Form::Compress
            && let Some(deflate) = self.deflate()
        {
            let mut out = Vec::new();
            deflate.compressor.compress(&payload, fin, &mut out);
            if !pending.data.is_empty() || pending.rest == Rest::Flushed {
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
        if form == Form::Compressed && fin {
            self.foreign_history();
        }
        let kind = pending.opcode;
        if std::mem::take(&mut pending.marked) {
            queue.marks -= 1;
            self.wire.get_or_insert_default().mark_next();
        }
        let mut marks = 0;
        if pending.data.is_empty() {
            queue.bytes -= LEAST_HEADER;
            queue.marks -= u64::from(pending.marks);
            marks = pending.marks;
        } else {
            queue.waiting.push_front(pending);
        }
        let encoded = (!payload.is_empty() || fin).then(|| {
            let (opcode, rsv1) = if queue.open {
                (OpCode::Continuation, false)
            } else {
                (kind, form != Form::Plain)
            };
            queue.open = !fin;
            self.expect(queue);
            self.encode(opcode, fin, rsv1, &payload).with(payload)
        });
        if let Some(wire) = &mut self.wire {
            (0..marks).for_each(|_| wire.mark());
        }
        encoded
    }

    /// Says how much is about to follow the next frame.
    fn expect(&mut self, queue: &Queue) {
        let to_come = queue.bytes + queue.waiting.len() * MAX_HEADER;
        self.wire.get_or_insert_default().expect(to_come);
    }

    #[inline]
    pub(super) fn header(
        &mut self,
        opcode: OpCode,
        fin: bool,
        rsv1: bool,
        len: usize,
    ) -> FrameHeader {
        let mask = match &mut self.coding {
            Some(coding) => coding.masks.as_mut().map(|masks| masks.next_key()),
            None => None,
        };
        FrameHeader { fin, rsv1, opcode, mask, len: len as u64 }
    }

    /// Puts a frame on the wire.
    pub(super) fn encode(
        &mut self,
        opcode: OpCode,
        fin: bool,
        rsv1: bool,
        payload: &Bytes,
    ) -> FrameHeader {
        let header = self.header(opcode, fin, rsv1, payload.len());
        if header.mask.is_some() {
            self.copy(&header, payload);
        } else {
            self.wire.get_or_insert_default().frame(&header, payload);
        }
        header
    }

    /// Puts a copy on the wire.
    #[inline]
    pub(super) fn copy(&mut self, header: &FrameHeader, payload: &[u8]) {
        self.wire.get_or_insert_default().copied(header, payload, |data| {
            if let Some(key) = header.mask {
                apply_mask(data, key, 0);
            }
        });
    }
}
