//! Text that may come from a peer, as one printable line of bounded length.

use std::fmt;

/// Characters of one error. Longer ones are cut.
const MOST: usize = 400;

/// Passes on what is printable, escapes what is not, and cuts what is too long: an error is printed
/// on terminals and written to logs, where a peer's control characters would do as they like.
pub(crate) struct OneLine<'a, 'f> {
    out: &'a mut fmt::Formatter<'f>,
    room: usize,
}

impl<'a, 'f> OneLine<'a, 'f> {
    pub(crate) fn new(out: &'a mut fmt::Formatter<'f>) -> Self {
        Self { out, room: MOST }
    }
}

impl fmt::Write for OneLine<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if self.room == 0 {
                return Ok(());
            }
            self.room -= 1;
            if self.room == 0 {
                self.out.write_char('…')?;
            } else if matches!(c, '"' | '\'' | '\\') {
                self.out.write_char(c)?;
            } else {
                // Escapes controls, and what is invisible or changes the direction of the text.
                write!(self.out, "{}", c.escape_debug())?;
            }
        }
        Ok(())
    }
}
