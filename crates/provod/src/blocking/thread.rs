//! The thread in the background, and how another one waits.

use std::future::{Future, pending};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle};
use tokio::task::JoinHandle;

use crate::error::{Error, Kind};

/// The runtime of the thread in the background, which is started when there is none.
pub(super) fn background() -> Result<Handle, Error> {
    static RUNTIME: Mutex<Option<Handle>> = Mutex::new(None);
    let mut runtime = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*runtime {
        return Ok(handle.clone());
    }
    let start = |e| Error::new(Kind::Start(e));
    let own = Builder::new_current_thread().enable_all().build().map_err(start)?;
    let handle = own.handle().clone();
    let run = move || own.block_on(pending::<()>());
    thread::Builder::new().name("provod-blocking".to_owned()).spawn(run).map_err(start)?;
    *runtime = Some(handle.clone());
    Ok(handle)
}

/// What a task came to.
pub(super) async fn joined<T>(task: JoinHandle<Result<T, Error>>) -> Result<T, Error> {
    // It does not panic and nobody aborts it; if so, it has come to nothing.
    task.await.unwrap_or_else(|_| Err(Error::new(Kind::Aborted)))
}

/// Waits on this thread, wherever that is.
pub(super) fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}

/// The same, not longer than `limit`.
pub(super) fn wait_until<T>(future: impl Future<Output = T>, limit: Duration) -> Option<T> {
    let begun = Instant::now();
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(output);
        }
        let rest = limit.checked_sub(begun.elapsed()).filter(|rest| !rest.is_zero())?;
        thread::park_timeout(rest);
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}
