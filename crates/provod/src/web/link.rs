//! One connection in a browser, as the task that connects again sees it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use provod_proto::{CloseFrame, Closed, Message};

use super::core::Core;
use crate::error::{Error, Kind};
use crate::web::timer::sleep;
use crate::web::{LOOK, Receiver, Sender, WebSocket};

/// The half that sends.
pub(super) struct Link {
    sender: Sender,
    given: RefCell<Given>,
}

/// What the browser was given, and may not have sent.
#[derive(Default)]
struct Given {
    /// The mark of the next message.
    next: u64,
    /// Lengths of the last messages, the newest at the end.
    lengths: VecDeque<usize>,
}

/// Splits a connection.
pub(super) fn split(ws: WebSocket) -> (Link, Receiver) {
    let (sender, receiver) = ws.split();
    (Link { sender, given: RefCell::default() }, receiver)
}

impl Link {
    /// How long the closing handshake may take.
    pub(super) fn close_timeout(&self) -> Duration {
        self.sender.shared().close_timeout()
    }

    /// Waits for room, then gives the browser the next message that waits.
    pub(super) async fn feed(&self, core: &Core) -> Result<(), Error> {
        let shared = self.sender.shared();
        shared.drained().await;
        core.feed(&mut |message| {
            let length = message.len();
            shared.send(&message)?;
            let mut given = self.given.borrow_mut();
            given.lengths.push_back(length);
            given.next += 1;
            Ok(given.next - 1)
        })
    }

    /// Waits until the browser has handed all that it was given to the system.
    pub(super) async fn flush(&self) -> Result<(), Error> {
        let shared = self.sender.shared();
        while shared.buffered_amount() > 0 {
            if !shared.can_send() {
                return Err(Error::new(Kind::Closed));
            }
            sleep(LOOK).await;
        }
        self.given.borrow_mut().lengths.clear();
        Ok(())
    }

    /// A page can send no Ping: nobody knows more than that the message has left.
    pub(super) async fn confirm(&self) -> Result<(), Error> {
        Ok(())
    }

    pub(super) fn close(&self, frame: CloseFrame) {
        self.sender.shared().close(frame);
    }

    /// Ends the connection.
    pub(super) fn abort(&self) {
        self.sender.shared().end();
    }

    pub(super) async fn closed(&self) -> Closed {
        self.sender.shared().closed_in_time().await
    }

    /// Messages that may have left, or still may, have marks below this: the browser counts the
    /// bytes that it still holds, of which the newest messages are made. It goes on sending them
    /// until it is done, and there is no way to stop it.
    pub(super) fn reached(&self) -> u64 {
        let given = self.given.borrow();
        if !self.sender.shared().is_over() {
            return given.next;
        }
        let mut held = self.sender.buffered_amount();
        let unsent = given.lengths.iter().rev().take_while(|length| {
            let whole = **length > 0 && held >= **length;
            held = held.saturating_sub(**length);
            whole
        });
        given.next - unsent.count() as u64
    }
}

/// The next message.
pub(super) async fn receive(receiver: &mut Receiver) -> Result<Option<Message>, Error> {
    receiver.recv().await
}
