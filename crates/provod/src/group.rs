//! Fan-out: one message to many connections, encoded and compressed once.

#[cfg(unix)]
mod edition;
mod part;
mod seats;
mod sections;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use provod_proto::{CloseCode, CloseFrame, Prepared, Utf8Bytes};
use tokio::time::{Instant, timeout_at};

use crate::budget::MemoryBudget;
use crate::driver::{Cork, Shared};
use crate::sender::Sender;

#[cfg(unix)]
pub(crate) use edition::Edition;
pub(crate) use part::{Entry, Part};
pub(crate) use seats::SeatId;
use seats::{Patience, Seats};

/// What happens to a subscriber that reads too slowly. Whatever the policy, what is queued for it
/// is bounded, by [`hard_limit`](crate::Config::hard_limit) beside the largest message that waits,
/// and one more: a message that is large by itself makes nobody slow.
///
/// Each member has its own, and one connection may have several: all of a conversation, and of
/// positions only the newest.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), provod::Error> {
/// use provod::Group;
/// use provod::group::SlowPolicy;
///
/// let (talk, positions) = (Group::new(), Group::new());
/// let (mut player, ws) = provod::pipe();
/// let _talk = talk.join(&ws.sender(), SlowPolicy::Close);
/// let _positions = positions.join(&ws.sender(), SlowPolicy::Latest);
///
/// talk.publish("go!");
/// assert_eq!(player.recv().await?, Some("go!".into()));
/// positions.publish(vec![1, 2]);
/// assert_eq!(player.recv().await?, Some(vec![1, 2].into()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum SlowPolicy {
    /// When a message finds the hard limit reached, the connection is closed with 1013, Try Again
    /// Later: for a conversation, in which a gap would not be noticed.
    #[default]
    Close,
    /// A message that finds the hard limit reached is left out.
    DropNewest,
    /// Beside the send queue up to its [`high_water`](crate::Config::high_water) mark, messages
    /// wait up to the hard limit; when they reach it, the oldest is left out. For a log, where
    /// the recent counts.
    DropOldest,
    /// While the last message has not left whole, only the newest one after it waits: for the
    /// position of a player, where each message makes the one before it worthless.
    Latest,
}

impl SlowPolicy {
    /// Whether what does not fit costs the subscriber something that waiting for it would spare.
    pub(crate) fn is_bounded(self) -> bool {
        matches!(self, Self::Close | Self::DropNewest)
    }
}

/// Connections to which messages are published together: a room, a topic.
///
/// A message is encoded once, and compressed at most once for each window size in use. All members
/// hear the same order. Publishing never waits; what a slow member costs is bounded by its
/// [`SlowPolicy`].
///
/// A connection may be in many groups. It is in one until its [`Member`] is dropped or it ends,
/// whichever comes first; a group keeps no connection open. Cloning gives a handle to the same
/// group, for any task and thread.
///
/// ```no_run
/// # async fn example() -> Result<(), provod::Error> {
/// use provod::{Group, WebSocket};
/// use provod::group::SlowPolicy;
///
/// let room = Group::new();
/// provod::serve("127.0.0.1:8080", move |mut ws: WebSocket| {
///     let room = room.clone();
///     async move {
///         let member = room.join(&ws.sender(), SlowPolicy::Close);
///         while let Some(message) = ws.recv().await? {
///             member.publish(message); // to everybody else
///         }
///         Ok(())
///     }
/// })
/// .await
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Group(Arc<Inner>);

#[derive(Default)]
pub(crate) struct Inner {
    /// This lock orders the group's messages. Under it members' connections are locked in turn,
    /// never the other way round; no waker is called and nothing is compressed under it.
    seats: Mutex<Seats>,
}

/// What came of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Published {
    /// Members for which it is queued.
    pub queued: usize,
    /// Messages that were left out because of it: this one, or older ones that it displaced.
    pub dropped: usize,
    /// Members that were closed because they read too slowly.
    pub closed: usize,
    /// Members for which [`Group::drained`] would now wait.
    pub congested: usize,
}

/// A connection's place in a [`Group`]. Dropping it leaves the group: what waits for room in the
/// connection's queue is given up, what is queued is sent.
#[must_use = "dropping it leaves the group"]
pub struct Member {
    group: Group,
    id: SeatId,
}

impl Group {
    /// A group with nobody in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts the connection of `sender` into the group, until the returned guard is dropped or the
    /// connection ends. One that has ended does not get in. One that joins twice gets everything
    /// twice.
    pub fn join(&self, sender: &Sender, policy: SlowPolicy) -> Member {
        let shared = &sender.shared;
        let mut after = Aftermath::default();
        let (id, first) = {
            let mut seats = self.0.lock();
            let mut state = shared.lock();
            let open = state.core.can_send();
            if seats.len() == 0 {
                seats.sections.group = Arc::downgrade(&self.0);
            }
            let id = seats.insert(shared, &mut state, policy);
            let first = state.first_line().filter(|_| state.lines() == 2);
            after.wakers.extend(state.calls.take());
            drop(state);
            if !open {
                let left = seats.remove(id, &mut after);
                after.left.extend(left);
            }
            (id, first)
        };
        if let Some((id, group)) = first {
            settle(id, &group);
        }
        after.run();
        Member { group: self.clone(), id }
    }

    /// Queues a message for every member, without waiting. It may be called from anywhere, a `Drop`
    /// too, but for the `Drop` of bytes that have an owner of their own (`Bytes::from_owner`):
    /// these go while a connection is locked.
    ///
    /// A [`Prepared`] may be published to several groups and is still encoded once. Anything else
    /// that makes a [`Message`](crate::Message) is compressed at the default level, where a member
    /// agreed to compression and the message is as long as its
    /// [`threshold`](crate::config::Compression::threshold).
    pub fn publish(&self, message: impl Into<Prepared>) -> Published {
        self.0.publish(&message.into(), None)
    }

    /// Makes the compressed forms of a message that the members need now, so that a
    /// [`publish`](Self::publish) of it that follows does not have to: for whoever publishes under
    /// a lock of his own.
    pub fn prepare(&self, message: &Prepared) {
        self.0.prepare(message);
    }

    /// Waits until every member whose policy is [`Close`](SlowPolicy::Close) or
    /// [`DropNewest`](SlowPolicy::DropNewest) has room again, so that
    /// [`send`](Sender::send) on it would not wait; but for at most `patience`. A member that was
    /// waited for in vain is not waited for again until it has caught up.
    ///
    /// Whoever calls this between messages lets a burst reach its own sender instead of the
    /// members' limits.
    ///
    /// ```
    /// # async fn example(group: provod::Group, messages: Vec<String>) {
    /// use std::time::Duration;
    ///
    /// for message in messages {
    ///     if group.publish(message).congested > 0 {
    ///         group.drained(Duration::from_secs(1)).await;
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// Cancel safe.
    pub async fn drained(&self, patience: Duration) {
        // As far ahead as a timer can be set.
        let deadline = Instant::now() + patience.min(Duration::from_secs(86400 * 365 * 30));
        for (id, sender) in self.0.behind() {
            if timeout_at(deadline, sender.drained()).await.is_err()
                && let Some(seat) = self.0.lock().get_mut(id)
            {
                seat.patience = Patience::UsedUp;
            }
        }
    }

    /// How many members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Whether nobody is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Member {
    /// Queues a message for every other member; otherwise as [`Group::publish`], which includes
    /// this one.
    pub fn publish(&self, message: impl Into<Prepared>) -> Published {
        self.group.0.publish(&message.into(), Some(self.id))
    }

    /// The group.
    #[must_use]
    pub fn group(&self) -> &Group {
        &self.group
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = self.group.0.lock().get_mut(self.id).and_then(|seat| seat.shared.clone());
        f.debug_struct("Member")
            .field("peer", &shared.as_ref().map(|shared| shared.info.peer()))
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Where the seat is empty, the connection has ended or is about to be closed.
        if let Some(shared) = self.group.0.remove(self.id) {
            shared.leave_group(self.id);
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Seats> {
        // Nothing that runs under the lock leaves the seats half changed when it panics.
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Empties a seat. What is returned may be the last handle to a connection, which must not go
    /// under the lock.
    fn remove(&self, id: SeatId) -> Option<Arc<Shared>> {
        let mut after = Aftermath::default();
        let shared = self.lock().remove(id, &mut after);
        after.run();
        shared
    }

    fn prepare(&self, message: &Prepared) {
        let windows = self.lock().windows_for(message.payload().len());
        for bits in (9..=15).filter(|bits| windows & (1 << bits) != 0) {
            message.compress_for(bits);
        }
    }

    fn publish(&self, message: &Prepared, except: Option<SeatId>) -> Published {
        Cork::interrupt();
        self.prepare(message);
        let mut published = Published::default();
        let mut after = Aftermath::default();
        {
            let mut seats = self.lock();
            seats.publish(message, except, &mut published, &mut after);
            after.sweep(&mut seats);
        }
        after.run();
        published
    }

    /// What a worker is to give out, and to whom.
    #[cfg(unix)]
    fn look(&self, part: &Arc<Part>) -> (Vec<u32>, (u64, Vec<Entry>)) {
        self.lock().look(part)
    }

    /// A worker has given out all that there was; some members are gone, and some take it slowly.
    #[cfg(unix)]
    fn given_out(&self, gone: Vec<SeatId>, slow: &[SeatId]) {
        if gone.is_empty() && slow.is_empty() {
            return;
        }
        let mut after = Aftermath { gone, ..Aftermath::default() };
        {
            let mut seats = self.lock();
            for id in slow {
                seats.settle(*id, &mut after);
            }
            after.sweep(&mut seats);
        }
        after.run();
    }

    /// Those who have no room and are worth waiting for.
    fn behind(&self) -> Vec<(SeatId, Sender)> {
        let (mut behind, mut after) = (Vec::new(), Aftermath::default());
        for seat in &mut self.lock().seats {
            let Some(shared) = seat.shared.clone() else { continue };
            let mut state = shared.lock();
            let congested = state.is_congested();
            state.group_has_queued(&mut after);
            drop(state);
            if seat.is_behind(congested) {
                behind.push((seat.id, Sender::new(shared)));
            }
        }
        after.run();
        behind
    }
}

/// What is done once the group is unlocked.
#[derive(Default)]
pub(crate) struct Aftermath {
    pub(crate) wakers: Vec<Waker>,
    /// Messages that nobody holds any more, perhaps.
    pub(crate) displaced: Vec<Prepared>,
    /// A budget that is overdrawn.
    pub(crate) budget: Option<MemoryBudget>,
    close: Vec<Arc<Shared>>,
    gone: Vec<SeatId>,
    /// Perhaps the last handles to connections.
    left: Vec<Arc<Shared>>,
}

impl Aftermath {
    /// Empties the seats of those who are gone.
    fn sweep(&mut self, seats: &mut Seats) {
        for id in std::mem::take(&mut self.gone) {
            let left = seats.remove(id, self);
            self.left.extend(left);
        }
    }

    fn run(self) {
        self.wakers.into_iter().for_each(Waker::wake);
        for shared in self.close {
            shared.close(too_slow());
        }
        if let Some(budget) = self.budget {
            budget.relieve();
        }
    }
}

/// Why a member is closed.
pub(crate) fn too_slow() -> Option<CloseFrame> {
    let reason = Utf8Bytes::from_static("you read too slowly");
    CloseFrame::new(CloseCode::TRY_AGAIN_LATER, reason).ok()
}

/// The connection of a seat has entered or left other groups: its messages are put off only where
/// it is in no other, so that it hears those of all groups in the order in which they were published.
pub(crate) fn settle(id: SeatId, group: &Weak<Inner>) {
    let Some(inner) = group.upgrade() else { return };
    let mut after = Aftermath::default();
    inner.lock().settle(id, &mut after);
    after.run();
}

/// A connection has ended: it leaves its groups.
pub(crate) fn leave_all(memberships: Vec<(SeatId, Weak<Inner>)>) {
    for (id, group) in memberships {
        if let Some(group) = group.upgrade() {
            drop(group.remove(id));
        }
    }
}
