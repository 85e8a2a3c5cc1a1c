//! The loop that drives the connections of one thread: connect, write, read, and wait.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::Duration;

use mio::{Events, Poll, Token};
use provod::proto::deflate::Pool;

use super::connection::{Connection, Sample, State};
use super::control::Control;
use super::failure::Wrong;
use super::payload::{Messages, Random};
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
/// One in so many connections inflates what it receives.
const INFLATES: usize = 64;

/// What a scenario does with the connections.
pub(super) trait Plan {
    /// How many of the first connections are opened before the traffic begins.
    fn opens_first(&self) -> usize;
    /// The room of a connection, where there are several.
    fn room(&self, _i: usize) -> Option<usize> {
        None
    }
    /// The traffic begins at `now`.
    fn go(&mut self, engine: &mut Engine, now: u64);
    /// A handshake has ended well.
    fn opened(&mut self, engine: &mut Engine, i: usize, now: u64);
    /// Looks at the first `n` bytes of the buffer, which connection `i` received at `now`; returns
    /// how many whole messages they ended.
    fn received(&mut self, engine: &mut Engine, i: usize, n: usize, now: u64)
    -> Result<u64, Wrong>;
    /// Connection `i` has been read empty, with so many messages; it may be sent more.
    fn drained(&mut self, engine: &mut Engine, i: usize, messages: u64, now: u64);
    /// The socket takes bytes again, and nothing waits for it.
    fn writable(&mut self, _engine: &mut Engine, _i: usize, _now: u64) {}
    /// Whether what connection `i` receives is read at all.
    fn reads(&self, _i: usize) -> bool {
        true
    }
    /// The connection at place `i` is over, the place free. Returns what went wrong, if anything
    /// did.
    fn gone(
        &mut self,
        engine: &mut Engine,
        i: usize,
        old: &Connection,
        wrong: Wrong,
        now: u64,
    ) -> Option<Wrong>;
    /// Whether there is nothing left to measure, before the time is over.
    fn is_over(&self, _engine: &Engine) -> bool {
        false
    }
    /// Does what is due; returns when to be called next, in nanoseconds of the clock.
    fn due(&mut self, engine: &mut Engine, now: u64) -> u64;
    /// After the end: nothing more is awaited.
    fn is_settled(&self, engine: &Engine) -> bool;
    /// After the last reply, or when the time for it is over.
    fn settle(&mut self, engine: &mut Engine);
}

/// What the loop is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Handshakes that may be under way at once before the traffic begins.
    pub(super) window: usize,
    /// The connections are opened over this time, in nanoseconds.
    pub(super) ramp_up: u64,
    /// How long a handshake, or the last replies, may take, in nanoseconds.
    pub(super) patience: u64,
    /// Never sleep.
    pub(super) spin: bool,
}

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
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                self.on_readable(plan, i);
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

    /// Begins a connection at a free place. `began` is when it was meant to.
    pub(super) fn connect<P: Plan>(&mut self, plan: &mut P, i: usize, began: u64) {
        let number = self.first + i;
        // A target that no request could be made for was refused at the start.
        let Ok(request) = self.target.request(self.random.nonce(), plan.room(i)) else { return };
        let variant = (number * 7 % self.messages.count()) as u32;
        let mut stream = match self.target.connect(number) {
            Ok(stream) => stream,
            Err(e) => {
                self.opening += 1;
                let now = self.now();
                self.connections[i].state = State::Connecting;
                self.connections[i].began = began;
                return self.fail(plan, i, Wrong::Io("connect", e), now);
            }
        };
        let registered = stream.register(self.poll.registry(), Token(i));
        let connection = &mut self.connections[i];
        connection.begin(stream, request, variant);
        connection.began = began;
        connection.deadline = began.saturating_add(self.pace.patience);
        self.opening += 1;
        if let Err(e) = registered {
            let now = self.now();
            self.fail(plan, i, Wrong::Io("connect", e), now);
        }
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

    fn on_readable<P: Plan>(&mut self, plan: &mut P, i: usize) {
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
            // A read that did not fill the buffer has emptied the socket; more makes a new event.
            if n < self.buffer.len() {
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

    /// Reads the answer to the request; what lies behind it is moved to the front of the buffer,
    /// and its length returned.
    fn upgrade<P: Plan>(
        &mut self,
        plan: &mut P,
        i: usize,
        n: usize,
        now: u64,
    ) -> Result<usize, Wrong> {
        let connection = &mut self.connections[i];
        let Some(handshake) = &mut connection.handshake else { return Ok(0) };
        let pushed = handshake.reader.push(&self.buffer[..n]);
        let pushed = pushed.map_err(|e| Wrong::Handshake(e.to_string()))?;
        let Some(head) = pushed.head else { return Ok(0) };
        let accepted = handshake.request.verify(&head);
        let accepted = accepted.map_err(|e| Wrong::Handshake(e.to_string()))?;
        let deflate = accepted.deflate.map(|agreed| agreed.params);
        if self.target.deflate.is_some() {
            let Some(params) = deflate else {
                return Err(Wrong::Handshake("the server does not compress".to_owned()));
            };
            if params.client_max_window_bits < 15 {
                let why = "the server wants a smaller window of this side than the messages have";
                return Err(Wrong::Handshake(why.to_owned()));
            }
            if (self.first + i).is_multiple_of(INFLATES) {
                let takeover = !params.server_no_context_takeover;
                connection.sample = Some(Box::new(Sample::new(takeover, &self.inflaters)));
            }
            if self.stats.extensions.is_empty() {
                let line = head.header("Sec-WebSocket-Extensions").unwrap_or_default();
                self.stats.extensions = crate::escape::line(line);
            }
        }
        connection.handshake = None;
        connection.state = State::Open;
        connection.deadline = u64::MAX;
        let began = connection.began;
        self.opening -= 1;
        self.open += 1;
        // Those that come later are visits, or come back.
        self.stats.opened += u64::from(self.stats.begin == u64::MAX);
        self.control.open.fetch_add(1, Relaxed);
        self.stats.handshake.record(now.saturating_sub(began));
        self.buffer.copy_within(pushed.consumed..n, 0);
        plan.opened(self, i, now);
        Ok(n - pushed.consumed)
    }

    /// Opens the connections that must be there before the traffic begins.
    fn open_more<P: Plan>(&mut self, plan: &mut P, course: &mut Course, now: u64) -> u64 {
        let all = plan.opens_first();
        let started = *course.started.get_or_insert(now);
        let given_up = self.control.aborted.load(Relaxed);
        let mut next = u64::MAX;
        while course.begun < all && self.opening < self.pace.window && !given_up {
            let part = self.pace.ramp_up as f64 * course.begun as f64 / all as f64;
            let at = started + part as u64;
            if at > now {
                next = at;
                break;
            }
            self.connect(plan, course.begun, now);
            course.begun += 1;
        }
        if (course.begun == all && self.opening == 0) || given_up {
            course.phase = Phase::Waiting;
            self.control.ready.fetch_add(1, Relaxed);
            return now;
        }
        next
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
