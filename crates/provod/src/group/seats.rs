//! Who is in a group.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use provod_proto::Prepared;

use super::{Aftermath, Published};
use crate::driver::{Delivery, Shared};

#[derive(Default)]
pub(super) struct Seats {
    /// In the order of their ids, which is that in which they came. Some may be empty.
    pub(super) seats: Vec<Seat>,
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

    pub(super) fn insert(&mut self, shared: Arc<Shared>, window: u8, patience: Patience) -> SeatId {
        if window > 0 {
            *self.windows.entry((window, threshold(&shared))).or_default() += 1;
        }
        // It is drawn under the lock, so it is the highest here.
        let id = SeatId::next();
        self.seats.push(Seat { shared: Some(shared), id, window, patience });
        id
    }

    pub(super) fn get_mut(&mut self, id: SeatId) -> Option<&mut Seat> {
        let at = self.seats.binary_search_by_key(&id, |seat| seat.id).ok()?;
        self.seats.get_mut(at)
    }

    pub(super) fn remove(&mut self, id: SeatId) -> Option<Arc<Shared>> {
        let seat = self.get_mut(id)?;
        let (shared, window) = (seat.shared.take()?, seat.window);
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
            self.seats.retain(|seat| seat.shared.is_some());
            self.empty = 0;
            if self.seats.len() < self.seats.capacity() / 4 {
                self.seats.shrink_to(self.seats.len() * 2);
            }
        }
        Some(shared)
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

    pub(super) fn deliver(
        &mut self,
        message: &Prepared,
        published: &mut Published,
        after: &mut Aftermath,
    ) {
        let Some(shared) = &self.shared else { return };
        let (delivery, congested) = shared.deliver(self.id, message, after);
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
