//! What has changed between two reports, and whether that is more than noise.

use std::fmt::Write as _;

use super::Report;

/// A run is never repeated more exactly than this.
const LEAST_NOISE: f64 = 0.05;

/// A number of both reports.
struct Row {
    name: &'static str,
    old: f64,
    new: f64,
    /// Smaller is better, as with all but rates.
    small: bool,
    /// How much wider its noise is than that of the rate.
    width: f64,
}

/// How much the rate of a run varied between its slices, as a share of it.
fn variation(report: &Report) -> f64 {
    let slices = &report.messages.rate_slices;
    let mean = slices.iter().sum::<f64>() / slices.len().max(1) as f64;
    if mean <= 0.0 {
        return 0.0;
    }
    let squares = slices.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>();
    (squares / slices.len() as f64).sqrt() / mean
}

fn rows(old: &Report, new: &Report) -> Vec<Row> {
    let (a, b) = (&old.latency_us, &new.latency_us);
    let row = |name, old, new, small, width| Row { name, old, new, small, width };
    let mut rows = vec![
        row("rate, 1/s", old.messages.rate, new.messages.rate, false, 1.0),
        row("p50, us", a.p50, b.p50, true, 1.0),
        row("p90, us", a.p90, b.p90, true, 1.5),
        row("p99, us", a.p99, b.p99, true, 2.0),
        row("p99.9, us", a.p99_9, b.p99_9, true, 4.0),
        row("p99.99, us", a.p99_99, b.p99_99, true, 8.0),
    ];
    if let (Some(a), Some(b)) = (&old.server, &new.server) {
        let cpu = (a.cpu_us_per_message.unwrap_or(0.0), b.cpu_us_per_message.unwrap_or(0.0));
        rows.push(row("server CPU, us/message", cpu.0, cpu.1, true, 1.0));
        rows.push(row("server RSS, bytes", a.rss_end as f64, b.rss_end as f64, true, 1.0));
        let each = (a.rss_per_connection.unwrap_or(0.0), b.rss_per_connection.unwrap_or(0.0));
        rows.push(row("bytes/connection", each.0, each.1, true, 1.0));
    }
    rows.retain(|row| row.old > 0.0 && row.new > 0.0);
    rows
}

/// The comparison as a table; what makes it doubtful is said first.
pub(in crate::bench) fn compare(old: &Report, new: &Report) -> String {
    let mut out = String::new();
    let mut warn = |what: &str| {
        let _ = writeln!(out, "  attention: {what}");
    };
    if old.scenario != new.scenario {
        warn(&format!("the old run is of {}, this one of {}", old.scenario, new.scenario));
    }
    let mut settings = (old.settings.clone(), new.settings.clone());
    // It chooses the bytes of the messages, not the load.
    (settings.0.seed, settings.1.seed) = (0, 0);
    if settings.0 != settings.1 {
        warn("the settings of the two runs differ");
    }
    for (name, report) in [("old", old), ("new", new)] {
        if !report.valid {
            warn(&format!("the {name} run is not valid"));
        }
        if report.failures.total > 0 {
            warn(&format!("the {name} run has failures"));
        }
    }
    let noise = (2.0 * (variation(old) + variation(new))).max(LEAST_NOISE);
    let _ = writeln!(out, "  {:<24}{:>14}{:>14}{:>9}", "", "old", "new", "new/old");
    for row in rows(old, new) {
        let ratio = row.new / row.old;
        // As a factor, so that twice as much is as far from 1 as half.
        let beyond = ratio.max(1.0 / ratio) > 1.0 + noise * row.width;
        let mark = match (beyond, (ratio < 1.0) == row.small) {
            (false, _) => "",
            (true, true) => "  better",
            (true, false) => "  worse",
        };
        let _ = writeln!(
            out,
            "  {:<24}{:>14}{:>14}{ratio:>9.3}{mark}",
            row.name,
            number(row.old),
            number(row.new)
        );
    }
    let _ = writeln!(
        out,
        "  marked: more than {:.0} % (further out in the tail, up to 8 times that); the rates of \
         the runs varied by {:.0} % and {:.0} %",
        noise * 100.0,
        variation(old) * 100.0,
        variation(new) * 100.0
    );
    out
}

fn number(value: f64) -> String {
    if value >= 1000.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use super::{Report, compare};

    fn line<'a>(text: &'a str, name: &str) -> &'a str {
        text.lines().find(|line| line.trim_start().starts_with(name)).unwrap_or_default()
    }

    #[test]
    fn changes_beyond_noise_are_marked_by_direction() {
        let old = Report::sample();
        let mut new = old.clone();
        new.settings.seed += 1;
        new.messages.rate *= 1.2;
        new.latency_us.p50 *= 1.04;
        new.latency_us.p99 *= 1.3;
        let text = compare(&old, &new);
        assert!(!text.contains("attention"), "{text}");
        assert!(line(&text, "rate").ends_with("1.200  better"), "{text}");
        assert!(line(&text, "p50").ends_with("1.040"), "{text}");
        assert!(line(&text, "p99,").ends_with("1.300  worse"), "{text}");
        let back = compare(&new, &old);
        assert!(line(&back, "rate").ends_with("0.833  worse"), "{back}");
        assert!(line(&back, "p99,").ends_with("0.769  better"), "{back}");
    }

    #[test]
    fn a_run_that_varies_hides_small_changes() {
        let old = Report::sample();
        let mut new = old.clone();
        new.messages.rate *= 1.2;
        new.messages.rate_slices = [800.0, 1200.0].repeat(5);
        let text = compare(&old, &new);
        assert!(line(&text, "rate").ends_with("1.200"), "{text}");
        assert!(text.contains("more than 40 %"), "{text}");
    }

    #[test]
    fn doubts_are_said() {
        let old = Report::sample();
        let mut new = old.clone();
        new.scenario = "fanout".to_owned();
        new.settings.size = 1;
        new.valid = false;
        new.failures.total = 1;
        new.server = None;
        let text = compare(&old, &new);
        for doubt in ["of echo, this one of fanout", "differ", "new run is not valid", "failures"] {
            assert!(text.contains(doubt), "{doubt}: {text}");
        }
        assert!(!text.contains("CPU"), "{text}");
    }
}
