//! The readiness queue of a worker's sockets, inside that of the runtime.
#![allow(unsafe_code)] // One call, without which a queue of our own cannot be awaited.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use mio::event::Source as _;
use mio::net::TcpListener;
use mio::{Events, Token};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::stream::Stream;

/// Sockets that are looked at in one turn.
const EVENTS: usize = 1024;

/// What a socket is ready for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ready {
    pub(super) readable: bool,
    /// The peer's stream has ended or broken: it must be read to the end, whatever a read brings.
    pub(super) ended: bool,
}

#[derive(Debug)]
pub(super) struct Readiness {
    /// The descriptor of the queue can be read from when something in it is ready.
    queue: AsyncFd<mio::Poll>,
    events: Events,
}

impl Readiness {
    pub(super) fn new() -> io::Result<Self> {
        let queue = mio::Poll::new()?;
        // SAFETY: the descriptor must stay open and be this object's own for as long as it is
        // registered. A `mio::Poll` opens its descriptor itself, gives back the same one each time
        // it is asked, and closes it only when it is dropped; the `AsyncFd` owns it and takes it
        // off the runtime's queue before that.
        let queue = unsafe { AsyncFd::register_with_interest(queue, Interest::READABLE) }?;
        Ok(Self { queue, events: Events::with_capacity(EVENTS) })
    }

    /// Registers a socket for edges: it is told once of each change.
    pub(super) fn register(&self, stream: &mut Stream, key: u32) -> io::Result<()> {
        stream.register(self.queue.get_ref().registry(), Token(key as usize))
    }

    /// Registers a listener.
    pub(super) fn register_listener(&self, listener: &mut TcpListener) -> io::Result<()> {
        listener.register(self.queue.get_ref().registry(), Token(0), mio::Interest::READABLE)
    }

    /// Tells of the sockets that have become ready; returns whether there were any. Where there
    /// were none, the task is woken when there are.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, mut tell: impl FnMut(u32, Ready)) -> bool {
        // Until the runtime has found the queue empty: only then does it wake the task again.
        while let Poll::Ready(Ok(mut guard)) = self.queue.poll_read_ready_mut(cx) {
            let Some(told) = take(guard.get_inner_mut(), &mut self.events, &mut tell) else {
                guard.clear_ready();
                return false;
            };
            if told < EVENTS {
                // All was told: what comes from now on is a new edge of the descriptor.
                guard.clear_ready();
            }
            if told > 0 {
                return true;
            }
        }
        // Where that is an error, the runtime shuts down, and drops this task next.
        false
    }

    /// The same, of those that the runtime has not looked for, too: it does not look while a worker
    /// has always something to do, or only after hundreds of turns. The task is not woken.
    pub(super) fn look(&mut self, mut tell: impl FnMut(u32, Ready)) -> bool {
        // What the runtime knows is left as it is: at worst it finds nothing behind an edge.
        take(self.queue.get_mut(), &mut self.events, &mut tell).is_some_and(|told| told > 0)
    }
}

/// Returns how many sockets it has told of; `None` where that went wrong.
fn take(
    queue: &mut mio::Poll,
    events: &mut Events,
    tell: &mut impl FnMut(u32, Ready),
) -> Option<usize> {
    loop {
        match queue.poll(events, Some(Duration::ZERO)) {
            Ok(()) => break,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => {
                tracing::error!(error = %e, "the sockets of a worker cannot be watched");
                return None;
            }
        }
    }
    let mut told = 0;
    for event in events.iter() {
        told += 1;
        let ended = event.is_read_closed() || event.is_error();
        let ready = Ready { readable: event.is_readable() || ended, ended };
        // The tokens are keys, which are 32 bits wide.
        tell(event.token().0 as u32, ready);
    }
    Some(told)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    use std::task::{Context, Wake, Waker};
    use std::time::Duration;

    use super::{Readiness, Stream};

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, SeqCst);
        }
    }

    fn stream() -> (Stream, mio::net::UnixStream) {
        let (ours, theirs) = mio::net::UnixStream::pair().expect("a pair");
        (Stream::Unix(ours), theirs)
    }

    async fn woken(woken: &Woken) -> bool {
        for _ in 0..10_000 {
            if woken.0.swap(false, SeqCst) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        false
    }

    #[tokio::test]
    async fn an_edge_with_nothing_behind_it_does_not_put_the_worker_to_sleep() {
        let mut readiness = Readiness::new().expect("a queue");
        let wakes = Arc::<Woken>::default();
        let waker = Waker::from(wakes.clone());
        let mut cx = Context::from_waker(&waker);
        assert!(!readiness.poll(&mut cx, |_, _| ()));
        let (mut one, _peer) = stream();
        readiness.register(&mut one, 1).expect("room");
        assert!(woken(&wakes).await, "a socket takes output");
        // It goes before it is looked at.
        drop(one);
        assert!(!readiness.poll(&mut cx, |_, _| ()));
        let (mut two, _peer) = stream();
        readiness.register(&mut two, 2).expect("room");
        assert!(woken(&wakes).await, "the next one does, too");
        let mut keys = Vec::new();
        assert!(readiness.poll(&mut cx, |key, _| keys.push(key)));
        assert_eq!(keys, [2]);
    }

    #[tokio::test]
    async fn a_busy_worker_sees_what_the_runtime_has_not_looked_for() {
        let mut readiness = Readiness::new().expect("a queue");
        let wakes = Arc::<Woken>::default();
        let waker = Waker::from(wakes.clone());
        let mut cx = Context::from_waker(&waker);
        assert!(!readiness.poll(&mut cx, |_, _| ()));
        let (mut one, _peer) = stream();
        readiness.register(&mut one, 1).expect("room");
        let mut keys = Vec::new();
        assert!(!readiness.poll(&mut cx, |key, _| keys.push(key)), "the runtime did not run");
        assert!(readiness.look(|key, _| keys.push(key)));
        assert_eq!(keys, [1]);
        assert!(!readiness.look(|key, _| keys.push(key)), "once");
        let (mut two, _peer) = stream();
        readiness.register(&mut two, 2).expect("room");
        assert!(woken(&wakes).await, "it is told of the next one as ever");
        assert!(readiness.poll(&mut cx, |key, _| keys.push(key)));
        assert_eq!(keys, [1, 2]);
    }
}
