//! What groups queue on a connection: the room for it, and what waits when there is none.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use provod_proto::{Compress, Connection, Prepared};

use super::shared::Shared;
use super::state::State;
use crate::group::{Aftermath, Inner, Part, SeatId, SlowPolicy, settle};

/// What a message that waits costs beside its bytes, which it may share with others.
const MESSAGE_COST: usize = 128;

/// One membership.
pub(super) struct Line {
    /// Where the group puts what this member is to hear.
    pub(super) part: Arc<Part>,
    /// How many of the part's messages it has been given.
    pub(super) seen: u64,
    pub(super) id: SeatId,
    pub(super) policy: SlowPolicy,
    /// The connection is about to be closed for its slowness: what follows would hide the gap.
    pub(super) over: bool,
}

// Every member of a group has room for one.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Option<Line>>() <= 24);

/// The memberships behind the first, and the messages that are not in the send queue yet. There is
/// none where there is neither.
#[derive(Default)]
pub(super) struct Backlogs {
    /// By their ids.
    more: Vec<Line>,
    /// What there is to know of lines beyond their membership, by their ids.
    queues: Vec<Queue>,
    /// The lines in which something waits. The first sends one message and goes to the end.
    turns: VecDeque<SeatId>,
    bytes: usize,
    cost: usize,
    /// A line has sent while a sender waited, whose turn it is now.
    senders_turn: bool,
    /// The largest message of those that have not left whole, with the mark behind it: what waits
    /// because of it is no slowness of the peer's.
    large: Option<(u64, usize)>,
}

/// What waits of one line.
struct Queue {
    id: SeatId,
    policy: SlowPolicy,
    messages: VecDeque<Prepared>,
    cost: usize,
    /// Behind the last message that was queued, for `Latest`.
    mark: Option<u64>,
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

/// Whether the next message of a line may go to the send queue now. `mark`: behind its last.
fn may_send(policy: SlowPolicy, mark: Option<u64>, core: &Connection, high_water: usize) -> bool {
    match policy {
        SlowPolicy::Close | SlowPolicy::DropNewest => true,
        SlowPolicy::DropOldest => core.held() < high_water,
        SlowPolicy::Latest => {
            core.held() < high_water && mark.is_none_or(|n| core.marks_passed() > n)
        }
    }
}

/// Puts a message into the send queue, unless a streamed one must be finished first.
fn send(core: &mut Connection, message: &Prepared) -> bool {
    core.send_prepared(message, Compress::Auto).is_ok()
}

impl Backlogs {
    /// Memberships behind the first.
    pub(super) fn lines(&self) -> usize {
        self.more.len()
    }

    fn queue(&self, id: SeatId) -> Option<&Queue> {
        let at = self.queues.binary_search_by_key(&id, |queue| queue.id).ok()?;
        self.queues.get(at)
    }

    fn queue_mut(&mut self, id: SeatId) -> Option<&mut Queue> {
        let at = self.queues.binary_search_by_key(&id, |queue| queue.id).ok()?;
        self.queues.get_mut(at)
    }

    /// The queue of a line, which is made if need be.
    fn make_queue(&mut self, id: SeatId, policy: SlowPolicy) -> &mut Queue {
        let at = self.queues.binary_search_by_key(&id, |queue| queue.id).unwrap_or_else(|at| {
            let messages = VecDeque::new();
            self.queues.insert(at, Queue { id, policy, messages, cost: 0, mark: None });
            at
        });
        &mut self.queues[at]
    }

    fn waits(&self, id: SeatId) -> bool {
        self.queue(id).is_some_and(|queue| !queue.messages.is_empty())
    }

    fn push(&mut self, id: SeatId, policy: SlowPolicy, message: &Prepared) {
        let queue = self.make_queue(id, policy);
        let first = queue.messages.is_empty();
        queue.messages.push_back(message.clone());
        queue.cost += cost(message);
        self.cost += cost(message);
        self.bytes += message.payload().len();
        if first {
            self.turns.push_back(id);
        }
    }

    /// Takes the oldest message of a line; its place in `turns` is the caller's to mend.
    fn pop(&mut self, id: SeatId) -> Option<Prepared> {
        let queue = self.queue_mut(id)?;
        let message = queue.messages.pop_front()?;
        queue.cost -= cost(&message);
        self.cost -= cost(&message);
        self.bytes -= message.payload().len();
        Some(message)
    }

    /// Whether nothing waits, and nothing that has passed through must be remembered.
    fn is_idle(&mut self, core: &Connection) -> bool {
        let passed = core.marks_passed();
        self.large.take_if(|(mark, _)| passed > *mark);
        if self.turns.is_empty() {
            self.queues.retain(|queue| queue.mark.is_some_and(|mark| passed <= mark));
        }
        self.queues.is_empty() && self.large.is_none() && !self.senders_turn
    }

    /// Memory that the messages take, as if they were not shared.
    pub(super) fn cost(&self) -> usize {
        self.cost
    }

    /// Gives up all that waits, when nothing more is sent; returns how many messages that were.
    pub(super) fn clear(&mut self) -> usize {
        let n = self.queues.iter().map(|queue| queue.messages.len()).sum();
        (self.queues, self.turns) = (Vec::new(), VecDeque::new());
        (self.bytes, self.cost) = (0, 0);
        n
    }

    /// Queues what waits, as long as `go_on` says so; returns how many messages that were.
    fn drain(
        &mut self,
        core: &mut Connection,
        mut go_on: impl FnMut(&Queue, &Connection) -> bool,
    ) -> usize {
        let (mut sent, mut refused) = (0, 0);
        while refused < self.turns.len()
            && let Some(id) = self.turns.pop_front()
        {
            let Some(queue) = self.queue_mut(id) else { continue };
            let Some(message) = queue.messages.front().cloned() else { continue };
            if go_on(queue, core) && send(core, &message) {
                if queue.policy == SlowPolicy::Latest {
                    queue.mark = Some(core.mark());
                }
                self.pop(id);
                sent += 1;
                refused = 0;
            } else {
                refused += 1;
            }
            if self.waits(id) {
                self.turns.push_back(id);
            }
        }
        sent
    }
}

impl State {
    /// A new membership.
    pub(crate) fn join_group(&mut self, id: SeatId, policy: SlowPolicy, part: Arc<Part>) {
        let line = Line { seen: part.end(), part, id, policy, over: false };
        if self.line.is_none() {
            self.line = Some(line);
        } else {
            let more = &mut self.backlogs.get_or_insert_default().more;
            more.insert(more.partition_point(|line| line.id < id), line);
        }
    }

    /// All memberships, at the end.
    pub(crate) fn take_groups(&mut self) -> Vec<(SeatId, Weak<Inner>)> {
        self.drop_backlogs();
        let more = self.backlogs.take().into_iter().flat_map(|b| b.more);
        self.line
            .take()
            .into_iter()
            .chain(more)
            .map(|line| (line.id, line.part.group.clone()))
            .collect()
    }

    pub(super) fn line_mut(&mut self, id: SeatId) -> Option<&mut Line> {
        let Self { line, backlogs, .. } = self;
        if let Some(line) = line.as_mut().filter(|line| line.id == id) {
            return Some(line);
        }
        let more = &mut backlogs.as_mut()?.more;
        let at = more.binary_search_by_key(&id, |line| line.id).ok()?;
        more.get_mut(at)
    }

    fn remove_line(&mut self, id: SeatId) {
        let first = self.line.take_if(|line| line.id == id).is_some();
        if let Some(backlogs) = &mut self.backlogs {
            if !first {
                backlogs.more.retain(|line| line.id != id);
            } else if !backlogs.more.is_empty() {
                self.line = Some(backlogs.more.remove(0));
            }
        }
    }

    /// Gives back what is kept for messages that wait, where none does.
    fn tidy_backlogs(&mut self) {
        let Self { core, backlogs, .. } = self;
        backlogs.take_if(|b| b.is_idle(core) && b.more.is_empty());
    }

    pub(super) fn deliver(
        &mut self,
        id: SeatId,
        message: &Prepared,
        hard_limit: usize,
        displaced: &mut Vec<Prepared>,
    ) -> Delivery {
        let open = self.core.can_send();
        let Some(line) = self.line_mut(id).filter(|line| open && !line.over) else {
            return Delivery::Gone;
        };
        let policy = line.policy;
        let bounded = policy.is_bounded();
        let large = match self.backlogs.as_ref().and_then(|b| b.large) {
            Some((mark, cost)) if self.core.marks_passed() <= mark => cost,
            _ => 0,
        };
        let queue = self.backlogs.as_ref().and_then(|b| b.queue(id));
        let (waits, waiting, mark) = queue
            .map_or((false, 0, None), |queue| (!queue.messages.is_empty(), queue.cost, queue.mark));
        if bounded && self.core.held() + waiting >= hard_limit.saturating_add(large) {
            self.counters.dropped.add(1);
            if policy == SlowPolicy::DropNewest {
                return Delivery::Dropped;
            }
            if let Some(line) = self.line_mut(id) {
                line.over = true;
            }
            return Delivery::Closed;
        }
        let senders_first = !bounded
            && self.backlogs.as_ref().is_some_and(|b| b.senders_turn)
            && !self.is_next(None);
        if !waits
            && !senders_first
            && may_send(policy, mark, &self.core, self.high_water())
            && send(&mut self.core, message)
        {
            if policy == SlowPolicy::Latest {
                let mark = Some(self.core.mark());
                self.backlogs.get_or_insert_default().make_queue(id, policy).mark = mark;
            }
            if bounded && cost(message) > large.max(hard_limit / 8) {
                let large = Some((self.core.mark(), cost(message)));
                self.backlogs.get_or_insert_default().large = large;
            }
            self.counters.messages_out.add(1);
            return Delivery::Queued { displaced: 0 };
        }
        let most = match policy {
            SlowPolicy::Latest => 0,
            SlowPolicy::DropOldest => hard_limit.saturating_sub(cost(message)),
            // They were looked at above, and what waits for a streamed message has no gap.
            SlowPolicy::Close | SlowPolicy::DropNewest => usize::MAX,
        };
        let before = displaced.len();
        let backlogs = self.backlogs.get_or_insert_default();
        while backlogs.queue(id).is_some_and(|queue| queue.cost > most)
            && let Some(oldest) = backlogs.pop(id)
        {
            displaced.push(oldest);
        }
        let n = displaced.len() - before;
        if !backlogs.waits(id) {
            // `push` puts it there again.
            backlogs.turns.retain(|turn| *turn != id);
        }
        backlogs.push(id, policy, message);
        self.counters.dropped.add(n as u64);
        Delivery::Queued { displaced: n }
    }

    /// Queues a message of a group, which is locked; tells also whether `send` would wait now.
    pub(crate) fn publish_now(
        &mut self,
        id: SeatId,
        message: &Prepared,
        hard_limit: usize,
        after: &mut Aftermath,
    ) -> (Delivery, bool) {
        let delivery = self.deliver(id, message, hard_limit, &mut after.displaced);
        let congested = self.is_congested();
        self.group_has_queued(after);
        (delivery, congested)
    }

    /// Moves what waits into the send queue as far as there is room.
    pub(super) fn refill(&mut self) {
        if self.backlogs.is_none() {
            return;
        }
        self.tidy_backlogs();
        let (senders_wait, high_water) = (!self.is_next(None), self.high_water());
        let Some(backlogs) = self.backlogs.as_mut().filter(|b| !b.turns.is_empty()) else {
            return;
        };
        if !self.core.can_send() {
            return self.drop_backlogs();
        }
        backlogs.senders_turn &= senders_wait;
        let mut turn = !backlogs.senders_turn;
        if !turn || self.core.held() >= high_water {
            return;
        }
        let sent = backlogs.drain(&mut self.core, |queue, core| {
            let go = turn
                && core.held() < high_water
                && may_send(queue.policy, queue.mark, core, high_water);
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
    /// A membership ends; what waits for it is given up.
    pub(crate) fn leave_group(&self, id: SeatId) {
        let mut state = self.lock();
        state.remove_line(id);
        let Some(backlogs) = &mut state.backlogs else { return };
        let mut waiting = Vec::new();
        while let Some(message) = backlogs.pop(id) {
            waiting.push(message);
        }
        backlogs.queues.retain(|queue| queue.id != id);
        backlogs.turns.retain(|turn| *turn != id);
        state.tidy_backlogs();
        state.counters.dropped.add(waiting.len() as u64);
        state.account();
        let first = state.first_line().filter(|_| state.lines() == 1);
        drop(state);
        drop(waiting);
        if let Some((id, group)) = first {
            settle(id, &group);
        }
    }

    /// Bytes that wait to be sent: in the send queue, and for room in it.
    pub(crate) fn buffered(&self) -> usize {
        let state = self.lock();
        state.core.buffered() + state.backlogs.as_ref().map_or(0, |b| b.bytes)
    }
}
