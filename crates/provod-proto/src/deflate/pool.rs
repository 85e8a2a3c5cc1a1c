use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flate2::Compress;

use super::compress::Level;
use super::inflate::Stream;
use super::short::Short;

/// Idle compressors and inflaters, shared by connections.
///
/// Cloning is cheap and gives a handle to the same pool. One pool per worker avoids contention;
/// one for all keeps the fewest idle states.
#[derive(Debug, Clone)]
pub struct Pool {
    idle: Arc<Mutex<Idle>>,
    max_idle: usize,
}

/// The lists are stacks: the state given back last is the one still in the processor's cache.
#[derive(Debug, Default)]
#[expect(clippy::vec_box, reason = "they move between the pool and connections as one pointer")]
struct Idle {
    compressors: Vec<(Key, Box<Compress>)>,
    shorts: Vec<Box<Short>>,
    inflaters: Vec<Box<Stream>>,
}

/// A compressor's window and level are fixed when it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) window_bits: u8,
    pub(super) level: Level,
}

impl Pool {
    /// A pool that keeps at most `max_idle` idle compressors, as many of those for short messages,
    /// and as many inflaters; 0 keeps none. Those in use are not counted: there are never more of
    /// them than messages being handled at the same moment.
    #[must_use]
    pub fn new(max_idle: usize) -> Self {
        Self { idle: Arc::default(), max_idle }
    }

    /// A compressor with an empty window.
    pub(super) fn take_compressor(&self, key: Key) -> Box<Compress> {
        let idle = {
            let compressors = &mut self.lock().compressors;
            compressors.iter().rposition(|(k, _)| *k == key).map(|i| compressors.remove(i).1)
        };
        match idle {
            Some(mut stream) => {
                stream.reset();
                stream
            }
            None => Box::new(key.level.new_stream(key.window_bits)),
        }
    }

    /// Takes back a compressor that stands between two messages. Resetting it clears 128 KiB, so
    /// that is left to the one who takes it.
    pub(super) fn give_compressor(&self, key: Key, stream: Box<Compress>) {
        if self.max_idle == 0 {
            return;
        }
        let _freed_unlocked = {
            let compressors = &mut self.lock().compressors;
            // The oldest goes, so that no kind of compressor can keep another kind out.
            let oldest = (compressors.len() >= self.max_idle).then(|| compressors.remove(0));
            compressors.push((key, stream));
            oldest
        };
    }

    /// A compressor for short messages, of any window and level.
    pub(super) fn take_short(&self) -> Box<Short> {
        let idle = self.lock().shorts.pop();
        idle.unwrap_or_default()
    }

    pub(super) fn give_short(&self, short: Box<Short>) {
        let mut idle = self.lock();
        if idle.shorts.len() < self.max_idle {
            idle.shorts.push(short);
        } else {
            drop(idle);
        }
    }

    /// An inflater with an empty window.
    pub(super) fn take_inflater(&self) -> Box<Stream> {
        let idle = self.lock().inflaters.pop();
        match idle {
            Some(mut stream) => {
                stream.reset();
                stream
            }
            None => Box::default(),
        }
    }

    /// Takes back an inflater that stands between two messages.
    pub(super) fn give_inflater(&self, stream: Box<Stream>) {
        let mut idle = self.lock();
        if idle.inflaters.len() < self.max_idle {
            idle.inflaters.push(stream);
        } else {
            drop(idle);
        }
    }

    #[cfg(test)]
    pub(super) fn idle(&self) -> (usize, usize) {
        let idle = self.lock();
        (idle.compressors.len(), idle.inflaters.len())
    }

    #[cfg(test)]
    pub(super) fn poison(&self) {
        let pool = self.clone();
        let holder = std::thread::spawn(move || {
            let _idle = pool.lock();
            panic!("on purpose, to poison the lock");
        });
        assert!(holder.join().is_err() && self.idle.is_poisoned());
    }

    /// A thread that panicked while it held the lock left whole lists behind: no operation under
    /// the lock stops halfway.
    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Pool {
    /// Keeps 16 idle of each kind: about 9 MiB at most.
    fn default() -> Self {
        Self::new(16)
    }
}
