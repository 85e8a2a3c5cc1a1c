//! Large buffers that are used again.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// The smallest buffer that is kept, in bytes. The others are of twice the size each.
const SMALLEST: usize = 128 << 10;
/// The largest is of 4 MiB.
const SIZES: usize = 6;
/// The most that is kept, in bytes.
const MOST: usize = 64 << 20;

/// The buffers of messages that were given out and are no longer needed, kept for those that come.
///
/// A buffer of a megabyte that is made and given up for each message costs as much as reading the
/// message: the system hands out its memory page by page, each cleared. At most 64 MiB are kept,
/// and only where somebody has said that he [looks after it](Self::tend).
#[derive(Default)]
pub struct Buffers {
    sizes: Mutex<[Size; SIZES]>,
    /// Bytes of all that is free. Changed under the lock only.
    kept: AtomicUsize,
    tended: AtomicBool,
}

/// The buffers of one size.
#[derive(Default)]
struct Size {
    free: Vec<Vec<u8>>,
    /// The fewest that were free since the last look: so many are too many.
    idle: usize,
}

impl Buffers {
    /// Says that [`trim`](Self::trim) will be called now and then.
    pub fn tend(&self) {
        self.tended.store(true, Relaxed);
    }

    /// Lets go the buffers that nobody has needed since the last call; returns how many bytes are
    /// kept still.
    pub fn trim(&self) -> usize {
        let mut gone = Vec::new();
        let mut sizes = self.lock();
        for size in &mut *sizes {
            // The ones that were used last are the last.
            gone.extend(size.free.drain(..size.idle.min(size.free.len())));
            size.idle = size.free.len();
        }
        let bytes: usize = gone.iter().map(Vec::len).sum();
        self.kept.fetch_sub(bytes, Relaxed) - bytes
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.kept.load(Relaxed) == 0
    }

    /// A buffer of at least so many bytes, whatever they are; `None` where it would be smaller or
    /// larger than those that are kept.
    pub(crate) fn take(&self, bytes: usize) -> Option<Vec<u8>> {
        let n = number(bytes)?;
        let mut sizes = self.lock();
        let size = &mut sizes[n];
        let kept = size.free.pop();
        size.idle = size.idle.min(size.free.len());
        self.kept.fetch_sub(kept.as_ref().map_or(0, Vec::len), Relaxed);
        drop(sizes);
        Some(kept.unwrap_or_else(|| vec![0; SMALLEST << n]))
    }

    fn give_back(&self, buffer: Vec<u8>) {
        if !self.tended.load(Relaxed) {
            return;
        }
        let Some(n) = number(buffer.len()).filter(|n| SMALLEST << n == buffer.len()) else {
            return;
        };
        let mut sizes = self.lock();
        if self.kept.load(Relaxed) + buffer.len() <= MOST {
            self.kept.fetch_add(buffer.len(), Relaxed);
            sizes[n].free.push(buffer);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, [Size; SIZES]> {
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which of the sizes has room for so many bytes.
fn number(bytes: usize) -> Option<usize> {
    let n = bytes.div_ceil(SMALLEST).next_power_of_two().trailing_zeros() as usize;
    (bytes > SMALLEST / 2 && n < SIZES).then_some(n)
}

impl fmt::Debug for Buffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffers").finish_non_exhaustive()
    }
}

/// They are room and nothing else: no two differ.
impl PartialEq for Buffers {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// The bytes of a message as they come: a buffer that is longer than they are.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    bytes: Vec<u8>,
    len: usize,
    /// Where the buffer goes afterwards.
    home: Option<Arc<Buffers>>,
}

impl Gathered {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Memory that it takes.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Makes room for `len` bytes in all; with `buffers`, in one of theirs.
    pub(crate) fn grow(&mut self, len: usize, buffers: Option<&Arc<Buffers>>) {
        if len <= self.bytes.len() {
            return;
        }
        let found = buffers.and_then(|buffers| Some((buffers.take(len)?, buffers.clone())));
        if let Some((mut buffer, home)) = found {
            buffer[..self.len].copy_from_slice(&self.bytes[..self.len]);
            *self = Self { bytes: buffer, len: self.len, home: Some(home) };
        } else if self.len == 0 {
            self.bytes = vec![0; len];
        } else {
            self.bytes.reserve_exact(len - self.bytes.len());
            self.bytes.resize(len, 0);
        }
    }

    /// The room behind what has come.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.len..]
    }

    /// The first `n` bytes of the room have come; returns them.
    pub(crate) fn came(&mut self, n: usize) -> &mut [u8] {
        let from = self.len;
        self.len = (from + n).min(self.bytes.len());
        &mut self.bytes[from..self.len]
    }

    pub(crate) fn push(&mut self, piece: &[u8]) {
        match self.room().get_mut(..piece.len()) {
            Some(room) => {
                room.copy_from_slice(piece);
                self.len += piece.len();
            }
            None => {
                self.bytes.truncate(self.len);
                self.bytes.extend_from_slice(piece);
                self.len = self.bytes.len();
            }
        }
    }

    /// What has come; nothing is left here.
    pub(crate) fn take(&mut self) -> Bytes {
        let mut all = std::mem::take(self);
        if all.home.is_some() {
            return Bytes::from_owner(all);
        }
        all.bytes.truncate(all.len);
        Bytes::from(std::mem::take(&mut all.bytes))
    }
}

impl AsRef<[u8]> for Gathered {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Drop for Gathered {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.give_back(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of so many bytes, in a buffer that is used again.
    fn message(buffers: &Arc<Buffers>, len: usize) -> Bytes {
        let mut gathered = Gathered::default();
        gathered.push(b"begins");
        gathered.grow(len, Some(buffers));
        gathered.push(&vec![7; len - 6]);
        gathered.take()
    }

    #[test]
    fn a_buffer_comes_back_when_nobody_has_its_bytes_any_more() {
        let buffers = Arc::<Buffers>::default();
        buffers.tend();
        let one = message(&buffers, 1 << 20);
        assert_eq!((one.len(), &one[..7]), (1 << 20, &b"begins\x07"[..]));
        let slice = one.slice(1000..1001);
        drop(one);
        assert!(buffers.is_empty(), "a byte of it is held");
        drop(slice);
        assert!(!buffers.is_empty());
        let other = message(&buffers, 600_000);
        assert!(buffers.is_empty(), "it is the same");
        assert_eq!(other.len(), 600_000);
    }

    #[test]
    fn what_nobody_needs_goes_and_what_somebody_needs_stays() {
        let buffers = Arc::<Buffers>::default();
        buffers.tend();
        drop([message(&buffers, 100_000), message(&buffers, 100_000)]);
        assert_eq!(buffers.trim(), 256 << 10, "both have come just now");
        drop(message(&buffers, 100_000));
        assert_eq!(buffers.trim(), 128 << 10, "one was enough");
        assert_eq!(buffers.trim(), 0);
    }

    #[test]
    fn nothing_is_kept_beyond_the_bounds_or_where_nobody_looks_after_it() {
        let buffers = Arc::<Buffers>::default();
        drop(message(&buffers, 1 << 20));
        assert!(buffers.is_empty());
        buffers.tend();
        for len in [100, SMALLEST / 2, (4 << 20) + 1] {
            drop(message(&buffers, len));
            assert!(buffers.is_empty(), "{len}");
        }
        drop((0..20).map(|_| message(&buffers, 4 << 20)).collect::<Vec<_>>());
        assert_eq!(buffers.trim(), MOST);
    }
}
