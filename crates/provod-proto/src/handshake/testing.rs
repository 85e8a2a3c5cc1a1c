//! What the tests of several modules need.

use super::head::{Head, HeadError, HeadLimits, HeadReader, RequestHead, ResponseHead};

/// The request of RFC 6455 section 1.2.
pub(super) const REQUEST: &str = "GET /chat HTTP/1.1\r\n\
    Host: server.example.com\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Origin: http://example.com\r\n\
    Sec-WebSocket-Protocol: chat, superchat\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

/// The answer of RFC 6455 section 1.2.
pub(super) const RESPONSE: &str = "HTTP/1.1 101 Switching Protocols\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
    Sec-WebSocket-Protocol: chat\r\n\r\n";

/// Feeds the pieces one by one: the head and the bytes it took, or `None` if it is not whole.
pub(super) fn feed<H: Head>(
    limits: HeadLimits,
    pieces: &[&[u8]],
) -> Result<Option<(H, usize)>, HeadError> {
    let mut reader = HeadReader::<H>::new(limits);
    let mut consumed = 0;
    for piece in pieces {
        let pushed = reader.push(piece)?;
        consumed += pushed.consumed;
        if let Some(head) = pushed.head {
            return Ok(Some((head, consumed)));
        }
        assert_eq!(pushed.consumed, piece.len(), "an unfinished head takes all of its input");
    }
    Ok(None)
}

pub(super) fn request(text: &str) -> RequestHead {
    feed(HeadLimits::default(), &[text.as_bytes()]).unwrap().expect("a whole head").0
}

pub(super) fn response(text: &str) -> ResponseHead {
    feed(HeadLimits::default(), &[text.as_bytes()]).unwrap().expect("a whole head").0
}

/// A text with one line put in place of another, or, for an empty one, with a line taken out.
pub(super) fn replace(text: &str, line: &str, new: &str) -> String {
    let old = format!("{line}\r\n");
    assert!(text.contains(&old), "{line:?} is not in the text");
    let new = if new.is_empty() { String::new() } else { format!("{new}\r\n") };
    text.replacen(&old, &new, 1)
}

/// A text with one more header line at its end.
pub(super) fn with(text: &str, line: &str) -> String {
    let head = text.strip_suffix("\r\n").expect("an empty line");
    format!("{head}{line}\r\n\r\n")
}

/// A small generator of pseudo-random numbers (xorshift): the same in each run.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// Changes, adds, takes out or doubles a few bytes.
    pub(super) fn mutate(&mut self, text: &mut Vec<u8>) {
        const ODD: &[u8] = b"\r\n\0 \t:,;=\"\\/%@[]?#\x16\x7f\x80\xff013HGz";
        for _ in 0..=self.below(4) {
            let at = self.below(text.len().max(1)).min(text.len());
            let byte =
                if self.below(2) == 0 { ODD[self.below(ODD.len())] } else { self.next() as u8 };
            match self.below(5) {
                0 => text.insert(at, byte),
                1 if at < text.len() => drop(text.remove(at)),
                2 => {
                    let end = (at + self.below(24)).min(text.len());
                    let part = text[at..end].to_vec();
                    let to = self.below(text.len() + 1);
                    text.splice(to..to, part);
                }
                3 => text.truncate(text.len() - self.below(8).min(text.len())),
                _ if at < text.len() => text[at] = byte,
                _ => {}
            }
        }
    }
}
