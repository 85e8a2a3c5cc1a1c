//! The handles to a connection: [`WebSocket`] and [`Sender`].

use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use provod_proto::handshake::DeflateParams;
use provod_proto::{CloseCode, CloseFrame, Closed, Compress, Message, Prepared, Utf8Bytes};

use crate::driver::{Place, Queue, Shared};
use crate::error::{Error, TrySendError};

/// An open WebSocket connection.
///
/// Messages come with [`recv`](Self::recv) and go with [`send`](Self::send). Pings are answered, a
/// silent peer is noticed and the closing handshake is carried out whether or not either is called.
///
/// Dropping it closes the connection: with 1000 at the end of a handler that returns `Ok`, with
/// 1011 when the handler fails or panics, and with 1001 otherwise.
pub struct WebSocket {
    shared: Arc<Shared>,
    sender: Sender,
}

impl WebSocket {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { sender: Sender { shared: shared.clone() }, shared }
    }

    /// The next message; `None` once the peer has closed, with whatever code:
    /// [`closed`](Self::closed) tells which.
    ///
    /// Asking for the next message also says that the ones before it are dealt with: the answer to
    /// the peer's Close leaves only then, behind all that was sent until now.
    ///
    /// Cancel safe: a message is either returned or still waits.
    ///
    /// # Errors
    ///
    /// The connection was lost, or the peer broke the protocol or hit a limit. Messages that came
    /// before that are given out first. Later calls return the same error.
    pub async fn recv(&mut self) -> Result<Option<Message>, Error> {
        poll_fn(|cx| self.shared.poll_recv(cx.waker())).await
    }

    /// Queues a message. Waits while more than [`high_water`](crate::Config::high_water) bytes are
    /// queued, in the order in which tasks began to wait.
    ///
    /// Messages that are sent in one go leave in one write; nothing needs to be flushed. Bytes that
    /// have an owner of their own (`Bytes::from_owner`) are dropped while the connection is locked, so
    /// that owner's `Drop` must not use the connection.
    ///
    /// Cancel safe: the message is queued whole or not at all.
    ///
    /// # Errors
    ///
    /// When the connection is closing or closed.
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), Error> {
        self.sender.send(message).await
    }

    /// As [`send`](Self::send), and says whether this message is compressed, where compression was
    /// agreed: a picture will not shrink, and a secret should not be mixed with what others chose.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn send_with(
        &self,
        message: impl Into<Message>,
        compress: Compress,
    ) -> Result<(), Error> {
        self.sender.send_with(message, compress).await
    }

    /// As [`Sender::try_send`].
    ///
    /// # Errors
    ///
    /// As [`Sender::try_send`].
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), TrySendError<Message>> {
        self.sender.try_send(message)
    }

    /// A handle for sending that can be cloned and given to other tasks. It does not keep the
    /// connection open.
    #[must_use]
    pub fn sender(&self) -> Sender {
        self.sender.clone()
    }

    /// Sends a Ping and waits for its Pong; returns the round-trip time.
    ///
    /// # Errors
    ///
    /// When the connection ends first, or 64 Pings wait to be sent.
    pub async fn ping(&self) -> Result<Duration, Error> {
        self.sender.ping().await
    }

    /// Closes the connection with a code and a reason, behind everything queued, and waits for the
    /// outcome. It ends within [`close_timeout`](crate::Config::close_timeout), whatever the
    /// peer does. Messages that still arrive are thrown away.
    ///
    /// Dropped in the middle, it has closed all the same.
    ///
    /// # Errors
    ///
    /// When the code must not be sent (RFC 6455 section 7.4) or the reason is above 123 bytes;
    /// nothing has happened then.
    pub async fn close(
        &mut self,
        code: impl Into<CloseCode>,
        reason: impl Into<Utf8Bytes>,
    ) -> Result<Closed, Error> {
        let frame = CloseFrame::new(code.into(), reason)?;
        self.shared.close(Some(frame));
        self.shared.discard();
        Ok(self.closed().await)
    }

    /// Waits for the end of the connection and tells how it came: who closed, both codes, whether
    /// anything queued was lost. Messages that wait to be received are kept, and hold up the
    /// end until the close timeout when nobody takes them.
    pub async fn closed(&mut self) -> Closed {
        let mut place = Place::new(&self.shared, Queue::Watchers);
        poll_fn(|cx| self.shared.poll_closed(&mut place.slot, cx.waker(), true)).await
    }

    /// The peer's address: `IP:port`, or `unix`.
    #[must_use]
    pub fn peer(&self) -> &str {
        self.shared.info.peer()
    }

    /// The peer's address; `None` on a Unix socket.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer().parse().ok()
    }

    /// The path of the request, as it was sent: not percent-decoded, without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        let target = &*self.shared.info.target;
        target.split_once('?').map_or(target, |(path, _)| path)
    }

    /// The query of the request, without the question mark.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.shared.info.target.split_once('?').map(|(_, query)| query)
    }

    /// The subprotocol that was agreed.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.shared.info.subprotocol.as_deref()
    }

    /// What was agreed about permessage-deflate; `None` when it was not.
    #[must_use]
    pub fn compression(&self) -> Option<DeflateParams> {
        self.shared.info.deflate
    }

    /// Bytes that are queued and not yet handed to the system.
    #[must_use]
    pub fn buffered_amount(&self) -> usize {
        self.sender.buffered_amount()
    }

    /// Waits until so little is queued that [`send`](Self::send) would not wait, or the connection
    /// ends.
    pub async fn drained(&self) {
        self.sender.drained().await;
    }

    /// The round-trip time of the last Ping that was answered; the keepalive measures one every 25
    /// s.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        self.shared.lock().core.latency()
    }
}

impl Drop for WebSocket {
    fn drop(&mut self) {
        self.shared.abandon();
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("peer", &self.peer())
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}

/// A handle for sending on a connection. Clone it freely, give it to any task.
#[derive(Clone)]
pub struct Sender {
    shared: Arc<Shared>,
}

impl Sender {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// As [`WebSocket::send`].
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send`].
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), Error> {
        self.send_with(message, Compress::Auto).await
    }

    /// As [`WebSocket::send_with`].
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send`].
    pub async fn send_with(
        &self,
        message: impl Into<Message>,
        compress: Compress,
    ) -> Result<(), Error> {
        let mut place = Place::new(&self.shared, Queue::Senders);
        let mut message = Some(message.into());
        let shared = &self.shared;
        poll_fn(|cx| shared.poll_send(&mut message, compress, &mut place.slot, cx.waker())).await
    }

    /// Queues a message without waiting.
    ///
    /// # Errors
    ///
    /// [`TrySendError::Full`] while [`hard_limit`](crate::Config::hard_limit) bytes are queued,
    /// [`TrySendError::Closed`] when the connection is closing or closed; both give the message
    /// back.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), TrySendError<Message>> {
        self.shared.try_send(message.into())
    }

    /// Queues a message that is encoded, and compressed, once for all connections it is sent on.
    ///
    /// # Errors
    ///
    /// As [`try_send`](Self::try_send).
    pub fn try_send_prepared<'a>(
        &self,
        message: &'a Prepared,
    ) -> Result<(), TrySendError<&'a Prepared>> {
        self.shared.try_send_prepared(message)
    }

    /// As [`WebSocket::ping`].
    ///
    /// # Errors
    ///
    /// As [`WebSocket::ping`].
    pub async fn ping(&self) -> Result<Duration, Error> {
        let id = self.shared.ping()?;
        let _forget = Forget { shared: &self.shared, id };
        poll_fn(|cx| self.shared.poll_pong(id, cx.waker())).await
    }

    /// Begins to close the connection with a code and a reason, behind everything queued, and
    /// returns at once. What still arrives can be received.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::close`].
    pub fn close(
        &self,
        code: impl Into<CloseCode>,
        reason: impl Into<Utf8Bytes>,
    ) -> Result<(), Error> {
        self.shared.close(Some(CloseFrame::new(code.into(), reason)?));
        Ok(())
    }

    /// Waits for the end of the connection and tells how it came.
    pub async fn closed(&self) -> Closed {
        let mut place = Place::new(&self.shared, Queue::Watchers);
        poll_fn(|cx| self.shared.poll_closed(&mut place.slot, cx.waker(), false)).await
    }

    /// Whether [`send`](Self::send) would wait now.
    #[must_use]
    pub fn is_congested(&self) -> bool {
        self.shared.is_congested()
    }

    /// As [`WebSocket::drained`].
    pub async fn drained(&self) {
        let mut place = Place::new(&self.shared, Queue::Drained);
        poll_fn(|cx| self.shared.poll_drained(&mut place.slot, cx.waker())).await;
    }

    /// Bytes that are queued and not yet handed to the system.
    #[must_use]
    pub fn buffered_amount(&self) -> usize {
        self.shared.buffered()
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("peer", &self.shared.info.peer()).finish_non_exhaustive()
    }
}

/// A Ping whose Pong nobody waits for any more.
struct Forget<'a> {
    shared: &'a Shared,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.shared.forget_ping(self.id);
    }
}
