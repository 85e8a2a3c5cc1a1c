//! A client that connects again by itself, and says what became of each message.
//!
//! [`Reconnecting`] is the handle, [`Setup`] all that can be set. What is
//! tried again, and when, say the table of [`Lost`] and [`Backoff`]; what [`Delivery`] means is
//! exact:
//!
//! | | not one byte was handed to the system | handed over, in whole or in part | the peer answered a Ping behind it |
//! |---|---|---|---|
//! | while connected | waits | waits for the answer | [`Sent`](Delivery::Sent) |
//! | the connection is lost | waits for the next one | [`InDoubt`](Delivery::InDoubt), or sent again with [`resend_in_doubt`](Setup::resend_in_doubt) | `Sent` |
//! | closed for good | [`NotSent`](Delivery::NotSent) | `InDoubt` | `Sent` |

mod core;
mod events;
#[cfg_attr(target_family = "wasm", path = "../web/link.rs")]
mod link;
mod lost;
mod outbox;
#[cfg(not(target_family = "wasm"))]
mod retry_after;
mod run;
mod schedule;
#[cfg_attr(target_family = "wasm", path = "../web/seam.rs")]
mod seam;
mod sender;
mod setup;

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use provod_proto::{CloseCode, Message, Utf8Bytes};

use self::core::Core;
use crate::error::{Error, TrySendError};

pub use events::{Ended, Event};
pub use lost::{Lost, Verdict};
pub use outbox::{Delivery, OutboxLimits, WhenFull};
pub use seam::{MaybeSend, MaybeSync};
pub use sender::{Receipt, Sender};
pub use setup::{Attempt, Backoff, Setup};

/// A client that connects again when its connection is lost, and says honestly what became of each
/// message.
///
/// [`Client::reconnecting`](crate::Client::reconnecting) makes one. Its task connects, keeps what
/// is sent in a bounded outbox, and gives out messages and events:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let server = provod::Server::new().listen("127.0.0.1:0");
/// # let running = server.start(|mut ws: provod::WebSocket| async move {
/// #     while let Some(message) = ws.recv().await? { ws.send(message).await? }
/// #     Ok(())
/// # }).await?;
/// # let url = format!("ws://{}/", running.addresses()[0]);
/// use provod::Client;
/// use provod::reconnect::Delivery;
///
/// let mut ws = Client::new(url).reconnecting().start()?;
/// let receipt = ws.send("Hello").await?; // it is in the outbox, connected or not
/// match receipt.await {
///     Delivery::Sent => println!("the server has read it"),
///     Delivery::NotSent(message) => println!("not a byte of {message:?} has left"),
///     Delivery::InDoubt(message) => println!("{message:?} may have arrived"),
///     _ => {}
/// }
/// assert_eq!(ws.recv().await, Some("Hello".into()));
/// ws.close(1000, "").await?;
/// # Ok(())
/// # }
/// ```
///
/// **Take what comes.** The task receives ahead about 64 KiB in all. Who takes nothing for long
/// stops the connection from being read: then Pongs are not seen, so no message becomes
/// [`Sent`](Delivery::Sent), and a loss is noticed late. A program that only sends has a task with
/// `while ws.recv().await.is_some() {}`.
///
/// Dropping it closes as [`close`](Self::close) with 1001, in a browser with 1000, in the
/// background; senders keep nothing open. It is a `Stream` of [`Event`]s.
pub struct Reconnecting {
    core: Arc<Core>,
    sender: Sender,
}

impl Reconnecting {
    fn new(core: Arc<Core>) -> Self {
        Self { sender: Sender::new(core.clone()), core }
    }

    /// The next message, over however many connections; `None` when there will be none any more:
    /// [`ended`](Self::ended) tells why. Other events on the way are passed over.
    ///
    /// Cancel safe.
    pub async fn recv(&mut self) -> Option<Message> {
        loop {
            if let Event::Message(message) = self.next_event().await? {
                return Some(message);
            }
        }
    }

    /// The next event; `None` behind [`Event::Closed`]. Up to 64 of them wait to be taken, beside
    /// messages; then the oldest are forgotten.
    ///
    /// ```no_run
    /// # async fn example(mut ws: provod::Reconnecting) {
    /// use provod::reconnect::Event;
    ///
    /// while let Some(event) = ws.next_event().await {
    ///     match event {
    ///         Event::Message(message) => println!("{message:?}"),
    ///         Event::Open => println!("connected"),
    ///         Event::Lost(why) => println!("lost: {why}"),
    ///         Event::Waiting(time) => println!("trying again in {time:?}"),
    ///         Event::Closed(why) => println!("{why}"),
    ///         _ => {}
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// Cancel safe.
    pub async fn next_event(&mut self) -> Option<Event> {
        poll_fn(|cx| self.core.poll_event(cx.waker())).await
    }

    /// Puts a message into the outbox, and returns a receipt that tells what became of it. When the
    /// outbox is full, it waits, refuses or drops, as [`WhenFull`] says.
    ///
    /// Messages leave in their order, over however many connections.
    ///
    /// Cancel safe: the message is taken whole or not at all. A dropped `send` has lost its place
    /// in the order.
    ///
    /// # Errors
    ///
    /// [`TrySendError::Closed`] when it is closed for good or closing, [`TrySendError::Full`] by
    /// the outbox's policy; both give the message back.
    pub async fn send(
        &self,
        message: impl Into<Message>,
    ) -> Result<Receipt, TrySendError<Message>> {
        self.sender.send(message).await
    }

    /// As [`send`](Self::send), and never waits: where there is no room, it is
    /// [`TrySendError::Full`].
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn try_send(&self, message: impl Into<Message>) -> Result<Receipt, TrySendError<Message>> {
        self.sender.try_send(message)
    }

    /// Sends a message and waits until it is known what became of it: [`send`](Self::send) and its
    /// receipt in one. A message that is refused is [`NotSent`](Delivery::NotSent).
    ///
    /// Dropped, it may have put the message into the outbox, from where it goes its way.
    pub async fn deliver(&self, message: impl Into<Message>) -> Delivery {
        self.sender.deliver(message).await
    }

    /// A handle for sending that can be cloned and given to other tasks.
    #[must_use]
    pub fn sender(&self) -> Sender {
        self.sender.clone()
    }

    /// The network is back: ends the wait for the next attempt, and lets waits begin anew with the
    /// shortest one. An attempt that is under way goes on, and if it fails the next one follows at
    /// once; on an open connection it changes nothing.
    pub fn retry_now(&self) {
        self.core.hurry();
    }

    /// Closes for good, and waits for the outcome. Nothing more can be sent. Where a connection is
    /// open, it waits first for the outbox, at most for the client's
    /// [`close_timeout`](crate::Config::close_timeout), and closes with this code behind it;
    /// where none is, messages that wait are [`NotSent`](Delivery::NotSent). Messages that still
    /// arrive are thrown away.
    ///
    /// Dropped in the middle, it closes all the same.
    ///
    /// # Errors
    ///
    /// When the code must not be sent (RFC 6455 section 7.4; by a page, any but 1000 and 3000 to
    /// 4999) or the reason is above 123 bytes ([`is_usage`](Error::is_usage)); nothing has happened
    /// then.
    pub async fn close(
        &mut self,
        code: impl Into<CloseCode>,
        reason: impl Into<Utf8Bytes>,
    ) -> Result<Ended, Error> {
        let frame = seam::close_frame(code.into(), reason.into())?;
        self.core.close(Some(frame), true);
        while self.next_event().await.is_some() {}
        Ok(self.ended().unwrap_or(Ended::Stopped))
    }

    /// Why it is closed for good; `None` as long as it is not.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        self.core.ended()
    }
}

impl Stream for Reconnecting {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.core.poll_event(cx.waker())
    }
}

impl Drop for Reconnecting {
    fn drop(&mut self) {
        self.core.close(seam::close_frame(seam::LEAVING, Utf8Bytes::default()).ok(), true);
    }
}

impl fmt::Debug for Reconnecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconnecting").field("ended", &self.ended()).finish_non_exhaustive()
    }
}
