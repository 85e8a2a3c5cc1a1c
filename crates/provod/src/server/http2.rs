//! A connection of HTTP/2 (RFC 9113) and the WebSockets on its streams (RFC 8441).
//!
//! It holds a place among the server's connections while it has no stream; then each stream holds
//! one. What a peer may make it keep is bounded here and by `h2`: see decision 29.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::StatusCode;
use provod_proto::handshake::{
    Http2Request, Refusal, RequestHead, Response, Upgrade, validate, validate_extended,
};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::admission::{Listening, Ticket};
use super::decide::{Decided, decide, unavailable};
use super::open::{Guard, MOST_ANSWER, MOST_LINGER, MOST_STALL};
use super::request::{Accept, Caller, Request};
use super::settings::Settings;
use super::{Core, Phase};
use crate::budget::Reservation;
use crate::driver::Driver;
use crate::error::{Error, Kind};
use crate::http2::{
    FAULTS, Http2Stream, RESET_STREAMS, SEND_BUFFER, UNSEEN_RESETS, Windows, fields, header_map,
};
use crate::runtime::deadline;
use crate::transport::{Async, Transport};
use crate::websocket::WebSocket;

/// How long a connection without streams is kept.
const IDLE: Duration = Duration::from_secs(60);
/// Streams that a peer may give up before they are answered, where it gives up most of them.
const GIVEN_UP: usize = 100;
/// Bytes of an answer of plain HTTP that are written at once.
const PIECE: usize = 16 << 10;

/// A connection as its own task and those of its streams know it.
pub(super) struct Peer {
    caller: Caller,
    /// Counted for as long as it is there, so that a drain waits for it.
    _counted: Listening,
    streams: AtomicUsize,
    /// Streams that were given up before they had their answer.
    given_up: AtomicUsize,
    none_left: Notify,
}

/// A stream, counted until it is dropped.
struct Counted(Arc<Peer>);

impl Peer {
    pub(super) fn new(caller: Caller, counted: Listening) -> Self {
        Self {
            caller: Caller { http2: true, ..caller },
            _counted: counted,
            streams: AtomicUsize::new(0),
            given_up: AtomicUsize::new(0),
            none_left: Notify::new(),
        }
    }

    fn counted(self: &Arc<Self>) -> Counted {
        self.streams.fetch_add(1, Ordering::Relaxed);
        Counted(self.clone())
    }

    fn is_idle(&self) -> bool {
        self.streams.load(Ordering::Acquire) == 0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.0.streams.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none_left.notify_one();
        }
    }
}

/// What every client of HTTP/2 begins with (RFC 9113 section 3.4), as far as it is no request of
/// HTTP/1.1.
const PREFACE: &[u8] = b"PRI * HTTP/2";

/// Looks whether a connection begins with the preface of HTTP/2.
#[derive(Default)]
pub(super) enum Preface {
    #[default]
    Nothing,
    /// So far it may.
    Begun(BytesMut),
    Other,
}

impl Preface {
    /// Takes what came; gives all of it back once it is HTTP/2.
    pub(super) fn push(&mut self, came: &[u8]) -> Option<BytesMut> {
        let mut first = match std::mem::replace(self, Self::Other) {
            Self::Nothing => BytesMut::new(),
            Self::Begun(first) => first,
            Self::Other => return None,
        };
        let expected = PREFACE.iter().skip(first.len());
        if !came.iter().zip(expected).all(|(is, should)| is == should) {
            return None;
        }
        first.extend_from_slice(came);
        if first.len() >= PREFACE.len() {
            return Some(first);
        }
        *self = Self::Begun(first);
        None
    }
}

fn builder(settings: &Settings) -> Builder {
    let windows = Windows::new(&settings.config, settings.http2_streams);
    let head = settings.head;
    // A list of fields counts 32 bytes for each (RFC 9113 section 6.5.2).
    let list = head.max_bytes.saturating_add(head.max_headers.saturating_mul(32));
    let mut builder = Builder::new();
    builder
        .enable_connect_protocol()
        .initial_window_size(windows.stream)
        .initial_connection_window_size(windows.connection)
        .data_frame_budget(windows.overhead)
        .max_concurrent_streams(u32::try_from(settings.http2_streams).unwrap_or(u32::MAX))
        .max_header_list_size(u32::try_from(list).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_reset_streams(RESET_STREAMS)
        .max_local_error_reset_streams(Some(FAULTS))
        .max_pending_accept_reset_streams(UNSEEN_RESETS);
    builder
}

/// Serves a connection whose peer speaks HTTP/2; `first` was read from it already.
pub(super) async fn serve<S: Send + 'static, T: Transport>(
    core: Arc<Core<S>>,
    io: T,
    first: BytesMut,
    peer: Peer,
    ticket: Ticket,
    memory: Option<Reservation>,
) {
    let peer = Arc::new(peer);
    let first_stream_by = deadline(core.settings.handshake_timeout);
    let shake = builder(&core.settings).handshake::<_, Bytes>(Async::new(io, first));
    let shaken = tokio::select! {
        biased;
        () = ticket.evicted() => return core.counters.refused("evicted"),
        shaken = timeout_at(first_stream_by, shake) => shaken,
    };
    drop(memory);
    let mut connection = match shaken {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            tracing::debug!(peer = %peer.caller.peer, %error, "no connection of HTTP/2");
            return core.counters.refused("http2");
        }
        Err(_) => return core.counters.refused("timeout"),
    };
    let mut place = Some(ticket);
    // Up to when it may be without streams.
    let mut idle_until = first_stream_by;
    let (mut is_going, mut is_cut, mut streams) = (false, false, 0usize);
    let mut phase = core.phase.subscribe();
    let mut stopped = core.phase.subscribe();
    loop {
        let is_idle = peer.is_idle();
        if is_idle && place.is_none() {
            place = core.admission.admit();
            let goes = place.is_none() && !is_going;
            if goes {
                // Others need the room more.
                connection.graceful_shutdown();
                is_going = true;
            }
            idle_until = Instant::now() + if is_going { MOST_LINGER } else { IDLE };
        }
        let mut go = false;
        let evicted = async {
            match &place {
                Some(place) => place.evicted().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            // Whoever has a place waits no longer than for its streams.
            _ = async { stopped.wait_for(|p| *p == Phase::Stopped).await.map(drop) } => return,
            _ = async { phase.wait_for(|p| !p.is_accepting()).await.map(drop) }, if !is_going => {
                go = true;
            }
            () = evicted, if !is_going => go = true,
            () = sleep_until(idle_until), if is_idle => {
                if is_going {
                    return;
                }
                go = true;
            }
            () = peer.none_left.notified(), if !is_idle => {}
            next = connection.accept() => match next {
                None => return,
                Some(Err(error)) => {
                    tracing::debug!(peer = %peer.caller.peer, %error, "a connection of HTTP/2 broke");
                    return;
                }
                Some(Ok((request, respond))) => {
                    streams += 1;
                    let ticket = place.take().or_else(|| core.admission.admit());
                    let counted = peer.counted();
                    tokio::spawn(stream(core.clone(), request, respond, ticket, counted));
                }
            },
        }
        let given_up = peer.given_up.load(Ordering::Relaxed);
        if given_up > GIVEN_UP && given_up > streams / 2 && !is_cut {
            core.counters.refused("http2");
            tracing::debug!(peer = %peer.caller.peer, given_up, "most streams are given up, hanging up");
            connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            (is_going, is_cut) = (true, true);
        }
        if go && !is_going {
            connection.graceful_shutdown();
            (is_going, idle_until) = (true, Instant::now() + MOST_LINGER);
        }
    }
}

/// What became of a request on a stream.
enum Fate<S> {
    Open(Request, Accept<S>),
    Answer(Response, Kind),
    Gone,
}

/// Carries one stream from its request until it is open, or has its answer.
async fn stream<S: Send + 'static>(
    core: Arc<Core<S>>,
    request: http::Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    ticket: Option<Ticket>,
    counted: Counted,
) {
    // That of a connection which was without streams may have gone to another one meanwhile.
    let ticket = ticket.filter(Ticket::handshake_done).ok_or("full");
    let memory = core.settings.reserve().map_err(|()| "memory");
    let (ticket, memory) = match memory.and_then(|memory| Ok((ticket?, memory))) {
        Ok(admitted) => admitted,
        Err(why) => {
            core.counters.turned_away.add(1);
            core.counters.refused(why);
            let response = unavailable("the server is full, try again later");
            return say(&mut respond, &response).await;
        }
    };
    let (parts, body) = request.into_parts();
    // Boxed, so that an open stream does not carry the room that its handshake needed.
    let fate = Box::pin(fate(&core, parts, &body, &mut respond, &counted.0)).await;
    drop(memory);
    let (response, why) = match fate {
        Fate::Gone => return,
        Fate::Answer(response, why) => (response, why),
        Fate::Open(request, accept) => {
            let opening = core.opening();
            let mut fields = Vec::new();
            match opening.agree(&request, accept, |answer| fields = answer.http2_fields()) {
                Err(refused) => *refused,
                Ok(agreed) => {
                    let mut head = http::Response::new(());
                    *head.headers_mut() = header_map(fields);
                    let Ok(send) = respond.send_response(head, false) else {
                        return core.counters.refused("cut");
                    };
                    let shared = opening.establish(&request, &agreed);
                    core.counters.opened_http2.add(1);
                    let guard = Guard::new(ticket, &shared);
                    core.close_for_drain(&shared);
                    let io = Http2Stream::new(send, body, Some(Box::new(counted)));
                    let ws = WebSocket::new(shared.clone());
                    let handler = core.application.run(ws, agreed.state);
                    let driver = Driver::new(shared, io, BytesMut::new(), Some(handler));
                    tokio::spawn(driver.with_guard(guard));
                    return;
                }
            }
        }
    };
    let (status, why) = (response.status(), Error::new(why));
    tracing::debug!(peer = %counted.0.caller.peer, status, %why, "not a WebSocket");
    say(&mut respond, &response).await;
}

/// Decides on a request, unless its peer gives it up meanwhile.
async fn fate<S: Send + 'static>(
    core: &Core<S>,
    parts: http::request::Parts,
    body: &RecvStream,
    respond: &mut SendResponse<Bytes>,
    peer: &Peer,
) -> Fate<S> {
    let opening = core.opening();
    let (head, upgrade) = match head(&parts, core.settings.head) {
        Ok(read) => read,
        Err(refusal) => {
            let (response, why) = opening.refuse(&refusal, None);
            return Fate::Answer(response, why);
        }
    };
    let more = !body.is_end_stream();
    let mut decided = pin!(decide(&opening, head, upgrade, peer.caller.clone(), more));
    let decided = poll_fn(|cx| match respond.poll_reset(cx) {
        Poll::Ready(_) => Poll::Ready(None),
        Poll::Pending => decided.as_mut().poll(cx).map(Some),
    })
    .await;
    match decided {
        Some(Decided::Accept(request, accept)) => Fate::Open(request, accept),
        Some(Decided::Answer(response, why)) => Fate::Answer(response, why),
        Some(Decided::Gone(_)) => Fate::Gone,
        None => {
            peer.given_up.fetch_add(1, Ordering::Relaxed);
            core.counters.refused("cut");
            Fate::Gone
        }
    }
}

type Head = (RequestHead, Result<Upgrade, Refusal>);

/// The head of a request as one of HTTP/1.1 has it, and what the rules say of it.
fn head(
    parts: &http::request::Parts,
    limits: provod_proto::handshake::HeadLimits,
) -> Result<Head, Refusal> {
    let request = Http2Request {
        method: parts.method.as_str(),
        protocol: parts.extensions.get::<h2::ext::Protocol>().map(h2::ext::Protocol::as_str),
        authority: parts.uri.authority().map(http::uri::Authority::as_str),
        path: parts.uri.path_and_query().map(http::uri::PathAndQuery::as_str),
    };
    let head = request.head(fields(&parts.headers), limits)?;
    let upgrade = if request.is_upgrade() { validate_extended(&head) } else { validate(&head) };
    Ok((head, upgrade))
}

/// Writes an answer to a peer that goes on taking it.
async fn say(respond: &mut SendResponse<Bytes>, response: &Response) {
    let (fields, body) = response.http2();
    let mut head = http::Response::new(());
    *head.status_mut() = StatusCode::from_u16(response.status()).unwrap_or_default();
    *head.headers_mut() = header_map(fields);
    // A peer that has gone wants no answer.
    if let Ok(mut send) = respond.send_response(head, body.is_empty())
        && !matches!(timeout(MOST_ANSWER, pour(&mut send, body)).await, Ok(Some(())))
    {
        send.send_reset(Reason::CANCEL);
    }
}

/// Writes a body as the peer makes room for it; `None` when it makes none, or has gone.
async fn pour(send: &mut SendStream<Bytes>, mut body: Bytes) -> Option<()> {
    while !body.is_empty() {
        send.reserve_capacity(body.len().min(PIECE));
        while send.capacity() == 0 {
            let room = poll_fn(|cx| send.poll_capacity(cx));
            timeout(MOST_STALL, room).await.ok()??.ok()?;
        }
        let piece = body.split_to(body.len().min(PIECE).min(send.capacity()));
        send.send_data(piece, body.is_empty()).ok()?;
    }
    Some(())
}
