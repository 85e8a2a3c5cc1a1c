use std::time::{Duration, Instant};

use serde::Serialize;

/// Counters at one moment.
pub(super) struct Snapshot {
    pub(super) at: Instant,
    pub(super) connections: u64,
    pub(super) messages: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) segments: u64,
    pub(super) server_ns: u64,
    pub(super) client_ns: u64,
    pub(super) resident: u64,
}

/// What one measurement has to say. Bytes are those of TCP's payload; `up` is from the client to
/// the server.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    messages: u64,
    per_second: f64,
    bytes_up: f64,
    bytes_down: f64,
    /// TCP segments with data and without, in both directions.
    segments: f64,
    server_us: f64,
    client_us: f64,
    /// From the sending of an echo, or the intended publishing, to the arrival.
    latency_us: Option<Latency>,
    /// Of a connection, before its first message.
    opening_bytes_up: f64,
    opening_bytes_down: f64,
    /// Bytes of the server's memory that came with a connection.
    resident: f64,
}

#[derive(Debug, Serialize)]
struct Latency {
    mean: f64,
    p50: f64,
    p99: f64,
    max: f64,
}

impl Figures {
    pub(super) fn new(
        opened: &Snapshot,
        from: &Snapshot,
        to: &Snapshot,
        latencies: &mut [Duration],
        resident_before: u64,
    ) -> Self {
        let messages = to.messages - from.messages;
        let each = |from: u64, to: u64| (to - from) as f64 / messages.max(1) as f64;
        let connections = opened.connections as f64;
        Self {
            messages,
            per_second: messages as f64 / to.at.duration_since(from.at).as_secs_f64(),
            bytes_up: each(from.bytes_out, to.bytes_out),
            bytes_down: each(from.bytes_in, to.bytes_in),
            segments: each(from.segments, to.segments),
            server_us: each(from.server_ns, to.server_ns) / 1e3,
            client_us: each(from.client_ns, to.client_ns) / 1e3,
            latency_us: Latency::new(latencies),
            opening_bytes_up: opened.bytes_out as f64 / connections,
            opening_bytes_down: opened.bytes_in as f64 / connections,
            resident: to.resident.saturating_sub(resident_before) as f64 / connections,
        }
    }
}

impl Latency {
    fn new(latencies: &mut [Duration]) -> Option<Self> {
        latencies.sort_unstable();
        let micros = |latency: &Duration| latency.as_nanos() as f64 / 1e3;
        let max = micros(latencies.last()?);
        // The smallest that so many are not above.
        let rank = |share: f64| (share * latencies.len() as f64).ceil() as usize;
        let at = |share| latencies.get(rank(share).max(1) - 1).map_or(max, micros);
        let mean = latencies.iter().map(micros).sum::<f64>() / latencies.len() as f64;
        Some(Self { mean, p50: at(0.5), p99: at(0.99), max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let mut latencies: Vec<_> = (1..=100).rev().map(Duration::from_micros).collect();
        let latency = Latency::new(&mut latencies).expect("there are some");
        assert_eq!((latency.p50, latency.p99, latency.max), (50.0, 99.0, 100.0));
        assert_eq!(latency.mean, 50.5);
        let latency = Latency::new(&mut [Duration::from_micros(7)]).expect("there is one");
        assert_eq!((latency.p50, latency.p99), (7.0, 7.0));
        assert!(Latency::new(&mut []).is_none());
    }
}
