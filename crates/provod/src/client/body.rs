//! The start of the body of a refusal, for whoever wants to know why (RFC 9112 sections 6 and 7).
//!
//! The connection is closed behind it, so nothing depends on where exactly it ends: bad framing
//! costs no more than a body that shows it.

#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use provod_proto::handshake::{ResponseHead, Version};
use tokio::time::{Instant, timeout_at};

use crate::driver::with_read_buffer;
use crate::transport::Transport;

/// Bytes of the body that are kept.
const MOST: usize = 4 << 10;
/// How long the server may be silent, and how long it may take in all, before its refusal is
/// reported without the rest.
const MOST_SILENCE: Duration = Duration::from_secs(1);
const MOST_TIME: Duration = Duration::from_secs(3);
/// Bytes in a line that says how long a chunk is, with its extensions.
const MOST_CHUNK_LINE: u16 = 256;

/// Reads the start of the body of `head`, of which `first` has come already.
pub(super) async fn read<T: Transport>(
    io: &mut T,
    head: &ResponseHead,
    first: &[u8],
    deadline: Instant,
) -> Bytes {
    let deadline = deadline.min(Instant::now() + MOST_TIME);
    let mut body = Body::new(framing(head));
    let mut done = body.push(first);
    while !done {
        let silence = deadline.min(Instant::now() + MOST_SILENCE);
        let read = poll_fn(|cx| {
            with_read_buffer(|buf| {
                io.poll_read(cx, buf, MOST)
                    // A read of `n` bytes has put `n` bytes into the buffer.
                    .map(|read| read.map(|n| n == 0 || body.push(&buf[..n])))
            })
        });
        done = match timeout_at(silence, read).await {
            Ok(Ok(done)) => done,
            _ => true,
        };
    }
    body.into_bytes()
}

/// What tells where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
    ToEnd,
}

/// The rules of RFC 9112 section 6.3 for the answer to a GET.
fn framing(head: &ResponseHead) -> Framing {
    if matches!(head.status(), 204 | 304) {
        return Framing::Length(0);
    }
    if let Some(last) = head.header_all("Transfer-Encoding").last() {
        let coding = last.rsplit(|b| *b == b',').next().unwrap_or_default().trim_ascii();
        // HTTP/1.0 has no transfer codings (section 6.1).
        let chunked = coding.eq_ignore_ascii_case(b"chunked");
        let chunked = chunked && head.version() == Version::Http11;
        return if chunked { Framing::Chunked } else { Framing::ToEnd };
    }
    let mut lengths = head
        .header_all("Content-Length")
        .flat_map(|value| value.split(|b| *b == b','))
        .map(|value| number(value.trim_ascii(), 10));
    match lengths.next() {
        Some(Some(length)) if lengths.all(|other| other == Some(length)) => Framing::Length(length),
        // Several that differ, or none that is a number: no one knows.
        _ => Framing::ToEnd,
    }
}

/// Digits and nothing else.
fn number(digits: &[u8], radix: u32) -> Option<u64> {
    let text = str::from_utf8(digits).ok()?;
    let plain = text.chars().all(|c| c.is_digit(radix));
    if plain { u64::from_str_radix(text, radix).ok() } else { None }
}

struct Body {
    /// Bytes that are still to come; `None` for chunks, and for all until the end.
    left: Option<u64>,
    chunks: Option<Chunks>,
    kept: Vec<u8>,
    /// The bytes as they came, should the chunks make no sense.
    raw: Vec<u8>,
}

impl Body {
    fn new(framing: Framing) -> Self {
        Self {
            left: if let Framing::Length(n) = framing { Some(n) } else { None },
            chunks: (framing == Framing::Chunked).then(Chunks::default),
            kept: Vec::new(),
            raw: Vec::new(),
        }
    }

    /// Takes what has come; returns whether that is all that is wanted.
    fn push(&mut self, input: &[u8]) -> bool {
        if let Some(chunks) = &mut self.chunks {
            keep(&mut self.raw, input);
            return match chunks.push(input, &mut self.kept) {
                Ok(ended) => ended || self.kept.len() >= MOST,
                Err(BadChunk) if self.kept.is_empty() => {
                    self.chunks = None;
                    self.kept = std::mem::take(&mut self.raw);
                    self.kept.len() >= MOST
                }
                Err(BadChunk) => true,
            };
        }
        let take = match &mut self.left {
            Some(left) => {
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= take as u64;
                take
            }
            None => input.len(),
        };
        // `take` is at most the length of the input.
        keep(&mut self.kept, &input[..take]);
        self.left == Some(0) || self.kept.len() >= MOST
    }

    fn into_bytes(self) -> Bytes {
        self.kept.into()
    }
}

/// Appends what still fits.
fn keep(kept: &mut Vec<u8>, bytes: &[u8]) {
    let room = MOST.saturating_sub(kept.len()).min(bytes.len());
    // `room` is at most the length of `bytes`.
    kept.extend_from_slice(&bytes[..room]);
}

#[derive(Debug)]
struct BadChunk;

/// Where in the chunked coding the next byte belongs (RFC 9112 section 7.1).
#[derive(Debug)]
enum Chunks {
    /// In the line in front of a chunk: its size so far, its bytes so far.
    Size {
        size: Option<u64>,
        digits: bool,
        length: u16,
    },
    SizeLf(u64),
    Data(u64),
    DataCr,
    DataLf,
}

impl Default for Chunks {
    fn default() -> Self {
        Self::Size { size: None, digits: true, length: 0 }
    }
}

impl Chunks {
    /// Appends the data in `input` to `kept`; returns whether the last chunk has come. The trailers
    /// behind it are of no interest.
    fn push(&mut self, mut input: &[u8], kept: &mut Vec<u8>) -> Result<bool, BadChunk> {
        while let [b, rest @ ..] = input {
            if let Self::Data(left) = self {
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                // `take` is at most the length of the input.
                let (data, rest) = input.split_at(take);
                keep(kept, data);
                *left -= take as u64;
                input = rest;
                if *left == 0 {
                    *self = Self::DataCr;
                }
                continue;
            }
            input = rest;
            *self = match (&*self, *b) {
                (Self::Size { size: Some(size), .. }, b'\r') => Self::SizeLf(*size),
                (&Self::Size { size, digits, length }, b) => {
                    Self::size(size, digits, length, b).ok_or(BadChunk)?
                }
                (Self::SizeLf(0), b'\n') => return Ok(true),
                (Self::SizeLf(size), b'\n') => Self::Data(*size),
                (Self::DataCr, b'\r') => Self::DataLf,
                (Self::DataLf, b'\n') => Self::default(),
                _ => return Err(BadChunk),
            };
        }
        Ok(false)
    }

    /// One byte of the line in front of a chunk: a digit, or of the extensions behind them.
    fn size(size: Option<u64>, digits: bool, length: u16, b: u8) -> Option<Self> {
        let length = length + 1;
        if length > MOST_CHUNK_LINE {
            return None;
        }
        match (char::from(b).to_digit(16), size) {
            (Some(digit), _) if digits => {
                let size = size.unwrap_or(0).checked_mul(16)?.checked_add(u64::from(digit))?;
                Some(Self::Size { size: Some(size), digits, length })
            }
            (None, Some(_)) if digits && !matches!(b, b';' | b' ' | b'\t') => None,
            (_, Some(_)) if b == b'\t' || b >= b' ' => {
                Some(Self::Size { size, digits: false, length })
            }
            _ => None,
        }
    }
}
