//! Rooms: who is in them, and what is said to all of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use provod::{Group, Message, Sender, SlowPolicy};

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
    rooms: Mutex<HashMap<String, Room>>,
}

#[derive(Debug, Default)]
struct Room {
    group: Group,
    /// Clients whose handler runs. The connection of one may have ended and left the group.
    clients: usize,
}

/// How long a speaker is held back for a member that does not catch up.
const PATIENCE: Duration = Duration::from_secs(1);

impl Rooms {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Room>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a room, which is made if need be.
    pub(super) fn join(self: &Arc<Self>, entry: Entry, sender: &Sender) -> Member {
        let group = {
            let mut rooms = self.lock();
            let room = rooms.entry(entry.room.clone()).or_default();
            room.clients += 1;
            room.group.clone()
        };
        // A member that reads too slowly must not make the server hold all it missed.
        let member = group.join(sender, SlowPolicy::Close);
        Member { rooms: self.clone(), name: entry.room, member, echo: entry.echo }
    }
}

/// A client in a room; dropping it leaves the room, and the last one out takes the room along.
#[derive(Debug)]
pub(super) struct Member {
    rooms: Arc<Rooms>,
    name: String,
    member: provod::Member,
    echo: bool,
}

impl Member {
    /// Says something to all in the room, and waits until those who read it have nearly caught up,
    /// so that a burst reaches its sender's TCP window instead of filling the queues of healthy
    /// members.
    pub(super) async fn say(&self, message: Message) {
        let group = self.member.group();
        let published =
            if self.echo { group.publish(message) } else { self.member.publish(message) };
        if published.congested > 0 {
            group.drained(PATIENCE).await;
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut rooms = self.rooms.lock();
        if let Some(room) = rooms.get_mut(&self.name) {
            room.clients -= 1;
            if room.clients == 0 {
                rooms.remove(&self.name);
            }
        }
    }
}
