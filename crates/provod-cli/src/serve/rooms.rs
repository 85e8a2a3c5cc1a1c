//! All rooms: made when somebody enters, kept while somebody is there or something was said.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::room::Room;

/// Which room a client enters, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The room's name: the path, percent-decoded, without the first slash.
    pub(super) room: String,
    /// The client gets what it says itself, too.
    pub(super) echo: bool,
}

/// Bytes that what was said in all rooms may take.
const MAX_MEMORY: usize = 64 << 20;

/// All rooms in which somebody is or something was said.
#[derive(Debug)]
pub(super) struct Rooms {
    rooms: Mutex<HashMap<String, Slot>>,
    /// How many messages a room keeps.
    history: usize,
    /// What the rooms' pasts take.
    memory: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Slot {
    room: Arc<Room>,
    /// Clients whose handler runs. The connection of one may have ended.
    clients: usize,
}

/// A client's hold on a room; the room may go when the last one is dropped.
#[derive(Debug)]
pub(super) struct Held(Arc<Room>);

/// What there is, in numbers.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Census {
    pub(super) rooms: usize,
    pub(super) members: usize,
    pub(super) plain: usize,
    /// Bytes that what was said takes.
    pub(super) history: usize,
}

impl Rooms {
    pub(super) fn new(history: usize) -> Self {
        Self { rooms: Mutex::default(), history, memory: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Slot>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The room of this name, which is made if need be.
    pub(super) fn hold(self: &Arc<Self>, name: String) -> Held {
        let mut rooms = self.lock();
        let slot = rooms.entry(name).or_insert_with_key(|name| Slot {
            room: Arc::new(Room::new(
                name,
                self.history,
                self.memory.clone(),
                Arc::downgrade(self),
            )),
            clients: 0,
        });
        slot.clients += 1;
        Held(slot.room.clone())
    }

    /// Makes room in memory, more than is needed now, so that this is done rarely. First goes what
    /// was said where nobody is, then messages elsewhere, and only then what keeps them from being
    /// said twice; each where nothing was said for the longest time first.
    fn relieve(&self, most: usize) {
        let used = || self.memory.load(Relaxed);
        if used() <= most {
            return;
        }
        let (mut empty, mut held) = (Vec::new(), Vec::new());
        for slot in self.lock().values() {
            let rooms = if slot.clients == 0 { &mut empty } else { &mut held };
            rooms.push(slot.room.clone());
        }
        for rooms in [&mut empty, &mut held] {
            rooms.sort_by_cached_key(|room| room.spoken());
        }
        let all = empty.iter().map(|room| (room, true));
        let messages = held.iter().map(|room| (room, false));
        let ids = held.iter().map(|room| (room, true));
        for (room, ids_too) in all.chain(messages).chain(ids) {
            if used() <= most / 8 * 7 {
                break;
            }
            if ids_too { room.forget() } else { room.forget_messages() }
        }
        self.lock().retain(|_, slot| slot.clients > 0 || slot.room.has_past());
    }

    pub(super) fn census(&self) -> Census {
        let rooms = self.lock();
        let mut census =
            Census { rooms: rooms.len(), history: self.memory.load(Relaxed), ..Census::default() };
        for slot in rooms.values() {
            let (members, plain) = slot.room.count();
            census.members += members;
            census.plain += plain;
        }
        census
    }
}

impl Held {
    pub(super) fn room(&self) -> &Arc<Room> {
        &self.0
    }

    /// To be called when something was said.
    pub(super) fn said(&self) {
        if self.0.memory() > MAX_MEMORY
            && let Some(rooms) = self.0.rooms()
        {
            rooms.relieve(MAX_MEMORY);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(rooms) = self.0.rooms() else { return };
        let mut rooms = rooms.lock();
        let Some(slot) = rooms.get_mut(self.0.name()) else { return };
        slot.clients -= 1;
        if slot.clients == 0 && !self.0.has_past() {
            rooms.remove(self.0.name());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering::Relaxed;

    use super::super::room::Plain;
    use super::Rooms;

    /// Somebody comes, says something and goes.
    async fn say(rooms: &Arc<Rooms>, room: &str, text: &str) {
        let (ours, _theirs) = provod::pipe();
        Plain::enter(rooms.hold(room.to_owned()), &ours.sender(), true).say(text.to_owned().into());
    }

    #[tokio::test]
    async fn a_room_is_kept_while_somebody_is_there_or_something_was_said() {
        let rooms = Arc::new(Rooms::new(50));
        let held = rooms.hold("a".to_owned());
        drop(rooms.hold("a".to_owned()));
        assert_eq!(rooms.census().rooms, 1);
        drop(held);
        assert_eq!(rooms.census().rooms, 0);
        say(&rooms, "a", "something").await;
        assert_eq!(rooms.census().rooms, 1);
        assert!(rooms.census().history > 0);
        rooms.relieve(0);
        assert_eq!((rooms.census().rooms, rooms.census().history), (0, 0));
    }

    #[tokio::test]
    async fn the_longest_silent_room_forgets_first() {
        let rooms = Arc::new(Rooms::new(50));
        let text = "x".repeat(3900);
        let held: Vec<_> = (0..8).map(|n| rooms.hold(n.to_string())).collect();
        // What was said in one millisecond has no order.
        for (n, held) in held.iter().enumerate() {
            say(&rooms, held.room().name(), &text).await;
            held.room().spoken.store(n as u64 + 1, Relaxed);
        }
        let one = rooms.census().history / 8;
        // To seven eighths of four rooms: three are left.
        rooms.relieve(4 * one);
        let past: Vec<bool> = held.iter().map(|held| held.room().has_past()).collect();
        assert_eq!(past, [false, false, false, false, false, true, true, true]);
        assert_eq!(rooms.census().history, 3 * one);
        // Nobody is put out, and what is said from now on is kept.
        assert_eq!(rooms.census().rooms, 8);
        say(&rooms, "0", &text).await;
        assert!(held[0].room().has_past());
        // A room where nobody is goes first, though something was said there last.
        let mut held = held;
        held[7].room().spoken.store(100, Relaxed);
        held.pop();
        rooms.relieve(4 * one - 1);
        assert_eq!(rooms.census().rooms, 7);
        assert!(held[5].room().has_past() && held[6].room().has_past());
    }
}
