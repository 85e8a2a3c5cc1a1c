//! One connection after the opening handshake: the glue between the parts.

mod closing;
mod commands;
mod questions;

use std::fmt;
use std::io::IoSlice;
use std::sync::Arc;

use crate::close::{Cause, CloseFrame, Closed, Input, State};
use crate::config::{Config, Side};
use crate::deflate::{Compressor, Inflater, Pool};
use crate::error::Error;
use crate::event::{Event, Progress, TracedFrame, Whole};
use crate::handshake::DeflateParams;
use crate::keepalive::Keepalive;
use crate::mask::MaskSource;
use crate::receive::{Incoming, Rules, Step};
use crate::send::{Deflate, Encoded, Outgoing};
use crate::time::Timestamp;
use crate::timer::{TimerKind, Timers};

/// Which end this is, and what only that end needs.
pub enum Role {
    /// The end that masks.
    Client(Box<dyn MaskSource>),
    /// The end that does not.
    Server,
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client(_) => "Client",
            Self::Server => "Server",
        })
    }
}

/// permessage-deflate as negotiated, and where its states come from.
#[derive(Debug, Clone)]
pub struct DeflateSetup {
    /// What the opening handshake agreed.
    pub params: DeflateParams,
    /// Whether this end compresses. A client that was answered a window of 2^8 bytes cannot, and
    /// sends plain messages, which is always right (RFC 7692 section 6).
    pub compress: bool,
    /// The idle compressors and inflaters of this worker.
    pub pool: Pool,
}

/// A WebSocket connection as a state machine (RFC 6455 sections 5 to 7, RFC 7692).
///
/// It does no I/O and has no clock. Its methods are of four kinds:
///
/// - **inputs**, `handle_*`: bytes, the end of the stream, time, what the transport took;
/// - **commands**: [`send`](Self::send), [`ping`](Self::ping), [`close`](Self::close) and their
///   like;
/// - **outputs**, `poll_*`: bytes to write, the half-close, the next timeout, the outcome;
/// - **questions**: everything that takes `&self`.
///
/// One invariant keeps a driver right: *after any input or command, drain the outputs*. The run
/// loop, with a peer that asks one question:
///
/// ```
/// use std::io::IoSlice;
/// use std::sync::Arc;
/// use provod_proto::{Config, Connection, Event, Message, Payload, Role, Timestamp};
///
/// let now = Timestamp::default();
/// let mut connection = Connection::new(Role::Server, Arc::new(Config::default()), None, now);
///
/// // Read: a masked text frame, "Hello" (RFC 6455 section 5.7).
/// let mut input = *b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
/// let mut at = 0;
/// loop {
///     let progress = connection.handle_input(&mut input[at..], now)?;
///     if let Some(Event::Message { payload: Payload::Located(range), .. }) = progress.event {
///         let text = std::str::from_utf8(&input[at..][range])?;
///         connection.send(Message::text(format!("{text}, world")))?;
///     }
///     at += progress.consumed;
///     if at == input.len() && !progress.again {
///         break;
///     }
/// }
///
/// // Write all there is.
/// let mut written = Vec::new();
/// loop {
///     let mut slices = [IoSlice::new(&[]); 16];
///     let n = connection.poll_transmit(&mut slices, now);
///     if n == 0 {
///         break;
///     }
///     let taken = slices[..n].iter().map(|s| { written.extend_from_slice(s); s.len() }).sum();
///     connection.handle_transmitted(taken, now);
/// }
/// assert_eq!(written, b"\x81\x0cHello, world");
///
/// // Wait for input until then.
/// assert!(connection.poll_timeout().is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Connection {
    config: Arc<Config>,
    incoming: Incoming,
    outgoing: Outgoing,
    timers: Timers,
    keepalive: Keepalive,
    /// What an open connection has no need of.
    rare: Option<Box<Rare>>,
    state: State,
    /// Whose frames come in.
    sender: Side,
    /// Messages are given out in pieces.
    streamed: bool,
    eof: bool,
    half_close: bool,
}

/// What is known of the end once it has begun, and the trace.
#[derive(Debug, Default)]
struct Rare {
    cause: Option<Cause>,
    received: Option<Option<CloseFrame>>,
    /// Something has come behind the Close.
    talks_on: bool,
    /// Output is lost; so many bytes were queued when it was.
    output_lost: Option<usize>,
    /// Bytes that were queued and were given up by [`Connection::shed`].
    given_up: usize,
    /// Marks that the transport will never reach, since what they marked was given up.
    marks_given_up: u64,
    closed: Option<Closed>,
    trace: Vec<TracedFrame>,
}

// What every idle connection takes, all in all where it is a server's and does not compress: there
// may be millions.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Connection>() <= 136);

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("side", &self.side())
            .field("state", &self.state)
            .field("buffered", &self.buffered())
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// A connection whose opening handshake ended at `now`. `deflate` is what the handshake agreed.
    #[must_use]
    pub fn new(
        role: Role,
        config: Arc<Config>,
        deflate: Option<DeflateSetup>,
        now: Timestamp,
    ) -> Self {
        let (side, masks) = match role {
            Role::Client(masks) => (Side::Client, Some(masks)),
            Role::Server => (Side::Server, None),
        };
        let (inflater, compressor) = match deflate {
            Some(setup) => codecs(side, &setup, &config),
            None => (None, None),
        };
        let mut timers = Timers::default();
        if let Some(keepalive) = &config.keepalive {
            Keepalive::start(keepalive, &mut timers, now);
        }
        Self {
            incoming: Incoming::new(inflater),
            outgoing: Outgoing::new(masks, compressor),
            timers,
            keepalive: Keepalive::default(),
            rare: None,
            state: State::Open,
            sender: side.peer(),
            streamed: false,
            eof: false,
            half_close: false,
            config,
        }
    }

    // ---- inputs ----

    /// Takes bytes that the peer sent: at most one frame, at most one event. Call again with the
    /// rest, unchanged, while something is left or [`again`](Progress::again) is set. A payload
    /// is unmasked in place.
    ///
    /// # Errors
    ///
    /// The violation or limit that failed the connection, and the same again in every later call.
    /// What came before it was given out by earlier calls.
    #[inline]
    pub fn handle_input(&mut self, input: &mut [u8], now: Timestamp) -> Result<Progress, Error> {
        // All that is not of the usual kind is looked at behind this.
        if self.state == State::Open && !self.config.trace && self.rare.is_none() {
            match self.incoming.whole_message(input, self.sender, &self.config.limits) {
                Ok(None) => {}
                Ok(Some(whole)) => {
                    self.keepalive.alive(&mut self.timers);
                    return Ok(whole.into_progress(self.streamed));
                }
                Err(e) => return Err(self.fail(e, now)),
            }
        }
        self.handle_any_input(input, now)
    }

    #[inline(never)]
    fn handle_any_input(&mut self, input: &mut [u8], now: Timestamp) -> Result<Progress, Error> {
        if !input.is_empty() {
            self.keepalive.alive(&mut self.timers);
        }
        if let Some(e) = self.failed() {
            return Err(e.clone());
        }
        if !matches!(self.state, State::Open | State::Asked) {
            // Nothing that follows a Close means anything (RFC 6455 section 5.5.1).
            if !input.is_empty() {
                self.rare().talks_on = true;
            }
            let consumed = input.len();
            return Ok(Progress { consumed, event: None, again: false, inflated: 0 });
        }
        let config = &*self.config;
        let rules = Rules { sender: self.sender, streamed: self.streamed, config };
        match self.incoming.step(input, &rules) {
            Ok(step) => {
                self.trace_received(&step, input);
                Ok(self.stepped(step, now))
            }
            Err(e) => Err(self.fail(e, now)),
        }
    }

    /// Takes whole messages off the front of `input`, at most `most`, for as long as each lies there
    /// in one uncompressed frame: what [`handle_input`](Self::handle_input) would do one by one.
    /// They are appended to `found`, with places that count from the front of `input`. Returns how
    /// many bytes were taken; what follows is for `handle_input`.
    ///
    /// # Errors
    ///
    /// As [`handle_input`](Self::handle_input); what came before is in `found`.
    pub fn handle_messages(
        &mut self,
        input: &mut [u8],
        now: Timestamp,
        most: usize,
        found: &mut Vec<Whole>,
    ) -> Result<usize, Error> {
        if self.state != State::Open || self.config.trace || self.rare.is_some() || self.streamed {
            return Ok(0);
        }
        // Places in it must fit into 32 bits.
        let within = input.len().min(u32::MAX as usize);
        let mut at = 0;
        for _ in 0..most {
            match self.incoming.whole_message(
                &mut input[at..within],
                self.sender,
                &self.config.limits,
            ) {
                Ok(None) => break,
                Ok(Some(one)) => {
                    let (start, len) = ((at + one.at) as u32, (one.end - one.at) as u32);
                    found.push(Whole { kind: one.kind, start, len });
                    at += one.end;
                }
                Err(e) => return Err(self.fail(e, now)),
            }
        }
        if at > 0 {
            self.keepalive.alive(&mut self.timers);
        }
        Ok(at)
    }

    /// Room that the rest of a large frame should be read into: use it instead of
    /// [`handle_input`](Self::handle_input) when it is `Some`, read to its front, and then call
    /// [`handle_direct`](Self::handle_direct). It is never empty, and as long as what has arrived of
    /// the message, about, or what [`Config::advance`] allows. What lies there means nothing.
    pub fn direct_buffer(&mut self) -> Option<&mut [u8]> {
        if !matches!(self.state, State::Open | State::Asked) {
            return None;
        }
        self.incoming.spare(&self.config)
    }

    /// `n` bytes were put to the front of [`direct_buffer`](Self::direct_buffer).
    ///
    /// # Errors
    ///
    /// As [`handle_input`](Self::handle_input).
    pub fn handle_direct(&mut self, n: usize, now: Timestamp) -> Result<Progress, Error> {
        if n > 0 {
            self.keepalive.alive(&mut self.timers);
        }
        if let Some(e) = self.failed() {
            return Err(e.clone());
        }
        match self.incoming.direct(n) {
            Ok(step) => Ok(self.stepped(step, now)),
            Err(e) => Err(self.fail(e, now)),
        }
    }

    /// The peer's stream has ended. Returns whether it ended inside a frame or a message.
    pub fn handle_eof(&mut self, now: Timestamp) -> bool {
        self.eof = true;
        let cut = !self.incoming.at_border();
        self.rare().cause.get_or_insert(Cause::Lost);
        self.turn(Input::Eof, now);
        cut
    }

    /// The transport broke, or the driver gives it up: the connection is over at once.
    pub fn handle_lost(&mut self, now: Timestamp) {
        self.rare().cause.get_or_insert(Cause::Lost);
        self.turn(Input::Lost, now);
    }

    /// The transport takes no more output, though it may still give input: what is queued is given
    /// up and nothing can be sent any more. The connection ends with the peer's stream or
    /// Close, or with the close timeout.
    pub fn handle_output_lost(&mut self, now: Timestamp) {
        if self.is_output_lost() {
            return;
        }
        let lost = self.outgoing.abandon();
        self.rare().output_lost = Some(lost.bytes);
        self.rare().marks_given_up += lost.marks;
        self.rare().cause.get_or_insert(Cause::Lost);
        self.timers.stop(TimerKind::Ping);
        self.timers.stop(TimerKind::PongDeadline);
        if self.is_receiving() {
            self.close_timer(now);
        } else {
            self.turn(Input::Lost, now);
        }
    }

    /// The transport took `n` bytes of what [`poll_transmit`](Self::poll_transmit) gave.
    pub fn handle_transmitted(&mut self, n: usize, now: Timestamp) {
        if n > 0
            && let Some(keepalive) = &self.config.keepalive
        {
            self.keepalive.output_moved(keepalive, &mut self.timers, now);
        }
        if n > 0 {
            self.close_progress(now);
        }
        self.outgoing.advance(n);
        self.flushed(now);
    }

    /// The transport is full.
    pub fn handle_blocked(&mut self) {
        self.keepalive.output_blocked();
    }

    /// Runs the timers that are due at `now`; see [`poll_timeout`](Self::poll_timeout).
    pub fn handle_timeout(&mut self, now: Timestamp) {
        for kind in self.timers.take_expired(now) {
            match (kind, &self.config.keepalive) {
                // An earlier timer of the same call may have ended the connection.
                (TimerKind::Ping, Some(keepalive)) if self.state == State::Open => {
                    let payload = self.keepalive.ping_due(keepalive, &mut self.timers, now);
                    // When 64 Pings wait already, one of them will do.
                    let _ = self.outgoing.ping(payload);
                }
                (TimerKind::Ping, _) => {}
                (TimerKind::PongDeadline, _) => {
                    self.rare().cause.get_or_insert(Cause::Silent);
                    self.turn(Input::Lost, now);
                }
                (TimerKind::Close, _) if self.is_output_lost() => self.turn(Input::Lost, now),
                (TimerKind::Close, _) => self.turn(Input::Timeout, now),
            }
        }
    }

    /// The driver stops reading, because the application does not take what came: the pong deadline
    /// is suspended, since the peer's Pong may lie unread. It runs all the same while the
    /// transport is full.
    pub fn handle_reading_paused(&mut self) {
        self.keepalive.pause(&mut self.timers);
        if self.close_extends() {
            self.timers.stop(TimerKind::Close);
        }
    }

    /// The driver reads again.
    pub fn handle_reading_resumed(&mut self, now: Timestamp) {
        self.keepalive.resume();
        self.close_progress(now);
    }

    // ---- outputs ----

    /// Encodes what is due and points `slices` at the bytes to write next, in order; returns how
    /// many slices it used. None: there is nothing to write now.
    pub fn poll_transmit<'a>(&'a mut self, slices: &mut [IoSlice<'a>], now: Timestamp) -> usize {
        if self.is_output_lost() {
            return 0;
        }
        let trace = self.config.trace.then_some(self.config.trace_payload);
        let keepalive = &mut self.keepalive;
        let rare = &mut self.rare;
        self.outgoing.fill(&self.config, |encoded| {
            let Encoded { header, payload } = encoded;
            if let Some(most) = trace {
                let payload = payload[..payload.len().min(most)].to_vec();
                let frame = TracedFrame { sent: true, header, payload };
                rare.get_or_insert_default().trace.push(frame);
            }
            if header.opcode == crate::frame::OpCode::Ping {
                keepalive.sent(payload, now);
            }
        });
        self.flushed(now);
        self.outgoing.slices(slices)
    }

    /// Whether the driver should now end its half of the stream, after all bytes were written.
    /// `true` once.
    pub fn poll_half_close(&mut self) -> bool {
        std::mem::take(&mut self.half_close)
    }

    /// When [`handle_timeout`](Self::handle_timeout) must be called, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Timestamp, TimerKind)> {
        self.timers.next()
    }

    /// The frames seen since the last call, where [`Config::trace`] is on.
    pub fn poll_trace(&mut self) -> Vec<TracedFrame> {
        self.rare.as_mut().map_or_else(Vec::new, |rare| std::mem::take(&mut rare.trace))
    }

    // ---- inside ----

    fn side(&self) -> Side {
        self.sender.peer()
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    fn failed(&self) -> Option<&Error> {
        match &self.rare.as_ref()?.cause {
            Some(Cause::Failed(e)) => Some(e),
            _ => None,
        }
    }

    fn is_output_lost(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.output_lost.is_some())
    }

    /// Answers what a step brought.
    fn stepped(&mut self, step: Step, now: Timestamp) -> Progress {
        let mut event = step.event;
        if step.header.is_some() || event.is_some() {
            self.close_progress(now);
        }
        match &mut event {
            Some(Event::Ping(payload)) => self.outgoing.pong(payload.clone()),
            Some(Event::Pong { payload, rtt }) => *rtt = self.keepalive.pong(payload, now),
            Some(Event::Close(frame)) => {
                let rare = self.rare.get_or_insert_default();
                rare.received = Some(frame.clone());
                rare.cause.get_or_insert(Cause::Peer);
                self.turn(Input::Peer, now);
            }
            _ => {}
        }
        let Step { consumed, again, inflated, .. } = step;
        Progress { consumed, event, again, inflated }
    }

    fn trace_received(&mut self, step: &Step, input: &[u8]) {
        if !self.config.trace {
            return;
        }
        if let Some((header, at)) = step.header {
            let end = step.consumed.min(at.saturating_add(self.config.trace_payload));
            let payload = input.get(at..end).unwrap_or_default().to_vec();
            self.rare().trace.push(TracedFrame { sent: false, header, payload });
        }
    }
}

/// The inflater for what the peer sends and the compressor for what this end sends.
fn codecs(
    side: Side,
    setup: &DeflateSetup,
    config: &Config,
) -> (Option<Box<Inflater>>, Option<Deflate>) {
    let p = &setup.params;
    let server = (!p.server_no_context_takeover, p.server_max_window_bits);
    let client = (!p.client_no_context_takeover, p.client_max_window_bits);
    let (own, peer) = match side {
        Side::Server => (server, client),
        Side::Client => (client, server),
    };
    let inflater = Inflater::new(peer.1, peer.0, setup.pool.clone());
    // The compressor knows windows of 2^9 to 2^15 bytes and nothing else.
    let able = setup.compress && (9..=15).contains(&own.1);
    let compressor = able.then(|| {
        let level = config.compression.level;
        let compressor = Compressor::new(own.1, own.0, level, setup.pool.clone());
        Deflate { compressor, window_bits: own.1, takeover: own.0 }
    });
    (Some(Box::new(inflater)), compressor)
}

#[cfg(test)]
mod tests;
