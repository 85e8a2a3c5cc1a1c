//! The timers of a worker's connections, coarse and in one table.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// The time between two ticks: an alarm rings at most so much too late.
const TICK: Duration = Duration::from_millis(10);

/// A tick, counted from the worker's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tick(u64);

#[derive(Debug)]
pub(super) struct Alarms {
    start: Instant,
    /// The keys of connections, by when to look at them. A connection that was set anew stands in
    /// several places and knows itself which one counts. One that has ended stays until its tick,
    /// which is bounded: some 8 bytes for each that was opened within the last 45 seconds of the
    /// default keepalive.
    keys: BTreeMap<Tick, Vec<u32>>,
}

impl Alarms {
    pub(super) fn new(start: Instant) -> Self {
        Self { start, keys: BTreeMap::new() }
    }

    /// The first tick at or behind `at`.
    pub(super) fn tick(&self, at: Instant) -> Tick {
        let ticks = at.saturating_duration_since(self.start).as_nanos().div_ceil(TICK.as_nanos());
        Tick(u64::try_from(ticks).unwrap_or(u64::MAX))
    }

    pub(super) fn set(&mut self, tick: Tick, key: u32) {
        self.keys.entry(tick).or_default().push(key);
    }

    /// When the next one rings.
    pub(super) fn next(&self) -> Option<Instant> {
        let (tick, _) = self.keys.first_key_value()?;
        let nanos = u128::from(tick.0) * TICK.as_nanos();
        self.start.checked_add(Duration::from_nanos(u64::try_from(nanos).ok()?))
    }

    /// Takes out one whose tick has come: by itself, so that none is lost with it.
    pub(super) fn ring(&mut self, now: Instant) -> Option<(Tick, u32)> {
        if self.next()? > now {
            return None;
        }
        let mut first = self.keys.first_entry()?;
        let (tick, key) = (*first.key(), first.get_mut().pop());
        if first.get().is_empty() {
            first.remove();
        }
        Some((tick, key?))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Alarms;

    #[test]
    fn alarms_ring_in_their_time_after_years_too() {
        let start = Instant::now();
        let mut alarms = Alarms::new(start);
        let now = start + Duration::from_secs(86400 * 1000);
        let at = now + Duration::from_secs(30);
        alarms.set(alarms.tick(at), 7);
        assert_eq!(alarms.ring(now), None);
        assert_eq!(alarms.ring(at + super::TICK).map(|(_, key)| key), Some(7));
        assert_eq!(alarms.next(), None);
    }
}
