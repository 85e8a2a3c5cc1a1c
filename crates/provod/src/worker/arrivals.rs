//! Connections on their way to a worker.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;

use super::mailbox::Mailbox;
use super::stream::Stream;
use crate::driver::Shared;
use crate::server::Guard;

/// A connection whose handshake is done.
pub(crate) struct New<S> {
    pub(crate) stream: Stream,
    pub(crate) shared: Arc<Shared>,
    /// Input that came with the request.
    pub(crate) carry: BytesMut,
    pub(crate) state: S,
    /// Dropped when the connection is over.
    pub(crate) guard: Guard,
}

impl<S> New<S> {
    /// Ends it before it has begun: whoever waits for it learns that.
    pub(super) fn give_up(self) {
        // A worker that ends must end all of them, whatever panics: the application's state, too.
        let _ = catch_unwind(AssertUnwindSafe(|| self.shared.abort()));
        let _ = catch_unwind(AssertUnwindSafe(|| drop(self)));
    }
}

/// The way to a worker for connections. The worker ends once this is dropped and no connection is
/// left.
pub(crate) struct Home<S> {
    arrivals: Arc<Arrivals<S>>,
}

impl<S> Home<S> {
    pub(super) fn new(arrivals: Arc<Arrivals<S>>) -> Self {
        Self { arrivals }
    }

    /// Gives the worker a connection. Where it is gone, as when its runtime shuts down, the
    /// connection ends.
    pub(crate) fn adopt(&self, new: New<S>) {
        let refused = self.arrivals.push(new);
        match refused {
            None => self.arrivals.mailbox.tell(),
            Some(new) => new.give_up(),
        }
    }
}

impl<S> Drop for Home<S> {
    fn drop(&mut self) {
        self.arrivals.mailbox.desert();
    }
}

/// What both ends of the way share.
pub(super) struct Arrivals<S> {
    mailbox: Arc<Mailbox>,
    queue: Mutex<Queue<S>>,
}

struct Queue<S> {
    new: VecDeque<New<S>>,
    /// Nobody will take them any more.
    closed: bool,
}

impl<S> Arrivals<S> {
    pub(super) fn new(mailbox: Arc<Mailbox>) -> Self {
        let queue = Queue { new: VecDeque::new(), closed: false };
        Self { mailbox, queue: Mutex::new(queue) }
    }

    fn lock(&self) -> MutexGuard<'_, Queue<S>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn len(&self) -> usize {
        self.lock().new.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives it back where nobody takes any.
    fn push(&self, new: New<S>) -> Option<New<S>> {
        let mut queue = self.lock();
        if queue.closed {
            return Some(new);
        }
        queue.new.push_back(new);
        None
    }

    pub(super) fn pop(&self) -> Option<New<S>> {
        let mut queue = self.lock();
        let new = queue.new.pop_front();
        if queue.new.is_empty() {
            // Thousands may have come at once.
            queue.new = VecDeque::new();
        }
        new
    }

    /// The worker ends: so do all that it did not take, and those that come later.
    pub(super) fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        let left = std::mem::take(&mut queue.new);
        drop(queue);
        left.into_iter().for_each(New::give_up);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::BytesMut;
    use mio::net::UnixStream;
    use provod_proto::{Connection, Role};

    use super::{Arrivals, Home, New};
    use crate::config::Config;
    use crate::driver::{Info, Shared};
    use crate::server::Guard;
    use crate::worker::Stream;

    /// Checks that a connection which `end` brings to nobody ends with all that belongs to it.
    fn ends(end: impl FnOnce(&Home<Arc<()>>, New<Arc<()>>)) {
        let config = Config::default();
        let core = Arc::new(config.core());
        let shared = Shared::new(
            |now| Connection::new(Role::Server, core, None, now),
            Info::new("test", "/", None, None, None),
            Arc::new(config),
            Arc::default(),
        );
        let (guard, server) = Guard::alone(&shared);
        let (stream, _peer) = UnixStream::pair().expect("a pair");
        let (stream, state) = (Stream::Unix(stream), Arc::new(()));
        let new = New {
            stream,
            shared: shared.clone(),
            carry: BytesMut::new(),
            state: state.clone(),
            guard,
        };
        end(&Home::new(Arc::new(Arrivals::new(Arc::default()))), new);
        assert!(shared.lock().core.closed().is_some());
        assert_eq!((Arc::strong_count(&state), server.strong_count()), (1, 0));
    }

    #[test]
    fn what_a_worker_did_not_take_ends_with_it() {
        ends(|home, new| {
            home.adopt(new);
            home.arrivals.close();
        });
    }

    #[test]
    fn what_comes_to_a_worker_that_is_gone_ends() {
        ends(|home, new| {
            home.arrivals.close();
            home.adopt(new);
        });
    }
}
