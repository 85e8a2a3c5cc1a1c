//! Tasks that wait, each in a place of its own that it leaves when it gives up.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Waker;
use std::time::Duration;

use provod_proto::Timestamp;

use super::lock::Calls;
use super::state::End;

/// A place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot(u64);

/// Whether those behind a place must wait until whoever has it leaves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// They must: its future leaves it when it is done and when it is dropped.
    Firm,
    /// They may pass once it was called and has not come: nobody says that a sink is still polled.
    Loose,
}

#[derive(Debug)]
struct Waiter {
    slot: Slot,
    waker: Waker,
    claim: Claim,
    /// It was called since it last asked.
    called: bool,
}

impl Waiter {
    fn may_be_passed(&self) -> bool {
        self.claim == Claim::Loose && self.called
    }
}

#[derive(Debug, Default)]
pub(crate) struct Waiters {
    queue: VecDeque<Waiter>,
}

impl Waiters {
    /// Whether nobody is before this place, or before a new one at the end, who must be waited for.
    pub(crate) fn is_turn(&self, slot: Option<Slot>) -> bool {
        let before = self.queue.iter().find(|w| Some(w.slot) == slot || !w.may_be_passed());
        before.map(|w| w.slot) == slot
    }

    #[cfg(unix)]
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Waits at the end of the queue, or goes on waiting at `slot`.
    pub(crate) fn wait(&mut self, slot: Option<Slot>, waker: &Waker) -> Slot {
        self.wait_as(Claim::Firm, slot, waker)
    }

    pub(crate) fn wait_as(&mut self, claim: Claim, slot: Option<Slot>, waker: &Waker) -> Slot {
        if let Some(slot) = slot
            && let Some(waiter) = self.queue.iter_mut().find(|w| w.slot == slot)
        {
            waiter.waker.clone_from(waker);
            waiter.called = false;
            return slot;
        }
        // A queue may be gone and made anew while somebody still knows his old place.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let slot = Slot(NEXT.fetch_add(1, Relaxed));
        self.queue.push_back(Waiter { slot, waker: waker.clone(), claim, called: false });
        slot
    }

    /// Leaves the queue. Returns whether it was its turn, so that the next one must be told.
    pub(crate) fn leave(&mut self, slot: Slot) -> bool {
        let turn = self.is_turn(Some(slot));
        if let Some(at) = self.queue.iter().position(|w| w.slot == slot) {
            self.queue.remove(at);
        }
        turn
    }

    /// Calls whoever's turn it is, who stays there until he leaves, and on the way those that may
    /// be passed. Returns whether there is somebody who must be waited for.
    pub(crate) fn call(&mut self, calls: &mut Calls) -> bool {
        for waiter in self.queue.iter_mut().filter(|w| !w.may_be_passed()) {
            waiter.called = true;
            calls.add(waiter.waker.clone());
            if waiter.claim == Claim::Firm {
                return true;
            }
        }
        false
    }

    /// Empties the queue.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Waker> {
        std::mem::take(&mut self.queue).into_iter().map(|w| w.waker)
    }
}

/// All who wait for something else than a message, and how the connection ended. There is none where
/// nobody does and it is open.
#[derive(Debug, Default)]
pub(super) struct Waits {
    /// Those who wait for their turn to send.
    pub(super) senders: Waiters,
    /// Those who wait for the send queue to run low.
    pub(super) drained: Waiters,
    /// Those who wait for the end.
    pub(super) watchers: Waiters,
    /// Those who wait until what they queued is written, each up to a mark of its own.
    pub(super) flushed: Waiters,
    /// Marks that were passed when those were last told.
    pub(super) marks_passed: u64,
    /// Whoever sends a message in pieces, while there is no room.
    pub(super) streamer: Option<Waker>,
    pub(super) pings: Vec<PingWait>,
    /// How the connection ended: whoever comes later is told at once.
    pub(super) end: Option<Box<End>>,
}

impl Waits {
    /// Whether nobody waits, and there is no end to tell.
    pub(super) fn is_empty(&self) -> bool {
        let queues = [&self.senders, &self.drained, &self.watchers, &self.flushed];
        let waits = queues.iter().any(|queue| !queue.is_empty());
        !waits && self.streamer.is_none() && self.pings.is_empty() && self.end.is_none()
    }

    /// Whether anybody waits for room in the send queue, or for it to be written.
    #[cfg(unix)]
    pub(super) fn for_output(&self) -> bool {
        let queues = [&self.senders, &self.drained, &self.flushed];
        queues.iter().any(|queue| !queue.is_empty()) || self.streamer.is_some()
    }

    /// All who wait for a Pong.
    pub(super) fn take_pings(&mut self) -> impl Iterator<Item = Waker> {
        self.pings.iter_mut().filter_map(|ping| ping.waker.take())
    }

    /// All who wait to send, for room, or for what they sent to leave.
    pub(super) fn take_for_output(&mut self) -> impl Iterator<Item = Waker> {
        let waiting = self.senders.take_all().chain(self.drained.take_all());
        waiting.chain(self.flushed.take_all()).chain(self.streamer.take())
    }
}

/// Somebody who waits for a Pong.
#[derive(Debug)]
pub(super) struct PingWait {
    pub(super) id: u64,
    pub(super) queued: Timestamp,
    pub(super) answer: Option<Duration>,
    pub(super) waker: Option<Waker>,
}
