//! One connection, as the task that connects again sees it.

use std::future::poll_fn;
use std::time::Duration;

use provod_proto::{CloseFrame, Closed, Message};

use super::core::Core;
use crate::driver::{Flush, Place, Queue, Shared};
use crate::error::Error;
use crate::receiver::Receiver;
use crate::sender::Sender;
use crate::websocket::WebSocket;

/// The half that sends.
pub(super) struct Link {
    sender: Sender,
}

/// Splits a connection.
pub(super) fn split(ws: WebSocket) -> (Link, Receiver) {
    let (sender, receiver) = ws.split();
    (Link { sender }, receiver)
}

impl Link {
    fn shared(&self) -> &Shared {
        &self.sender.shared
    }

    /// How long the closing handshake may take.
    pub(super) fn close_timeout(&self) -> Duration {
        self.shared().config.close_timeout
    }

    /// Waits for room, then gives the connection the next message that waits.
    pub(super) async fn feed(&self, core: &Core) -> Result<(), Error> {
        let shared = self.shared();
        let mut place = Place::new(shared, Queue::Senders);
        poll_fn(|cx| shared.poll_send_marked(|queue| core.feed(queue), &mut place.slot, cx.waker()))
            .await
    }

    /// Waits until all that was queued by now is handed to the system.
    pub(super) async fn flush(&self) -> Result<(), Error> {
        let mut flushing = Flushing { shared: self.shared(), flush: Flush::default() };
        poll_fn(|cx| flushing.shared.poll_flushed(&mut flushing.flush, cx.waker())).await
    }

    /// Waits until the peer has answered a Ping that goes behind all that was flushed.
    pub(super) async fn confirm(&self) -> Result<(), Error> {
        self.sender.ping().await.map(drop)
    }

    pub(super) fn close(&self, frame: CloseFrame) {
        self.shared().close(Some(frame));
    }

    /// Ends the connection at once: nothing more of what is queued is handed to the system.
    pub(super) fn abort(&self) {
        self.shared().abort();
    }

    pub(super) async fn closed(&self) -> Closed {
        self.sender.closed().await
    }

    /// Messages that the connection, which has ended, has begun to hand over have marks below this.
    pub(super) fn reached(&self) -> u64 {
        self.shared().marks_reached()
    }
}

/// The next message.
pub(super) async fn receive(receiver: &mut Receiver) -> Result<Option<Message>, Error> {
    receiver.recv().await
}

struct Flushing<'a> {
    shared: &'a Shared,
    flush: Flush,
}

impl Drop for Flushing<'_> {
    fn drop(&mut self) {
        self.flush.leave(self.shared);
    }
}
