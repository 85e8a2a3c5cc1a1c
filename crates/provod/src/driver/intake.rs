//! What comes in: bytes to the core, messages to the inbox, and the end of the input.

use std::task::Waker;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use provod_proto::{Event, Message, MessageKind, Payload, Timestamp, Utf8Bytes};

use super::inbox::Ended;
use super::state::State;
use crate::error::Kind;

/// Located payloads below this are copied out of the worker's buffer. Longer ones are split off it
/// and so pin all of it: half of a buffer at most is pinned beside what the inbox counts.
const COPY_BELOW: usize = super::READ_BUFFER / 2;

impl State {
    pub(crate) fn is_inbox_full(&self) -> bool {
        !self.discard && self.inbox.cost() >= self.read_ahead.max(1)
    }

    pub(super) fn is_inbox_half_empty(&self) -> bool {
        self.discard || self.inbox.cost() <= self.read_ahead / 2
    }

    /// Whether the driver may read. Once the inbox has been full, not before half of it was taken:
    /// small reads, each for a message that was taken, would cost more than they bring.
    pub(crate) fn may_read(&mut self) -> bool {
        if self.paused && self.is_inbox_half_empty() {
            self.paused = false;
            self.core.handle_reading_resumed();
        } else if !self.paused && self.is_inbox_full() {
            self.paused = true;
            self.core.handle_reading_paused();
        }
        !self.paused
    }

    /// Gives `input` to the core until the inbox is full; returns what is left.
    pub(crate) fn feed(&mut self, input: &mut BytesMut, now: Timestamp, own: &Waker) -> BytesMut {
        self.counters.bytes_in.add(input.len() as u64);
        let mut at = 0;
        let mut before = self.inbox.cost();
        loop {
            if self.is_inbox_full() {
                // Counted again when it is fed.
                self.counters.bytes_in.sub((input.len() - at) as u64);
                let rest = input.split_off(at);
                self.wake_reader(&mut before, own);
                return rest;
            }
            let progress = match self.core.handle_input(&mut input[at..], now) {
                Ok(progress) => progress,
                Err(e) => {
                    self.end_input(Ended::Failed(e), now);
                    break;
                }
            };
            match progress.event {
                Some(Event::Message { kind, payload }) => {
                    let bytes = match payload {
                        Payload::Owned(bytes) => bytes,
                        Payload::Located(range) if range.len() < COPY_BELOW => {
                            Bytes::copy_from_slice(&input[at..][range])
                        }
                        Payload::Located(range) => {
                            let whole = input.split_to(at + progress.consumed).freeze();
                            let bytes = whole.slice(at + range.start..at + range.end);
                            at = 0;
                            self.message(kind, bytes);
                            if input.is_empty() && !progress.again {
                                break;
                            }
                            continue;
                        }
                    };
                    self.message(kind, bytes);
                }
                other => self.event(other, now),
            }
            at += progress.consumed;
            if at == input.len() && !progress.again {
                break;
            }
        }
        self.wake_reader(&mut before, own);
        BytesMut::new()
    }

    /// `n` bytes were read into the core's own buffer.
    pub(crate) fn direct(&mut self, n: usize, now: Timestamp, own: &Waker) {
        self.counters.bytes_in.add(n as u64);
        let mut before = self.inbox.cost();
        match self.core.handle_direct(n, now) {
            Ok(progress) => match progress.event {
                Some(Event::Message { kind, payload: Payload::Owned(bytes) }) => {
                    self.message(kind, bytes);
                }
                other => self.event(other, now),
            },
            Err(e) => self.end_input(Ended::Failed(e), now),
        }
        self.wake_reader(&mut before, own);
    }

    pub(super) fn message(&mut self, kind: MessageKind, bytes: Bytes) {
        self.counters.messages_in.add(1);
        if self.discard {
            self.counters.dropped.add(1);
            return;
        }
        self.inbox.push(match kind {
            MessageKind::Text => Message::Text(Utf8Bytes::from_checked(bytes)),
            MessageKind::Binary => Message::Binary(bytes),
        });
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
        if !self.pings.iter().any(|p| p.id == id) {
            return;
        }
        for waiting in self.pings.iter_mut().filter(|p| p.id <= id && p.answer.is_none()) {
            let since = now.since(waiting.queued);
            waiting.answer = Some(if waiting.id == id { rtt.unwrap_or(since) } else { since });
            if let Some(waker) = waiting.waker.take() {
                waker.wake();
            }
        }
    }

    /// The reader in the driver's own task runs next anyway; one elsewhere is woken.
    pub(super) fn wake_reader(&mut self, before: &mut usize, own: &Waker) {
        if self.inbox.cost() == *before && self.ended.is_none() {
            return;
        }
        if let Some(reader) = self.reader.take()
            && !reader.will_wake(own)
        {
            reader.wake();
        }
    }

    /// The transport's input has ended or broken.
    pub(crate) fn input_over(&mut self, error: Option<std::io::Error>, now: Timestamp) {
        match error {
            Some(error) => self.broken(error, now),
            None => {
                self.core.handle_eof(now);
                self.end_input(Ended::lost(Kind::Ended), now);
                self.settle();
            }
        }
    }

    /// The transport is broken.
    pub(crate) fn broken(&mut self, error: std::io::Error, now: Timestamp) {
        self.broken.get_or_insert(error);
        self.core.handle_lost(now);
        self.settle();
    }

    pub(super) fn end_input(&mut self, ended: Ended, now: Timestamp) {
        if let Ended::Failed(e) = &ended {
            self.violation = Some(e.clone());
        }
        self.ended.get_or_insert(ended);
        if self.discard || (self.inbox.is_empty() && self.awaits_end) {
            self.core.release_close(now);
        }
        let pings = self.pings.iter_mut().filter_map(|p| p.waker.take());
        pings.chain(self.reader.take()).for_each(Waker::wake);
    }

    pub(super) fn discard(&mut self, now: Timestamp) {
        self.discard = true;
        let n = self.inbox.clear();
        self.counters.dropped.add(n as u64);
        self.core.release_close(now);
    }
}
