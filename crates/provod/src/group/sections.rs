//! Who gives messages out to the members of a group: each worker to those that it serves, and
//! whoever publishes to the others.

use std::sync::{Arc, Weak};

use super::{Inner, Part, SeatId};
use crate::driver::State;

/// Where one member is served: the number of its section and its worker's key for it, or neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(u32);

const KEY_BITS: u32 = 24;
/// Sections that there are at most, and connections of one worker: all others are direct.
const MOST_SECTIONS: usize = 255;

impl Place {
    const DIRECT: Self = Self(u32::MAX);

    #[cfg(unix)]
    fn new(section: usize, key: u32) -> Option<Self> {
        let section = u32::try_from(section).ok().filter(|n| *n < MOST_SECTIONS as u32)?;
        (key < 1 << KEY_BITS).then_some(Self(section << KEY_BITS | key))
    }

    /// Whoever publishes gives its messages out.
    pub(super) fn is_direct(self) -> bool {
        self == Self::DIRECT
    }

    pub(super) fn is_in(self, section: usize) -> bool {
        !self.is_direct() && (self.0 >> KEY_BITS) as usize == section
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
    /// Those for which `send` would have waited when they were last given something.
    pub(super) behind: Vec<SeatId>,
}

#[derive(Default)]
pub(super) struct Sections {
    /// One for each worker, once it has had a member.
    pub(super) list: Vec<Section>,
    /// Members that no worker serves.
    pub(super) direct: usize,
    no_worker: Option<Arc<Part>>,
}

impl Sections {
    /// Where a connection is to be served. `alone`: it is in no other group.
    #[cfg(unix)]
    pub(super) fn place(&mut self, group: &Weak<Inner>, state: &State, alone: bool) -> Place {
        let Some((mailbox, key)) = state.worker().filter(|_| alone) else { return Place::DIRECT };
        let at = self.list.iter().position(|section| section.part.is_at(mailbox));
        let Some(place) = Place::new(at.unwrap_or(self.list.len()), key) else {
            return Place::DIRECT;
        };
        if at.is_none() {
            let part = Part::of(mailbox.clone(), group.clone());
            self.list.push(Section { part, members: 0, behind: Vec::new() });
        }
        place
    }

    #[cfg(not(unix))]
    pub(super) fn place(&mut self, _: &Weak<Inner>, _: &State, _: bool) -> Place {
        Place::DIRECT
    }

    /// A member comes to a place.
    pub(super) fn enter(&mut self, place: Place, group: &Weak<Inner>) -> Arc<Part> {
        match self.list.get_mut((place.0 >> KEY_BITS) as usize).filter(|_| !place.is_direct()) {
            Some(section) => {
                section.members += 1;
                section.part.clone()
            }
            None => {
                self.direct += 1;
                self.no_worker.get_or_insert_with(|| Part::direct(group.clone())).clone()
            }
        }
    }

    /// A member leaves a place.
    pub(super) fn leave(&mut self, place: Place) {
        match self.list.get_mut((place.0 >> KEY_BITS) as usize).filter(|_| !place.is_direct()) {
            Some(section) => section.members -= 1,
            None => self.direct -= 1,
        }
    }
}
