//! What others have written, made safe for a terminal.
//!
//! A terminal obeys control characters: they move the cursor, rename the window and answer as if
//! the user had typed. Bidirectional controls show a text in another order than it has.

/// Whether a terminal, or whoever reads it, would be led by `c` instead of seeing it.
fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}'
        )
}

/// Appends a character of a message: line ends and tabs remain, other controls become `\r` or
/// `\u{1b}`.
pub(crate) fn push_char(out: &mut Vec<u8>, c: char) {
    if c == '\n' || c == '\t' || !is_control(c) {
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    } else {
        out.extend(c.escape_default().map(|c| c as u8));
    }
}

/// Appends bytes that are no text, as `\xff`.
pub(crate) fn push_invalid(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        out.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
    }
}

/// The whole as one line, line ends and tabs escaped too.
pub(crate) fn line(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if is_control(c) {
                out.extend(c.escape_default());
            } else {
                out.push(c);
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{line, push_char, push_invalid};

    fn message(text: &str) -> String {
        let mut out = Vec::new();
        text.chars().for_each(|c| push_char(&mut out, c));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_control_is_escaped() {
        for code in (0..0x20).chain(0x7F..0xA0) {
            let c = char::from(code);
            let shown = message(&c.to_string());
            if c == '\n' || c == '\t' {
                assert_eq!(shown, c.to_string());
            } else {
                assert!(shown.starts_with('\\') && shown.is_ascii(), "{code:x}: {shown:?}");
            }
            assert!(!line(c.to_string().as_bytes()).contains(char::is_control), "{code:x}");
        }
        assert_eq!(message("\x1b[2J\r\u{9b}31m"), r"\u{1b}[2J\r\u{9b}31m");
        assert_eq!(message("\u{202e}a\u{2066}b\u{200f}"), r"\u{202e}a\u{2066}b\u{200f}");
    }

    #[test]
    fn what_is_no_control_stays() {
        for text in ["Привет, мир", "\\n", "日本語", "👩‍🚀", "a\tb\nc", "\u{a0}é"]
        {
            assert_eq!(message(text), text);
        }
        assert_eq!(line("Привет\\".as_bytes()), "Привет\\");
    }

    #[test]
    fn a_line_is_one_line() {
        assert_eq!(line(b"a\r\nb\tc\xff\x80d\x1b"), r"a\r\nb\tc\xff\x80d\u{1b}");
        assert_eq!(line("a\u{2028}b".as_bytes()), r"a\u{2028}b");
    }

    #[test]
    fn bytes_that_are_no_text_are_shown() {
        let mut out = Vec::new();
        push_invalid(&mut out, &[0xFF, 0x0A, 0x00]);
        assert_eq!(out, br"\xff\x0a\x00");
    }
}
