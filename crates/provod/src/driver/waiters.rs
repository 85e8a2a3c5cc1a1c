//! Tasks that wait, each in a place of its own that it leaves when it gives up.

use std::collections::VecDeque;
use std::task::Waker;

/// A place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot(u64);

#[derive(Debug, Default)]
pub(crate) struct Waiters {
    queue: VecDeque<(Slot, Waker)>,
    next: u64,
}

impl Waiters {
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn is_first(&self, slot: Slot) -> bool {
        self.queue.front().is_some_and(|(s, _)| *s == slot)
    }

    /// Waits at the end of the queue, or goes on waiting at `slot`.
    pub(crate) fn wait(&mut self, slot: Option<Slot>, waker: &Waker) -> Slot {
        if let Some(slot) = slot
            && let Some((_, kept)) = self.queue.iter_mut().find(|(s, _)| *s == slot)
        {
            kept.clone_from(waker);
            return slot;
        }
        let slot = Slot(self.next);
        self.next += 1;
        self.queue.push_back((slot, waker.clone()));
        slot
    }

    /// Leaves the queue. Returns whether it was first, so that the next one must be told.
    pub(crate) fn leave(&mut self, slot: Slot) -> bool {
        let first = self.is_first(slot);
        self.queue.retain(|(s, _)| *s != slot);
        first
    }

    /// The waker of the first in the queue, who stays there until he leaves.
    pub(crate) fn first(&self) -> Option<&Waker> {
        self.queue.front().map(|(_, waker)| waker)
    }

    /// Empties the queue.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Waker> {
        std::mem::take(&mut self.queue).into_iter().map(|(_, waker)| waker)
    }
}
