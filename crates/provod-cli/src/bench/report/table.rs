//! The report as a person reads it.

use std::fmt::Write as _;

use super::Report;
use crate::bench::stats::Summary;

/// A time in microseconds, in the unit that suits it.
pub(in crate::bench) fn time(us: f64) -> String {
    match us {
        _ if us >= 1e6 => format!("{:.2} s", us / 1e6),
        _ if us >= 1e3 => format!("{:.2} ms", us / 1e3),
        _ => format!("{us:.1} us"),
    }
}

fn bytes(bytes: f64) -> String {
    match bytes.abs() {
        b if b >= 1_073_741_824.0 => format!("{:.2} GiB", bytes / 1_073_741_824.0),
        b if b >= 1_048_576.0 => format!("{:.1} MiB", bytes / 1_048_576.0),
        b if b >= 10_240.0 => format!("{:.1} KiB", bytes / 1024.0),
        _ => format!("{bytes:.0} B"),
    }
}

fn latencies(summary: &Summary) -> String {
    let points = [
        ("p50", summary.p50),
        ("p90", summary.p90),
        ("p99", summary.p99),
        ("p99.9", summary.p99_9),
        ("p99.99", summary.p99_99),
        ("max", summary.max),
    ];
    let points = points.iter().map(|(name, value)| format!("{name} {}", time(*value)));
    points.collect::<Vec<_>>().join("   ")
}

/// What the main number counts.
fn unit(report: &Report) -> &'static str {
    match report.scenario.as_str() {
        "fanout" => "deliveries",
        "connect" => "handshakes",
        "storm" => "connections back",
        _ => "replies",
    }
}

/// What the main latency is.
fn latency_is(report: &Report) -> &'static str {
    match report.scenario.as_str() {
        "fanout" => "delivery",
        "connect" => "handshake",
        "storm" => "back after",
        _ => "latency",
    }
}

pub(in crate::bench) fn table(report: &Report) -> String {
    let mut out = String::new();
    let mut line = |name: &str, what: &str| {
        let _ = writeln!(out, "  {name:<13}{what}");
    };
    let settings = &report.settings;
    let load = match (settings.rate, settings.in_flight) {
        (Some(rate), _) => format!(", open loop, {rate} a second"),
        (None, Some(k)) => format!(", closed loop, {k} in flight"),
        (None, None) => String::new(),
    };
    line(&report.scenario, &format!("{}, {} connections{load}", report.url, settings.connections));
    let messages = &report.messages;
    if messages.sent > 0 {
        let (size, content) = (settings.size, settings.content.as_str());
        let raw = if settings.raw { ", no handshake" } else { "" };
        let mut what = format!("{size} bytes of {content}{raw}, {} sent", messages.sent);
        if let Some(wire) = messages.wire_bytes_per_reply {
            let _ = write!(what, ", {wire:.1} bytes on the wire for each of the {}", unit(report));
        }
        line("messages", &what);
    }
    if !messages.extensions.is_empty() {
        line(
            "compression",
            &format!("{}; {} compressed", messages.extensions, messages.compressed),
        );
    }
    if messages.received > 0 {
        let (n, rate) = (messages.received, messages.rate);
        let what = format!("{rate:.0} {} a second, {n} in {:.2} s", unit(report), report.seconds);
        line("rate", &what);
        line(latency_is(report), &latencies(&report.latency_us));
    }
    let connections = &report.connections;
    if report.scenario == "churn" {
        line("visits", &format!("{} handshakes", connections.handshakes));
    }
    if connections.handshake_us.count > 0 && !matches!(&*report.scenario, "connect" | "storm") {
        line("connect", &latencies(&connections.handshake_us));
    }
    if connections.open_seconds > 0.0 && report.scenario != "connect" {
        line("opened", &format!("{} in {:.2} s", connections.opened, connections.open_seconds));
    }
    if connections.retries > 0 {
        line("retries", &connections.retries.to_string());
    }
    if connections.slow_closed > 0 {
        line("slow", &format!("the server closed {} that did not read", connections.slow_closed));
    }
    if let Some(open) = &report.open_loop {
        let late = format!(
            "{} due; late p50 {}, p99 {}, max {}; {:.2} % above 1 ms; {} met a full socket, {} \
             no connection",
            open.due,
            time(open.late_us.p50),
            time(open.late_us.p99),
            time(open.late_us.max),
            open.late_share * 100.0,
            open.blocked,
            open.unsent
        );
        line("sending", &late);
    }
    if let Some(server) = &report.server {
        let each = server.cpu_us_per_message;
        let each = each.map_or(String::new(), |us| format!(", {us:.2} us for each"));
        line("server CPU", &format!("{:.2} cores{each}", server.cores));
        let [before, open, end, peak] =
            [server.rss_before, server.rss_open, server.rss_end, server.rss_peak]
                .map(|n| bytes(n as f64));
        let what = format!("{before} before, {open} open, {end} at the end, {peak} at most");
        line("server RSS", &what);
        if let Some(each) = server.rss_per_connection {
            let after = match server.rss_per_connection_end {
                Some(end) if settings.more.get("traffic").is_some_and(|n| *n > 0.0) => {
                    format!(", {} after its traffic", bytes(end))
                }
                _ => String::new(),
            };
            line("", &format!("{} a connection{after}", bytes(each)));
        }
    }
    let generator = &report.generator;
    let each = generator.cpu_us_per_message;
    let each = each.map_or(String::new(), |us| format!(", {us:.2} us CPU for each"));
    let what = format!(
        "{:.0} % busy{each}, waited for a processor {:.1} % of the time",
        generator.busy * 100.0,
        generator.waited * 100.0
    );
    line("generator", &what);
    if messages.verified > 0 || report.failures.total > 0 {
        let what =
            format!("{} by their bytes, {} failures", messages.verified, report.failures.total);
        line("checked", &what);
    }
    for (kind, n) in &report.failures.by_kind {
        line("", &format!("{kind}: {n}"));
    }
    for first in &report.failures.first {
        line("", first);
    }
    for judged in &report.thresholds {
        let met = if judged.met { "met" } else { "NOT MET" };
        let value =
            judged.value.map_or("not measured".to_owned(), |value| format!("is {value:.3}"));
        line("threshold", &format!("{}: {met}, {value}", judged.expression));
    }
    if report.interrupted {
        line("INTERRUPTED", "this is what was measured until then");
    }
    for reason in &report.reasons {
        line("NOT VALID", reason);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Report, table};

    #[test]
    fn what_matters_is_said() {
        let mut report = Report::sample();
        report.reasons = vec!["the generator was the limit: it slept".to_owned()];
        report.failures.by_kind.insert("order".to_owned(), 3);
        let text = table(&report);
        for part in [
            "1000 replies a second",
            "p99.99 ",
            "open loop, 1000 a second",
            "200.00 us for each",
            "16.0 KiB a connection",
            "order: 3",
            "NOT VALID    the generator was the limit",
        ] {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
    }
}
