//! The handles as `Stream` and `Sink`.

use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use futures_core::Stream;
use futures_sink::Sink;
use provod_proto::{CloseCode, CloseFrame, Compress, Message, UsageError};

use crate::driver::{Claim, Flush, Queue, Shared, Slot};
use crate::error::{Error, Kind};
use crate::receiver::Receiver;
use crate::sender::Sender;
use crate::websocket::WebSocket;

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

impl Stream for WebSocket {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.receiver).poll_next(cx)
    }
}

/// What a sender keeps between the polls of a sink.
#[derive(Default)]
pub(crate) struct SinkPart {
    /// A message that was taken and cannot be queued yet, since another one is sent in pieces.
    message: Option<Message>,
    sender: Option<Slot>,
    flush: Flush,
    closed: Option<Slot>,
}

impl SinkPart {
    /// Waits for the turn to send and queues the message that was kept, if any.
    fn poll_ready(&mut self, shared: &Shared, waker: &Waker) -> Poll<Result<(), Error>> {
        shared.poll_send(&mut self.message, Compress::Auto, Claim::Loose, &mut self.sender, waker)
    }

    fn start_send(&mut self, shared: &Shared, message: Message) -> Result<(), Error> {
        if self.message.is_some() {
            // It was not asked whether it is ready, which it is not.
            return Err(UsageError::MessageInProgress.into());
        }
        self.message = shared.send_in_turn(message)?;
        self.flush.begin_anew();
        Ok(())
    }

    fn poll_flush(&mut self, shared: &Shared, waker: &Waker) -> Poll<Result<(), Error>> {
        if self.message.is_some() {
            ready!(self.poll_ready(shared, waker))?;
        }
        shared.poll_flushed(&mut self.flush, waker)
    }

    fn poll_close(&mut self, shared: &Shared, waker: &Waker) -> Poll<Result<(), Error>> {
        if self.message.is_some() {
            ready!(self.poll_ready(shared, waker))?;
        }
        shared.close(CloseFrame::new(CloseCode::NORMAL, "").ok());
        let closed = ready!(shared.poll_closed(&mut self.closed, waker, false));
        Poll::Ready(if closed.unsent > 0 { Err(Error::new(Kind::Closed)) } else { Ok(()) })
    }

    /// Leaves all places; to be called before it is dropped.
    pub(crate) fn leave(&mut self, shared: &Shared) {
        let places = [(Queue::Senders, self.sender.take()), (Queue::Watchers, self.closed.take())];
        self.flush.leave(shared);
        for (queue, slot) in places {
            if let Some(slot) = slot {
                shared.leave(queue, slot);
            }
        }
    }
}

/// `poll_ready` waits as [`send`](Sender::send) does, and lets others pass when it is woken and
/// does not come; `poll_flush` waits until all that was queued before it is handed to the system;
/// `poll_close` closes with 1000 and waits for the end, while messages can still be received.
impl Sink<Message> for Sender {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let (shared, sink) = self.sink();
        sink.poll_ready(shared, cx.waker())
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        let (shared, sink) = self.sink();
        sink.start_send(shared, message)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let (shared, sink) = self.sink();
        sink.poll_flush(shared, cx.waker())
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let (shared, sink) = self.sink();
        sink.poll_close(shared, cx.waker())
    }
}

/// As that of [`Sender`].
impl Sink<Message> for WebSocket {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.sender).poll_ready(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        Pin::new(&mut self.sender).start_send(message)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.sender).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.sender).poll_close(cx)
    }
}
