//! What was said in a room: its last messages, and the ids that its clients gave to theirs.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::Arc;

use provod::Utf8Bytes;

use super::protocol::MemberId;

/// Bytes of messages that one room keeps.
const MAX_BYTES: usize = 256 << 10;
/// Ids that one room remembers, so that a client that says something again is not heard twice.
const MAX_IDS: usize = 4096;
/// What a message and an id take beside their text.
const MESSAGE_COST: usize = 256;
const ID_COST: usize = 96;

/// A message as it was said.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    /// `None` where the server names it.
    pub(super) id: Option<Box<str>>,
    pub(super) at: At,
    /// `None` for a plain client.
    pub(super) from: Option<(MemberId, Arc<str>)>,
    pub(super) text: Utf8Bytes,
    /// The text was longer.
    pub(super) cut: bool,
}

/// Where a message stands among those of its room, and when it was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    pub(super) seq: u64,
    /// Milliseconds since 1970.
    pub(super) time: u64,
}

impl Kept {
    /// What it takes, and is at least as long as what is sent of it: escaped in JSON, a character
    /// has up to six bytes.
    fn cost(&self) -> usize {
        let name = self.from.as_ref().map_or(0, |(_, name)| escaped(name));
        escaped(&self.text) + name + MESSAGE_COST
    }
}

fn escaped(text: &str) -> usize {
    let more = |b: u8| match b {
        ..0x20 => 5,
        b'"' | b'\\' => 1,
        _ => 0,
    };
    text.len() + text.bytes().map(more).sum::<usize>()
}

/// What is known of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// It is that of this message.
    Said(At),
    /// It is that of another one.
    Taken,
}

/// The past of one room.
#[derive(Debug, Default)]
pub(super) struct Past {
    messages: VecDeque<Kept>,
    bytes: usize,
    /// What was said with an id: where, and a hash of the text.
    ids: HashMap<u64, (At, u64)>,
    /// The same ids, the oldest first.
    order: VecDeque<u64>,
    hasher: std::hash::RandomState,
}

impl Past {
    /// Keeps a message, at most `most` in all. One that alone would take all the room is not kept.
    pub(super) fn keep(&mut self, message: Kept, most: usize) {
        let cost = message.cost();
        if most == 0 || cost > MAX_BYTES {
            return;
        }
        self.messages.push_back(message);
        self.bytes += cost;
        while (self.messages.len() > most || self.bytes > MAX_BYTES)
            && let Some(oldest) = self.messages.pop_front()
        {
            self.bytes -= oldest.cost();
        }
    }

    /// Whether something was said with this id, if it is one of the last.
    pub(super) fn find(&self, id: &str, text: &str) -> Option<Known> {
        let (at, said) = self.ids.get(&self.hasher.hash_one(id))?;
        let same = *said == self.hasher.hash_one(text);
        Some(if same { Known::Said(*at) } else { Known::Taken })
    }

    /// Remembers that a client said this with this id.
    pub(super) fn remember(&mut self, id: &str, text: &str, at: At) {
        // 64 bits of a keyed hash: two ids that meet are less likely than a broken machine.
        let id = self.hasher.hash_one(id);
        if self.ids.insert(id, (at, self.hasher.hash_one(text))).is_none() {
            self.order.push_back(id);
        }
        if self.order.len() > MAX_IDS
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }

    /// The messages, the oldest first.
    pub(super) fn messages(&self) -> impl Iterator<Item = &Kept> {
        self.messages.iter()
    }

    /// Memory that it takes, about.
    pub(super) fn cost(&self) -> usize {
        self.bytes + self.order.len() * ID_COST
    }

    /// Gives up the messages.
    pub(super) fn forget_messages(&mut self) {
        (self.messages, self.bytes) = Default::default();
    }

    /// Gives up the ids.
    pub(super) fn forget_ids(&mut self) {
        (self.ids, self.order) = Default::default();
    }
}

#[cfg(test)]
mod tests {
    use super::{At, Kept, Known, MAX_BYTES, MAX_IDS, Past};

    fn message(seq: u64, text: String) -> Kept {
        Kept { id: None, at: At { seq, time: 0 }, from: None, text: text.into(), cut: false }
    }

    fn kept(past: &Past) -> Vec<u64> {
        past.messages().map(|m| m.at.seq).collect()
    }

    #[test]
    fn the_last_are_kept_by_number_and_by_bytes() {
        let mut past = Past::default();
        for seq in 1..=10 {
            past.keep(message(seq, "x".to_owned()), 3);
        }
        assert_eq!(kept(&past), [8, 9, 10]);
        past.keep(message(11, "x".repeat(MAX_BYTES - 700)), 3);
        assert_eq!(kept(&past), [10, 11]);
        past.keep(message(12, "x".repeat(MAX_BYTES)), 3);
        assert_eq!(kept(&past), [10, 11]);
        assert!(past.cost() <= MAX_BYTES);
        // What is sent is longer than what was said.
        past.keep(message(13, "\x01".repeat(MAX_BYTES / 6)), 3);
        assert_eq!(kept(&past), [10, 11]);
        past.forget_messages();
        assert_eq!((kept(&past), past.cost()), (vec![], 0));
        past.keep(message(14, "x".to_owned()), 0);
        assert!(kept(&past).is_empty());
    }

    #[test]
    fn the_last_ids_are_remembered() {
        let mut past = Past::default();
        for seq in 0..=MAX_IDS as u64 {
            past.remember(&format!("id-{seq}"), "text", At { seq, time: 7 });
        }
        let said = |seq| Some(Known::Said(At { seq, time: 7 }));
        assert_eq!(past.find("id-0", "text"), None);
        assert_eq!(past.find("id-1", "text"), said(1));
        assert_eq!(past.find("id-1", "other"), Some(Known::Taken));
        assert_eq!(past.find(&format!("id-{MAX_IDS}"), "text"), said(MAX_IDS as u64));
        assert_eq!((past.ids.len(), past.order.len()), (MAX_IDS, MAX_IDS));
    }
}
