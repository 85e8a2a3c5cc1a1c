//! The readiness queue of a worker's sockets, inside that of the runtime.
#![allow(unsafe_code)] // One call, without which a queue of our own cannot be awaited.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

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

    /// Tells of the sockets that have become ready; returns whether there were any. Where there
    /// were none, the task is woken when there are.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, mut tell: impl FnMut(u32, Ready)) -> bool {
        let Self { queue, events } = self;
        let mut guard = match queue.poll_read_ready_mut(cx) {
            Poll::Ready(Ok(guard)) => guard,
            // The runtime shuts down, and drops this task next.
            Poll::Ready(Err(_)) | Poll::Pending => return false,
        };
        match guard.get_inner_mut().poll(events, Some(Duration::ZERO)) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return true,
            Err(e) => {
                tracing::error!(error = %e, "the sockets of a worker cannot be watched");
                guard.clear_ready();
                return false;
            }
        }
        let mut told = 0;
        for event in events.iter() {
            told += 1;
            let ended = event.is_read_closed() || event.is_error();
            // The tokens are keys, which are 32 bits wide.
            tell(event.token().0 as u32, Ready { readable: event.is_readable() || ended, ended });
        }
        if told < EVENTS {
            // All was told: what comes from now on is a new edge of the descriptor.
            guard.clear_ready();
        }
        told > 0
    }
}
