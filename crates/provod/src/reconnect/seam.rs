//! What a platform has to give: time, tasks, randomness. Another platform needs this file and
//! [`link`](super::link) anew.

use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use provod_proto::{CloseCode, CloseFrame, Utf8Bytes};
use tokio::time::Instant;

use super::lost::{Lost, Verdict};
use crate::error::Error;
use crate::runtime;

/// A future of the application's, or one that calls it.
pub(super) type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A callback of the application's.
pub(super) type Function<A, R> = Box<dyn Fn(A) -> R + Send + Sync>;
pub(super) type Policy = Box<dyn Fn(&Lost) -> Verdict + Send + Sync>;

/// `Send`; in a browser, where everything runs in one thread, any type.
pub trait MaybeSend: Send {}
impl<T: Send> MaybeSend for T {}

/// `Sync`; in a browser any type.
pub trait MaybeSync: Sync {}
impl<T: Sync> MaybeSync for T {}

/// What a handle that is dropped closes with.
pub(super) const LEAVING: CloseCode = CloseCode::GOING_AWAY;

/// A Close that may be sent from here.
pub(super) fn close_frame(code: CloseCode, reason: Utf8Bytes) -> Result<CloseFrame, Error> {
    Ok(CloseFrame::new(code, reason)?)
}

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
