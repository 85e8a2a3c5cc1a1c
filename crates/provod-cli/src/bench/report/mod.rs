//! The result of a run. What is here is what the JSON has; `docs/bench.md` says it field by field.

mod compare;
mod table;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::procfs::Usage;
use super::stats::{SLICES, Stats, Summary};
pub(super) use compare::compare;
pub(super) use table::table;

/// Grows when a field changes its meaning.
pub(super) const SCHEMA: u32 = 1;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) schema: u32,
    pub(super) version: String,
    pub(super) scenario: String,
    pub(super) url: String,
    pub(super) valid: bool,
    pub(super) reasons: Vec<String>,
    pub(super) interrupted: bool,
    pub(super) settings: Settings,
    pub(super) seconds: f64,
    pub(super) connections: Connections,
    pub(super) messages: Messages,
    pub(super) latency_us: Summary,
    pub(super) open_loop: Option<OpenLoop>,
    pub(super) failures: FailuresReport,
    pub(super) generator: Generator,
    pub(super) server: Option<Server>,
    pub(super) thresholds: Vec<Judged>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Settings {
    pub(super) connections: usize,
    pub(super) in_flight: Option<u32>,
    pub(super) rate: Option<f64>,
    pub(super) size: usize,
    pub(super) content: String,
    pub(super) compress: String,
    #[serde(default)]
    pub(super) raw: bool,
    pub(super) duration_seconds: f64,
    pub(super) warm_up_seconds: f64,
    pub(super) ramp_up_seconds: f64,
    pub(super) verify_every: u64,
    pub(super) threads: u16,
    pub(super) spin: bool,
    pub(super) seed: u64,
    /// What only some scenarios have: rooms, publishers, slow, churn_rate, traffic.
    pub(super) more: BTreeMap<String, f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Connections {
    pub(super) opened: u64,
    pub(super) open_seconds: f64,
    pub(super) handshakes: u64,
    pub(super) retries: u64,
    pub(super) slow_closed: u64,
    pub(super) handshake_us: Summary,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Messages {
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) rate: f64,
    pub(super) rate_slices: Vec<f64>,
    pub(super) verified: u64,
    pub(super) compressed: u64,
    pub(super) extensions: String,
    pub(super) wire_bytes_in: u64,
    pub(super) wire_bytes_out: u64,
    pub(super) wire_bytes_per_reply: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct OpenLoop {
    pub(super) rate: f64,
    pub(super) due: u64,
    pub(super) late_us: Summary,
    pub(super) late_share: f64,
    pub(super) blocked: u64,
    pub(super) unsent: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct FailuresReport {
    pub(super) total: u64,
    pub(super) by_kind: BTreeMap<String, u64>,
    pub(super) first: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Generator {
    pub(super) cpu_seconds: f64,
    pub(super) cpu_us_per_message: Option<f64>,
    pub(super) busy: f64,
    pub(super) waited: f64,
    pub(super) rss: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Server {
    pub(super) pid: u32,
    pub(super) cpu_seconds: f64,
    pub(super) cpu_us_per_message: Option<f64>,
    pub(super) cores: f64,
    pub(super) rss_before: u64,
    pub(super) rss_open: u64,
    pub(super) rss_end: u64,
    pub(super) rss_peak: u64,
    pub(super) rss_per_connection: Option<f64>,
    pub(super) rss_per_connection_end: Option<f64>,
}

/// A threshold and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Judged {
    pub(super) expression: String,
    pub(super) value: Option<f64>,
    pub(super) met: bool,
}

/// The server at the moments that matter.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Readings {
    pub(super) before: Usage,
    pub(super) open: Usage,
    pub(super) begin: Usage,
    pub(super) end: Usage,
}

fn per(amount: f64, count: u64) -> Option<f64> {
    (count > 0).then(|| amount / count as f64)
}

impl Messages {
    pub(super) fn new(stats: &Stats, seconds: f64) -> Self {
        let rate = |n: u64, seconds: f64| if seconds > 0.0 { n as f64 / seconds } else { 0.0 };
        let slice = seconds / SLICES as f64;
        Self {
            sent: stats.sent,
            received: stats.received,
            rate: rate(stats.received, seconds),
            rate_slices: stats.slices.iter().map(|&n| rate(n, slice)).collect(),
            verified: stats.verified,
            compressed: stats.compressed,
            extensions: stats.extensions.clone(),
            wire_bytes_in: stats.bytes_in,
            wire_bytes_out: stats.bytes_out,
            wire_bytes_per_reply: per(stats.bytes_in as f64, stats.received),
        }
    }
}

impl FailuresReport {
    pub(super) fn new(stats: &Stats) -> Self {
        let failures = &stats.failures;
        Self {
            total: failures.total(),
            by_kind: failures.by_kind.iter().map(|(kind, n)| ((*kind).to_owned(), *n)).collect(),
            first: failures.first.clone(),
        }
    }
}

impl Generator {
    pub(super) fn new(stats: &Stats, rss: Option<u64>) -> Self {
        Self {
            cpu_seconds: stats.cpu as f64 / 1e9,
            cpu_us_per_message: per(stats.cpu as f64 / 1e3, stats.received),
            busy: stats.busy_share,
            waited: stats.waited_share,
            rss,
        }
    }
}

impl Server {
    pub(super) fn new(
        pid: u32,
        readings: &Readings,
        connections: u64,
        received: u64,
        seconds: f64,
    ) -> Self {
        let Readings { before, open, begin, end } = readings;
        let cpu = (end.cpu - begin.cpu).max(0.0);
        let grown = |now: u64| per(now as f64 - before.rss as f64, connections);
        Self {
            pid,
            cpu_seconds: cpu,
            cpu_us_per_message: per(cpu * 1e6, received),
            cores: if seconds > 0.0 { cpu / seconds } else { 0.0 },
            rss_before: before.rss,
            rss_open: open.rss,
            rss_end: end.rss,
            rss_peak: end.rss_peak,
            rss_per_connection: grown(open.rss),
            rss_per_connection_end: grown(end.rss),
        }
    }
}

#[cfg(test)]
impl Report {
    /// A report of a run that went well.
    pub(super) fn sample() -> Self {
        let mut latencies = crate::bench::stats::Latencies::new();
        (1..=1000).for_each(|n| latencies.record(n * 10_000));
        let latency = latencies.summary();
        Self {
            schema: SCHEMA,
            version: "0.1.0".to_owned(),
            scenario: "echo".to_owned(),
            url: "ws://127.0.0.1:9001".to_owned(),
            valid: true,
            reasons: Vec::new(),
            interrupted: false,
            settings: Settings {
                connections: 64,
                in_flight: None,
                rate: Some(1000.0),
                size: 64,
                content: "text".to_owned(),
                compress: "off".to_owned(),
                raw: false,
                duration_seconds: 10.0,
                warm_up_seconds: 1.0,
                ramp_up_seconds: 0.0,
                verify_every: 1,
                threads: 1,
                spin: false,
                seed: 7,
                more: BTreeMap::new(),
            },
            seconds: 10.0,
            connections: Connections {
                opened: 64,
                open_seconds: 0.1,
                handshakes: 0,
                retries: 0,
                slow_closed: 0,
                handshake_us: latency.clone(),
            },
            messages: Messages {
                sent: 10_000,
                received: 10_000,
                rate: 1000.0,
                rate_slices: vec![1000.0; 10],
                verified: 10_000,
                compressed: 0,
                extensions: String::new(),
                wire_bytes_in: 660_000,
                wire_bytes_out: 700_000,
                wire_bytes_per_reply: Some(66.0),
            },
            latency_us: latency.clone(),
            open_loop: Some(OpenLoop {
                rate: 1000.0,
                due: 10_000,
                late_us: latency,
                late_share: 0.0,
                blocked: 0,
                unsent: 0,
            }),
            failures: FailuresReport { total: 0, by_kind: BTreeMap::new(), first: Vec::new() },
            generator: Generator {
                cpu_seconds: 1.0,
                cpu_us_per_message: Some(100.0),
                busy: 0.1,
                waited: 0.0,
                rss: Some(10 << 20),
            },
            server: Some(Server {
                pid: 1,
                cpu_seconds: 2.0,
                cpu_us_per_message: Some(200.0),
                cores: 0.2,
                rss_before: 5 << 20,
                rss_open: 6 << 20,
                rss_end: 6 << 20,
                rss_peak: 7 << 20,
                rss_per_connection: Some(16_384.0),
                rss_per_connection_end: Some(16_384.0),
            }),
            thresholds: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Report;

    #[test]
    fn a_report_comes_back_from_its_json() {
        let mut report = Report::sample();
        report.settings.more.insert("rooms".to_owned(), 3.0);
        report.failures.by_kind.insert("order".to_owned(), 2);
        report.reasons.push("the generator was the limit: it was busy".to_owned());
        for server in [report.server.clone(), None] {
            report.server = server;
            let text = serde_json::to_string_pretty(&report).unwrap();
            assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
        }
    }
}
