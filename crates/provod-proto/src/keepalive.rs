//! Pings, the pong deadline, and the round-trip time (RFC 6455 sections 5.5.2 and 5.5.3).

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use crate::config;
use crate::time::Timestamp;
use crate::timer::{TimerKind, Timers};

/// Pings whose Pong is awaited for the round-trip time; more push out the oldest.
const MAX_AWAITED: usize = 16;

/// Pings are never more frequent: an interval of zero would leave time for nothing else.
const LEAST_INTERVAL: Duration = Duration::from_millis(1);

#[derive(Debug, Default)]
pub(crate) struct Keepalive {
    awaited: VecDeque<(Bytes, Timestamp)>,
    latency: Option<Duration>,
    pings: u32,
    paused: bool,
    /// The transport was full, so what it takes next shows that the peer reads.
    blocked: bool,
}

impl Keepalive {
    pub(crate) fn start(config: &config::Keepalive, timers: &mut Timers, now: Timestamp) {
        timers.set(TimerKind::Ping, now.after(config.interval.max(LEAST_INTERVAL)));
    }

    /// The Ping timer has run out: sets it anew, starts the deadline, gives the Ping's payload.
    pub(crate) fn ping_due(
        &mut self,
        config: &config::Keepalive,
        timers: &mut Timers,
        now: Timestamp,
    ) -> Bytes {
        timers.set(TimerKind::Ping, now.after(config.interval.max(LEAST_INTERVAL)));
        if !self.is_suspended() && !timers.is_set(TimerKind::PongDeadline) {
            timers.set(TimerKind::PongDeadline, now.after(config.timeout));
        }
        self.pings = self.pings.wrapping_add(1);
        Bytes::copy_from_slice(&self.pings.to_be_bytes())
    }

    /// Bytes have come: the peer lives.
    pub(crate) fn alive(&self, timers: &mut Timers) {
        timers.stop(TimerKind::PongDeadline);
    }

    /// The transport is full.
    pub(crate) fn output_blocked(&mut self) {
        self.blocked = true;
    }

    /// The transport took output: after it had been full, this shows that the peer reads, and
    /// lives.
    pub(crate) fn output_moved(
        &mut self,
        config: &config::Keepalive,
        timers: &mut Timers,
        now: Timestamp,
    ) {
        if !std::mem::take(&mut self.blocked) || !timers.is_set(TimerKind::PongDeadline) {
            return;
        }
        if self.is_suspended() {
            timers.stop(TimerKind::PongDeadline);
        } else {
            timers.set(TimerKind::PongDeadline, now.after(config.timeout));
        }
    }

    /// The driver stops reading, because the application does not take what came: the peer's Pong
    /// may lie unread.
    pub(crate) fn pause(&mut self, timers: &mut Timers) {
        self.paused = true;
        if self.is_suspended() {
            timers.stop(TimerKind::PongDeadline);
        }
    }

    /// Without reading, no Pong can be asked for, unless the output is stuck too: then the
    /// application may well wait for the peer, which neither reads nor is read, and nothing
    /// else would ever end that.
    fn is_suspended(&self) -> bool {
        self.paused && !self.blocked
    }

    /// Whether the driver does not read.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused
    }

    pub(crate) fn resume(&mut self) {
        self.paused = false;
    }

    pub(crate) fn sent(&mut self, payload: Bytes, now: Timestamp) {
        if self.awaited.len() == MAX_AWAITED {
            self.awaited.pop_front();
        }
        self.awaited.push_back((payload, now));
    }

    /// A Pong answers the Ping with its payload, and all Pings before it (RFC 6455 section 5.5.3).
    pub(crate) fn pong(&mut self, payload: &[u8], now: Timestamp) -> Option<Duration> {
        let at = self.awaited.iter().position(|(p, _)| p == payload)?;
        let (_, sent) = self.awaited.drain(..=at).next_back()?;
        if self.awaited.is_empty() {
            self.awaited = VecDeque::new();
        }
        let rtt = now.since(sent);
        self.latency = Some(rtt);
        Some(rtt)
    }

    pub(crate) fn latency(&self) -> Option<Duration> {
        self.latency
    }
}
