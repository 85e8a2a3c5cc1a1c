//! How other tasks and threads reach a worker.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::group::Part;

/// What a worker is told between its turns: which connections to look at, and in which groups
/// something was published.
#[derive(Default)]
pub(crate) struct Mailbox(Mutex<Mail>);

#[derive(Default)]
struct Mail {
    touched: Vec<u32>,
    parts: Vec<Arc<Part>>,
    /// A connection is new, or nobody will bring any more.
    news: bool,
    /// Nobody will bring connections any more.
    deserted: bool,
    /// The worker is gone.
    left: bool,
    /// The worker, while it sleeps.
    asleep: Option<Waker>,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Mail> {
        // Nothing under the lock can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something about this connection has changed. Returns whom to wake, once nothing is locked.
    #[must_use]
    pub(crate) fn touch(&self, key: u32) -> Option<Waker> {
        let mut mail = self.lock();
        mail.touched.push(key);
        mail.asleep.take()
    }

    /// Something was published to members of a group that this worker serves. Returns whom to wake,
    /// once nothing is locked.
    #[must_use]
    pub(crate) fn hand_over(&self, part: Arc<Part>) -> Option<Waker> {
        let mut mail = self.lock();
        if mail.left {
            // A part has its worker's mailbox: neither would ever go.
            return None;
        }
        mail.parts.push(part);
        mail.asleep.take()
    }

    /// The worker is gone: nobody looks at what is handed over.
    pub(super) fn leave(&self) {
        let mut mail = self.lock();
        mail.left = true;
        let parts = std::mem::take(&mut mail.parts);
        // The last handles to messages, perhaps: behind the lock.
        drop(mail);
        drop(parts);
    }

    /// Whether the worker is gone.
    pub(crate) fn is_left(&self) -> bool {
        self.lock().left
    }

    /// A connection is new.
    pub(super) fn tell(&self) {
        self.news(false);
    }

    /// Nobody will bring connections any more.
    pub(super) fn desert(&self) {
        self.news(true);
    }

    pub(super) fn is_deserted(&self) -> bool {
        self.lock().deserted
    }

    fn news(&self, last: bool) {
        let mut mail = self.lock();
        mail.news = true;
        mail.deserted |= last;
        let asleep = mail.asleep.take();
        drop(mail);
        if let Some(waker) = asleep {
            waker.wake();
        }
    }

    /// Takes the mail into `touched`, which is empty, and appends to `parts`. Where there is none,
    /// `worker` is woken by the next.
    pub(super) fn take(
        &self,
        touched: &mut Vec<u32>,
        parts: &mut VecDeque<Arc<Part>>,
        worker: &Waker,
    ) -> bool {
        let mut mail = self.lock();
        std::mem::swap(&mut mail.touched, touched);
        let any = std::mem::take(&mut mail.news) || !touched.is_empty() || !mail.parts.is_empty();
        parts.extend(mail.parts.drain(..));
        if !any {
            match &mut mail.asleep {
                Some(waker) => waker.clone_from(worker),
                asleep => *asleep = Some(worker.clone()),
            }
        }
        any
    }
}
