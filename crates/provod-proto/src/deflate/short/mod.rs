//! A compressor for short messages that are at hand as a whole.
//!
//! The general one pays for each message what a large file does not feel: it clears 128 KiB of
//! tables, enters each byte of the history into them, and builds its codes in a heap. This one has
//! a table that need not be cleared and fits the first cache, enters every second byte of the
//! history, and sorts. `docs/decisions/0023-short-messages.md` has the numbers.

mod block;
mod huffman;

use std::fmt;

use block::Block;

use super::history::History;

/// The longest message, in bytes. From here on the general compressor is as fast.
pub(super) const LONGEST: usize = 4 * 1024;

/// The longest text, history and message: positions in it are 15 bits.
const TEXT: usize = 1 << 15;

/// The table has `2^HASH_BITS` entries.
const HASH_BITS: u32 = 12;

/// What is looked up, and so the shortest match.
const SHORTEST_MATCH: usize = 4;
const LONGEST_MATCH: usize = 258;

/// How hard the search is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effort {
    /// How many earlier places are compared.
    pub(super) depth: usize,
    /// From this length on a match is taken without looking for a better one at the next byte.
    pub(super) good: usize,
    /// Every so many bytes of the history are entered.
    pub(super) stride: usize,
}

/// No position.
const NONE: u16 = u16::MAX;

/// Finds matches with chains of hashes, and writes one block.
pub(super) struct Short {
    /// The history and then the message.
    text: Vec<u8>,
    chains: Chains,
    block: Block,
}

/// For each hash the positions that have it, the last one first.
struct Chains {
    /// The last position, counted from `base`; what is less is of an earlier message. So nothing
    /// need be cleared.
    heads: Box<[u32; 1 << HASH_BITS]>,
    /// For each position the one before it.
    before: Box<[u16; TEXT]>,
    base: u32,
}

impl Default for Short {
    fn default() -> Self {
        let before = vec![0; TEXT].into_boxed_slice().try_into();
        let chains = Chains {
            heads: Box::new([0; 1 << HASH_BITS]),
            before: before.unwrap_or_else(|_| unreachable!("the lengths are the same")),
            base: TEXT as u32,
        };
        Self { text: Vec::new(), chains, block: Block::default() }
    }
}

impl Short {
    /// Appends the compressed message, of at most [`LONGEST`] bytes, to `out`. It refers to the last
    /// `reach` bytes of the history, as far as there is room for them, and to no distance above
    /// `window`.
    pub(super) fn compress(
        &mut self,
        message: &[u8],
        history: Option<&History>,
        reach: usize,
        window: usize,
        effort: Effort,
        out: &mut Vec<u8>,
    ) {
        self.text.clear();
        for part in
            history.iter().flat_map(|history| history.latest(reach.min(TEXT - message.len())))
        {
            self.text.extend_from_slice(part);
        }
        let begin = self.text.len();
        self.text.extend_from_slice(message);
        self.chains.start();
        for (at, four) in self.text[..begin].windows(4).enumerate().step_by(effort.stride) {
            self.chains.enter(at, four);
        }
        self.block.clear();
        self.parse(begin, window, effort);
        self.block.write(message, out);
    }

    /// Splits the text from `begin` on into literals and matches.
    fn parse(&mut self, begin: usize, window: usize, effort: Effort) {
        let Self { text, chains, block } = self;
        let text = &text[..];
        let mut at = begin;
        // What is before this is said by a match.
        let mut free = begin;
        let mut ready = None;
        while at < text.len() {
            let found = match ready.take() {
                Some(found) => Some(found),
                None => chains.find(text, at, 0, window, effort),
            };
            let Some((mut len, distance)) = found else {
                block.literal(text[at]);
                at += 1;
                continue;
            };
            let mut entered = at + 1;
            if len < effort.good {
                ready = chains.find(text, at + 1, len, window, effort);
                if ready.is_some() {
                    block.literal(text[at]);
                    at += 1;
                    continue;
                }
                entered += 1;
            }
            // Not every byte of the history was entered: the match may have begun before.
            while at > free
                && at > distance
                && len < LONGEST_MATCH
                && text[at - 1] == text[at - 1 - distance]
            {
                block.unsay(text[at - 1]);
                at -= 1;
                len += 1;
            }
            block.copy(len, distance);
            at += len;
            free = at;
            for inside in entered..at {
                if let Some(four) = text.get(inside..inside + 4) {
                    chains.enter(inside, four);
                }
            }
        }
    }
}

impl fmt::Debug for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Short").finish_non_exhaustive()
    }
}

impl Chains {
    /// Makes all entries old.
    fn start(&mut self) {
        if self.base < u32::MAX - 2 * TEXT as u32 {
            self.base += TEXT as u32;
        } else {
            self.heads.fill(0);
            self.base = TEXT as u32;
        }
    }

    /// Enters a position and gives the one before it.
    fn enter(&mut self, at: usize, four: &[u8]) -> u16 {
        let head = &mut self.heads[hash(four)];
        let earlier = head.wrapping_sub(self.base).min(NONE.into()) as u16;
        *head = self.base + at as u32;
        self.before[at % TEXT] = earlier;
        earlier
    }

    /// Enters a position and gives the longest match for the text there, as length and distance,
    /// if there is one longer than `least`.
    fn find(
        &mut self,
        text: &[u8],
        at: usize,
        least: usize,
        window: usize,
        effort: Effort,
    ) -> Option<(usize, usize)> {
        let ahead = text.get(at..)?;
        let ahead = ahead.get(..LONGEST_MATCH).unwrap_or(ahead);
        let four: [u8; 4] = *ahead.first_chunk()?;
        let mut place = self.enter(at, &four);
        let mut best = None;
        let mut longest = least.max(SHORTEST_MATCH - 1);
        let mut depth = effort.depth;
        loop {
            // Where there is none, the distance is less than 0 and so too large.
            let distance = at.wrapping_sub(place.into());
            if distance > window || longest >= ahead.len() {
                return best;
            }
            let earlier = &text[at - distance..];
            // The byte that a better match must have settles most comparisons.
            if earlier[longest] == ahead[longest] && earlier.first_chunk() == Some(&four) {
                let len = common(earlier, ahead);
                if len > longest {
                    longest = len;
                    best = Some((len, distance));
                    if len >= effort.good {
                        return best;
                    }
                }
            }
            depth -= 1;
            if depth == 0 {
                return best;
            }
            place = self.before[usize::from(place) % TEXT];
        }
    }
}

fn hash(four: &[u8]) -> usize {
    let word = four.first_chunk().map_or(0, |&four| u32::from_le_bytes(four));
    (word.wrapping_mul(0x9E37_79B1) >> (32 - HASH_BITS)) as usize
}

/// How many bytes are the same at the start of both; `b` is not the longer one.
fn common(a: &[u8], b: &[u8]) -> usize {
    let mut len = 0;
    for (x, y) in a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0) {
        let differ = u64::from_le_bytes(*x) ^ u64::from_le_bytes(*y);
        if differ != 0 {
            return len + (differ.trailing_zeros() / 8) as usize;
        }
        len += 8;
    }
    let rest = a[len..].iter().zip(&b[len..]);
    len + rest.take_while(|(x, y)| x == y).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EFFORT: Effort = Effort { depth: 4, good: 16, stride: 2 };

    fn compressed(short: &mut Short, message: &[u8], history: Option<&History>) -> Vec<u8> {
        let mut out = Vec::new();
        short.compress(message, history, 4096, 1 << 15, EFFORT, &mut out);
        out
    }

    #[test]
    fn old_entries_are_not_seen_when_the_base_begins_again() {
        let messages: Vec<Vec<u8>> = (0..40_u8).map(|i| vec![i % 7; 90]).collect();
        let mut short = Short::default();
        short.chains.base = u32::MAX - 3 * TEXT as u32;
        for message in &messages {
            let expected = compressed(&mut Short::default(), message, None);
            assert_eq!(compressed(&mut short, message, None), expected);
        }
        assert!(short.chains.base < u32::MAX / 2, "it has begun again");
    }

    #[test]
    fn a_match_begins_where_the_history_was_not_entered() {
        for shift in 0..4 {
            let mut history = History::new(12);
            history.push(&vec![b'.'; shift]);
            history.push(b"The quick brown fox jumps over the lazy dog");
            let out = compressed(&mut Short::default(), b"quick brown fox jumps", Some(&history));
            // A block of fixed codes with one match, its end, and the header that ends a message.
            assert!(out.len() <= 5, "shifted by {shift}: {out:?}");
        }
    }

    #[test]
    fn the_longest_message_finds_room_beside_any_history() {
        let mut history = History::new(15);
        history.push(&[7; 1 << 15]);
        let mut out = Vec::new();
        let message = [7; LONGEST];
        Short::default().compress(&message, Some(&history), 1 << 20, 1 << 15, EFFORT, &mut out);
        assert!(out.len() < 30);
    }
}
