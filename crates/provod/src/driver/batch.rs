//! Input for a [`Handler`](crate::Handler), which is called with each message where it lies.

use std::collections::VecDeque;

use bytes::Bytes;
use provod_proto::{Event, MessageKind, Payload, Timestamp, Whole};

use super::intake::{self, FEED_PINGS, FEED_WORK};
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

/// How far [`State::feed_batch`] has come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fed {
    /// Bytes of the input that were taken.
    pub(crate) taken: usize,
    /// What that cost, in frames or their like.
    pub(crate) work: usize,
}

impl State {
    /// Gives `input` to the core until it is time to call the handler and to write; appends the
    /// messages to `batch`.
    pub(crate) fn feed_batch(
        &mut self,
        input: &mut [u8],
        now: Timestamp,
        batch: &mut Batch,
    ) -> Fed {
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
            let progress = match progress.transpose() {
                Some(progress) => self.progress(progress, now),
                None => break,
            };
            let Some(progress) = progress else {
                at = input.len();
                break;
            };
            work += intake::work(&progress);
            match progress.event {
                Some(Event::Message { kind, payload }) => {
                    let payload = match payload {
                        Payload::Located(range) => {
                            Payload::Located(at + range.start..at + range.end)
                        }
                        owned => owned,
                    };
                    if self.arrived(1) {
                        batch.push(kind, payload);
                    }
                }
                other => pings += self.event(other, now),
            }
            at += progress.consumed;
            if at == input.len() && !progress.again {
                break;
            }
        }
        self.counters.bytes_in.add(at as u64);
        Fed { taken: at, work }
    }

    /// `n` bytes were read into the core's own buffer.
    pub(crate) fn direct_batch(&mut self, n: usize, now: Timestamp, batch: &mut Batch) {
        if let Some((kind, bytes)) = self.take_direct(n, now)
            && self.arrived(1)
        {
            batch.push(kind, Payload::Owned(bytes));
        }
    }

    /// Whole messages were appended to `batch` behind `before`; their ranges count from `at`.
    fn whole(&mut self, before: usize, at: usize, batch: &mut Batch) {
        if !self.arrived((batch.found.len() - before) as u64) {
            batch.found.truncate(before);
        } else if at > 0 {
            for whole in &mut batch.found[before..] {
                whole.start += at as u32;
            }
        }
    }

    /// The handler has had all that came: a Close that is owed may leave.
    pub(crate) fn batch_done(&mut self, now: Timestamp) {
        if self.core.is_close_held() && !self.again {
            self.core.release_close(now);
        }
    }
}
