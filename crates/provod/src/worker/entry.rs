//! One connection of a worker.

use std::io::{self, IoSlice};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;

use bytes::BytesMut;
use provod_proto::{CloseCode, Timestamp};

use super::Desk;
use super::alarms::Tick;
use super::held::{Held, Waiting};
use super::readiness::Ready;
use super::stream::Stream;
use crate::driver::{Batch, Cork, Shared, panic_text};
use crate::group;
use crate::handler::{Handler, Received, Socket};
use crate::server::Guard;
use crate::trace;

pub(super) struct Entry<P> {
    pub(super) shared: Arc<Shared>,
    /// `None` once the connection is over; the handler may still wait for something.
    pub(super) stream: Option<Stream>,
    /// What the handler keeps; `None` before it is opened and once it is closed.
    peer: Option<P>,
    /// Input that waits, and why.
    held: Option<Box<Held>>,
    /// The earliest time for which an alarm is set.
    alarm: Timestamp,
    /// The send queue had passed its high-water mark when it was last looked at.
    pub(super) congested: bool,
    /// The handler's last call has sent something here.
    answers: bool,
    /// The socket has told of something to read that was not read: it does not tell again.
    unread: bool,
    /// The peer's stream has ended or broken, which a read will find.
    ended: bool,
    /// Dropped at the end.
    _guard: Guard,
}

/// No alarm is set.
const NEVER: Timestamp = Timestamp::MAX;

pub(super) fn write(stream: &mut Option<Stream>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    match stream {
        Some(stream) => stream.write(slices),
        None => Err(io::ErrorKind::NotConnected.into()),
    }
}

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
            self.digest(desk, key, &mut carry);
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
        self.read(desk, key, buffer);
    }

    /// Reads once.
    pub(super) fn read<H: Handler<S, Peer = P>, S>(
        &mut self,
        desk: &mut Desk<H>,
        key: u32,
        buffer: &mut [u8],
    ) {
        if self.held.as_ref().is_some_and(|held| held.paused) {
            self.unread = true;
            return self.touched(desk, key);
        }
        {
            let mut state = self.shared.lock();
            let Some(stream) = self.stream.as_mut().filter(|_| state.core.wants_input()) else {
                drop(state);
                self.unread = true;
                return self.touched(desk, key);
            };
            if let Some((direct, room)) = state.core.direct_buffer() {
                let n = match stream.read_into(direct) {
                    Ok(n @ 1..) => n,
                    end => {
                        drop(state);
                        return self.read_ended(desk, key, end.err());
                    }
                };
                if n == room || self.ended {
                    desk.again.push(key);
                }
                let now = self.shared.timestamp(desk.now);
                let mut batch = std::mem::take(&mut desk.batch);
                state.begin_worker_turn();
                state.direct_batch(n, now, &mut batch);
                let room = state.gathers(self.shared.config.hard_limit);
                drop(state);
                self.handle(desk, key, batch, &[], room);
                self.pause(&[]);
                return;
            }
        }
        let Some(stream) = &mut self.stream else { return };
        match stream.read(buffer) {
            Ok(n @ 1..) => {
                if n == buffer.len() || self.ended {
                    desk.again.push(key);
                }
                self.digest(desk, key, &mut buffer[..n]);
            }
            end => self.read_ended(desk, key, end.err()),
        }
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
            Some(io::ErrorKind::Interrupted) => return desk.again.push(key),
            _ => {}
        }
        let now = self.shared.timestamp(desk.now);
        let mut state = self.shared.lock();
        state.begin_worker_turn();
        state.input_over(error, now);
        if self.held.is_none() {
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

    /// Handles input, as far as what waits for the handler has room.
    fn digest<H: Handler<S, Peer = P>, S>(
        &mut self,
        desk: &mut Desk<H>,
        key: u32,
        input: &mut [u8],
    ) {
        let now = self.shared.timestamp(desk.now);
        let mut at = 0;
        loop {
            let mut batch = std::mem::take(&mut desk.batch);
            let mut state = self.shared.lock();
            state.begin_worker_turn();
            let n = state.feed_batch(&mut input[at..], now, &mut batch);
            let again = state.must_feed();
            let room = state.gathers(self.shared.config.hard_limit);
            drop(state);
            self.handle(desk, key, batch, &input[at..at + n], room);
            at += n;
            if self.pause(&input[at..]) || (at == input.len() && !again) {
                break;
            }
        }
    }

    /// Calls the handler for what has come, which lies in `input`, and writes.
    fn handle<H: Handler<S, Peer = P>, S>(
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
        !self.is_full() && self.held.is_none()
    }

    /// Whether what the handler has answered must leave first.
    fn is_full(&self) -> bool {
        self.congested && self.answers
    }

    /// Begins a turn; returns how much the handler may send without the lock.
    fn begin_turn(&self) -> usize {
        let mut state = self.shared.lock();
        state.begin_worker_turn();
        state.gathers(self.shared.config.hard_limit)
    }

    /// Stops reading where enough waits for the handler, and keeps the `rest` of the input then;
    /// returns whether it stopped.
    fn pause(&mut self, rest: &[u8]) -> bool {
        let Some(held) = &mut self.held else { return false };
        let most = self.shared.config.read_ahead.max(1);
        let paused = held.cost >= most;
        let mut state = self.shared.lock();
        if paused {
            held.rest.extend_from_slice(rest);
            held.paused = true;
            state.core.handle_reading_paused();
        }
        state.carry(held.memory());
        let overdrawn = state.account();
        drop(state);
        if let Some(budget) = overdrawn {
            budget.relieve();
        }
        paused
    }

    /// Goes on where nothing holds it up any more.
    fn resume<H: Handler<S, Peer = P>, S>(&mut self, desk: &mut Desk<H>, key: u32) {
        let handler = desk.handler.clone();
        while !self.is_full()
            && let Some(mut held) = self.held.take_if(|held| held.may_go_on())
        {
            let room = self.begin_turn();
            held.wait = None;
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
            if let Some(new) = self.held.take() {
                held.wait = new.wait;
            } else if held.messages.is_empty() {
                self.shared.lock().batch_done(self.shared.timestamp(desk.now));
            }
            self.held = Some(held);
            self.turn(desk, key, cork);
        }
        let little = self.shared.config.read_ahead / 2;
        let Some(held) = &mut self.held else { return };
        let (mut rest, mut again) = (Vec::new(), false);
        if held.paused && held.cost <= little {
            held.paused = false;
            rest = std::mem::take(&mut held.rest);
            let mut state = self.shared.lock();
            state.core.handle_reading_resumed(self.shared.timestamp(desk.now));
            again = state.must_feed();
            drop(state);
            desk.again.push(key);
        }
        self.held.take_if(|held| held.messages.is_empty() && held.wait.is_none() && !held.paused);
        if rest.is_empty() && !again {
            // What has ended meanwhile was not told while something waited.
            self.turn(desk, key, Cork::default());
        } else {
            self.digest(desk, key, &mut rest);
        }
    }

    /// Calls the handler, catches its panics, and begins what it wants to wait for. Returns what it
    /// has said.
    fn call(&mut self, room: usize, f: impl FnOnce(&mut Socket<'_>, Option<&mut P>)) -> Cork {
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
            self.held.get_or_insert_default().wait = Some(wait);
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

    /// Writes, and looks at what has come of everything since the last turn.
    pub(super) fn turn<H: Handler<S, Peer = P>, S>(
        &mut self,
        desk: &mut Desk<H>,
        key: u32,
        cork: Cork,
    ) {
        let now = self.shared.timestamp(desk.now);
        let stream = &mut self.stream;
        // What a group has published meanwhile goes behind what the handler has said before, and
        // has a turn of its own.
        let mut state = self.shared.lock_as_is();
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
        if state.core.poll_half_close()
            && stream.as_ref().is_none_or(|stream| stream.half_close().is_err())
        {
            // The peer is gone, which is all that is waited for here.
            state.core.handle_lost(now);
        }
        let (frames, violation) = (state.core.poll_trace(), state.take_violation());
        if !frames.is_empty() || violation.is_some() {
            // A log may go to this connection, and what is queued from here on is not written
            // below.
            state.end_worker_turn();
            drop(state);
            trace::write(frames, self.shared.info.peer());
            if let Some(error) = violation {
                tracing::debug!(peer = self.shared.info.peer(), %error, "closing");
            }
            state = self.shared.lock();
        }
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
        if std::mem::take(&mut self.unread) {
            let paused = self.held.as_ref().is_some_and(|held| held.paused);
            if state.core.wants_input() && !paused {
                desk.again.push(key);
            } else {
                self.unread = true;
            }
        }
        let next = state.core.poll_timeout();
        if state.has_given_way()
            && let Some(held) = &mut self.held
        {
            held.give_up();
        }
        state.carry(self.held.as_ref().map_or(0, |held| held.memory()));
        state.end_worker_turn();
        if !self.is_full() && self.held.as_ref().is_some_and(|held| !held.waits()) {
            // Not every turn is followed by a look at what waits.
            state.tell_later();
        }
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

    fn drained<H: Handler<S, Peer = P>, S>(&mut self, desk: &Desk<H>) {
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
