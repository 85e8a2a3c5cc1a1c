//! One connection from its first byte to an open WebSocket, or to an answer of plain HTTP.

use std::any::Any;
use std::borrow::Cow;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use provod_proto::handshake::{
    Refusal, RefusalKind, RequestHead, RequestReader, Response, host, validate,
};
use tokio::time::{Instant, timeout, timeout_at};

use super::admission::{OpenPlace, Ticket};
use super::agree::{self, agree};
use super::request::{Accept, Request};
use super::{Core, Opening, Phase};
use crate::budget::Reservation;
use crate::driver::{Driver, Shared, panic_text, with_read_buffer};
use crate::error::{Error, Kind, Step};
use crate::runtime::deadline;
use crate::transport::{Transport, write_all};
use crate::websocket::WebSocket;
#[cfg(unix)]
use crate::worker::{Home, New, Stream};

/// Carries one connection from its first byte until it is open, or has its answer.
pub(super) async fn connection<S: Send + 'static, T: Transport>(
    core: Arc<Core<S>>,
    #[cfg(unix)] home: Option<Arc<Home<S>>>,
    mut io: T,
    peer: Box<str>,
    ticket: Ticket,
    memory: Option<Reservation>,
) {
    let logged = tracing::enabled!(tracing::Level::DEBUG).then(|| peer.clone());
    // Boxed, so that an open connection does not carry the room that its handshake needed.
    let outcome = Box::pin(handshake(&core.opening(), &mut io, peer, &ticket)).await;
    drop(memory);
    match outcome {
        Outcome::Open(open) => {
            let Open { shared, carry, state } = *open;
            let guard = Guard::open(&shared, ticket, || core.phase());
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
            answer(io, &response, linger, &ticket).await;
        }
        Outcome::Gone(_) => {}
    }
}

/// What ends with a WebSocket.
pub(crate) struct Guard {
    _life: Option<Box<Life>>,
    _place: OpenPlace,
}

impl Guard {
    /// A WebSocket is open. `phase` is that of its server once the list of what is open has it.
    pub(super) fn open(
        shared: &Arc<Shared>,
        ticket: Ticket,
        phase: impl FnOnce() -> Phase,
    ) -> Self {
        let place = ticket.opened(shared);
        phase().greet(shared);
        let logged = tracing::enabled!(tracing::Level::DEBUG);
        Self { _life: logged.then(|| Box::new(Life::begin(shared))), _place: place }
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
    answer(io, &response, Duration::from_secs(1), &ticket).await;
}

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
}

impl<S> Outcome<S> {
    fn answer(response: Response, why: impl Into<Cow<'static, str>>) -> Self {
        let why = Kind::TurnedAway { status: response.status(), why: why.into() };
        Self::Answer(response, why)
    }
}

pub(super) async fn handshake<S: Send + 'static, T: Transport>(
    core: &Opening<'_, S>,
    io: &mut T,
    peer: Box<str>,
    ticket: &Ticket,
) -> Outcome<S> {
    let limit = core.settings.handshake_timeout;
    let deadline = deadline(limit);
    let mut reader = RequestReader::new(core.settings.head);
    let read = tokio::select! {
        biased;
        () = ticket.evicted() => {
            let drain = !core.phase().is_accepting();
            core.counters.refused(if drain { "draining" } else { "evicted" });
            core.counters.turned_away.add(1);
            let why = "the server is busy, try again later";
            return Outcome::answer(unavailable(why), why);
        }
        read = timeout_at(deadline, read_head(io, &mut reader)) => read,
    };
    ticket.handshake_done();
    let (head, carry) = match read {
        Ok(Ok(Some(read))) => read,
        Ok(Ok(None)) => {
            if !reader.is_empty() {
                core.counters.refused("cut");
            }
            return Outcome::Gone(Kind::NoRequest);
        }
        Ok(Err(refusal)) => return core.refuse(&refusal, None),
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
    let upgrade = match validate(&head) {
        Ok(upgrade) => Some(upgrade),
        Err(Refusal::NotUpgrade) => None,
        Err(refusal) => return core.refuse(&refusal, Some(&head)),
    };
    let request = Request::new(head, upgrade, peer);
    let refused = match request.upgrade() {
        Some(upgrade) => {
            let origin = request.header("Origin");
            core.settings.origin.check(origin, upgrade.host()).err().map(Refusal::from)
        }
        None => match core.plain(&request) {
            Ok(None) => None,
            Ok(Some(response)) => {
                core.counters.plain.add(1);
                return Outcome::answer(response.answering(request.head()), NOT_UPGRADE);
            }
            Err(refusal) => Some(refusal),
        },
    };
    if let Some(refusal) = refused {
        return core.refuse(&refusal, Some(request.head()));
    }
    let decided = tokio::select! {
        biased;
        // An application that never decides must not outlive its server.
        () = core.stopped() => return Outcome::Gone(Kind::Aborted),
        decided = caught(|| (core.on_request)(request.clone())) => decided,
    };
    let decided = decided.unwrap_or_else(|panic| {
        core.counters.panics.add(1);
        let (peer, what) = (request.peer(), panic_text(&*panic));
        tracing::error!(peer, panic = what, "a request callback panicked, answering 500");
        Err(Response::text(500, "the server failed to decide on this request"))
    });
    match decided {
        Err(response) => {
            let why = if request.is_upgrade() {
                core.counters.refused("application");
                "the application refused the request"
            } else {
                core.counters.plain.add(1);
                NOT_UPGRADE
            };
            Outcome::answer(response.answering(request.head()), why)
        }
        Ok(_) if !request.is_upgrade() => core.refuse(&Refusal::NotUpgrade, Some(request.head())),
        Ok(accept) => open(core, io, &request, accept, carry, deadline).await,
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
    let Some(upgrade) = request.upgrade() else { return Outcome::Gone(Kind::NoRequest) };
    let settings = core.settings;
    let (chosen, spoken) = (accept.subprotocol.as_deref(), &settings.subprotocols);
    let terms = match agree(settings, upgrade, chosen, spoken, &accept.headers) {
        Ok(terms) => terms,
        Err(e) => {
            let peer = request.peer();
            tracing::error!(peer, error = %e, "the application's answer is not valid");
            core.counters.refused("application");
            let response = Response::text(500, "the server's answer was not valid");
            return Outcome::answer(response, format!("the answer was not valid: {e}"));
        }
    };
    // The peer's part of the deadline may have been used up by the application: it gets a moment.
    let deadline = deadline.max(Instant::now() + Duration::from_secs(1));
    let failed = match timeout_at(deadline, write_all(io, &terms.head)).await {
        Ok(Ok(())) => None,
        Ok(Err(e)) => Some(Kind::Transport(e)),
        Err(_) => {
            let (limit, place) = (settings.handshake_timeout, String::new());
            Some(Kind::Timeout { step: Step::Request, limit, place })
        }
    };
    if let Some(kind) = failed {
        core.counters.refused("cut");
        return Outcome::Gone(kind);
    }
    let target = request.head().target();
    let shared = agree::connection(settings, core.counters, request.peer(), target, &terms);
    Outcome::Open(Box::new(Open { shared, carry, state: accept.state }))
}

impl<S> Opening<'_, S> {
    fn refuse(&self, refusal: &Refusal, head: Option<&RequestHead>) -> Outcome<S> {
        if refusal.kind() == RefusalKind::NotUpgrade {
            self.counters.plain.add(1);
        }
        self.counters.refused(refusal.kind().as_str());
        let response = Response::from(refusal);
        let response = match head {
            Some(head) => response.answering(head),
            None => response,
        };
        Outcome::answer(response, refusal.to_string())
    }

    /// What can be said about plain HTTP without the application: the health answer, and that this
    /// server reads no bodies.
    fn plain(&self, request: &Request) -> Result<Option<Response>, Refusal> {
        let read_only = matches!(request.method(), "GET" | "HEAD");
        if read_only && self.settings.health.as_deref() == Some(request.path()) {
            self.counters.health_checks.add(1);
            return Ok(Some(match self.phase() {
                Phase::Running => Response::text(200, "ok"),
                _ => Response::text(503, "draining"),
            }));
        }
        // HTTP/1.0 has no Host, and a page that a browser shows is never asked for with it.
        if request.header("Host").is_some() {
            self.settings.origin.check_host(&host(request.head())?)?;
        }
        if !read_only {
            let response = Response::text(405, "only GET and HEAD are answered here");
            return Ok(Some(response.header("Allow", b"GET, HEAD").unwrap_or_else(|_| {
                // The header is valid; without it the answer would still be right.
                Response::new(405)
            })));
        }
        let length = request.header("Content-Length").unwrap_or(b"0");
        if length.is_empty() || !length.iter().all(u8::is_ascii_digit) {
            return Ok(Some(Response::text(400, "Content-Length is not a number")));
        }
        let body =
            request.header("Transfer-Encoding").is_some() || length.iter().any(|b| *b != b'0');
        Ok(body.then(|| Response::text(413, "a request with a body is not taken here")))
    }
}

pub(super) fn unavailable(line: &str) -> Response {
    let response = Response::text(503, line);
    response.header("Retry-After", b"5").unwrap_or_else(|_| Response::new(503))
}

/// Reads until the head is whole; `None` when the stream ends first. Returns also what came behind
/// it.
async fn read_head<T: Transport>(
    io: &mut T,
    reader: &mut RequestReader,
) -> Result<Option<(RequestHead, BytesMut)>, Refusal> {
    loop {
        let read = poll_fn(|cx| {
            with_read_buffer(|buf| {
                io.poll_read(cx, buf, HEAD_READ).map(|read| match read {
                    Ok(n @ 1..) => {
                        let push = reader.push(&buf[..n])?;
                        let rest = BytesMut::from(&buf[push.consumed..n]);
                        Ok(Some((push.head, rest)))
                    }
                    // A connection that breaks here has asked for nothing yet.
                    Ok(0) | Err(_) => Ok(None),
                })
            })
        })
        .await
        .map_err(|e: provod_proto::handshake::HeadError| Refusal::from(e))?;
        match read {
            None => return Ok(None),
            Some((Some(head), rest)) => return Ok(Some((head, rest))),
            Some((None, _)) => {}
        }
    }
}

const NOT_UPGRADE: &str = "the request was of plain HTTP";
/// How long a peer may take for 16 KiB of an answer of plain HTTP, and for all of it.
const MOST_STALL: Duration = Duration::from_secs(5);
const MOST_ANSWER: Duration = Duration::from_secs(300);
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
async fn answer<T: Transport>(mut io: T, response: &Response, linger: Duration, ticket: &Ticket) {
    if say(&mut io, response).await {
        tokio::select! {
            biased;
            () = hang_up(io, linger) => {}
            () = ticket.linger() => {}
        }
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

/// Runs what the application gave, and catches its panics.
async fn caught<F: Future>(
    make: impl FnOnce() -> F,
) -> Result<F::Output, Box<dyn Any + Send + 'static>> {
    let mut future = pin!(catch_unwind(AssertUnwindSafe(make))?);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}
