//! What groups queue on a connection: the room for it, and what waits when there is none.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Weak;

use provod_proto::{Compress, Connection, Prepared};

use super::shared::Shared;
use super::state::State;
use crate::group::{Aftermath, Inner, SlowPolicy};

/// What a message that waits costs beside its bytes, which it may share with others.
const MESSAGE_COST: usize = 128;

/// What a connection is a member of, and the messages that are not in its send queue yet.
#[derive(Default)]
pub(super) struct Backlogs {
    lines: BTreeMap<u64, Line>,
    /// The lines in which something waits. The first sends one message and goes to the end.
    turns: VecDeque<u64>,
    bytes: usize,
    cost: usize,
    /// A line has sent while a sender waited, whose turn it is now.
    senders_turn: bool,
    /// The largest message of those that have not left whole, with the mark behind it: what waits
    /// because of it is no slowness of the peer's.
    large: Option<(u64, usize)>,
}

/// One membership.
struct Line {
    policy: SlowPolicy,
    group: Weak<Inner>,
    waiting: VecDeque<Prepared>,
    cost: usize,
    /// Behind the last message that was queued, for `Latest`.
    mark: Option<u64>,
    /// The connection is about to be closed for its slowness: what follows would hide the gap.
    over: bool,
}

/// What came of a message for one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// It is queued, or waits to be; so many older ones were given up for it.
    Queued { displaced: usize },
    /// It was left out.
    Dropped,
    /// It was left out, and the connection must be closed.
    Closed,
    /// Nothing can be sent any more.
    Gone,
}

fn cost(message: &Prepared) -> usize {
    message.payload().len() + MESSAGE_COST
}

impl Line {
    /// Whether the next message may go to the send queue now.
    fn may_send(&self, core: &Connection, high_water: usize) -> bool {
        match self.policy {
            SlowPolicy::Close | SlowPolicy::DropNewest => true,
            SlowPolicy::DropOldest => core.held() < high_water,
            SlowPolicy::Latest => {
                core.held() < high_water && self.mark.is_none_or(|n| core.marks_passed() > n)
            }
        }
    }

    /// Puts a message into the send queue, unless a streamed one must be finished first.
    fn send(&mut self, core: &mut Connection, message: &Prepared) -> bool {
        let sent = core.send_prepared(message, Compress::Auto).is_ok();
        if sent && self.policy == SlowPolicy::Latest {
            self.mark = Some(core.mark());
        }
        sent
    }
}

impl Backlogs {
    fn push(&mut self, id: u64, message: &Prepared) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        if line.waiting.is_empty() {
            self.turns.push_back(id);
        }
        line.waiting.push_back(message.clone());
        line.cost += cost(message);
        self.cost += cost(message);
        self.bytes += message.payload().len();
    }

    /// Takes the oldest message of a line; its place in `turns` is the caller's to mend.
    fn pop(&mut self, id: u64) -> Option<Prepared> {
        let line = self.lines.get_mut(&id)?;
        let message = line.waiting.pop_front()?;
        line.cost -= cost(&message);
        self.cost -= cost(&message);
        self.bytes -= message.payload().len();
        Some(message)
    }

    /// Memory that the messages take, as if they were not shared.
    pub(super) fn cost(&self) -> usize {
        self.cost
    }

    /// Gives up all that waits; returns how many messages that were.
    pub(super) fn clear(&mut self) -> usize {
        let lines = self.lines.values_mut();
        let waiting = lines.map(|line| {
            line.cost = 0;
            std::mem::take(&mut line.waiting).len()
        });
        let n = waiting.sum();
        (self.turns, self.bytes, self.cost) = (VecDeque::new(), 0, 0);
        n
    }

    /// Queues what waits, as long as `go_on` says so; returns how many messages that were.
    fn drain(
        &mut self,
        core: &mut Connection,
        mut go_on: impl FnMut(&Line, &Connection) -> bool,
    ) -> usize {
        let (mut sent, mut refused) = (0, 0);
        while refused < self.turns.len()
            && let Some(id) = self.turns.pop_front()
        {
            let Some(line) = self.lines.get_mut(&id) else { continue };
            let Some(message) = line.waiting.front().cloned() else { continue };
            if go_on(line, core) && line.send(core, &message) {
                self.pop(id);
                sent += 1;
                refused = 0;
            } else {
                refused += 1;
            }
            if self.lines.get(&id).is_some_and(|line| !line.waiting.is_empty()) {
                self.turns.push_back(id);
            }
        }
        sent
    }
}

impl State {
    /// A new membership; `false` when nothing can be sent any more.
    pub(crate) fn join_group(&mut self, id: u64, policy: SlowPolicy, group: Weak<Inner>) -> bool {
        if !self.core.can_send() {
            return false;
        }
        let waiting = VecDeque::new();
        let line = Line { policy, group, waiting, cost: 0, mark: None, over: false };
        self.backlogs.get_or_insert_default().lines.insert(id, line);
        true
    }

    /// All memberships, at the end.
    pub(crate) fn take_groups(&mut self) -> Vec<(u64, Weak<Inner>)> {
        self.drop_backlogs();
        let backlogs = self.backlogs.take();
        let lines = backlogs.into_iter().flat_map(|b| b.lines);
        lines.map(|(id, line)| (id, line.group)).collect()
    }

    fn deliver(
        &mut self,
        id: u64,
        message: &Prepared,
        hard_limit: usize,
        displaced: &mut Vec<Prepared>,
    ) -> Delivery {
        let open = self.core.can_send();
        let senders_wait = !self.is_next(None);
        let Some(backlogs) = self.backlogs.as_mut().filter(|_| open) else { return Delivery::Gone };
        let Some(line) = backlogs.lines.get_mut(&id).filter(|l| !l.over) else {
            return Delivery::Gone;
        };
        let bounded = matches!(line.policy, SlowPolicy::Close | SlowPolicy::DropNewest);
        let large = match backlogs.large {
            Some((mark, cost)) if self.core.marks_passed() <= mark => cost,
            _ => 0,
        };
        if bounded && self.core.held() + line.cost >= hard_limit.saturating_add(large) {
            self.counters.dropped.add(1);
            line.over = line.policy == SlowPolicy::Close;
            return if line.over { Delivery::Closed } else { Delivery::Dropped };
        }
        let senders_first = !bounded && backlogs.senders_turn && senders_wait;
        if line.waiting.is_empty()
            && !senders_first
            && line.may_send(&self.core, self.high_water as usize)
            && line.send(&mut self.core, message)
        {
            if bounded && cost(message) > large.max(hard_limit / 8) {
                backlogs.large = Some((self.core.mark(), cost(message)));
            }
            self.counters.messages_out.add(1);
            return Delivery::Queued { displaced: 0 };
        }
        let most = match line.policy {
            SlowPolicy::Latest => 0,
            SlowPolicy::DropOldest => hard_limit.saturating_sub(cost(message)),
            // They were looked at above, and what waits for a streamed message has no gap.
            SlowPolicy::Close | SlowPolicy::DropNewest => usize::MAX,
        };
        let before = displaced.len();
        while backlogs.lines.get(&id).is_some_and(|line| line.cost > most)
            && let Some(oldest) = backlogs.pop(id)
        {
            displaced.push(oldest);
        }
        let n = displaced.len() - before;
        if backlogs.lines.get(&id).is_none_or(|line| line.waiting.is_empty()) {
            // `push` puts it there again.
            backlogs.turns.retain(|turn| *turn != id);
        }
        self.counters.dropped.add(n as u64);
        backlogs.push(id, message);
        Delivery::Queued { displaced: n }
    }

    /// Moves what waits into the send queue as far as there is room.
    pub(super) fn refill(&mut self) {
        let senders_wait = self.backlogs.is_some() && !self.is_next(None);
        let Some(backlogs) = self.backlogs.as_mut().filter(|b| !b.turns.is_empty()) else {
            return;
        };
        if !self.core.can_send() {
            return self.drop_backlogs();
        }
        backlogs.senders_turn &= senders_wait;
        let mut turn = !backlogs.senders_turn;
        let high_water = self.high_water as usize;
        if !turn || self.core.held() >= high_water {
            return;
        }
        let sent = backlogs.drain(&mut self.core, |line, core| {
            let go = turn && core.held() < high_water && line.may_send(core, high_water);
            // One message, then it is the turn of a sender that waits.
            turn &= !(go && senders_wait);
            go
        });
        backlogs.senders_turn |= sent > 0 && senders_wait;
        self.counters.messages_out.add(sent as u64);
    }

    /// Whether a line has let a sender go first who may be passed now.
    pub(super) fn is_group_next(&self) -> bool {
        let waits = |b: &Backlogs| b.senders_turn && !b.turns.is_empty();
        self.backlogs.as_deref().is_some_and(waits) && self.is_next(None)
    }

    /// Moves all that waits into the send queue: a Close goes behind it.
    pub(super) fn flush_backlogs(&mut self) {
        if let Some(backlogs) = &mut self.backlogs {
            let sent = backlogs.drain(&mut self.core, |_, _| true);
            self.counters.messages_out.add(sent as u64);
        }
    }

    /// Gives up what waits.
    pub(super) fn drop_backlogs(&mut self) {
        if let Some(backlogs) = &mut self.backlogs {
            let n = backlogs.clear();
            self.counters.dropped.add(n as u64);
        }
    }

    /// A sender had its turn, or gave it up; returns whether a line may wait for that.
    pub(super) fn sender_had_turn(&mut self) -> bool {
        let Some(backlogs) = &mut self.backlogs else { return false };
        std::mem::take(&mut backlogs.senders_turn) && !backlogs.turns.is_empty()
    }
}

impl Shared {
    /// Queues a message of a group; tells also whether `send` would wait now.
    pub(crate) fn deliver(
        &self,
        id: u64,
        message: &Prepared,
        after: &mut Aftermath,
    ) -> (Delivery, bool) {
        let mut state = self.lock();
        let delivery = state.deliver(id, message, self.config.hard_limit, &mut after.displaced);
        let congested = state.is_congested();
        if matches!(delivery, Delivery::Queued { .. }) {
            state.tell_writer();
            if let Some(budget) = state.account() {
                after.budget = Some(budget);
            }
        }
        // The group is locked here, too.
        after.wakers.extend(state.calls.take());
        (delivery, congested)
    }

    /// A membership ends; what waits for it is given up.
    pub(crate) fn leave_group(&self, id: u64) {
        let mut state = self.lock();
        let Some(backlogs) = &mut state.backlogs else { return };
        let mut waiting = Vec::new();
        while let Some(message) = backlogs.pop(id) {
            waiting.push(message);
        }
        backlogs.lines.remove(&id);
        backlogs.turns.retain(|turn| *turn != id);
        state.counters.dropped.add(waiting.len() as u64);
        state.account();
        drop(state);
        drop(waiting);
    }

    /// Bytes that wait to be sent: in the send queue, and for room in it.
    pub(crate) fn buffered(&self) -> usize {
        let state = self.lock();
        state.core.buffered() + state.backlogs.as_ref().map_or(0, |b| b.bytes)
    }
}
