//! Connections by their keys.

use slab::Slab;

/// Entries of a block, as a power of two.
const BITS: u32 = 10;

/// A table that grows by blocks, and moves nothing: a single one would leave holes in the heap as
/// large as half of it each time, and make everybody wait while it is copied.
pub(super) struct Table<T> {
    blocks: Vec<Slab<T>>,
    /// Blocks with room, by their numbers; the next entry goes into the last.
    open: Vec<u32>,
    len: usize,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { blocks: Vec::new(), open: Vec::new(), len: 0 }
    }
}

fn split(key: u32) -> (usize, usize) {
    ((key >> BITS) as usize, (key & ((1 << BITS) - 1)) as usize)
}

impl<T> Table<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The key that the next entry gets; `None` when there are no more keys.
    pub(super) fn next_key(&mut self) -> Option<u32> {
        if self.open.is_empty() {
            let n = u32::try_from(self.blocks.len()).ok().filter(|n| *n < 1 << (32 - BITS))?;
            self.blocks.push(Slab::with_capacity(1 << BITS));
            self.open.push(n);
        }
        let n = *self.open.last()?;
        let at = self.blocks.get(n as usize)?.vacant_key();
        Some(n << BITS | u32::try_from(at).ok()?)
    }

    /// Puts an entry where [`next_key`](Self::next_key) has said; `None` where it was not asked.
    pub(super) fn insert(&mut self, value: T) -> Option<&mut T> {
        let n = *self.open.last()?;
        let block = self.blocks.get_mut(n as usize)?;
        let at = block.insert(value);
        self.len += 1;
        if block.len() == 1 << BITS {
            self.open.pop();
        }
        block.get_mut(at)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, key: u32) -> Option<&mut T> {
        let (block, at) = split(key);
        self.blocks.get_mut(block)?.get_mut(at)
    }

    pub(super) fn remove(&mut self, key: u32) -> Option<T> {
        let (n, at) = split(key);
        let block = self.blocks.get_mut(n)?;
        let full = block.len() == 1 << BITS;
        let value = block.try_remove(at)?;
        self.len -= 1;
        if full {
            self.open.push(key >> BITS);
        }
        Some(value)
    }

    /// All keys.
    pub(super) fn keys(&self) -> Vec<u32> {
        let blocks = self.blocks.iter().zip(0u32..);
        blocks
            .flat_map(|(block, n)| block.iter().map(move |(at, _)| n << BITS | at as u32))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{BITS, Table};

    #[test]
    fn entries_keep_their_keys_and_places_are_used_again() {
        let mut table = Table::default();
        let many = 3 << BITS;
        for n in 0..many {
            assert_eq!(table.next_key(), Some(n));
            assert_eq!(table.insert(n).copied(), Some(n));
        }
        assert!(table.keys().into_iter().eq(0..many));
        for n in (0..many).step_by(3) {
            assert_eq!(table.remove(n), Some(n));
            assert_eq!((table.remove(n), table.get_mut(n)), (None, None));
        }
        let mut again = Vec::new();
        for n in 0..1 << BITS {
            let key = table.next_key().expect("room");
            again.push(key);
            assert_eq!(table.insert(many + n).copied(), Some(many + n));
            assert_eq!(table.get_mut(key).copied(), Some(many + n));
        }
        again.sort_unstable();
        assert!(again.into_iter().eq((0..many).step_by(3)), "no block was added");
        assert_eq!(table.keys().len(), many as usize);
        for key in table.keys() {
            assert!(table.remove(key).is_some());
        }
        assert!(table.is_empty());
        assert_eq!(table.get_mut(u32::MAX), None);
    }
}
