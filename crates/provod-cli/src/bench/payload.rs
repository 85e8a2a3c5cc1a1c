//! The messages: made before the run, each with a masking key and bytes of its own.
//!
//! They lie one behind the other as frames, so that several leave in one write and nothing is
//! masked, copied or compressed while the clock runs.

use clap::ValueEnum;
use provod::proto::deflate::{Level, Pool, compress_once};
use provod::proto::{FrameHeader, OpCode, apply_mask};

/// What the messages are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Content {
    /// Words in two alphabets, sent as text.
    Text,
    /// Random bytes, sent as binary.
    Binary,
    /// A chat message as JSON, sent as text.
    Json,
}

impl Content {
    pub(super) fn opcode(self) -> OpCode {
        match self {
            Self::Text | Self::Json => OpCode::Text,
            Self::Binary => OpCode::Binary,
        }
    }

    /// Where in a message a stamp may stand, so that JSON stays JSON.
    pub(super) fn stamp_at(self) -> usize {
        match self {
            Self::Text | Self::Binary => 0,
            Self::Json => JSON_HEAD.len(),
        }
    }

    /// The shortest message that has room for a stamp.
    pub(super) fn least_with_stamp(self) -> usize {
        match self {
            Self::Text | Self::Binary => STAMP,
            Self::Json => JSON_HEAD.len() + STAMP + JSON_MIDDLE.len() + JSON_TAIL.len(),
        }
    }
}

/// The length of a stamp in bytes: three numbers in hexadecimal.
pub(super) const STAMP: usize = 32;

const JSON_HEAD: &str = "{\"id\":\"";
const JSON_MIDDLE: &str = "\",\"text\":\"";
const JSON_TAIL: &str = "\"}";

const WORDS: [&str; 20] = [
    "сообщение",
    "hello",
    "привет",
    "server",
    "данные",
    "stream",
    "быстро",
    "latency",
    "сокет",
    "и",
    "the",
    "очередь",
    "packet",
    "не",
    "кадр",
    "frame",
    "мир",
    "websocket",
    "текст",
    "ok",
];

/// Random numbers (splitmix64) that a seed repeats. Enough to be unlike each other on the wire; not
/// a source of secrets.
#[derive(Debug, Clone)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(super) fn key(&mut self) -> [u8; 4] {
        (self.next() as u32).to_le_bytes()
    }

    pub(super) fn nonce(&mut self) -> [u8; 16] {
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&self.next().to_le_bytes());
        nonce[8..].copy_from_slice(&self.next().to_le_bytes());
        nonce
    }
}

/// The messages of a run, one after the other and then from the start again.
#[derive(Debug)]
pub(super) struct Messages {
    wire: Vec<u8>,
    /// Where each frame begins in `wire`, and where the last one ends.
    starts: Vec<usize>,
    plain: Vec<Vec<u8>>,
}

/// The window that messages are compressed with, in bits: servers that keep it from message to
/// message ask for less than 15, and 12 is what they ask for.
pub(super) const WINDOW: u8 = 12;

/// Bytes of messages that are made, about.
const MADE: usize = 4 << 20;

impl Messages {
    pub(super) fn new(content: Content, size: usize, compress: bool, random: &mut Random) -> Self {
        let count = (MADE / (size + 16)).clamp(4, 1024);
        let mut all = Self { wire: Vec::new(), starts: vec![0], plain: Vec::new() };
        let pool = Pool::new(1);
        for _ in 0..count {
            let plain = message(content, size, random);
            if compress {
                let small = compress_once(&plain, WINDOW, Level::default(), &pool);
                frame(&mut all.wire, content.opcode(), true, &small, random.key());
            } else {
                frame(&mut all.wire, content.opcode(), false, &plain, random.key());
            }
            all.starts.push(all.wire.len());
            all.plain.push(plain);
        }
        all
    }

    pub(super) fn count(&self) -> usize {
        self.plain.len()
    }

    /// A message as its reader should get it.
    #[inline]
    pub(super) fn plain(&self, variant: usize) -> &[u8] {
        match self.plain.get(variant) {
            Some(plain) => plain,
            None => &self.plain[variant % self.plain.len()],
        }
    }

    /// The frames of the messages `from..to`, without the first `skip` bytes.
    pub(super) fn frames(&self, from: usize, to: usize, skip: usize) -> &[u8] {
        &self.wire[self.starts[from] + skip..self.starts[to]]
    }

    /// The length of a message's frame.
    pub(super) fn frame_len(&self, variant: usize) -> usize {
        self.starts[variant + 1] - self.starts[variant]
    }

    /// Whether `bytes` stand at `at` in one of the `near` messages on either side of `variant`.
    pub(super) fn is_near(&self, variant: usize, near: usize, at: usize, bytes: &[u8]) -> bool {
        let n = self.count();
        let near = near.min(n - 1);
        (1..=near).flat_map(|d| [variant + d, variant + n - d]).any(|other| {
            self.plain(other).get(at..at + bytes.len()).is_some_and(|there| there == bytes)
        })
    }
}

/// Appends a whole message as a client's frame.
pub(super) fn frame(
    out: &mut Vec<u8>,
    opcode: OpCode,
    compressed: bool,
    payload: &[u8],
    key: [u8; 4],
) {
    let len = payload.len() as u64;
    FrameHeader { fin: true, rsv1: compressed, opcode, mask: Some(key), len }.encode(out);
    let at = out.len();
    out.extend_from_slice(payload);
    apply_mask(&mut out[at..], key, 0);
}

fn message(content: Content, size: usize, random: &mut Random) -> Vec<u8> {
    match content {
        Content::Binary => (0..size).map(|_| random.next() as u8).collect(),
        Content::Text => {
            // ASCII where a stamp may stand: it must not cut a character.
            let head = format!("{:016x}{:016x}", random.next(), random.next());
            let mut text = head.into_bytes();
            text.truncate(size);
            words(&mut text, size, random);
            text
        }
        Content::Json => {
            let mut text = format!("{JSON_HEAD}{:016x}{:016x}", random.next(), random.next());
            text.push_str(JSON_MIDDLE);
            let mut text = text.into_bytes();
            let room = size.saturating_sub(JSON_TAIL.len());
            words(&mut text, room, random);
            text.extend_from_slice(JSON_TAIL.as_bytes());
            text
        }
    }
}

/// Fills up with words to a length in bytes.
fn words(text: &mut Vec<u8>, size: usize, random: &mut Random) {
    loop {
        let word = WORDS[random.next() as usize % WORDS.len()];
        if text.len() + word.len() + 1 > size {
            break;
        }
        text.push(b' ');
        text.extend_from_slice(word.as_bytes());
    }
    while text.len() < size {
        text.push(b'.');
    }
}

#[cfg(test)]
mod tests {
    use super::{Content, Messages, Random, STAMP, message};

    #[test]
    fn text_is_text_of_its_size_and_json_is_json() {
        let mut random = Random(1);
        for size in [0, 1, 20, 33, 125, 1024, 65_536] {
            let text = message(Content::Text, size, &mut random);
            assert_eq!(text.len(), size);
            assert!(std::str::from_utf8(&text).is_ok());
        }
        let text = message(Content::Text, 100, &mut random);
        assert!(text[..STAMP].is_ascii() && !text.is_ascii());
        for size in [Content::Json.least_with_stamp(), 200, 5000] {
            let mut json = message(Content::Json, size, &mut random);
            assert_eq!(json.len(), size);
            let at = Content::Json.stamp_at();
            json[at..at + STAMP].fill(b'0');
            assert!(serde_json::from_slice::<serde_json::Value>(&json).is_ok());
        }
    }

    #[test]
    fn keys_and_messages_differ() {
        let messages = Messages::new(Content::Binary, 20, false, &mut Random(7));
        assert_eq!(messages.count(), 1024);
        assert_eq!(messages.frame_len(0), 26);
        let key = |i| messages.frames(i, i + 1, 2)[..4].to_vec();
        assert_ne!(key(0), key(1));
        assert_ne!(messages.plain(0), messages.plain(1));
        let other = messages.plain(3)[5..].to_vec();
        assert!(messages.is_near(1, 2, 5, &other) && !messages.is_near(1, 1, 5, &other));
    }
}
