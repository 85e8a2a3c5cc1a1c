//! `provod bench`: load for WebSocket servers, and what they make of it.
//!
//! Each thread drives its connections in one loop ([`engine`]); what they do is a plan
//! ([`scenario`]); what is counted has a fixed size ([`stats`]). The main thread ([`conduct`]) says
//! when it begins and ends and reads what the server uses.

mod args;
mod clock;
mod conduct;
mod connection;
mod control;
mod engine;
mod failure;
mod incoming;
mod payload;
mod plan;
mod procfs;
mod report;
mod scenario;
mod stats;
mod target;
mod threshold;
mod validity;
mod workers;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::process::ExitCode;

pub(crate) use args::Bench;
use args::Scenario;
use clap::ValueEnum as _;
use report::{Judged, Report, Settings};

const OTHER: u8 = 1;
const USAGE: u8 = 2;
const THRESHOLD: u8 = 3;
const RESOLVE: u8 = 4;
const CONNECT: u8 = 5;
const TLS: u8 = 6;
const NOT_VALID: u8 = 13;

/// Why there is no run at all.
#[derive(Debug)]
struct Failure {
    code: u8,
    line: String,
}

impl Failure {
    fn other(line: impl Into<String>) -> Self {
        Self { code: OTHER, line: line.into() }
    }

    fn usage(line: impl Into<String>) -> Self {
        Self { code: USAGE, line: line.into() }
    }

    fn resolve(line: impl Into<String>) -> Self {
        Self { code: RESOLVE, line: line.into() }
    }

    fn tls(line: impl Into<String>) -> Self {
        Self { code: TLS, line: line.into() }
    }
}

impl Bench {
    pub(crate) fn run(self) -> ExitCode {
        match self.measure() {
            Ok(code) => ExitCode::from(code),
            Err(failure) => {
                crate::complain(&failure.line);
                ExitCode::from(failure.code)
            }
        }
    }

    fn measure(&self) -> Result<u8, Failure> {
        self.check().map_err(Failure::usage)?;
        let old = self.compare.as_ref().map(|path| read_report(path)).transpose()?;
        let seed = self.seed.unwrap_or_else(random_seed);
        let outcome = conduct::run(self, seed)?;
        let mut report = outcome.report(self, self.settings(seed));
        let judged = self.threshold.iter().map(|threshold| {
            let (value, met) = threshold.judge(&report);
            Judged { expression: threshold.to_string(), value, met }
        });
        report.thresholds = judged.collect();
        self.tell(&report, old.as_ref())?;
        Ok(self.exit_code(&report, outcome.signal.map(|signal| signal.exit_code())))
    }

    fn exit_code(&self, report: &Report, signal: Option<u8>) -> u8 {
        let refused = report.failures.by_kind.keys().any(|kind| kind == "connect");
        if let Some(code) = signal {
            code
        } else if report.connections.opened + report.connections.handshakes == 0 && refused {
            CONNECT
        } else if report.failures.total > 0 {
            OTHER
        } else if !report.valid {
            NOT_VALID
        } else if report.thresholds.iter().any(|judged| !judged.met) {
            THRESHOLD
        } else {
            0
        }
    }

    /// Prints the table and writes the file.
    fn tell(&self, report: &Report, old: Option<&Report>) -> Result<(), Failure> {
        let mut text = report::table(report);
        if let Some(old) = old {
            text.push_str(&report::compare(old, report));
        }
        let json = || {
            let text = serde_json::to_string_pretty(report);
            text.map(|text| text + "\n").map_err(|e| Failure::other(e.to_string()))
        };
        // A reader that has gone is no reason to fail: the exit code still tells.
        match self.json.as_deref() {
            Some("-") => {
                let _ = std::io::stderr().write_all(text.as_bytes());
                let _ = std::io::stdout().write_all(json()?.as_bytes());
            }
            Some(path) => {
                let _ = std::io::stdout().write_all(text.as_bytes());
                let written = fs::write(path, json()?);
                written.map_err(|e| Failure::other(format!("cannot write {path}: {e}")))?;
            }
            None => {
                let _ = std::io::stdout().write_all(text.as_bytes());
            }
        }
        Ok(())
    }

    fn settings(&self, seed: u64) -> Settings {
        let open = self.rate.is_some();
        let in_flight = match self.scenario {
            Scenario::Connect | Scenario::Storm => None,
            _ => (!open).then_some(self.in_flight),
        };
        let more: &[(&str, f64)] = match self.scenario {
            Scenario::Fanout => {
                &[("rooms", self.rooms.into()), ("publishers", self.publishers.into())]
            }
            Scenario::SlowReader => &[("slow", self.slow.into())],
            Scenario::Churn => &[("churn_rate", self.churn_rate)],
            Scenario::Idle => &[("traffic", self.traffic as f64)],
            _ => &[],
        };
        let name = |value: Option<clap::builder::PossibleValue>| {
            value.map_or(String::new(), |value| value.get_name().to_owned())
        };
        Settings {
            connections: self.all_connections(),
            in_flight,
            rate: self.rate,
            size: self.message_size(),
            content: name(self.content.to_possible_value()),
            compress: name(self.compress.to_possible_value()),
            duration_seconds: self.duration.as_secs_f64(),
            warm_up_seconds: self.warm_up.as_secs_f64(),
            ramp_up_seconds: self.ramp_up.as_secs_f64(),
            raw: self.raw,
            verify_every: self.verifies_every(),
            threads: self.threads,
            spin: self.spin,
            seed,
            more: more.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect::<BTreeMap<_, _>>(),
        }
    }
}

fn read_report(path: &str) -> Result<Report, Failure> {
    let text = fs::read_to_string(path);
    let text = text.map_err(|e| Failure::other(format!("cannot read {path}: {e}")))?;
    let bad = |why: String| Failure::other(format!("{path} is no report of this program: {why}"));
    let report: Report = serde_json::from_str(&text).map_err(|e| bad(e.to_string()))?;
    if report.schema != report::SCHEMA {
        return Err(bad(format!("its schema is {}, not {}", report.schema, report::SCHEMA)));
    }
    Ok(report)
}

/// Different each time: the standard library seeds its hashers from the system's generator.
fn random_seed() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    // JSON readers that know only doubles read it exactly.
    RandomState::new().hash_one(0) >> 11
}
