//! Fan-out: what a publisher says reaches every member of its room, itself included.

mod deliveries;

use provod::proto::deflate::{Compressor, Level, Pool};

use crate::bench::clock::Schedule;
use crate::bench::connection::Connection;
use crate::bench::engine::Engine;
use crate::bench::failure::Wrong;
use crate::bench::payload::{Content, frame};
use crate::bench::plan::Plan;

use deliveries::{Deliveries, Stamp};

const BATCH: usize = 64;

/// How rooms are filled and spoken in.
#[derive(Debug, Clone)]
pub(in crate::bench) struct Rooms {
    /// Rooms of this thread, the number of its first one, and whether the run has several.
    pub(in crate::bench) rooms: usize,
    pub(in crate::bench) first_room: usize,
    pub(in crate::bench) numbered: bool,
    pub(in crate::bench) members: usize,
    pub(in crate::bench) publishers: usize,
    /// Publishes on their way for each publisher, in a closed loop.
    pub(in crate::bench) in_flight: u64,
    /// Publishes a second of this thread in an open loop, and the phase as for talkers.
    pub(in crate::bench) rate: Option<(f64, f64)>,
    pub(in crate::bench) content: Content,
    pub(in crate::bench) size: usize,
    pub(in crate::bench) verify_every: u64,
}

/// The plan. The members of a room stand together, its publishers first.
#[derive(Debug)]
pub(in crate::bench) struct Room {
    how: Rooms,
    rooms: Vec<State>,
    members: Vec<Member>,
    /// For each member and publisher of its room, the number that comes next.
    expected: Vec<u64>,
    schedule: Option<Schedule>,
    slot: u64,
    compressor: Option<Compressor>,
    payload: Vec<u8>,
    small: Vec<u8>,
}

#[derive(Debug, Clone, Default)]
struct State {
    /// Members that are there, deliveries on their way to them, publishes so far.
    alive: u64,
    owed: u64,
    published: u64,
    /// The publisher whose turn it is.
    turn: usize,
}

#[derive(Debug, Clone, Default)]
struct Member {
    /// As a publisher: messages that the schedule has asked for, and those that have left.
    due: u64,
    published: u64,
    /// The stamp of the message that is being received.
    stamp: Stamp,
}

impl Room {
    pub(in crate::bench) fn new(how: Rooms) -> Self {
        let all = how.rooms * how.members;
        Self {
            rooms: vec![State::default(); how.rooms],
            members: vec![Member::default(); all],
            expected: vec![0; all * how.publishers],
            schedule: None,
            slot: 0,
            compressor: None,
            payload: Vec::new(),
            small: Vec::new(),
            how,
        }
    }

    /// Sends a publisher's next message.
    fn publish(&mut self, engine: &mut Engine, room: usize, publisher: usize, intended: u64) {
        let i = room * self.how.members + publisher;
        let sequence = self.members[i].published;
        self.members[i].published += 1;
        let plain = engine.messages.plain(sequence as usize);
        self.payload.clear();
        self.payload.extend_from_slice(plain);
        let at = self.how.content.stamp_at();
        Stamp::write(&mut self.payload[at..], publisher, sequence, intended);
        let opcode = self.how.content.opcode();
        let key = engine.random.key();
        let out = &mut engine.connections[i].out;
        if engine.target.deflate.is_some() {
            let new = || Compressor::new(15, false, Level::default(), Pool::new(1));
            self.small.clear();
            self.compressor.get_or_insert_with(new).compress(&self.payload, true, &mut self.small);
            frame(out, opcode, true, &self.small, key);
        } else {
            frame(out, opcode, false, &self.payload, key);
        }
        let state = &mut self.rooms[room];
        state.published += 1;
        state.owed += state.alive;
        let now = engine.now();
        engine.stats.sent += u64::from(engine.stats.measures(now));
        engine.flush(self, i, now);
    }

    /// Closed loop: publishes until enough is on its way.
    fn fill(&mut self, engine: &mut Engine, room: usize) {
        let most = self.how.in_flight * self.how.publishers as u64;
        let mut busy = 0;
        while busy < self.how.publishers {
            let state = &mut self.rooms[room];
            if state.alive == 0 || state.owed + state.alive > most * state.alive {
                return;
            }
            let publisher = state.turn;
            state.turn = (state.turn + 1) % self.how.publishers;
            let connection = &engine.connections[room * self.how.members + publisher];
            if !connection.is_open() || connection.is_waiting() {
                busy += 1;
                continue;
            }
            busy = 0;
            let now = engine.now();
            self.publish(engine, room, publisher, now);
        }
    }

    /// Open loop: sends what a publisher owes, as far as its socket takes it.
    fn catch_up(&mut self, engine: &mut Engine, publisher: usize) {
        let Some(schedule) = self.schedule else { return };
        let (room, index) = (publisher / self.how.publishers, publisher % self.how.publishers);
        let i = room * self.how.members + index;
        let all = (self.how.rooms * self.how.publishers) as u64;
        while self.members[i].published < self.members[i].due {
            let connection = &engine.connections[i];
            if !connection.is_open() || connection.is_waiting() {
                return;
            }
            let slot = self.members[i].published * all + publisher as u64;
            self.publish(engine, room, index, schedule.at(slot));
        }
    }

    fn send_due(&mut self, engine: &mut Engine, now: u64) -> u64 {
        let Some(schedule) = self.schedule else { return u64::MAX };
        let all = (self.how.rooms * self.how.publishers) as u64;
        for _ in 0..BATCH {
            let intended = schedule.at(self.slot);
            if intended >= engine.stats.end {
                return u64::MAX;
            }
            if intended > now {
                return intended;
            }
            let publisher = (self.slot % all) as usize;
            self.slot += 1;
            let i = publisher / self.how.publishers * self.how.members
                + publisher % self.how.publishers;
            let counts = engine.stats.measures(intended);
            self.members[i].due += 1;
            let connection = &engine.connections[i];
            if !connection.is_open() {
                engine.stats.unsent += u64::from(counts);
            } else if connection.is_waiting() {
                engine.stats.blocked += u64::from(counts);
            } else {
                let at = engine.now();
                if counts {
                    engine.stats.late.record(at - intended);
                }
                self.catch_up(engine, publisher);
            }
        }
        now
    }
}

impl Plan for Room {
    fn opens_first(&self) -> usize {
        self.members.len()
    }

    fn room(&self, i: usize) -> Option<usize> {
        self.how.numbered.then(|| self.how.first_room + i / self.how.members)
    }

    fn go(&mut self, engine: &mut Engine, now: u64) {
        if let Some((rate, phase)) = self.how.rate {
            self.schedule = Some(Schedule::new(now + (phase * 1e9 / rate) as u64, rate));
        }
        for room in 0..self.how.rooms {
            let members = room * self.how.members..(room + 1) * self.how.members;
            let alive = engine.connections[members].iter().filter(|c| c.is_open()).count();
            self.rooms[room].alive = alive as u64;
            if self.schedule.is_none() {
                self.fill(engine, room);
            }
        }
    }

    fn opened(&mut self, _engine: &mut Engine, _i: usize, _now: u64) {}

    fn received(
        &mut self,
        engine: &mut Engine,
        i: usize,
        n: usize,
        now: u64,
    ) -> Result<u64, Wrong> {
        let Engine { connections, stats, messages, buffer, target, first, .. } = engine;
        let connection = &mut connections[i];
        let mut incoming = std::mem::take(&mut connection.incoming);
        let publishers = self.how.publishers;
        let mut deliveries = Deliveries {
            how: &self.how,
            state: &mut self.rooms[i / self.how.members],
            stamp: &mut self.members[i].stamp,
            expected: &mut self.expected[i * publishers..(i + 1) * publishers],
            connection,
            stats,
            messages,
            deflate: target.deflate.is_some(),
            number: *first + i,
            now,
            done: 0,
        };
        incoming.feed(&buffer[..n], &mut deliveries)?;
        let done = deliveries.done;
        connection.incoming = incoming;
        Ok(done)
    }

    fn drained(&mut self, engine: &mut Engine, i: usize, messages: u64, now: u64) {
        if self.schedule.is_none() && messages > 0 && now < engine.stats.end {
            self.fill(engine, i / self.how.members);
        }
    }

    fn writable(&mut self, engine: &mut Engine, i: usize, now: u64) {
        let (room, index) = (i / self.how.members, i % self.how.members);
        if index >= self.how.publishers {
            return;
        }
        if self.schedule.is_some() {
            self.catch_up(engine, room * self.how.publishers + index);
        } else if self.rooms[room].published > 0 && now < engine.stats.end {
            self.fill(engine, room);
        }
    }

    fn gone(
        &mut self,
        engine: &mut Engine,
        i: usize,
        old: &Connection,
        wrong: Wrong,
        _now: u64,
    ) -> Option<Wrong> {
        let state = &mut self.rooms[i / self.how.members];
        if old.is_open() && state.alive > 0 {
            state.alive -= 1;
            let lost = state.published.saturating_sub(old.received);
            state.owed = state.owed.saturating_sub(lost);
            if lost > 0 {
                engine.stats.failures.add(engine.first + i, &Wrong::Missing(lost));
            }
        }
        Some(wrong)
    }

    fn is_over(&self, engine: &Engine) -> bool {
        engine.open == 0
    }

    fn due(&mut self, engine: &mut Engine, now: u64) -> u64 {
        self.send_due(engine, now)
    }

    fn is_settled(&self, engine: &Engine) -> bool {
        let all_sent = self.schedule.is_none_or(|s| s.at(self.slot) >= engine.stats.end);
        let unsent = |(member, connection): (&Member, &Connection)| {
            connection.is_open() && member.published < member.due
        };
        all_sent
            && self.rooms.iter().all(|room| room.owed == 0)
            && !self.members.iter().zip(&engine.connections).any(unsent)
    }

    fn settle(&mut self, engine: &mut Engine) {
        if let Some(schedule) = self.schedule {
            engine.stats.due = schedule.within(engine.stats.begin, engine.stats.end);
        }
        for (n, room) in self.rooms.iter().enumerate() {
            if room.owed > 0 {
                let first = engine.first + n * self.how.members;
                engine.stats.failures.add(first, &Wrong::Missing(room.owed));
            }
        }
    }
}
