//! A worker: drives plain sockets for a [`Handler`], many in one task.
//!
//! All sockets are registered with a readiness queue of the worker's own, whose descriptor the
//! runtime watches. A turn of the worker reads every socket that is ready, once, into one buffer,
//! calls the handler with the messages where they lie, and writes what it said; then it writes to
//! every other connection that was touched meanwhile, by the handler or from elsewhere, once. An
//! idle connection is an entry in a table and the state that it shares with its handles: no task,
//! no buffer, no timer.

mod alarms;
mod entry;
mod fanout;
mod held;
mod mailbox;
mod readiness;
mod stream;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::BytesMut;
use slab::Slab;
use tokio::time::{Instant, Sleep};

use crate::driver::{Batch, Shared};
use crate::handler::Handler;
use crate::server::Guard;

use alarms::Alarms;
use entry::Entry;
use fanout::FanOut;
use readiness::Readiness;

pub(crate) use mailbox::Mailbox;
pub(crate) use stream::Stream;

/// The size of a worker's read buffer.
const READ_BUFFER: usize = 256 << 10;
/// What is kept of the heap between turns.
const KEPT_HEAP: usize = 4 << 20;
/// Turns that one poll takes before it lets other tasks run.
const TURNS: usize = 4;

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

/// The way to a worker for connections. The worker ends once this is dropped and no connection is
/// left.
pub(crate) struct Home<S> {
    shared: Arc<Arrivals<S>>,
}

struct Arrivals<S> {
    mailbox: Arc<Mailbox>,
    new: Mutex<Vec<New<S>>>,
}

impl<S> Arrivals<S> {
    fn is_empty(&self) -> bool {
        self.new.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn take(&self) -> Vec<New<S>> {
        std::mem::take(&mut *self.new.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<S> Home<S> {
    /// Gives the worker a connection.
    pub(crate) fn adopt(&self, new: New<S>) {
        self.shared.new.lock().unwrap_or_else(PoisonError::into_inner).push(new);
        self.shared.mailbox.tell();
    }
}

impl<S> Drop for Home<S> {
    fn drop(&mut self) {
        self.shared.mailbox.desert();
    }
}

/// What a worker's turn works with, beside the connections themselves.
struct Desk<H> {
    handler: Arc<H>,
    mailbox: Arc<Mailbox>,
    alarms: Alarms,
    now: Instant,
    /// Connections that were not read to the end.
    again: Vec<u32>,
    batch: Batch,
    /// Connections that are over.
    over: Vec<u32>,
}

/// The task that drives the connections of one thread.
pub(crate) struct Worker<H: Handler<S>, S: Send + 'static> {
    readiness: Readiness,
    arrivals: Arc<Arrivals<S>>,
    entries: Slab<Entry<H::Peer>>,
    desk: Desk<H>,
    buffer: Vec<u8>,
    touched: Vec<u32>,
    fan_out: FanOut,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl<H: Handler<S>, S: Send + 'static> Worker<H, S> {
    /// A worker for the runtime that this is called in.
    pub(crate) fn new(handler: Arc<H>) -> std::io::Result<(Self, Home<S>)> {
        keep_heap();
        let mailbox = Arc::<Mailbox>::default();
        let arrivals = Arc::new(Arrivals { mailbox: mailbox.clone(), new: Mutex::default() });
        let now = Instant::now();
        let desk = Desk {
            handler,
            mailbox,
            alarms: Alarms::new(now),
            now,
            again: Vec::new(),
            batch: Batch::default(),
            over: Vec::new(),
        };
        let worker = Self {
            readiness: Readiness::new()?,
            arrivals: arrivals.clone(),
            entries: Slab::new(),
            desk,
            buffer: vec![0; READ_BUFFER],
            touched: Vec::new(),
            fan_out: FanOut::default(),
            sleep: None,
        };
        Ok((worker, Home { shared: arrivals }))
    }

    /// Handles what the sockets are ready for; returns whether there was anything.
    fn take_events(&mut self, cx: &mut Context<'_>) -> bool {
        let Self { readiness, entries, desk, buffer, .. } = self;
        let before = std::mem::take(&mut desk.again);
        let ready = readiness.poll(cx, |key, ready| {
            if let Some(entry) = entries.get_mut(key as usize) {
                entry.ready(desk, key, ready, buffer);
            }
        });
        for key in &before {
            if let Some(entry) = entries.get_mut(*key as usize) {
                entry.read(desk, *key, buffer);
            }
        }
        ready || !before.is_empty()
    }

    /// Looks at the connections that others have touched, and takes new ones.
    fn take_mail(&mut self, cx: &mut Context<'_>) -> bool {
        self.touched.clear();
        let parts = &mut self.fan_out.parts;
        let mut any = self.desk.mailbox.take(&mut self.touched, parts, cx.waker());
        for new in self.arrivals.take() {
            self.adopt(new);
        }
        for key in &self.touched {
            if let Some(entry) = self.entries.get_mut(*key as usize) {
                entry.touched(&mut self.desk, *key);
            }
        }
        any |= self.fan_out.turn(&mut self.entries, &mut self.desk);
        any
    }

    fn adopt(&mut self, new: New<S>) {
        let slot = self.entries.vacant_entry();
        let Ok(key) = u32::try_from(slot.key()) else { return };
        let New { mut stream, shared, carry, state, guard } = new;
        let registered = self.readiness.register(&mut stream, key);
        let entry = slot.insert(Entry::new(stream, shared, guard));
        entry.open(&mut self.desk, key, state, registered.err(), carry);
    }

    fn ring_alarms(&mut self, cx: &mut Context<'_>) -> bool {
        let mut rang = false;
        while let Some((tick, keys)) = self.desk.alarms.ring(self.desk.now) {
            rang = true;
            for key in keys {
                if let Some(entry) = self.entries.get_mut(key as usize) {
                    entry.alarm(&mut self.desk, key, tick);
                }
            }
        }
        let Some(next) = self.desk.alarms.next() else {
            self.sleep = None;
            return rang;
        };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(next)));
        if sleep.deadline() != next {
            sleep.as_mut().reset(next);
        }
        rang || sleep.as_mut().poll(cx).is_ready()
    }

    /// Lets go the connections that are over.
    fn sweep(&mut self) {
        while let Some(key) = self.desk.over.pop() {
            self.entries.try_remove(key as usize);
        }
    }
}

/// A turn may queue a little on each of thousands of connections and free it all a moment later.
/// The allocator of glibc would give that memory back to the system each time, and take it again
/// page by page: a third of the cost of a fan-out to a thousand. It keeps twice the size of the
/// largest block that was ever freed after it had been mapped by itself, so one such block is.
fn keep_heap() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(KEPT_HEAP / 2)));
}

impl<H: Handler<S>, S: Send + 'static> Unpin for Worker<H, S> {}

impl<H: Handler<S>, S: Send + 'static> Future for Worker<H, S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        for _ in 0..TURNS {
            this.desk.now = Instant::now();
            let mut busy = this.take_events(cx);
            busy |= this.ring_alarms(cx);
            busy |= this.take_mail(cx);
            this.sweep();
            if !busy {
                // In this order: the last one may have come while the mail was read.
                if this.entries.is_empty()
                    && this.desk.mailbox.is_deserted()
                    && this.arrivals.is_empty()
                {
                    return Poll::Ready(());
                }
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<H: Handler<S>, S: Send + 'static> Drop for Worker<H, S> {
    /// The runtime may drop the task at any time; nobody may wait for a connection for ever.
    fn drop(&mut self) {
        for (_, entry) in &mut self.entries {
            entry.drop_with(&self.desk);
        }
        self.desk.mailbox.leave();
    }
}
