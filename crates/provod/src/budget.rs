//! One memory budget for many connections.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;

use crate::driver::{Calls, Shared};

/// Connections that hold less are never chosen to give way: their own structures cost more.
const LEAST: usize = 1 << 10;

/// How much memory the connections of a process may hold together; off unless it is given to
/// servers with [`Server::memory_budget`](crate::Server::memory_budget) or clients with
/// [`Client::memory_budget`](crate::Client::memory_budget). Cloning gives a handle to the same
/// budget, which all of them may share.
///
/// Counted is what peers and the application can make a connection hold: messages that are not
/// whole yet, compressed ones as far as they are inflated; received messages that wait; input that
/// was read and not handled; everything queued for sending, also by a [`Group`](crate::Group); and
/// a fixed sum for each unfinished handshake. Not counted is what each connection costs anyway: its
/// structures, some 1 KiB, and with context takeover its windows. A prepared
/// message counts for each connection it waits on.
///
/// When more than the limit is used, connections give way until it is not: first the one that holds
/// the most, to an eighth, even when it is idle and another one asked for the memory. It frees all
/// at once, its peer is told with 1013, Try Again Later, if it takes a Close soon, and `recv`
/// returns an error of which [`is_limit`](crate::Error::is_limit) is true. Those that hold
/// little, below 1 KiB, live on. Where nobody is left to give way, a server answers new connections
/// with 503; clients connect, and live while they hold little.
///
/// Memory is looked at after each step, so the limit is passed for a moment by at most one step of
/// each thread: 64 KiB read, some 256 KiB inflated, one message given to `send`, or a message's
/// buffer that grows to twice its size.
///
/// ```no_run
/// # async fn example() -> Result<(), provod::Error> {
/// let budget = provod::config::MemoryBudget::new(512 << 20);
/// provod::Server::new()
///     .listen("127.0.0.1:8080")
///     .memory_budget(&budget)
///     .serve(|mut ws: provod::WebSocket| async move {
///         while let Some(message) = ws.recv().await? {
///             ws.send(message).await?;
///         }
///         Ok(())
///     })
///     .await
/// # }
/// ```
#[derive(Clone)]
pub struct MemoryBudget(Arc<Inner>);

struct Inner {
    limit: usize,
    used: AtomicUsize,
    peak: AtomicUsize,
    shed: AtomicU64,
    next: AtomicU64,
    /// Who holds how much, in coarse steps. It is locked under a connection's lock, and nothing is
    /// locked under it.
    holders: Mutex<BTreeMap<(u32, u64), Weak<Shared>>>,
    /// Held by the one who makes connections give way, so that one excess costs one connection.
    relieving: Mutex<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that runs under either lock leaves anything half changed when it panics.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryBudget {
    /// A budget of `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Inner {
            limit,
            used: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            shed: AtomicU64::new(0),
            next: AtomicU64::new(0),
            holders: Mutex::default(),
            relieving: Mutex::default(),
        }))
    }

    /// The limit, in bytes.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// Bytes that are held now.
    #[must_use]
    pub fn used(&self) -> usize {
        self.0.used.load(Relaxed)
    }

    /// The most bytes that were ever held: what to size a budget by.
    #[must_use]
    pub fn peak(&self) -> usize {
        self.0.peak.load(Relaxed)
    }

    /// How many connections had to give way.
    #[must_use]
    pub fn shed(&self) -> u64 {
        self.0.shed.load(Relaxed)
    }

    pub(crate) fn is_used_up(&self) -> bool {
        self.used() >= self.limit()
    }

    fn is_overdrawn(&self) -> bool {
        self.used() > self.limit()
    }

    /// Counts a fixed sum until the guard is dropped; `None` when the budget is used up.
    pub(crate) fn reserve(&self, bytes: usize) -> Option<Reservation> {
        if self.is_used_up() {
            // Perhaps for a moment: somebody is about to give way.
            self.relieve();
            if self.is_used_up() {
                return None;
            }
        }
        self.add(bytes);
        let reservation = Reservation { budget: self.clone(), bytes };
        self.relieve();
        Some(reservation)
    }

    /// Counts what `shared` holds from now on.
    pub(crate) fn watch(&self, shared: &Arc<Shared>) {
        let id = self.0.next.fetch_add(1, Relaxed);
        let (budget, holder) = (self.clone(), Arc::downgrade(shared));
        let account = Account { budget, holder, id, counted: 0, step: 0, closed: false };
        shared.lock().open_account(account);
    }

    fn add(&self, bytes: usize) {
        let used = self.0.used.fetch_add(bytes, Relaxed).saturating_add(bytes);
        if used > self.0.peak.load(Relaxed) {
            self.0.peak.fetch_max(used, Relaxed);
        }
    }

    fn subtract(&self, bytes: usize) {
        self.0.used.fetch_sub(bytes, Relaxed);
    }

    /// Lets connections give way while more than the limit is used. No connection and no group may
    /// be locked by the caller.
    pub(crate) fn relieve(&self) {
        if !self.is_overdrawn() {
            return;
        }
        let mut calls = Calls::default();
        let mut gave_way = Vec::new();
        let only_one = lock(&self.0.relieving);
        while self.is_overdrawn() {
            let Some((_, greediest)) = lock(&self.0.holders).pop_last() else { break };
            let Some(shared) = greediest.upgrade() else { continue };
            let Some(freed) = shared.shed(&mut calls) else { continue };
            let n = self.0.shed.fetch_add(1, Relaxed) + 1;
            gave_way.push((shared, freed, n));
        }
        drop(only_one);
        calls.take().for_each(Waker::wake);
        // A log may go to a connection that counts here.
        for (shared, freed, n) in gave_way {
            let (peer, limit) = (shared.info.peer(), self.limit());
            tracing::debug!(peer, freed, "the memory budget is used up, closing with 1013");
            // Under attack there may be many: a line for each would be an attack of its own.
            if n.is_power_of_two() {
                tracing::warn!(
                    limit,
                    closed = n,
                    "the memory budget is used up: the connections that held the most were closed; \
                     raise the budget or lower the limits of a connection"
                );
            }
        }
    }
}

impl fmt::Debug for MemoryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBudget")
            .field("limit", &self.limit())
            .field("used", &self.used())
            .finish_non_exhaustive()
    }
}

/// A fixed sum that is counted while this lives.
pub(crate) struct Reservation {
    budget: MemoryBudget,
    bytes: usize,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.subtract(self.bytes);
    }
}

/// What is counted for one connection.
pub(crate) struct Account {
    budget: MemoryBudget,
    holder: Weak<Shared>,
    id: u64,
    counted: usize,
    /// Where it stands among the holders; 0 is nowhere.
    step: u32,
    /// It has given way once and has nothing more to give.
    closed: bool,
}

impl Account {
    /// The connection holds so much now. Returns the budget when it is overdrawn.
    pub(crate) fn set(&mut self, held: usize) -> Option<MemoryBudget> {
        if held != self.counted {
            let step = if self.closed { 0 } else { step(held) };
            // First among the holders, then in the sum: whoever finds too much finds somebody.
            if step != self.step {
                self.stand_at(step);
            }
            if held > self.counted {
                self.budget.add(held - self.counted);
            } else {
                self.budget.subtract(self.counted - held);
            }
            self.counted = held;
        }
        self.budget.is_overdrawn().then(|| self.budget.clone())
    }

    fn stand_at(&mut self, step: u32) {
        let mut holders = lock(&self.budget.0.holders);
        if self.step > 0 {
            holders.remove(&(self.step, self.id));
        }
        if step > 0 {
            holders.insert((step, self.id), self.holder.clone());
        }
        self.step = step;
    }

    /// Whether it may be made to give way, which it is once.
    pub(crate) fn close(&mut self) -> bool {
        !std::mem::replace(&mut self.closed, true)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn counted(&self) -> usize {
        self.counted
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.closed = true;
        self.set(0);
    }
}

/// Sizes in steps of an eighth: 8 to each doubling.
fn step(held: usize) -> u32 {
    if held < LEAST {
        return 0;
    }
    let doublings = held.ilog2();
    // The three bits below the highest; `held` has at least eleven.
    let eighths = (held >> (doublings - 3)) & 7;
    doublings * 8 + eighths as u32
}

#[cfg(test)]
mod tests {
    use super::{LEAST, MemoryBudget, step};

    #[test]
    fn steps_grow_with_what_is_held_by_an_eighth() {
        assert_eq!((step(0), step(LEAST - 1)), (0, 0));
        assert!(step(LEAST) > 0);
        let mut held = LEAST;
        while held < 1 << 40 {
            assert_eq!(step(held), step(held + held / 16 - held % 2), "{held}");
            assert_eq!(step(held + held.div_ceil(8)), step(held) + 1, "{held}");
            held *= 2;
        }
    }

    #[test]
    fn reservations_are_given_back_and_refused_when_all_is_used() {
        let budget = MemoryBudget::new(100);
        let first = budget.reserve(60).expect("there is room");
        let second = budget.reserve(60).expect("there is still some");
        assert_eq!((budget.used(), budget.peak()), (120, 120));
        assert!(budget.reserve(60).is_none());
        drop(first);
        assert!(budget.reserve(1).is_some());
        drop(second);
        assert_eq!((budget.used(), budget.peak(), budget.shed()), (0, 120, 0));
    }
}
