//! What is asked of tokio without the panics that it would answer with.

use std::io;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

use crate::error::{Error, Kind};

/// Threads that wait for the system at the same time, such as for its resolver; more wait.
const MOST_THREADS: usize = 64;

/// `limit` from now; for a limit that the clock cannot hold, some thirty years.
pub(crate) fn deadline(limit: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(limit).unwrap_or_else(|| now + Duration::from_secs(86400 * 365 * 30))
}

/// Whether a task can be started here.
pub(crate) fn check() -> Result<(), Error> {
    Handle::try_current().map(drop).map_err(|_| {
        let what = "a connection needs a tokio runtime: call this inside one";
        Error::new(Kind::Setting(what.to_owned()))
    })
}

/// Runs what blocks on a thread of its own. Tokio's threads for that would hold up the end of the
/// runtime until the system's resolver gives up, long after the caller has.
pub(crate) async fn off_the_runtime<T: Send + 'static>(
    block: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    static THREADS: Semaphore = Semaphore::const_new(MOST_THREADS);
    let gone = || io::Error::other("the system gave no answer");
    let permit = THREADS.acquire().await.map_err(|_| gone())?;
    let (tell, told) = oneshot::channel();
    std::thread::Builder::new().name("provod-system".to_owned()).spawn(move || {
        let _permit = permit;
        // Whoever asked may have given up.
        let _ = tell.send(block());
    })?;
    told.await.unwrap_or_else(|_| Err(gone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolver_that_hangs_does_not_hold_up_the_end_of_the_runtime() {
        let (release, held) = std::sync::mpsc::channel::<()>();
        let (started, starts) = std::sync::mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.spawn(off_the_runtime(move || {
            started.send(()).unwrap();
            let _ = held.recv();
            Ok(())
        }));
        runtime.block_on(tokio::task::yield_now());
        let patience = Duration::from_secs(30);
        starts.recv_timeout(patience).expect("it starts");
        let (ended, ends) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            drop(runtime);
            ended.send(()).unwrap();
        });
        ends.recv_timeout(patience).expect("nobody waits for the resolver");
        drop(release);
    }
}
