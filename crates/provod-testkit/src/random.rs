//! Numbers that follow from a seed.

use std::ops::RangeInclusive;

/// SplitMix64: one word of state, and any seed will do.
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number from 1 to `most`.
    pub(crate) fn up_to(&mut self, most: usize) -> usize {
        1 + (self.next() % most.max(1) as u64) as usize
    }

    /// A number of the range; its start when it is empty.
    pub(crate) fn within(&mut self, range: &RangeInclusive<u64>) -> u64 {
        let (start, span) = (*range.start(), range.end().saturating_sub(*range.start()));
        match span.checked_add(1) {
            Some(choices) => start + self.next() % choices,
            None => self.next(),
        }
    }

    /// Whether it happens this time, as it does once in `n` times on average; never when `n` is 0.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        n > 0 && self.next().is_multiple_of(n)
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn a_range_is_kept_to_and_used_up() {
        let mut random = Random(1);
        let seen: std::collections::BTreeSet<u64> =
            (0..200).map(|_| random.within(&(3..=7))).collect();
        assert_eq!(seen, (3..=7).collect());
        #[expect(clippy::reversed_empty_ranges, reason = "that is the case")]
        let empty = 7..=3;
        assert_eq!(random.within(&empty), 7);
        random.within(&(0..=u64::MAX));
    }
}
