//! How much one client may say: a bucket of tokens.

use std::time::Duration;

use tokio::time::Instant;

/// How many messages a client may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    /// Messages a second in the long run; 0 is no limit.
    per_second: u32,
}

impl Rate {
    pub(super) fn new(per_second: u32) -> Self {
        Self { per_second }
    }

    pub(super) fn per_second(self) -> u32 {
        self.per_second
    }

    /// Messages at once.
    pub(super) fn burst(self) -> u32 {
        self.per_second.saturating_mul(3)
    }

    pub(super) fn bucket(self) -> Bucket {
        Bucket { rate: self, empty_at: None }
    }
}

/// What one client has used of its rate.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: Rate,
    /// When all that was used has come back.
    empty_at: Option<Instant>,
}

impl Bucket {
    /// Takes one message from what may be sent.
    ///
    /// # Errors
    ///
    /// How long to wait until there is one.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        if self.rate.per_second == 0 {
            return Ok(());
        }
        let one = Duration::from_secs(1) / self.rate.per_second;
        let used_until = self.empty_at.map_or(now, |at| at.max(now)) + one;
        let over = used_until.saturating_duration_since(now + one * self.rate.burst());
        if over.is_zero() {
            self.empty_at = Some(used_until);
            return Ok(());
        }
        Err(over)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Rate;

    #[test]
    fn a_burst_and_then_the_rate() {
        let start = Instant::now();
        let mut bucket = Rate::new(10).bucket();
        for _ in 0..30 {
            assert_eq!(bucket.take(start), Ok(()));
        }
        // What is refused costs nothing.
        for _ in 0..2 {
            assert_eq!(bucket.take(start), Err(Duration::from_millis(100)));
        }
        let later = start + Duration::from_millis(250);
        assert_eq!([bucket.take(later), bucket.take(later)], [Ok(()); 2]);
        assert_eq!(bucket.take(later), Err(Duration::from_millis(50)));
        let much_later = start + Duration::from_secs(3600);
        let burst = (0..100).filter(|_| bucket.take(much_later).is_ok());
        assert_eq!(burst.count(), 30);
    }

    #[test]
    fn a_rate_of_0_is_no_limit() {
        let mut bucket = Rate::new(0).bucket();
        let now = Instant::now();
        assert!((0..10_000).all(|_| bucket.take(now).is_ok()));
    }
}
