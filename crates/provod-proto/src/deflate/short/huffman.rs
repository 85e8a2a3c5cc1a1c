//! Huffman codes for one block (RFC 1951 section 3.2.2).

/// A code as it is written: its bits, the first in the lowest, and how many there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Code {
    pub(super) bits: u16,
    pub(super) len: u8,
}

/// The largest alphabet: literals and lengths.
const MOST: usize = 286;

/// The most bits in any code of DEFLATE.
const LONGEST: usize = 15;

/// Gives each symbol that occurs a code of at most `longest` bits, the fewer the more often it
/// occurs, and the others none. There are at least two codes, since decoders differ on fewer.
///
/// `counts` and `codes` are of the same length, at most [`MOST`], and the counts sum up to less
/// than 2^22.
pub(super) fn build(counts: &[u32], longest: usize, codes: &mut [Code]) {
    let mut sorted = [0u32; MOST];
    let mut used = 0;
    for (symbol, &count) in counts.iter().enumerate() {
        if count > 0 {
            sorted[used] = count << 9 | symbol as u32;
            used += 1;
        }
    }
    codes.fill(Code::default());
    if used < 2 {
        let only = if used == 1 { (sorted[0] & 0x1FF) as usize } else { 0 };
        let other = usize::from(only == 0);
        codes[only.min(other)] = Code { bits: 0, len: 1 };
        codes[only.max(other)] = Code { bits: 1, len: 1 };
        return;
    }
    let sorted = &mut sorted[..used];
    sorted.sort_unstable();

    let mut weights = [0u32; MOST];
    for (weight, entry) in weights.iter_mut().zip(&*sorted) {
        *weight = entry >> 9;
    }
    let of_length = limited(lengths(&mut weights[..used]), longest);

    // The longest codes go to the rarest symbols.
    let mut len = longest;
    let mut left = of_length[len];
    for entry in &*sorted {
        while left == 0 {
            len -= 1;
            left = of_length[len];
        }
        codes[(entry & 0x1FF) as usize].len = len as u8;
        left -= 1;
    }
    assign(codes, &of_length);
}

/// How many codes there are of each length, in an optimal code for these weights, which are sorted
/// from the least. After Moffat and Katajainen, "In-place calculation of minimum-redundancy codes"
/// (1995): the weights turn into the parents of the tree's inner nodes, then into their depths.
fn lengths(weights: &mut [u32]) -> [u16; 64] {
    let n = weights.len();
    let (mut leaf, mut root) = (0, 0);
    for next in 0..n - 1 {
        let mut sum = 0;
        for _ in 0..2 {
            if leaf >= n || (root < next && weights[root] < weights[leaf]) {
                sum += weights[root];
                weights[root] = next as u32;
                root += 1;
            } else {
                sum += weights[leaf];
                leaf += 1;
            }
        }
        weights[next] = sum;
    }
    weights[n - 2] = 0;
    for node in (0..n - 2).rev() {
        weights[node] = weights[weights[node] as usize] + 1;
    }

    let mut of_length = [0; 64];
    let (mut nodes, mut depth) = (1, 0);
    let mut inner = weights[..n - 1].iter().rev().peekable();
    let mut leaves = n;
    while leaves > 0 {
        let mut at_depth = 0;
        while inner.next_if(|&&d| d as usize == depth).is_some() {
            at_depth += 1;
        }
        let ends = nodes - at_depth;
        of_length[depth] = ends as u16;
        leaves -= ends;
        nodes = 2 * at_depth;
        depth += 1;
    }
    of_length
}

/// The same number of codes, none longer than `longest` bits, in a complete code.
fn limited(mut of_length: [u16; 64], longest: usize) -> [u16; 64] {
    let beyond: u16 = of_length[longest + 1..].iter().sum();
    of_length[longest + 1..].fill(0);
    of_length[longest] += beyond;
    // The share of the code space that is used, in units of the longest codes.
    let mut space: u32 =
        (1..=longest).map(|len| u32::from(of_length[len]) << (longest - len)).sum();
    while space > 1 << longest {
        // A code becomes one bit longer and makes room for one of the longest beside it: one unit
        // is won.
        of_length[longest] -= 1;
        let Some(len) = (1..longest).rev().find(|&len| of_length[len] > 0) else { break };
        of_length[len] -= 1;
        of_length[len + 1] += 2;
        space -= 1;
    }
    of_length
}

/// The codes that follow from their lengths (RFC 1951 section 3.2.2).
fn assign(codes: &mut [Code], of_length: &[u16; 64]) {
    let mut next = [0u16; LONGEST + 2];
    for len in 1..=LONGEST {
        next[len + 1] = (next[len] + of_length[len]) << 1;
    }
    for code in codes.iter_mut().filter(|code| code.len > 0) {
        let bits = &mut next[usize::from(code.len)];
        code.bits = bits.reverse_bits() >> (16 - code.len);
        *bits += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(counts: &[u32], longest: usize) -> Vec<u8> {
        let mut codes = vec![Code::default(); counts.len()];
        build(counts, longest, &mut codes);
        let space: u32 =
            codes.iter().filter(|c| c.len > 0).map(|c| 1 << (longest - usize::from(c.len))).sum();
        assert_eq!(space, 1 << longest, "a complete code for {counts:?}");
        for (i, a) in codes.iter().enumerate().filter(|(_, a)| a.len > 0) {
            for b in codes[..i].iter().filter(|b| b.len > 0) {
                let both = (1u32 << a.len.min(b.len)) - 1;
                assert_ne!(u32::from(a.bits) & both, u32::from(b.bits) & both, "{counts:?}");
            }
        }
        codes.iter().map(|code| code.len).collect()
    }

    #[test]
    fn the_more_often_the_shorter() {
        assert_eq!(built(&[1, 1, 2, 4], 15), [3, 3, 2, 1]);
        assert_eq!(built(&[5, 0, 5, 5, 5], 15), [2, 0, 2, 2, 2]);
        assert_eq!(built(&[9, 1], 15), [1, 1]);
    }

    #[test]
    fn there_are_two_codes_at_least() {
        assert_eq!(built(&[0, 0, 0], 15), [1, 1, 0]);
        assert_eq!(built(&[7, 0, 0], 15), [1, 1, 0]);
        assert_eq!(built(&[0, 0, 7], 15), [1, 0, 1]);
    }

    #[test]
    fn no_code_is_too_long() {
        let mut fibonacci = vec![1u32, 1];
        for i in 2..24 {
            fibonacci.push(fibonacci[i - 1] + fibonacci[i - 2]);
        }
        for longest in [5, 7, 15] {
            let lens = built(&fibonacci, longest);
            assert_eq!(usize::from(lens.iter().copied().max().unwrap()), longest);
            assert!(lens.is_sorted_by(|a, b| a >= b), "{lens:?}");
        }
    }

    #[test]
    fn any_counts_make_a_complete_code() {
        let mut x = 1u32;
        for n in 1..MOST {
            let counts: Vec<u32> = (0..n)
                .map(|_| {
                    x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (x >> 8) % (1 << (x >> 28))
                })
                .collect();
            if n > 1 {
                built(&counts, 15);
            }
        }
    }
}
