//! What a browser gives to a client that connects again: time, tasks, randomness.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use provod_proto::{CloseCode, CloseFrame, Utf8Bytes};

use super::lost::{Lost, Verdict};
use crate::error::Error;
use crate::web::{self, timer};

/// A future of the application's, or one that calls it.
pub(super) type Boxed<T> = Pin<Box<dyn Future<Output = T>>>;
/// A callback of the application's.
pub(super) type Function<A, R> = Box<dyn Fn(A) -> R>;
pub(super) type Policy = Box<dyn Fn(&Lost) -> Verdict>;

/// Any type; outside of a browser, `Send`.
pub trait MaybeSend {}
impl<T> MaybeSend for T {}

/// Any type; outside of a browser, `Sync`.
pub trait MaybeSync {}
impl<T> MaybeSync for T {}

/// What a handle that is dropped closes with.
pub(super) const LEAVING: CloseCode = CloseCode::NORMAL;

/// A Close that may be sent from here.
pub(super) fn close_frame(code: CloseCode, reason: Utf8Bytes) -> Result<CloseFrame, Error> {
    web::close_frame(code, reason)
}

/// Whether a task can be started here.
pub(super) fn check() -> Result<(), Error> {
    Ok(())
}

pub(super) fn spawn(task: impl Future<Output = ()> + 'static) {
    wasm_bindgen_futures::spawn_local(task);
}

/// Time since some fixed moment. The clock of the system may be set back; then it stands still.
pub(super) fn now() -> Duration {
    thread_local! {
        static LATEST: std::cell::Cell<f64> = const { std::cell::Cell::new(0.0) };
    }
    LATEST.with(|latest| {
        latest.set(latest.get().max(js_sys::Date::now()));
        Duration::from_secs_f64(latest.get() / 1000.0)
    })
}

/// In steps, since a timer of a browser has a longest time.
pub(super) async fn sleep(time: Duration) {
    let mut left = time;
    while !left.is_zero() {
        let step = left.min(timer::LONGEST);
        timer::sleep(step).await;
        left -= step;
    }
}

/// The future's output; `None` when it takes longer than `limit`.
pub(super) async fn timeout<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    timer::timeout(limit, future).await
}

/// From 0 to 1.
pub(super) fn random() -> f64 {
    js_sys::Math::random()
}
