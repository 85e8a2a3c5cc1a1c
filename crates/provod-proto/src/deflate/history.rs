/// The last bytes of one direction of a connection: what its next message may refer back to
/// (RFC 7692 section 7.1.1), and all that is kept of it between messages.
///
/// A ring that grows with what it is given, up to the window.
#[derive(Debug)]
pub(super) struct History {
    ring: Vec<u8>,
    window: usize,
    /// Where the oldest byte lies; 0 until the ring is full.
    oldest: usize,
}

impl History {
    /// For a window of `2^window_bits` bytes; nothing is allocated yet.
    pub(super) fn new(window_bits: u8) -> Self {
        Self { ring: Vec::new(), window: 1 << window_bits, oldest: 0 }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let bytes = latest(bytes, self.window);
        let room = self.window - self.ring.len();
        let (growth, rest) = bytes.split_at(room.min(bytes.len()));
        self.grow(growth);
        if rest.is_empty() {
            return;
        }
        let (front, back) = rest.split_at(rest.len().min(self.window - self.oldest));
        self.ring[self.oldest..self.oldest + front.len()].copy_from_slice(front);
        self.ring[..back.len()].copy_from_slice(back);
        self.oldest = (self.oldest + rest.len()) % self.window;
    }

    /// How many bytes are held: at most the window.
    pub(super) fn len(&self) -> usize {
        self.ring.len()
    }

    /// The last `most` bytes, or as many as there are: the older part, then the newer.
    pub(super) fn latest(&self, most: usize) -> [&[u8]; 2] {
        let (newer, older) = self.ring.split_at(self.oldest);
        [latest(older, most.saturating_sub(newer.len())), latest(newer, most)]
    }

    /// Forgets all and owns nothing.
    pub(super) fn clear(&mut self) {
        self.ring = Vec::new();
        self.oldest = 0;
    }

    /// Never more than the window is allocated, and never less than is needed is asked for.
    fn grow(&mut self, bytes: &[u8]) {
        let needed = self.ring.len() + bytes.len();
        if needed > self.ring.capacity() {
            let wanted = needed.next_power_of_two().min(self.window);
            self.ring.reserve_exact(wanted - self.ring.len());
        }
        self.ring.extend_from_slice(bytes);
    }
}

/// The last `most` bytes.
fn latest(bytes: &[u8], most: usize) -> &[u8] {
    bytes.get(bytes.len().saturating_sub(most)..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_the_last_window_and_no_more() {
        for steps in [&[1][..], &[511, 1, 1], &[512, 3], &[513], &[700, 700], &[100, 300, 200, 511]]
        {
            let mut history = History::new(9);
            let mut all: Vec<u8> = Vec::new();
            for (i, &len) in steps.iter().cycle().take(40).enumerate() {
                let bytes: Vec<u8> = (0..len).map(|n| (n * 31 + i * 7) as u8).collect();
                history.push(&bytes);
                all.extend(&bytes);
                for most in [0, 1, 100, 511, 512, 1000] {
                    let expected = latest(&all, most.min(512));
                    assert_eq!(history.latest(most).concat(), expected, "{steps:?}, last {most}");
                }
                assert!(history.ring.capacity() <= 512);
            }
        }
    }

    #[test]
    fn it_owns_nothing_at_first_and_after_clear() {
        let mut history = History::new(15);
        assert_eq!(history.ring.capacity(), 0);
        history.push(&[1; 100]);
        assert!(history.ring.capacity() < 256);
        history.clear();
        assert_eq!((history.ring.capacity(), history.latest(9).concat().len()), (0, 0));
    }
}
