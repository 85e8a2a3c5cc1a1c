//! A server's application as calls instead of tasks: [`Handler`].

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use provod_proto::{
    CloseCode, CloseFrame, Closed, Message, MessageKind, Payload, Prepared, Utf8Bytes,
};

use crate::driver::{Cork, Shared};
use crate::error::{Error, TrySendError};
use crate::sender::Sender;

/// What a server does with its connections, as calls that return at once: the fastest way to write
/// one, and the one whose idle connections cost the least. The other is an `async` function that
/// owns a [`WebSocket`](crate::WebSocket).
///
/// The calls for one connection come one after the other: `open`, then `message` for each message
/// and `drained` now and then, then `close`. Those of different connections come at the same time
/// from different workers. While a call runs, the worker's other connections wait: what takes long
/// belongs elsewhere, with a [`Sender`] to answer by, or behind [`Socket::wait`].
///
/// Back-pressure needs no care: where a message was answered with [`Socket::send`] and more than
/// [`high_water`](crate::Config::high_water) bytes wait to be sent on the connection, its next
/// message waits, and soon the peer does.
///
/// ```no_run
/// use provod::{Handler, handler::{Received, Socket}};
///
/// struct Echo;
///
/// impl Handler for Echo {
///     type Peer = ();
///
///     fn open(&self, _: &mut Socket<'_>, (): ()) {}
///
///     fn message(&self, ws: &mut Socket<'_>, (): &mut (), message: Received<'_>) {
///         // Full or closing: whoever must know looks at the result.
///         let _ = ws.send(message);
///     }
/// }
///
/// # async fn example() -> Result<(), provod::Error> {
/// provod::Server::new().listen("127.0.0.1:8080").workers(2).serve_handler(Echo).await
/// # }
/// ```
///
/// A call that panics closes its connection with 1011, and no other.
pub trait Handler<S = ()>: Send + Sync + 'static {
    /// What is kept for each connection.
    type Peer: Send + 'static;

    /// A WebSocket is open; `state` is what [`on_request`](crate::Server::on_request) handed over.
    fn open(&self, ws: &mut Socket<'_>, state: S) -> Self::Peer;

    /// A message has come.
    fn message(&self, ws: &mut Socket<'_>, peer: &mut Self::Peer, message: Received<'_>);

    /// The send queue had passed [`high_water`](crate::Config::high_water), whoever has filled it, and
    /// has run low.
    fn drained(&self, ws: &mut Socket<'_>, peer: &mut Self::Peer) {
        let _ = (ws, peer);
    }

    /// The connection is over. Nothing can be sent on it any more.
    fn close(&self, peer: Self::Peer, closed: &Closed) {
        let _ = (peer, closed);
    }
}

/// A connection, as a [`Handler`]'s call sees it.
pub struct Socket<'a> {
    shared: &'a Arc<Shared>,
    /// Bytes of frames that may be gathered without the connection's lock.
    room: usize,
    /// Messages from this length on are compressed.
    compress_from: usize,
    wait: Option<Wait>,
    /// Something was sent, and perhaps as much as may wait to leave.
    sent: bool,
    full: bool,
    closed: bool,
    /// The way to the transport, past every queue.
    through: Option<&'a mut Through<'a>>,
}

/// Writes to a transport.
pub(crate) type Through<'a> = dyn FnMut(&[IoSlice<'_>]) -> io::Result<usize> + 'a;

/// What is waited for before the next message.
pub(crate) type Wait = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Longer messages are not copied together with others, but written from where they lie.
const GATHER_BELOW: usize = 8 << 10;

impl<'a> Socket<'a> {
    pub(crate) fn new(
        shared: &'a Arc<Shared>,
        room: usize,
        through: Option<&'a mut Through<'a>>,
    ) -> Self {
        let compresses = shared.info.deflate().is_some();
        let compress_from =
            if compresses { shared.config.compression.threshold } else { usize::MAX };
        let (wait, sent, full, closed) = (None, false, false, false);
        Self { shared, room, compress_from, wait, sent, full, closed, through }
    }

    pub(crate) fn take_wait(&mut self) -> Option<Wait> {
        self.wait.take()
    }

    pub(crate) fn has_sent(&self) -> bool {
        self.sent
    }

    /// Whether what has been sent leaves, or the handler waits for something, before the next
    /// message.
    pub(crate) fn has_enough(&self) -> bool {
        self.wait.is_some() || self.full
    }

    /// Whether the handler has closed the connection, and wants no more messages.
    #[cfg(unix)]
    pub(crate) fn has_closed(&self) -> bool {
        self.closed
    }

    /// Queues a message. What is sent while messages that came together are handled leaves in one
    /// write. What another thread sends meanwhile with a handle from an earlier call may leave
    /// before it.
    ///
    /// # Errors
    ///
    /// When the connection is closing, or [`hard_limit`](crate::Config::hard_limit) bytes wait to
    /// be sent.
    #[inline]
    pub fn send<'m>(&mut self, message: impl Into<Outgoing<'m>>) -> Result<(), TrySendError<()>> {
        self.sent = true;
        let Outgoing { kind, data } = message.into();
        let len = data.as_bytes().len();
        if len >= self.compress_from {
            return self.queue(kind, data.into_bytes());
        }
        if len < GATHER_BELOW {
            if let Some(gathered) = Cork::add(self.shared, kind, data.as_bytes(), self.room) {
                self.full = gathered >= self.shared.config.high_water;
                return Ok(());
            }
        } else if let Data::Borrowed(bytes) = data
            && let Some(through) = &mut self.through
        {
            self.full = self.shared.write_through(kind, bytes, through)?;
            return Ok(());
        }
        self.queue(kind, data.into_bytes())
    }

    #[cold]
    fn queue(&mut self, kind: MessageKind, bytes: Bytes) -> Result<(), TrySendError<()>> {
        let message = match kind {
            MessageKind::Text => Message::Text(Utf8Bytes::from_checked(bytes)),
            MessageKind::Binary => Message::Binary(bytes),
        };
        let sent = self.shared.try_send(message).map_err(|e| e.map(|_| ()));
        self.full = self.shared.is_congested();
        sent
    }

    /// Queues a message that is encoded and compressed once for many connections.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_prepared(&mut self, message: &Prepared) -> Result<(), TrySendError<()>> {
        self.sent = true;
        let sent = self.shared.try_send_prepared(message).map_err(|e| e.map(|_| ()));
        self.full = self.shared.is_congested();
        sent
    }

    /// Closes the connection behind what is queued, as [`Sender::close`]. Messages that still come
    /// are thrown away.
    ///
    /// # Errors
    ///
    /// When the code must not be sent (RFC 6455 section 7.4) or the reason is above 123 bytes.
    pub fn close(
        &mut self,
        code: impl Into<CloseCode>,
        reason: impl Into<Utf8Bytes>,
    ) -> Result<(), Error> {
        let frame = CloseFrame::new(code.into(), reason)?;
        self.shared.close(Some(frame));
        self.shared.discard();
        self.closed = true;
        Ok(())
    }

    /// Handles no message of this connection until `future` is done; the peer is slowed down
    /// meanwhile. The others go on. It runs to its end also where the connection ends first, unless
    /// the server is dropped. The last one of a call counts; those of different calls, of which
    /// [`drained`](Handler::drained) may come meanwhile, are all waited for.
    pub fn wait(&mut self, future: impl Future<Output = ()> + Send + 'static) {
        self.wait = Some(Box::pin(future));
    }

    /// A handle for sending that can be kept, cloned, and given to other tasks and groups. It does
    /// not keep the connection open.
    #[must_use]
    pub fn sender(&self) -> Sender {
        // What was sent goes before what its holder will send, from whatever thread: it is queued
        // now, and so is the rest of this call.
        drop(self.shared.lock());
        Sender::new(self.shared.clone())
    }

    /// The peer, for people and logs: see [`WebSocket::peer`](crate::WebSocket::peer).
    #[must_use]
    pub fn peer(&self) -> &str {
        self.shared.info.peer()
    }

    /// The path of the request, as it was sent: not percent-decoded, without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.shared.info.path()
    }

    /// The query of the request, without the question mark.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.shared.info.query()
    }

    /// The subprotocol that was agreed.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.shared.info.subprotocol()
    }

    /// Bytes that are queued and not yet handed to the system.
    #[must_use]
    pub fn buffered_amount(&self) -> usize {
        self.shared.buffered()
    }
}

impl fmt::Debug for Socket<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("peer", &self.peer()).finish_non_exhaustive()
    }
}

/// Bytes that lie in the worker's buffer, or are owned.
#[derive(Debug)]
enum Data<'a> {
    Borrowed(&'a [u8]),
    Owned(Bytes),
}

impl Data<'_> {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            Self::Owned(bytes) => bytes,
        }
    }
}

/// A message that has come, for as long as the call takes. It lies where it was received: nothing
/// was copied. [`into_message`](Self::into_message) makes one to keep.
#[derive(Debug)]
pub struct Received<'a> {
    kind: MessageKind,
    data: Data<'a>,
}

impl<'a> Received<'a> {
    pub(crate) fn new(kind: MessageKind, payload: Payload, input: &'a [u8]) -> Self {
        let data = match payload {
            // The core located it in this very input.
            Payload::Located(range) => Data::Borrowed(input.get(range).unwrap_or_default()),
            Payload::Owned(bytes) => Data::Owned(bytes),
        };
        Self { kind, data }
    }

    pub(crate) fn from_message(message: Message) -> Received<'static> {
        Received { kind: message.kind(), data: Data::Owned(message.into_bytes()) }
    }

    /// Text or binary.
    #[must_use]
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its bytes. Those of a text are UTF-8.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.data.as_bytes()
    }

    /// The text; `None` where it is binary.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self.kind {
            // It was checked as it came; this check costs little and keeps the crate free of
            // unsafe code.
            MessageKind::Text => std::str::from_utf8(self.as_bytes()).ok(),
            MessageKind::Binary => None,
        }
    }

    /// The message, to be kept or sent elsewhere. Its bytes are copied, unless it was so long that
    /// they have a buffer of their own.
    #[must_use]
    pub fn into_message(self) -> Message {
        let bytes = self.data.into_bytes();
        match self.kind {
            MessageKind::Text => Message::Text(Utf8Bytes::from_checked(bytes)),
            MessageKind::Binary => Message::Binary(bytes),
        }
    }
}

/// What [`Socket::send`] takes: whatever a [`Message`] can be made of, and what was received.
#[derive(Debug)]
pub struct Outgoing<'a> {
    kind: MessageKind,
    data: Data<'a>,
}

impl<'a> From<Received<'a>> for Outgoing<'a> {
    fn from(received: Received<'a>) -> Self {
        Self { kind: received.kind, data: received.data }
    }
}

impl<'a> From<&'a str> for Outgoing<'a> {
    fn from(text: &'a str) -> Self {
        Self { kind: MessageKind::Text, data: Data::Borrowed(text.as_bytes()) }
    }
}

impl<'a> From<&'a [u8]> for Outgoing<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self { kind: MessageKind::Binary, data: Data::Borrowed(bytes) }
    }
}

impl From<Message> for Outgoing<'_> {
    fn from(message: Message) -> Self {
        Self { kind: message.kind(), data: Data::Owned(message.into_bytes()) }
    }
}

impl From<String> for Outgoing<'_> {
    fn from(text: String) -> Self {
        Message::from(text).into()
    }
}

impl From<Vec<u8>> for Outgoing<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Message::from(bytes).into()
    }
}

impl From<Bytes> for Outgoing<'_> {
    fn from(bytes: Bytes) -> Self {
        Message::from(bytes).into()
    }
}

impl<'a> From<Cow<'a, str>> for Outgoing<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        match text {
            Cow::Borrowed(text) => text.into(),
            Cow::Owned(text) => text.into(),
        }
    }
}
