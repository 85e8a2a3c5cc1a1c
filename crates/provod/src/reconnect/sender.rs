//! The handle for sending, and what it gives back.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use provod_proto::{CloseCode, Message, Utf8Bytes};

use super::core::Core;
use super::outbox::{Delivery, Ticket};
use super::seam;
use crate::error::{Error, TrySendError};

/// A handle for sending with a [`Reconnecting`](crate::Reconnecting). Clone it freely, give it to
/// any task; it keeps nothing open.
#[derive(Clone)]
pub struct Sender {
    core: Arc<Core>,
}

impl Sender {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// As [`Reconnecting::send`](crate::Reconnecting::send).
    ///
    /// # Errors
    ///
    /// As [`Reconnecting::send`](crate::Reconnecting::send).
    pub async fn send(
        &self,
        message: impl Into<Message>,
    ) -> Result<Receipt, TrySendError<Message>> {
        let mut message = Some(message.into());
        let mut place = Place { core: &self.core, number: None };
        let ticket =
            poll_fn(|cx| self.core.poll_push(&mut message, &mut place.number, Some(cx.waker())))
                .await?;
        Ok(Receipt { ticket, core: self.core.clone() })
    }

    /// As [`Reconnecting::try_send`](crate::Reconnecting::try_send).
    ///
    /// # Errors
    ///
    /// As [`Reconnecting::try_send`](crate::Reconnecting::try_send).
    pub fn try_send(&self, message: impl Into<Message>) -> Result<Receipt, TrySendError<Message>> {
        let mut message = Some(message.into());
        match self.core.poll_push(&mut message, &mut None, None) {
            Poll::Ready(pushed) => Ok(Receipt { ticket: pushed?, core: self.core.clone() }),
            // Without a waker it does not wait; the message is a guard against a lie about that.
            Poll::Pending => {
                Err(TrySendError::Full(message.unwrap_or_else(|| Message::binary(""))))
            }
        }
    }

    /// As [`Reconnecting::deliver`](crate::Reconnecting::deliver).
    pub async fn deliver(&self, message: impl Into<Message>) -> Delivery {
        match self.send(message).await {
            Ok(receipt) => receipt.await,
            Err(refused) => Delivery::NotSent(refused.into_message()),
        }
    }

    /// As [`Reconnecting::retry_now`](crate::Reconnecting::retry_now).
    pub fn retry_now(&self) {
        self.core.hurry();
    }

    /// Begins to close, as [`Reconnecting::close`](crate::Reconnecting::close) does, and returns at
    /// once. What still arrives can be received.
    ///
    /// # Errors
    ///
    /// As [`Reconnecting::close`](crate::Reconnecting::close).
    pub fn close(
        &self,
        code: impl Into<CloseCode>,
        reason: impl Into<Utf8Bytes>,
    ) -> Result<(), Error> {
        self.core.close(Some(seam::close_frame(code.into(), reason.into())?), false);
        Ok(())
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

/// A place among those who wait to send, left when it is dropped.
struct Place<'a> {
    core: &'a Core,
    number: Option<u64>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.core.leave(number);
        }
    }
}

/// What will have become of a message: a future of its [`Delivery`].
///
/// It waits as long as the message waits, over any number of connections; put it under a timeout
/// where that is too long, and [`withdraw`](Self::withdraw) the message then. Cancel safe, and it
/// can be polled again after it was ready, with the same answer. Dropping it changes nothing for the
/// message; where nobody holds a receipt, the peer is not asked what it has read.
///
/// ```no_run
/// # async fn example(ws: provod::Reconnecting) -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// let mut receipt = ws.send("buy 100").await?;
/// let first = tokio::time::timeout(Duration::from_secs(5), &mut receipt).await;
/// if first.is_err() && receipt.withdraw() {
///     println!("nobody was there to buy from");
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "it tells what became of the message; drop it where that does not matter"]
pub struct Receipt {
    ticket: Arc<Ticket>,
    core: Arc<Core>,
}

impl Receipt {
    /// Takes the message back, unless a connection has it. Returns whether it did: then the receipt
    /// gives the message, as [`NotSent`](Delivery::NotSent); as [`InDoubt`](Delivery::InDoubt) where
    /// it waits to be [sent again](super::Setup::resend_in_doubt).
    pub fn withdraw(&self) -> bool {
        self.core.withdraw(self.ticket.number)
    }
}

impl Future for Receipt {
    type Output = Delivery;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Delivery> {
        self.ticket.poll(cx.waker())
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        self.ticket.forget();
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt").finish_non_exhaustive()
    }
}
