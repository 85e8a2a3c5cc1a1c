//! One connection of a worker.

use std::io::{self, IoSlice};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;

use bytes::BytesMut;
use provod_proto::Timestamp;

use super::Desk;
use super::alarms::Tick;
use super::held::{Held, Rest};
use super::readiness::Ready;
use super::stream::Stream;
use crate::driver::{Cork, Locked, Shared, State, panic_text};
use crate::group;
use crate::handler::Handler;
use crate::server::Guard;
use crate::trace;

mod calls;

pub(super) struct Entry<P> {
    pub(super) shared: Arc<Shared>,
    /// `None` once the connection is over; the handler may still wait for something.
    pub(super) stream: Option<Stream>,
    /// What the handler keeps; `None` before it is opened and once it is closed.
    peer: Option<P>,
    /// What waits, and why.
    held: Option<Box<Held>>,
    /// The earliest time for which an alarm is set.
    alarm: Timestamp,
    /// The send queue had passed its high-water mark when it was last looked at.
    congested: bool,
    /// The handler's last call has sent something here.
    answers: bool,
    /// The socket has told of something to read that was not read: it does not tell again.
    unread: bool,
    /// It will be read in the next turn, or in this one.
    queued: bool,
    /// The last that came was a long message.
    long: bool,
    /// The peer's stream has ended or broken, which a read will find.
    ended: bool,
    /// Dropped at the end.
    _guard: Guard,
}

/// How much of a long message is read at once, in bytes.
const DIRECT_READ: usize = 1 << 20;
/// A message of which so much is missing is a long one.
const LONG: usize = 128 << 10;
/// How much is read where a long message is expected.
const PEEK: usize = 4 << 10;
/// No alarm is set.
const NEVER: Timestamp = Timestamp::MAX;

impl<P> Entry<P> {
    pub(super) fn new(stream: Stream, shared: Arc<Shared>, guard: Guard) -> Self {
        Self {
            shared,
            stream: Some(stream),
            peer: None,
            held: None,
            alarm: NEVER,
            congested: false,
            answers: false,
            unread: false,
            queued: false,
            long: false,
            ended: false,
            _guard: guard,
        }
    }

    /// The first turn. `failed`: the socket could not be watched.
    pub(super) fn open<H: Handler<S, Peer = P>, S>(
        &mut self,
        desk: &mut Desk<H>,
        key: u32,
        state: S,
        failed: Option<io::Error>,
        mut carry: BytesMut,
    ) {
        let mut room = 0;
        {
            let now = self.shared.timestamp(desk.now);
            let mut locked = self.shared.lock();
            locked.driven_by(desk.mailbox.clone(), key);
            locked.begin_worker_turn();
            match failed {
                Some(error) => locked.broken(error, now),
                None => room = locked.gathers(self.shared.config.hard_limit),
            }
        }
        let handler = desk.handler.clone();
        let mut opened = None;
        let cork = self.call(room, |socket, _| opened = Some(handler.open(socket, state)));
        self.peer = opened;
        self.turn(desk, key, cork);
        if !carry.is_empty() {
            let n = self.digest(desk, key, &mut carry);
            self.keep(|| Rest::copy(&carry[n..]));
        }
    }

    /// The socket is ready.
    pub(super) fn ready<H: Handler<S, Peer = P>, S>(
        &mut self,
        desk: &mut Desk<H>,
        key: u32,
        ready: Ready,
        buffer: &mut [u8],
    ) {
        if !ready.readable {
            return self.touched(desk, key);
        }
        self.ended |= ready.ended;
        // Once in a turn.
        if !self.queued {
            self.read(desk, key, buffer);
        }
    }

    /// The last turn has left something to read.
    pub(super) fn read_on<H: Handler<S, Peer = P>, S>(
        &mut self,
        desk: &mut Desk<H>,
        key: u32,
        buffer: &mut [u8],
    ) {
        self.queued = false;
        self.read(desk, key, buffer);
    }

    /// Reads once, or goes on with what was read before.
    fn read<H: Handler<S, Peer = P>, S>(
        &mut self,
        desk: &mut Desk<H>,
        key: u32,
        buffer: &mut [u8],
    ) {
        if let Some(held) = &self.held {
            if held.paused {
                self.unread = true;
                return self.touched(desk, key);
            }
            if held.cut {
                self.unread = true;
                return self.go_on(desk, key);
            }
        }
        let mut state = self.shared.lock();
        let wanted = self.stream.is_some() && state.core.wants_input();
        let direct = wanted && state.core.direct_buffer().is_some();
        drop(state);
        if !wanted {
            self.unread = true;
            return self.touched(desk, key);
        }
        if direct && self.read_direct(desk, key) {
            return;
        }
        // Behind a long message comes mostly another one, of which nearly all can be read to its
        // own place if little of it is read here.
        let before = std::mem::take(&mut self.long);
        let most = if before { PEEK.min(buffer.len()) } else { buffer.len() };
        let Some(stream) = &mut self.stream else { return };
        match stream.read(&mut buffer[..most]) {
            Ok(n @ 1..) => {
                let more = n == most || self.ended;
                let done = self.digest(desk, key, &mut buffer[..n]);
                self.keep(|| Rest::copy(&buffer[done..n]));
                if more && !(before && self.held.is_none() && self.read_direct(desk, key)) {
                    again(&mut self.queued, desk, key);
                }
            }
            end => self.read_ended(desk, key, end.err()),
        }
    }

    /// Reads once what is missing of a long message to where it belongs; returns whether one is
    /// missing anything.
    fn read_direct<H: Handler<S, Peer = P>, S>(&mut self, desk: &mut Desk<H>, key: u32) -> bool {
        let mut state = self.shared.lock();
        let (Some(stream), Some(room)) = (&mut self.stream, state.core.direct_buffer()) else {
            return false;
        };
        self.long |= room.len() >= LONG;
        let most = room.len().min(DIRECT_READ);
        let n = match stream.read(&mut room[..most]) {
            Ok(n @ 1..) => n,
            end => {
                drop(state);
                self.read_ended(desk, key, end.err());
                return true;
            }
        };
        if n == most || self.ended {
            again(&mut self.queued, desk, key);
        }
        let now = self.shared.timestamp(desk.now);
        let mut batch = std::mem::take(&mut desk.batch);
        state.begin_worker_turn();
        state.direct_batch(n, now, &mut batch);
        let room = state.gathers(self.shared.config.hard_limit);
        drop(state);
        self.handle(desk, key, batch, &[], room);
        self.pause();
        true
    }

    /// A read brought no bytes.
    fn read_ended<H: Handler<S, Peer = P>, S>(
        &mut self,
        desk: &mut Desk<H>,
        key: u32,
        error: Option<io::Error>,
    ) {
        match error.as_ref().map(io::Error::kind) {
            Some(io::ErrorKind::WouldBlock) => return self.touched(desk, key),
            Some(io::ErrorKind::Interrupted) => return again(&mut self.queued, desk, key),
            _ => {}
        }
        let now = self.shared.timestamp(desk.now);
        let mut state = self.shared.lock();
        state.begin_worker_turn();
        state.input_over(error, now);
        if !self.blocks() {
            state.batch_done(now);
        }
        drop(state);
        self.turn(desk, key, Cork::default());
    }

    /// Something about the connection has changed, or its socket takes output again.
    pub(super) fn touched<H: Handler<S, Peer = P>, S>(&mut self, desk: &mut Desk<H>, key: u32) {
        self.shared.lock().begin_worker_turn();
        self.turn(desk, key, Cork::default());
        self.resume(desk, key);
    }

    /// An alarm rings.
    pub(super) fn alarm<H: Handler<S, Peer = P>, S>(
        &mut self,
        desk: &mut Desk<H>,
        key: u32,
        tick: Tick,
    ) {
        if self.alarm == NEVER || desk.alarms.tick(self.shared.instant(self.alarm)) != tick {
            return;
        }
        self.alarm = NEVER;
        let now = self.shared.timestamp(desk.now);
        let mut state = self.shared.lock();
        state.begin_worker_turn();
        state.core.handle_timeout(now);
        state.settle();
        drop(state);
        self.turn(desk, key, Cork::default());
    }

    /// Writes, and looks at what has come of everything since the last turn.
    pub(super) fn turn<H: Handler<S, Peer = P>, S>(
        &mut self,
        desk: &mut Desk<H>,
        key: u32,
        cork: Cork,
    ) {
        let now = self.shared.timestamp(desk.now);
        // What a group has published meanwhile goes behind what the handler has said before, and
        // has a turn of its own.
        let mut state = self.shared.lock_as_is();
        write_out(&mut state, &mut self.stream, cork, now);
        state = report(&self.shared, state);
        state.settle();
        let congested = state.is_congested() && state.core.can_send();
        let drained = std::mem::replace(&mut self.congested, congested) && !congested;
        let closed = state.core.closed().is_some();
        let done = state.core.is_done();
        let (mut left, mut io, mut unwanted) = (Vec::new(), None, None);
        if done {
            left = state.take_groups();
            io = self.stream.take();
        }
        if state.is_aborted() {
            // Nobody waits for the handler.
            unwanted = self.held.take();
        }
        let stopped = self.held.as_ref().is_some_and(|held| held.paused || held.cut);
        if self.unread && !stopped && state.core.wants_input() {
            self.unread = false;
            again(&mut self.queued, desk, key);
        }
        if state.has_given_way()
            && let Some(held) = &mut self.held
        {
            held.give_up();
        }
        state.carry(self.held.as_ref().map_or(0, |held| held.memory()));
        state.end_worker_turn();
        if !self.is_full() && self.held.as_ref().is_some_and(|held| held.is_due()) {
            // Not every turn is followed by a look at what waits.
            state.tell_later();
        }
        let next = state.core.poll_timeout();
        let overdrawn = state.account();
        let seat = state.is_to_settle(self.shared.config.hard_limit);
        drop(state);
        // A future that goes locks the connection.
        drop((io, unwanted));
        group::leave_all(left);
        if let Some((id, group)) = seat {
            group::settle(id, &group);
        }
        if let Some(budget) = overdrawn {
            budget.relieve();
        }
        if drained && !closed {
            self.drained(desk);
        }
        // What came before the end is handled first.
        if closed && self.held.is_none() {
            self.closed(desk);
            if done {
                desk.over.push(key);
                return;
            }
        }
        if let Some((at, _)) = next
            && at < self.alarm
        {
            self.alarm = at;
            desk.alarms.set(desk.alarms.tick(self.shared.instant(at)), key);
        }
    }

    /// Tells the handler of the end, once.
    fn closed<H: Handler<S, Peer = P>, S>(&mut self, desk: &Desk<H>) {
        let Some(peer) = self.peer.take() else { return };
        let Some(closed) = self.shared.lock().core.closed().cloned() else { return };
        let told = catch_unwind(AssertUnwindSafe(|| desk.handler.close(peer, &closed)));
        if let Err(panic) = told {
            let (peer, what) = (self.shared.info.peer(), panic_text(&*panic));
            tracing::error!(peer, panic = what, "a handler panicked at the end of a connection");
        }
    }

    /// The worker ends.
    pub(super) fn drop_with<H: Handler<S, Peer = P>, S>(&mut self, desk: &Desk<H>) {
        let now = self.shared.now();
        let mut state = self.shared.lock();
        state.core.handle_lost(now);
        state.settle();
        let left = state.take_groups();
        state.account();
        drop(state);
        group::leave_all(left);
        self.closed(desk);
    }
}

/// Notes that a connection is to be read once more in the next turn.
fn again<H>(queued: &mut bool, desk: &mut Desk<H>, key: u32) {
    if !std::mem::replace(queued, true) {
        desk.again.push(key);
    }
}

pub(super) fn write(stream: &mut Option<Stream>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    match stream {
        Some(stream) => stream.write(slices),
        None => Err(io::ErrorKind::NotConnected.into()),
    }
}

/// Writes what the handler has said, and what else there is.
fn write_out(state: &mut State, stream: &mut Option<Stream>, cork: Cork, now: Timestamp) {
    if cork.messages > 0 {
        state.write_frames(&cork, |frames| write(stream, &[IoSlice::new(frames)]));
    }
    cork.put();
    if state.has_to_transmit() {
        let more = state.transmit(now, |slices| match write(stream, slices) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            result => Poll::Ready(result),
        });
        if more {
            state.tell_later();
        }
    }
    if state.core.poll_half_close() {
        if state.core.is_silent() && stream.as_mut().is_some_and(Stream::is_empty) {
            // Closing it ends the peer's stream as well. It would be a reset if something lay
            // unread, which may cost the peer our Close.
            state.core.handle_eof(now);
        } else if stream.as_ref().is_none_or(|stream| stream.half_close().is_err()) {
            // The peer is gone, which is all that is waited for here.
            state.core.handle_lost(now);
        }
    }
}

/// Logs what there is to be logged.
fn report<'a>(shared: &'a Shared, mut state: Locked<'a>) -> Locked<'a> {
    let (frames, violation) = (state.core.poll_trace(), state.take_violation());
    if frames.is_empty() && violation.is_none() {
        return state;
    }
    // A log may go to this connection, and what is queued from here on was not written above.
    state.end_worker_turn();
    drop(state);
    trace::write(frames, shared.info.peer());
    if let Some(error) = violation {
        tracing::debug!(peer = shared.info.peer(), %error, "closing");
    }
    shared.lock()
}
