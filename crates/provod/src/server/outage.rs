//! What is said when the system has no connections to give.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::listen::descriptor_limit;

/// The shortest time between two warnings, however often it fails and goes on again.
const BETWEEN: Duration = Duration::from_secs(10);

/// The failures of all loops of a server that accept.
#[derive(Debug, Default)]
pub(super) struct Outage {
    /// There are failures that no success has followed: what each success looks at.
    failing: AtomicBool,
    said: Mutex<Said>,
}

#[derive(Debug, Default)]
struct Said {
    /// When the last warning was.
    last: Option<Instant>,
    /// Failures since then.
    failures: u64,
    /// It was not yet said that it is over.
    warned: bool,
}

impl Outage {
    fn lock(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection could not be taken, while `open` are.
    pub(super) fn failed(&self, error: &io::Error, open: impl FnOnce() -> usize) {
        let now = Instant::now();
        self.failing.store(true, Relaxed);
        let mut said = self.lock();
        said.failures += 1;
        if said.last.is_some_and(|last| now.saturating_duration_since(last) < BETWEEN) {
            return;
        }
        said.last = Some(now);
        said.warned = true;
        let failures = std::mem::take(&mut said.failures);
        drop(said);
        let (open, limit, advice) = (open(), descriptor_limit(), advice(error));
        tracing::warn!(%error, failures, open, descriptor_limit = limit, advice,
            "cannot accept connections, trying on; those that are open go on");
    }

    /// A connection was taken.
    pub(super) fn over(&self) {
        if !self.failing.load(Relaxed) || !self.failing.swap(false, Relaxed) {
            return;
        }
        let mut said = self.lock();
        if !std::mem::take(&mut said.warned) {
            return;
        }
        let failures = said.failures;
        drop(said);
        tracing::info!(more_failures = failures, "connections are accepted again");
    }
}

/// What to do about it.
fn advice(error: &io::Error) -> &'static str {
    #[cfg(unix)]
    match rustix::io::Errno::from_io_error(error) {
        Some(rustix::io::Errno::MFILE) => {
            return "raise this process's limit of descriptors (ulimit -n, LimitNOFILE), or allow \
                    fewer connections";
        }
        Some(rustix::io::Errno::NFILE) => {
            return "the whole system has no descriptors left: raise its limit (fs.file-max)";
        }
        _ => {}
    }
    let _ = error;
    "look at the memory and the network of this system"
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use super::{BETWEEN, Outage};

    /// The failures that a warning would count now.
    fn unsaid(outage: &Outage) -> u64 {
        outage.lock().failures
    }

    #[tokio::test(start_paused = true)]
    async fn flapping_is_said_once_in_a_while_and_all_failures_are_counted() {
        let outage = Outage::default();
        let step = Duration::from_millis(50);
        let mut warnings = 0;
        for n in 0..(BETWEEN.as_millis() / step.as_millis()) * 3 {
            outage.failed(&io::Error::other("no room"), || {
                warnings += 1;
                7
            });
            if n % 2 == 0 {
                outage.over();
            }
            tokio::time::advance(step).await;
        }
        assert_eq!(warnings, 3);
        assert_eq!(unsaid(&outage), 199);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_is_said_once_and_only_of_what_was_said() {
        let outage = Outage::default();
        outage.over();
        outage.failed(&io::Error::other("no room"), || 7);
        assert!(outage.lock().warned);
        outage.over();
        assert!(!outage.lock().warned);
        outage.failed(&io::Error::other("no room"), || 7);
        assert!(!outage.lock().warned, "nothing was said of this one");
        outage.over();
        assert_eq!(unsaid(&outage), 1);
    }

    #[cfg(unix)]
    #[test]
    fn what_to_do_depends_on_what_is_missing() {
        use rustix::io::Errno;
        assert!(super::advice(&Errno::MFILE.into()).contains("ulimit"));
        assert!(super::advice(&Errno::NFILE.into()).contains("fs.file-max"));
        assert!(super::advice(&Errno::NOBUFS.into()).contains("memory"));
    }
}
