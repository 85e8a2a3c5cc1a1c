//! What groups publish to a connection that a worker serves waits in their [`Part`] until the
//! worker gives it out, or somebody uses the connection before that.

#[cfg(unix)]
use std::io;
use std::sync::{Arc, Weak};

use super::backlog::Delivery;
use super::shared::now;
use super::state::State;
#[cfg(unix)]
use crate::group::Edition;
use crate::group::{Aftermath, Entry, Inner, Part, SeatId, too_slow};

impl State {
    /// Whether a group has published something that was not given out yet.
    #[inline]
    pub(super) fn is_out_of_date(&self) -> bool {
        self.line.as_ref().is_some_and(|line| line.part.end() != line.seen)
    }

    /// Queues what was published so far. The worker looks at the connection later in any case.
    #[cold]
    pub(super) fn catch_up(&mut self, hard_limit: usize) {
        let Some(line) = &mut self.line else { return };
        let (entries, end) = line.part.since(line.seen);
        line.seen = end;
        let id = line.id;
        self.give(id, &entries, hard_limit);
    }

    /// Queues what a member is given, in order; returns whether it stays a member.
    fn give(&mut self, id: SeatId, entries: &[Entry], hard_limit: usize) -> bool {
        let mut displaced = Vec::new();
        for entry in entries.iter().filter(|entry| entry.except != Some(id)) {
            match self.deliver(id, &entry.message, hard_limit, &mut displaced) {
                Delivery::Queued { .. } | Delivery::Dropped => {}
                Delivery::Closed => {
                    self.close(too_slow(), now());
                    return false;
                }
                Delivery::Gone => return false,
            }
        }
        true
    }

    /// A group, which is locked, has queued something.
    pub(crate) fn group_has_queued(&mut self, after: &mut Aftermath) {
        self.tell_writer();
        if let Some(budget) = self.account() {
            after.budget = Some(budget);
        }
        after.wakers.extend(self.calls.take());
    }

    /// Whether what a group publishes may wait for the worker, and leave then at once: nothing can
    /// be left out meanwhile that whoever publishes should hear of.
    #[cfg(unix)]
    pub(crate) fn may_be_put_off(&self) -> bool {
        self.worker().is_some()
            && self.line.as_ref().is_some_and(|line| line.policy.is_bounded() && !line.over)
            && self.backlogs.is_none()
            && self.core.takes_prepared(0).is_some()
    }

    #[cfg(not(unix))]
    pub(crate) fn may_be_put_off(&self) -> bool {
        false
    }

    /// Its seat, where a worker gives out to it what its group publishes and whoever publishes must
    /// do so from now on, to hear what came of it: see [`settle`](crate::group::settle).
    pub(crate) fn is_to_settle(&self, hard_limit: usize) -> Option<(SeatId, Weak<Inner>)> {
        let keeps_up = || self.core.held() < self.high_water().min(hard_limit / 2);
        if self.line.is_none() || (self.core.can_send() && keeps_up()) {
            return None;
        }
        let served = self.line.as_ref().is_some_and(|line| line.part.is_served());
        self.first_line().filter(|_| served)
    }

    /// How many groups it is in.
    pub(crate) fn lines(&self) -> usize {
        let more = self.backlogs.as_ref().map_or(0, |backlogs| backlogs.lines());
        usize::from(self.line.is_some()) + more
    }

    /// The first of its groups.
    pub(crate) fn first_line(&self) -> Option<(SeatId, Weak<Inner>)> {
        let first = self.line.as_ref()?;
        Some((first.id, first.part.group.clone()))
    }

    /// What the first of its groups publishes is put into another part from now on; all of the one
    /// before was given out.
    pub(crate) fn move_line(&mut self, part: Arc<Part>) {
        if let Some(line) = &mut self.line {
            (line.seen, line.part) = (part.end(), part);
        }
    }

    /// Writes an edition, or queues what of it this connection has not been given. Returns as
    /// which member it hears the edition, where the connection must be looked at.
    #[cfg(unix)]
    pub(crate) fn publish(
        &mut self,
        edition: &mut Edition,
        hard_limit: usize,
        write: impl FnOnce(&[u8]) -> io::Result<usize>,
    ) -> Option<SeatId> {
        let line = self.line.as_mut().filter(|line| Arc::ptr_eq(&line.part, edition.part()))?;
        let (id, seen) = (line.id, line.seen);
        if seen >= edition.end() {
            return self.has_to_transmit().then_some(id);
        }
        line.seen = edition.end();
        if line.over {
            edition.gone(id);
            return None;
        }
        let at_once = line.policy.is_bounded() && edition.is_whole_for(id, seen);
        if at_once
            && self.backlogs.is_none()
            && edition.cost() <= hard_limit / 8
            && let Some(form) = self.core.takes_prepared(edition.longest())
        {
            let messages = edition.messages();
            let frames = edition.frames(form);
            // An error shows again when the rest is written.
            let taken = write(frames.bytes()).unwrap_or(0);
            self.counters.messages_out.add(messages);
            self.counters.bytes_out.add(taken as u64);
            self.core.prepared_sent(frames, taken);
            return (taken < frames.bytes().len()).then_some(id);
        }
        if !self.give(id, edition.since(seen), hard_limit) {
            edition.gone(id);
        }
        Some(id)
    }
}
