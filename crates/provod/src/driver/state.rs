//! The state of a connection behind its lock: turns, output and the end. Its input is in
//! [`intake`](super::intake).

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use provod_proto::{
    self as proto, Cause, CloseCode, CloseFrame, Compress, Connection, Message, Prepared,
    Timestamp, Utf8Bytes,
};

use super::backlog::Backlogs;
use super::inbox::{Ended, Inbox};
use super::lock::Calls;
use super::waiters::{Slot, Waiters};
use crate::budget::{Account, MemoryBudget};
use crate::config::Config;
use crate::counters::Counters;
use crate::error::{Error, Kind};
#[cfg(unix)]
use crate::worker::Mailbox;

/// Writes in one turn, each of which may have to compress 256 KiB first.
const WRITES: usize = 8;
/// Slices in one vectored write.
const SLICES: usize = 64;
/// Frames, or their like, that one poll of the driver handles.
const POLL_WORK: usize = 1024;

pub(crate) struct State {
    pub(crate) core: Connection,
    pub(crate) counters: Arc<Counters>,
    pub(super) inbox: Inbox,
    pub(super) read_ahead: usize,
    pub(super) high_water: usize,
    pub(super) ended: Option<Ended>,
    /// Reading has stopped until the application has taken half of what waits.
    pub(super) paused: bool,
    /// A violation or limit that was not logged yet.
    pub(super) violation: Option<proto::Error>,
    /// The transport's own error, for the outcome that the core calls `Lost`.
    pub(super) broken: Option<io::Error>,
    /// The WebSocket was dropped.
    pub(super) abandoned: bool,
    /// Nobody takes messages any more: they are thrown away.
    pub(super) discard: bool,
    pub(super) aborted: bool,
    pub(super) settled: bool,
    /// The driver's turn is on: it will see what changes now without being woken.
    pub(super) in_turn: bool,
    /// What this poll of the driver has handled so far, in frames or their like.
    pub(super) work: usize,
    /// The core has more to do without further input.
    pub(super) again: bool,
    /// A message has been received at some time.
    pub(super) received: bool,
    /// Something other than output changed since the driver last looked.
    pub(super) dirty: bool,
    /// Something was queued since the driver last wrote.
    pub(super) unsent: bool,
    /// The application waits for the end and for nothing else.
    pub(super) awaits_end: bool,
    /// Those to wake once the lock is given back.
    pub(super) calls: Calls,
    pub(super) driver: Driven,
    pub(super) reader: Option<Waker>,
    /// Messages are given out as they arrive.
    pub(super) pieces: bool,
    /// A message is sent in pieces, and no other can be.
    pub(super) streaming: bool,
    /// Whoever sends that message, while there is no room.
    pub(super) streamer: Option<Waker>,
    pub(super) senders: Waiters,
    /// Those who wait for the send queue to run low.
    pub(super) drained: Waiters,
    /// Those who wait for the end.
    pub(super) watchers: Waiters,
    /// Those who wait until what they queued is written, each up to a mark of its own.
    pub(super) flushed: Waiters,
    /// Marks that were passed when those were last told.
    pub(super) marks_passed: u64,
    pub(super) pings: Vec<PingWait>,
    pub(super) next_ping: u64,
    /// The groups that it is in, and what waits for room.
    pub(super) backlogs: Option<Box<Backlogs>>,
    /// Where its memory is counted.
    pub(super) account: Option<Box<Account>>,
    /// Memory of input that the driver has read and not given to the core.
    pub(super) carried: usize,
}

/// Who drives the connection, and how to call it.
pub(super) enum Driven {
    NotYet,
    ByTask(Waker),
    /// The worker knows it by its key, and needs to be told once.
    #[cfg(unix)]
    ByWorker {
        mailbox: Arc<Mailbox>,
        key: u32,
        told: bool,
    },
}

impl Driven {
    /// Returns whom to wake so that the driver looks at the connection.
    fn call(&mut self) -> Option<Waker> {
        match self {
            Self::NotYet => None,
            Self::ByTask(waker) => Some(waker.clone()),
            #[cfg(unix)]
            Self::ByWorker { told: true, .. } => None,
            #[cfg(unix)]
            Self::ByWorker { mailbox, key, told } => {
                *told = true;
                mailbox.touch(*key)
            }
        }
    }
}

/// Somebody who waits for a Pong.
pub(super) struct PingWait {
    pub(super) id: u64,
    pub(super) queued: Timestamp,
    pub(super) answer: Option<Duration>,
    pub(super) waker: Option<Waker>,
}

impl State {
    pub(super) fn new(core: Connection, config: &Config, counters: Arc<Counters>) -> Self {
        Self {
            core,
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
            work: 0,
            again: false,
            received: false,
            dirty: false,
            unsent: false,
            awaits_end: false,
            calls: Calls::default(),
            driver: Driven::NotYet,
            reader: None,
            pieces: false,
            streaming: false,
            streamer: None,
            senders: Waiters::default(),
            drained: Waiters::default(),
            watchers: Waiters::default(),
            flushed: Waiters::default(),
            marks_passed: 0,
            pings: Vec::new(),
            next_ping: 0,
            backlogs: None,
            account: None,
            carried: 0,
        }
    }

    // ---- turns ----

    pub(crate) fn begin_turn(&mut self, waker: &Waker) {
        self.in_turn = true;
        self.dirty = false;
        self.work = 0;
        match &mut self.driver {
            Driven::ByTask(kept) => kept.clone_from(waker),
            other => *other = Driven::ByTask(waker.clone()),
        }
    }

    /// A worker drives the connection from now on.
    #[cfg(unix)]
    pub(crate) fn driven_by(&mut self, mailbox: Arc<Mailbox>, key: u32) {
        self.driver = Driven::ByWorker { mailbox, key, told: false };
    }

    /// The worker looks at the connection now.
    #[cfg(unix)]
    pub(crate) fn begin_worker_turn(&mut self) {
        (self.in_turn, self.dirty, self.work) = (true, false, 0);
        if let Driven::ByWorker { told, .. } = &mut self.driver {
            *told = false;
        }
    }

    /// The worker has looked at everything.
    #[cfg(unix)]
    pub(crate) fn end_worker_turn(&mut self) {
        (self.in_turn, self.dirty) = (false, false);
    }

    /// The worker will look at the connection again, when others have had their turn.
    #[cfg(unix)]
    pub(crate) fn tell_later(&mut self) {
        self.wake_driver();
    }

    /// Whether this poll has handled so much that other tasks should have their turn.
    pub(crate) fn is_worked_off(&self) -> bool {
        self.work >= POLL_WORK
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

    /// Wakes the driver, if it would not see the change itself.
    pub(super) fn tell_driver(&mut self) {
        self.dirty = true;
        self.call_driver();
    }

    /// The same, where only output was queued.
    pub(super) fn tell_writer(&mut self) {
        // Where nothing could be queued, there is nothing to tell.
        self.unsent |= self.core.has_output();
        if self.unsent {
            self.call_driver();
        }
    }

    fn call_driver(&mut self) {
        if !self.in_turn {
            self.wake_driver();
        }
    }

    fn wake_driver(&mut self) {
        self.calls.extend(self.driver.call());
    }

    // ---- output ----

    pub(super) fn send(&mut self, message: Message, compress: Compress) -> Result<(), Error> {
        self.core.send_with(message, compress)?;
        self.counters.messages_out.add(1);
        Ok(())
    }

    pub(super) fn send_prepared(&mut self, message: &Prepared) -> Result<(), Error> {
        self.core.send_prepared(message, Compress::Auto)?;
        self.counters.messages_out.add(1);
        Ok(())
    }

    /// Whether [`transmit`](Self::transmit) may have anything to do.
    #[cfg(unix)]
    pub(crate) fn has_to_transmit(&self) -> bool {
        self.unsent || self.core.has_output() || self.backlogs.is_some() || self.somebody_waits()
    }

    #[cfg(unix)]
    fn somebody_waits(&self) -> bool {
        let queues = [&self.senders, &self.drained, &self.flushed];
        queues.iter().any(|queue| !queue.is_empty()) || self.streamer.is_some()
    }

    /// Writes what there is, as far as the transport takes it; returns whether there is more to
    /// write at once.
    pub(crate) fn transmit(
        &mut self,
        now: Timestamp,
        mut write: impl FnMut(&[IoSlice<'_>]) -> Poll<io::Result<usize>>,
    ) -> bool {
        self.begin_write();
        let mut more = true;
        for _ in 0..WRITES {
            self.refill();
            let mut slices = [IoSlice::new(&[]); SLICES];
            let n = self.core.poll_transmit(&mut slices, now);
            if n == 0 {
                more = false;
                break;
            }
            match write(&slices[..n]) {
                Poll::Ready(Ok(taken @ 1..)) => {
                    self.counters.bytes_out.add(taken as u64);
                    self.core.handle_transmitted(taken, now);
                }
                Poll::Ready(end) => {
                    let error = end.err().unwrap_or_else(|| io::ErrorKind::WriteZero.into());
                    self.output_broken(error, now);
                    more = false;
                    break;
                }
                Poll::Pending => {
                    self.core.handle_blocked();
                    more = false;
                    break;
                }
            }
        }
        self.room_made();
        more
    }

    /// Output was taken: the first of those who wait may send.
    pub(crate) fn room_made(&mut self) {
        if !self.call_sender() && self.has_room() && self.is_group_next() {
            // Behind whoever was just woken.
            self.wake_driver();
        }
        if !self.is_congested() || !self.core.can_send() {
            self.calls.extend(self.drained.take_all().chain(self.streamer.take()));
        }
        let passed = self.core.marks_passed();
        if std::mem::replace(&mut self.marks_passed, passed) != passed {
            self.calls.extend(self.flushed.take_all());
        }
    }

    /// Wakes whoever may send now; returns whether somebody must be waited for.
    pub(super) fn call_sender(&mut self) -> bool {
        let room = self.has_room() || !self.core.can_send();
        room && self.senders.call(&mut self.calls)
    }

    /// Whether a message may be queued without waiting, by whoever's turn it is.
    fn has_room(&self) -> bool {
        !self.is_congested() && !self.streaming
    }

    /// Whether whoever has this place, or none yet, may queue a message now.
    pub(super) fn is_turn(&self, slot: Option<Slot>) -> bool {
        self.senders.is_turn(slot) && self.has_room()
    }

    pub(super) fn close(&mut self, frame: Option<CloseFrame>, now: Timestamp) {
        if matches!(self.ended, Some(Ended::Failed(_))) {
            // The peer is owed the code of its violation, whatever the application thinks of it.
            self.core.release_close(now);
        } else {
            self.flush_backlogs();
            // Closing twice is no fault: the first one counts.
            let _ = self.core.close(frame, now);
        }
        self.calls.extend(self.senders.take_all().chain(self.streamer.take()));
    }

    pub(crate) fn close_with(&mut self, code: CloseCode, reason: &'static str, now: Timestamp) {
        self.discard(now);
        if self.core.can_send() {
            let frame = CloseFrame::new(code, Utf8Bytes::from_static(reason)).ok();
            self.close(frame, now);
        }
    }

    /// `send` would wait.
    pub(crate) fn is_congested(&self) -> bool {
        self.core.held() >= self.high_water
    }

    /// The transport takes no more output. What has arrived can still be read.
    pub(crate) fn output_broken(&mut self, error: io::Error, now: Timestamp) {
        self.broken.get_or_insert(error);
        self.core.handle_output_lost(now);
        self.call_all_senders();
        self.settle();
    }

    /// Wakes all who wait to send, for room, or for what they sent to leave.
    fn call_all_senders(&mut self) {
        let waiting = self.senders.take_all().chain(self.drained.take_all());
        self.calls.extend(waiting.chain(self.flushed.take_all()).chain(self.streamer.take()));
    }

    // ---- memory ----

    pub(crate) fn open_account(&mut self, account: Account) {
        self.account = Some(Box::new(account));
    }

    /// Counts what is held now, where somebody counts. Returns a budget that is overdrawn, which
    /// must be relieved once nothing is locked.
    pub(crate) fn account(&mut self) -> Option<MemoryBudget> {
        let account = self.account.as_mut()?;
        let backlog = self.backlogs.as_ref().map_or(0, |b| b.cost());
        let output = self.core.held() + backlog;
        account.set(self.core.held_input() + self.inbox.held() + self.carried + output)
    }

    /// Whether it gave up what it held.
    pub(super) fn has_given_way(&self) -> bool {
        self.account.as_ref().is_some_and(|account| account.is_closed())
    }

    /// Gives up all that is held, because memory is short. Returns how much that was; `None` when
    /// it did so before.
    pub(super) fn shed(&mut self, now: Timestamp) -> Option<usize> {
        let account = self.account.as_mut()?;
        if !account.close() {
            return None;
        }
        let freed = account.counted();
        self.counters.shed.add(1);
        self.drop_backlogs();
        let error = self.core.shed(now);
        if !self.inbox.is_empty() {
            // Messages are lost: whatever ended the input behind them, this must be known first.
            self.ended = None;
        }
        self.end_input(Ended::Failed(error), now);
        self.again = false;
        self.discard(now);
        self.call_all_senders();
        self.settle();
        // The driver drops it in its next turn, which is at hand.
        self.carried = 0;
        self.account();
        Some(freed)
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
        let dropped = self.backlogs.as_mut().map_or(0, |b| b.clear());
        self.counters.dropped.add(dropped as u64);
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
        self.calls.extend(pings.chain(self.reader.take()).chain(self.watchers.take_all()));
        self.call_all_senders();
    }
}

pub(super) fn register(place: &mut Option<Waker>, waker: &Waker) {
    match place {
        Some(kept) => kept.clone_from(waker),
        None => *place = Some(waker.clone()),
    }
}
