//! One connection from its first byte to an open WebSocket, or to an answer of plain HTTP.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use provod_proto::handshake::{Refusal, RequestHead, RequestReader, Response, validate};
use tokio::time::{Instant, timeout, timeout_at};

use super::admission::{OpenPlace, Ticket};
use super::decide::{Answer, Decided, answer, decide, unavailable};
#[cfg(feature = "http2")]
use super::http2;
use super::request::{Accept, Caller, Request};
use super::{Core, Opening};
use crate::budget::Reservation;
use crate::driver::{Driver, Shared, with_read_buffer};
use crate::error::{Error, Kind, Step};
use crate::runtime::deadline;
use crate::transport::{Transport, write_all};
use crate::websocket::WebSocket;
#[cfg(unix)]
use crate::worker::{Home, New, Stream};

pub(super) struct Open<S> {
    pub(super) shared: Arc<Shared>,
    pub(super) carry: BytesMut,
    pub(super) state: S,
}

/// How an opening handshake ended.
pub(super) enum Outcome<S> {
    Open(Box<Open<S>>),
    /// With an answer of plain HTTP, which is still to be written.
    Answer(Response, Kind),
    /// With nobody to answer.
    Gone(Kind),
    /// Not begun: the peer speaks HTTP/2, of which this came.
    #[cfg(feature = "http2")]
    Http2(BytesMut, Caller),
}

impl<S> From<Answer> for Outcome<S> {
    fn from((response, why): Answer) -> Self {
        Self::Answer(response, why)
    }
}

/// Carries one connection from its first byte until it is open, or has its answer.
pub(super) async fn connection<S: Send + 'static, T: Transport>(
    core: Arc<Core<S>>,
    #[cfg(unix)] home: Option<Arc<Home<S>>>,
    mut io: T,
    caller: Caller,
    ticket: Ticket,
    memory: Option<Reservation>,
) {
    let logged = tracing::enabled!(tracing::Level::DEBUG).then(|| caller.peer.clone());
    // Boxed, so that an open connection does not carry the room that its handshake needed.
    let outcome = Box::pin(handshake(&core.opening(), &mut io, caller, &ticket)).await;
    #[cfg(feature = "http2")]
    let memory = memory.filter(|_| matches!(outcome, Outcome::Http2(..)));
    #[cfg(not(feature = "http2"))]
    drop(memory);
    match outcome {
        Outcome::Open(open) => {
            let Open { shared, carry, state } = *open;
            let guard = Guard::new(ticket, &shared);
            core.close_for_drain(&shared);
            #[cfg(unix)]
            let io = match home {
                None => io,
                Some(home) => match Stream::from_io(io) {
                    Ok(Ok(stream)) => {
                        return home.adopt(New { stream, shared, carry, state, guard });
                    }
                    Ok(Err(error)) => {
                        tracing::debug!(peer = shared.info.peer(), %error, "a socket broke");
                        return shared.abort();
                    }
                    Err(io) => io,
                },
            };
            let handler = core.application.run(WebSocket::new(shared.clone()), state);
            drop(core);
            // In a task of its own, which is no larger than it must be for as long as it lives.
            tokio::spawn(Driver::new(shared, io, carry, Some(handler)).with_guard(guard));
        }
        Outcome::Answer(response, why) => {
            if let Some(peer) = logged {
                let (status, why) = (response.status(), Error::new(why));
                tracing::debug!(%peer, status, %why, "not a WebSocket");
            }
            let linger = core.settings.config.close_timeout.min(MOST_LINGER);
            drop(core);
            // Boxed, as most connections have no use for the room.
            Box::pin(reply(io, &response, linger, &ticket)).await;
        }
        Outcome::Gone(_) => {}
        #[cfg(feature = "http2")]
        Outcome::Http2(first, caller) => {
            let counted = core.admission.listening();
            let peer = http2::Peer::new(caller, counted);
            // Boxed, as it is much larger than what others need.
            Box::pin(http2::serve(core, io, first, peer, ticket, memory)).await;
        }
    }
}

/// What ends with a WebSocket.
pub(crate) struct Guard {
    _life: Option<Box<Life>>,
    _place: OpenPlace,
}

impl Guard {
    /// That of a WebSocket which has just been opened.
    pub(super) fn new(ticket: Ticket, shared: &Arc<Shared>) -> Self {
        let place = ticket.opened(shared);
        let is_logged = tracing::enabled!(tracing::Level::DEBUG);
        Self { _life: is_logged.then(|| Box::new(Life::begin(shared))), _place: place }
    }
}

#[cfg(test)]
impl Guard {
    /// That of a connection of no server; also what lives as long as it.
    pub(crate) fn alone(shared: &Arc<Shared>) -> (Self, std::sync::Weak<impl Sized>) {
        let admission = Arc::new(super::Admission::new(1, 1));
        let place = admission.admit().expect("the first place").opened(shared);
        (Self { _life: None, _place: place }, Arc::downgrade(&admission))
    }
}

/// A WebSocket in the log, from its opening to its end.
struct Life {
    shared: Arc<Shared>,
    begun: Instant,
}

impl Life {
    fn begin(shared: &Arc<Shared>) -> Self {
        let info = &shared.info;
        let (peer, path, subprotocol) = (info.peer(), info.path(), info.subprotocol());
        tracing::debug!(peer, path, subprotocol, "opened");
        Self { shared: shared.clone(), begun: Instant::now() }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        // There is no outcome where the runtime ends first.
        let Some(closed) = self.shared.lock().core.closed().cloned() else { return };
        let (peer, path) = (self.shared.info.peer(), self.shared.info.path());
        let (code, clean, unsent) = (closed.code().as_u16(), closed.is_clean(), closed.unsent);
        let sent = closed.sent.flatten().map(|frame| frame.code.as_u16());
        let seconds = self.begun.elapsed().as_secs_f64();
        tracing::debug!(peer, path, code, sent, clean, unsent, seconds, "ended");
    }
}

/// Tells a connection that the server is full.
pub(super) async fn turn_away<T: Transport>(io: T, ticket: Ticket) {
    let response = unavailable("the server is full, try again later");
    reply(io, &response, Duration::from_secs(1), &ticket).await;
}

pub(super) async fn handshake<S: Send + 'static, T: Transport>(
    core: &Opening<'_, S>,
    io: &mut T,
    caller: Caller,
    ticket: &Ticket,
) -> Outcome<S> {
    let limit = core.settings.handshake_timeout;
    let deadline = deadline(limit);
    let mut reader = RequestReader::new(core.settings.head);
    let evicted = || {
        let drain = !core.phase().is_accepting();
        core.counters.refused(if drain { "draining" } else { "evicted" });
        core.counters.turned_away.add(1);
        let why = "the server is busy, try again later";
        answer(unavailable(why), why).into()
    };
    let read = tokio::select! {
        biased;
        () = ticket.evicted() => return evicted(),
        read = timeout_at(deadline, read_head(core, io, &mut reader)) => read,
    };
    #[cfg(feature = "http2")]
    if let Ok(Ok(Came::Http2(first))) = read {
        return Outcome::Http2(first, caller);
    }
    if !ticket.handshake_done() {
        return evicted();
    }
    let (head, carry) = match read {
        Ok(Ok(Came::Head(head, carry))) => (head, carry),
        // HTTP/2 was dealt with.
        Ok(Ok(_)) => {
            if !reader.is_empty() {
                core.counters.refused("cut");
            }
            return Outcome::Gone(Kind::NoRequest);
        }
        Ok(Err(refusal)) => return core.refuse(&refusal, None).into(),
        Err(_) => {
            core.counters.refused("timeout");
            let late = Kind::Timeout { step: Step::Request, limit, place: String::new() };
            if reader.is_empty() {
                // Browsers open connections ahead of need; nothing was asked, so nothing is
                // answered.
                return Outcome::Gone(late);
            }
            let response = Response::text(408, "the request head took too long");
            return Outcome::Answer(response, late);
        }
    };
    let upgrade = validate(&head);
    match decide(core, head, upgrade, caller, false).await {
        Decided::Accept(request, accept) => open(core, io, &request, accept, carry, deadline).await,
        Decided::Answer(response, why) => Outcome::Answer(response, why),
        Decided::Gone(why) => Outcome::Gone(why),
    }
}

/// Writes the 101 and makes the connection.
async fn open<S: Send + 'static, T: Transport>(
    core: &Opening<'_, S>,
    io: &mut T,
    request: &Request,
    accept: Accept<S>,
    carry: BytesMut,
    deadline: Instant,
) -> Outcome<S> {
    let mut out = Vec::new();
    let agreed = match core.agree(request, accept, |answer| answer.write(&mut out)) {
        Ok(agreed) => agreed,
        Err(refused) => return (*refused).into(),
    };
    // The peer's part of the deadline may have been used up by the application: it gets a moment.
    let deadline = deadline.max(Instant::now() + Duration::from_secs(1));
    let failed = match timeout_at(deadline, write_all(io, &out)).await {
        Ok(Ok(())) => None,
        Ok(Err(e)) => Some(Kind::Transport(e)),
        Err(_) => {
            let (limit, place) = (core.settings.handshake_timeout, String::new());
            Some(Kind::Timeout { step: Step::Request, limit, place })
        }
    };
    if let Some(kind) = failed {
        core.counters.refused("cut");
        return Outcome::Gone(kind);
    }
    let shared = core.establish(request, &agreed);
    Outcome::Open(Box::new(Open { shared, carry, state: agreed.state }))
}

/// What a peer began with.
enum Came {
    /// A head, and what came behind it.
    Head(RequestHead, BytesMut),
    /// The preface of HTTP/2, or its begin, and what came behind it.
    #[cfg(feature = "http2")]
    Http2(BytesMut),
    /// Nothing whole: the stream ended first.
    Nothing,
}

/// Reads until the head is whole.
async fn read_head<S, T: Transport>(
    core: &Opening<'_, S>,
    io: &mut T,
    reader: &mut RequestReader,
) -> Result<Came, Refusal> {
    #[cfg(not(feature = "http2"))]
    let _ = core;
    #[cfg(feature = "http2")]
    let mut preface = core.is_http2.then(http2::Preface::default);
    loop {
        let read = poll_fn(|cx| {
            with_read_buffer(|buf| {
                io.poll_read(cx, buf, HEAD_READ).map(|read| match read {
                    // A read of `n` bytes has put `n` bytes into the buffer.
                    Ok(n @ 1..) => {
                        #[cfg(feature = "http2")]
                        if let Some(first) = preface.as_mut().and_then(|p| p.push(&buf[..n])) {
                            return Ok(Some(Came::Http2(first)));
                        }
                        let push = reader.push(&buf[..n])?;
                        let rest = BytesMut::from(&buf[push.consumed..n]);
                        Ok(push.head.map(|head| Came::Head(head, rest)))
                    }
                    // A connection that breaks here has asked for nothing yet.
                    Ok(0) | Err(_) => Ok(Some(Came::Nothing)),
                })
            })
        })
        .await
        .map_err(|e: provod_proto::handshake::HeadError| Refusal::from(e))?;
        if let Some(came) = read {
            return Ok(came);
        }
    }
}

/// How long a peer may take for 16 KiB of an answer of plain HTTP, and for all of it.
pub(super) const MOST_STALL: Duration = Duration::from_secs(5);
pub(super) const MOST_ANSWER: Duration = Duration::from_secs(300);
/// How long a peer may take to hang up once it has its answer.
pub(super) const MOST_LINGER: Duration = Duration::from_secs(2);
/// Bytes in one read of a head; frames that come with it are carried to the driver.
const HEAD_READ: usize = 16 << 10;

/// Writes all of a long answer to a peer that goes on reading it.
async fn write_steadily<T: Transport>(io: &mut T, bytes: &[u8]) -> io::Result<()> {
    for part in bytes.chunks(HEAD_READ) {
        timeout(MOST_STALL, write_all(io, part)).await??;
    }
    Ok(())
}

/// Writes an answer and lingers. A peer that does not hang up makes room for others when the server
/// is full.
pub(super) async fn reply<T: Transport>(
    mut io: T,
    response: &Response,
    linger: Duration,
    ticket: &Ticket,
) {
    if say(&mut io, response).await {
        part(io, linger, ticket).await;
    }
}

/// Waits until a peer that has its answer hangs up.
pub(super) async fn part<T: Transport>(io: T, linger: Duration, ticket: &Ticket) {
    tokio::select! {
        biased;
        () = hang_up(io, linger) => {}
        () = ticket.linger() => {}
    }
}

/// Writes an answer; whether the peer took it.
pub(super) async fn say<T: Transport>(io: &mut T, response: &Response) -> bool {
    let mut out = Vec::new();
    response.write(&mut out);
    matches!(timeout(MOST_ANSWER, write_steadily(io, &out)).await, Ok(Ok(())))
}

/// Ends our half, and reads until the peer ends its own: a connection closed with input unread is
/// reset, and the peer may never see the answer.
pub(super) async fn hang_up<T: Transport>(mut io: T, linger: Duration) {
    let _ = timeout(linger, async {
        poll_fn(|cx| io.poll_half_close(cx)).await?;
        while poll_fn(|cx| with_read_buffer(|buf| io.poll_read(cx, buf, HEAD_READ))).await? > 0 {}
        Ok::<_, io::Error>(())
    })
    .await;
}
