//! Masking (RFC 6455 section 5.3).

/// Gives the masking key of each frame that a client sends.
///
/// RFC 6455 section 5.3 asks for keys that cannot be predicted, from a strong source of entropy.
/// The core has no such source: the caller passes one.
pub trait MaskSource: Send {
    /// The key of the next frame.
    fn next_key(&mut self) -> [u8; 4];
}

impl<F: FnMut() -> [u8; 4] + Send> MaskSource for F {
    fn next_key(&mut self) -> [u8; 4] {
        self()
    }
}

/// Masks or unmasks `data` in place; `offset` is the position of its first byte in the payload.
#[inline]
pub fn apply_mask(data: &mut [u8], key: [u8; 4], offset: u64) {
    // The byte of the key that meets the first one of the data comes first.
    let key = u32::from_le_bytes(key).rotate_right(8 * (offset % 4) as u32);
    let wide = (u64::from(key) << 32 | u64::from(key)).to_le_bytes();
    let (blocks, data) = data.as_chunks_mut::<64>();
    apply_to_blocks(blocks, wide);
    let (words, data) = data.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ u64::from_ne_bytes(wide)).to_ne_bytes();
    }
    let (half, data) = data.as_chunks_mut::<4>();
    for word in half {
        *word = (u32::from_le_bytes(*word) ^ key).to_le_bytes();
    }
    for (byte, key) in data.iter_mut().zip(wide) {
        *byte ^= key;
    }
}

/// A loop of its own, of a width that compilers make vectors of.
fn apply_to_blocks(blocks: &mut [[u8; 64]], key: [u8; 8]) {
    for block in blocks {
        let (words, _) = block.as_chunks_mut::<8>();
        for word in words {
            *word = (u64::from_ne_bytes(*word) ^ u64::from_ne_bytes(key)).to_ne_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::apply_mask;

    #[test]
    fn rfc6455_5_7_masked_hello() {
        let mut data = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        apply_mask(&mut data, [0x37, 0xfa, 0x21, 0x3d], 0);
        assert_eq!(&data, b"Hello");
    }

    #[test]
    fn every_length_and_every_cut_equals_the_definition() {
        let key = [0x11, 0x22, 0x44, 0x88];
        for len in 0..150usize {
            let plain: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
            let want: Vec<u8> = plain.iter().enumerate().map(|(i, b)| b ^ key[i % 4]).collect();
            for cut in 0..=len {
                let mut got = plain.clone();
                let (a, b) = got.split_at_mut(cut);
                apply_mask(a, key, 0);
                apply_mask(b, key, cut as u64);
                assert_eq!(got, want, "length {len}, cut at {cut}");
            }
        }
    }
}
