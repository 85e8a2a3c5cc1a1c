//! The driver: moves bytes between a transport and the core, and messages between the core and the
//! application.
//!
//! A connection is one task. A turn of it reads, lets the handler run, and writes: so all that a
//! handler sends while one batch of input is handled leaves in one write, and a Pong or a Close
//! needs no handler. The [`WebSocket`](crate::WebSocket) and [`Sender`](crate::Sender) are handles
//! to the state that both share, wherever they live.

mod backlog;
#[cfg(unix)]
mod batch;
mod cork;
mod hearing;
mod inbox;
mod info;
mod intake;
mod lock;
mod pieces;
mod shared;
mod state;
mod waiters;

use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use provod_proto::deflate::Pool;
use provod_proto::{CloseCode, Timestamp};
use tokio::time::Sleep;

use crate::BoxError;
use crate::group;
use crate::server::Guard;
use crate::trace;
use crate::transport::Transport;

pub(crate) use backlog::Delivery;
#[cfg(unix)]
pub(crate) use batch::Batch;
pub(crate) use cork::Cork;
pub(crate) use inbox::Piece;
pub(crate) use info::Info;
pub(crate) use lock::{Calls, Locked};
pub(crate) use pieces::Flush;
pub(crate) use shared::{Place, Queue, Shared};
pub(crate) use state::State;
pub(crate) use waiters::{Claim, Slot};

/// The size of a worker's read buffer.
const READ_BUFFER: usize = 64 << 10;
/// A read is never smaller, however little room the inbox has.
const LEAST_READ: usize = 2048;
/// Turns that one poll takes before it lets other tasks run.
const TURNS: usize = 16;

thread_local! {
    /// The compressors and inflaters of this worker.
    static POOL: Pool = Pool::default();
    /// The read buffer belongs to the worker: an idle connection owns none.
    static BUFFER: RefCell<BytesMut> = RefCell::new(BytesMut::new());
}

/// The compressors and inflaters of this worker.
pub(crate) fn pool() -> Pool {
    POOL.with(Clone::clone)
}

/// Runs `f` with the worker's read buffer, empty and with room.
pub(crate) fn with_read_buffer<R>(f: impl FnOnce(&mut BytesMut) -> R) -> R {
    BUFFER.with(|cell| match cell.try_borrow_mut() {
        Ok(mut buf) => {
            buf.clear();
            buf.reserve(READ_BUFFER);
            f(&mut buf)
        }
        // One poll inside another on the same thread: rare, and right all the same.
        Err(_) => f(&mut BytesMut::with_capacity(READ_BUFFER)),
    })
}

/// What the handler of a connection returns.
pub(crate) type HandlerFuture = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

/// The task of one connection.
pub(crate) struct Driver<T> {
    shared: Arc<Shared>,
    /// `None` once the connection is over; the handler may still run.
    io: Option<T>,
    /// Input that waits until the application has taken what came before it.
    carry: BytesMut,
    /// The transport's half-close is under way.
    half_closing: bool,
    /// The transport may hold bytes that it has taken.
    unflushed: bool,
    timer: Option<(Timestamp, Pin<Box<Sleep>>)>,
    handler: Option<HandlerFuture>,
    /// Dropped at the end.
    _guard: Option<Guard>,
}

// A task of each connection has one, beside what the runtime keeps for a task and a socket.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Driver<tokio::net::TcpStream>>() <= 144);

impl<T: Transport> Driver<T> {
    /// A driver that has read `carry` already.
    pub(crate) fn new(
        shared: Arc<Shared>,
        io: T,
        carry: BytesMut,
        handler: Option<HandlerFuture>,
    ) -> Self {
        let (io, half_closing, unflushed, timer) = (Some(io), false, false, None);
        Self { shared, io, carry, half_closing, unflushed, timer, handler, _guard: None }
    }

    /// Drops `guard` when the connection is over and its handler, too.
    pub(crate) fn with_guard(mut self, guard: Guard) -> Self {
        self._guard = Some(guard);
        self
    }

    /// Reads once. Returns whether anything came of it.
    fn read(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(io) = &mut self.io else { return false };
        let now = self.shared.now();
        let mut state = self.shared.lock();
        if !state.core.wants_input() {
            return false;
        }
        if !state.may_read(now) {
            io.hold(cx);
            return false;
        }
        if !self.carry.is_empty() || state.must_feed() {
            let mut carry = std::mem::take(&mut self.carry);
            self.carry = state.feed(&mut carry, now, cx.waker());
            return true;
        }
        if let Some(mut room) = state.core.direct_buffer() {
            let most = room.len();
            let read = io.poll_read(cx, &mut room, most);
            return match read {
                Poll::Pending => false,
                Poll::Ready(Ok(n @ 1..)) => {
                    state.direct(n, now, cx.waker());
                    true
                }
                Poll::Ready(end) => {
                    state.input_over(end.err(), now);
                    true
                }
            };
        }
        let most = state.read_room().clamp(LEAST_READ, READ_BUFFER);
        drop(state);
        with_read_buffer(|buf| match io.poll_read(cx, buf, most) {
            Poll::Pending => false,
            Poll::Ready(Ok(1..)) => {
                self.carry = self.shared.lock().feed(buf, now, cx.waker());
                true
            }
            Poll::Ready(end) => {
                self.shared.lock().input_over(end.err(), now);
                true
            }
        })
    }

    /// Writes what there is, as far as the transport takes it; returns whether there is more to
    /// write at once.
    fn write(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(io) = &mut self.io else {
            self.shared.lock().begin_write();
            return false;
        };
        let now = self.shared.now();
        let mut guard = self.shared.lock();
        let state = &mut *guard;
        let mut written = false;
        let more = state.transmit(now, |slices| {
            let wrote = io.poll_write(cx, slices);
            written |= matches!(wrote, Poll::Ready(Ok(1..)));
            wrote
        });
        self.unflushed |= written;
        if self.unflushed {
            // One that breaks here breaks again at the next read or write.
            self.unflushed = io.poll_flush(cx).is_pending();
        }
        self.half_closing |= state.core.poll_half_close();
        if self.half_closing
            && let Poll::Ready(result) = io.poll_half_close(cx)
        {
            self.half_closing = false;
            if result.is_err() {
                // The peer is gone, which is all that is waited for here.
                state.core.handle_lost(now);
            }
        }
        more
    }

    /// Lets the handler run, and closes as its end demands.
    fn run_handler(&mut self, cx: &mut Context<'_>) {
        let Some(handler) = &mut self.handler else {
            let mut state = self.shared.lock();
            if state.is_abandoned() {
                state.close_with(CloseCode::GOING_AWAY, "", self.shared.now());
            }
            return;
        };
        let result = match catch_unwind(AssertUnwindSafe(|| handler.as_mut().poll(cx))) {
            Ok(Poll::Pending) => {
                let mut state = self.shared.lock();
                if state.is_abandoned() {
                    state.close_with(CloseCode::GOING_AWAY, "", self.shared.now());
                }
                return;
            }
            Ok(Poll::Ready(result)) => Ok(result),
            Err(panic) => Err(panic),
        };
        // What the handler owned, the WebSocket perhaps, is dropped before the outcome is looked
        // at.
        self.drop_handler();
        let mut state = self.shared.lock();
        let code = match &result {
            Ok(Ok(())) if state.is_abandoned() => Some(CloseCode::NORMAL),
            // The WebSocket lives on elsewhere, and the connection with it.
            Ok(Ok(())) => None,
            Ok(Err(_)) => Some(CloseCode::INTERNAL_ERROR),
            Err(_) => {
                state.counters.panics.add(1);
                Some(CloseCode::INTERNAL_ERROR)
            }
        };
        if let Some(code) = code {
            state.close_with(code, "", self.shared.now());
        }
        drop(state);
        self.report(result);
    }

    /// Says how the handler ended, if that is news, and lets go what it ended with. The state must
    /// not be locked: a log may go to this connection, and an error may hold the WebSocket.
    fn report(&self, result: Result<Result<(), BoxError>, Box<dyn Any + Send>>) {
        let peer = self.shared.info.peer();
        let reported = catch_unwind(AssertUnwindSafe(|| match result {
            // The peer's own faults end handlers every day; they are no news of ours.
            Ok(Err(e)) if e.downcast_ref::<crate::Error>().is_none() => {
                tracing::error!(peer, error = %e, "a handler failed, closing with 1011");
            }
            Ok(_) => {}
            Err(panic) => {
                let what = panic_text(&*panic);
                tracing::error!(peer, panic = what, "a handler panicked, closing with 1011");
            }
        }));
        if reported.is_err() {
            tracing::error!(peer, "what a handler ended with panicked while it was dropped");
        }
    }

    /// Drops the handler with all it owns. The state must not be locked: a WebSocket among that
    /// locks it.
    fn drop_handler(&mut self) {
        let handler = self.handler.take();
        if catch_unwind(AssertUnwindSafe(|| drop(handler))).is_err() {
            tracing::error!(
                peer = self.shared.info.peer(),
                "a handler panicked while it was dropped"
            );
        }
    }

    /// Runs the core's timers; returns whether one was due.
    fn run_timers(&mut self, cx: &mut Context<'_>) -> bool {
        let Some((at, _)) = self.shared.lock().core.poll_timeout() else {
            self.timer = None;
            return false;
        };
        let shared = &self.shared;
        let (set, sleep) = self
            .timer
            .get_or_insert_with(|| (at, Box::pin(tokio::time::sleep_until(shared.instant(at)))));
        // An alarm that rings too early costs one turn; setting it anew with each message costs
        // more.
        if at < *set {
            *set = at;
            sleep.as_mut().reset(shared.instant(at));
        }
        if sleep.as_mut().poll(cx).is_pending() {
            return false;
        }
        self.timer = None;
        let now = self.shared.now();
        let mut state = self.shared.lock();
        state.core.handle_timeout(now);
        state.settle();
        true
    }
}

impl<T: Transport> Future for Driver<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.shared.lock().begin_turn(cx.waker());
        for _ in 0..TURNS {
            let timed = this.run_timers(cx);
            let read = this.read(cx);
            this.run_handler(cx);
            let more = this.write(cx);
            let mut state = this.shared.lock();
            let (frames, violation) = (state.core.poll_trace(), state.take_violation());
            if !frames.is_empty() || violation.is_some() {
                // A log may go to this connection.
                drop(state);
                trace::write(frames, this.shared.info.peer());
                if let Some(error) = violation {
                    tracing::debug!(peer = this.shared.info.peer(), %error, "closing");
                }
                state = this.shared.lock();
            }
            state.settle();
            let mut left = Vec::new();
            let mut io = None;
            if state.core.is_done() {
                io = this.io.take();
                this.timer = None;
                this.carry = BytesMut::new();
                left = state.take_groups();
            }
            state.carry(this.carry.capacity());
            let overdrawn = state.account();
            let over = this.io.is_none() && (this.handler.is_none() || state.is_aborted());
            let more = more || state.is_worked_off();
            let idle = !over && !timed && !read && !more && state.end_turn();
            drop(state);
            drop(io);
            group::leave_all(left);
            if let Some(budget) = overdrawn {
                budget.relieve();
            }
            if over {
                this.drop_handler();
                return Poll::Ready(());
            }
            if idle {
                return Poll::Pending;
            }
            if more {
                // Others wait for their turn while this one has so much to do.
                break;
            }
        }
        this.shared.lock().end_turn();
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<T> Drop for Driver<T> {
    /// The runtime may drop the task at any time; nobody may wait for it for ever.
    fn drop(&mut self) {
        let now = self.shared.now();
        let mut state = self.shared.lock();
        state.core.handle_lost(now);
        state.settle();
        let left = state.take_groups();
        state.carry(0);
        state.account();
        drop(state);
        group::leave_all(left);
        // A panic here may meet one that unwinds already, which would abort the process.
        let handler = self.handler.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(handler)));
    }
}

/// What a panic says.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no text)")
}

#[cfg(test)]
mod tests;
