//! Input for a [`Handler`](crate::Handler), which is called with each message where it lies.

use std::collections::VecDeque;

use bytes::Bytes;
use provod_proto::{Event, MessageKind, Payload, Timestamp, Whole};

use super::inbox::Ended;
use super::intake::{FEED_PINGS, FEED_WORK};
use super::state::State;

/// Messages that have come, in their order.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    found: Vec<Whole>,
    /// Those that do not lie in the input; in `found` they start at [`OWNED`].
    owned: VecDeque<Bytes>,
    /// How many were taken out.
    taken: usize,
}

const OWNED: u32 = u32::MAX;

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.taken == self.found.len()
    }

    /// The next message; a range is one of the input that it came in.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<(MessageKind, Payload)> {
        let found = *self.found.get(self.taken)?;
        self.taken += 1;
        if found.start == OWNED {
            let bytes = self.owned.pop_front().unwrap_or_default();
            return Some((found.kind, Payload::Owned(bytes)));
        }
        Some((found.kind, Payload::Located(found.range())))
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.found.clear();
        self.owned.clear();
        self.taken = 0;
    }

    fn push(&mut self, kind: MessageKind, payload: Payload) {
        let (start, len) = match payload {
            // The core's ranges lie in an input that is shorter than 4 GiB.
            Payload::Located(range) => (range.start as u32, range.len() as u32),
            Payload::Owned(bytes) => {
                self.owned.push_back(bytes);
                (OWNED, 0)
            }
        };
        self.found.push(Whole { kind, start, len });
    }
}

impl State {
    /// Gives `input` to the core until it is time to call the handler and to write; appends the
    /// messages to `batch` and returns how many bytes were taken.
    pub(crate) fn feed_batch(
        &mut self,
        input: &mut [u8],
        now: Timestamp,
        batch: &mut Batch,
    ) -> usize {
        let (mut at, mut work, mut pings) = (0, 0, 0);
        self.again = false;
        while work < FEED_WORK && pings < FEED_PINGS {
            let before = batch.found.len();
            let most = FEED_WORK - work;
            let taken = self.core.handle_messages(&mut input[at..], now, most, &mut batch.found);
            if batch.found.len() > before {
                work += batch.found.len() - before;
                self.whole(before, at, batch);
            }
            let progress = taken.and_then(|taken| {
                at += taken;
                if taken > 0 && at == input.len() {
                    return Ok(None);
                }
                self.core.handle_input(&mut input[at..], now).map(Some)
            });
            let progress = match progress {
                Ok(Some(progress)) => progress,
                Ok(None) => break,
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
            match progress.event {
                Some(Event::Message { kind, payload: Payload::Located(range) }) => {
                    let range = at + range.start..at + range.end;
                    self.arrived(kind, Payload::Located(range), batch);
                }
                Some(Event::Message { kind, payload }) => self.arrived(kind, payload, batch),
                None => {}
                other => {
                    pings += usize::from(matches!(other, Some(Event::Ping(_))));
                    self.event(other, now);
                }
            }
            at += progress.consumed;
            if at == input.len() && !progress.again {
                break;
            }
        }
        self.counters.bytes_in.add(at as u64);
        at
    }

    /// `n` bytes were read into the core's own buffer.
    pub(crate) fn direct_batch(&mut self, n: usize, now: Timestamp, batch: &mut Batch) {
        self.counters.bytes_in.add(n as u64);
        self.again = false;
        match self.core.handle_direct(n, now) {
            Ok(progress) => match progress.event {
                Some(Event::Message { kind, payload }) => self.arrived(kind, payload, batch),
                other => self.event(other, now),
            },
            Err(e) => self.end_input(Ended::Failed(e), now),
        }
    }

    /// Whole messages were appended to `batch` behind `before`; their ranges count from `at`.
    fn whole(&mut self, before: usize, at: usize, batch: &mut Batch) {
        self.received = true;
        let n = (batch.found.len() - before) as u64;
        self.counters.messages_in.add(n);
        if self.discard {
            self.counters.dropped.add(n);
            batch.found.truncate(before);
        } else if at > 0 {
            for whole in &mut batch.found[before..] {
                whole.start += at as u32;
            }
        }
    }

    fn arrived(&mut self, kind: MessageKind, payload: Payload, batch: &mut Batch) {
        self.received = true;
        self.counters.messages_in.add(1);
        if self.discard {
            self.counters.dropped.add(1);
        } else {
            batch.push(kind, payload);
        }
    }

    /// The handler has had all that came: a Close that is owed may leave.
    pub(crate) fn batch_done(&mut self, now: Timestamp) {
        if self.core.is_close_held() && !self.again {
            self.core.release_close(now);
        }
    }
}
