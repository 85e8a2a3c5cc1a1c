//! All connections are cut and come back at once.

use crate::bench::connection::Connection;
use crate::bench::engine::Engine;
use crate::bench::failure::Wrong;
use crate::bench::plan::Plan;

/// A connection that was refused tries again after so long, in nanoseconds.
const AGAIN: u64 = 100_000_000;

#[derive(Debug)]
pub(in crate::bench) struct Storm {
    connections: usize,
    /// When all were cut.
    cut: Option<u64>,
    /// Places that try again, and when.
    again: Vec<(usize, u64)>,
    /// Places that are open again, or have given up.
    done: usize,
}

impl Storm {
    pub(in crate::bench) fn new(connections: usize) -> Self {
        Self { connections, cut: None, again: Vec::new(), done: 0 }
    }
}

impl Plan for Storm {
    fn opens_first(&self) -> usize {
        self.connections
    }

    fn go(&mut self, engine: &mut Engine, now: u64) {
        engine.stats.handshake = crate::bench::stats::Latencies::new();
        self.cut = Some(now);
        for i in 0..self.connections {
            engine.cut(i);
        }
        for i in 0..self.connections {
            engine.connect(self, i, now);
        }
    }

    fn opened(&mut self, engine: &mut Engine, _i: usize, now: u64) {
        if let Some(cut) = self.cut {
            engine.stats.reply(cut, now);
            engine.stats.received(1, now);
            engine.stats.handshakes += 1;
            self.done += 1;
        }
    }

    fn received(
        &mut self,
        engine: &mut Engine,
        i: usize,
        n: usize,
        _now: u64,
    ) -> Result<u64, Wrong> {
        // Nothing was said, so nothing but control frames is expected.
        struct Nothing;
        impl crate::bench::incoming::Receiver for Nothing {
            fn start(&mut self, _opcode: u8, _compressed: bool) -> Result<(), Wrong> {
                Err(Wrong::Unasked)
            }
            fn chunk(&mut self, _bytes: &[u8], _at: u64) -> Result<(), Wrong> {
                Ok(())
            }
            fn end(&mut self, _len: u64) -> Result<(), Wrong> {
                Ok(())
            }
        }
        let Engine { connections, buffer, .. } = engine;
        connections[i].incoming.feed(&buffer[..n], &mut Nothing).map(|()| 0)
    }

    fn drained(&mut self, _engine: &mut Engine, _i: usize, _messages: u64, _now: u64) {}

    fn gone(
        &mut self,
        engine: &mut Engine,
        i: usize,
        old: &Connection,
        wrong: Wrong,
        now: u64,
    ) -> Option<Wrong> {
        let Some(cut) = self.cut else { return Some(wrong) };
        if old.is_open() {
            // It had come back, and was lost again.
            return Some(wrong);
        }
        if now >= cut.saturating_add(engine.pace.patience) {
            self.done += 1;
            return Some(wrong);
        }
        engine.stats.retries += 1;
        self.again.push((i, now + AGAIN));
        None
    }

    fn is_over(&self, _engine: &Engine) -> bool {
        self.done >= self.connections
    }

    fn due(&mut self, engine: &mut Engine, now: u64) -> u64 {
        let Some(cut) = self.cut else { return u64::MAX };
        let due = self.again.partition_point(|(_, at)| *at <= now);
        let due: Vec<_> = self.again.drain(..due).collect();
        for (i, _) in due {
            engine.connect(self, i, cut);
        }
        self.again.first().map_or(u64::MAX, |(_, at)| *at)
    }

    fn is_settled(&self, _engine: &Engine) -> bool {
        true
    }

    fn settle(&mut self, engine: &mut Engine) {
        if self.cut.is_some() {
            let missing = self.connections.saturating_sub(self.done);
            if missing > 0 {
                let wrong = Wrong::Timeout("connections that did not come back");
                for _ in 0..missing {
                    engine.stats.failures.add(engine.first, &wrong);
                }
            }
        }
    }
}
