//! The course of a run, seen from the main thread.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::args::{Bench, Scenario};
use super::clock::{Clock, nanos};
use super::control::Control;
use super::procfs::{Usage, usage};
use super::report::{
    Connections, FailuresReport, Generator, Messages, OpenLoop, Readings, Report, SCHEMA, Server,
    Settings,
};
use super::stats::Stats;
use super::target::Target;
use super::workers::{self, Worker};
use super::{Failure, validity};
use crate::connect::full_url;
use crate::process::{Signal, Signals, raise_descriptor_limit};

/// How often the main thread looks, and how often it tells.
const LOOK: Duration = Duration::from_millis(5);
const TELL: u64 = 250_000_000;
/// Members may be counted by a server a moment after they were answered.
const JOIN: Duration = Duration::from_millis(300);
/// Memory has settled when so many looks, a tenth of a second apart, saw the same.
const SETTLED: u32 = 5;
const SETTLES_WITHIN: u32 = 100;

/// What became of a run.
pub(super) struct Outcome {
    stats: Stats,
    readings: Readings,
    open_seconds: f64,
    pub(super) signal: Option<Signal>,
}

/// Runs it.
pub(super) fn run(bench: &Bench, seed: u64) -> Result<Outcome, Failure> {
    raise_descriptor_limit();
    let target = target(bench)?;
    if let Some(pid) = bench.pid
        && usage(pid).is_none()
    {
        return Err(Failure::usage(format!("--pid {pid}: there is no such process to look at")));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Failure::other(e.to_string()))?;
    let control = Arc::new(Control::new(Clock::start()));
    runtime.block_on(async {
        let signals = Signals::new();
        let before = bench.pid.and_then(usage).unwrap_or_default();
        let workers = workers::start(bench, seed, target, &control);
        let workers = workers.map_err(|e| Failure::other(format!("cannot start: {e}")))?;
        let readings = Readings { before, ..Readings::default() };
        let mut conductor =
            Conductor { bench, control, workers, signals, readings, told: 0, signal: None };
        let open_seconds = conductor.conduct().await;
        conductor.outcome(open_seconds)
    })
}

fn target(bench: &Bench) -> Result<Target, Failure> {
    #[cfg(unix)]
    let local = bench.unix_socket.is_some();
    #[cfg(not(unix))]
    let local = false;
    let url = full_url(&bench.url, local);
    let needed = bench.all_connections() as u64;
    #[cfg(unix)]
    if let Some(most) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current
        && needed.saturating_add(32) > most
    {
        return Err(Failure::usage(format!(
            "the descriptor limit of {most} leaves no room for {needed} connections: raise it with \
             ulimit -n"
        )));
    }
    Target::new(
        &url,
        #[cfg(unix)]
        bench.unix_socket.as_ref(),
        &bench.header,
        bench.compress.offered(),
        bench.raw,
        &bench.source,
    )
}

struct Conductor<'a> {
    bench: &'a Bench,
    control: Arc<Control>,
    workers: Vec<Worker>,
    signals: Signals,
    readings: Readings,
    told: u64,
    signal: Option<Signal>,
}

impl Conductor<'_> {
    /// From the first connection to the last reply; returns how long the connections took to open,
    /// in seconds.
    async fn conduct(&mut self) -> f64 {
        let threads = self.workers.len();
        let control = self.control.clone();
        let started = control.clock.now();
        self.until("opening", || control.ready.load(Relaxed) == threads).await;
        let open_seconds = (control.clock.now() - started) as f64 / 1e9;
        match self.bench.scenario {
            Scenario::Idle => self.memory_settles().await,
            Scenario::Fanout => tokio::time::sleep(JOIN).await,
            _ => {}
        }
        self.readings.open = self.usage();
        self.readings.begin = self.readings.open;
        if self.bench.scenario == Scenario::Idle && self.bench.traffic == 0 {
            self.readings.end = self.readings.open;
            control.aborted.store(true, Relaxed);
        }
        if control.aborted.load(Relaxed) {
            self.all_end("ending").await;
            return open_seconds;
        }
        let (warm_up, duration) = match self.bench.scenario {
            Scenario::Storm => (0, nanos(self.bench.timeout)),
            // It ends when all have sent what they have to.
            Scenario::Idle => (0, nanos(Duration::from_secs(86_400))),
            _ => (nanos(self.bench.warm_up), nanos(self.bench.duration)),
        };
        let holds = self.bench.scenario == Scenario::Idle;
        control.hold.store(holds, Relaxed);
        let begin = control.start(warm_up, duration);
        self.until("warming up", || control.clock.now() >= begin).await;
        self.readings.begin = self.usage();
        let end = begin.saturating_add(duration);
        let over = || control.holding.load(Relaxed) == threads || control.clock.now() >= end;
        self.until("measuring", over).await;
        self.readings.end = self.usage();
        if holds {
            let cpu = self.readings.end.cpu;
            self.memory_settles().await;
            self.readings.end = Usage { cpu, ..self.usage() };
            control.hold.store(false, Relaxed);
        }
        self.all_end("waiting for the last replies").await;
        open_seconds
    }

    fn usage(&self) -> Usage {
        self.bench.pid.and_then(usage).unwrap_or_default()
    }

    async fn all_end(&mut self, what: &str) {
        while !self.workers.iter().all(Worker::is_finished) {
            self.look(what).await;
        }
        self.tell_nothing();
    }

    /// Waits until something is so, all threads have ended, or a signal ends the run.
    async fn until(&mut self, what: &str, done: impl Fn() -> bool) {
        while !done() && self.signal.is_none() && !self.workers.iter().all(Worker::is_finished) {
            self.look(what).await;
        }
    }

    /// Lets a moment pass.
    async fn look(&mut self, what: &str) {
        // A second signal does what the first one asked for, at once.
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            signal = self.signals.next() => {
                if self.signal.is_some() {
                    std::process::exit(signal.exit_code().into());
                }
                self.signal = Some(signal);
                self.control.hold.store(false, Relaxed);
                self.control.aborted.store(true, Relaxed);
            }
        }
        let now = self.control.clock.now();
        if now >= self.told + TELL {
            self.told = now;
            self.tell(what, now);
        }
    }

    /// Waits until the server's memory does not change any more.
    async fn memory_settles(&mut self) {
        let (mut same, mut last) = (0, self.usage().rss);
        for _ in 0..SETTLES_WITHIN {
            for _ in 0..20 {
                self.look("waiting for memory to settle").await;
            }
            let now = self.usage().rss;
            same = if now == last { same + 1 } else { 0 };
            last = now;
            if same == SETTLED || self.signal.is_some() || self.bench.pid.is_none() {
                return;
            }
        }
    }

    /// The progress line, where somebody sees it.
    fn tell(&self, what: &str, now: u64) {
        if !io::stderr().is_terminal() {
            return;
        }
        let control = &self.control;
        let (open, received) = (control.open.load(Relaxed), control.received.load(Relaxed));
        let begin = control.begin.load(Relaxed);
        let rate = match now.checked_sub(begin) {
            Some(since) if since > 0 => received as f64 * 1e9 / since as f64,
            _ => 0.0,
        };
        let failures = control.failures.load(Relaxed);
        let line = format!(
            "{what}: {:.1} s, {open} open, {received} counted, {rate:.0}/s, {failures} failures",
            now as f64 / 1e9
        );
        let _ = write!(io::stderr(), "\r\x1b[K{line}");
    }

    fn tell_nothing(&self) {
        if io::stderr().is_terminal() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }

    /// Joins the threads.
    fn outcome(self, open_seconds: f64) -> Result<Outcome, Failure> {
        let mut all: Option<Stats> = None;
        for worker in self.workers {
            let joined = worker.join().map_err(|_| Failure::other("a thread has panicked"))?;
            let stats =
                joined.map_err(|e| Failure::other(format!("cannot wait for events: {e}")))?;
            match &mut all {
                Some(all) => all.merge(stats),
                None => all = Some(stats),
            }
        }
        let stats = all.ok_or_else(|| Failure::other("there was no thread"))?;
        Ok(Outcome { stats, readings: self.readings, open_seconds, signal: self.signal })
    }
}

impl Outcome {
    pub(super) fn report(&self, bench: &Bench, settings: Settings) -> Report {
        let stats = &self.stats;
        let seconds = stats.end.saturating_sub(stats.begin) as f64 / 1e9;
        let own = usage(std::process::id()).map(|usage| usage.rss_peak);
        let generator = Generator::new(stats, own);
        let open_loop = settings.rate.map(|rate| OpenLoop {
            rate,
            due: stats.due,
            late_us: stats.late.summary(),
            late_share: stats.late.share_above(validity::LATE),
            blocked: stats.blocked,
            unsent: stats.unsent,
        });
        let messages = Messages::new(stats, seconds);
        let reasons = match bench.scenario {
            // Nothing is measured but memory.
            Scenario::Idle => Vec::new(),
            _ => validity::reasons(&generator, open_loop.as_ref(), messages.received),
        };
        let server = bench.pid.map(|pid| {
            let opened = match bench.scenario {
                Scenario::Connect => 0,
                _ => settings.connections as u64,
            };
            Server::new(pid, &self.readings, opened, stats.received, seconds)
        });
        Report {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            scenario: bench.scenario.name().to_owned(),
            url: bench.url.clone(),
            valid: reasons.is_empty(),
            reasons,
            interrupted: self.signal.is_some(),
            seconds,
            connections: Connections {
                opened: stats.opened,
                open_seconds: self.open_seconds,
                handshakes: stats.handshakes,
                retries: stats.retries,
                slow_closed: stats.slow_closed,
                handshake_us: stats.handshake.summary(),
            },
            messages,
            latency_us: stats.latency.summary(),
            open_loop,
            failures: FailuresReport::new(stats),
            generator,
            server,
            thresholds: Vec::new(),
            settings,
        }
    }
}
