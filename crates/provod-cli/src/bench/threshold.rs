//! What must hold for a run: `p99<5ms`.

use std::fmt;
use std::str::FromStr;

use super::report::Report;
use super::stats::Summary;

/// A condition on one number of a report.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Threshold {
    text: String,
    metric: Metric,
    relation: Relation,
    /// In the metric's own unit: microseconds, bytes, or a plain number.
    bound: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    Less,
    AtMost,
    More,
    AtLeast,
}

/// A number of a report.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Metric {
    Latency(Point),
    Handshake(Point),
    Rate,
    Errors,
    Rss,
    RssPerConnection,
    Cpu,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Point {
    Min,
    Mean,
    Percentile(f64),
    Max,
}

impl FromStr for Point {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "min" => Ok(Self::Min),
            "mean" => Ok(Self::Mean),
            "max" => Ok(Self::Max),
            _ => {
                let percent = text.strip_prefix('p').and_then(|p| p.parse().ok()).ok_or(())?;
                Summary::default().percentile(percent).map(|_| Self::Percentile(percent)).ok_or(())
            }
        }
    }
}

impl Point {
    fn of(self, summary: &Summary) -> Option<f64> {
        if summary.count == 0 {
            return None;
        }
        match self {
            Self::Min => Some(summary.min),
            Self::Mean => Some(summary.mean),
            Self::Percentile(percent) => summary.percentile(percent),
            Self::Max => Some(summary.max),
        }
    }
}

const TIMES: [(&str, f64); 4] = [("ns", 1e-3), ("us", 1.0), ("ms", 1e3), ("s", 1e6)];
const SIZES: [(&str, f64); 5] =
    [("", 1.0), ("B", 1.0), ("K", 1024.0), ("M", 1_048_576.0), ("G", 1_073_741_824.0)];

impl Threshold {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let at = text.find(['<', '>']).ok_or("expected NAME<NUMBER, such as p99<5ms")?;
        let (name, rest) = text.split_at(at);
        let (relation, value) = match rest.as_bytes() {
            [b'<', b'=', ..] => (Relation::AtMost, &rest[2..]),
            [b'<', ..] => (Relation::Less, &rest[1..]),
            [_, b'=', ..] => (Relation::AtLeast, &rest[2..]),
            _ => (Relation::More, &rest[1..]),
        };
        let name = name.trim();
        let metric = match name {
            "rate" => Metric::Rate,
            "errors" => Metric::Errors,
            "rss" => Metric::Rss,
            "rss-per-connection" => Metric::RssPerConnection,
            "cpu" => Metric::Cpu,
            _ => match name.strip_prefix("connect-") {
                Some(point) => point.parse().map(Metric::Handshake),
                None => name.parse().map(Metric::Latency),
            }
            .map_err(|()| {
                format!(
                    "{name:?} is not known: expected a latency (min, mean, p50, p75, p90, p95, \
                     p99, p99.9, p99.99, max), one with connect- before it, rate, errors, rss, \
                     rss-per-connection or cpu"
                )
            })?,
        };
        let value = value.trim();
        let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = &value[digits.len()..];
        let number: f64 = digits.trim_end().parse().map_err(|_| format!("{value:?}: no number"))?;
        let units: &[(&str, f64)] = match metric {
            Metric::Latency(_) | Metric::Handshake(_) | Metric::Cpu => &TIMES,
            Metric::Rss | Metric::RssPerConnection => &SIZES,
            Metric::Rate | Metric::Errors => &[("", 1.0)],
        };
        let factor = units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| factor);
        let Some(factor) = factor else {
            let known: Vec<_> =
                units.iter().map(|(name, _)| *name).filter(|n| !n.is_empty()).collect();
            return Err(match known.as_slice() {
                [] => format!("{name} is a number without a unit"),
                _ => format!("{name} has a unit: {}", known.join(", ")),
            });
        };
        if !number.is_finite() || number < 0.0 {
            return Err(format!("{value:?} is not a number from 0 up"));
        }
        Ok(Self { text: text.to_owned(), metric, relation, bound: number * factor })
    }

    pub(super) fn needs_pid(&self) -> bool {
        matches!(self.metric, Metric::Rss | Metric::RssPerConnection | Metric::Cpu)
    }

    /// What the report says of it, and whether that is enough. What was not measured is not.
    pub(super) fn judge(&self, report: &Report) -> (Option<f64>, bool) {
        let server = report.server.as_ref();
        let value = match self.metric {
            Metric::Latency(point) => point.of(&report.latency_us),
            Metric::Handshake(point) => point.of(&report.connections.handshake_us),
            Metric::Rate => Some(report.messages.rate),
            Metric::Errors => Some(report.failures.total as f64),
            Metric::Rss => server.map(|server| server.rss_end as f64),
            Metric::RssPerConnection => server.and_then(|server| server.rss_per_connection),
            Metric::Cpu => server.and_then(|server| server.cpu_us_per_message),
        };
        let met = value.is_some_and(|value| match self.relation {
            Relation::Less => value < self.bound,
            Relation::AtMost => value <= self.bound,
            Relation::More => value > self.bound,
            Relation::AtLeast => value >= self.bound,
        });
        (value, met)
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::Threshold;
    use crate::bench::report::Report;

    fn holds(text: &str, report: &Report) -> bool {
        Threshold::parse(text).unwrap_or_else(|e| panic!("{text}: {e}")).judge(report).1
    }

    #[test]
    fn numbers_are_compared_in_their_units() {
        let mut report = Report::sample();
        report.latency_us.p99 = 5000.0;
        report.latency_us.p99_9 = 9000.0;
        report.messages.rate = 1000.0;
        report.failures.total = 0;
        for good in [
            "p99<=5ms",
            "p99 < 5.1 ms",
            "p99>=5000us",
            "p99>4ms",
            "p99.9<0.01s",
            "p99<=5000000ns",
            "rate>=1000",
            "rate<1001",
            "errors<1",
            "errors<=0",
            "rss<1G",
            "cpu<1s",
        ] {
            assert!(holds(good, &report), "{good}");
        }
        for bad in ["p99<5ms", "p99>5ms", "p99.9<9ms", "rate>1000", "errors>0", "rss<1K"] {
            assert!(!holds(bad, &report), "{bad}");
        }
        report.server = None;
        assert!(!holds("rss<1G", &report), "what was not measured does not hold");
        report.latency_us.count = 0;
        assert!(!holds("p99<1s", &report));
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for bad in [
            "",
            "p99",
            "p99=5ms",
            "p98<5ms",
            "p99<5",
            "p99<ms",
            "p99<5h",
            "rate<5ms",
            "errors<1K",
            "speed>1",
            "connect-rate<1",
            "p99<-1ms",
            "p99<infs",
            "<5ms",
            "rss<5ms",
        ] {
            assert!(Threshold::parse(bad).is_err(), "{bad}");
        }
        let says = Threshold::parse("p98<5ms").unwrap_err();
        assert!(says.contains("p99.99"), "{says}");
    }
}
