//! Rooms: who is in them, and what is said to all of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use provod::{CloseCode, Level, Message, Pool, Prepared, Sender, TrySendError};

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
    members: Vec<(u64, Sender, bool)>,
    next: u64,
}

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
        inner.members.push((id, sender, entry.echo));
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
    /// Says something to all in the room. All hear it in the same order, because it is queued for
    /// everybody under the room's lock.
    pub(super) fn say(&self, message: Message) {
        let prepared = Prepared::new(message, Level::default(), &self.rooms.pool);
        for (id, sender, echo) in &lock(&self.room.inner).members {
            if *id == self.id && !echo {
                continue;
            }
            if let Err(TrySendError::Full(_)) = sender.try_send_prepared(&prepared) {
                // A member that reads too slowly must not make the server hold all it missed.
                let _ = sender.close(CloseCode::TRY_AGAIN_LATER, "you read too slowly");
            }
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // The map is locked first, as in `join`, so that nobody enters a room that is being removed.
        let mut rooms = lock(&self.rooms.rooms);
        let mut inner = lock(&self.room.inner);
        inner.members.retain(|(id, ..)| *id != self.id);
        if inner.members.is_empty() {
            rooms.remove(&self.name);
        }
    }
}
