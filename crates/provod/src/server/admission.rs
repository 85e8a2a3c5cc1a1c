//! Who may connect: a limit on connections, one on unfinished handshakes, and the list of what is open.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

use crate::driver::Shared;

/// Connections that are being turned away at the same time; more are dropped without a word.
const MAX_TURNED_AWAY: usize = 32;

pub(super) struct Admission {
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
    /// Unfinished handshakes, the oldest first.
    handshakes: BTreeMap<u64, Arc<Notify>>,
    open: HashMap<u64, Weak<Shared>>,
}

impl Admission {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max: max.max(1),
            max_handshakes: (max / 4).max(1),
            inner: Mutex::default(),
            empty: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a new connection; `None` when the server is full. Where too many handshakes are
    /// unfinished, the oldest of them must go: silent sockets cannot lock others out.
    pub(super) fn admit(self: &Arc<Self>) -> Option<Ticket> {
        let mut inner = self.lock();
        if inner.admitted >= self.max {
            return None;
        }
        if inner.handshakes.len() >= self.max_handshakes
            && let Some((_, oldest)) = inner.handshakes.pop_first()
        {
            oldest.notify_one();
        }
        let id = inner.next;
        inner.next += 1;
        inner.admitted += 1;
        let evicted = Arc::new(Notify::new());
        inner.handshakes.insert(id, evicted.clone());
        Some(Ticket { admission: self.clone(), id, evicted, turned_away: false })
    }

    /// A place to tell a connection that there is no place.
    pub(super) fn turn_away(self: &Arc<Self>) -> Option<Ticket> {
        let mut inner = self.lock();
        if inner.turned_away >= MAX_TURNED_AWAY {
            return None;
        }
        inner.turned_away += 1;
        let evicted = Arc::new(Notify::new());
        Some(Ticket { admission: self.clone(), id: 0, evicted, turned_away: true })
    }

    /// All that are open now.
    pub(super) fn open(&self) -> Vec<Arc<Shared>> {
        self.lock().open.values().filter_map(Weak::upgrade).collect()
    }

    /// Ends all unfinished handshakes.
    pub(super) fn evict_handshakes(&self) {
        for evicted in std::mem::take(&mut self.lock().handshakes).into_values() {
            evicted.notify_one();
        }
    }

    /// Waits until nothing is connected.
    pub(super) async fn empty(&self) {
        loop {
            let mut rung = std::pin::pin!(self.empty.notified());
            rung.as_mut().enable();
            if self.lock().admitted == 0 {
                return;
            }
            rung.await;
        }
    }
}

/// A place among the connections, given back when dropped.
pub(super) struct Ticket {
    admission: Arc<Admission>,
    id: u64,
    evicted: Arc<Notify>,
    turned_away: bool,
}

impl Ticket {
    /// Waits until this handshake must make room for a newer one.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// The peer has done its part of the handshake: it cannot be evicted any more.
    pub(super) fn handshake_done(&self) {
        self.admission.lock().handshakes.remove(&self.id);
    }

    /// The WebSocket is open.
    pub(super) fn opened(&self, shared: &Arc<Shared>) {
        self.admission.lock().open.insert(self.id, Arc::downgrade(shared));
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
        inner.open.remove(&self.id);
        inner.admitted -= 1;
        let empty = inner.admitted == 0;
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
        let admission = Arc::new(Admission::new(8));
        let oldest = admission.admit().expect("a place");
        let second = admission.admit().expect("a place");
        second.handshake_done();
        let third = admission.admit().expect("a place");
        let fourth = admission.admit().expect("a place");
        oldest.evicted().await;
        assert_eq!(admission.lock().handshakes.len(), 2);
        drop((oldest, second, third, fourth));
        admission.empty().await;
    }

    #[test]
    fn a_full_server_turns_away_a_bounded_number_at_a_time() {
        let admission = Arc::new(Admission::new(1));
        let one = admission.admit().expect("a place");
        assert!(admission.admit().is_none());
        let away: Vec<_> = std::iter::from_fn(|| admission.turn_away()).collect();
        assert_eq!(away.len(), MAX_TURNED_AWAY);
        drop(away);
        assert!(admission.turn_away().is_some());
        drop(one);
        assert!(admission.admit().is_some());
    }
}
