//! Messages piece by piece, both ways, and the wait until all is written.

use std::task::{Poll, Waker};

use bytes::Bytes;
use provod_proto::{CloseCode, CloseFrame, Compress, Message, MessageKind};

use super::inbox::{Ended, Piece};
use super::shared::{Queue, Shared, input_taken};
use super::state::register;
use super::waiters::{Claim, Slot};
use crate::error::{Error, Kind};

impl Shared {
    // ---- receiving ----

    /// The first piece of the next message; `None` as `recv` has it.
    pub(crate) fn poll_first_piece(&self, waker: &Waker) -> Poll<Result<Option<Piece>, Error>> {
        self.poll_input(waker, true, super::inbox::Inbox::pop_piece)
    }

    /// The next piece of a message that was begun to be taken.
    pub(crate) fn poll_piece(&self, waker: &Waker) -> Poll<Result<Piece, Error>> {
        let mut state = self.lock();
        state.awaits_end = false;
        if let Some(piece) = state.inbox.pop_piece() {
            input_taken(state);
            return Poll::Ready(Ok(piece));
        }
        match state.ended() {
            // The message stays cut. The Close that is owed waits for whoever asks for the next
            // message.
            Some(Ended::Close) => Poll::Ready(Err(Error::new(Kind::Cut))),
            Some(Ended::Failed(e)) => Poll::Ready(Err(e.clone().into())),
            Some(Ended::Lost(e)) => Poll::Ready(Err(e.clone())),
            None => {
                state.register_reader(waker);
                Poll::Pending
            }
        }
    }

    /// Nobody wants the rest of the message that was begun to be taken.
    pub(crate) fn skip_rest(&self) {
        let mut state = self.lock();
        state.inbox.skip_rest();
        input_taken(state);
    }

    // ---- sending ----

    /// Takes the turn to send for a message in pieces; others wait until it is given back.
    pub(crate) fn poll_take_turn(
        &self,
        slot: &mut Option<Slot>,
        waker: &Waker,
    ) -> Poll<Result<(), Error>> {
        self.poll_turn(Claim::Firm, slot, waker, |state| {
            state.streaming = true;
            Ok(())
        })
    }

    /// Waits for room for a piece, or for the end.
    pub(crate) fn poll_room(&self, waker: &Waker) -> Poll<()> {
        let mut state = self.lock();
        if state.core.can_send() && state.is_congested() {
            register(&mut state.waits.get_or_insert_default().streamer, waker);
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// Queues a piece; `begin` says that it is the first one.
    pub(crate) fn send_piece(
        &self,
        begin: Option<(MessageKind, Compress)>,
        data: Bytes,
        last: bool,
    ) -> Result<(), Error> {
        self.output(|state| {
            if let Some((kind, compress)) = begin {
                state.core.begin_message(kind, compress)?;
            }
            let queued = state.core.send_chunk(data, last);
            if queued.is_err() && begin.is_some() {
                state.core.cancel_message();
            }
            queued?;
            state.counters.messages_out.add(u64::from(last));
            Ok(())
        })
    }

    /// Lets all pieces so far leave.
    pub(crate) fn flush_message(&self) -> Result<(), Error> {
        Ok(self.output(|state| state.core.flush_message())?)
    }

    /// Gives the turn back. A message that was begun and not finished cannot be told complete, so
    /// it ends the connection.
    pub(crate) fn give_turn_back(&self, unfinished: bool) {
        let now = self.now();
        self.change(|state| {
            state.streaming = false;
            if let Some(waits) = &mut state.waits {
                waits.streamer = None;
            }
            if unfinished {
                let reason = "a message was not finished";
                state.close(CloseFrame::new(CloseCode::INTERNAL_ERROR, reason).ok(), now);
            }
            state.call_sender();
        });
    }

    /// Queues a message of whoever has waited for his turn; gives it back when one in pieces has
    /// begun meanwhile.
    pub(crate) fn send_in_turn(&self, message: Message) -> Result<Option<Message>, Error> {
        self.output(|state| {
            if state.streaming && state.core.can_send() {
                return Ok(Some(message));
            }
            state.send(message, Compress::Auto).map(|()| None)
        })
    }

    /// Waits until all that was queued when it was first asked was handed to the system; what
    /// others queue later is not waited for.
    pub(crate) fn poll_flushed(&self, flush: &mut Flush, waker: &Waker) -> Poll<Result<(), Error>> {
        let flushed = self.poll_mark(flush, waker);
        if flushed.is_ready() {
            flush.leave(self);
        }
        flushed
    }

    fn poll_mark(&self, flush: &mut Flush, waker: &Waker) -> Poll<Result<(), Error>> {
        let mut state = self.lock();
        if let Some(closed) = state.core.closed() {
            return Poll::Ready(if closed.unsent > 0 {
                Err(Error::new(Kind::Closed))
            } else {
                Ok(())
            });
        }
        if state.is_broken() || state.has_given_way() {
            return Poll::Ready(Err(Error::new(Kind::Closed)));
        }
        let mark = *flush.mark.get_or_insert_with(|| state.core.mark());
        if state.core.marks_passed() > mark {
            return Poll::Ready(Ok(()));
        }
        flush.slot = Some(state.waits.get_or_insert_default().flushed.wait(flush.slot, waker));
        Poll::Pending
    }
}

/// A flush under way.
#[derive(Debug, Default)]
pub(crate) struct Flush {
    /// Behind all that it waits for.
    mark: Option<u64>,
    /// Its place among those who wait.
    slot: Option<Slot>,
}

impl Flush {
    /// More was queued, which the next flush is to wait for.
    pub(crate) fn begin_anew(&mut self) {
        self.mark = None;
    }

    /// Ends it; to be called before it is dropped.
    pub(crate) fn leave(&mut self, shared: &Shared) {
        self.mark = None;
        if let Some(slot) = self.slot.take() {
            shared.leave(Queue::Flushed, slot);
        }
    }
}
