//! Time in a page or in a worker: `setTimeout`.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(handler: &JsValue, milliseconds: i32) -> JsValue;
    #[wasm_bindgen(js_name = clearTimeout)]
    fn clear_timeout(handle: &JsValue);
}

#[derive(Default)]
struct Ring {
    rung: bool,
    waker: Option<Waker>,
}

/// Ends after some time. Browsers make timers of hidden pages late, by up to a minute.
pub(crate) struct Sleep {
    handle: JsValue,
    ring: Rc<RefCell<Ring>>,
    /// Called by the browser; lives until the timer is cleared.
    _call: Closure<dyn FnMut()>,
}

/// The longest that `setTimeout` takes: 24 days.
pub(crate) const LONGEST: Duration = Duration::from_millis(i32::MAX as u64);

pub(crate) fn sleep(time: Duration) -> Sleep {
    let ring = Rc::new(RefCell::new(Ring::default()));
    let rings = ring.clone();
    let call = Closure::new(move || {
        let waker = {
            let mut ring = rings.borrow_mut();
            ring.rung = true;
            ring.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    });
    // A part of a millisecond counts as one, so that nothing ends early.
    let milliseconds = time.min(LONGEST).as_nanos().div_ceil(1_000_000) as i32;
    let handle = set_timeout(call.as_ref(), milliseconds);
    Sleep { handle, ring, _call: call }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut ring = self.ring.borrow_mut();
        if ring.rung {
            return Poll::Ready(());
        }
        ring.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        clear_timeout(&self.handle);
    }
}

/// `future`, or `None` when it takes longer than `time`.
pub(crate) async fn timeout<F: Future>(time: Duration, future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    let mut sleep = sleep(time);
    std::future::poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        Pin::new(&mut sleep).poll(cx).map(|()| None)
    })
    .await
}
