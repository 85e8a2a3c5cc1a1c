//! The state that a driver and the handles to it share.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use provod_proto::{CloseFrame, Closed, Compress, Connection, Message, Prepared, Timestamp};
use tokio::time::Instant;

use super::cork::Cork;
use super::inbox::Inbox;
use super::info::Info;
use super::lock::{Calls, Locked};
use super::state::{State, register};
use super::waiters::{Claim, PingWait, Slot, Waits};
use crate::budget::MemoryBudget;
use crate::config::Config;
use crate::counters::Counters;
use crate::error::{Error, Kind, TrySendError};
use crate::group::{self, Inner, SeatId};

pub(crate) struct Shared {
    state: Mutex<State>,
    pub(crate) info: Info,
    pub(crate) config: Arc<Config>,
}

// What an idle connection has on the heap: with the counters of the `Arc` it fills the 320 bytes that
// an allocator gives for it.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Shared>() <= 296);

impl Shared {
    pub(crate) fn new(
        core: impl FnOnce(Timestamp) -> Connection,
        info: Info,
        config: Arc<Config>,
        counters: Arc<Counters>,
    ) -> Arc<Self> {
        counters.opened.add(1);
        Arc::new(Self {
            state: Mutex::new(State::new(core(now()), &config, counters)),
            info,
            config,
        })
    }

    /// Whoever locks it this way finds all queued that was sent before on this thread.
    pub(crate) fn lock(&self) -> Locked<'_> {
        let mut locked = self.lock_as_is();
        Cork::pull(self, &mut locked);
        if locked.is_out_of_date() {
            locked.catch_up(self.config.hard_limit);
        }
        locked
    }

    /// Locks it for what has no place among the messages that are sent.
    pub(crate) fn lock_as_is(&self) -> Locked<'_> {
        // Nothing that runs under the lock leaves the state half changed when it panics.
        Locked::new(self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn now(&self) -> Timestamp {
        now()
    }

    /// The moment of `instant` for the core.
    #[cfg(unix)]
    pub(crate) fn timestamp(&self, instant: Instant) -> Timestamp {
        Timestamp::from_epoch(instant.saturating_duration_since(epoch()))
    }

    pub(crate) fn instant(&self, at: Timestamp) -> Instant {
        epoch().checked_add(at.since_epoch()).unwrap_or_else(far_future)
    }

    /// Changes the state from outside the driver, and tells the driver.
    pub(crate) fn change<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let result = f(&mut state);
        let seat = state.is_to_settle(self.config.hard_limit);
        tell_driver(state);
        settle(seat);
        result
    }

    /// Queues output from outside the driver, and tells the driver.
    pub(super) fn output<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let result = f(&mut state);
        state.tell_writer();
        let overdrawn = state.account();
        let seat = state.is_to_settle(self.config.hard_limit);
        drop(state);
        relieve(overdrawn);
        settle(seat);
        result
    }

    /// Gives up all that the connection holds, because memory is short. Returns how much that was;
    /// `None` when it did so before. Those who must be woken are added to `calls`.
    pub(crate) fn shed(&self, calls: &mut Calls) -> Option<usize> {
        let now = self.now();
        let mut state = self.lock();
        let freed = state.shed(now);
        state.tell_driver();
        calls.extend(state.calls.take());
        freed
    }

    // ---- what the handles ask ----

    pub(crate) fn poll_recv(&self, waker: &Waker) -> Poll<Result<Option<Message>, Error>> {
        self.poll_input(waker, false, Inbox::pop)
    }

    /// The next thing that `pop` finds in the inbox, or the end; `pieces`: messages are wanted as
    /// they arrive.
    pub(super) fn poll_input<T>(
        &self,
        waker: &Waker,
        pieces: bool,
        pop: impl FnOnce(&mut Inbox) -> Option<T>,
    ) -> Poll<Result<Option<T>, Error>> {
        let mut state = self.lock();
        state.awaits_end = false;
        // Whoever asks for the next message has no reader of the one before it any more.
        state.inbox.skip_rest();
        if state.pieces != pieces {
            state.pieces = pieces;
            state.core.stream_messages(pieces);
            if pieces && state.core.held_input() > 0 {
                state.again = true;
                state.tell_driver();
            }
        }
        if let Some(message) = pop(&mut state.inbox) {
            input_taken(state);
            return Poll::Ready(Ok(Some(message)));
        }
        if let Some(ended) = state.ended() {
            let result = ended.result();
            // What was joined of a message that was cut.
            state.inbox.clear();
            if state.core.is_close_held() {
                state.core.release_close(self.now());
                tell_driver(state);
            } else {
                input_taken(state);
            }
            return Poll::Ready(result);
        }
        state.register_reader(waker);
        // Pieces may have been taken, and more must come before they are a message.
        input_taken(state);
        Poll::Pending
    }

    /// Queues the message that `message` holds, when it is this sender's turn and there is room.
    pub(crate) fn poll_send(
        &self,
        message: &mut Option<Message>,
        compress: Compress,
        claim: Claim,
        slot: &mut Option<Slot>,
        waker: &Waker,
    ) -> Poll<Result<(), Error>> {
        self.poll_turn(claim, slot, waker, |state| match message.take() {
            Some(message) => state.send(message, compress),
            None => Ok(()),
        })
    }

    pub(crate) fn poll_send_prepared(
        &self,
        message: &Prepared,
        slot: &mut Option<Slot>,
        waker: &Waker,
    ) -> Poll<Result<(), Error>> {
        self.poll_turn(Claim::Firm, slot, waker, |state| state.send_prepared(message))
    }

    /// Waits in the queue of those who send; then does what is to be done.
    pub(super) fn poll_turn(
        &self,
        claim: Claim,
        slot: &mut Option<Slot>,
        waker: &Waker,
        turn: impl FnOnce(&mut State) -> Result<(), Error>,
    ) -> Poll<Result<(), Error>> {
        let mut state = self.lock();
        let open = state.core.can_send();
        if open && !state.is_turn(*slot) {
            *slot = Some(state.waits.get_or_insert_default().senders.wait_as(claim, *slot, waker));
            return Poll::Pending;
        }
        if let (Some(slot), Some(waits)) = (slot.take(), &mut state.waits) {
            waits.senders.leave(slot);
        }
        let result = if open { turn(&mut state) } else { Err(Error::new(Kind::Closed)) };
        // A turn need not queue anything, and a group may have waited for it.
        let group = state.sender_had_turn();
        state.call_sender();
        if group {
            state.tell_driver();
        } else {
            state.tell_writer();
        }
        let overdrawn = state.account();
        let seat = state.is_to_settle(self.config.hard_limit);
        drop(state);
        relieve(overdrawn);
        settle(seat);
        Poll::Ready(result)
    }

    /// Somebody gives up his place.
    pub(crate) fn leave(&self, queue: Queue, slot: Slot) {
        let mut state = self.lock();
        let Some(waits) = &mut state.waits else { return };
        let waiters = match queue {
            Queue::Senders => &mut waits.senders,
            Queue::Drained => &mut waits.drained,
            Queue::Watchers => &mut waits.watchers,
            Queue::Flushed => &mut waits.flushed,
        };
        let turn = waiters.leave(slot);
        if turn && matches!(queue, Queue::Senders) {
            if state.sender_had_turn() {
                state.tell_driver();
            }
            state.call_sender();
        }
    }

    pub(crate) fn try_send(&self, message: Message) -> Result<(), TrySendError<Message>> {
        self.try_queue(message, |state, message| state.send(message, Compress::Auto))
    }

    pub(crate) fn try_send_prepared<'a>(
        &self,
        message: &'a Prepared,
    ) -> Result<(), TrySendError<&'a Prepared>> {
        self.try_queue(message, State::send_prepared)
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
            if state.streaming || state.core.held() >= hard_limit {
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

    /// The outcome, once there is one. Whoever reads messages and now `asks` for the end alone
    /// needs nothing more, so a Close that is held may leave.
    pub(crate) fn poll_closed(
        &self,
        slot: &mut Option<Slot>,
        waker: &Waker,
        asks: bool,
    ) -> Poll<Closed> {
        let mut state = self.lock();
        if let Some(closed) = state.core.closed() {
            return Poll::Ready(closed.clone());
        }
        *slot = Some(state.waits.get_or_insert_default().watchers.wait(*slot, waker));
        state.awaits_end |= asks;
        if asks && state.core.is_close_held() && state.inbox.is_empty() {
            state.core.release_close(self.now());
            tell_driver(state);
        }
        Poll::Pending
    }

    /// Whoever reads messages waits for the end no more, and may ask for the next one.
    pub(crate) fn stop_awaiting_end(&self) {
        self.lock().awaits_end = false;
    }

    /// Waits until `send` would not wait, or the connection ends.
    pub(crate) fn poll_drained(&self, slot: &mut Option<Slot>, waker: &Waker) -> Poll<()> {
        let mut state = self.lock();
        if !state.is_congested() || !state.core.can_send() {
            return Poll::Ready(());
        }
        *slot = Some(state.waits.get_or_insert_default().drained.wait(*slot, waker));
        Poll::Pending
    }

    pub(crate) fn is_congested(&self) -> bool {
        self.lock().is_congested()
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
            // One for all connections: an open one that pings nobody need not count.
            static NEXT: AtomicU64 = AtomicU64::new(0);
            let id = NEXT.fetch_add(1, Relaxed);
            state.core.ping(Bytes::copy_from_slice(&id.to_be_bytes()))?;
            let ping = PingWait { id, queued, answer: None, waker: None };
            state.waits.get_or_insert_default().pings.push(ping);
            Ok(id)
        })
    }

    pub(crate) fn poll_pong(&self, id: u64, waker: &Waker) -> Poll<Result<Duration, Error>> {
        let mut state = self.lock();
        // Behind the end of the input there is no Pong.
        let over = state.core.closed().is_some() || state.ended().is_some();
        let Some(Waits { pings, .. }) = state.waits.as_deref_mut() else {
            return Poll::Ready(Err(Error::new(Kind::Closed)));
        };
        let Some(at) = pings.iter().position(|p| p.id == id) else {
            return Poll::Ready(Err(Error::new(Kind::Closed)));
        };
        if let Some(rtt) = pings[at].answer {
            pings.swap_remove(at);
            return Poll::Ready(Ok(rtt));
        }
        if over {
            pings.swap_remove(at);
            return Poll::Ready(Err(Error::new(Kind::Closed)));
        }
        register(&mut pings[at].waker, waker);
        Poll::Pending
    }

    pub(crate) fn forget_ping(&self, id: u64) {
        if let Some(waits) = &mut self.lock().waits {
            waits.pings.retain(|p| p.id != id);
        }
    }
}

/// Something was taken off the inbox, once the lock is given back.
pub(super) fn input_taken(mut state: Locked<'_>) {
    if state.paused && state.is_inbox_half_empty() {
        tell_driver(state);
    } else {
        let overdrawn = state.account();
        drop(state);
        relieve(overdrawn);
    }
}

/// Tells the driver that something changed, once the lock is given back.
pub(super) fn tell_driver(mut state: Locked<'_>) {
    state.tell_driver();
    let overdrawn = state.account();
    drop(state);
    relieve(overdrawn);
}

/// Sees to it that whoever publishes serves this seat, once nothing is locked.
fn settle(seat: Option<(SeatId, Weak<Inner>)>) {
    if let Some((id, group)) = seat {
        group::settle(id, &group);
    }
}

fn relieve(overdrawn: Option<MemoryBudget>) {
    if let Some(budget) = overdrawn {
        budget.relieve();
    }
}

/// What somebody waits for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Queue {
    /// A turn to send.
    Senders,
    /// A send queue that has run low.
    Drained,
    /// The end.
    Watchers,
    /// A send queue that has passed a mark.
    Flushed,
}

/// A place in a queue, left when it is dropped.
pub(crate) struct Place<'a> {
    shared: &'a Shared,
    queue: Queue,
    pub(crate) slot: Option<Slot>,
}

impl<'a> Place<'a> {
    pub(crate) fn new(shared: &'a Shared, queue: Queue) -> Self {
        Self { shared, queue, slot: None }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            self.shared.leave(self.queue, slot);
        }
    }
}

/// The moment that the cores count from, one for all. A clock that stands still may have been
/// stopped before the first connection was made, so it lies well before that.
fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(|| {
        let now = std::time::Instant::now();
        Instant::from_std(now.checked_sub(Duration::from_secs(86400)).unwrap_or(now))
    })
}

pub(super) fn now() -> Timestamp {
    Timestamp::from_epoch(epoch().elapsed())
}

/// As far ahead as a timer can be set and more than any server runs.
fn far_future() -> Instant {
    Instant::now() + Duration::from_secs(86400 * 365 * 30)
}
