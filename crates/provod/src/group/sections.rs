//! Who gives messages out to the members of a group: each worker to those that it serves, and
//! whoever publishes to the others.

use std::sync::{Arc, Weak};
use std::task::Waker;

use provod_proto::Prepared;

use super::{Inner, Part, SeatId};
use crate::driver::State;

/// Where one member is served: the number of its section and its worker's key for it, or neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(u32);

const KEY_BITS: u32 = 24;
/// Sections that there are at most, and connections of one worker: all others are direct.
const MOST_SECTIONS: usize = 255;

impl Place {
    pub(super) const DIRECT: Self = Self(u32::MAX);

    #[cfg(unix)]
    fn new(section: usize, key: u32) -> Option<Self> {
        let section = u32::try_from(section).ok().filter(|n| *n < MOST_SECTIONS as u32)?;
        (key < 1 << KEY_BITS).then_some(Self(section << KEY_BITS | key))
    }

    /// Whoever publishes gives its messages out.
    pub(super) fn is_direct(self) -> bool {
        self == Self::DIRECT
    }

    pub(super) fn section(self) -> Option<usize> {
        (!self.is_direct()).then_some((self.0 >> KEY_BITS) as usize)
    }

    /// The worker's key.
    #[cfg(unix)]
    pub(super) fn key(self) -> u32 {
        self.0 & ((1 << KEY_BITS) - 1)
    }
}

/// The members that one worker serves.
pub(super) struct Section {
    pub(super) part: Arc<Part>,
    pub(super) members: usize,
    /// What may wait for the worker at most, so that no member's hard limit is near.
    most: usize,
}

#[cfg(unix)]
impl Section {
    fn is_left(&self) -> bool {
        self.members == 0 && self.part.is_left()
    }
}

/// What waits for a worker at most; then the publisher gives it out himself.
const MOST: usize = 64 << 10;

#[derive(Default)]
pub(super) struct Sections {
    /// The group, once somebody has joined.
    pub(super) group: Weak<Inner>,
    /// One for each worker, once it has had a member.
    list: Vec<Section>,
    /// Members that whoever publishes serves.
    pub(super) direct: usize,
    no_worker: Option<Arc<Part>>,
}

impl Sections {
    /// Where a connection is to be served now.
    #[cfg(unix)]
    pub(super) fn place(&mut self, state: &State) -> Place {
        let Some((mailbox, key)) = state.worker().filter(|_| state.may_be_put_off()) else {
            return Place::DIRECT;
        };
        let at = self.list.iter().position(|section| section.part.is_at(mailbox));
        // A worker that is gone leaves its place to another.
        let left = || self.list.iter().position(Section::is_left);
        let n = at.or_else(left).unwrap_or(self.list.len());
        let Some(place) = Place::new(n, key) else {
            return Place::DIRECT;
        };
        if at.is_none() {
            let part = Part::of(mailbox.clone(), self.group.clone());
            let section = Section { part, members: 0, most: MOST };
            match self.list.get_mut(n) {
                Some(left) => *left = section,
                None => self.list.push(section),
            }
        }
        place
    }

    #[cfg(not(unix))]
    pub(super) fn place(&mut self, _: &State) -> Place {
        Place::DIRECT
    }

    /// A new member, of which nothing is put off before it is published to for the first time.
    pub(super) fn enter(&mut self) -> (Place, Arc<Part>) {
        (Place::DIRECT, self.go_to(Place::DIRECT, usize::MAX))
    }

    /// A member goes from one place to another, if that is a change, with all that was published
    /// before.
    pub(super) fn change(&mut self, place: &mut Place, state: &mut State, hard_limit: usize) {
        let new = self.place(state);
        if new != *place {
            state.move_line(self.go_to(new, hard_limit));
            self.leave(std::mem::replace(place, new));
        }
    }

    fn go_to(&mut self, place: Place, hard_limit: usize) -> Arc<Part> {
        match place.section().and_then(|n| self.list.get_mut(n)) {
            Some(section) => {
                section.members += 1;
                section.most = section.most.min(hard_limit / 8);
                section.part.clone()
            }
            None => {
                self.direct += 1;
                self.no_worker()
            }
        }
    }

    /// The part of those that whoever publishes serves, in which nothing is put off.
    pub(super) fn no_worker(&mut self) -> Arc<Part> {
        let group = &self.group;
        self.no_worker.get_or_insert_with(|| Part::direct(group.clone())).clone()
    }

    /// A member leaves a place.
    pub(super) fn leave(&mut self, place: Place) {
        match place.section().and_then(|n| self.list.get_mut(n)) {
            Some(section) => section.members -= 1,
            None => self.direct -= 1,
        }
    }

    /// Hands a message to the workers of all members but `except`. Returns for how many members
    /// that was, and adds the sections in which too much waits to `full`.
    pub(super) fn hand_over(
        &mut self,
        message: &Prepared,
        except: Option<(SeatId, Place)>,
        full: &mut Vec<usize>,
        workers: &mut Vec<Waker>,
    ) -> usize {
        let mut members = 0;
        for (n, section) in self.list.iter_mut().enumerate() {
            let silent = except.filter(|(_, place)| place.section() == Some(n)).map(|(id, _)| id);
            let hear = section.members - usize::from(silent.is_some());
            if hear == 0 {
                continue;
            }
            members += hear;
            let (cost, worker) = section.part.push(message, silent);
            workers.extend(worker);
            if cost > section.most {
                full.push(n);
            }
        }
        members
    }

    pub(super) fn part(&self, n: usize) -> &Arc<Part> {
        &self.list[n].part
    }

    /// The number of the section with a part.
    #[cfg(unix)]
    pub(super) fn find(&self, part: &Arc<Part>) -> Option<usize> {
        self.list.iter().position(|section| Arc::ptr_eq(&section.part, part))
    }
}
