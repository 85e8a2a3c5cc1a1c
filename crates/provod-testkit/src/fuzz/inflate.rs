//! Inflating any bytes, against a second implementation of DEFLATE.

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};
use provod_proto::deflate::{Compressor, Inflater, Level, Pool};

use crate::random::Random;

/// The most that one message may become here.
const MOST: usize = 1 << 18;
const WINDOW: usize = 1 << 15;

/// What became of one message.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Whole(Vec<u8>),
    TooLong,
    Bad,
    /// Nothing is wrong with it, but it ends in the middle of a block.
    Cut,
}

/// The first byte: context takeover, and above it the window and the level of a compressor. The
/// second: how each message is cut. The rest: messages, each a length in two bytes and as many bytes
/// of it as there are; a length with the top bit set means that the bytes are compressed first, by
/// ours or by another, so that valid streams are common.
pub fn run(data: &[u8]) {
    let [flags, seed, rest @ ..] = data else { return };
    let takeover = flags & 1 != 0;
    let pool = Pool::new(1);
    let mut ours = Inflater::new(15, takeover, pool.clone());
    let level = Level::new(1 + (flags >> 1 & 7)).unwrap_or_default();
    let mut compressor = Compressor::new(9 + (flags >> 4) % 7, takeover, level, pool);
    let mut reference = Reference { takeover, history: Vec::new() };
    let mut random = Random(u64::from(*seed));
    let mut rest = rest;
    while let [a, b, more @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([a & 0x7F, *b])).min(more.len());
        let (message, more) = more.split_at(len);
        rest = more;
        let valid = a & 0x80 != 0;
        let compressed = if valid && random.next() & 1 == 0 {
            let mut out = Vec::new();
            compressor.compress(message, true, &mut out);
            out
        } else if valid {
            compressor.reset();
            let level = (random.next() % 10) as u8;
            let mut stream = miniz_oxide::deflate::compress_to_vec(message, level);
            stream.push(0);
            stream
        } else {
            compressor.reset();
            message.to_vec()
        };
        let got = inflate(&mut ours, &compressed, &mut random);
        let want = reference.message(&compressed);
        match (&got, &want) {
            (Outcome::Whole(a), Outcome::Whole(b)) => {
                assert!(a == b, "{} bytes, {} expected", a.len(), b.len());
                assert!(!valid || a == message);
            }
            // A fault right behind the limit may be seen before it.
            (Outcome::TooLong | Outcome::Bad, Outcome::TooLong | Outcome::Bad | Outcome::Cut) => {
                return;
            }
            // zlib refuses some codes that the reference reads: incomplete sets of code lengths,
            // more symbols than the alphabet has, no end of block. Never the other way
            // round.
            (Outcome::Bad, Outcome::Whole(_)) if !valid => return,
            _ => panic!("{got:?}, {want:?} expected"),
        }
    }
}

fn inflate(inflater: &mut Inflater, message: &[u8], random: &mut Random) -> Outcome {
    let mut out = Vec::new();
    let mut at = 0;
    let check = |out: &Vec<u8>, before: usize, produced: usize, most: usize| {
        assert!(produced <= most && out.len() == before + produced);
        assert!(out.capacity() <= 2 * MOST + (80 << 10));
    };
    while at < message.len() {
        let piece = &message[at..at + random.up_to(message.len() - at)];
        let most = random.up_to(MOST + 1 - out.len());
        let before = out.len();
        match inflater.step(piece, &mut out, most) {
            Ok(step) => {
                check(&out, before, step.produced, most);
                assert!(step.consumed <= piece.len());
                assert!(step.consumed > 0 || step.produced > 0, "every step moves");
                at += step.consumed;
            }
            Err(_) => return bad(inflater),
        }
        if out.len() > MOST {
            return Outcome::TooLong;
        }
    }
    loop {
        let most = random.up_to(MOST + 1 - out.len());
        let before = out.len();
        match inflater.finish_step(&mut out, most) {
            Ok(finish) => {
                check(&out, before, finish.produced, most);
                if finish.done {
                    return Outcome::Whole(out);
                }
            }
            Err(_) => return bad(inflater),
        }
        if out.len() > MOST {
            return Outcome::TooLong;
        }
    }
}

fn bad(inflater: &mut Inflater) -> Outcome {
    let mut none = Vec::new();
    assert!(inflater.step(&[0], &mut none, 1).is_err(), "the first error is final");
    assert!(inflater.finish_step(&mut none, 1).is_err() && none.is_empty());
    Outcome::Bad
}

/// What RFC 7692 section 7.2.2 says, slowly.
struct Reference {
    takeover: bool,
    history: Vec<u8>,
}

impl Reference {
    fn message(&mut self, message: &[u8]) -> Outcome {
        let start = self.history.len();
        let mut out = std::mem::take(&mut self.history);
        // The output stands behind the history, so a distance that leaves it is seen.
        out.resize(start + MOST + 1 + 8, 0);
        let mut decoder = Box::<DecompressorOxide>::default();
        let mut place = start;
        let mut fresh = true;
        let mut rest = message;
        let flags = inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
        let more = flags | inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
        while !rest.is_empty() {
            let (status, read, wrote) = decompress(&mut decoder, rest, &mut out, place, more);
            rest = &rest[read..];
            place += wrote;
            fresh = false;
            if place - start > MOST {
                return Outcome::TooLong;
            }
            match status {
                TINFLStatus::Done => {
                    decoder.init();
                    fresh = true;
                }
                TINFLStatus::NeedsMoreInput => {}
                TINFLStatus::HasMoreOutput => return Outcome::TooLong,
                _ => return Outcome::Bad,
            }
        }
        if !fresh {
            // The bytes that the sender took away, and a last empty block: only behind a whole
            // message do they end the stream and add nothing.
            let tail = [0x00, 0x00, 0xff, 0xff, 0x01, 0x00, 0x00, 0xff, 0xff];
            let (status, read, wrote) = decompress(&mut decoder, &tail, &mut out, place, flags);
            if (status, read, wrote) != (TINFLStatus::Done, tail.len(), 0) {
                return Outcome::Cut;
            }
        }
        let message = out[start..place].to_vec();
        if self.takeover {
            out.truncate(place);
            self.history = out.split_off(place.saturating_sub(WINDOW));
        }
        Outcome::Whole(message)
    }
}
