//! How connections come to be.

use std::sync::atomic::Ordering::Relaxed;

use mio::Token;

use super::{Course, Engine, Phase};
use crate::bench::connection::{Sample, State};
use crate::bench::failure::Wrong;
use crate::bench::payload::WINDOW;
use crate::bench::plan::Plan;

/// One in so many connections inflates what it receives.
const INFLATES: usize = 64;

impl Engine {
    /// Begins a connection at a free place. `began` is when it was meant to.
    pub(in crate::bench) fn connect<P: Plan>(&mut self, plan: &mut P, i: usize, began: u64) {
        let number = self.first + i;
        // A target that no request could be made for was refused at the start.
        let request = self.target.request(self.random.nonce(), plan.room(i));
        let Ok(request) = request.map(|request| (!self.target.raw).then_some(request)) else {
            return;
        };
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

    /// Opens the connections that must be there before the traffic begins.
    pub(super) fn open_more<P: Plan>(
        &mut self,
        plan: &mut P,
        course: &mut Course,
        now: u64,
    ) -> u64 {
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

    /// Reads the answer to the request; what lies behind it is moved to the front of the buffer,
    /// and its length returned.
    pub(super) fn upgrade<P: Plan>(
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
            if params.client_max_window_bits < WINDOW {
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
        self.buffer.copy_within(pushed.consumed..n, 0);
        self.opened(plan, i, now);
        Ok(n - pushed.consumed)
    }

    /// From now on a connection may carry messages.
    pub(super) fn opened<P: Plan>(&mut self, plan: &mut P, i: usize, now: u64) {
        let connection = &mut self.connections[i];
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
        plan.opened(self, i, now);
    }
}
