//! What one thread counts. Its size is fixed, however long the run is.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::failure::Failures;

/// A run is seen as so many slices of equal time, whose spread says how noisy it was.
pub(super) const SLICES: usize = 10;

/// An hour in nanoseconds: what is slower counts as that.
const MOST: u64 = 3_600_000_000_000;

/// Latencies, to three significant digits (HdrHistogram).
#[derive(Debug, Clone)]
pub(super) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(super) fn new() -> Self {
        // The bounds and the precision are right: 1 <= 1, 2 <= most, digits <= 5.
        Self(Histogram::new_with_bounds(1, MOST, 3).unwrap_or_else(|e| unreachable!("{e}")))
    }

    #[inline]
    pub(super) fn record(&mut self, nanos: u64) {
        self.0.saturating_record(nanos);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        // Equal bounds cannot be refused.
        let _ = self.0.add(&other.0);
    }

    /// The share of values above `nanos`.
    pub(super) fn share_above(&self, nanos: u64) -> f64 {
        match self.0.len() {
            0 => 0.0,
            all => 1.0 - self.0.count_between(0, nanos) as f64 / all as f64,
        }
    }

    pub(super) fn summary(&self) -> Summary {
        let at = |quantile: f64| self.0.value_at_quantile(quantile) as f64 / 1e3;
        Summary {
            count: self.0.len(),
            mean: self.0.mean() / 1e3,
            min: if self.0.is_empty() { 0.0 } else { self.0.min() as f64 / 1e3 },
            p50: at(0.5),
            p75: at(0.75),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: self.0.max() as f64 / 1e3,
        }
    }
}

/// Latencies in numbers, all but the count in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Summary {
    pub(super) count: u64,
    pub(super) mean: f64,
    pub(super) min: f64,
    pub(super) p50: f64,
    pub(super) p75: f64,
    pub(super) p90: f64,
    pub(super) p95: f64,
    pub(super) p99: f64,
    pub(super) p99_9: f64,
    pub(super) p99_99: f64,
    pub(super) max: f64,
}

impl Summary {
    /// One of the percentiles that are kept.
    pub(super) fn percentile(&self, percent: f64) -> Option<f64> {
        let known = [
            (50.0, self.p50),
            (75.0, self.p75),
            (90.0, self.p90),
            (95.0, self.p95),
            (99.0, self.p99),
            (99.9, self.p99_9),
            (99.99, self.p99_99),
        ];
        known.into_iter().find(|(known, _)| *known == percent).map(|(_, value)| value)
    }

    #[cfg(test)]
    pub(super) fn at(&self, percent: f64) -> f64 {
        self.percentile(percent).unwrap()
    }
}

/// The counts of one thread, and of all after [`merge`](Self::merge).
#[derive(Debug, Clone)]
pub(super) struct Stats {
    /// The measured time, from warm-up to end, in nanoseconds of the clock.
    pub(super) begin: u64,
    pub(super) end: u64,
    /// From the (intended) moment of sending to the read that completed the reply.
    pub(super) latency: Latencies,
    /// From connect to the checked answer of the server.
    pub(super) handshake: Latencies,
    /// How much later than intended messages of an open loop left.
    pub(super) late: Latencies,
    pub(super) failures: Failures,
    /// Messages given to the kernel within the measured time.
    pub(super) sent: u64,
    /// Replies, or deliveries, that came within the measured time, and in each slice of it.
    pub(super) received: u64,
    pub(super) slices: [u64; SLICES],
    pub(super) verified: u64,
    pub(super) compressed: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) opened: u64,
    /// Handshakes that ended within the measured time.
    pub(super) handshakes: u64,
    /// Messages of an open loop that were due within the measured time, those whose socket was full
    /// at that moment, and those whose connection had gone.
    pub(super) due: u64,
    pub(super) blocked: u64,
    pub(super) unsent: u64,
    /// Slow readers that the server closed.
    pub(super) slow_closed: u64,
    /// Attempts to connect that failed and were made again.
    pub(super) retries: u64,
    /// Nanoseconds of the measured time: in which the thread had nothing to do, for which it used a
    /// processor, and for which it waited for one.
    pub(super) idle: u64,
    pub(super) cpu: u64,
    pub(super) waited: u64,
    pub(super) measured: u64,
    /// The same as shares, of the thread that has the largest.
    pub(super) busy_share: f64,
    pub(super) waited_share: f64,
    pub(super) extensions: String,
}

impl Stats {
    pub(super) fn new() -> Self {
        Self {
            begin: u64::MAX,
            end: u64::MAX,
            latency: Latencies::new(),
            handshake: Latencies::new(),
            late: Latencies::new(),
            failures: Failures::default(),
            sent: 0,
            received: 0,
            slices: [0; SLICES],
            verified: 0,
            compressed: 0,
            bytes_in: 0,
            bytes_out: 0,
            opened: 0,
            handshakes: 0,
            due: 0,
            blocked: 0,
            unsent: 0,
            slow_closed: 0,
            retries: 0,
            idle: 0,
            cpu: 0,
            waited: 0,
            measured: 0,
            busy_share: 0.0,
            waited_share: 0.0,
            extensions: String::new(),
        }
    }

    /// Says how busy the thread was. Time that it did not spend waiting for events counts, whatever
    /// it was spent on. Its processor time would not do: waiting awake takes it too, and a thread
    /// that is not let run takes none.
    pub(super) fn end_thread(&mut self) {
        if self.measured > 0 {
            let share = |part: u64| (part as f64 / self.measured as f64).min(1.0);
            self.busy_share = 1.0 - share(self.idle);
            self.waited_share = share(self.waited);
        }
    }

    /// Whether a moment is in the measured time.
    #[inline]
    pub(super) fn measures(&self, at: u64) -> bool {
        self.begin <= at && at < self.end
    }

    /// A reply that came at `now` to a message that was meant to leave at `intended`. Its latency
    /// counts by the latter, so that what the end of the run finds on its way counts too.
    #[inline]
    pub(super) fn reply(&mut self, intended: u64, now: u64) {
        if self.measures(intended) {
            self.latency.record(now.saturating_sub(intended));
        }
    }

    /// So many replies came at `now`.
    #[inline]
    pub(super) fn received(&mut self, n: u64, now: u64) {
        if self.measures(now) {
            self.received += n;
            let slice = (now - self.begin) as u128 * SLICES as u128;
            let slice = slice / u128::from((self.end - self.begin).max(1));
            self.slices[(slice as usize).min(SLICES - 1)] += n;
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.latency.merge(&other.latency);
        self.handshake.merge(&other.handshake);
        self.late.merge(&other.late);
        self.failures.merge(other.failures);
        for (mine, theirs) in self.slices.iter_mut().zip(other.slices) {
            *mine += theirs;
        }
        for (mine, theirs) in [
            (&mut self.sent, other.sent),
            (&mut self.received, other.received),
            (&mut self.verified, other.verified),
            (&mut self.compressed, other.compressed),
            (&mut self.bytes_in, other.bytes_in),
            (&mut self.bytes_out, other.bytes_out),
            (&mut self.opened, other.opened),
            (&mut self.handshakes, other.handshakes),
            (&mut self.due, other.due),
            (&mut self.blocked, other.blocked),
            (&mut self.unsent, other.unsent),
            (&mut self.slow_closed, other.slow_closed),
            (&mut self.retries, other.retries),
            (&mut self.idle, other.idle),
            (&mut self.cpu, other.cpu),
            (&mut self.waited, other.waited),
            (&mut self.measured, other.measured),
        ] {
            *mine += theirs;
        }
        if self.extensions.is_empty() {
            self.extensions = other.extensions;
        }
        self.busy_share = self.busy_share.max(other.busy_share);
        self.waited_share = self.waited_share.max(other.waited_share);
        self.begin = self.begin.min(other.begin);
        self.end = self.end.max(other.end);
    }
}
