//! Connections that come and go: connect, perhaps say something, close, and again.

use super::Talk;
use crate::bench::clock::Schedule;
use crate::bench::engine::Engine;
use crate::bench::stats::Stats;

/// After a visit that failed no new one begins for so long, in nanoseconds: a server that is down
/// must not turn the generator into a busy loop.
const PAUSE: u64 = 10_000_000;

#[derive(Debug)]
pub(in crate::bench) struct Visits {
    /// Visits a second; without it the next begins when one has ended.
    rate: Option<f64>,
    /// Whether a visitor says something before it closes. Without it the handshakes are what is
    /// measured.
    says: bool,
    /// Places without a visitor.
    free: Vec<usize>,
    schedule: Option<Schedule>,
    next: u64,
    paused_until: u64,
}

impl Visits {
    pub(in crate::bench) fn new(
        places: std::ops::Range<usize>,
        rate: Option<f64>,
        says: bool,
    ) -> Self {
        let free = places.rev().collect();
        Self { rate, says, free, schedule: None, next: 0, paused_until: 0 }
    }

    pub(super) fn go(&mut self, now: u64) {
        self.schedule = self.rate.map(|rate| Schedule::new(now, rate));
    }

    /// Begins the visits that are due; returns when the next one is.
    pub(super) fn due(plan: &mut Talk, engine: &mut Engine, now: u64) -> u64 {
        loop {
            let Some(visits) = &mut plan.visits else { return u64::MAX };
            if now >= engine.stats.end {
                return u64::MAX;
            }
            if now < visits.paused_until {
                return visits.paused_until;
            }
            let began = match visits.schedule {
                Some(schedule) if schedule.at(visits.next) > now => {
                    return schedule.at(visits.next);
                }
                Some(schedule) => schedule.at(visits.next),
                None => engine.now(),
            };
            // The end of another visit calls this again.
            let Some(place) = visits.free.pop() else { return u64::MAX };
            visits.next += 1;
            if visits.schedule.is_some() && !visits.says && engine.stats.measures(began) {
                engine.stats.late.record(engine.now() - began);
            }
            engine.connect(plan, place, began);
        }
    }

    pub(super) fn opened(&self, engine: &mut Engine, i: usize, now: u64) {
        let Engine { connections, stats, random, pace, .. } = engine;
        let connection = &mut connections[i];
        connection.deadline = now.saturating_add(pace.patience);
        stats.handshakes += u64::from(stats.measures(now));
        if self.says {
            connection.queue(1);
        } else {
            stats.reply(connection.began, now);
            stats.received(1, now);
            connection.close(random);
        }
    }

    /// How many visits were due in the measured time, where they are what is measured.
    pub(super) fn measured(&self, stats: &Stats) -> Option<u64> {
        let schedule = self.schedule.filter(|_| !self.says)?;
        Some(schedule.within(stats.begin, stats.end))
    }

    pub(super) fn gone(&mut self, i: usize, failed: bool, now: u64) {
        self.free.push(i);
        if failed {
            self.paused_until = now + PAUSE;
        }
    }
}
