//! What the task that connects and the handles share, behind one lock.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use provod_proto::{CloseFrame, Message};

use super::events::{Ended, Event};
use super::outbox::{Outbox, Ticket, WhenFull};
use crate::error::{Error, TrySendError};

/// Received messages that wait to be taken: no more are received meanwhile.
const MOST_MESSAGES: usize = 64;
const MOST_BYTES: usize = 64 << 10;
/// Other events that wait to be taken; more push out the oldest.
const MOST_EVENTS: usize = 64;

pub(super) struct Core {
    state: Mutex<State>,
}

struct State {
    outbox: Outbox,
    events: VecDeque<Event>,
    /// Messages among them, and their bytes.
    messages: usize,
    bytes: usize,
    /// Nobody takes messages any more.
    discard: bool,
    /// Those who wait to send, in order, each with a number of its own.
    senders: VecDeque<(u64, Waker)>,
    next_sender: u64,
    /// Whoever takes events.
    reader: Option<Waker>,
    /// The task that connects.
    task: Option<Waker>,
    open: bool,
    /// The next wait is to end at once.
    hurry: bool,
    closing: Option<CloseFrame>,
    ended: Option<Ended>,
    /// Those to wake once the lock is given back.
    calls: Vec<Waker>,
}

impl State {
    fn may_send(&self) -> bool {
        self.ended.is_none() && self.closing.is_none()
    }

    /// The first of those who wait to send may try.
    fn call_sender(&mut self) {
        if let Some((_, waker)) = self.senders.front()
            && (self.outbox.has_room() || !self.may_send())
        {
            self.calls.push(waker.clone());
        }
    }

    fn call_task(&mut self) {
        self.calls.extend(self.task.take());
    }

    fn tell(&mut self, event: Event) {
        match &event {
            Event::Message(message) => {
                self.messages += 1;
                self.bytes += message.len();
            }
            _ if self.events.len() - self.messages >= MOST_EVENTS => {
                let oldest = self.events.iter().position(|e| !matches!(e, Event::Message(_)));
                oldest.map(|at| self.events.remove(at));
            }
            _ => {}
        }
        self.events.push_back(event);
        self.calls.extend(self.reader.take());
    }

    fn has_room_for_messages(&self) -> bool {
        self.discard || (self.messages < MOST_MESSAGES && self.bytes < MOST_BYTES)
    }
}

impl Core {
    pub(super) fn new(outbox: Outbox) -> Arc<Self> {
        let state = State {
            outbox,
            events: VecDeque::new(),
            messages: 0,
            bytes: 0,
            discard: false,
            senders: VecDeque::new(),
            next_sender: 0,
            reader: None,
            task: None,
            open: false,
            hurry: false,
            closing: None,
            ended: None,
            calls: Vec::new(),
        };
        Arc::new(Self { state: Mutex::new(state) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that runs under the lock leaves the state half changed when it panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and wakes whom that concerns once the lock is given back.
    fn with<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let result = change(&mut state);
        let mut calls = std::mem::take(&mut state.calls);
        calls.append(&mut state.outbox.calls);
        drop(state);
        calls.into_iter().for_each(Waker::wake);
        result
    }

    /// Waits for something to become true, in the task that connects.
    fn poll_task<R>(&self, waker: &Waker, check: impl FnOnce(&mut State) -> Option<R>) -> Poll<R> {
        self.with(|state| match check(state) {
            Some(result) => Poll::Ready(result),
            None => {
                state.task = Some(waker.clone());
                Poll::Pending
            }
        })
    }

    // ---- the handles ----

    /// Puts the message that `message` holds into the outbox, when it is this sender's turn and
    /// there is room.
    pub(super) fn poll_push(
        &self,
        message: &mut Option<Message>,
        place: &mut Option<u64>,
        waker: Option<&Waker>,
    ) -> Poll<Result<Arc<Ticket>, TrySendError<Message>>> {
        self.with(|state| {
            if !state.may_send() {
                let refused = message.take().map(TrySendError::Closed);
                return refused.map_or(Poll::Pending, |refused| Poll::Ready(Err(refused)));
            }
            let first = state.senders.front().is_none_or(|(number, _)| Some(*number) == *place);
            let when_full = state.outbox.when_full();
            let room = match when_full {
                WhenFull::DropOldest => state.outbox.make_room(),
                _ => state.outbox.has_room() && first,
            };
            if let Some(waker) = waker
                && !room
                && when_full == WhenFull::Wait
            {
                let known = state.senders.iter_mut().find(|(n, _)| Some(*n) == *place);
                if let Some((_, kept)) = known {
                    kept.clone_from(waker);
                } else {
                    *place = Some(state.next_sender);
                    state.senders.push_back((state.next_sender, waker.clone()));
                    state.next_sender += 1;
                }
                return Poll::Pending;
            }
            let Some(message) = message.take() else { return Poll::Pending };
            if !room {
                return Poll::Ready(Err(TrySendError::Full(message)));
            }
            let ticket = state.outbox.push(message);
            state.call_task();
            Poll::Ready(Ok(ticket))
        })
    }

    /// A sender gives up his place.
    pub(super) fn leave(&self, place: u64) {
        self.with(|state| {
            state.senders.retain(|(number, _)| *number != place);
            state.call_sender();
        });
    }

    pub(super) fn withdraw(&self, number: u64) -> bool {
        self.with(|state| {
            let withdrawn = state.outbox.withdraw(number);
            state.call_sender();
            state.call_task();
            withdrawn
        })
    }

    /// The network is back, as far as anybody knows.
    pub(super) fn hurry(&self) {
        self.with(|state| {
            state.hurry = !state.open;
            state.call_task();
        });
    }

    /// The first one counts. `discard`: nobody takes messages any more.
    pub(super) fn close(&self, frame: Option<CloseFrame>, discard: bool) {
        self.with(|state| {
            if state.closing.is_none() {
                state.closing = frame;
            }
            if discard {
                state.discard = true;
                state.events.retain(|event| !matches!(event, Event::Message(_)));
                (state.messages, state.bytes) = (0, 0);
            }
            // Nobody can send any more, so each calls the next one.
            state.call_sender();
            state.call_task();
        });
    }

    /// The next event; `None` once there will be no more.
    pub(super) fn poll_event(&self, waker: &Waker) -> Poll<Option<Event>> {
        self.with(|state| {
            let Some(event) = state.events.pop_front() else {
                if state.ended.is_some() {
                    return Poll::Ready(None);
                }
                state.reader = Some(waker.clone());
                return Poll::Pending;
            };
            if let Event::Message(message) = &event {
                let full = !state.has_room_for_messages();
                state.messages -= 1;
                state.bytes -= message.len();
                if full && state.has_room_for_messages() {
                    state.call_task();
                }
            }
            Poll::Ready(Some(event))
        })
    }

    pub(super) fn ended(&self) -> Option<Ended> {
        self.lock().ended.clone()
    }

    // ---- the task ----

    pub(super) fn tell(&self, event: Event) {
        self.with(|state| state.tell(event));
    }

    pub(super) fn received(&self, message: Message) {
        self.with(|state| {
            if !state.discard {
                state.tell(Event::Message(message));
            }
        });
    }

    pub(super) fn opened(&self) {
        self.with(|state| {
            (state.open, state.hurry) = (true, false);
            state.tell(Event::Open);
        });
    }

    pub(super) fn lost(&self, reached: u64) {
        self.with(|state| {
            state.open = false;
            state.outbox.lost(reached);
            state.call_sender();
        });
    }

    /// It is over; the first word counts.
    pub(super) fn end(&self, ended: Ended) {
        self.with(|state| {
            if state.ended.is_none() {
                state.outbox.end();
                state.tell(Event::Closed(ended.clone()));
                state.ended = Some(ended);
                state.calls.extend(state.senders.drain(..).map(|(_, waker)| waker));
            }
        });
    }

    pub(super) fn poll_closing(&self, waker: &Waker) -> Poll<CloseFrame> {
        self.poll_task(waker, |state| state.closing.clone())
    }

    pub(super) fn is_closing(&self) -> bool {
        self.lock().closing.is_some()
    }

    pub(super) fn poll_hurried(&self, waker: &Waker) -> Poll<()> {
        self.poll_task(waker, |state| std::mem::take(&mut state.hurry).then_some(()))
    }

    pub(super) fn poll_room(&self, waker: &Waker) -> Poll<()> {
        self.poll_task(waker, |state| state.has_room_for_messages().then_some(()))
    }

    pub(super) fn poll_waiting(&self, waker: &Waker) -> Poll<()> {
        self.poll_task(waker, |state| state.outbox.has_waiting().then_some(()))
    }

    pub(super) fn poll_settled(&self, waker: &Waker) -> Poll<()> {
        self.poll_task(waker, |state| state.outbox.is_settled().then_some(()))
    }

    /// The last message that the connection was given and that is not done with.
    pub(super) fn poll_flying(&self, waker: &Waker) -> Poll<u64> {
        self.poll_task(waker, |state| state.outbox.last_flying())
    }

    pub(super) fn feed(
        &self,
        queue: &mut dyn FnMut(Message) -> Result<u64, Error>,
    ) -> Result<(), Error> {
        // The connection is locked, so nobody may be woken before `fed`.
        self.lock().outbox.feed(queue)
    }

    /// The connection was given a message.
    pub(super) fn fed(&self) {
        self.with(State::call_task);
    }

    pub(super) fn flushed(&self, upto: u64) -> bool {
        self.with(|state| {
            let ask = state.outbox.flushed(upto);
            state.call_sender();
            state.call_task();
            ask
        })
    }

    pub(super) fn confirmed(&self, upto: u64) {
        self.with(|state| {
            state.outbox.confirmed(upto);
            state.call_sender();
            state.call_task();
        });
    }
}
