//! A worker: drives plain sockets for a [`Handler`], many in one task.
//!
//! All sockets are registered with a readiness queue of the worker's own, whose descriptor the
//! runtime watches. A turn of the worker reads every socket that is ready, once, into one buffer,
//! calls the handler with the messages where they lie, and writes what it said; then it writes to
//! every other connection that was touched meanwhile, by the handler or from elsewhere, once. An
//! idle connection is an entry in a table and the state that it shares with its handles: no task,
//! no buffer, no timer.

mod alarms;
mod arrivals;
mod entry;
mod fanout;
mod held;
mod late;
mod mailbox;
mod readiness;
mod stream;
mod table;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use provod_proto::Buffers;
use tokio::time::{Instant, Sleep};

use crate::driver::{Batch, panic_text};
use crate::handler::Handler;

use alarms::Alarms;
use arrivals::Arrivals;
use entry::Entry;
use fanout::FanOut;
use readiness::Readiness;
use table::Table;

pub(crate) use arrivals::{Home, New};
pub(crate) use late::{LateTcp, Porch};
pub(crate) use mailbox::Mailbox;
pub(crate) use stream::Stream;

/// The size of a worker's read buffer.
const READ_BUFFER: usize = 256 << 10;
/// What is kept of the heap between turns.
const KEPT_HEAP: usize = 4 << 20;
/// How long buffers are kept that nobody needs, at least; at most twice.
const KEEP_BUFFERS: Duration = Duration::from_secs(1);
/// The key of no connection: an alarm for it does nothing but wake the worker.
const NOBODY: u32 = u32::MAX;
/// Turns that one poll takes before it lets other tasks run, and for how long it begins new ones:
/// letting the runtime look for them is a system call.
const TURNS: usize = 16;
const TURNS_TIME: Duration = Duration::from_millis(1);

/// What a worker's turn works with, beside the connections themselves.
struct Desk<H> {
    handler: Arc<H>,
    mailbox: Arc<Mailbox>,
    alarms: Alarms,
    now: Instant,
    /// The connection that is being handled: what a panic has hurt.
    at: Option<u32>,
    /// Connections that were not read to the end.
    again: Vec<u32>,
    batch: Batch,
    /// Connections that are over.
    over: Vec<u32>,
}

/// What is kept of long messages' buffers, and when somebody looks at it.
#[derive(Default)]
struct Keep {
    buffers: Option<Arc<Buffers>>,
    next: Option<Instant>,
}

/// The task that drives the connections of one thread.
pub(crate) struct Worker<H: Handler<S>, S: Send + 'static> {
    readiness: Readiness,
    arrivals: Arc<Arrivals<S>>,
    entries: Table<Entry<H::Peer>>,
    desk: Desk<H>,
    buffer: Vec<u8>,
    touched: Vec<u32>,
    fan_out: FanOut,
    keep: Keep,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl<H: Handler<S>, S: Send + 'static> Worker<H, S> {
    /// A worker for the runtime that this is called in.
    pub(crate) fn new(
        handler: Arc<H>,
        buffers: Option<Arc<Buffers>>,
    ) -> std::io::Result<(Self, Home<S>)> {
        keep_heap();
        buffers.iter().for_each(|buffers| buffers.tend());
        let mailbox = Arc::<Mailbox>::default();
        let arrivals = Arc::new(Arrivals::new(mailbox.clone()));
        let now = Instant::now();
        let desk = Desk {
            handler,
            mailbox,
            alarms: Alarms::new(now),
            now,
            at: None,
            again: Vec::new(),
            batch: Batch::default(),
            over: Vec::new(),
        };
        let worker = Self {
            readiness: Readiness::new()?,
            arrivals: arrivals.clone(),
            entries: Table::default(),
            desk,
            buffer: vec![0; READ_BUFFER],
            touched: Vec::new(),
            fan_out: FanOut::default(),
            keep: Keep { buffers, next: None },
            sleep: None,
        };
        Ok((worker, Home::new(arrivals)))
    }

    /// Handles what the sockets are ready for; returns whether there was anything.
    fn take_events(&mut self, cx: &mut Context<'_>) -> bool {
        let Self { readiness, entries, desk, buffer, .. } = self;
        let before = std::mem::take(&mut desk.again);
        let tell = |key: u32, ready| {
            if let Some(entry) = entries.get_mut(key) {
                desk.at = Some(key);
                entry.ready(desk, key, ready, buffer);
            }
        };
        let ready = if before.is_empty() { readiness.poll(cx, tell) } else { readiness.look(tell) };
        for key in &before {
            if let Some(entry) = entries.get_mut(*key) {
                desk.at = Some(*key);
                entry.read_on(desk, *key, buffer);
            }
        }
        desk.at = None;
        ready || !before.is_empty()
    }

    /// Looks at the connections that others have touched, and takes new ones.
    fn take_mail(&mut self, cx: &mut Context<'_>) -> bool {
        self.touched.clear();
        let parts = &mut self.fan_out.parts;
        let mut any = self.desk.mailbox.take(&mut self.touched, parts, cx.waker());
        // One at a time: those behind one that panics are not lost. Not more than there are now.
        for _ in 0..self.arrivals.len() {
            let Some(new) = self.arrivals.pop() else { break };
            self.adopt(new);
        }
        for key in &self.touched {
            if let Some(entry) = self.entries.get_mut(*key) {
                self.desk.at = Some(*key);
                entry.touched(&mut self.desk, *key);
            }
        }
        self.desk.at = None;
        any |= self.fan_out.turn(&mut self.entries, &mut self.desk);
        any
    }

    fn adopt(&mut self, new: New<S>) {
        let Some(key) = self.entries.next_key() else { return new.give_up() };
        let New { mut stream, shared, carry, state, guard } = new;
        let registered = self.readiness.register(&mut stream, key);
        let Some(entry) = self.entries.insert(Entry::new(stream, shared, guard)) else { return };
        self.desk.at = Some(key);
        entry.open(&mut self.desk, key, state, registered.err(), carry);
    }

    fn ring_alarms(&mut self, cx: &mut Context<'_>) -> bool {
        let mut rang = false;
        while let Some((tick, key)) = self.desk.alarms.ring(self.desk.now) {
            rang = true;
            if let Some(entry) = self.entries.get_mut(key) {
                self.desk.at = Some(key);
                entry.alarm(&mut self.desk, key, tick);
            }
        }
        self.desk.at = None;
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

    /// Lets go the buffers that were not needed for a while.
    fn tend_buffers(&mut self) {
        let (Some(buffers), now) = (&self.keep.buffers, self.desk.now) else { return };
        let left = match self.keep.next {
            Some(next) if now < next => return,
            Some(_) => buffers.trim() > 0,
            None => !buffers.is_empty(),
        };
        self.keep.next = left.then(|| now + KEEP_BUFFERS);
        if let Some(next) = self.keep.next {
            self.desk.alarms.set(self.desk.alarms.tick(next), NOBODY);
        }
    }

    /// Lets go the connections that are over.
    fn sweep(&mut self) {
        while let Some(key) = self.desk.over.pop() {
            self.desk.at = Some(key);
            self.entries.remove(key);
        }
        self.desk.at = None;
    }

    /// Takes turns until there is nothing to do, or others should run.
    fn work(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let begun = Instant::now();
        for _ in 0..TURNS {
            self.desk.now = Instant::now();
            if self.desk.now.duration_since(begun) > TURNS_TIME {
                break;
            }
            let mut busy = self.take_events(cx);
            busy |= self.ring_alarms(cx);
            busy |= self.take_mail(cx);
            self.sweep();
            self.tend_buffers();
            if !busy {
                // In this order: the last one may have come while the mail was read.
                if self.entries.is_empty()
                    && self.desk.mailbox.is_deserted()
                    && self.arrivals.is_empty()
                {
                    return Poll::Ready(());
                }
                return Poll::Pending;
            }
        }
        // A task that wakes itself runs dozens of times before the runtime looks at its sockets, the
        // listener's among them. One that yields runs again once it has.
        let _ = pin!(tokio::task::yield_now()).poll(cx);
        Poll::Pending
    }

    /// Something panicked that is not the handler, which is caught where it is called: a waker of
    /// the application, what takes its logs, or a mistake of ours. The connection that was being
    /// handled may be half changed and ends; where it was none of them, all do. The worker goes on:
    /// without it, connections would be brought here that nobody looks at.
    fn recover(&mut self, panic: &(dyn std::any::Any + Send)) {
        let hurt = self.desk.at.take();
        // The log may be what panicked.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            let what = panic_text(panic);
            let alone = hurt.is_some();
            tracing::error!(panic = what, alone, "a worker panicked, dropping what it was at");
        }));
        match hurt {
            Some(key) => {
                if let Some(entry) = self.entries.get_mut(key) {
                    entry.shared.lock().counters.panics.add(1);
                }
                self.give_up(key);
            }
            None => self.give_up_all(),
        }
        // Changes are told once, and some may have been told and not handled.
        self.desk.again.clear();
        self.desk.again.extend(self.entries.keys());
    }

    fn give_up(&mut self, key: u32) {
        self.desk.over.retain(|over| *over != key);
        let Some(mut entry) = self.entries.remove(key) else { return };
        // Nobody may wait for a connection for ever, whatever panics.
        // It goes on where it was when a waker panicked, which is called only once.
        for _ in 0..2 {
            if catch_unwind(AssertUnwindSafe(|| entry.drop_with(&self.desk))).is_ok() {
                break;
            }
        }
        let _ = catch_unwind(AssertUnwindSafe(|| drop(entry)));
    }

    fn give_up_all(&mut self) {
        self.entries.keys().into_iter().for_each(|key| self.give_up(key));
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
        catch_unwind(AssertUnwindSafe(|| this.work(cx))).unwrap_or_else(|panic| {
            this.recover(&*panic);
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    }
}

impl<H: Handler<S>, S: Send + 'static> Drop for Worker<H, S> {
    /// The runtime may drop the task at any time; nobody may wait for a connection for ever.
    fn drop(&mut self) {
        self.give_up_all();
        self.desk.mailbox.leave();
        self.arrivals.close();
    }
}
