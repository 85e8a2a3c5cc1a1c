//! What comes in: bytes to the core, messages to the inbox, and the end of the input.

use std::task::Waker;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use provod_proto::{Event, MessageKind, Payload, Timestamp};

use super::inbox::{Ended, Piece, message};
use super::state::State;
use super::waiters::Waits;
use crate::error::Kind;

/// Located payloads below this are copied out of the worker's buffer. Longer ones are split off it
/// and so pin all of it: half of a buffer at most is pinned beside what the inbox counts.
const COPY_BELOW: usize = super::READ_BUFFER / 2;

/// Frames, or their like, that are handled before the handler runs and output is written.
pub(super) const FEED_WORK: usize = 256;
/// Pings that are handled before their Pongs are written: only some 64 Pongs may wait.
pub(super) const FEED_PINGS: usize = 32;

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
            let progress = match self.core.handle_input(&mut input[at..], now) {
                Ok(progress) => progress,
                Err(e) => {
                    self.end_input(Ended::Failed(e), now);
                    self.again = false;
                    at = input.len();
                    break;
                }
            };
            // A step that is not the last of its frame has inflated up to 64 KiB.
            work += if progress.again { FEED_WORK / 4 } else { 1 };
            self.again = progress.again;
            let event = match progress.event {
                Some(Event::Message { kind, payload }) => Ok((kind, payload, None)),
                Some(Event::Chunk { kind, last, payload, .. }) => Ok((kind, payload, Some(last))),
                other => Err(other),
            };
            match event {
                Ok((kind, payload, piece)) => {
                    let bytes = match payload {
                        Payload::Owned(bytes) => bytes,
                        Payload::Located(range) if range.len() < COPY_BELOW => {
                            Bytes::copy_from_slice(&input[at..][range])
                        }
                        Payload::Located(range) => {
                            let end = at + progress.consumed;
                            let whole = input.split_to(end).freeze();
                            split += end;
                            let bytes = whole.slice(at + range.start..at + range.end);
                            self.data(kind, bytes, piece);
                            at = 0;
                            if input.is_empty() && !progress.again {
                                break;
                            }
                            continue;
                        }
                    };
                    self.data(kind, bytes, piece);
                }
                Err(other) => {
                    pings += usize::from(matches!(other, Some(Event::Ping(_))));
                    self.event(other, now);
                }
            }
            at += progress.consumed;
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
        self.counters.bytes_in.add(n as u64);
        let before = self.inbox.cost();
        self.add_work(1 + n / 1024);
        match self.core.handle_direct(n, now) {
            Ok(progress) => match progress.event {
                Some(Event::Message { kind, payload: Payload::Owned(bytes) }) => {
                    self.message(kind, bytes);
                }
                other => self.event(other, now),
            },
            Err(e) => self.end_input(Ended::Failed(e), now),
        }
        self.wake_reader(before, own);
    }

    /// A message, or a piece of one that is perhaps its last.
    fn data(&mut self, kind: MessageKind, bytes: Bytes, piece: Option<bool>) {
        match piece {
            None => self.message(kind, bytes),
            Some(last) => self.piece(Piece { kind, bytes, last }),
        }
    }

    fn message(&mut self, kind: MessageKind, bytes: Bytes) {
        self.counters.messages_in.add(1);
        self.received = true;
        if self.discard {
            self.counters.dropped.add(1);
            return;
        }
        self.inbox.push(message(kind, bytes));
    }

    /// A piece of a message that is given out as it arrives.
    fn piece(&mut self, piece: Piece) {
        self.counters.messages_in.add(u64::from(piece.last));
        self.received = true;
        if self.discard {
            self.counters.dropped.add(u64::from(piece.last));
            return;
        }
        self.inbox.push_piece(piece);
    }

    pub(super) fn event(&mut self, event: Option<Event>, now: Timestamp) {
        match event {
            Some(Event::Close(_)) => self.end_input(Ended::Close, now),
            Some(Event::Pong { payload, rtt }) => self.pong(&payload, rtt, now),
            _ => {}
        }
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
