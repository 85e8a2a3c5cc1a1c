//! The state that a driver and the handles to it share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use provod_proto::handshake::DeflateParams;
use provod_proto::{
    self as proto, Cause, CloseCode, CloseFrame, Closed, Connection, Event, Message, MessageKind,
    Payload, Prepared, Timestamp, Utf8Bytes,
};
use tokio::time::Instant;

use super::inbox::{Ended, Inbox};
use super::waiters::{Slot, Waiters};
use crate::config::Config;
use crate::counters::Counters;
use crate::error::{Error, Kind, TrySendError};

/// Located payloads below this are copied out of the worker's buffer. Longer ones are split off it and so
/// pin all of it: half of a buffer at most is pinned beside what the inbox counts.
const COPY_BELOW: usize = super::READ_BUFFER / 2;

/// What is known of a connection from its opening handshake.
#[derive(Debug)]
pub(crate) struct Info {
    pub(crate) peer: Box<str>,
    pub(crate) target: Box<str>,
    pub(crate) subprotocol: Option<Box<str>>,
    pub(crate) deflate: Option<DeflateParams>,
}

impl Info {
    pub(crate) fn peer(&self) -> &str {
        &self.peer
    }
}

pub(crate) struct Shared {
    state: Mutex<State>,
    epoch: Instant,
    pub(crate) info: Info,
    pub(crate) config: Arc<Config>,
}

pub(crate) struct State {
    pub(crate) core: Connection,
    pub(crate) counters: Arc<Counters>,
    inbox: Inbox,
    read_ahead: usize,
    high_water: usize,
    ended: Option<Ended>,
    /// Reading has stopped until the application has taken half of what waits.
    paused: bool,
    /// A violation or limit that was not logged yet.
    violation: Option<proto::Error>,
    /// The transport's own error, for the outcome that the core calls `Lost`.
    broken: Option<std::io::Error>,
    /// The WebSocket was dropped.
    abandoned: bool,
    /// Nobody takes messages any more: they are thrown away.
    discard: bool,
    aborted: bool,
    settled: bool,
    /// The driver's turn is on: it will see what changes now without being woken.
    in_turn: bool,
    /// Something other than output changed since the driver last looked.
    dirty: bool,
    /// Something was queued since the driver last wrote.
    unsent: bool,
    /// The application waits for the end and for nothing else.
    awaits_end: bool,
    driver: Option<Waker>,
    reader: Option<Waker>,
    senders: Waiters,
    /// Those who wait for the send queue to run low.
    drained: Vec<Waker>,
    watchers: Vec<Waker>,
    pings: Vec<PingWait>,
    next_ping: u64,
}

/// Somebody who waits for a Pong.
struct PingWait {
    id: u64,
    queued: Timestamp,
    answer: Option<Duration>,
    waker: Option<Waker>,
}

impl Shared {
    pub(crate) fn new(
        core: impl FnOnce(Timestamp) -> Connection,
        info: Info,
        config: Arc<Config>,
        counters: Arc<Counters>,
    ) -> Arc<Self> {
        counters.opened.add(1);
        Arc::new(Self {
            state: Mutex::new(State {
                core: core(Timestamp::default()),
                counters,
                inbox: Inbox::default(),
                read_ahead: config.read_ahead,
                high_water: config.high_water.max(1),
                ended: None,
                paused: false,
                violation: None,
                broken: None,
                abandoned: false,
                discard: false,
                aborted: false,
                settled: false,
                in_turn: false,
                dirty: false,
                unsent: false,
                awaits_end: false,
                driver: None,
                reader: None,
                senders: Waiters::default(),
                drained: Vec::new(),
                watchers: Vec::new(),
                pings: Vec::new(),
                next_ping: 0,
            }),
            epoch: Instant::now(),
            info,
            config,
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that runs under the lock leaves the state half changed when it panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_epoch(self.epoch.elapsed())
    }

    pub(crate) fn instant(&self, at: Timestamp) -> Instant {
        self.epoch.checked_add(at.since_epoch()).unwrap_or_else(far_future)
    }

    /// Changes the state from outside the driver, and tells the driver.
    pub(crate) fn change<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let result = f(&mut state);
        let waker = state.tell_driver();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        result
    }

    /// Queues output from outside the driver, and tells the driver.
    fn output<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let result = f(&mut state);
        let waker = state.tell_writer();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        result
    }

    // ---- what the handles ask ----

    pub(crate) fn poll_recv(&self, waker: &Waker) -> Poll<Result<Option<Message>, Error>> {
        let mut state = self.lock();
        state.awaits_end = false;
        if let Some(message) = state.inbox.pop() {
            if state.paused && state.is_inbox_half_empty() {
                let driver = state.tell_driver();
                drop(state);
                if let Some(driver) = driver {
                    driver.wake();
                }
            }
            return Poll::Ready(Ok(Some(message)));
        }
        if let Some(ended) = &state.ended {
            let result = ended.result();
            if state.core.is_close_held() {
                state.core.release_close(self.now());
                let driver = state.tell_driver();
                drop(state);
                if let Some(driver) = driver {
                    driver.wake();
                }
            }
            return Poll::Ready(result);
        }
        register(&mut state.reader, waker);
        Poll::Pending
    }

    /// Queues the message that `message` holds, when it is this sender's turn and there is room.
    pub(crate) fn poll_send(
        &self,
        message: &mut Option<Message>,
        slot: &mut Option<Slot>,
        waker: &Waker,
    ) -> Poll<Result<(), Error>> {
        let mut state = self.lock();
        let turn = match *slot {
            Some(slot) => state.senders.is_first(slot),
            None => state.senders.is_empty(),
        };
        let open = state.core.can_send();
        if open && !(turn && state.core.held() < state.high_water) {
            *slot = Some(state.senders.wait(*slot, waker));
            return Poll::Pending;
        }
        if let Some(slot) = slot.take() {
            state.senders.leave(slot);
        }
        let next = state.next_sender();
        let result = match message.take() {
            Some(message) => state.send(message),
            None => Ok(()),
        };
        let driver = state.tell_writer();
        drop(state);
        next.into_iter().chain(driver).for_each(Waker::wake);
        Poll::Ready(result)
    }

    /// A sender gives up his place.
    pub(crate) fn leave(&self, slot: Slot) {
        let mut state = self.lock();
        let next = if state.senders.leave(slot) { state.next_sender() } else { None };
        drop(state);
        if let Some(next) = next {
            next.wake();
        }
    }

    pub(crate) fn try_send(&self, message: Message) -> Result<(), TrySendError<Message>> {
        self.try_queue(message, State::send)
    }

    pub(crate) fn try_send_prepared<'a>(
        &self,
        message: &'a Prepared,
    ) -> Result<(), TrySendError<&'a Prepared>> {
        self.try_queue(message, |state, message| {
            state.core.send_prepared(message, proto::Compress::Auto)?;
            state.counters.messages_out.add(1);
            Ok(())
        })
    }

    fn try_queue<M: Clone>(
        &self,
        message: M,
        queue: impl FnOnce(&mut State, M) -> Result<(), Error>,
    ) -> Result<(), TrySendError<M>> {
        let hard_limit = self.config.hard_limit;
        self.output(|state| {
            if !state.core.can_send() {
                return Err(TrySendError::Closed(message));
            }
            if state.core.held() >= hard_limit {
                state.counters.dropped.add(1);
                return Err(TrySendError::Full(message));
            }
            queue(state, message.clone()).map_err(|_| TrySendError::Closed(message))
        })
    }

    pub(crate) fn close(&self, frame: Option<CloseFrame>) {
        let now = self.now();
        self.change(|state| state.close(frame, now));
    }

    /// Ends the connection at once, and its handler.
    pub(crate) fn abort(&self) {
        let now = self.now();
        self.change(|state| {
            state.aborted = true;
            state.core.handle_lost(now);
            state.settle();
        });
    }

    /// The outcome, once there is one. Whoever reads messages and now `asks` for the end alone needs nothing
    /// more, so a Close that is held may leave.
    pub(crate) fn poll_closed(&self, waker: &Waker, asks: bool) -> Poll<Closed> {
        let mut state = self.lock();
        if let Some(closed) = state.core.closed() {
            return Poll::Ready(closed.clone());
        }
        if !state.watchers.iter().any(|w| w.will_wake(waker)) {
            state.watchers.push(waker.clone());
        }
        state.awaits_end |= asks;
        if asks && state.core.is_close_held() && state.inbox.is_empty() {
            state.core.release_close(self.now());
            let driver = state.tell_driver();
            drop(state);
            if let Some(driver) = driver {
                driver.wake();
            }
        }
        Poll::Pending
    }

    /// Nobody will take messages any more.
    pub(crate) fn discard(&self) {
        let now = self.now();
        self.change(|state| state.discard(now));
    }

    /// The WebSocket is gone.
    pub(crate) fn abandon(&self) {
        let now = self.now();
        self.change(|state| {
            state.abandoned = true;
            state.discard(now);
        });
    }

    /// Queues a Ping; the number finds its answer.
    pub(crate) fn ping(&self) -> Result<u64, Error> {
        let queued = self.now();
        self.output(|state| {
            let id = state.next_ping;
            state.core.ping(Bytes::copy_from_slice(&id.to_be_bytes()))?;
            state.next_ping += 1;
            state.pings.push(PingWait { id, queued, answer: None, waker: None });
            Ok(id)
        })
    }

    pub(crate) fn poll_pong(&self, id: u64, waker: &Waker) -> Poll<Result<Duration, Error>> {
        let mut state = self.lock();
        // Behind the end of the input there is no Pong.
        let over = state.core.closed().is_some() || state.ended.is_some();
        let Some(at) = state.pings.iter().position(|p| p.id == id) else {
            return Poll::Ready(Err(Error::new(Kind::Closed)));
        };
        if let Some(rtt) = state.pings[at].answer {
            state.pings.swap_remove(at);
            return Poll::Ready(Ok(rtt));
        }
        if over {
            state.pings.swap_remove(at);
            return Poll::Ready(Err(Error::new(Kind::Closed)));
        }
        register(&mut state.pings[at].waker, waker);
        Poll::Pending
    }

    pub(crate) fn forget_ping(&self, id: u64) {
        self.lock().pings.retain(|p| p.id != id);
    }
}

impl State {
    // ---- turns ----

    pub(crate) fn begin_turn(&mut self, waker: &Waker) {
        self.in_turn = true;
        self.dirty = false;
        register(&mut self.driver, waker);
    }

    /// Ends the turn, unless something has changed meanwhile; returns whether it ended.
    pub(crate) fn end_turn(&mut self) -> bool {
        if std::mem::take(&mut self.dirty) || self.unsent {
            return false;
        }
        self.in_turn = false;
        true
    }

    /// The driver writes now: what is queued so far needs no further turn.
    pub(crate) fn begin_write(&mut self) {
        self.unsent = false;
    }

    /// The waker to call after the lock is given back, if the driver would not see the change itself.
    fn tell_driver(&mut self) -> Option<Waker> {
        self.dirty = true;
        self.driver_elsewhere()
    }

    /// The same, where only output was queued.
    fn tell_writer(&mut self) -> Option<Waker> {
        self.unsent = true;
        self.driver_elsewhere()
    }

    fn driver_elsewhere(&self) -> Option<Waker> {
        if self.in_turn { None } else { self.driver.clone() }
    }

    // ---- input ----

    pub(crate) fn is_inbox_full(&self) -> bool {
        !self.discard && self.inbox.cost() >= self.read_ahead.max(1)
    }

    fn is_inbox_half_empty(&self) -> bool {
        self.discard || self.inbox.cost() <= self.read_ahead / 2
    }

    /// Whether the driver may read. Once the inbox has been full, not before half of it was taken: small
    /// reads, each for a message that was taken, would cost more than they bring.
    pub(crate) fn may_read(&mut self) -> bool {
        if self.paused && self.is_inbox_half_empty() {
            self.paused = false;
            self.core.handle_reading_resumed();
        } else if !self.paused && self.is_inbox_full() {
            self.paused = true;
            self.core.handle_reading_paused();
        }
        !self.paused
    }

    /// Gives `input` to the core until the inbox is full; returns what is left.
    pub(crate) fn feed(&mut self, input: &mut BytesMut, now: Timestamp, own: &Waker) -> BytesMut {
        self.counters.bytes_in.add(input.len() as u64);
        let mut at = 0;
        let mut before = self.inbox.cost();
        loop {
            if self.is_inbox_full() {
                // Counted again when it is fed.
                self.counters.bytes_in.sub((input.len() - at) as u64);
                let rest = input.split_off(at);
                self.wake_reader(&mut before, own);
                return rest;
            }
            let progress = match self.core.handle_input(&mut input[at..], now) {
                Ok(progress) => progress,
                Err(e) => {
                    self.end_input(Ended::Failed(e), now);
                    break;
                }
            };
            match progress.event {
                Some(Event::Message { kind, payload }) => {
                    let bytes = match payload {
                        Payload::Owned(bytes) => bytes,
                        Payload::Located(range) if range.len() < COPY_BELOW => {
                            Bytes::copy_from_slice(&input[at..][range])
                        }
                        Payload::Located(range) => {
                            let whole = input.split_to(at + progress.consumed).freeze();
                            let bytes = whole.slice(at + range.start..at + range.end);
                            at = 0;
                            self.message(kind, bytes);
                            if input.is_empty() && !progress.again {
                                break;
                            }
                            continue;
                        }
                    };
                    self.message(kind, bytes);
                }
                other => self.event(other, now),
            }
            at += progress.consumed;
            if at == input.len() && !progress.again {
                break;
            }
        }
        self.wake_reader(&mut before, own);
        BytesMut::new()
    }

    /// `n` bytes were read into the core's own buffer.
    pub(crate) fn direct(&mut self, n: usize, now: Timestamp, own: &Waker) {
        self.counters.bytes_in.add(n as u64);
        let mut before = self.inbox.cost();
        match self.core.handle_direct(n, now) {
            Ok(progress) => match progress.event {
                Some(Event::Message { kind, payload: Payload::Owned(bytes) }) => {
                    self.message(kind, bytes);
                }
                other => self.event(other, now),
            },
            Err(e) => self.end_input(Ended::Failed(e), now),
        }
        self.wake_reader(&mut before, own);
    }

    fn message(&mut self, kind: MessageKind, bytes: Bytes) {
        self.counters.messages_in.add(1);
        if self.discard {
            self.counters.dropped.add(1);
            return;
        }
        self.inbox.push(match kind {
            MessageKind::Text => Message::Text(Utf8Bytes::from_checked(bytes)),
            MessageKind::Binary => Message::Binary(bytes),
        });
    }

    fn event(&mut self, event: Option<Event>, now: Timestamp) {
        match event {
            Some(Event::Close(_)) => self.end_input(Ended::Close, now),
            Some(Event::Pong { payload, rtt }) => self.pong(&payload, rtt, now),
            _ => {}
        }
    }

    /// A Pong answers its Ping and, since a peer may answer the newest alone, those before it (RFC 6455
    /// section 5.5.3). `rtt` is exact; without it the time in our own queue counts too.
    fn pong(&mut self, payload: &[u8], rtt: Option<Duration>, now: Timestamp) {
        let Ok(id) = payload.try_into().map(u64::from_be_bytes) else { return };
        if !self.pings.iter().any(|p| p.id == id) {
            return;
        }
        for waiting in self.pings.iter_mut().filter(|p| p.id <= id && p.answer.is_none()) {
            let since = now.since(waiting.queued);
            waiting.answer = Some(if waiting.id == id { rtt.unwrap_or(since) } else { since });
            if let Some(waker) = waiting.waker.take() {
                waker.wake();
            }
        }
    }

    /// The reader in the driver's own task runs next anyway; one elsewhere is woken.
    fn wake_reader(&mut self, before: &mut usize, own: &Waker) {
        if self.inbox.cost() == *before && self.ended.is_none() {
            return;
        }
        if let Some(reader) = self.reader.take()
            && !reader.will_wake(own)
        {
            reader.wake();
        }
    }

    /// The transport's input has ended or broken.
    pub(crate) fn input_over(&mut self, error: Option<std::io::Error>, now: Timestamp) {
        match error {
            Some(error) => self.broken(error, now),
            None => {
                self.core.handle_eof(now);
                self.end_input(Ended::lost(Kind::Ended), now);
                self.settle();
            }
        }
    }

    /// The transport is broken.
    pub(crate) fn broken(&mut self, error: std::io::Error, now: Timestamp) {
        self.broken.get_or_insert(error);
        self.core.handle_lost(now);
        self.settle();
    }

    fn end_input(&mut self, ended: Ended, now: Timestamp) {
        if let Ended::Failed(e) = &ended {
            self.violation = Some(e.clone());
        }
        self.ended.get_or_insert(ended);
        if self.discard || (self.inbox.is_empty() && self.awaits_end) {
            self.core.release_close(now);
        }
        let pings = self.pings.iter_mut().filter_map(|p| p.waker.take());
        pings.chain(self.reader.take()).for_each(Waker::wake);
    }

    fn discard(&mut self, now: Timestamp) {
        self.discard = true;
        let n = self.inbox.clear();
        self.counters.dropped.add(n as u64);
        self.core.release_close(now);
    }

    // ---- output ----

    fn send(&mut self, message: Message) -> Result<(), Error> {
        self.core.send(message)?;
        self.counters.messages_out.add(1);
        Ok(())
    }

    /// Output was taken: the first of those who wait may send.
    pub(crate) fn room_made(&mut self) {
        if let Some(waker) = self.next_sender() {
            waker.wake();
        }
        if !self.drained.is_empty() && self.core.held() < self.high_water {
            std::mem::take(&mut self.drained).into_iter().for_each(Waker::wake);
        }
    }

    fn next_sender(&self) -> Option<Waker> {
        let room = self.core.held() < self.high_water || !self.core.can_send();
        if room { self.senders.first().cloned() } else { None }
    }

    fn close(&mut self, frame: Option<CloseFrame>, now: Timestamp) {
        if matches!(self.ended, Some(Ended::Failed(_))) {
            // The peer is owed the code of its violation, whatever the application thinks of it.
            self.core.release_close(now);
        } else {
            // Closing twice is no fault: the first one counts.
            let _ = self.core.close(frame, now);
        }
        for waker in self.senders.take_all() {
            waker.wake();
        }
    }

    pub(crate) fn close_with(&mut self, code: CloseCode, reason: &'static str, now: Timestamp) {
        self.discard(now);
        if self.core.can_send() {
            let frame = CloseFrame::new(code, Utf8Bytes::from_static(reason)).ok();
            self.close(frame, now);
        }
    }

    /// Waits until `send` would not wait, or the connection ends.
    pub(crate) fn poll_drained(&mut self, waker: &Waker) -> Poll<()> {
        if self.core.held() < self.high_water || self.core.closed().is_some() {
            return Poll::Ready(());
        }
        if !self.drained.iter().any(|w| w.will_wake(waker)) {
            self.drained.push(waker.clone());
        }
        Poll::Pending
    }

    // ---- the end ----

    /// The violation that ended the input, once, to be logged.
    pub(crate) fn take_violation(&mut self) -> Option<proto::Error> {
        self.violation.take()
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    /// Bytes that may be read before the inbox is full.
    pub(crate) fn read_room(&self) -> usize {
        if self.discard { usize::MAX } else { self.read_ahead.saturating_sub(self.inbox.cost()) }
    }

    pub(crate) fn is_aborted(&self) -> bool {
        self.aborted
    }

    /// Tells everybody who waits, once the outcome is known.
    pub(crate) fn settle(&mut self) {
        let Some(closed) = self.core.closed() else { return };
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        self.counters.closed(closed);
        if self.ended.is_none() {
            let lost = match (&closed.cause, self.broken.take()) {
                _ if closed.received.is_some() => None,
                (Cause::Failed(e), _) => {
                    self.ended = Some(Ended::Failed(e.clone()));
                    None
                }
                (_, Some(error)) => Some(Kind::Transport(error)),
                (Cause::Silent, None) => Some(Kind::Silent),
                (Cause::Local, None) => Some(Kind::CloseTimeout),
                _ if self.aborted => Some(Kind::Aborted),
                _ => Some(Kind::Ended),
            };
            let ended = lost.map_or(Ended::Close, Ended::lost);
            self.ended.get_or_insert(ended);
        }
        let pings = self.pings.iter_mut().filter_map(|p| p.waker.take());
        let waiting = self.reader.take().into_iter().chain(std::mem::take(&mut self.watchers));
        let waiting = waiting.chain(std::mem::take(&mut self.drained));
        pings.chain(waiting).chain(self.senders.take_all()).for_each(Waker::wake);
    }
}

fn register(place: &mut Option<Waker>, waker: &Waker) {
    match place {
        Some(kept) => kept.clone_from(waker),
        None => *place = Some(waker.clone()),
    }
}

/// As far ahead as a timer can be set and more than any server runs.
fn far_future() -> Instant {
    Instant::now() + Duration::from_secs(86400 * 365 * 30)
}
