//! The state of a connection behind its lock: turns, output and the end. Its input is in
//! [`intake`](super::intake).

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Poll, Waker};

use provod_proto::{
    self as proto, Cause, CloseCode, CloseFrame, Compress, Connection, Message, Prepared,
    Timestamp, Utf8Bytes,
};

use super::backlog::{Backlogs, Line};
use super::inbox::{Ended, Inbox};
use super::lock::Calls;
use super::waiters::{Slot, Waits};
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
    /// From the settings, as what is above 4 GiB is no limit.
    pub(super) read_ahead: u32,
    pub(super) high_water: u32,
    /// Reading has stopped until the application has taken half of what waits.
    pub(super) paused: bool,
    /// The WebSocket was dropped.
    pub(super) abandoned: bool,
    /// Nobody takes messages any more: they are thrown away.
    pub(super) discard: bool,
    pub(super) aborted: bool,
    pub(super) settled: bool,
    /// The driver's turn is on: it will see what changes now without being woken.
    pub(super) in_turn: bool,
    /// What this poll of the driver has handled so far, in frames or their like.
    work: u16,
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
    pub(crate) calls: Calls,
    pub(super) driver: Driven,
    /// Messages are given out as they arrive.
    pub(super) pieces: bool,
    /// A message is sent in pieces, and no other can be.
    pub(super) streaming: bool,
    /// All who wait for something else than a message, and how it ended.
    pub(super) waits: Option<Box<Waits>>,
    /// The group that it is in, where that is one.
    pub(super) line: Option<Line>,
    /// The groups behind the first, and what waits for room.
    pub(super) backlogs: Option<Box<Backlogs>>,
    /// Where its memory is counted.
    pub(super) account: Option<Box<Account>>,
}

/// How a connection ends.
#[derive(Debug, Default)]
pub(super) struct End {
    /// How the input ended.
    pub(super) ended: Option<Ended>,
    /// A violation or limit that was not logged yet.
    pub(super) violation: Option<proto::Error>,
    /// The transport's own error, for the outcome that the core calls `Lost`.
    pub(super) broken: Option<io::Error>,
}

// With the core's, what every idle connection takes beside the entry of its driver.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<State>() <= 248);

/// Who drives the connection, and how to call it.
pub(super) enum Driven {
    /// A task, once there is anything to say about it.
    ByTask(Option<Box<Tasks>>),
    /// The worker knows it by its key, and needs to be told once.
    /// `carried` is in KiB, and as that of a task otherwise.
    #[cfg(unix)]
    ByWorker { mailbox: Arc<Mailbox>, key: u32, carried: u16, told: bool },
}

/// What there is where a task drives the connection.
#[derive(Default)]
pub(super) struct Tasks {
    driver: Option<Waker>,
    /// Whoever waits for a message. A worker gives messages to its handler, and nobody waits.
    reader: Option<Waker>,
    /// Memory of input that the driver has read and not given to the core.
    carried: usize,
}

impl Driven {
    /// Returns whom to wake so that the driver looks at the connection.
    fn call(&mut self) -> Option<Waker> {
        match self {
            Self::ByTask(tasks) => tasks.as_ref()?.driver.clone(),
            #[cfg(unix)]
            Self::ByWorker { told: true, .. } => None,
            #[cfg(unix)]
            Self::ByWorker { mailbox, key, told, .. } => {
                *told = true;
                mailbox.touch(*key)
            }
        }
    }

    fn tasks(&mut self) -> Option<&mut Tasks> {
        match self {
            Self::ByTask(tasks) => Some(tasks.get_or_insert_default()),
            #[cfg(unix)]
            Self::ByWorker { .. } => None,
        }
    }

    fn carried(&self) -> usize {
        match self {
            Self::ByTask(tasks) => tasks.as_ref().map_or(0, |tasks| tasks.carried),
            #[cfg(unix)]
            Self::ByWorker { carried, .. } => usize::from(*carried) << 10,
        }
    }
}

impl State {
    pub(super) fn new(core: Connection, config: &Config, counters: Arc<Counters>) -> Self {
        Self {
            core,
            counters,
            inbox: Inbox::default(),
            read_ahead: u32::try_from(config.read_ahead).unwrap_or(u32::MAX),
            high_water: u32::try_from(config.high_water.max(1)).unwrap_or(u32::MAX),
            paused: false,
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
            driver: Driven::ByTask(None),
            pieces: false,
            streaming: false,
            waits: None,
            line: None,
            backlogs: None,
            account: None,
        }
    }

    // ---- turns ----

    pub(crate) fn begin_turn(&mut self, waker: &Waker) {
        self.in_turn = true;
        self.dirty = false;
        self.work = 0;
        if let Some(tasks) = self.driver.tasks() {
            register(&mut tasks.driver, waker);
        }
    }

    /// A worker drives the connection from now on.
    #[cfg(unix)]
    pub(crate) fn driven_by(&mut self, mailbox: Arc<Mailbox>, key: u32) {
        self.driver = Driven::ByWorker { mailbox, key, carried: 0, told: false };
    }

    /// The worker that drives it, and its key there.
    #[cfg(unix)]
    pub(crate) fn worker(&self) -> Option<(&Arc<Mailbox>, u32)> {
        match &self.driver {
            Driven::ByTask(_) => None,
            Driven::ByWorker { mailbox, key, .. } => Some((mailbox, *key)),
        }
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
        usize::from(self.work) >= POLL_WORK
    }

    pub(super) fn add_work(&mut self, work: usize) {
        self.work = self.work.saturating_add(u16::try_from(work).unwrap_or(u16::MAX));
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
    pub(crate) fn tell_driver(&mut self) {
        self.dirty = true;
        self.call_driver();
    }

    /// The same, where only output was queued.
    pub(crate) fn tell_writer(&mut self) {
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
        let waits = self.waits.as_ref().is_some_and(|waits| waits.for_output());
        self.unsent || self.core.has_output() || self.backlogs.is_some() || waits
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
        let uncongested = !self.is_congested() || !self.core.can_send();
        let Some(waits) = &mut self.waits else { return };
        if uncongested {
            self.calls.extend(waits.drained.take_all().chain(waits.streamer.take()));
        }
        let passed = self.core.marks_passed();
        if std::mem::replace(&mut waits.marks_passed, passed) != passed {
            self.calls.extend(waits.flushed.take_all());
        }
    }

    /// Wakes whoever may send now; returns whether somebody must be waited for.
    pub(super) fn call_sender(&mut self) -> bool {
        let room = self.has_room() || !self.core.can_send();
        let Some(waits) = self.waits.as_mut().filter(|_| room) else { return false };
        waits.senders.call(&mut self.calls)
    }

    /// Whether a message may be queued without waiting, by whoever's turn it is.
    fn has_room(&self) -> bool {
        !self.is_congested() && !self.streaming
    }

    /// Whether whoever has this place, or none yet, may queue a message now.
    pub(super) fn is_turn(&self, slot: Option<Slot>) -> bool {
        self.is_next(slot) && self.has_room()
    }

    /// Whether nobody who must be waited for is before this place, or before a new one.
    pub(super) fn is_next(&self, slot: Option<Slot>) -> bool {
        self.waits.as_ref().map_or(slot.is_none(), |waits| waits.senders.is_turn(slot))
    }

    pub(super) fn close(&mut self, frame: Option<CloseFrame>, now: Timestamp) {
        if matches!(self.ended(), Some(Ended::Failed(_))) {
            // The peer is owed the code of its violation, whatever the application thinks of it.
            self.core.release_close(now);
        } else {
            self.flush_backlogs();
            // Closing twice is no fault: the first one counts.
            let _ = self.core.close(frame, now);
        }
        if let Some(waits) = &mut self.waits {
            self.calls.extend(waits.senders.take_all().chain(waits.streamer.take()));
        }
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
        self.core.held() >= self.high_water()
    }

    pub(super) fn high_water(&self) -> usize {
        self.high_water as usize
    }

    /// The transport takes no more output. What has arrived can still be read.
    pub(crate) fn output_broken(&mut self, error: io::Error, now: Timestamp) {
        self.end().broken.get_or_insert(error);
        self.core.handle_output_lost(now);
        self.call_all_senders();
        self.settle();
    }

    /// Wakes all who wait to send, for room, or for what they sent to leave.
    fn call_all_senders(&mut self) {
        if let Some(waits) = &mut self.waits {
            self.calls.extend(waits.take_for_output());
        }
    }

    /// Wakes all who wait for input.
    pub(super) fn call_readers(&mut self) {
        if let Some(waits) = &mut self.waits {
            self.calls.extend(waits.take_pings());
        }
        let reader = self.take_reader();
        self.calls.extend(reader);
    }

    /// Whoever waits for a message.
    pub(super) fn take_reader(&mut self) -> Option<Waker> {
        match &mut self.driver {
            Driven::ByTask(tasks) => tasks.as_mut()?.reader.take(),
            #[cfg(unix)]
            Driven::ByWorker { .. } => None,
        }
    }

    /// Waits for a message.
    pub(super) fn register_reader(&mut self, waker: &Waker) {
        if let Some(tasks) = self.driver.tasks() {
            register(&mut tasks.reader, waker);
        }
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
        account.set(self.core.held_input() + self.inbox.held() + self.driver.carried() + output)
    }

    /// Whether it gave up what it held.
    pub(crate) fn has_given_way(&self) -> bool {
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
            self.end().ended = None;
        }
        self.end_input(Ended::Failed(error), now);
        self.again = false;
        self.discard(now);
        self.call_all_senders();
        self.settle();
        // The driver drops it in its next turn, which is at hand.
        self.carry(0);
        self.account();
        Some(freed)
    }

    /// The driver holds so much input that the core has not seen.
    pub(crate) fn carry(&mut self, capacity: usize) {
        match &mut self.driver {
            Driven::ByTask(Some(tasks)) => tasks.carried = capacity,
            Driven::ByTask(None) => {}
            #[cfg(unix)]
            Driven::ByWorker { carried, .. } => {
                *carried = u16::try_from(capacity.div_ceil(1024)).unwrap_or(u16::MAX);
            }
        }
    }

    pub(super) fn read_ahead(&self) -> usize {
        self.read_ahead as usize
    }

    // ---- the end ----

    pub(super) fn end(&mut self) -> &mut End {
        self.waits.get_or_insert_default().end.get_or_insert_default()
    }

    /// How the input ended.
    pub(super) fn ended(&self) -> Option<&Ended> {
        self.waits.as_ref()?.end.as_ref()?.ended.as_ref()
    }

    pub(super) fn is_broken(&self) -> bool {
        let end = self.waits.as_ref().and_then(|waits| waits.end.as_ref());
        end.is_some_and(|end| end.broken.is_some())
    }

    pub(super) fn take_broken(&mut self) -> Option<io::Error> {
        self.waits.as_mut()?.end.as_mut()?.broken.take()
    }

    /// The violation that ended the input, once, to be logged.
    pub(crate) fn take_violation(&mut self) -> Option<proto::Error> {
        self.waits.as_mut()?.end.as_mut()?.violation.take()
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    /// Bytes that may be read before the inbox is full.
    pub(crate) fn read_room(&self) -> usize {
        if self.discard { usize::MAX } else { self.read_ahead().saturating_sub(self.inbox.cost()) }
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
        let end = self.waits.get_or_insert_default().end.get_or_insert_default();
        if end.ended.is_none() {
            let lost = match (&closed.cause, end.broken.take()) {
                _ if closed.received.is_some() => None,
                (Cause::Failed(e), _) => {
                    end.ended = Some(Ended::Failed(e.clone()));
                    None
                }
                (_, Some(error)) => Some(Kind::Transport(error)),
                (Cause::Silent, None) => Some(Kind::Silent),
                (Cause::Local, None) => Some(Kind::CloseTimeout),
                _ if self.aborted => Some(Kind::Aborted),
                _ => Some(Kind::Ended),
            };
            let ended = lost.map_or(Ended::Close, Ended::lost);
            end.ended.get_or_insert(ended);
        }
        self.call_readers();
        if let Some(waits) = &mut self.waits {
            self.calls.extend(waits.watchers.take_all());
        }
        self.call_all_senders();
    }
}

pub(super) fn register(place: &mut Option<Waker>, waker: &Waker) {
    match place {
        Some(kept) => kept.clone_from(waker),
        None => *place = Some(waker.clone()),
    }
}
