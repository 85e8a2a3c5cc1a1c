//! The handshake of TLS (RFC 8446 section 4), as a part of the opening handshake.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use bytes::BytesMut;
use provod_proto::handshake::Response;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::super::Core;
use super::super::admission::Ticket;
use super::super::open::{self, MOST_LINGER, connection, part, reply};
use super::super::request::Caller;
use super::Turns;
use crate::budget::Reservation;
use crate::tls::{Secure, Terms};
use crate::transport::Transport;

/// How a handshake ended.
enum Outcome<T> {
    Done(Secure<T>),
    /// The client speaks plain HTTP, of which a byte was read.
    Plain(T),
    /// The client hung up before it said anything, as browsers and health checks do.
    Silent,
    /// The client was told why.
    Failed(io::Error, T),
}

/// Carries a connection through the handshake, and on.
pub(super) async fn secure<S: Send + 'static, T: Transport>(
    core: Arc<Core<S>>,
    io: T,
    mut caller: Caller,
    ticket: Ticket,
    memory: Option<Reservation>,
    turns: Turns,
) {
    let Some(terms) = &core.tls else { return };
    let peer = caller.peer.clone();
    let outcome = tokio::select! {
        biased;
        () = ticket.evicted() => return core.evict(&peer),
        // Boxed, so that what follows does not carry the room that this needed.
        outcome = timeout(terms.limit, Box::pin(handshake(terms, io, &turns.permits))) => outcome,
    };
    let linger = core.settings.config.close_timeout.min(MOST_LINGER);
    let (error, left) = match outcome {
        Ok(Outcome::Done(stream)) => {
            caller.certificate = stream.certificate().map(|shown| Arc::from(shown.as_ref()));
            let (version, suite, protocol) = stream.agreed();
            tracing::debug!(%peer, version, suite, protocol, "TLS is agreed");
            return agreed(core, stream, caller, ticket, memory).await;
        }
        Ok(Outcome::Silent) => return,
        Ok(Outcome::Plain(io)) => {
            core.counters.refused("tls");
            tracing::debug!(%peer, "it speaks plain HTTP on a TLS port");
            let line = "this port speaks TLS: the address begins with https:// or wss://";
            let _ = ticket.handshake_done();
            return reply(io, &Response::text(400, line), linger, &ticket).await;
        }
        Ok(Outcome::Failed(error, io)) => (error.to_string(), Some(io)),
        Err(_) => (format!("it took longer than {:?}", terms.limit), None),
    };
    core.counters.refused("tls");
    tracing::debug!(%peer, error, "the TLS handshake failed");
    let _ = ticket.handshake_done();
    drop(core);
    if let Some(io) = left {
        part(io, linger, &ticket).await;
    }
}

/// Tells a connection over TLS that there is no room for it, where TLS is agreed in time.
pub(super) async fn turn_away<S, T: Transport>(
    core: Arc<Core<S>>,
    io: T,
    ticket: Ticket,
    turns: Turns,
    until: Instant,
) {
    let Some(terms) = &core.tls else { return };
    let outcome = timeout_at(until, Box::pin(handshake(terms, io, &turns.permits))).await;
    drop(core);
    match outcome {
        Ok(Outcome::Done(stream)) => open::turn_away(stream, ticket).await,
        Ok(Outcome::Plain(io)) => open::turn_away(io, ticket).await,
        _ => {}
    }
}

/// Goes on with a stream on which TLS is agreed: here, by what ALPN says (RFC 7301), ends what all
/// versions of HTTP share.
async fn agreed<S: Send + 'static, T: Transport>(
    core: Arc<Core<S>>,
    io: Secure<T>,
    caller: Caller,
    ticket: Ticket,
    memory: Option<Reservation>,
) {
    #[cfg(unix)]
    connection(core, None, io, caller, ticket, memory).await;
    #[cfg(not(unix))]
    connection(core, io, caller, ticket, memory).await;
}

async fn handshake<T: Transport>(terms: &Terms, mut io: T, turns: &Semaphore) -> Outcome<T> {
    let mut first = BytesMut::with_capacity(1);
    match poll_fn(|cx| io.poll_read(cx, &mut first, 1)).await {
        Ok(1..) => {}
        Ok(0) | Err(_) => return Outcome::Silent,
    }
    // A method of HTTP, or the end of a line before it. A handshake begins with 22.
    if first.first().is_some_and(|b| b.is_ascii_uppercase() || matches!(b, b'\r' | b'\n')) {
        return Outcome::Plain(io);
    }
    let config = terms.config().await;
    let mut stream = match Secure::new(io, first, config) {
        Ok(stream) => stream,
        Err((error, io)) => return Outcome::Failed(error, io),
    };
    match in_turns(poll_fn(|cx| stream.poll_handshake(cx)), turns).await {
        Ok(()) => Outcome::Done(stream),
        Err(error) => Outcome::Failed(error, stream.into_inner()),
    }
}

/// Polls `future` only in turns, and lets all others run after each: whatever comes at once, between
/// two of its polls everybody who can go on does.
async fn in_turns<F: Future + Unpin>(mut future: F, turns: &Semaphore) -> F::Output {
    let bell = Arc::new(Bell(Notify::new()));
    let waker = Waker::from(bell.clone());
    loop {
        // It is never closed.
        let turn = turns.acquire().await;
        let polled = Pin::new(&mut future).poll(&mut Context::from_waker(&waker));
        // The turn is kept meanwhile, so that the next one comes after them.
        tokio::task::yield_now().await;
        drop(turn);
        if let Poll::Ready(output) = polled {
            return output;
        }
        bell.0.notified().await;
    }
}

/// Remembers that it was rung.
struct Bell(Notify);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}
