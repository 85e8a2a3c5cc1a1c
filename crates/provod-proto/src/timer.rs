//! The timers of a connection, in one small table.

use crate::time::Timestamp;

/// What a timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimerKind {
    /// A keepalive Ping is due.
    Ping,
    /// The peer must have shown a sign of life by then.
    PongDeadline,
    /// The closing handshake, or its current phase, must be over by then.
    Close,
}

/// A timer that is not set stands at [`Timestamp::NEVER`], which no clock reaches.
#[derive(Debug)]
pub(crate) struct Timers {
    at: [Timestamp; 3],
}

impl Default for Timers {
    fn default() -> Self {
        Self { at: [Timestamp::NEVER; 3] }
    }
}

const KINDS: [TimerKind; 3] = [TimerKind::Ping, TimerKind::PongDeadline, TimerKind::Close];

impl Timers {
    pub(crate) fn set(&mut self, kind: TimerKind, at: Timestamp) {
        self.at[kind as usize] = at;
    }

    pub(crate) fn stop(&mut self, kind: TimerKind) {
        self.at[kind as usize] = Timestamp::NEVER;
    }

    pub(crate) fn is_set(&self, kind: TimerKind) -> bool {
        self.at[kind as usize] != Timestamp::NEVER
    }

    /// The timer that runs out first.
    pub(crate) fn next(&self) -> Option<(Timestamp, TimerKind)> {
        let set = KINDS.iter().filter(|kind| self.is_set(**kind));
        set.map(|&kind| (self.at[kind as usize], kind)).min_by_key(|(at, _)| *at)
    }

    /// Takes the timers that have run out, the earliest first. One that is set again meanwhile
    /// waits for the next call, even if it is due at once.
    pub(crate) fn take_expired(
        &mut self,
        now: Timestamp,
    ) -> impl Iterator<Item = TimerKind> + use<> {
        let mut due = Self::default();
        for (due, at) in due.at.iter_mut().zip(&mut self.at) {
            if *at <= now {
                std::mem::swap(due, at);
            }
        }
        std::iter::from_fn(move || {
            let (_, kind) = due.next()?;
            due.stop(kind);
            Some(kind)
        })
    }
}
