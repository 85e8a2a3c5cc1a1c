//! The handle for sending: [`Sender`].

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use provod_proto::{
    CloseCode, CloseFrame, Closed, Compress, Message, MessageKind, Prepared, Utf8Bytes,
};

use crate::driver::{Claim, Place, Queue, Shared};
use crate::error::{Error, TrySendError};
use crate::futures::SinkPart;
use crate::streaming::MessageWriter;

/// A handle for sending on a connection. Clone it freely, give it to any task.
///
/// It is a [`Sink`](futures_sink::Sink) of messages too; see [`WebSocket`](crate::WebSocket) for
/// what that adds. It does not keep the connection open: when the [`WebSocket`](crate::WebSocket),
/// or after [`split`](crate::WebSocket::split) the [`Receiver`](crate::Receiver), is dropped,
/// nothing more can be sent.
pub struct Sender {
    pub(crate) shared: Arc<Shared>,
    /// `None` until it is used as a sink.
    sink: Option<Box<SinkPart>>,
}

impl Sender {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, sink: None }
    }

    /// What it needs to be a sink.
    pub(crate) fn sink(&mut self) -> (&Shared, &mut SinkPart) {
        (&self.shared, self.sink.get_or_insert_default())
    }

    /// As [`WebSocket::send`](crate::WebSocket::send).
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send`](crate::WebSocket::send).
    pub fn send(&self, message: impl Into<Message>) -> impl Future<Output = Result<(), Error>> {
        self.send_with(message, Compress::Auto)
    }

    /// As [`WebSocket::send_with`](crate::WebSocket::send_with).
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send`](crate::WebSocket::send).
    pub fn send_with(
        &self,
        message: impl Into<Message>,
        compress: Compress,
    ) -> impl Future<Output = Result<(), Error>> {
        // Made here and moved nowhere: the future, which lies in that of every handler, holds it
        // once.
        let mut message = Some(message.into());
        async move {
            let mut place = Place::new(&self.shared, Queue::Senders);
            let shared = &self.shared;
            poll_fn(|cx| {
                shared.poll_send(&mut message, compress, Claim::Firm, &mut place.slot, cx.waker())
            })
            .await
        }
    }

    /// Queues a message without waiting.
    ///
    /// ```
    /// use provod::Sender;
    /// use provod::error::TrySendError;
    ///
    /// fn notify(sender: &Sender, news: &str) {
    ///     match sender.try_send(news) {
    ///         Err(TrySendError::Full(_)) => println!("too slow, it misses this"),
    ///         Err(TrySendError::Closed(_)) => println!("it has gone"),
    ///         _ => {}
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`TrySendError::Full`] while [`hard_limit`](crate::Config::hard_limit) bytes are queued or
    /// a message is sent [in pieces](Self::send_writer), [`TrySendError::Closed`] when the
    /// connection is closing or closed; both give the message back.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), TrySendError<Message>> {
        self.shared.try_send(message.into())
    }

    /// As [`send`](Self::send), of a message that is encoded, and compressed, once for all
    /// connections it is sent on.
    ///
    /// ```no_run
    /// # async fn example(players: Vec<provod::Sender>) -> Result<(), provod::Error> {
    /// let start = provod::Prepared::from("start");
    /// for player in &players {
    ///     player.send_prepared(&start).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Cancel safe, as [`send`](Self::send).
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send`](crate::WebSocket::send).
    pub async fn send_prepared(&self, message: &Prepared) -> Result<(), Error> {
        let mut place = Place::new(&self.shared, Queue::Senders);
        let shared = &self.shared;
        poll_fn(|cx| shared.poll_send_prepared(message, &mut place.slot, cx.waker())).await
    }

    /// As [`try_send`](Self::try_send), of such a message.
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

    /// As [`WebSocket::send_writer`](crate::WebSocket::send_writer).
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send`](crate::WebSocket::send).
    pub async fn send_writer(&self, kind: MessageKind) -> Result<MessageWriter, Error> {
        self.send_writer_with(kind, Compress::Auto).await
    }

    /// As [`WebSocket::send_writer_with`](crate::WebSocket::send_writer_with).
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send`](crate::WebSocket::send).
    pub async fn send_writer_with(
        &self,
        kind: MessageKind,
        compress: Compress,
    ) -> Result<MessageWriter, Error> {
        MessageWriter::begin(&self.shared, kind, compress).await
    }

    /// As [`WebSocket::ping`](crate::WebSocket::ping).
    ///
    /// # Errors
    ///
    /// As [`WebSocket::ping`](crate::WebSocket::ping).
    pub async fn ping(&self) -> Result<Duration, Error> {
        let id = self.shared.ping()?;
        let _forget = Forget { shared: &self.shared, id };
        poll_fn(|cx| self.shared.poll_pong(id, cx.waker())).await
    }

    /// Begins to close the connection with a code and a reason, behind everything queued, and
    /// returns at once. What still arrives can be received, which [`WebSocket::close`] throws away;
    /// [`closed`](Self::closed) waits for the outcome. On a connection that is closing already it
    /// changes nothing.
    ///
    /// [`WebSocket::close`]: crate::WebSocket::close
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), provod::Error> {
    /// let (client, mut server) = provod::pipe();
    /// let (sender, mut receiver) = client.split();
    /// sender.send("the last question").await?;
    /// sender.close(1000, "")?; // behind the question
    ///
    /// assert_eq!(server.recv().await?, Some("the last question".into()));
    /// server.send("the last answer").await?;
    /// assert_eq!(server.recv().await?, None);
    /// assert_eq!(receiver.recv().await?, Some("the last answer".into()));
    /// assert_eq!(receiver.recv().await?, None);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`WebSocket::close`](crate::WebSocket::close).
    pub fn close(
        &self,
        code: impl Into<CloseCode>,
        reason: impl Into<Utf8Bytes>,
    ) -> Result<(), Error> {
        self.shared.close(Some(CloseFrame::new(code.into(), reason)?));
        Ok(())
    }

    /// Waits for the end of the connection and tells how it came. Any number of tasks may.
    ///
    /// ```no_run
    /// # use std::collections::HashMap;
    /// # use std::sync::{Arc, Mutex};
    /// # async fn example(sender: provod::Sender, users: Arc<Mutex<HashMap<u64, provod::Sender>>>) {
    /// // A map of those who are here forgets the ones who have gone.
    /// tokio::spawn(async move {
    ///     sender.closed().await;
    ///     users.lock().unwrap().remove(&7);
    /// });
    /// # }
    /// ```
    ///
    /// Cancel safe.
    pub async fn closed(&self) -> Closed {
        let mut place = Place::new(&self.shared, Queue::Watchers);
        poll_fn(|cx| self.shared.poll_closed(&mut place.slot, cx.waker(), false)).await
    }

    /// Whether so much is queued that [`send`](Self::send) would wait.
    #[must_use]
    pub fn is_congested(&self) -> bool {
        self.shared.is_congested()
    }

    /// As [`WebSocket::drained`](crate::WebSocket::drained).
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

impl Clone for Sender {
    /// As a sink, the clone has places in the queues of its own.
    fn clone(&self) -> Self {
        Self::new(self.shared.clone())
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if let Some(sink) = &mut self.sink {
            sink.leave(&self.shared);
        }
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
