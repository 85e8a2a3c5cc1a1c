//! WebSockets on connections of HTTP/2 that they share (RFC 8441).

mod fault;

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use h2::client::{Builder, SendRequest};
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use provod_proto::handshake::{ClientRequest, ResponseError, ResponseHead};
use tokio::time::{Instant, timeout_at};

use super::address::Address;
use super::response::HttpResponse;
use super::way::{self, Reached};
use super::{Client, body, open};
use crate::error::{Error, Kind, Step};
use crate::http2::{
    FAULTS, Http2Stream, RESET_STREAMS, SEND_BUFFER, Windows, fields, header_map, io_error,
};
use crate::runtime::deadline;
use crate::transport::{Async, Transport};
use crate::websocket::WebSocket;
use fault::{Fault, Watched};

/// Streams of one connection: its window has room for so many of which none is read.
const STREAMS: usize = 100;

/// Whether a client uses HTTP/2 (RFC 8441).
///
/// One connection then carries many WebSockets: those of one [`Client`] and its clones, as long as
/// the server takes more on it, at most 100. Each has its own flow control, so one that is not read
/// does not hold up the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Http2 {
    /// HTTP/1.1 always. Most servers that speak HTTP/2 take no WebSockets over it, and to find that
    /// out costs a connection.
    #[default]
    Never,
    /// With `wss`, HTTP/2 where the server chooses it in the TLS handshake and then takes
    /// WebSockets over it, else HTTP/1.1. With `ws` HTTP/1.1, as there is nothing to ask.
    Prefer,
    /// HTTP/2 or an error; with `ws` by prior knowledge (RFC 9113 section 3.3).
    Require,
}

/// The connections of a client and its clones, by what they lead to.
#[derive(Clone, Default)]
pub(super) struct Pool(Arc<Mutex<HashMap<String, Shelf>>>);

type Shelf = Arc<Place>;

/// A place that connections lead to.
#[derive(Default)]
struct Place {
    /// Whoever makes one holds the lock, so that others can share it.
    sessions: tokio::sync::Mutex<Vec<Session>>,
    /// It is known that there are no WebSockets over HTTP/2 there.
    is_lacking: AtomicBool,
}

impl Pool {
    fn shelf(&self, place: &str) -> Shelf {
        let mut shelves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shelves.entry(place.to_owned()).or_default().clone()
    }
}

/// A connection.
struct Session {
    send: SendRequest<Bytes>,
    life: Arc<Life>,
    peer: String,
}

#[derive(Default)]
struct Life {
    /// Nothing more can be asked for on it.
    over: AtomicBool,
    streams: AtomicUsize,
    fault: Fault,
}

impl Session {
    /// Whether the server takes one more, and all may be left unread then.
    fn has_room(&self) -> bool {
        let most = self.send.current_max_send_streams().min(STREAMS);
        self.life.streams.load(Ordering::Relaxed) < most
    }

    fn slot(&self) -> Slot {
        self.life.streams.fetch_add(1, Ordering::Relaxed);
        Slot { send: self.send.clone(), life: self.life.clone(), peer: self.peer.clone() }
    }
}

/// A place on a connection, given back when dropped.
struct Slot {
    send: SendRequest<Bytes>,
    life: Arc<Life>,
    peer: String,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.life.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The task of a connection.
struct Task(Arc<Life>);

impl Drop for Task {
    /// Also where its runtime ends.
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

/// Why a connection, or a stream on it, did not open.
pub(super) enum Trouble {
    /// The server takes no WebSockets over HTTP/2; this connection is good for HTTP/1.1.
    Lacking(Option<Reached>),
    /// The connection is of no use any more; another may be.
    Stale(Error),
    Failed(Error),
}

impl Trouble {
    /// What it is to one who wants HTTP/2 and nothing else.
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Lacking(_) => Error::new(Kind::Answer(
                "it takes no WebSockets over HTTP/2 (RFC 8441 section 3); use HTTP/1.1".to_owned(),
            )),
            Self::Stale(e) | Self::Failed(e) => e,
        }
    }
}

/// What a server was asked in.
pub(super) enum Opened {
    Http2(WebSocket),
    /// It is to be asked in HTTP/1.1: over the connection that was made, if there is one.
    Http1(Option<Reached>),
}

/// Opens a WebSocket over HTTP/2, where that is wanted: on a connection that is there, or on a new
/// one.
pub(super) async fn connect(
    client: &Client,
    request: &ClientRequest,
    address: &Address,
    is_own: bool,
) -> Result<Opened, Error> {
    let is_required = match client.http2 {
        Http2::Never => return Ok(Opened::Http1(None)),
        // There is nothing to ask without TLS.
        Http2::Prefer if !address.is_secure() => return Ok(Opened::Http1(None)),
        Http2::Prefer => false,
        Http2::Require => true,
    };
    // With a certificate of the client, who asks matters.
    let scheme = if address.is_secure() { "wss" } else { "ws" };
    let place = format!("{scheme}://{}:{} {is_own}", address.host(), address.port());
    let shelf = client.pool.shelf(&place);
    if !is_required && shelf.is_lacking.load(Ordering::Relaxed) {
        return Ok(Opened::Http1(None));
    }
    match share(client, request, address, is_own, &shelf).await {
        Ok(ws) => Ok(Opened::Http2(ws)),
        Err(Trouble::Lacking(reached)) if !is_required => {
            shelf.is_lacking.store(true, Ordering::Relaxed);
            Ok(Opened::Http1(reached))
        }
        Err(trouble) => Err(trouble.into_error()),
    }
}

async fn share(
    client: &Client,
    request: &ClientRequest,
    address: &Address,
    is_own: bool,
    shelf: &Shelf,
) -> Result<WebSocket, Trouble> {
    let is_good = |session: &Session| !session.life.over.load(Ordering::Relaxed);
    loop {
        let limit = client.timeouts.all();
        let late = |_| Trouble::Failed(Error::late(Step::Connect, limit, address.authority()));
        let mut sessions =
            timeout_at(deadline(limit), shelf.sessions.lock()).await.map_err(late)?;
        if client.http2 == Http2::Prefer && shelf.is_lacking.load(Ordering::Relaxed) {
            // Whoever held the lock has found it out.
            return Err(Trouble::Lacking(None));
        }
        sessions.retain(is_good);
        let shared = sessions.iter().find(|session| session.has_room()).map(Session::slot);
        let is_shared = shared.is_some();
        let slot = match shared {
            Some(slot) => slot,
            None => {
                let reached = reach(client, address, is_own).await;
                if matches!(reached, Err(Trouble::Lacking(_))) {
                    shelf.is_lacking.store(true, Ordering::Relaxed);
                }
                let session = reached?;
                let slot = session.slot();
                sessions.push(session);
                slot
            }
        };
        drop(sessions);
        let life = slot.life.clone();
        match ask(client, request, address, slot).await {
            Err(Trouble::Stale(e)) => {
                life.over.store(true, Ordering::Relaxed);
                // It ends with its sockets, at once where there are none. Whoever holds the lock
                // makes another, and the next one looks.
                if let Ok(mut sessions) = shelf.sessions.try_lock() {
                    sessions.retain(is_good);
                }
                // One that was there before may have died since; a new one tells the truth.
                if !is_shared {
                    return Err(Trouble::Failed(e));
                }
            }
            opened => return opened,
        }
    }
}

/// Makes a connection to the server.
async fn reach(client: &Client, address: &Address, is_own: bool) -> Result<Session, Trouble> {
    let offered: &[&[u8]] = match client.http2 {
        Http2::Require => &[way::HTTP2],
        _ => &[way::HTTP2, way::HTTP1],
    };
    let reached = way::reach(client, address, is_own, offered).await.map_err(Trouble::Failed)?;
    if address.is_secure() && reached.alpn.as_deref() != Some(way::HTTP2) {
        return Err(Trouble::Lacking(Some(reached)));
    }
    begin(client, address, reached.io, reached.peer).await
}

/// Opens a WebSocket on a connection of the caller's own, which it has for itself.
pub(super) async fn connect_over<T: Transport>(
    client: &Client,
    request: &ClientRequest,
    address: &Address,
    io: T,
) -> Result<WebSocket, Trouble> {
    let session = begin(client, address, io, address.authority().to_owned()).await?;
    ask(client, request, address, session.slot()).await
}

fn builder(client: &Client) -> Builder {
    let windows = Windows::new(&client.config, STREAMS);
    let list = client.head.max_bytes.saturating_add(client.head.max_headers.saturating_mul(32));
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(windows.stream)
        .initial_connection_window_size(windows.connection)
        .data_frame_budget(windows.overhead)
        .max_header_list_size(u32::try_from(list).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_reset_streams(RESET_STREAMS)
        .max_local_error_reset_streams(Some(FAULTS))
        // None before the server's SETTINGS have said how many.
        .initial_max_send_streams(0);
    builder
}

/// Makes a connection of HTTP/2, and waits for the server's SETTINGS.
async fn begin<T: Transport>(
    client: &Client,
    address: &Address,
    io: T,
    peer: String,
) -> Result<Session, Trouble> {
    let fault = Fault::default();
    let io = Watched::new(io, fault.clone());
    let limit = client.timeouts.handshake;
    let deadline = deadline(limit);
    let late = |_| {
        let place = peer.clone();
        Trouble::Failed(Error::new(Kind::Timeout { step: Step::Handshake, limit, place }))
    };
    let failed = |e: h2::Error| {
        if let Some(error) = fault.error(address.authority()) {
            return Trouble::Failed(error);
        }
        Trouble::Failed(Error::new(if e.is_io() {
            let e = io_error(e);
            let what = format!("{e}; does the server speak HTTP/2?");
            Kind::Transport(std::io::Error::new(e.kind(), what))
        } else {
            let reason = e.reason().map_or_else(|| e.to_string(), |reason| format!("{reason:?}"));
            Kind::Answer(format!("it is not HTTP/2 ({reason}); does the server speak it?"))
        }))
    };
    let made = builder(client).handshake::<_, Bytes>(Async::new(io, BytesMut::new()));
    let (send, mut connection) = timeout_at(deadline, made).await.map_err(late)?.map_err(failed)?;
    let told = poll_fn(|cx| match pin!(&mut connection).poll(cx) {
        Poll::Ready(Ok(())) => Poll::Ready(Err(Trouble::Failed(Error::new(Kind::NoAnswer)))),
        Poll::Ready(Err(e)) => Poll::Ready(Err(failed(e))),
        Poll::Pending if send.current_max_send_streams() > 0 => Poll::Ready(Ok(())),
        Poll::Pending => Poll::Pending,
    });
    timeout_at(deadline, told).await.map_err(late)??;
    if !send.is_extended_connect_protocol_enabled() {
        return Err(Trouble::Lacking(None));
    }
    let life = Arc::new(Life { fault: fault.clone(), ..Life::default() });
    let task = Task(life.clone());
    let name = peer.clone();
    tokio::spawn(async move {
        let _task = task;
        if let Err(error) = connection.await {
            tracing::debug!(peer = name, %error, "a connection of HTTP/2 broke");
        }
    });
    Ok(Session { send, life, peer })
}

/// Asks for a WebSocket on a connection and starts its driver.
async fn ask(
    client: &Client,
    request: &ClientRequest,
    address: &Address,
    mut slot: Slot,
) -> Result<WebSocket, Trouble> {
    let limit = client.timeouts.handshake;
    let deadline = deadline(limit);
    let place = slot.peer.clone();
    let fault = slot.life.fault.clone();
    let trouble = |e| trouble(e, &fault, address);
    let late = |_| {
        let place = place.clone();
        Trouble::Stale(Error::new(Kind::Timeout { step: Step::Handshake, limit, place }))
    };
    let ready = timeout_at(deadline, poll_fn(|cx| slot.send.poll_ready(cx)));
    ready.await.map_err(late)?.map_err(trouble)?;
    let (answer, send) = slot.send.send_request(head(request, address)?, false).map_err(|e| {
        if e.is_go_away() || e.is_io() {
            return trouble(e);
        }
        let what = format!("the request cannot be sent over HTTP/2: {e}");
        Trouble::Failed(Error::new(Kind::Setting(what)))
    })?;
    let answer = timeout_at(deadline, answer).await.map_err(late)?.map_err(trouble)?;
    let peer = slot.peer.clone();
    let (head, mut io) = answered(client, answer, send, slot)?;
    match request.verify_extended(&head) {
        Ok(accepted) => {
            let carry = BytesMut::new();
            Ok(open::start(client, accepted, head, address, io, carry, &peer))
        }
        Err(ResponseError::Status(_)) => Err(refused(head, &mut io, deadline).await),
        Err(e) => Err(Trouble::Failed(Error::new(Kind::Answer(e.to_string())))),
    }
}

/// The request as an extended CONNECT (RFC 8441 section 5.1).
fn head(request: &ClientRequest, address: &Address) -> Result<http::Request<()>, Trouble> {
    let scheme = if address.is_secure() { "https" } else { "http" };
    let uri = http::Uri::builder()
        .scheme(scheme)
        .authority(request.host().to_string())
        .path_and_query(request.target());
    let built = uri.build().and_then(|uri| {
        let head = http::Request::builder().method(http::Method::CONNECT).uri(uri);
        let head =
            head.version(http::Version::HTTP_2).extension(Protocol::from_static("websocket"));
        head.body(())
    });
    let mut head = built.map_err(|e| {
        Trouble::Failed(Error::new(Kind::Url(format!("it cannot be asked for in HTTP/2: {e}"))))
    })?;
    *head.headers_mut() = header_map(request.http2_fields());
    Ok(head)
}

fn answered(
    client: &Client,
    answer: http::Response<RecvStream>,
    send: SendStream<Bytes>,
    slot: Slot,
) -> Result<(ResponseHead, Http2Stream), Trouble> {
    let (parts, recv) = answer.into_parts();
    let status = parts.status.as_u16();
    let head = ResponseHead::from_fields(status, fields(&parts.headers), client.head)
        .map_err(|e| Trouble::Failed(Error::new(Kind::Answer(e.message().to_owned()))))?;
    Ok((head, Http2Stream::new(send, recv, Some(Box::new(slot)))))
}

async fn refused(head: ResponseHead, io: &mut Http2Stream, deadline: Instant) -> Trouble {
    let body = body::read(io, &head, &[], deadline).await;
    Trouble::Failed(Error::new(Kind::Refused(HttpResponse::new(head, body))))
}

/// What an error before the answer means.
fn trouble(e: h2::Error, fault: &Fault, address: &Address) -> Trouble {
    if e.reason() == Some(Reason::HTTP_1_1_REQUIRED) {
        return Trouble::Lacking(None);
    }
    // A refused stream was not looked at (RFC 9113 section 8.7).
    let stale = e.is_go_away() || e.is_io() || e.reason() == Some(Reason::REFUSED_STREAM);
    // Perhaps only now it was known that the server wants another certificate of the client, or one
    // at all (RFC 8446 section 4.4.2.4).
    let told = if e.is_io() { fault.error(address.authority()) } else { None };
    let error = told.unwrap_or_else(|| Error::new(Kind::Transport(io_error(e))));
    if stale { Trouble::Stale(error) } else { Trouble::Failed(error) }
}
