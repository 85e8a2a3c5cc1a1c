//! What the threads of a run share: when it is measured, whether it is given up, how far it is.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

use super::clock::Clock;
use super::engine::NAP;

#[derive(Debug)]
pub(super) struct Control {
    pub(super) clock: Clock,
    /// When traffic begins, when measuring begins and when it ends; the far future while that is
    /// not known.
    pub(super) go: AtomicU64,
    pub(super) begin: AtomicU64,
    pub(super) end: AtomicU64,
    /// Threads whose connections are open.
    pub(super) ready: AtomicUsize,
    /// Whether the connections are kept at the end, and how many threads have come to that.
    pub(super) hold: AtomicBool,
    pub(super) holding: AtomicUsize,
    /// Somebody has pressed Ctrl-C.
    pub(super) aborted: AtomicBool,
    /// For the progress line.
    pub(super) open: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) failures: AtomicU64,
}

impl Control {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            go: AtomicU64::new(u64::MAX),
            begin: AtomicU64::new(u64::MAX),
            end: AtomicU64::new(u64::MAX),
            ready: AtomicUsize::new(0),
            hold: AtomicBool::new(false),
            holding: AtomicUsize::new(0),
            aborted: AtomicBool::new(false),
            open: AtomicU64::new(0),
            received: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    /// Starts the traffic, in a moment, so that every thread sees it in time. `go` is stored last: whoever sees it sees the others.
    pub(super) fn start(&self, warm_up: u64, duration: u64) -> u64 {
        use std::sync::atomic::Ordering::Release;
        let go = self.clock.now() + 2 * NAP;
        let begin = go + warm_up;
        self.begin.store(begin, Relaxed);
        self.end.store(begin.saturating_add(duration), Relaxed);
        self.go.store(go, Release);
        begin
    }
}
