//! When the next attempt is made. No clock, no randomness: both are passed in.

use std::time::Duration;

use super::lost::Verdict;
use crate::error::{Error, Kind};

/// How long is waited between attempts to connect, and when they end.
///
/// The n-th wait in a row is drawn evenly from the upper half of `first` times `factor` to the
/// power of n - 1, at most `max`: with the defaults 0.5 to 1 s, 1 to 2 s, 2 to 4 s, and so on up to
/// 15 to 30 s. So clients that lost the same server do not come back as one, and none comes back at
/// once.
///
/// ```
/// use std::time::Duration;
///
/// let mut backoff = provod::reconnect::Backoff::default();
/// backoff.max = Duration::from_secs(10);
/// backoff.attempts = Some(20);
/// let setup = provod::Client::new("ws://example.com/").reconnecting().backoff(backoff);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Backoff {
    /// The longest first wait; not zero. Default: 1 s.
    pub first: Duration,
    /// The longest wait of all, unless the server asks for more; not below `first`. Default: 30 s.
    pub max: Duration,
    /// How much longer each wait is than the one before; not below 1. Default: 2.
    pub factor: f64,
    /// A connection that was open for this long was a good one: when it is lost, counting begins
    /// anew. Default: 5 s.
    pub stable: Duration,
    /// So many attempts in a row, the first one included, may fail or open a connection that is
    /// lost before it was `stable`; then no more are made. Default: `None`, any number.
    pub attempts: Option<u32>,
    /// No attempt begins later than this after the first one in a row, or after the loss of the
    /// last good connection. Default: `None`, never too late.
    pub elapsed: Option<Duration>,
    /// A server's `Retry-After` (RFC 9110 section 10.2.3) is followed, up to this. Default: 5 min.
    pub retry_after: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            max: Duration::from_secs(30),
            factor: 2.0,
            stable: Duration::from_secs(5),
            attempts: None,
            elapsed: None,
            retry_after: Duration::from_secs(300),
        }
    }
}

impl Backoff {
    pub(super) fn check(&self) -> Result<(), Error> {
        let what = if self.first.is_zero() {
            "Backoff::first is zero: without a pause, attempts would flood the server"
        } else if self.max < self.first {
            "Backoff::max is shorter than Backoff::first: raise the one or lower the other"
        } else if !self.factor.is_finite() || self.factor < 1.0 {
            "Backoff::factor is below 1: waits would become shorter and shorter"
        } else if self.attempts == Some(0) {
            "Backoff::attempts is 0: no attempt could be made; None is any number"
        } else {
            return Ok(());
        };
        Err(Error::new(Kind::Setting(what.to_owned())))
    }
}

/// What is done after a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Wait so long, then try again.
    Wait(Duration),
    /// The verdict says that it is of no use.
    GiveUp,
    /// There were too many attempts, or it took too long.
    Exhausted,
}

/// Where the attempts stand. Times count from any fixed moment.
#[derive(Debug)]
pub(super) struct Schedule {
    backoff: Backoff,
    /// Attempts in a row.
    attempts: u32,
    /// Waits in a row.
    waits: u32,
    /// When the first of them began, or the last good connection was lost.
    since: Option<Duration>,
    /// When the connection opened that is open now.
    opened: Option<Duration>,
}

impl Schedule {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self { backoff, attempts: 0, waits: 0, since: None, opened: None }
    }

    /// An attempt begins; returns which one in a row.
    pub(super) fn attempt(&mut self, now: Duration) -> u32 {
        self.since.get_or_insert(now);
        self.attempts = self.attempts.saturating_add(1);
        self.attempts
    }

    pub(super) fn opened(&mut self, now: Duration) {
        self.opened = Some(now);
    }

    /// The attempt failed, or the connection was lost. `random` is from 0 to 1.
    pub(super) fn lost(&mut self, verdict: Verdict, now: Duration, random: f64) -> Next {
        if let Some(opened) = self.opened.take()
            && now.saturating_sub(opened) >= self.backoff.stable
        {
            (self.attempts, self.waits, self.since) = (0, 0, Some(now));
        }
        let wait = match verdict {
            Verdict::GiveUp => return Next::GiveUp,
            Verdict::Again => jittered(self.step(), random),
            Verdict::Later(None) => jittered(self.backoff.max, random),
            Verdict::Later(Some(asked)) => {
                // Never earlier than asked, and not all who were asked the same at the same time.
                let spread = part(self.step(), random / 2.0);
                asked.min(self.backoff.retry_after).saturating_add(spread)
            }
        };
        self.waits = self.waits.saturating_add(1);
        let begins = now.saturating_add(wait);
        let since = self.since.unwrap_or(now);
        let late = self.backoff.elapsed.is_some_and(|most| begins.saturating_sub(since) > most);
        if late || self.backoff.attempts.is_some_and(|most| self.attempts >= most) {
            return Next::Exhausted;
        }
        Next::Wait(wait)
    }

    /// Somebody knows that now is a good moment: the waits begin anew. Attempts go on counting.
    pub(super) fn hurry(&mut self) {
        self.waits = 0;
    }

    /// The longest wait that is due now.
    fn step(&self) -> Duration {
        let power = i32::try_from(self.waits).unwrap_or(i32::MAX);
        let Backoff { first, max, factor, .. } = self.backoff;
        // What is too long for a `Duration` is above `max`.
        let step = Duration::try_from_secs_f64(first.as_secs_f64() * factor.powi(power));
        step.map_or(max, |step| step.min(max))
    }
}

/// Evenly from the upper half of `longest`.
fn jittered(longest: Duration, random: f64) -> Duration {
    part(longest, 0.5 + random / 2.0)
}

/// A part of it, from 0 to 1.
fn part(of: Duration, part: f64) -> Duration {
    // The longest durations are rounded up to what is none any more.
    Duration::try_from_secs_f64(of.as_secs_f64() * part).unwrap_or(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: f64 = 0.0;
    const ALL: f64 = 1.0;

    fn secs(n: f64) -> Duration {
        Duration::from_secs_f64(n)
    }

    fn schedule(change: impl FnOnce(&mut Backoff)) -> Schedule {
        let mut backoff = Backoff::default();
        change(&mut backoff);
        Schedule::new(backoff)
    }

    /// Attempts that fail at once; the waits between them.
    fn waits(schedule: &mut Schedule, n: u32, random: f64) -> Vec<f64> {
        let mut now = secs(100.0);
        let mut waits = Vec::new();
        for _ in 0..n {
            schedule.attempt(now);
            let Next::Wait(wait) = schedule.lost(Verdict::Again, now, random) else { break };
            waits.push(wait.as_secs_f64());
            now += wait;
        }
        waits
    }

    #[test]
    fn waits_double_up_to_the_longest_one() {
        let all = waits(&mut schedule(|_| ()), 8, ALL);
        assert_eq!(all, [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]);
        let none = waits(&mut schedule(|_| ()), 8, NONE);
        assert_eq!(none, [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0]);
        let slow = waits(&mut schedule(|b| b.factor = 1.0), 3, ALL);
        assert_eq!(slow, [1.0, 1.0, 1.0]);
    }

    #[test]
    fn a_million_losses_overflow_nothing() {
        let mut s = schedule(|b| b.factor = 1e300);
        s.waits = u32::MAX;
        s.attempts = u32::MAX;
        assert_eq!(s.attempt(Duration::MAX), u32::MAX);
        assert_eq!(s.lost(Verdict::Again, Duration::MAX, ALL), Next::Wait(secs(30.0)));
        s.backoff.max = Duration::MAX;
        assert_eq!(s.lost(Verdict::Again, Duration::MAX, ALL), Next::Wait(Duration::MAX));
        s.backoff.max = secs(30.0);
        let most = Verdict::Later(Some(Duration::MAX));
        assert_eq!(s.lost(most, Duration::MAX, NONE), Next::Wait(secs(300.0)));
    }

    #[test]
    fn a_connection_that_was_up_for_long_enough_begins_anew() {
        let mut s = schedule(|_| ());
        waits(&mut s, 4, ALL);
        let at = secs(1000.0);
        assert_eq!(s.attempt(at), 5);
        s.opened(at);
        // One that is lost at once does not.
        let lost = s.lost(Verdict::Again, at + secs(4.999), ALL);
        assert_eq!(lost, Next::Wait(secs(16.0)));
        assert_eq!(s.attempt(at), 6);
        s.opened(at);
        assert_eq!(s.lost(Verdict::Again, at + secs(5.0), ALL), Next::Wait(secs(1.0)));
        assert_eq!(s.attempt(at), 1);
        // What was said of that connection is not said of the next attempt.
        assert_eq!(s.lost(Verdict::Again, at + secs(60.0), ALL), Next::Wait(secs(2.0)));
    }

    #[test]
    fn attempts_have_a_limit() {
        let mut s = schedule(|b| b.attempts = Some(3));
        assert_eq!(waits(&mut s, 10, ALL), [1.0, 2.0]);
        assert_eq!(s.lost(Verdict::Again, secs(100.0), ALL), Next::Exhausted);
        let mut s = schedule(|b| b.attempts = Some(1));
        assert!(waits(&mut s, 10, ALL).is_empty());
        // A good connection counts as none.
        let mut s = schedule(|b| b.attempts = Some(2));
        s.attempt(secs(1.0));
        s.opened(secs(1.0));
        assert_eq!(s.lost(Verdict::Again, secs(9.0), ALL), Next::Wait(secs(1.0)));
        s.attempt(secs(10.0));
        assert_eq!(s.lost(Verdict::Again, secs(10.0), ALL), Next::Wait(secs(2.0)));
        s.attempt(secs(12.0));
        assert_eq!(s.lost(Verdict::Again, secs(12.0), ALL), Next::Exhausted);
    }

    #[test]
    fn no_attempt_begins_too_late() {
        let mut s = schedule(|b| b.elapsed = Some(secs(7.0)));
        assert_eq!(waits(&mut s, 10, ALL), [1.0, 2.0, 4.0]);
        let mut s = schedule(|b| b.elapsed = Some(secs(6.9)));
        assert_eq!(waits(&mut s, 10, ALL), [1.0, 2.0]);
        // It counts from the loss of a good connection, not from when that was made.
        let mut s = schedule(|b| b.elapsed = Some(secs(1.0)));
        s.attempt(secs(0.0));
        s.opened(secs(0.0));
        assert_eq!(s.lost(Verdict::Again, secs(5000.0), ALL), Next::Wait(secs(1.0)));
    }

    #[test]
    fn later_is_the_longest_wait_or_what_the_server_asks_for() {
        let mut s = schedule(|_| ());
        s.attempt(secs(0.0));
        assert_eq!(s.lost(Verdict::Later(None), secs(0.0), ALL), Next::Wait(secs(30.0)));
        assert_eq!(s.lost(Verdict::Later(None), secs(0.0), NONE), Next::Wait(secs(15.0)));
        s.hurry();
        for (asked, random, want) in [(7.0, NONE, 7.0), (0.0, NONE, 0.0), (1e6, NONE, 300.0)] {
            let later = Verdict::Later(Some(secs(asked)));
            assert_eq!(s.lost(later, secs(0.0), random), Next::Wait(secs(want)));
        }
        s.hurry();
        let later = Verdict::Later(Some(secs(7.0)));
        assert_eq!(s.lost(later, secs(0.0), ALL), Next::Wait(secs(7.5)), "spread");
    }

    #[test]
    fn a_hurry_begins_the_waits_anew_and_not_the_attempts() {
        let mut s = schedule(|b| b.attempts = Some(5));
        waits(&mut s, 4, ALL);
        s.hurry();
        assert_eq!(s.lost(Verdict::Again, secs(0.0), ALL), Next::Wait(secs(1.0)));
        assert_eq!(s.attempt(secs(0.0)), 5);
        assert_eq!(s.lost(Verdict::Again, secs(0.0), ALL), Next::Exhausted);
    }

    #[test]
    fn giving_up_is_final_whatever_else_is_allowed() {
        let mut s = schedule(|_| ());
        s.attempt(secs(0.0));
        assert_eq!(s.lost(Verdict::GiveUp, secs(0.0), ALL), Next::GiveUp);
    }

    #[test]
    fn settings_that_cannot_be() {
        let bad: [fn(&mut Backoff); 5] = [
            |b| b.first = Duration::ZERO,
            |b| b.max = Duration::from_millis(999),
            |b| b.factor = 0.99,
            |b| b.factor = f64::NAN,
            |b| b.attempts = Some(0),
        ];
        for change in bad {
            let mut backoff = Backoff::default();
            change(&mut backoff);
            assert!(backoff.check().is_err_and(|e| e.is_usage()), "{backoff:?}");
        }
        assert!(Backoff::default().check().is_ok());
    }
}
