//! The members of a group that one worker serves, and what was published to them and is still to
//! be given out: the worker does so in its next turn, all of it to one member after the other.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;

use provod_proto::Prepared;

use super::{Inner, SeatId};
#[cfg(unix)]
use crate::worker::Mailbox;

/// What a message costs beside its bytes.
const MESSAGE_COST: usize = 128;

pub(crate) struct Part {
    pub(crate) group: Weak<Inner>,
    /// The worker; without one, nothing is put off.
    #[cfg(unix)]
    home: Option<Arc<Mailbox>>,
    /// How many messages there ever were: that of the log, to be read without its lock.
    end: AtomicU64,
    /// The last of all locks: none is taken under it.
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    /// The number of the first message.
    first: u64,
    messages: VecDeque<Entry>,
    cost: usize,
    /// The worker knows that there is something.
    told: bool,
}

/// A message, and the member that does not hear it.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) message: Prepared,
    pub(crate) except: Option<SeatId>,
}

impl Entry {
    /// Memory that it takes, about.
    pub(crate) fn cost(&self) -> usize {
        self.message.payload().len() + MESSAGE_COST
    }
}

impl Part {
    /// For members that no worker serves.
    pub(super) fn direct(group: Weak<Inner>) -> Arc<Self> {
        Arc::new(Self {
            group,
            #[cfg(unix)]
            home: None,
            end: AtomicU64::new(0),
            log: Mutex::default(),
        })
    }

    #[cfg(unix)]
    pub(super) fn of(home: Arc<Mailbox>, group: Weak<Inner>) -> Arc<Self> {
        Arc::new(Self { group, home: Some(home), end: AtomicU64::new(0), log: Mutex::default() })
    }

    #[cfg(unix)]
    pub(super) fn is_at(&self, mailbox: &Arc<Mailbox>) -> bool {
        self.home.as_ref().is_some_and(|home| Arc::ptr_eq(home, mailbox))
    }

    /// Whether the worker is gone.
    #[cfg(unix)]
    pub(super) fn is_left(&self) -> bool {
        self.home.as_ref().is_some_and(|home| home.is_left())
    }

    /// Whether a worker gives out what is published here.
    pub(crate) fn is_served(&self) -> bool {
        #[cfg(unix)]
        return self.home.is_some();
        #[cfg(not(unix))]
        false
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        // Nothing under the lock can panic half-way.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many messages there ever were.
    #[inline]
    pub(crate) fn end(&self) -> u64 {
        // Whoever publishes and then uses a member's connection sees what he wrote himself; others
        // find out at some time.
        self.end.load(Relaxed)
    }

    /// Appends a message. Returns what all that waits takes, and whom to wake.
    pub(super) fn push(
        self: &Arc<Self>,
        message: &Prepared,
        except: Option<SeatId>,
    ) -> (usize, Option<Waker>) {
        let entry = Entry { message: message.clone(), except };
        let mut log = self.lock();
        log.cost += entry.cost();
        log.messages.push_back(entry);
        self.end.store(log.first + log.messages.len() as u64, Relaxed);
        let (cost, told) = (log.cost, std::mem::replace(&mut log.told, true));
        drop(log);
        (cost, if told { None } else { self.tell() })
    }

    #[cfg(unix)]
    fn tell(self: &Arc<Self>) -> Option<Waker> {
        self.home.as_ref()?.hand_over(self.clone())
    }

    #[cfg(not(unix))]
    fn tell(self: &Arc<Self>) -> Option<Waker> {
        None
    }

    /// What was published behind the first `seen` messages, and how many there are now.
    pub(crate) fn since(&self, seen: u64) -> (Vec<Entry>, u64) {
        let log = self.lock();
        let skip = usize::try_from(seen.saturating_sub(log.first)).unwrap_or(usize::MAX);
        (log.messages.iter().skip(skip).cloned().collect(), log.first + log.messages.len() as u64)
    }

    /// The worker takes a look: all that is there now, with the number of the first.
    #[cfg(unix)]
    pub(super) fn look(&self) -> (u64, Vec<Entry>) {
        let mut log = self.lock();
        log.told = false;
        (log.first, log.messages.iter().cloned().collect())
    }

    /// Every member has been given the messages before `end`.
    pub(crate) fn forget(&self, end: u64) {
        let mut log = self.lock();
        // A message may go with the last that holds it, and the owner of its bytes with it: behind
        // the lock.
        let mut gone = Vec::new();
        while log.first < end
            && let Some(entry) = log.messages.pop_front()
        {
            log.first += 1;
            log.cost -= entry.cost();
            gone.push(entry);
        }
        drop(log);
    }
}
