//! Messages whose way to the system is followed, for whoever must know which of them were begun.

use std::task::{Poll, Waker};

use provod_proto::{Compress, Message};

use super::shared::Shared;
use super::waiters::{Claim, Slot};
use crate::error::Error;

impl Shared {
    /// Waits for the turn to send and for room; then `feed` may queue a message with what it is
    /// given, which returns the number of the message's mark. The connection is locked meanwhile.
    pub(crate) fn poll_send_marked(
        &self,
        feed: impl FnOnce(&mut dyn FnMut(Message) -> Result<u64, Error>) -> Result<(), Error>,
        slot: &mut Option<Slot>,
        waker: &Waker,
    ) -> Poll<Result<(), Error>> {
        self.poll_turn(Claim::Firm, slot, waker, |state| {
            feed(&mut |message| {
                let mark = state.core.send_marked(message, Compress::Auto)?;
                state.counters.messages_out.add(1);
                Ok(mark)
            })
        })
    }

    /// Messages of which at least one byte was handed to the system have marks below this. On a
    /// connection that has ended it is final.
    pub(crate) fn marks_reached(&self) -> u64 {
        self.lock().core.marks_reached()
    }
}
