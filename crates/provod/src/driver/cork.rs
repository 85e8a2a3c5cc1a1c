//! Frames that a handler sends while it is called, gathered without its connection's lock.
//!
//! They are encoded into a buffer of the thread and go to the transport, or behind what waits for
//! it, once the handler has returned. Whoever locks the connection on the same thread meanwhile, as
//! a group does that the handler publishes to, finds them queued: so the order in which a handler
//! says things is kept.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::Bytes;
use provod_proto::{MessageKind, message_frame, message_header};

use super::inbox::message;
use super::shared::Shared;
use super::state::State;
use crate::error::TrySendError;

/// The longest header of a server's frame.
const MAX_HEADER: usize = 10;
/// A longer buffer is given back.
const KEPT: usize = 256 << 10;

thread_local! {
    /// The connection whose handler runs on this thread, by its address; 0 is none.
    static CORKED: Cell<usize> = const { Cell::new(0) };
    /// The same connection.
    static HANDLED: RefCell<Option<Arc<Shared>>> = const { RefCell::new(None) };
    static CORK: RefCell<Cork> = const { RefCell::new(Cork { frames: Vec::new(), messages: 0 }) };
}

/// Whole frames.
#[derive(Debug, Default)]
pub(crate) struct Cork {
    pub(crate) frames: Vec<u8>,
    pub(crate) messages: u64,
}

fn address(shared: &Shared) -> usize {
    std::ptr::from_ref(shared).addr()
}

impl Cork {
    /// Begins to gather what the handler of `shared` sends.
    pub(crate) fn begin(shared: &Arc<Shared>) {
        CORKED.set(address(shared));
        HANDLED.set(Some(shared.clone()));
    }

    /// Gathers a message, and returns how many bytes are gathered now; `None` where nothing is
    /// gathered (any more) for `shared`, or so much that there is no `room`.
    pub(crate) fn add(
        shared: &Shared,
        kind: MessageKind,
        payload: &[u8],
        room: usize,
    ) -> Option<usize> {
        if CORKED.get() != address(shared) {
            return None;
        }
        CORK.with_borrow_mut(|cork| {
            if cork.frames.len() >= room {
                return None;
            }
            message_frame(kind, payload, &mut cork.frames);
            cork.messages += 1;
            Some(cork.frames.len())
        })
    }

    /// Queues what was gathered, and gathers no more in this call: something is about to be said
    /// that goes behind it, from whatever thread it is queued, and what follows goes behind that.
    pub(crate) fn interrupt() {
        let Some(shared) = HANDLED.take() else { return };
        if CORK.with_borrow(|cork| cork.messages > 0) {
            drop(shared.lock());
        }
        CORKED.set(0);
    }

    /// Ends it and gives out what was gathered, to be given back with [`put`](Self::put).
    pub(crate) fn end() -> Self {
        CORKED.set(0);
        HANDLED.set(None);
        CORK.take()
    }

    /// Gives the buffer back, for the next.
    pub(crate) fn put(mut self) {
        if self.frames.capacity() <= KEPT {
            self.frames.clear();
            self.messages = 0;
            CORK.set(self);
        }
    }

    /// Queues what was gathered for `shared`, which was just locked, and gathers no more for it.
    pub(super) fn pull(shared: &Shared, state: &mut State) {
        if CORKED.get() != address(shared) {
            return;
        }
        let cork = Self::end();
        state.queue_frames(&cork);
        cork.put();
    }
}

impl Shared {
    /// Sends a long message from where it lies, behind what was gathered: nothing of it is copied
    /// but what the transport does not take. Returns whether so much waits that no more should be
    /// sent.
    pub(crate) fn write_through(
        self: &Arc<Self>,
        kind: MessageKind,
        payload: &[u8],
        write: impl FnOnce(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> Result<bool, TrySendError<()>> {
        let gathered = Cork::end();
        let mut state = self.lock();
        if !state.core.can_send() {
            // It was sent before, and goes before a Close that somebody else has queued.
            state.queue_frames(&gathered);
            gathered.put();
            return Err(TrySendError::Closed(()));
        }
        if !state.core.takes_frames() || state.core.has_output() {
            state.queue_frames(&gathered);
            gathered.put();
            drop(state);
            let message = message(kind, Bytes::copy_from_slice(payload));
            self.try_send(message).map_err(|e| e.map(|_| ()))?;
            return Ok(self.is_congested());
        }
        let mut header = Vec::with_capacity(MAX_HEADER);
        message_header(kind, payload.len(), &mut header);
        let parts = [&gathered.frames[..], &header, payload];
        let slices = parts.map(IoSlice::new);
        let slices = if gathered.frames.is_empty() { &slices[1..] } else { &slices[..] };
        // An error shows again when the rest is written.
        let mut taken = write(slices).unwrap_or(0);
        state.counters.messages_out.add(gathered.messages + 1);
        state.counters.bytes_out.add(taken as u64);
        for part in parts {
            let rest = &part[taken.min(part.len())..];
            taken = taken.saturating_sub(part.len());
            if !rest.is_empty() {
                state.core.send_frames(rest);
            }
        }
        let (goes_on, congested) = (state.core.takes_frames(), state.is_congested());
        drop(state);
        gathered.put();
        if goes_on {
            Cork::begin(self);
        }
        Ok(congested)
    }
}

impl State {
    /// How many bytes of frames a handler may send without this lock; 0 where it must not.
    pub(crate) fn gathers(&self, hard_limit: usize) -> usize {
        if self.core.takes_frames() { hard_limit.saturating_sub(self.core.held()) } else { 0 }
    }

    /// Writes what a handler has sent, and queues what the transport does not take.
    pub(crate) fn write_frames(
        &mut self,
        cork: &Cork,
        write: impl FnOnce(&[u8]) -> io::Result<usize>,
    ) {
        if self.core.has_output() || !self.core.can_send() {
            return self.queue_frames(cork);
        }
        self.counters.messages_out.add(cork.messages);
        // An error shows again when the rest is written.
        let taken = write(&cork.frames).unwrap_or(0);
        self.counters.bytes_out.add(taken as u64);
        if let Some(rest @ [_, ..]) = cork.frames.get(taken..) {
            self.core.send_frames(rest);
        }
    }

    /// Queues what a handler has sent.
    pub(crate) fn queue_frames(&mut self, cork: &Cork) {
        if cork.messages > 0 {
            self.counters.messages_out.add(cork.messages);
            self.core.send_frames(&cork.frames);
            self.unsent |= self.core.has_output();
        }
    }
}
