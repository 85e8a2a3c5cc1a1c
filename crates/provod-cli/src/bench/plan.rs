//! What a scenario tells the engine, and what it is told.

use super::connection::Connection;
use super::engine::Engine;
use super::failure::Wrong;

/// What a scenario does with the connections.
pub(super) trait Plan {
    /// How many of the first connections are opened before the traffic begins.
    fn opens_first(&self) -> usize;
    /// The room of a connection, where there are several.
    fn room(&self, _i: usize) -> Option<usize> {
        None
    }
    /// The traffic begins at `now`.
    fn go(&mut self, engine: &mut Engine, now: u64);
    /// A handshake has ended well.
    fn opened(&mut self, engine: &mut Engine, i: usize, now: u64);
    /// Looks at the first `n` bytes of the buffer, which connection `i` received at `now`; returns
    /// how many whole messages they ended.
    fn received(&mut self, engine: &mut Engine, i: usize, n: usize, now: u64)
    -> Result<u64, Wrong>;
    /// Connection `i` has been read empty, with so many messages; it may be sent more.
    fn drained(&mut self, engine: &mut Engine, i: usize, messages: u64, now: u64);
    /// The socket takes bytes again, and nothing waits for it.
    fn writable(&mut self, _engine: &mut Engine, _i: usize, _now: u64) {}
    /// Whether what connection `i` receives is read at all.
    fn reads(&self, _i: usize) -> bool {
        true
    }
    /// The connection at place `i` is over, the place free. Returns what went wrong, if anything
    /// did.
    fn gone(
        &mut self,
        engine: &mut Engine,
        i: usize,
        old: &Connection,
        wrong: Wrong,
        now: u64,
    ) -> Option<Wrong>;
    /// Whether there is nothing left to measure, before the time is over.
    fn is_over(&self, _engine: &Engine) -> bool {
        false
    }
    /// Does what is due; returns when to be called next, in nanoseconds of the clock.
    fn due(&mut self, engine: &mut Engine, now: u64) -> u64;
    /// After the end: nothing more is awaited.
    fn is_settled(&self, engine: &Engine) -> bool;
    /// After the last reply, or when the time for it is over.
    fn settle(&mut self, engine: &mut Engine);
}

/// What the loop is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Handshakes that may be under way at once before the traffic begins.
    pub(super) window: usize,
    /// The connections are opened over this time, in nanoseconds.
    pub(super) ramp_up: u64,
    /// How long a handshake, or the last replies, may take, in nanoseconds.
    pub(super) patience: u64,
    /// Never sleep.
    pub(super) spin: bool,
}
