//! The threads: who gets which connections, and which plan.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::args::{Bench, Scenario};
use super::clock::nanos;
use super::control::Control;
use super::engine::Engine;
use super::payload::{Messages, Random};
use super::plan::{Pace, Plan};
use super::scenario::{Room, Rooms, Storm, Talk, Talkers, Visits};
use super::stats::Stats;
use super::target::Target;

pub(super) type Worker = JoinHandle<io::Result<Stats>>;

/// What a thread does.
enum Job {
    Talk(Talk),
    Room(Room),
    Storm(Storm),
}

/// The part of `all` that the `n`-th of `parts` gets.
fn share(all: usize, parts: usize, n: usize) -> Range<usize> {
    all * n / parts..all * (n + 1) / parts
}

/// Starts the threads.
pub(super) fn start(
    bench: &Bench,
    seed: u64,
    target: Target,
    control: &Arc<Control>,
) -> io::Result<Vec<Worker>> {
    let compress = target.deflate.is_some();
    let mut random = Random(seed);
    let messages = Messages::new(bench.content, bench.message_size(), compress, &mut random);
    let (target, messages) = (Arc::new(target), Arc::new(messages));
    let threads = usize::from(bench.threads);
    let mut first = 0;
    (0..threads)
        .map(|n| {
            let (job, places) = job(bench, threads, n);
            let places = first..first + places;
            first = places.end;
            let (control, target, messages) = (control.clone(), target.clone(), messages.clone());
            let random = Random(random.next());
            let pace = Pace {
                window: (bench.window as usize).div_ceil(threads),
                ramp_up: nanos(bench.ramp_up),
                patience: nanos(bench.timeout),
                spin: bench.spin,
            };
            let body = move || {
                let engine = Engine::new(control, target, messages, random, pace, places)?;
                match job {
                    Job::Talk(mut plan) => drive(engine, &mut plan),
                    Job::Room(mut plan) => drive(engine, &mut plan),
                    Job::Storm(mut plan) => drive(engine, &mut plan),
                }
            };
            thread::Builder::new().name(format!("bench-{n}")).spawn(body)
        })
        .collect()
}

fn drive<P: Plan>(engine: Engine, plan: &mut P) -> io::Result<Stats> {
    engine.run(plan)
}

/// The plan of thread `n`, and how many places for connections it needs.
fn job(bench: &Bench, threads: usize, n: usize) -> (Job, usize) {
    let all = bench.all_connections();
    let mine = share(all, threads, n).len();
    let part = mine as f64 / all as f64;
    // Threads take turns within the time from one message to the next.
    let phase = n as f64 / threads as f64;
    let rate = bench.rate.map(|rate| (rate * part, phase));
    let talkers = Talkers {
        in_flight: bench.in_flight,
        rate,
        quota: u64::MAX,
        verify_every: bench.verifies_every(),
        opcode: bench.content.opcode() as u8,
    };
    match bench.scenario {
        Scenario::Echo => (Job::Talk(Talk::new(mine, 0, talkers, None)), mine),
        Scenario::SlowReader => {
            let slow = share(bench.slow as usize, threads, n).len();
            (Job::Talk(Talk::new(mine, slow, talkers, None)), mine + slow)
        }
        Scenario::Churn => {
            let rate = bench.churn_rate * part;
            // As many as come in a second: a server that takes longer is waited for.
            let visitors = (rate.ceil() as usize).clamp(16, 4096);
            let visits = Visits::new(mine..mine + visitors, Some(rate), true);
            (Job::Talk(Talk::new(mine, 0, talkers, Some(visits))), mine + visitors)
        }
        Scenario::Connect => {
            let visits = Visits::new(0..mine, rate.map(|(rate, _)| rate), false);
            let nobody = Talkers { rate: None, ..talkers };
            (Job::Talk(Talk::new(0, 0, nobody, Some(visits))), mine)
        }
        Scenario::Idle => {
            let quota = bench.traffic.div_ceil(bench.message_size().max(1) as u64);
            (Job::Talk(Talk::new(mine, 0, Talkers { quota, ..talkers }, None)), mine)
        }
        Scenario::Storm => (Job::Storm(Storm::new(mine)), mine),
        Scenario::Fanout => {
            let rooms = bench.rooms as usize;
            let members = all / rooms;
            let mine = share(rooms, threads, n);
            let rate = bench.rate.map(|rate| (rate * mine.len() as f64 / rooms as f64, phase));
            let places = mine.len() * members;
            let how = Rooms {
                rooms: mine.len(),
                first_room: mine.start,
                numbered: rooms > 1,
                members,
                publishers: bench.publishers as usize,
                in_flight: bench.in_flight.into(),
                rate,
                content: bench.content,
                size: bench.message_size(),
                verify_every: bench.verifies_every(),
            };
            (Job::Room(Room::new(how)), places)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn shares_are_even_and_whole() {
        for (all, parts) in [(1, 1), (7, 3), (64, 5), (1000, 7)] {
            let shares: Vec<_> = (0..parts).map(|n| share(all, parts, n)).collect();
            assert_eq!(shares.iter().map(ExactSizeIterator::len).sum::<usize>(), all);
            assert!(shares.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert!(shares.iter().all(|s| s.len() == all / parts || s.len() == all / parts + 1));
        }
    }
}
