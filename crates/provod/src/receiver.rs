//! The handle for receiving: [`Receiver`].

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;

use provod_proto::{Closed, Message};

use crate::driver::{Place, Queue, Shared};
use crate::error::Error;
use crate::sender::Sender;
use crate::streaming::MessageReader;

/// The receiving half of a [`WebSocket`](crate::WebSocket) that was
/// [split](crate::WebSocket::split). It owns the connection: dropping it closes.
///
/// There is one, and it receives by `&mut`, so two tasks cannot receive from one connection.
///
/// It is a `Stream` of messages, as the `WebSocket` is.
pub struct Receiver {
    pub(crate) shared: Arc<Shared>,
    /// The stream has given out its error.
    pub(crate) failed: bool,
}

impl Receiver {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, failed: false }
    }

    /// As [`WebSocket::recv`](crate::WebSocket::recv).
    ///
    /// # Errors
    ///
    /// As [`WebSocket::recv`](crate::WebSocket::recv).
    pub async fn recv(&mut self) -> Result<Option<Message>, Error> {
        poll_fn(|cx| self.shared.poll_recv(cx.waker())).await
    }

    /// As [`WebSocket::recv_reader`](crate::WebSocket::recv_reader).
    ///
    /// # Errors
    ///
    /// As [`WebSocket::recv`](crate::WebSocket::recv).
    pub async fn recv_reader(&mut self) -> Result<Option<MessageReader<'_>>, Error> {
        let first = poll_fn(|cx| self.shared.poll_first_piece(cx.waker())).await?;
        Ok(first.map(|piece| MessageReader::new(&self.shared, piece)))
    }

    /// As [`WebSocket::closed`](crate::WebSocket::closed).
    pub async fn closed(&mut self) -> Closed {
        let _asking = AwaitsEnd(&self.shared);
        let mut place = Place::new(&self.shared, Queue::Watchers);
        poll_fn(|cx| self.shared.poll_closed(&mut place.slot, cx.waker(), true)).await
    }

    /// A handle for sending on the same connection.
    #[must_use]
    pub fn sender(&self) -> Sender {
        Sender::new(self.shared.clone())
    }
}

/// A wait for the end, perhaps given up before it came.
struct AwaitsEnd<'a>(&'a Shared);

impl Drop for AwaitsEnd<'_> {
    fn drop(&mut self) {
        self.0.stop_awaiting_end();
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.abandon();
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("peer", &self.shared.info.peer()).finish_non_exhaustive()
    }
}
