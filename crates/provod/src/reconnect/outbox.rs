//! Messages on their way: which wait, which were given to a connection, and what becomes of each.
//! No I/O, no clock.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use provod_proto::Message;

use crate::error::{Error, Kind};

/// How much may be on its way, and what happens to what is more.
///
/// A message counts until what became of it is known; where nobody wants to know, until it was
/// handed to the system.
///
/// ```
/// use provod::reconnect::{OutboxLimits, WhenFull};
///
/// // Positions of a player: only the newest ones matter.
/// let mut outbox = OutboxLimits::default();
/// outbox.messages = 8;
/// outbox.when_full = WhenFull::DropOldest;
/// let setup = provod::Client::new("ws://example.com/").reconnecting().outbox(outbox);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxLimits {
    /// So many messages. Default: 4,096.
    pub messages: usize,
    /// So many bytes, and one message. Default: 4 MiB.
    pub bytes: usize,
    /// Default: [`WhenFull::Wait`].
    pub when_full: WhenFull,
}

impl Default for OutboxLimits {
    fn default() -> Self {
        Self { messages: 4096, bytes: 4 << 20, when_full: WhenFull::Wait }
    }
}

impl OutboxLimits {
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.messages == 0 || self.bytes == 0 {
            let what = "an outbox of no messages or no bytes takes nothing: set both above 0";
            return Err(Error::new(Kind::Setting(what.to_owned())));
        }
        Ok(())
    }
}

/// What happens to a message for which the outbox has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenFull {
    /// [`send`](super::Sender::send) waits, in the order in which tasks began to wait.
    Wait,
    /// It is refused, and given back.
    Reject,
    /// The oldest ones that were not given to a connection yet make room, and are
    /// [`NotSent`](Delivery::NotSent); [`InDoubt`](Delivery::InDoubt) where they wait to be
    /// [sent again](super::Setup::resend_in_doubt). Where there is none of these, the new one is
    /// refused.
    DropOldest,
}

/// What became of a message. What did not surely arrive is given back.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivery {
    /// The peer's WebSocket has read it: it answered a Ping that was sent behind it.
    #[cfg(not(target_family = "wasm"))]
    Sent,
    /// The browser has handed it to the system. A page can send no Ping, so nobody knows more: what
    /// must not be lost is answered by the application at the other end.
    #[cfg(target_family = "wasm")]
    HandedOver,
    /// Not one byte of it was handed to the system: the peer has not seen it, and it can be sent
    /// again by other means.
    NotSent(Message),
    /// It was handed to the system, whole or in part, and the connection was lost before the peer
    /// had confirmed it: it may have arrived, once, or not.
    InDoubt(Message),
}

impl Delivery {
    /// Whether it arrived for sure.
    #[cfg(not(target_family = "wasm"))]
    #[must_use]
    pub fn is_sent(&self) -> bool {
        *self == Self::BEST
    }

    /// The message, where it did not surely arrive.
    #[must_use]
    pub fn into_message(self) -> Option<Message> {
        match self {
            Self::NotSent(message) | Self::InDoubt(message) => Some(message),
            _ => None,
        }
    }

    /// The most that can be known of a message.
    #[cfg(not(target_family = "wasm"))]
    const BEST: Self = Self::Sent;
    #[cfg(target_family = "wasm")]
    const BEST: Self = Self::HandedOver;
}

/// What a receipt waits for.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) number: u64,
    wanted: AtomicBool,
    cell: Mutex<Cell>,
}

#[derive(Debug)]
enum Cell {
    Open(Option<Waker>),
    Done(Delivery),
}

impl Ticket {
    fn new(number: u64) -> Arc<Self> {
        let cell = Mutex::new(Cell::Open(None));
        Arc::new(Self { number, wanted: AtomicBool::new(true), cell })
    }

    fn lock(&self) -> MutexGuard<'_, Cell> {
        self.cell.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn poll(&self, waker: &Waker) -> Poll<Delivery> {
        match &mut *self.lock() {
            Cell::Done(delivery) => Poll::Ready(delivery.clone()),
            Cell::Open(place) => {
                *place = Some(waker.clone());
                Poll::Pending
            }
        }
    }

    /// Nobody wants to know any more.
    pub(super) fn forget(&self) {
        self.wanted.store(false, Relaxed);
    }

    fn is_wanted(&self) -> bool {
        self.wanted.load(Relaxed)
    }

    /// The first word counts. Returns whom to wake, once nothing is locked.
    fn resolve(&self, delivery: Delivery) -> Option<Waker> {
        let mut cell = self.lock();
        if let Cell::Open(waker) = &mut *cell {
            let waker = waker.take();
            *cell = Cell::Done(delivery);
            return waker;
        }
        None
    }
}

#[derive(Debug)]
struct Entry {
    message: Message,
    ticket: Arc<Ticket>,
    /// Some of it was handed to the system on a connection that is lost.
    begun: bool,
}

impl Entry {
    /// What it is when it will not be sent any more and this connection has none of it.
    fn not_sent(self) -> Option<Waker> {
        let delivery = if self.begun { Delivery::InDoubt } else { Delivery::NotSent };
        self.ticket.resolve(delivery(self.message))
    }
}

/// Those that wait come behind those that were given to the connection; both are in the order in
/// which they were sent.
#[derive(Debug)]
pub(super) struct Outbox {
    limits: OutboxLimits,
    resend: bool,
    waiting: VecDeque<Entry>,
    /// Given to the connection, each with its mark there.
    flying: VecDeque<(u64, Entry)>,
    /// Bytes of both.
    bytes: usize,
    next: u64,
    /// Those to wake once nothing is locked.
    pub(super) calls: Vec<Waker>,
}

impl Outbox {
    pub(super) fn new(limits: OutboxLimits, resend: bool) -> Self {
        let (waiting, flying) = (VecDeque::new(), VecDeque::new());
        Self { limits, resend, waiting, flying, bytes: 0, next: 0, calls: Vec::new() }
    }

    pub(super) fn when_full(&self) -> WhenFull {
        self.limits.when_full
    }

    pub(super) fn has_room(&self) -> bool {
        let messages = self.waiting.len() + self.flying.len();
        messages < self.limits.messages && self.bytes < self.limits.bytes
    }

    /// Drops the oldest ones that wait until there is room; returns whether there is.
    pub(super) fn make_room(&mut self) -> bool {
        while !self.has_room() {
            let Some(entry) = self.waiting.pop_front() else { return false };
            self.bytes -= entry.message.len();
            self.calls.extend(entry.not_sent());
        }
        true
    }

    pub(super) fn push(&mut self, message: Message) -> Arc<Ticket> {
        let ticket = Ticket::new(self.next);
        self.next += 1;
        self.bytes += message.len();
        self.waiting.push_back(Entry { message, ticket: ticket.clone(), begun: false });
        ticket
    }

    /// Takes a message back, unless a connection has it. Returns whether it did.
    pub(super) fn withdraw(&mut self, number: u64) -> bool {
        let Some(at) = self.waiting.iter().position(|entry| entry.ticket.number == number) else {
            return false;
        };
        if let Some(entry) = self.waiting.remove(at) {
            self.bytes -= entry.message.len();
            self.calls.extend(entry.not_sent());
        }
        true
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Gives the oldest one that waits to a connection, which returns its mark.
    pub(super) fn feed(
        &mut self,
        queue: &mut dyn FnMut(Message) -> Result<u64, Error>,
    ) -> Result<(), Error> {
        let Some(front) = self.waiting.front() else { return Ok(()) };
        let mark = queue(front.message.clone())?;
        if let Some(entry) = self.waiting.pop_front() {
            self.flying.push_back((mark, entry));
        }
        Ok(())
    }

    /// The last one that was given to the connection and is not done with.
    pub(super) fn last_flying(&self) -> Option<u64> {
        self.flying.back().map(|(_, entry)| entry.ticket.number)
    }

    /// Whether all that was taken was sent, as far as anybody wants to know.
    pub(super) fn is_settled(&self) -> bool {
        self.waiting.is_empty() && self.flying.is_empty()
    }

    /// The connection has handed all to the system up to this one. Returns whether the peer is to
    /// be asked what it has read; if not, they are done with.
    pub(super) fn flushed(&mut self, upto: u64) -> bool {
        let ask = self.resend || self.up_to(upto).any(|entry| entry.ticket.is_wanted());
        if !ask {
            // Nobody sees what is said of them.
            self.resolve(upto, Delivery::InDoubt);
        }
        ask
    }

    /// The peer has read all up to this one.
    pub(super) fn confirmed(&mut self, upto: u64) {
        self.resolve(upto, |_| Delivery::BEST);
    }

    fn up_to(&self, upto: u64) -> impl Iterator<Item = &Entry> {
        self.flying.iter().map(|(_, entry)| entry).take_while(move |e| e.ticket.number <= upto)
    }

    fn resolve(&mut self, upto: u64, delivery: impl Fn(Message) -> Delivery) {
        while self.flying.front().is_some_and(|(_, entry)| entry.ticket.number <= upto) {
            let Some((_, entry)) = self.flying.pop_front() else { break };
            self.bytes -= entry.message.len();
            self.calls.extend(entry.ticket.resolve(delivery(entry.message)));
        }
    }

    /// The connection is over, and marks below `reached` are those of messages that it has begun to
    /// hand over. The others wait again, in front of those that came later.
    pub(super) fn lost(&mut self, reached: u64) {
        let mut again = Vec::new();
        for (mark, mut entry) in std::mem::take(&mut self.flying) {
            let begun = mark < reached;
            if begun && !self.resend {
                self.bytes -= entry.message.len();
                self.calls.extend(entry.ticket.resolve(Delivery::InDoubt(entry.message)));
            } else {
                entry.begun |= begun;
                again.push(entry);
            }
        }
        for entry in again.into_iter().rev() {
            self.waiting.push_front(entry);
        }
    }

    /// Nothing is sent any more. What a connection still has may be on its way.
    pub(super) fn end(&mut self) {
        self.lost(u64::MAX);
        for entry in std::mem::take(&mut self.waiting) {
            self.calls.extend(entry.not_sent());
        }
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests;
