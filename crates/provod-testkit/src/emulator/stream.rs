//! Two [`Link`]s as a stream of tokio.

use std::fmt;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use provod_proto::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::operations::{Operation, Operations, Verdict};
use super::{Faults, Link};

/// Two connected streams. What the first writes reaches the second with the faults `a_to_b`, and
/// the other way with `b_to_a`.
///
/// Delays need a tokio runtime with time; without them any executor will do.
#[must_use]
pub fn duplex(a_to_b: Faults, b_to_a: Faults) -> (Stream, Stream) {
    let operations = [&a_to_b, &b_to_a].map(|faults| Operations::new(faults.seed));
    let wire = Arc::new(Mutex::new(Wire {
        start: Instant::now(),
        links: [Link::new(a_to_b), Link::new(b_to_a)],
        readers: [None, None],
        writers: [None, None],
        operations,
    }));
    let end = |end| Stream { at: End { wire: Arc::clone(&wire), end }, sleep: None };
    (end(0), end(1))
}

/// The state of a pair of streams. `links[e]` is what end `e` writes.
#[derive(Debug)]
struct Wire {
    start: Instant,
    links: [Link; 2],
    readers: [Option<Waker>; 2],
    writers: [Option<Waker>; 2],
    operations: [Operations; 2],
}

impl Wire {
    fn now(&self) -> Timestamp {
        Timestamp::from_epoch(Instant::now().saturating_duration_since(self.start))
    }

    /// End `end` did something: the other has a look. What broke one direction breaks both.
    fn spread(&mut self, end: usize) -> Wakers {
        let mut wakers = [self.readers[1 - end].take(), self.writers[1 - end].take(), None, None];
        if let Some(kind) = self.links.iter().find_map(Link::broken) {
            let now = self.now();
            self.links.iter_mut().for_each(|link| link.cut(kind, now));
            wakers[2] = self.readers[end].take();
            wakers[3] = self.writers[end].take();
        }
        wakers
    }
}

/// Tasks to wake once the lock is released: what a waker does is not ours.
type Wakers = [Option<Waker>; 4];

/// One end of two.
#[derive(Debug, Clone)]
struct End {
    wire: Arc<Mutex<Wire>>,
    /// 0 or 1.
    end: usize,
}

impl End {
    fn lock(&self) -> MutexGuard<'_, Wire> {
        self.wire.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one poll of an operation.
    fn operate<T>(
        &self,
        operation: Operation,
        cx: &mut Context<'_>,
        act: impl FnOnce(&mut Wire, Timestamp) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        let mut wire = self.lock();
        match wire.operations[self.end].poll(operation) {
            Verdict::Go => {}
            Verdict::Fail(kind) => return Poll::Ready(Err(kind.into())),
            Verdict::ComeAgain => {
                drop(wire);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        let now = wire.now();
        let result = act(&mut wire, now);
        if result.as_ref().is_err_and(|e| e.kind() == ErrorKind::WouldBlock) {
            let slot = match operation {
                Operation::Read => &mut wire.readers[self.end],
                Operation::Write | Operation::Shutdown => &mut wire.writers[self.end],
            };
            let before = slot.replace(cx.waker().clone());
            drop(wire);
            drop(before);
            return Poll::Pending;
        }
        wire.operations[self.end].done(operation);
        let wakers = wire.spread(self.end);
        drop(wire);
        wakers.into_iter().flatten().for_each(Waker::wake);
        Poll::Ready(result)
    }

    /// Does something to the wire from outside, which concerns both ends.
    fn change(&self, act: impl FnOnce(&mut Wire, Timestamp)) {
        let mut wire = self.lock();
        let now = wire.now();
        act(&mut wire, now);
        let wakers = [wire.spread(self.end), wire.spread(1 - self.end)];
        drop(wire);
        wakers.into_iter().flatten().flatten().for_each(Waker::wake);
    }
}

/// One end of a [`duplex`]. Dropping it ends the stream for the other end, whose writes then fail.
pub struct Stream {
    at: End,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Stream {
    /// A handle that stays with the test.
    #[must_use]
    pub fn control(&self) -> Control {
        Control { at: self.at.clone() }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wire = self.at.lock();
        let (ours, theirs) = (&wire.links[self.at.end], &wire.links[1 - self.at.end]);
        f.debug_struct("Stream").field("writes", ours).field("reads", theirs).finish()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let end = this.at.end;
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            let mut arrival = None;
            let read = this.at.operate(Operation::Read, cx, |wire, now| {
                let read = wire.links[1 - end].read(buf.initialize_unfilled(), now);
                arrival =
                    wire.links[1 - end].poll_timeout().map(|at| wire.start + at.since_epoch());
                read
            });
            if let Poll::Ready(result) = read {
                self.sleep = None;
                return Poll::Ready(result.map(|n| buf.advance(n)));
            }
            let Some(at) = arrival else { return Poll::Pending };
            let sleep = this.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
            if sleep.deadline() != at {
                sleep.as_mut().reset(at);
            }
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let end = self.at.end;
        self.at.operate(Operation::Write, cx, |wire, now| {
            let mut written = 0;
            for slice in slices.iter().filter(|slice| !slice.is_empty()) {
                match wire.links[end].write(slice, now) {
                    Ok(n) => {
                        written += n;
                        if n < slice.len() {
                            break;
                        }
                    }
                    Err(_) if written > 0 => break,
                    Err(e) => return Err(e),
                }
            }
            Ok(written)
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let end = self.at.end;
        self.at.operate(Operation::Shutdown, cx, |wire, now| {
            wire.links[end].finish(now);
            Ok(())
        })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let end = self.at.end;
        self.at.change(|wire, now| {
            wire.links[end].finish(now);
            wire.links[1 - end].abandon();
        });
    }
}

/// What a test does to one end of a [`duplex`] from outside, while a program owns the [`Stream`].
#[derive(Debug, Clone)]
pub struct Control {
    at: End,
}

impl Control {
    /// How many reads, writes and shutdowns this end has begun. One that waits and is polled again
    /// is one; flushes, which do nothing here, are none.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.at.lock().operations[self.at.end].begun()
    }

    /// Makes the `n`-th of these, counted from 1, fail with this error at once, and all later ones
    /// of its kind; those of the other kinds go on.
    pub fn fail_operation(&self, n: u64, kind: ErrorKind) {
        self.at.lock().operations[self.at.end].fail(n, kind);
    }

    /// Makes one poll in `one_in` (about; 1 is every other) say "pending" and wake its task: what
    /// a poll leaves behind must be right. 0, the default, is never.
    pub fn pend(&self, one_in: u64) {
        self.at.lock().operations[self.at.end].pend(one_in);
    }

    /// From now on nothing that this end writes arrives.
    pub fn stall(&self) {
        self.change(|link, _| link.stall());
    }

    /// Ends a stall of what this end writes, be it of [`stall`](Self::stall) or of its
    /// [`Faults`].
    pub fn release(&self) {
        self.change(|link, _| link.release());
    }

    /// Breaks the connection, both ways: what has arrived can still be read.
    pub fn cut(&self, kind: ErrorKind) {
        self.change(|link, now| link.cut(kind, now));
    }

    /// Ends what this end writes, behind all that it has written; later writes fail.
    pub fn half_close(&self) {
        self.change(Link::finish);
    }

    fn change(&self, act: impl FnOnce(&mut Link, Timestamp)) {
        let end = self.at.end;
        self.at.change(|wire, now| act(&mut wire.links[end], now));
    }
}
