//! The handles of a connection in a browser.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use provod_proto::{CloseCode, Closed, Message, Utf8Bytes};

use super::error::Error;
use super::shared::{Shared, close_frame, shown};
use crate::try_send::TrySendError;

/// An open WebSocket: the browser's own, with the methods of this crate.
///
/// It is a [`Stream`] of messages too. Dropping it closes with 1000.
pub struct WebSocket {
    sender: Sender,
    receiver: Receiver,
}

/// A handle for sending on a connection. It does not keep the connection open.
#[derive(Clone)]
pub struct Sender {
    shared: Rc<Shared>,
}

/// A handle for receiving. Dropping it closes with 1000.
pub struct Receiver {
    shared: Rc<Shared>,
    failed: bool,
}

impl WebSocket {
    pub(super) fn new(shared: Rc<Shared>) -> Self {
        let sender = Sender { shared: shared.clone() };
        Self { sender, receiver: Receiver { shared, failed: false } }
    }

    /// Splits it into a handle for sending, which can be cloned, and one for receiving.
    #[must_use]
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }

    /// The next message; `None` once the peer has closed, with whatever code:
    /// [`closed`](Self::closed) tells which.
    ///
    /// Cancel safe: a message is either returned or still waits.
    ///
    /// # Errors
    ///
    /// The connection was lost, or more was received than was taken. Messages that came before are
    /// given out first. Later calls return the same error.
    pub async fn recv(&mut self) -> Result<Option<Message>, Error> {
        self.receiver.recv().await
    }

    /// As [`Sender::send`].
    ///
    /// # Errors
    ///
    /// As [`Sender::send`].
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), Error> {
        self.sender.send(message).await
    }

    /// As [`Sender::try_send`].
    ///
    /// # Errors
    ///
    /// As [`Sender::try_send`].
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), TrySendError<Message>> {
        self.sender.try_send(message)
    }

    /// A handle for sending that can be cloned and given away.
    #[must_use]
    pub fn sender(&self) -> Sender {
        self.sender.clone()
    }

    /// Closes with a code and a reason, behind everything queued, and waits for the outcome. It
    /// ends within [`close_timeout`](crate::Config::close_timeout); the browser may go on trying for
    /// longer. Messages that still arrive are thrown away.
    ///
    /// # Errors
    ///
    /// When a page must not send the code, which is 1000 or 3000 to 4999, or the reason is above
    /// 123 bytes ([`is_usage`](Error::is_usage)); nothing has happened then.
    pub async fn close(
        &mut self,
        code: impl Into<CloseCode>,
        reason: impl Into<Utf8Bytes>,
    ) -> Result<Closed, Error> {
        let shared = &self.sender.shared;
        shared.close(close_frame(code.into(), reason)?);
        shared.discard();
        let outcome = shared.closed_in_time().await;
        shared.discard();
        Ok(outcome)
    }

    /// Waits for the end of the connection and tells how it came. It does not close. Cancel safe.
    pub async fn closed(&mut self) -> Closed {
        self.receiver.closed().await
    }

    /// The subprotocol that was agreed.
    #[must_use]
    pub fn subprotocol(&self) -> Option<String> {
        Some(self.sender.shared.subprotocol()).filter(|name| !name.is_empty())
    }

    /// Bytes that the browser holds and has not sent.
    #[must_use]
    pub fn buffered_amount(&self) -> usize {
        self.sender.buffered_amount()
    }

    /// As [`Sender::drained`].
    pub async fn drained(&self) {
        self.sender.drained().await;
    }
}

impl Sender {
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Hands a message to the browser. Waits while that holds
    /// [`high_water`](crate::Config::high_water) bytes.
    ///
    /// Cancel safe: the message is handed over whole or not at all.
    ///
    /// # Errors
    ///
    /// When the connection is closing or closed ([`is_closed`](Error::is_closed)).
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), Error> {
        let message = message.into();
        self.shared.drained().await;
        self.shared.send(&message)
    }

    /// Hands a message to the browser without waiting.
    ///
    /// # Errors
    ///
    /// [`TrySendError::Full`] while the browser holds [`hard_limit`](crate::Config::hard_limit)
    /// bytes, [`TrySendError::Closed`] when the connection is closing or closed; both give the
    /// message back.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), TrySendError<Message>> {
        self.shared.try_send(message.into())
    }

    /// Bytes that the browser holds and has not sent.
    #[must_use]
    pub fn buffered_amount(&self) -> usize {
        self.shared.buffered_amount()
    }

    /// Waits until so little is queued that [`send`](Self::send) would not wait, or the connection
    /// ends. Cancel safe.
    pub async fn drained(&self) {
        self.shared.drained().await;
    }
}

impl Receiver {
    /// As [`WebSocket::recv`].
    ///
    /// # Errors
    ///
    /// As [`WebSocket::recv`].
    pub async fn recv(&mut self) -> Result<Option<Message>, Error> {
        poll_fn(|cx| self.shared.poll_recv(cx.waker())).await
    }

    /// As [`WebSocket::closed`].
    pub async fn closed(&mut self) -> Closed {
        self.shared.closed().await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.discard();
        if let Ok(frame) = close_frame(CloseCode::NORMAL, "") {
            self.shared.close(frame);
        }
    }
}

/// Messages until the connection ends; an error comes once.
impl Stream for Receiver {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.failed {
            return Poll::Ready(None);
        }
        let next = ready!(self.shared.poll_recv(cx.waker())).transpose();
        self.failed = matches!(next, Some(Err(_)));
        Poll::Ready(next)
    }
}

/// As that of [`Receiver`].
impl Stream for WebSocket {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.receiver).poll_next(cx)
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug("WebSocket", &self.sender.shared, f)
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug("Sender", &self.shared, f)
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug("Receiver", &self.shared, f)
    }
}

fn debug(name: &str, shared: &Shared, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.debug_struct(name).field("url", &shown(&shared.url())).finish_non_exhaustive()
}
