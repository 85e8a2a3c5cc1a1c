//! Time as the engine counts it, and the times at which an open loop sends.

use std::time::{Duration, Instant};

/// Nanoseconds since the run was started.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now(self) -> u64 {
        nanos(self.0.elapsed())
    }
}

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A constant rate: when each message is meant to leave, whatever has become of those before it.
///
/// It is arithmetic and no queue, so a server that stalls for an hour costs no memory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Schedule {
    first: u64,
    /// Nanoseconds from one message to the next. A float: 53 bits hold a hundred days exactly.
    interval: f64,
}

impl Schedule {
    /// `rate` messages a second, the first one at `first`.
    pub(super) fn new(first: u64, rate: f64) -> Self {
        Self { first, interval: 1e9 / rate }
    }

    /// When message `n`, counted from 0, is meant to leave.
    pub(super) fn at(&self, n: u64) -> u64 {
        self.first.saturating_add((n as f64 * self.interval) as u64)
    }

    /// How many messages are meant to leave from `begin` to `end`.
    pub(super) fn within(&self, begin: u64, end: u64) -> u64 {
        self.before(end).saturating_sub(self.before(begin))
    }

    /// How many messages are meant to have left before `time`.
    fn before(&self, time: u64) -> u64 {
        (time.saturating_sub(self.first) as f64 / self.interval).ceil() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::Schedule;
    use crate::bench::stats::Latencies;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_schedule_has_its_rate() {
        let schedule = Schedule::new(5 * MS, 1000.0);
        assert_eq!([0, 1, 10].map(|n| schedule.at(n)), [5 * MS, 6 * MS, 15 * MS]);
        assert_eq!(schedule.before(5 * MS), 0);
        assert_eq!(schedule.before(15 * MS), 10);
        assert_eq!(schedule.before(15 * MS + 1), 11);
        // No drift: a day later it is still at its place.
        let third = Schedule::new(0, 3.0);
        assert_eq!(third.at(3 * 86_400), 86_400_000 * MS);
    }

    /// A server that answers within 1 ms and stalls once, for a second. Who counts from the moment
    /// of sending, and waits for the reply before sending again, sees one slow message in 9,000; of
    /// the messages that were meant to be sent one in ten was slow.
    #[test]
    fn a_stall_counts_for_all_messages_that_it_delayed() {
        let answer = |sent: u64| {
            let stalled = 5000 * MS..6000 * MS;
            if stalled.contains(&sent) { 6000 * MS + MS } else { sent + MS }
        };
        let schedule = Schedule::new(0, 1000.0);
        let (mut open, mut closed) = (Latencies::new(), Latencies::new());
        for n in 0..schedule.before(10_000 * MS) {
            let intended = schedule.at(n);
            open.record(answer(intended) - intended);
        }
        let mut now = 0;
        while now < 10_000 * MS {
            let answered = answer(now);
            closed.record(answered - now);
            now = answered;
        }
        let (open, closed) = (open.summary(), closed.summary());
        assert_eq!((open.count, closed.count), (10_000, 9000));
        assert!((900.0 * 1e3..910.0 * 1e3).contains(&open.p99), "{open:?}");
        assert!((1000.0..1002.0).contains(&closed.p99), "{closed:?}");
        assert!(closed.max > 1e6 && open.max > 1e6);
        // The stall is uniform: half of what it delayed waited for less than half of it.
        assert!((500.0 * 1e3..510.0 * 1e3).contains(&open.at(95.0)), "{open:?}");
    }
}
