//! What comes in: bytes to the core, messages to the inbox, and the end of the input.

use std::task::Waker;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use provod_proto::{Event, MessageKind, Payload, Progress, Timestamp};

use super::inbox::{Ended, Piece, message};
use super::state::State;
use super::waiters::Waits;
use crate::error::Kind;

/// Located payloads below this are copied out of the worker's buffer. Longer ones are split off it
/// and so pin all of it: half of a buffer at most is pinned beside what the inbox counts.
const COPY_BELOW: usize = super::READ_BUFFER / 2;

/// Frames, or their like, that are handled before the handler runs and output is written.
pub(super) const FEED_WORK: usize = 256;
/// Bytes that take as long to inflate as a frame takes, about.
const INFLATED: usize = 1024;
/// Pings that are handled before their Pongs are written: only some 64 Pongs may wait.
pub(super) const FEED_PINGS: usize = 32;

/// What a step cost, in frames or their like.
pub(super) fn work(progress: &Progress) -> usize {
    1 + progress.inflated / INFLATED
}

impl State {
    pub(crate) fn is_inbox_full(&self) -> bool {
        !self.discard && self.inbox.cost() >= self.read_ahead().max(1)
    }

    pub(super) fn is_inbox_half_empty(&self) -> bool {
        self.discard || self.inbox.cost() <= self.read_ahead() / 2
    }

    /// Whether the driver may read. Once the inbox has been full, not before half of it was taken:
    /// small reads, each for a message that was taken, would cost more than they bring.
    pub(crate) fn may_read(&mut self, now: Timestamp) -> bool {
        if self.paused && self.is_inbox_half_empty() {
            self.paused = false;
            self.core.handle_reading_resumed(now);
        } else if !self.paused && self.is_inbox_full() {
            self.paused = true;
            self.core.handle_reading_paused();
        }
        !self.paused
    }

    /// Whether [`feed`](Self::feed) has more to do, even with no input.
    pub(crate) fn must_feed(&self) -> bool {
        self.again
    }

    /// Gives `input` to the core until the inbox is full, or until it is time to write and to let
    /// the handler run; returns what is left.
    pub(crate) fn feed(&mut self, input: &mut BytesMut, now: Timestamp, own: &Waker) -> BytesMut {
        let before = (self.inbox.cost(), input.len());
        let (mut at, mut split, mut work, mut pings) = (0, 0, 0, 0);
        self.again = false;
        loop {
            if self.is_inbox_full() || work >= FEED_WORK || pings >= FEED_PINGS {
                break;
            }
            let progress = self.core.handle_input(&mut input[at..], now);
            let Some(progress) = self.progress(progress, now) else {
                at = input.len();
                break;
            };
            work += self::work(&progress);
            let end = at + progress.consumed;
            let data = match progress.event {
                Some(Event::Message { kind, payload }) => Some((kind, payload, None)),
                Some(Event::Chunk { kind, last, payload, .. }) => Some((kind, payload, Some(last))),
                other => {
                    pings += self.event(other, now);
                    None
                }
            };
            match data {
                Some((kind, Payload::Located(range), piece)) if range.len() >= COPY_BELOW => {
                    let whole = input.split_to(end).freeze();
                    self.data(kind, whole.slice(at + range.start..at + range.end), piece);
                    split += end;
                    at = 0;
                }
                Some((kind, payload, piece)) => {
                    let bytes = match payload {
                        Payload::Owned(bytes) => bytes,
                        Payload::Located(range) => Bytes::copy_from_slice(&input[at..][range]),
                    };
                    self.data(kind, bytes, piece);
                    at = end;
                }
                None => at = end,
            }
            if at == input.len() && !progress.again {
                break;
            }
        }
        self.add_work(work);
        // An empty rest would keep the worker's whole buffer all the same.
        let rest = if at == input.len() { BytesMut::new() } else { input.split_off(at) };
        debug_assert_eq!(split + at + rest.len(), before.1);
        // What is left is counted when it is fed.
        self.counters.bytes_in.add((split + at) as u64);
        self.wake_reader(before.0, own);
        rest
    }

    /// `n` bytes were read into the core's own buffer.
    pub(crate) fn direct(&mut self, n: usize, now: Timestamp, own: &Waker) {
        let before = self.inbox.cost();
        self.add_work(1 + n / 1024);
        if let Some((kind, bytes)) = self.take_direct(n, now) {
            self.message(kind, bytes);
        }
        self.wake_reader(before, own);
    }

    /// `n` bytes were read into the core's own buffer; returns the message that they end.
    pub(super) fn take_direct(&mut self, n: usize, now: Timestamp) -> Option<(MessageKind, Bytes)> {
        self.counters.bytes_in.add(n as u64);
        let progress = self.core.handle_direct(n, now);
        match self.progress(progress, now)?.event {
            Some(Event::Message { kind, payload: Payload::Owned(bytes) }) => Some((kind, bytes)),
            other => {
                self.event(other, now);
                None
            }
        }
    }

    /// Takes note of what a step of the core has come to; `None` where the input ends with it.
    pub(super) fn progress(
        &mut self,
        progress: Result<Progress, provod_proto::Error>,
        now: Timestamp,
    ) -> Option<Progress> {
        match progress {
            Ok(progress) => {
                self.again = progress.again;
                Some(progress)
            }
            Err(e) => {
                self.end_input(Ended::Failed(e), now);
                self.again = false;
                None
            }
        }
    }

    /// A message, or a piece of one that is perhaps its last.
    fn data(&mut self, kind: MessageKind, bytes: Bytes, piece: Option<bool>) {
        match piece {
            None => self.message(kind, bytes),
            Some(last) => self.piece(Piece { kind, bytes, last }),
        }
    }

    fn message(&mut self, kind: MessageKind, bytes: Bytes) {
        if self.arrived(1) {
            self.inbox.push(message(kind, bytes));
        }
    }

    /// A piece of a message that is given out as it arrives.
    fn piece(&mut self, piece: Piece) {
        if self.arrived(u64::from(piece.last)) {
            self.inbox.push_piece(piece);
        }
    }

    /// Counts `n` messages that have come; returns whether anybody takes them.
    pub(super) fn arrived(&mut self, n: u64) -> bool {
        self.received = true;
        self.counters.messages_in.add(n);
        if self.discard {
            self.counters.dropped.add(n);
        }
        !self.discard
    }

    /// What else than a message has come. Returns how many Pings that are.
    pub(super) fn event(&mut self, event: Option<Event>, now: Timestamp) -> usize {
        match event {
            Some(Event::Close(_)) => self.end_input(Ended::Close, now),
            Some(Event::Pong { payload, rtt }) => self.pong(&payload, rtt, now),
            Some(Event::Ping(_)) => return 1,
            _ => {}
        }
        0
    }

    /// A Pong answers its Ping and, since a peer may answer the newest alone, those before it (RFC
    /// 6455 section 5.5.3). `rtt` is exact; without it the time in our own queue counts too.
    pub(super) fn pong(&mut self, payload: &[u8], rtt: Option<Duration>, now: Timestamp) {
        let Ok(id) = payload.try_into().map(u64::from_be_bytes) else { return };
        let Some(Waits { pings, .. }) = self.waits.as_deref_mut() else { return };
        if !pings.iter().any(|p| p.id == id) {
            return;
        }
        for waiting in pings.iter_mut().filter(|p| p.id <= id && p.answer.is_none()) {
            let since = now.since(waiting.queued);
            waiting.answer = Some(if waiting.id == id { rtt.unwrap_or(since) } else { since });
            self.calls.extend(waiting.waker.take());
        }
    }

    /// The reader in the driver's own task runs next anyway; one elsewhere is woken.
    pub(super) fn wake_reader(&mut self, before: usize, own: &Waker) {
        if self.inbox.cost() == before && self.ended().is_none() {
            return;
        }
        if let Some(reader) = self.take_reader()
            && !reader.will_wake(own)
        {
            self.calls.add(reader);
        }
    }

    /// The transport's input has ended or broken.
    pub(crate) fn input_over(&mut self, error: Option<std::io::Error>, now: Timestamp) {
        match error {
            Some(error) => self.broken(error, now),
            None => {
                self.core.handle_eof(now);
                let lost = self.take_broken().map_or(Kind::Ended, Kind::Transport);
                self.end_input(Ended::lost(lost), now);
                self.settle();
            }
        }
    }

    /// The transport is broken.
    pub(crate) fn broken(&mut self, error: std::io::Error, now: Timestamp) {
        self.end().broken.get_or_insert(error);
        self.core.handle_lost(now);
        self.settle();
    }

    pub(super) fn end_input(&mut self, ended: Ended, now: Timestamp) {
        if let Ended::Failed(e) = &ended {
            self.end().violation = Some(e.clone());
        }
        self.end().ended.get_or_insert(ended);
        // Where no message has ever come there is none that the application might still answer.
        let nothing_open = !self.received || (self.inbox.is_empty() && self.awaits_end);
        if self.discard || nothing_open {
            self.core.release_close(now);
        }
        self.call_readers();
    }

    pub(super) fn discard(&mut self, now: Timestamp) {
        self.discard = true;
        let n = self.inbox.clear();
        self.counters.dropped.add(n as u64);
        self.core.release_close(now);
    }
}
