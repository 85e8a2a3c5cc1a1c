//! Connections that are echoed to, and beside them some that never read, or that come and go.

mod replies;
mod visits;

use crate::bench::clock::Schedule;
use crate::bench::connection::Connection;
use crate::bench::engine::Engine;
use crate::bench::failure::Wrong;
use crate::bench::incoming::Incoming;
use crate::bench::plan::Plan;

use replies::Replies;
pub(in crate::bench) use visits::Visits;

/// So many slots of an open loop are served before sockets are looked at again.
const BATCH: usize = 256;
/// A slow reader sends so many bytes at once, this often in nanoseconds, while its socket takes
/// them: enough to fill the sockets on its way within seconds, and not so much that answering it is
/// all that the server does.
const FLOOD: usize = 16 * 1024;
const FLOOD_EVERY: u64 = 5_000_000;

/// How the talkers send.
#[derive(Debug, Clone)]
pub(in crate::bench) struct Talkers {
    /// Messages on their way for each connection, in a closed loop.
    pub(in crate::bench) in_flight: u32,
    /// Messages a second of this thread, in an open loop, and the part of the way to its second
    /// message by which its first one comes later, so that threads do not send at once.
    pub(in crate::bench) rate: Option<(f64, f64)>,
    /// Messages that each connection sends at most.
    pub(in crate::bench) quota: u64,
    /// Of so many replies, the bytes of one are compared.
    pub(in crate::bench) verify_every: u64,
    pub(in crate::bench) opcode: u8,
}

/// The plan. The first places are the talkers', then the slow readers', then the visitors'.
#[derive(Debug)]
pub(in crate::bench) struct Talk {
    talkers: usize,
    slow: usize,
    how: Talkers,
    schedule: Option<Schedule>,
    /// The next message of the open loop.
    slot: u64,
    /// When each message on its way was queued, in a closed loop: for each talker a ring of this
    /// width, a power of two.
    sent_at: Vec<u64>,
    width: u64,
    visits: Option<Visits>,
    running: bool,
    /// When the slow readers send again.
    flood_at: u64,
}

impl Talk {
    pub(in crate::bench) fn new(
        talkers: usize,
        slow: usize,
        how: Talkers,
        visits: Option<Visits>,
    ) -> Self {
        let width = u64::from(how.in_flight).next_power_of_two();
        let places = if how.rate.is_none() { talkers * width as usize } else { 0 };
        Self {
            talkers,
            slow,
            how,
            schedule: None,
            slot: 0,
            sent_at: vec![0; places],
            width,
            visits,
            running: false,
            flood_at: 0,
        }
    }

    /// Queues messages of a closed loop on a talker.
    fn say(&mut self, connection: &mut Connection, i: usize, n: u64, now: u64) {
        let n = n.min(self.how.quota.saturating_sub(connection.sent));
        for sent in connection.sent..connection.sent + n {
            let place = self.place(i, sent);
            self.sent_at[place] = now;
        }
        connection.queue(n);
    }

    /// The place in the rings of a talker's message.
    #[inline]
    fn place(&self, i: usize, message: u64) -> usize {
        i * self.width as usize + (message & (self.width - 1)) as usize
    }

    /// When the next reply's message was meant to leave.
    fn intended(&self, i: usize, received: u64) -> u64 {
        match &self.schedule {
            // The slots go round: message n of a connection has this one.
            Some(schedule) => schedule.at(received * self.talkers as u64 + i as u64),
            None => self.sent_at[self.place(i, received)],
        }
    }

    /// Sends what the schedule wants by now; returns when it wants more.
    fn send_due(&mut self, engine: &mut Engine, now: u64) -> u64 {
        let Some(schedule) = self.schedule else { return u64::MAX };
        for _ in 0..BATCH {
            let intended = schedule.at(self.slot);
            if intended >= engine.stats.end {
                return u64::MAX;
            }
            if intended > now {
                return intended;
            }
            let i = (self.slot % self.talkers as u64) as usize;
            self.slot += 1;
            let counts = engine.stats.measures(intended);
            let connection = &mut engine.connections[i];
            if !connection.is_open() {
                engine.stats.unsent += u64::from(counts);
                continue;
            }
            let was_full = connection.is_waiting();
            connection.queue(1);
            if was_full {
                engine.stats.blocked += u64::from(counts);
                continue;
            }
            let at = engine.now();
            if counts {
                engine.stats.late.record(at - intended);
            }
            engine.flush(self, i, at);
            let is_full = engine.connections[i].is_waiting();
            engine.stats.blocked += u64::from(counts && is_full);
        }
        now
    }

    fn is_talker(&self, i: usize) -> bool {
        i < self.talkers
    }

    fn is_slow(&self, i: usize) -> bool {
        (self.talkers..self.talkers + self.slow).contains(&i)
    }

    /// Lets the slow readers send; returns when they do again.
    fn flood(&mut self, engine: &mut Engine, now: u64) -> u64 {
        if self.slow == 0 || now >= engine.stats.end {
            return u64::MAX;
        }
        if now >= self.flood_at {
            self.flood_at = now + FLOOD_EVERY;
            let messages = (FLOOD / engine.messages.frame_len(0)).max(1) as u64;
            for i in self.talkers..self.talkers + self.slow {
                let connection = &mut engine.connections[i];
                if connection.is_open() && !connection.is_waiting() {
                    connection.queue(messages);
                    engine.flush(self, i, now);
                }
            }
        }
        self.flood_at
    }
}

impl Plan for Talk {
    fn opens_first(&self) -> usize {
        self.talkers + self.slow
    }

    fn go(&mut self, engine: &mut Engine, now: u64) {
        self.running = true;
        if let Some((rate, phase)) = self.how.rate
            && self.talkers > 0
        {
            let first = now + (phase * 1e9 / rate) as u64;
            self.schedule = Some(Schedule::new(first, rate));
        }
        if let Some(visits) = &mut self.visits {
            // What was measured so far is how the others opened.
            engine.stats.handshake = crate::bench::stats::Latencies::new();
            visits.go(now);
        }
        if self.schedule.is_some() {
            return;
        }
        for i in 0..self.talkers {
            if engine.connections[i].is_open() {
                let now = engine.now();
                let n = u64::from(self.how.in_flight);
                self.say(&mut engine.connections[i], i, n, now);
                engine.flush(self, i, now);
            }
        }
    }

    fn opened(&mut self, engine: &mut Engine, i: usize, now: u64) {
        if let Some(visits) = &self.visits
            && !self.is_talker(i)
            && !self.is_slow(i)
        {
            visits.opened(engine, i, now);
        }
    }

    fn received(
        &mut self,
        engine: &mut Engine,
        i: usize,
        n: usize,
        now: u64,
    ) -> Result<u64, Wrong> {
        let Engine { connections, stats, messages, buffer, target, first, .. } = engine;
        let connection = &mut connections[i];
        // Put back below; what a failed one was does not matter any more.
        let mut incoming: Incoming = std::mem::take(&mut connection.incoming);
        let mut replies = Replies {
            plan: self,
            connection,
            stats,
            messages,
            deflate: target.deflate.is_some(),
            raw: target.raw,
            number: *first + i,
            i,
            now,
            done: 0,
        };
        if target.raw {
            let opcode = replies.plan.how.opcode;
            let next = |replies: &Replies<'_>| replies.wanted().len();
            incoming.feed_raw(&buffer[..n], opcode, &mut replies, next)?;
        } else {
            incoming.feed(&buffer[..n], &mut replies)?;
        }
        let done = replies.done;
        connection.incoming = incoming;
        // Those of visitors are not what a rate is about.
        Ok(if self.is_talker(i) { done } else { 0 })
    }

    fn drained(&mut self, engine: &mut Engine, i: usize, messages: u64, now: u64) {
        if !self.is_talker(i) {
            let Engine { connections, random, .. } = engine;
            let connection = &mut connections[i];
            if connection.sent > 0 && connection.received == connection.sent && !connection.closing
            {
                connection.close(random);
            }
        } else if self.schedule.is_none() && messages > 0 && now < engine.stats.end {
            self.say(&mut engine.connections[i], i, messages, now);
        }
    }

    fn reads(&self, i: usize) -> bool {
        !self.is_slow(i)
    }

    fn gone(
        &mut self,
        engine: &mut Engine,
        i: usize,
        old: &Connection,
        wrong: Wrong,
        now: u64,
    ) -> Option<Wrong> {
        if self.is_talker(i) {
            let lost = old.sent - old.received;
            if lost > 0 {
                engine.stats.failures.add(engine.first + i, &Wrong::Missing(lost));
            }
            return Some(wrong);
        }
        if self.is_slow(i) {
            // A server may well lose patience with one that does not read.
            let expected = old.is_open() && self.running;
            engine.stats.slow_closed += u64::from(expected);
            return (!expected).then_some(wrong);
        }
        let wrong = match wrong {
            Wrong::Closed(_) if old.closing => None,
            other => Some(other),
        };
        if let Some(visits) = &mut self.visits {
            visits.gone(i, wrong.is_some(), now);
        }
        wrong
    }

    fn is_over(&self, engine: &Engine) -> bool {
        let mut talkers = engine.connections[..self.talkers].iter();
        self.visits.is_none()
            && (engine.open <= self.slow || self.how.quota < u64::MAX)
            && talkers.all(|c| !c.is_open() || c.received >= self.how.quota)
    }

    fn due(&mut self, engine: &mut Engine, now: u64) -> u64 {
        let next = self.send_due(engine, now).min(self.flood(engine, now));
        next.min(Visits::due(self, engine, now))
    }

    fn is_settled(&self, engine: &Engine) -> bool {
        let all_sent = self.schedule.is_none_or(|s| s.at(self.slot) >= engine.stats.end);
        let visitors = self.talkers + self.slow;
        let answered = |c: &Connection| !c.is_open() || c.sent == c.received;
        all_sent
            && engine.connections[..self.talkers].iter().all(answered)
            && engine.connections[visitors..].iter().all(|c| c.stream.is_none())
    }

    fn settle(&mut self, engine: &mut Engine) {
        if let Some(schedule) = self.schedule {
            engine.stats.due = schedule.within(engine.stats.begin, engine.stats.end);
        } else if let Some(due) = self.visits.as_ref().and_then(|v| v.measured(&engine.stats)) {
            engine.stats.due = due;
        }
        for i in 0..self.talkers {
            let connection = &engine.connections[i];
            if connection.is_open() && connection.received < connection.sent {
                let missing = Wrong::Missing(connection.sent - connection.received);
                engine.stats.failures.add(engine.first + i, &missing);
            }
        }
    }
}
