//! What a worker gives out to its members of a group in one go.

use std::sync::Arc;

use provod_proto::{PreparedForm, PreparedFrames};

use super::{Entry, Inner, Part, SeatId};

/// All that was published to a part since its worker last looked. It is encoded once for each form
/// that members take, and leaves in one write for each of them.
pub(crate) struct Edition {
    group: Arc<Inner>,
    part: Arc<Part>,
    /// The number of the first message.
    first: u64,
    entries: Vec<Entry>,
    longest: usize,
    cost: usize,
    forms: Vec<(PreparedForm, PreparedFrames)>,
    /// The members, by the worker's keys.
    keys: Vec<u32>,
    /// How many of them were given it.
    given: usize,
    gone: Vec<SeatId>,
    /// Those that have not taken all of it at once.
    slow: Vec<SeatId>,
}

impl Edition {
    /// `None` where the group is gone, and with it all members.
    pub(crate) fn new(part: Arc<Part>) -> Option<Self> {
        let group = part.group.upgrade()?;
        let (keys, (first, entries)) = group.look(&part);
        let longest = entries.iter().map(|e| e.message.payload().len()).max().unwrap_or(0);
        let cost = entries.iter().map(Entry::cost).sum();
        Some(Self {
            group,
            part,
            first,
            entries,
            longest,
            cost,
            forms: Vec::new(),
            keys,
            given: 0,
            gone: Vec::new(),
            slow: Vec::new(),
        })
    }

    pub(crate) fn part(&self) -> &Arc<Part> {
        &self.part
    }

    /// The next member that is to be given it.
    pub(crate) fn next_key(&mut self) -> Option<u32> {
        let key = *self.keys.get(self.given)?;
        self.given += 1;
        Some(key)
    }

    /// The number behind the last message.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    pub(crate) fn messages(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Bytes of the longest message.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    /// Memory that all take, about.
    pub(crate) fn cost(&self) -> usize {
        self.cost
    }

    /// Whether a member that has `seen` so many messages hears all of these.
    pub(crate) fn is_whole_for(&self, id: SeatId, seen: u64) -> bool {
        seen <= self.first && self.entries.iter().all(|entry| entry.except != Some(id))
    }

    /// Messages behind the first `seen`.
    pub(crate) fn since(&self, seen: u64) -> &[Entry] {
        let skip = usize::try_from(seen.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.entries.get(skip..).unwrap_or_default()
    }

    /// All messages as frames.
    pub(crate) fn frames(&mut self, form: PreparedForm) -> &PreparedFrames {
        let at = self.forms.iter().position(|(made, _)| *made == form).unwrap_or_else(|| {
            let messages = self.entries.iter().map(|entry| &entry.message);
            self.forms.push((form, PreparedFrames::new(messages, form)));
            self.forms.len() - 1
        });
        &self.forms[at].1
    }

    /// A member cannot be sent anything any more.
    pub(crate) fn gone(&mut self, id: SeatId) {
        self.gone.push(id);
    }

    /// A member has not taken all of it at once: what follows is not put off.
    pub(crate) fn slow(&mut self, id: SeatId) {
        self.slow.push(id);
    }

    /// All members were given it.
    pub(crate) fn finish(&mut self) {
        self.part.forget(self.end());
        self.group.given_out(std::mem::take(&mut self.gone), &self.slow);
    }
}
