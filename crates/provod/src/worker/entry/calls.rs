//! What a connection's handler is called with, and how much of it in one turn.

use std::io::IoSlice;
use std::panic::{AssertUnwindSafe, catch_unwind};

use provod_proto::CloseCode;

use super::{Entry, again, write};
use crate::driver::{Batch, Cork, panic_text};
use crate::handler::{Handler, Received, Socket};
use crate::worker::Desk;
use crate::worker::held::{Rest, Waiting};

/// What one turn handles of a connection's input, in frames or their like, before the worker's
/// other connections have theirs: a read may bring tens of thousands of short frames, or hundreds
/// of megabytes once they are inflated.
const TURN_WORK: usize = 1024;

impl<P> Entry<P> {
    /// Handles input, as far as what waits for the handler has room and this turn has time; returns
    /// how much. Where it stopped in front of more, `held` says why, and the rest is to be
    /// [kept](Self::keep).
    pub(super) fn digest<H: Handler<S, Peer = P>, S>(
        &mut self,
        desk: &mut Desk<H>,
        key: u32,
        input: &mut [u8],
    ) -> usize {
        let now = self.shared.timestamp(desk.now);
        let (mut at, mut work) = (0, 0);
        loop {
            let mut batch = std::mem::take(&mut desk.batch);
            let mut state = self.shared.lock();
            state.begin_worker_turn();
            let fed = state.feed_batch(&mut input[at..], now, &mut batch);
            let more = state.must_feed();
            let room = state.gathers(self.shared.config.hard_limit);
            drop(state);
            self.handle(desk, key, batch, &input[at..at + fed.taken], room);
            at += fed.taken;
            work += fed.work;
            if self.pause() || (at == input.len() && !more) {
                return at;
            }
            if work >= TURN_WORK {
                self.held.get_or_insert_default().cut = true;
                again(&mut self.queued, desk, key);
                return at;
            }
        }
    }

    /// Keeps the rest of the input, where [`digest`](Self::digest) has stopped in front of it.
    pub(super) fn keep(&mut self, rest: impl FnOnce() -> Rest) {
        if let Some(held) = self.held.as_mut().filter(|held| held.paused || held.cut) {
            held.keep(rest());
            self.count_held();
        }
    }

    /// Goes on with the rest of the input.
    pub(super) fn go_on<H: Handler<S, Peer = P>, S>(&mut self, desk: &mut Desk<H>, key: u32) {
        let Some(held) = &mut self.held else { return };
        let mut rest = held.take_rest();
        self.held.take_if(|held| held.is_unused());
        let n = self.digest(desk, key, rest.input());
        self.keep(|| rest.without(n));
    }

    /// Calls the handler for what has come, which lies in `input`, and writes.
    pub(super) fn handle<H: Handler<S, Peer = P>, S>(
        &mut self,
        desk: &mut Desk<H>,
        key: u32,
        mut batch: Batch,
        input: &[u8],
        mut room: usize,
    ) {
        let handler = desk.handler.clone();
        loop {
            let mut cork = Cork::default();
            if !batch.is_empty() && self.is_free() {
                cork = self.call(room, |socket, peer| {
                    let Some(peer) = peer else { return batch.clear() };
                    while !socket.has_enough()
                        && let Some((kind, payload)) = batch.next()
                    {
                        handler.message(socket, peer, Received::new(kind, payload, input));
                        if socket.has_closed() {
                            batch.clear();
                        }
                    }
                });
            }
            let free = self.is_free();
            if free && batch.is_empty() {
                self.shared.lock().batch_done(self.shared.timestamp(desk.now));
            }
            self.turn(desk, key, cork);
            if batch.is_empty() {
                break;
            }
            if !self.is_free() {
                let held = self.held.get_or_insert_default();
                while let Some((kind, payload)) = batch.next() {
                    held.push(kind, payload, input);
                }
                break;
            }
            room = self.begin_turn();
        }
        batch.clear();
        desk.batch = batch;
    }

    /// Whether the handler may be called with the next message.
    fn is_free(&self) -> bool {
        !self.is_full() && !self.blocks()
    }

    /// Whether something waits for the handler, or it for something.
    pub(super) fn blocks(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.blocks())
    }

    /// Whether what the handler has answered must leave first.
    pub(super) fn is_full(&self) -> bool {
        self.congested && self.answers
    }

    /// Begins a turn; returns how much the handler may send without the lock.
    fn begin_turn(&self) -> usize {
        let mut state = self.shared.lock();
        state.begin_worker_turn();
        state.gathers(self.shared.config.hard_limit)
    }

    /// Stops reading where enough waits for the handler; returns whether it stopped.
    pub(super) fn pause(&mut self) -> bool {
        let Some(held) = &mut self.held else { return false };
        if held.cost >= self.shared.config.read_ahead.max(1) && !held.paused {
            held.paused = true;
            self.shared.lock().core.handle_reading_paused();
        }
        let paused = held.paused;
        self.count_held();
        paused
    }

    /// Counts what waits.
    fn count_held(&self) {
        let mut state = self.shared.lock();
        state.carry(self.held.as_ref().map_or(0, |held| held.memory()));
        let overdrawn = state.account();
        drop(state);
        if let Some(budget) = overdrawn {
            budget.relieve();
        }
    }

    /// Goes on where nothing holds it up any more.
    pub(super) fn resume<H: Handler<S, Peer = P>, S>(&mut self, desk: &mut Desk<H>, key: u32) {
        let handler = desk.handler.clone();
        while !self.is_full()
            && let Some(mut held) = self.held.take_if(|held| held.may_go_on())
        {
            let room = self.begin_turn();
            held.end_waits();
            let cork = self.call(room, |socket, peer| {
                let Some(peer) = peer else { return held.give_up() };
                while !socket.has_enough()
                    && let Some((kind, payload)) = held.pop()
                {
                    handler.message(socket, peer, Received::new(kind, payload, &[]));
                    if socket.has_closed() {
                        held.give_up();
                    }
                }
            });
            if let Some(newer) = self.held.take() {
                held.take_waits(*newer);
            } else if !held.has_messages() {
                self.shared.lock().batch_done(self.shared.timestamp(desk.now));
            }
            self.held = Some(held);
            self.turn(desk, key, cork);
        }
        let little = self.shared.config.read_ahead / 2;
        let Some(held) = &mut self.held else { return };
        if held.paused && held.cost <= little {
            held.paused = false;
            held.cut = true;
            self.shared.lock().core.handle_reading_resumed(self.shared.timestamp(desk.now));
            again(&mut self.queued, desk, key);
        }
        if self.held.take_if(|held| held.is_unused()).is_some() {
            // What has ended meanwhile was not told while something waited.
            self.turn(desk, key, Cork::default());
        }
    }

    /// Calls the handler, catches its panics, and begins what it wants to wait for. Returns what it
    /// has said.
    pub(super) fn call(
        &mut self,
        room: usize,
        f: impl FnOnce(&mut Socket<'_>, Option<&mut P>),
    ) -> Cork {
        if room > 0 {
            Cork::begin(&self.shared);
        }
        let stream = &mut self.stream;
        let mut through = |slices: &[IoSlice<'_>]| write(stream, slices);
        let mut socket = Socket::new(&self.shared, room, Some(&mut through));
        let peer = self.peer.as_mut();
        let result = catch_unwind(AssertUnwindSafe(|| f(&mut socket, peer)));
        let wait = socket.take_wait();
        self.answers = socket.has_sent();
        let cork = if room > 0 { Cork::end() } else { Cork::default() };
        if let Some(wait) = wait {
            let wait = Waiting::begin(wait, self.shared.clone());
            self.held.get_or_insert_default().wait_for(wait);
        }
        if let Err(panic) = result {
            let (peer, what) = (self.shared.info.peer(), panic_text(&*panic));
            tracing::error!(peer, panic = what, "a handler panicked, closing with 1011");
            // Whatever it kept may be half changed.
            let kept = self.peer.take();
            let _ = catch_unwind(AssertUnwindSafe(|| drop(kept)));
            let now = self.shared.now();
            let mut state = self.shared.lock();
            state.counters.panics.add(1);
            state.close_with(CloseCode::INTERNAL_ERROR, "", now);
        }
        cork
    }

    pub(super) fn drained<H: Handler<S, Peer = P>, S>(&mut self, desk: &Desk<H>) {
        let handler = desk.handler.clone();
        let room = self.begin_turn();
        let cork = self.call(room, |socket, peer| {
            if let Some(peer) = peer {
                handler.drained(socket, peer);
            }
        });
        let mut state = self.shared.lock();
        state.queue_frames(&cork);
        // It is written, and all else that has changed meanwhile looked at, in a turn of its own.
        state.tell_later();
        state.end_worker_turn();
        drop(state);
        cork.put();
    }
}
