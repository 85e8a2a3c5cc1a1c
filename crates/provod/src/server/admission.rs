//! Who may connect: a limit on connections, one on unfinished handshakes, and the list of what is
//! open.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

use crate::driver::Shared;

/// Connections that are being turned away at the same time; more are dropped without a word.
const MAX_TURNED_AWAY: usize = 32;

pub(crate) struct Admission {
    max: usize,
    max_handshakes: usize,
    inner: Mutex<Inner>,
    /// Rings when the last connection has gone.
    empty: Notify,
}

#[derive(Default)]
struct Inner {
    next: u64,
    /// All that were admitted, in whatever phase.
    admitted: usize,
    turned_away: usize,
    /// Loops that accept.
    listening: usize,
    /// Unfinished handshakes, the oldest first.
    handshakes: BTreeMap<u64, Arc<Place>>,
    /// Those that are, or are about to be, answered and only wait for the peer to hang up, the
    /// oldest first.
    lingering: BTreeMap<u64, Arc<Place>>,
    open: Opened,
}

/// The open connections, each at an index of its own.
#[derive(Default)]
struct Opened {
    list: Vec<Option<Weak<Shared>>>,
    /// The indices that are free.
    free: Vec<u32>,
}

impl Opened {
    fn insert(&mut self, shared: Weak<Shared>) -> usize {
        if let Some(key) = self.free.pop() {
            self.list[key as usize] = Some(shared);
            return key as usize;
        }
        self.list.push(Some(shared));
        self.list.len() - 1
    }

    fn remove(&mut self, key: usize) {
        if self.list.get_mut(key).and_then(Option::take).is_none() {
            return;
        }
        // Above 4 billion it is not used again.
        self.free.extend(u32::try_from(key));
        if self.free.len() == self.list.len() {
            *self = Self::default();
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Weak<Shared>> {
        self.list.iter().flatten()
    }
}

/// What a connection that has no WebSocket yet can be told.
#[derive(Default)]
struct Place {
    ring: Notify,
    /// The place was given to another connection.
    lost: AtomicBool,
}

impl Admission {
    /// At most `max` connections, and at most `handshakes` of them unfinished; by default a
    /// quarter.
    pub(super) fn new(max: usize, handshakes: usize) -> Self {
        Self {
            max: max.max(1),
            // A browser asks for a page and its parts at once, also of a very small server.
            max_handshakes: (max / 4).max(max.min(16)).min(handshakes).max(1),
            inner: Mutex::default(),
            empty: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a new connection; `None` when the server is full. Where too many handshakes are
    /// unfinished, the oldest of them must go, and where all places are taken, one that is answered
    /// and does not hang up: silent sockets cannot lock others out.
    pub(super) fn admit(self: &Arc<Self>) -> Option<Ticket> {
        let mut inner = self.lock();
        let full = inner.admitted >= self.max;
        if (inner.handshakes.len() >= self.max_handshakes || (full && inner.lingering.is_empty()))
            && let Some((id, oldest)) = inner.handshakes.pop_first()
        {
            oldest.ring.notify_one();
            inner.lingering.insert(id, oldest);
        }
        if full {
            let (_, oldest) = inner.lingering.pop_first()?;
            oldest.lost.store(true, Ordering::Relaxed);
            oldest.ring.notify_one();
            inner.admitted -= 1;
        }
        let id = inner.next;
        inner.next += 1;
        inner.admitted += 1;
        let place = Arc::<Place>::default();
        inner.handshakes.insert(id, place.clone());
        Some(Ticket { admission: self.clone(), id, place, turned_away: false, is_open: false })
    }

    /// A place to tell a connection that there is no place.
    pub(super) fn turn_away(self: &Arc<Self>) -> Option<Ticket> {
        let mut inner = self.lock();
        if inner.turned_away >= MAX_TURNED_AWAY {
            return None;
        }
        inner.turned_away += 1;
        Some(Ticket {
            admission: self.clone(),
            id: 0,
            place: Arc::default(),
            turned_away: true,
            is_open: false,
        })
    }

    /// How many places are taken.
    pub(super) fn taken(&self) -> usize {
        self.lock().admitted
    }

    /// All that are open now.
    pub(super) fn open(&self) -> Vec<Arc<Shared>> {
        self.lock().open.iter().filter_map(Weak::upgrade).collect()
    }

    /// Ends all unfinished handshakes.
    pub(super) fn evict_handshakes(&self) {
        for place in std::mem::take(&mut self.lock().handshakes).into_values() {
            place.ring.notify_one();
        }
    }

    /// A loop that accepts begins; it ends when the guard is dropped.
    pub(super) fn listening(self: &Arc<Self>) -> Listening {
        self.lock().listening += 1;
        Listening(self.clone())
    }

    /// Waits until nobody accepts and nobody is connected but peers that have their answer and do
    /// not hang up.
    pub(super) async fn empty(&self) {
        loop {
            let mut rung = std::pin::pin!(self.empty.notified());
            rung.as_mut().enable();
            if self.lock().is_empty() {
                return;
            }
            rung.await;
        }
    }
}

impl Inner {
    fn is_empty(&self) -> bool {
        self.listening == 0 && self.admitted == self.lingering.len()
    }
}

/// A loop that accepts.
pub(super) struct Listening(Arc<Admission>);

impl Drop for Listening {
    fn drop(&mut self) {
        let mut inner = self.0.lock();
        inner.listening -= 1;
        let empty = inner.is_empty();
        drop(inner);
        if empty {
            self.0.empty.notify_waiters();
        }
    }
}

/// A place among the connections, given back when dropped.
pub(super) struct Ticket {
    admission: Arc<Admission>,
    id: u64,
    place: Arc<Place>,
    turned_away: bool,
    /// What it stood for is kept by an [`OpenPlace`].
    is_open: bool,
}

/// The place of an open WebSocket, given back when dropped: all that is kept for one.
pub(crate) struct OpenPlace {
    admission: Arc<Admission>,
    key: usize,
}

impl Drop for OpenPlace {
    fn drop(&mut self) {
        let mut inner = self.admission.lock();
        inner.open.remove(self.key);
        inner.admitted -= 1;
        let empty = inner.is_empty();
        drop(inner);
        if empty {
            self.admission.empty.notify_waiters();
        }
    }
}

impl Ticket {
    /// Waits until this handshake must make room for a newer one.
    pub(super) async fn evicted(&self) {
        self.place.ring.notified().await;
    }

    /// The peer has done its part of the handshake: it cannot be evicted any more. `false` when it
    /// is too late for that, since its place was given to another connection.
    pub(super) fn handshake_done(&self) -> bool {
        let mut inner = self.admission.lock();
        inner.handshakes.remove(&self.id);
        // It may have been chosen to go in this very moment.
        inner.lingering.remove(&self.id);
        !self.is_lost()
    }

    /// The peer has its answer. From now on its place may be given to another connection; completes
    /// when it was.
    pub(super) async fn linger(&self) {
        if self.turned_away {
            return std::future::pending().await;
        }
        let empty = {
            let mut inner = self.admission.lock();
            if !self.is_lost() {
                inner.lingering.insert(self.id, self.place.clone());
            }
            inner.is_empty()
        };
        if empty {
            self.admission.empty.notify_waiters();
        }
        // An earlier ring, for the eviction, may still be on its way.
        while !self.is_lost() {
            self.place.ring.notified().await;
        }
    }

    fn is_lost(&self) -> bool {
        self.place.lost.load(Ordering::Relaxed)
    }

    /// The WebSocket is open.
    pub(super) fn opened(mut self, shared: &Arc<Shared>) -> OpenPlace {
        let key = self.admission.lock().open.insert(Arc::downgrade(shared));
        self.is_open = true;
        OpenPlace { admission: self.admission.clone(), key }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut inner = self.admission.lock();
        if self.turned_away {
            inner.turned_away -= 1;
            return;
        }
        inner.handshakes.remove(&self.id);
        inner.lingering.remove(&self.id);
        if self.is_lost() || self.is_open {
            return;
        }
        inner.admitted -= 1;
        let empty = inner.is_empty();
        drop(inner);
        if empty {
            self.admission.empty.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Admission, MAX_TURNED_AWAY};

    #[tokio::test]
    async fn the_oldest_unfinished_handshake_makes_room() {
        let admission = Arc::new(Admission::new(80, usize::MAX));
        let oldest = admission.admit().expect("a place");
        let done = admission.admit().expect("a place");
        done.handshake_done();
        let others: Vec<_> = (0..20).map(|_| admission.admit().expect("a place")).collect();
        oldest.evicted().await;
        assert_eq!(admission.lock().handshakes.len(), 20);
        drop((oldest, done, others));
        admission.empty().await;
    }

    #[tokio::test]
    async fn evicted_handshakes_that_do_not_hang_up_fill_no_place() {
        let admission = Arc::new(Admission::new(4, usize::MAX));
        let silent: Vec<_> =
            (0..20).map(|_| admission.admit().expect("room is made for each")).collect();
        assert_eq!(admission.lock().admitted, 4);
        for ticket in &silent[..16] {
            ticket.evicted().await;
            ticket.linger().await;
        }
        drop(silent);
        assert_eq!(admission.lock().admitted, 0);
        admission.empty().await;
    }

    #[tokio::test]
    async fn one_silent_socket_in_the_last_place_makes_room() {
        let admission = Arc::new(Admission::new(4, usize::MAX));
        let open: Vec<_> = (0..3).map(|_| admission.admit().expect("a place")).collect();
        assert!(open.iter().all(super::Ticket::handshake_done));
        let silent = admission.admit().expect("a place");
        let asking = admission.admit().expect("the silent one's place");
        asking.handshake_done();
        silent.evicted().await;
        assert!(admission.admit().is_none());
    }

    #[test]
    fn open_connections_never_make_room() {
        let admission = Arc::new(Admission::new(2, usize::MAX));
        let open = [admission.admit(), admission.admit()].map(|t| t.expect("a place"));
        assert!(open.iter().all(super::Ticket::handshake_done));
        assert!(admission.admit().is_none());
    }

    #[test]
    fn a_full_server_turns_away_a_bounded_number_at_a_time() {
        let admission = Arc::new(Admission::new(1, usize::MAX));
        let one = admission.admit().expect("a place");
        one.handshake_done();
        assert!(admission.admit().is_none());
        let away: Vec<_> = std::iter::from_fn(|| admission.turn_away()).collect();
        assert_eq!(away.len(), MAX_TURNED_AWAY);
        drop(away);
        assert!(admission.turn_away().is_some());
        drop(one);
        assert!(admission.admit().is_some());
    }

    #[tokio::test]
    async fn a_place_that_was_given_away_is_given_back_by_its_new_owner_alone() {
        let admission = Arc::new(Admission::new(1, usize::MAX));
        let slow = admission.admit().expect("a place");
        let newer = admission.admit().expect("room is made");
        assert!(!slow.handshake_done(), "it is too late");
        assert!(newer.handshake_done());
        assert!(admission.admit().is_none());
        drop(slow);
        assert_eq!(admission.lock().admitted, 1);
        drop(newer);
        assert_eq!(admission.lock().admitted, 0);
    }
}
