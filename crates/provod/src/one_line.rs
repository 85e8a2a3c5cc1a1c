//! Text that may come from a peer, as one printable line of bounded length.

use std::fmt;

/// Characters of one error. Longer ones are cut.
const MOST: usize = 400;

/// Passes on what is printable, escapes what is not, and cuts what is too long: an error is printed
/// on terminals and written to logs, where a peer's control characters would do as they like.
pub(crate) struct OneLine<'a, 'f> {
    out: &'a mut fmt::Formatter<'f>,
    room: usize,
    cut: bool,
}

impl<'a, 'f> OneLine<'a, 'f> {
    pub(crate) fn new(out: &'a mut fmt::Formatter<'f>) -> Self {
        Self { out, room: MOST, cut: false }
    }
}

impl fmt::Write for OneLine<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            // Escapes controls, and what is invisible or changes the direction of the text.
            let quote = matches!(c, '"' | '\'' | '\\');
            let escaped = c.escape_debug();
            let length = if quote { 1 } else { escaped.len() };
            if length > self.room {
                self.room = 0;
                return if std::mem::replace(&mut self.cut, true) {
                    Ok(())
                } else {
                    self.out.write_char('…')
                };
            }
            self.room -= length;
            if quote {
                self.out.write_char(c)?;
            } else {
                write!(self.out, "{escaped}")?;
            }
        }
        Ok(())
    }
}
