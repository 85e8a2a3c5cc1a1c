//! The notation of the vectors. The frame writer here is the test's own, not the crate's.

use provod_proto::Side;
use serde::Deserialize;

/// What the sender masks with.
pub(crate) const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) vector: Vec<Vector>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Vector {
    pub(crate) name: String,
    /// The receiver: "server", "client", or both when absent.
    pub(crate) receiver: Option<String>,
    pub(crate) max_message: Option<u64>,
    pub(crate) max_fragments: Option<u32>,
    /// "takeover" or "no-takeover" when permessage-deflate is negotiated.
    pub(crate) deflate: Option<String>,
    pub(crate) input: Vec<String>,
    /// The events, in order.
    #[serde(default)]
    pub(crate) events: Vec<String>,
    /// The variant of the error.
    pub(crate) error: Option<String>,
    /// The close code that the error maps to.
    pub(crate) code: Option<u16>,
    /// Where the error shows: "frame 0 header 2", "frame 1 payload 7".
    pub(crate) fails: Option<String>,
    /// The frames that the core answers with; the Close for an error is not listed.
    #[serde(default)]
    pub(crate) answer: Vec<String>,
    /// The end of the stream would cut a frame or a message.
    #[serde(default)]
    pub(crate) cut: bool,
}

impl Vector {
    pub(crate) fn receivers(&self) -> Vec<Side> {
        match self.receiver.as_deref() {
            None => vec![Side::Server, Side::Client],
            Some("server") => vec![Side::Server],
            Some("client") => vec![Side::Client],
            Some(other) => panic!("{}: receiver {other}", self.name),
        }
    }
}

/// A frame, or bytes that are none.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
    first: u8,
    mask: Option<bool>,
    length: Option<(u8, u64)>,
    raw: bool,
}

/// The whole input with the places where each frame and its payload begin.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) bytes: Vec<u8>,
    pub(crate) places: Vec<(usize, usize)>,
}

impl Input {
    pub(crate) fn new(lines: &[String], receiver: Side) -> Self {
        let mut input = Self { bytes: Vec::new(), places: Vec::new() };
        for line in lines {
            let frame = Frame::parse(line);
            let start = input.bytes.len();
            frame.write(receiver == Side::Server, &mut input.bytes);
            input.places.push((start, input.bytes.len() - frame.payload.len()));
        }
        input
    }

    /// How many bytes are in when the error shows.
    pub(crate) fn place(&self, text: &str) -> usize {
        let words: Vec<_> = text.split(' ').collect();
        let ["frame", index, part, count] = words[..] else { panic!("fails = {text}") };
        let number = |s: &str| s.parse::<usize>().unwrap_or_else(|e| panic!("{text}: {e}"));
        let (start, payload) = self.places[number(index)];
        number(count)
            + match part {
                "header" => start,
                "payload" => payload,
                _ => panic!("fails = {text}"),
            }
    }
}

impl Frame {
    pub(crate) fn parse(line: &str) -> Self {
        let mut frame = Self {
            opcode: 0,
            payload: Vec::new(),
            first: 0x80,
            mask: None,
            length: None,
            raw: false,
        };
        for word in words(line) {
            match word {
                "raw" => frame.raw = true,
                "nofin" => frame.first &= 0x7F,
                "rsv1" => frame.first |= 0x40,
                "rsv2" => frame.first |= 0x20,
                "rsv3" => frame.first |= 0x10,
                "mask" => frame.mask = Some(true),
                "nomask" => frame.mask = Some(false),
                "cont" => frame.opcode = 0,
                "text" => frame.opcode = 1,
                "binary" => frame.opcode = 2,
                "close" => frame.opcode = 8,
                "ping" => frame.opcode = 9,
                "pong" => frame.opcode = 10,
                other => frame.word(other),
            }
        }
        frame.first |= frame.opcode;
        frame
    }

    fn word(&mut self, word: &str) {
        let number = |s: &str| match s.strip_prefix("2^") {
            Some(power) => match power.split_once(['-', '+']) {
                Some((p, _)) if power.contains('-') => {
                    (1u128 << p.parse::<u32>().expect("a power")) as u64 - 1
                }
                Some((p, _)) => (1u64 << p.parse::<u32>().expect("a power")) + 1,
                None => 1u64 << power.parse::<u32>().expect("a power"),
            },
            None => s.parse().unwrap_or_else(|e| panic!("{word}: {e}")),
        };
        if let Some(text) = word.strip_prefix('"') {
            self.payload.extend_from_slice(text.trim_end_matches('"').as_bytes());
        } else if let Some((key, value)) = word.split_once(':') {
            match key {
                "op" => self.opcode = number(value) as u8,
                "x" => self.payload.extend(hex(value)),
                "code" => self.payload.extend_from_slice(&(number(value) as u16).to_be_bytes()),
                "len16" => self.length = Some((126, number(value))),
                "len64" => self.length = Some((127, number(value))),
                "bomb" => {
                    let zeros = vec![0; number(value) as usize];
                    self.payload.extend(miniz_oxide::deflate::compress_to_vec(&zeros, 6));
                    // The header of an empty stored block, behind BFINAL (RFC 7692 section
                    // 7.2.3.4).
                    self.payload.push(0);
                }
                _ => panic!("{word}"),
            }
        } else if let Some((count, byte)) = word.split_once('*') {
            let piece = match byte.strip_prefix('\'') {
                Some(text) => text.trim_end_matches('\'').as_bytes().to_vec(),
                None => hex(byte),
            };
            self.payload.extend(piece.repeat(number(count) as usize));
        } else {
            panic!("{word}");
        }
    }

    fn write(&self, mask: bool, out: &mut Vec<u8>) {
        if self.raw {
            out.extend_from_slice(&self.payload);
            return;
        }
        let mask = self.mask.unwrap_or(mask);
        let bit = if mask { 0x80 } else { 0 };
        out.push(self.first);
        let len = self.payload.len();
        let length = self.length.unwrap_or(match len {
            0..=125 => (len as u8, 0),
            126..=0xFFFF => (126, len as u64),
            _ => (127, len as u64),
        });
        out.push(bit | length.0);
        match length.0 {
            126 => out.extend_from_slice(&(length.1 as u16).to_be_bytes()),
            127 => out.extend_from_slice(&length.1.to_be_bytes()),
            _ => {}
        }
        if mask {
            out.extend_from_slice(&KEY);
            out.extend(self.payload.iter().enumerate().map(|(i, b)| b ^ KEY[i % 4]));
        } else {
            out.extend_from_slice(&self.payload);
        }
    }
}

/// Splits at blanks, but not inside quotes.
fn words(line: &str) -> Vec<&str> {
    let mut quoted = false;
    line.split(|c: char| {
        quoted ^= c == '"';
        c == ' ' && !quoted
    })
    .filter(|w| !w.is_empty())
    .collect()
}

fn hex(digits: &str) -> Vec<u8> {
    assert!(digits.len().is_multiple_of(2), "{digits}");
    (0..digits.len())
        .step_by(2)
        .map(|i| {
            u8::from_str_radix(&digits[i..i + 2], 16).unwrap_or_else(|e| panic!("{digits}: {e}"))
        })
        .collect()
}
