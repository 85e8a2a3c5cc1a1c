//! Rooms: who is in them, and what is said to all of them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use provod::{CloseCode, Level, Message, Pool, Prepared, Sender, TrySendError};
use tokio::time::{Instant, timeout_at};

/// Which room a client enters, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The room's name: the path, percent-decoded, without the first slash.
    pub(super) room: String,
    /// The client gets what it says itself, too.
    pub(super) echo: bool,
}

/// All rooms in which somebody is.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    rooms: Mutex<HashMap<String, Arc<Room>>>,
    pool: Pool,
}

#[derive(Debug, Default)]
struct Room {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    members: Vec<Seat>,
    next: u64,
}

/// A member's place in a room.
#[derive(Debug)]
struct Seat {
    id: u64,
    sender: Sender,
    echo: bool,
    /// It was waited for in vain, and is not waited for again until it has caught up.
    slow: Arc<AtomicBool>,
}

/// How long a speaker is held back for a member that does not catch up.
const PATIENCE: Duration = Duration::from_secs(1);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Rooms {
    /// Enters a room, which is made if need be.
    pub(super) fn join(self: &Arc<Self>, entry: Entry, sender: Sender) -> Member {
        let mut rooms = lock(&self.rooms);
        let room = rooms.entry(entry.room.clone()).or_default().clone();
        let mut inner = lock(&room.inner);
        let id = inner.next;
        inner.next += 1;
        let slow = Arc::default();
        inner.members.push(Seat { id, sender, echo: entry.echo, slow });
        drop(inner);
        Member { rooms: self.clone(), name: entry.room, room, id }
    }
}

/// A client in a room; dropping it leaves the room, and the last one out takes the room along.
#[derive(Debug)]
pub(super) struct Member {
    rooms: Arc<Rooms>,
    name: String,
    room: Arc<Room>,
    id: u64,
}

impl Member {
    /// Says something to all in the room, and waits until those who read it have nearly caught up,
    /// so that a burst reaches its sender's TCP window instead of filling the queues of healthy
    /// members.
    pub(super) async fn say(&self, message: Message) {
        let behind = self.publish(message);
        if behind.is_empty() {
            return;
        }
        let deadline = Instant::now() + PATIENCE;
        for (sender, slow) in behind {
            if timeout_at(deadline, sender.drained()).await.is_err() {
                slow.store(true, Relaxed);
            }
        }
    }

    /// Queues the message for everybody under the room's lock, so that all hear the same order;
    /// returns who is behind.
    fn publish(&self, message: Message) -> Vec<(Sender, Arc<AtomicBool>)> {
        let prepared = Prepared::new(message, Level::default(), &self.rooms.pool);
        let mut behind = Vec::new();
        for seat in &lock(&self.room.inner).members {
            if seat.id == self.id && !seat.echo {
                continue;
            }
            if let Err(TrySendError::Full(_)) = seat.sender.try_send_prepared(&prepared) {
                // A member that reads too slowly must not make the server hold all it missed.
                let _ = seat.sender.close(CloseCode::TRY_AGAIN_LATER, "you read too slowly");
            } else if !seat.sender.is_congested() {
                seat.slow.store(false, Relaxed);
            } else if !seat.slow.load(Relaxed) {
                behind.push((seat.sender.clone(), seat.slow.clone()));
            }
        }
        behind
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // The map is locked first, as in `join`, so that nobody enters a room that is being
        // removed.
        let mut rooms = lock(&self.rooms.rooms);
        let mut inner = lock(&self.room.inner);
        inner.members.retain(|seat| seat.id != self.id);
        if inner.members.is_empty() {
            rooms.remove(&self.name);
        }
    }
}
