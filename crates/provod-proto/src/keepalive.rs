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

#[derive(Debug)]
pub(crate) struct Keepalive {
    /// When the last of our own Pings was sent, if it is the only one whose Pong is awaited: that
    /// of an idle connection needs no allocation.
    sent: Timestamp,
    /// All Pings whose Pong is awaited, in every other case.
    awaited: Option<Box<Awaited>>,
    /// In nanoseconds; [`u64::MAX`] stands for none.
    latency: u64,
    /// The number of our own last Ping, which is its payload.
    pings: u32,
    paused: bool,
    /// The transport was full, so what it takes next shows that the peer reads.
    blocked: bool,
}

#[derive(Debug, Default)]
struct Awaited(VecDeque<(Bytes, Timestamp)>);

impl Default for Keepalive {
    fn default() -> Self {
        Self {
            sent: Timestamp::NEVER,
            awaited: None,
            latency: u64::MAX,
            pings: 0,
            paused: false,
            blocked: false,
        }
    }
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
        self.unsettle();
        self.pings = self.pings.wrapping_add(1);
        Bytes::copy_from_slice(&self.pings.to_be_bytes())
    }

    /// Bytes have come: the peer lives.
    #[inline]
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

    /// A Ping was put on the wire.
    pub(crate) fn sent(&mut self, payload: Bytes, now: Timestamp) {
        let alone = self.awaited.is_none() && self.sent == Timestamp::NEVER;
        if alone && payload == self.pings.to_be_bytes()[..] {
            self.sent = now;
            return;
        }
        self.unsettle();
        self.await_pong(payload, now);
    }

    /// Puts our own last Ping among the others.
    fn unsettle(&mut self) {
        let sent = std::mem::replace(&mut self.sent, Timestamp::NEVER);
        if sent != Timestamp::NEVER {
            self.await_pong(Bytes::copy_from_slice(&self.pings.to_be_bytes()), sent);
        }
    }

    fn await_pong(&mut self, payload: Bytes, sent: Timestamp) {
        let awaited = &mut self.awaited.get_or_insert_default().0;
        if awaited.len() == MAX_AWAITED {
            awaited.pop_front();
        }
        awaited.push_back((payload, sent));
    }

    /// A Pong answers the Ping with its payload, and all Pings before it (RFC 6455 section 5.5.3).
    pub(crate) fn pong(&mut self, payload: &[u8], now: Timestamp) -> Option<Duration> {
        let sent = if let Some(Awaited(awaited)) = self.awaited.as_deref_mut() {
            let at = awaited.iter().position(|(p, _)| p == payload)?;
            let (_, sent) = awaited.drain(..=at).next_back()?;
            if awaited.is_empty() {
                self.awaited = None;
            }
            sent
        } else if self.sent != Timestamp::NEVER && payload == self.pings.to_be_bytes() {
            std::mem::replace(&mut self.sent, Timestamp::NEVER)
        } else {
            return None;
        };
        let rtt = now.since(sent);
        self.latency = u64::try_from(rtt.as_nanos()).unwrap_or(u64::MAX - 1);
        Some(rtt)
    }

    /// Whether anything is allocated for Pongs that are awaited.
    #[cfg(test)]
    pub(crate) fn is_allocated(&self) -> bool {
        self.awaited.is_some()
    }

    pub(crate) fn latency(&self) -> Option<Duration> {
        (self.latency != u64::MAX).then(|| Duration::from_nanos(self.latency))
    }
}
