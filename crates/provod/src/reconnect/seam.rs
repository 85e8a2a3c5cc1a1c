//! What a platform has to give: time, tasks, randomness. Another platform needs this file and
//! [`link`](super::link) anew.

use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::error::Error;
use crate::runtime;

/// A future of the application's, or one that calls it.
pub(super) type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Whether a task can be started here.
pub(super) fn check() -> Result<(), Error> {
    runtime::check()
}

pub(super) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

/// Time since some fixed moment.
pub(super) fn now() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

pub(super) async fn sleep(time: Duration) {
    tokio::time::sleep_until(runtime::deadline(time)).await;
}

/// The future's output; `None` when it takes longer than `limit`.
pub(super) async fn timeout<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout_at(runtime::deadline(limit), future).await.ok()
}

/// From 0 to 1. Where the system gives no random numbers, connecting, which masks, fails anyway.
pub(super) fn random() -> f64 {
    getrandom::u32().map_or(0.5, |n| f64::from(n) / f64::from(u32::MAX))
}

/// Seconds since 1970.
pub(super) fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
