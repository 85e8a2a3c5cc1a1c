//! The loop that drives the connections of one thread: connect, write, read, and wait.

mod opening;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::Duration;

use mio::{Events, Poll};
use provod::proto::deflate::Pool;

use super::connection::{Connection, State};
use super::control::Control;
use super::failure::Wrong;
use super::payload::{Messages, Random};
use super::plan::{Pace, Plan};
use super::procfs::ThreadTime;
use super::stats::Stats;
use super::target::Target;

/// One read takes at most so many bytes.
const BUFFER: usize = 256 * 1024;
/// So long a thread sleeps at most before it looks at the clock and at the others, in nanoseconds.
pub(super) const NAP: u64 = 20_000_000;
/// A call that asks for events takes so long, in nanoseconds.
const CALL: u64 = 2_000;
/// Timeouts are looked at this often, in nanoseconds.
const LOOK: u64 = 100_000_000;

pub(super) struct Engine {
    pub(super) control: Arc<Control>,
    pub(super) target: Arc<Target>,
    pub(super) messages: Arc<Messages>,
    pub(super) connections: Vec<Connection>,
    pub(super) stats: Stats,
    pub(super) buffer: Vec<u8>,
    pub(super) random: Random,
    pub(super) pace: Pace,
    /// The number of the first connection among those of all threads.
    pub(super) first: usize,
    /// Handshakes under way, and connections that are open.
    opening: usize,
    pub(super) open: usize,
    poll: Poll,
    inflaters: Pool,
}

impl Engine {
    pub(super) fn new(
        control: Arc<Control>,
        target: Arc<Target>,
        messages: Arc<Messages>,
        random: Random,
        pace: Pace,
        places: std::ops::Range<usize>,
    ) -> io::Result<Self> {
        Ok(Self {
            control,
            target,
            messages,
            connections: places.clone().map(|_| Connection::new()).collect(),
            stats: Stats::new(),
            buffer: vec![0; BUFFER],
            random,
            pace,
            first: places.start,
            opening: 0,
            open: 0,
            poll: Poll::new()?,
            inflaters: Pool::new(4),
        })
    }

    /// Runs a plan to its end.
    pub(super) fn run<P: Plan>(mut self, plan: &mut P) -> io::Result<Stats> {
        let mut events = Events::with_capacity(1024);
        let mut course = Course::default();
        loop {
            let now = self.now();
            if self.control.aborted.load(Relaxed) {
                self.stats.end = self.stats.end.min(now);
            }
            let next = match course.phase {
                Phase::Opening => self.open_more(plan, &mut course, now),
                Phase::Waiting if self.control.go.load(Acquire) <= now => {
                    self.stats.begin = self.control.begin.load(Relaxed);
                    self.stats.end = self.control.end.load(Relaxed);
                    course.phase = Phase::Running;
                    plan.go(&mut self, now);
                    now
                }
                Phase::Waiting if self.control.aborted.load(Relaxed) => break,
                Phase::Waiting => self.control.go.load(Acquire),
                Phase::Running if plan.is_over(&self) => {
                    self.stats.end = self.stats.end.min(now);
                    course.phase = Phase::Ending;
                    now
                }
                Phase::Running if now >= self.stats.end => {
                    course.phase = Phase::Ending;
                    now
                }
                Phase::Ending if self.ends(plan, now) => {
                    if !self.control.hold.load(Relaxed) {
                        break;
                    }
                    self.control.holding.fetch_add(1, Relaxed);
                    course.phase = Phase::Holding;
                    u64::MAX
                }
                Phase::Holding if !self.control.hold.load(Relaxed) => break,
                Phase::Holding => u64::MAX,
                Phase::Running | Phase::Ending => plan.due(&mut self, now),
            };
            self.measure(&mut course, now);
            if now >= course.look {
                course.look = now + LOOK;
                self.time_out(plan, now);
                self.publish(&mut course);
            }
            self.turn(plan, &mut events, next)?;
        }
        plan.settle(&mut self);
        self.measure(&mut course, u64::MAX);
        self.publish(&mut course);
        self.stats.end_thread();
        Ok(self.stats)
    }

    pub(super) fn now(&self) -> u64 {
        self.control.clock.now()
    }

    fn ends<P: Plan>(&self, plan: &P, now: u64) -> bool {
        plan.is_settled(self) || now >= self.stats.end.saturating_add(self.pace.patience)
    }

    /// Waits for events until `next` at most, and handles them.
    fn turn<P: Plan>(&mut self, plan: &mut P, events: &mut Events, next: u64) -> io::Result<()> {
        let before = self.now();
        let wait = next.saturating_sub(before).min(NAP);
        // The system sleeps in whole milliseconds and rounds up. What is due earlier is waited for
        // awake, or it would leave late.
        let millis = match wait {
            _ if self.pace.spin => 0,
            NAP => NAP / 1_000_000,
            due => (due / 1_000_000).saturating_sub(1),
        };
        match self.poll.poll(events, Some(Duration::from_millis(millis))) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => other?,
        }
        self.count_idle(before, events.is_empty(), millis);
        for event in events.iter() {
            let i = event.token().0;
            if event.is_writable() {
                self.on_writable(plan, i);
            }
            let ended = event.is_read_closed() || event.is_error();
            if event.is_readable() || ended {
                self.on_readable(plan, i, ended);
            }
        }
        Ok(())
    }

    /// Counts a poll that began at `before` as time without work, but for what the call itself takes
    /// where there was something to do already.
    fn count_idle(&mut self, before: u64, found_nothing: bool, millis: u64) {
        if self.stats.begin == u64::MAX || (millis == 0 && !found_nothing) {
            return;
        }
        let now = self.now();
        let from = before.max(self.stats.begin);
        let idle = now.min(self.stats.end).saturating_sub(from);
        self.stats.idle += if found_nothing { idle } else { idle.saturating_sub(CALL) };
    }

    /// Ends a connection, well or badly.
    pub(super) fn fail<P: Plan>(&mut self, plan: &mut P, i: usize, wrong: Wrong, now: u64) {
        let old = self.cut(i);
        if let Some(wrong) = plan.gone(self, i, &old, wrong, now) {
            let number = self.first + i;
            self.stats.failures.add(number, &wrong);
        }
    }

    /// Lets a connection go without a word.
    pub(super) fn cut(&mut self, i: usize) -> Connection {
        let old = std::mem::replace(&mut self.connections[i], Connection::new());
        match old.state {
            State::Idle => {}
            State::Connecting | State::Upgrading => self.opening -= 1,
            State::Open => {
                self.open -= 1;
                self.control.open.fetch_sub(1, Relaxed);
            }
        }
        old
    }

    /// Writes what the socket takes.
    pub(super) fn flush<P: Plan>(&mut self, plan: &mut P, i: usize, now: u64) {
        match self.connections[i].flush(&self.messages) {
            Ok((bytes, messages)) => {
                // What those that never read send is not part of the load that is measured.
                if self.stats.measures(now) && plan.reads(i) {
                    self.stats.bytes_out += bytes as u64;
                    self.stats.sent += messages;
                }
            }
            Err(wrong) => self.fail(plan, i, wrong, now),
        }
    }

    fn on_writable<P: Plan>(&mut self, plan: &mut P, i: usize) {
        let now = self.now();
        let connection = &mut self.connections[i];
        if connection.state == State::Connecting {
            let error = connection.stream.as_ref().and_then(|s| s.take_error().ok().flatten());
            if let Some(e) = error {
                return self.fail(plan, i, Wrong::Io("connect", e), now);
            }
            self.flush(plan, i, now);
            let connection = &mut self.connections[i];
            if connection.state == State::Connecting && !connection.is_waiting() {
                connection.state = State::Upgrading;
                if connection.handshake.is_none() {
                    self.opened(plan, i, now);
                }
            }
            return;
        }
        if connection.is_waiting() {
            self.flush(plan, i, now);
        }
        if self.connections[i].is_open() && !self.connections[i].is_waiting() {
            plan.writable(self, i, now);
        }
    }

    fn on_readable<P: Plan>(&mut self, plan: &mut P, i: usize, ended: bool) {
        if self.connections[i].is_open() && !plan.reads(i) {
            return;
        }
        let mut messages = 0;
        loop {
            let Some(stream) = &mut self.connections[i].stream else { return };
            let read = stream.read(&mut self.buffer);
            let now = self.now();
            let n = match read {
                Ok(0) => return self.fail(plan, i, Wrong::Closed("without a Close".into()), now),
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::NotConnected => break,
                Err(e) if self.connections[i].state == State::Connecting => {
                    return self.fail(plan, i, Wrong::Io("connect", e), now);
                }
                Err(e) => return self.fail(plan, i, Wrong::Io("read", e), now),
            };
            if self.stats.measures(now) {
                self.stats.bytes_in += n as u64;
            }
            let frames = if self.connections[i].is_open() {
                n
            } else {
                match self.upgrade(plan, i, n, now) {
                    Ok(rest) => rest,
                    Err(wrong) => return self.fail(plan, i, wrong, now),
                }
            };
            if frames > 0 {
                match plan.received(self, i, frames, now) {
                    Ok(done) => {
                        messages += done;
                        self.stats.received(done, now);
                    }
                    Err(wrong) => return self.fail(plan, i, wrong, now),
                }
            }
            // A read that did not fill the buffer has emptied the socket; more makes a new event,
            // but an end that came with this one does not.
            if n < self.buffer.len() && !ended {
                break;
            }
        }
        if !self.connections[i].is_open() {
            return;
        }
        if !self.connections[i].incoming.pings.is_empty() {
            let Self { connections, random, .. } = self;
            connections[i].answer_pings(random);
        }
        let now = self.now();
        plan.drained(self, i, messages, now);
        if self.connections[i].is_waiting() {
            self.flush(plan, i, now);
        }
    }

    fn time_out<P: Plan>(&mut self, plan: &mut P, now: u64) {
        for i in 0..self.connections.len() {
            if self.connections[i].deadline <= now {
                let what = match self.connections[i].state {
                    State::Connecting => "connecting",
                    State::Upgrading => "the answer to the request",
                    _ => "the closing handshake",
                };
                self.fail(plan, i, Wrong::Timeout(what), now);
            }
        }
    }

    /// Notes what the thread has cost at the borders of the measured time.
    fn measure(&mut self, course: &mut Course, now: u64) {
        let begun = self.stats.begin != u64::MAX && now >= self.stats.begin;
        if course.at_begin.is_none() && begun {
            course.at_begin = Some((ThreadTime::now(), self.now()));
        }
        if let Some((time, at)) = course.at_begin
            && now >= self.stats.end
            && !course.at_end
        {
            let used = ThreadTime::now();
            course.at_end = true;
            self.stats.cpu = used.cpu.saturating_sub(time.cpu);
            self.stats.waited = used.waited.saturating_sub(time.waited);
            self.stats.measured = self.now().saturating_sub(at);
        }
    }

    /// Tells the progress line.
    fn publish(&mut self, course: &mut Course) {
        let (received, failures) = (self.stats.received, self.stats.failures.total());
        self.control.received.fetch_add(received - course.told.0, Relaxed);
        self.control.failures.fetch_add(failures - course.told.1, Relaxed);
        course.told = (received, failures);
    }
}

/// How far a run is.
#[derive(Debug, Default)]
struct Course {
    phase: Phase,
    /// When the first connection was begun, and how many were.
    started: Option<u64>,
    begun: usize,
    look: u64,
    at_begin: Option<(ThreadTime, u64)>,
    at_end: bool,
    told: (u64, u64),
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Opening,
    Waiting,
    Running,
    Ending,
    /// All is done, and the connections are kept.
    Holding,
}
