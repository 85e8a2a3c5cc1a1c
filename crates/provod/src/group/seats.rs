//! Who is in a group.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use provod_proto::Prepared;

use super::sections::{Place, Sections};
use super::{Aftermath, Published, SlowPolicy};
#[cfg(unix)]
use super::{Entry as PartEntry, Part};
use crate::driver::{Delivery, Shared, State};

#[derive(Default)]
pub(super) struct Seats {
    /// In the order of their ids, which is that in which they came. Some may be empty.
    pub(super) seats: Vec<Seat>,
    /// Who gives messages out to each of them.
    places: Vec<Place>,
    pub(super) sections: Sections,
    empty: usize,
    /// How many members compress with which window, from which length on.
    windows: BTreeMap<(u8, usize), usize>,
}

/// A place that somebody left is done away with together with others.
const FEW_EMPTY: usize = 16;

/// Which seat, of all of a process. In 48 bits: at a million a second they last for nine years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SeatId([u16; 3]);

impl SeatId {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let n = NEXT.fetch_add(1, Relaxed);
        // The highest first, for the order.
        Self([(n >> 32) as u16, (n >> 16) as u16, n as u16])
    }
}

pub(super) struct Seat {
    /// `None` once it is empty.
    pub(super) shared: Option<Arc<Shared>>,
    pub(super) id: SeatId,
    /// With how many bits it compresses, or 0.
    window: u8,
    pub(super) patience: Patience,
}

// A room of many members has one for each.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Seat>() <= 16);

/// Whether a member is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// Waiting would spare it nothing.
    Pointless,
    Left,
    /// It was waited for in vain, and is not waited for again until it has caught up.
    UsedUp,
}

impl Seats {
    /// How many are taken.
    pub(super) fn len(&self) -> usize {
        self.seats.len() - self.empty
    }

    /// A seat for a connection, whose state is locked as `state`.
    pub(super) fn insert(
        &mut self,
        shared: &Arc<Shared>,
        state: &mut State,
        policy: SlowPolicy,
    ) -> SeatId {
        let window = state.core.compresses_with().unwrap_or(0);
        if window > 0 {
            *self.windows.entry((window, threshold(shared))).or_default() += 1;
        }
        // It is drawn under the lock, so it is the highest here.
        let id = SeatId::next();
        let patience = if policy.is_bounded() { Patience::Left } else { Patience::Pointless };
        self.seats.push(Seat { shared: Some(shared.clone()), id, window, patience });
        let (place, part) = self.sections.enter();
        self.places.push(place);
        state.join_group(id, policy, part);
        id
    }

    fn find(&self, id: SeatId) -> Option<usize> {
        self.seats.binary_search_by_key(&id, |seat| seat.id).ok()
    }

    pub(super) fn get_mut(&mut self, id: SeatId) -> Option<&mut Seat> {
        let at = self.find(id)?;
        self.seats.get_mut(at)
    }

    /// Empties a seat, once its connection has been given all that was published before.
    pub(super) fn remove(&mut self, id: SeatId, after: &mut Aftermath) -> Option<Arc<Shared>> {
        let at = self.find(id)?;
        let seat = self.seats.get_mut(at)?;
        let (shared, window) = (seat.shared.take()?, seat.window);
        let mut state = shared.lock();
        if state.first_line().is_some_and(|(first, _)| first == id) {
            // What is put off from here on is not for it, though its line goes later.
            state.move_line(self.sections.no_worker());
        }
        state.group_has_queued(after);
        drop(state);
        // In no section, whatever is published in its name.
        self.sections.leave(std::mem::replace(&mut self.places[at], Place::DIRECT));
        if window > 0
            && let Entry::Occupied(mut n) = self.windows.entry((window, threshold(&shared)))
        {
            *n.get_mut() -= 1;
            if *n.get() == 0 {
                n.remove();
            }
        }
        self.empty += 1;
        // Each empty seat pays for looking at three others, however many leave at once.
        if self.empty > FEW_EMPTY.max(self.seats.len() / 4) || self.empty == self.seats.len() {
            let mut taken = self.seats.iter().map(|seat| seat.shared.is_some());
            self.places.retain(|_| taken.next().unwrap_or(true));
            self.seats.retain(|seat| seat.shared.is_some());
            self.empty = 0;
            if self.seats.len() < self.seats.capacity() / 4 {
                self.seats.shrink_to(self.seats.len() * 2);
                self.places.shrink_to(self.seats.len() * 2);
            }
        }
        Some(shared)
    }

    /// Looks again at who gives messages out to a member. Returns whether it is one to wait for.
    pub(super) fn settle(&mut self, id: SeatId, after: &mut Aftermath) -> bool {
        let Some(at) = self.find(id) else { return false };
        let Some(shared) = self.seats[at].shared.clone() else { return false };
        let mut state = shared.lock();
        if state.first_line().is_some_and(|(first, _)| first == id) {
            let hard_limit = shared.config.hard_limit;
            self.sections.change(&mut self.places[at], &mut state, hard_limit);
        }
        let congested = state.is_congested();
        state.group_has_queued(after);
        drop(state);
        after.left.push(shared);
        self.seats[at].is_behind(congested)
    }

    /// Gives a message to the members, or to those who give it out.
    pub(super) fn publish(
        &mut self,
        message: &Prepared,
        except: Option<SeatId>,
        published: &mut Published,
        after: &mut Aftermath,
    ) {
        if self.sections.direct > 0 {
            for (seat, place) in self.seats.iter_mut().zip(&mut self.places) {
                if place.is_direct() && Some(seat.id) != except {
                    seat.deliver(message, (place, &mut self.sections), published, after);
                }
            }
        }
        let except = except.and_then(|id| Some((id, self.places[self.find(id)?])));
        let mut full = Vec::new();
        let workers = &mut after.wakers;
        published.queued += self.sections.hand_over(message, except, &mut full, workers);
        for n in full {
            self.give_out(n, published, after);
        }
    }

    /// Gives all members of a section what waits for the worker.
    fn give_out(&mut self, n: usize, published: &mut Published, after: &mut Aftermath) {
        let here = |place: &Place| place.section() == Some(n);
        let members = self.places.iter().zip(&self.seats).filter(|(place, _)| here(place));
        for id in members.map(|(_, seat)| seat.id).collect::<Vec<_>>() {
            published.congested += usize::from(self.settle(id, after));
        }
        let part = self.sections.part(n);
        part.forget(part.end());
    }

    /// What a worker is to give out, and to whom.
    #[cfg(unix)]
    pub(super) fn look(&self, part: &Arc<Part>) -> (Vec<u32>, (u64, Vec<PartEntry>)) {
        let section = self.sections.find(part);
        let here = self.places.iter().zip(&self.seats).filter(|(place, seat)| {
            seat.shared.is_some() && section.is_some() && place.section() == section
        });
        (here.map(|(place, _)| place.key()).collect(), part.look())
    }

    /// The windows with which a message of `len` bytes will be compressed: bit 9 is 2^9.
    pub(super) fn windows_for(&self, len: usize) -> u16 {
        let windows = self.windows.keys().filter(|(_, threshold)| len >= *threshold);
        windows.fold(0, |set, (bits, _)| set | 1u16.checked_shl((*bits).into()).unwrap_or(0))
    }
}

/// From which length on the messages of a connection are compressed.
fn threshold(shared: &Shared) -> usize {
    shared.config.compression.threshold
}

impl Seat {
    pub(super) fn is_behind(&mut self, congested: bool) -> bool {
        if self.patience == Patience::UsedUp && !congested {
            self.patience = Patience::Left;
        }
        congested && self.patience == Patience::Left
    }

    /// Gives it a message; or puts that off for good, when the member has come to where its worker
    /// may do so.
    fn deliver(
        &mut self,
        message: &Prepared,
        (place, sections): (&mut Place, &mut Sections),
        published: &mut Published,
        after: &mut Aftermath,
    ) {
        let Some(shared) = &self.shared else { return };
        let mut state = shared.lock();
        if state.may_be_put_off() {
            sections.change(place, &mut state, shared.config.hard_limit);
            if !place.is_direct() {
                state.group_has_queued(after);
                return;
            }
        }
        let (delivery, congested) =
            state.publish_now(self.id, message, shared.config.hard_limit, after);
        drop(state);
        match delivery {
            Delivery::Queued { displaced } => {
                published.queued += 1;
                published.dropped += displaced;
            }
            Delivery::Dropped => published.dropped += 1,
            Delivery::Closed => {
                published.closed += 1;
                after.close.push(shared.clone());
                after.gone.push(self.id);
                return;
            }
            Delivery::Gone => {
                after.gone.push(self.id);
                return;
            }
        }
        if self.is_behind(congested) {
            published.congested += 1;
        }
    }
}
