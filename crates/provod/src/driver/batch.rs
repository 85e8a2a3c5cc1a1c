//! Input for a [`Handler`](crate::Handler), which is called with each message where it lies.

use provod_proto::{Event, MessageKind, Payload, Timestamp};

use super::inbox::Ended;
use super::intake::{FEED_PINGS, FEED_WORK};
use super::state::State;

/// A message that has come; a range is one of the input that it came in.
pub(crate) type Arrived = (MessageKind, Payload);

impl State {
    /// Gives `input` to the core until it is time to call the handler and to write; appends the
    /// messages to `batch` and returns how many bytes were taken.
    pub(crate) fn feed_batch(
        &mut self,
        input: &mut [u8],
        now: Timestamp,
        batch: &mut Vec<Arrived>,
    ) -> usize {
        let (mut at, mut work, mut pings) = (0, 0, 0);
        self.again = false;
        while work < FEED_WORK && pings < FEED_PINGS {
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
        self.counters.messages_in.add(batch.len() as u64);
        at
    }

    fn arrived(&mut self, kind: MessageKind, payload: Payload, batch: &mut Vec<Arrived>) {
        self.received = true;
        if self.discard {
            self.counters.dropped.add(1);
        } else {
            batch.push((kind, payload));
        }
    }

    /// The handler has had all that came: a Close that is owed may leave.
    pub(crate) fn batch_done(&mut self, now: Timestamp) {
        if self.core.is_close_held() && !self.again {
            self.core.release_close(now);
        }
    }
}
