//! Encoded bytes in their final order, as few segments as copying is cheaper than pointing.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

use crate::frame::{FrameHeader, MAX_HEADER};

/// Payloads below this are copied behind their header; longer ones are pointed to.
const COPY_BELOW: usize = 2048;
/// A segment of copied frames is closed when it has grown to this.
const SEGMENT: usize = 64 << 10;

/// A new segment makes at most this much room for what is known to follow, and at least this much
/// for what may; then it grows as it is filled.
const FIRST_ROOM: usize = 4096;
const LEAST_ROOM: usize = 1008;
/// The same for a message that goes to many: each has room for it before the first is written to.
const SHARED_ROOM: usize = 240;

#[derive(Debug)]
enum Segment {
    Copied(Vec<u8>),
    Shared(Bytes),
}

impl Segment {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Copied(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

/// What is encoded and not taken by the transport; there is none where nothing is.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    segments: VecDeque<Segment>,
    /// The last segment, which small frames are copied to.
    tail: Vec<u8>,
    /// Bytes of the first segment, which may be the last one, that the transport has taken.
    taken: usize,
    len: usize,
    /// Bytes that are about to follow, so that a batch of small frames makes one allocation.
    to_come: usize,
    /// All bytes that the transport took since this was empty.
    advanced: u64,
    /// Marked places that are not reached yet, counted like `advanced`.
    marks: VecDeque<u64>,
}

impl Wire {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Marks the end of what is there now.
    pub(crate) fn mark(&mut self) {
        if self.len > 0 {
            self.marks.push_back(self.advanced + self.len as u64);
        }
    }

    /// Marks the first byte of the frame that comes next: it is reached when that byte is taken.
    pub(crate) fn mark_next(&mut self) {
        self.marks.push_back(self.advanced + self.len as u64 + 1);
    }

    /// Marks that the transport has not reached.
    pub(crate) fn marks(&self) -> usize {
        self.marks.len()
    }

    /// Says how many bytes will follow the next frame.
    pub(crate) fn expect(&mut self, to_come: usize) {
        self.to_come = to_come;
    }

    /// The segment that small frames are copied to, with room for `more` bytes; a new one has room
    /// for `least` at least. The caller counts what it appends.
    #[inline]
    fn tail(&mut self, more: usize, least: usize) -> &mut Vec<u8> {
        if self.tail.capacity() - self.tail.len() < more {
            self.make_room(more, least);
        }
        &mut self.tail
    }

    #[inline(never)]
    fn make_room(&mut self, more: usize, least: usize) {
        if self.tail.len() + more > SEGMENT {
            self.close_tail();
        }
        if self.tail.capacity() == 0 {
            let room = more.max((more + self.to_come).clamp(least, FIRST_ROOM));
            self.tail.reserve_exact(room);
        } else {
            self.tail.reserve(more);
        }
    }

    /// What follows is no part of the last segment.
    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            self.segments.push_back(Segment::Copied(std::mem::take(&mut self.tail)));
        }
    }

    fn point_to(&mut self, bytes: &Bytes) {
        self.close_tail();
        self.segments.push_back(Segment::Shared(bytes.clone()));
    }

    /// A frame whose payload goes out as it is.
    pub(crate) fn frame(&mut self, header: &FrameHeader, payload: &Bytes) {
        if payload.len() < COPY_BELOW {
            self.copied(header, payload, |_| {});
            return;
        }
        // Nothing is copied behind this header.
        self.to_come = 0;
        let tail = self.tail(MAX_HEADER, 0);
        let before = tail.len();
        header.encode(tail);
        self.len += tail.len() - before + payload.len();
        self.point_to(payload);
    }

    /// A frame whose payload is copied and changed.
    #[inline]
    pub(crate) fn copied(
        &mut self,
        header: &FrameHeader,
        payload: &[u8],
        change: impl FnOnce(&mut [u8]),
    ) {
        let tail = self.tail(payload.len() + MAX_HEADER, LEAST_ROOM);
        let before = tail.len();
        header.encode(tail);
        let at = tail.len();
        tail.extend_from_slice(payload);
        change(&mut tail[at..]);
        self.len += tail.len() - before;
    }

    /// A frame that is encoded already.
    pub(crate) fn shared(&mut self, frame: &Bytes) {
        if frame.len() < COPY_BELOW {
            self.tail(frame.len(), SHARED_ROOM).extend_from_slice(frame);
        } else {
            self.point_to(frame);
        }
        self.len += frame.len();
    }

    /// Bytes of frames that are encoded already.
    pub(crate) fn frames(&mut self, frames: &[u8]) {
        self.tail(frames.len(), LEAST_ROOM).extend_from_slice(frames);
        self.len += frames.len();
    }

    /// Points `out` at the front of the queue; returns how many slices it used.
    #[inline]
    pub(crate) fn slices<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        let mut skip = self.taken;
        let mut n = 0;
        let tail = (!self.tail.is_empty()).then_some(&self.tail[..]);
        for (slot, bytes) in
            out.iter_mut().zip(self.segments.iter().map(Segment::bytes).chain(tail))
        {
            *slot = IoSlice::new(&bytes[skip..]);
            skip = 0;
            n += 1;
        }
        n
    }

    /// The transport took `n` bytes.
    pub(crate) fn advance(&mut self, n: usize) {
        let mut n = n.min(self.len);
        self.len -= n;
        self.advanced += n as u64;
        while self.marks.front().is_some_and(|at| *at <= self.advanced) {
            self.marks.pop_front();
        }
        while let Some(front) = self.segments.front() {
            let rest = front.bytes().len() - self.taken;
            if n < rest {
                self.taken += n;
                return;
            }
            n -= rest;
            self.taken = 0;
            self.segments.pop_front();
        }
        self.taken += n;
    }

    /// Bytes of memory that the copied frames take.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        let capacity = |segment: &Segment| match segment {
            Segment::Copied(bytes) => bytes.capacity(),
            Segment::Shared(_) => 0,
        };
        self.segments.iter().map(capacity).sum::<usize>() + self.tail.capacity()
    }
}
