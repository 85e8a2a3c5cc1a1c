//! UTF-8 checked piece by piece, failing at the first byte that cannot be right.

/// Whether all of `text` is UTF-8.
#[inline]
pub(crate) fn is_utf8(text: &[u8]) -> bool {
    // The vectors of the library begin at 64 bytes; most that is shorter is ASCII.
    if text.len() < 64 && text.is_ascii() {
        return true;
    }
    simdutf8::basic::from_utf8(text).is_ok()
}

/// Checks a text message as its bytes arrive. A character may be cut between pieces; a byte that no
/// character can have at its place fails at once, not at the end of the message.
#[derive(Debug, Clone, Default)]
pub(crate) struct Utf8Check {
    /// The start of a character whose rest has not arrived: at most three bytes are kept.
    start: [u8; 4],
    len: u8,
}

/// The text is not UTF-8.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InvalidUtf8;

impl Utf8Check {
    pub(crate) fn push(&mut self, mut piece: &[u8]) -> Result<(), InvalidUtf8> {
        while self.len > 0 {
            let Some((&byte, rest)) = piece.split_first() else { return Ok(()) };
            // At most three bytes are ever kept, so the fourth fits.
            self.start[usize::from(self.len)] = byte;
            self.len += 1;
            piece = rest;
            match std::str::from_utf8(&self.start[..usize::from(self.len)]) {
                Ok(_) => self.len = 0,
                Err(e) if e.error_len().is_none() => {}
                Err(_) => return Err(InvalidUtf8),
            }
        }
        let Err(e) = simdutf8::compat::from_utf8(piece) else { return Ok(()) };
        if e.error_len().is_some() {
            return Err(InvalidUtf8);
        }
        let open = piece.get(e.valid_up_to()..).unwrap_or_default();
        if open.len() > 3 {
            // The library says that a character is cut here, and no character is that long.
            return Err(InvalidUtf8);
        }
        self.start[..open.len()].copy_from_slice(open);
        self.len = open.len() as u8;
        Ok(())
    }

    /// No character is left open.
    pub(crate) fn is_complete(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::{InvalidUtf8, Utf8Check};

    /// Where the check fails when fed one byte at a time; `None`: it accepts, and the text is
    /// whole.
    fn fails_at(bytes: &[u8]) -> Option<usize> {
        let mut check = Utf8Check::default();
        for (i, b) in bytes.iter().enumerate() {
            if check.push(&[*b]) == Err(InvalidUtf8) {
                return Some(i);
            }
        }
        (!check.is_complete()).then_some(bytes.len())
    }

    #[test]
    fn rfc6455_8_1_fails_at_the_first_wrong_byte() {
        assert_eq!(fails_at("Привет, мир! 👋 κόσμε".as_bytes()), None);
        assert_eq!(fails_at(b"\xff"), Some(0));
        assert_eq!(fails_at(b"ab\x80"), Some(2));
        assert_eq!(fails_at(b"\xc0\xaf"), Some(0), "overlong");
        assert_eq!(fails_at(b"\xe0\x80\x80"), Some(1), "overlong");
        assert_eq!(fails_at(b"\xed\xa0\x80"), Some(1), "surrogate");
        assert_eq!(fails_at(b"\xf4\x90\x80\x80"), Some(1), "above U+10FFFF");
        assert_eq!(fails_at(b"\xf0\x9f\x91"), Some(3), "cut at the end");
    }

    #[test]
    fn every_cut_in_two_gives_what_the_whole_gives() {
        let samples: [&[u8]; 6] = [
            "aб€👋z".as_bytes(),
            b"\xf4\x8f\xbf\xbf\xf4\x90",
            b"\xe1\x80\xc2\xa9",
            b"\xf0\x9f\x91\x8b\xf0",
            &[0x7f; 200],
            &[0xc2; 70],
        ];
        for s in samples {
            for cut in 0..=s.len() {
                let mut check = Utf8Check::default();
                let ok = check.push(&s[..cut]).is_ok()
                    && check.push(&s[cut..]).is_ok()
                    && check.is_complete();
                assert_eq!(ok, std::str::from_utf8(s).is_ok(), "{s:x?} cut at {cut}");
            }
        }
    }
}
