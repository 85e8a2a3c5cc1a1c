//! The byte strings of RFC 7692 section 7.2.3, and what they do not reach.

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use super::*;
use crate::ProtocolError;

const HELLO: [u8; 7] = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
const HELLO_FROM_WINDOW: [u8; 5] = [0xf2, 0x00, 0x11, 0x00, 0x00];
const HELLO_FINAL: [u8; 8] = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];

fn level(n: u8) -> Level {
    Level::new(n).unwrap()
}

/// One message, given in `fragments` and taken in steps of `max_out`.
fn inflate(
    inflater: &mut Inflater,
    fragments: &[&[u8]],
    max_out: usize,
) -> Result<Vec<u8>, ProtocolError> {
    let mut out = Vec::new();
    for fragment in fragments {
        let mut rest = *fragment;
        while !rest.is_empty() {
            let before = out.len();
            let step = inflater.step(rest, &mut out, max_out)?;
            assert_eq!(out.len() - before, step.produced);
            assert!(step.produced <= max_out);
            assert!(step.consumed + step.produced > 0 || step.more, "a step without progress");
            rest = &rest[step.consumed..];
        }
    }
    loop {
        let before = out.len();
        let finish = inflater.finish_step(&mut out, max_out)?;
        assert_eq!(out.len() - before, finish.produced);
        assert!(finish.produced <= max_out);
        if finish.done {
            return Ok(out);
        }
        assert!(finish.produced > 0, "a step without progress");
    }
}

fn inflate_once(payload: &[u8]) -> Result<Vec<u8>, ProtocolError> {
    inflate(&mut Inflater::new(15, false, Pool::new(1)), &[payload], 1 << 16)
}

fn deflate(compressor: &mut Compressor, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    compressor.compress(message, true, &mut out);
    out
}

/// An independent decoder whose window is `2^window_bits` bytes and not one more.
fn reference(messages: &[Vec<u8>], window_bits: u8) -> Vec<u8> {
    let mut wire = Vec::new();
    for message in messages {
        wire.extend_from_slice(message);
        wire.extend_from_slice(&[0x00, 0x00, 0xff, 0xff]);
    }
    let mut ring = vec![0; 1 << window_bits];
    let mut decoder = DecompressorOxide::new();
    let (mut out, mut at, mut rest) = (Vec::new(), 0, &wire[..]);
    loop {
        let (status, consumed, produced) =
            decompress(&mut decoder, rest, &mut ring, at, TINFL_FLAG_HAS_MORE_INPUT);
        out.extend_from_slice(&ring[at..at + produced]);
        at = (at + produced) % ring.len();
        rest = &rest[consumed..];
        match status {
            TINFLStatus::HasMoreOutput => {}
            TINFLStatus::NeedsMoreInput if rest.is_empty() => return out,
            other => panic!("the reference stopped with {other:?}"),
        }
    }
}

fn random(len: usize, seed: u64) -> Vec<u8> {
    let mut x = seed.wrapping_mul(2).wrapping_add(1);
    std::iter::repeat_with(|| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 32) as u8
    })
    .take(len)
    .collect()
}

/// Words in random order: matches at all distances, so that a window that is too large shows.
fn text(len: usize, seed: u64) -> Vec<u8> {
    let words = random(16 * 256, 99);
    let mut out: Vec<u8> = Vec::with_capacity(len + 16);
    for byte in random(len / 8 + 2, seed) {
        let start = usize::from(byte) * 16;
        out.extend_from_slice(&words[start..start + 3 + usize::from(byte % 13)]);
    }
    while out.len() < len {
        out.push(b' ');
    }
    out.truncate(len);
    out
}

#[test]
fn section_7_2_3_1_one_block() {
    assert_eq!(inflate_once(&HELLO).unwrap(), b"Hello");
    for n in 1..=9 {
        assert_eq!(compress_once(b"Hello", 15, level(n), &Pool::new(1)), HELLO, "level {n}");
    }
    let fragments: [&[u8]; 2] = [&HELLO[..3], &HELLO[3..]];
    let mut inflater = Inflater::new(15, false, Pool::new(1));
    assert_eq!(inflate(&mut inflater, &fragments, 100).unwrap(), b"Hello");
}

#[test]
fn section_7_2_3_2_sharing_the_window() {
    let mut inflater = Inflater::new(15, true, Pool::new(1));
    assert_eq!(inflate(&mut inflater, &[&HELLO], 100).unwrap(), b"Hello");
    assert_eq!(inflate(&mut inflater, &[&HELLO_FROM_WINDOW], 100).unwrap(), b"Hello");

    let mut compressor = Compressor::new(15, true, level(6), Pool::new(1));
    assert_eq!(deflate(&mut compressor, b"Hello"), HELLO);
    assert_eq!(deflate(&mut compressor, b"Hello"), HELLO_FROM_WINDOW);
}

#[test]
fn a_reference_to_an_earlier_message_fails_without_takeover() {
    let mut inflater = Inflater::new(15, false, Pool::new(1));
    assert_eq!(inflate(&mut inflater, &[&HELLO], 100).unwrap(), b"Hello");
    let result = inflate(&mut inflater, &[&HELLO_FROM_WINDOW], 100);
    assert_eq!(result, Err(ProtocolError::InvalidDeflate));
}

#[test]
fn section_7_2_3_3_stored_block() {
    let stored = [0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];
    assert_eq!(inflate_once(&stored).unwrap(), b"Hello");
}

#[test]
fn section_7_2_3_4_bfinal() {
    assert_eq!(inflate_once(&HELLO_FINAL).unwrap(), b"Hello");
}

#[test]
fn bfinal_keeps_the_window_for_later_messages() {
    let mut inflater = Inflater::new(15, true, Pool::new(1));
    for _ in 0..3 {
        assert_eq!(inflate(&mut inflater, &[&HELLO_FINAL], 100).unwrap(), b"Hello");
        assert_eq!(inflate(&mut inflater, &[&HELLO_FROM_WINDOW], 100).unwrap(), b"Hello");
    }
}

#[test]
fn bfinal_keeps_a_window_that_went_around_the_ring() {
    let pool = Pool::new(1);
    for len in [32_767, 32_768, 32_769, 70_000] {
        let first = random(len, 3);
        let mut compressor = Compressor::new(15, true, level(6), pool.clone());
        let mut inflater = Inflater::new(15, true, pool.clone());
        let payload = deflate(&mut compressor, &first);
        assert_eq!(inflate(&mut inflater, &[&payload], 9_999).unwrap(), first);
        // An empty final block, then the header of the stored block that the tail ends.
        assert_eq!(inflate(&mut inflater, &[&[0x03, 0x00, 0x00]], 100).unwrap(), b"");
        // zlib refers back at most 32 KiB - 262 bytes.
        let second = &first[len - 32_000..];
        let payload = deflate(&mut compressor, second);
        assert!(payload.len() < 1000, "it was to refer to the first message");
        assert_eq!(inflate(&mut inflater, &[&payload], 9_999).unwrap(), second, "{len}");
    }
}

#[test]
fn messages_refer_near_and_far_at_any_place() {
    let pool = Pool::new(1);
    let past = random(40_000, 21);
    let near = &past[39_000..];
    let far = &past[16_000..20_000];
    let news = random(5_000, 22);
    let kinds: [&[&[u8]]; 5] = [&[near], &[far], &[near, far], &[&news, far], &[far, &news, near]];
    for parts in kinds {
        for max_out in [1, 900, 4_000, 1 << 16] {
            let mut compressor = Compressor::new(15, true, level(3), pool.clone());
            let mut inflater = Inflater::new(15, true, pool.clone());
            let payload = deflate(&mut compressor, &past);
            assert!(inflate(&mut inflater, &[&payload], 1 << 16).unwrap() == past);
            let message = parts.concat();
            let mut payload = Vec::new();
            // In pieces, so that it looks back all the way.
            compressor.compress(&message, false, &mut payload);
            compressor.compress(b"", true, &mut payload);
            assert!(payload.len() < 2_000 + 5_000 * usize::from(parts.contains(&&news[..])));
            let (first, rest) = payload.split_at(payload.len() / 2);
            let fragments = [first, rest, &[]];
            assert!(inflate(&mut inflater, &fragments, max_out).unwrap() == message, "{max_out}");
        }
    }
}

#[test]
fn bfinal_in_mid_message_goes_on() {
    let mut payload = HELLO_FINAL[..7].to_vec();
    payload.extend_from_slice(&HELLO_FINAL[..7]);
    // Five bytes from ten bytes ago and from five: the window spans both streams.
    payload.extend_from_slice(&HELLO_FROM_WINDOW);
    for takeover in [false, true] {
        for max_out in [1, 2, 5, 100] {
            let mut inflater = Inflater::new(15, takeover, Pool::new(1));
            for _ in 0..2 {
                let whole = inflate(&mut inflater, &[&payload], max_out).unwrap();
                assert_eq!(whole, b"HelloHelloHello");
                let bytes: Vec<&[u8]> = payload.chunks(1).collect();
                let bytewise = inflate(&mut inflater, &bytes, max_out).unwrap();
                assert_eq!(bytewise, b"HelloHelloHello");
            }
        }
    }
}

#[test]
fn bfinal_without_the_header_of_an_empty_block_is_accepted() {
    let mut inflater = Inflater::new(15, true, Pool::new(1));
    assert_eq!(inflate(&mut inflater, &[&HELLO_FINAL[..7]], 1).unwrap(), b"Hello");
    assert_eq!(inflate(&mut inflater, &[&HELLO_FROM_WINDOW], 1).unwrap(), b"Hello");
}

#[test]
fn section_7_2_3_5_two_blocks() {
    let two = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
    assert_eq!(inflate_once(&two).unwrap(), b"Hello");
}

#[test]
fn section_7_2_3_6_empty_message() {
    for takeover in [false, true] {
        let mut compressor = Compressor::new(15, takeover, level(6), Pool::new(1));
        let mut inflater = Inflater::new(15, takeover, Pool::new(1));
        for message in [&b""[..], b"Hello", b"", b"", b"Hello", b""] {
            let payload = deflate(&mut compressor, message);
            if message.is_empty() {
                assert_eq!(payload, [0x00]);
            }
            assert_eq!(inflate(&mut inflater, &[&payload], 100).unwrap(), message);
        }
        // What other compressors make of an empty message, and a message with no payload at all.
        assert_eq!(inflate(&mut inflater, &[&[0x02, 0x00]], 100).unwrap(), b"");
        assert_eq!(inflate(&mut inflater, &[], 100).unwrap(), b"");
    }
}

#[test]
fn empty_first_middle_and_last_fragments() {
    for takeover in [false, true] {
        let mut inflater = Inflater::new(15, takeover, Pool::new(1));
        let fragments: [&[u8]; 5] = [&[], &HELLO[..4], &[], &HELLO[4..], &[]];
        assert_eq!(inflate(&mut inflater, &fragments, 100).unwrap(), b"Hello");

        let mut compressor = Compressor::new(15, takeover, level(6), Pool::new(1));
        let mut out = Vec::new();
        for piece in [&b""[..], b"He", b"", b"llo", b""] {
            compressor.compress(piece, false, &mut out);
        }
        compressor.compress(b"", true, &mut out);
        assert_eq!(out, HELLO);

        let mut out = Vec::new();
        compressor.compress(b"", false, &mut out);
        compressor.compress(b"", true, &mut out);
        assert_eq!(out, [0x00]);
    }
}

#[test]
fn every_window_and_level_is_read_by_a_decoder_with_that_window() {
    let pool = Pool::new(4);
    let messages = [
        text(3_000, 1),
        text(0, 2),
        text(4_096, 6),
        text(4_097, 7),
        random(600, 8),
        text(2, 9),
        text(70_000, 3),
        random(5_000, 4),
        text(900, 5),
    ];
    for window_bits in 9..=15 {
        for n in [1, 3, 5, 6, 9] {
            for takeover in [false, true] {
                let case = format!("window bits {window_bits}, level {n}, takeover {takeover}");
                let mut compressor = Compressor::new(window_bits, takeover, level(n), pool.clone());
                let mut inflater = Inflater::new(15, takeover, pool.clone());
                let mut wire = Vec::new();
                for message in &messages {
                    let payload = deflate(&mut compressor, message);
                    let back = inflate(&mut inflater, &[&payload], 10_000).unwrap();
                    assert!(back == *message, "{case}");
                    wire.push(payload);
                }
                assert!(reference(&wire, window_bits) == messages.concat(), "{case}");
            }
        }
    }
}

#[test]
fn incompressible_data_is_whole_at_every_size() {
    let pool = Pool::new(2);
    let edges = [16_320, 16_384, 16_448, 32_768, 65_535, 65_536, 131_072];
    let sizes = (0..200).chain(edges.iter().flat_map(|&e| e - 12..e + 12));
    for n in [1, 3, 6] {
        let mut keeping = Compressor::new(15, true, level(n), pool.clone());
        let mut inflater = Inflater::new(15, true, pool.clone());
        for size in sizes.clone() {
            let message = random(size, size as u64);
            let payload = deflate(&mut keeping, &message);
            let back = inflate(&mut inflater, &[&payload], 1 << 20).unwrap();
            assert!(back == message, "level {n}, {size} bytes");
        }
    }
}

#[test]
fn output_that_ends_at_any_capacity_is_whole() {
    let message = random(3_000, 7);
    let expected = compress_once(&message, 15, level(6), &Pool::new(1));
    for spare in expected.len() - 20..expected.len() + 80 {
        let mut compressor = Compressor::new(15, false, level(6), Pool::new(1));
        let mut out = Vec::with_capacity(spare);
        // Pieces, so that the room is not reserved for the whole at once.
        for piece in message.chunks(50) {
            compressor.compress(piece, false, &mut out);
        }
        compressor.compress(b"", true, &mut out);
        assert!(inflate_once(&out).unwrap() == message, "capacity {spare}");
    }
}

#[test]
fn pieces_and_fragments_may_be_cut_anywhere() {
    let message = text(2_000, 11);
    let pool = Pool::new(2);
    for piece in [1, 2, 7, 100, 1_999] {
        let mut compressor = Compressor::new(15, true, level(6), pool.clone());
        let mut inflater = Inflater::new(15, true, pool.clone());
        for _ in 0..2 {
            let mut payload = Vec::new();
            let mut pieces = message.chunks(piece).peekable();
            while let Some(bytes) = pieces.next() {
                compressor.compress(bytes, pieces.peek().is_none(), &mut payload);
            }
            let fragments: Vec<&[u8]> = payload.chunks(piece).collect();
            assert!(inflate(&mut inflater, &fragments, 1).unwrap() == message, "{piece}");
        }
    }
}

#[test]
fn output_is_the_same_for_every_step_size() {
    let message = text(100_000, 12);
    let payload = compress_once(&message, 15, level(6), &Pool::new(1));
    for max_out in [1, 2, 3, 257, 258, 259, 4_096, 32_767, 32_768, 32_769, 99_999, 100_000] {
        for takeover in [false, true] {
            let mut inflater = Inflater::new(15, takeover, Pool::new(1));
            assert!(inflate(&mut inflater, &[&payload], max_out).unwrap() == message, "{max_out}");
        }
    }
}

#[test]
fn a_bomb_stops_at_max_out() {
    // 1024 times the blocks of 1 MiB: they refer to nothing before them.
    let mut blocks = compress_once(&vec![0; 1 << 20], 15, level(9), &Pool::new(1));
    blocks.extend_from_slice(&[0x00, 0x00, 0xff, 0xff]);
    let bomb = blocks.repeat(1024);
    assert!(bomb.len() < 2 << 20);

    let mut inflater = Inflater::new(15, false, Pool::new(1));
    let mut out = Vec::new();
    let step = inflater.step(&bomb, &mut out, 10_000).unwrap();
    assert_eq!((step.produced, step.more), (10_000, true));
    assert!(step.consumed < 1_000);
    assert!(out.capacity() <= 20_000);
    let nothing = inflater.step(&bomb[step.consumed..], &mut out, 0).unwrap();
    assert_eq!(nothing, Step { consumed: 0, produced: 0, more: true });
}

#[test]
fn endless_empty_blocks_end_each_step() {
    for block in [&[0x03, 0x00][..], &[0x00, 0x00, 0x00, 0xff, 0xff]] {
        let input = block.repeat(200_000);
        let mut inflater = Inflater::new(15, true, Pool::new(1));
        let mut out = Vec::new();
        let step = inflater.step(&input, &mut out, 1_000).unwrap();
        assert_eq!(step.produced, 0);
        assert!(step.consumed > 0 && step.consumed <= 1 << 16);
        let mut inflater = Inflater::new(15, true, Pool::new(1));
        let input = &block.repeat(3_000);
        assert_eq!(inflate(&mut inflater, &[input, &[0x00]], 1_000).unwrap(), b"");
    }
}

#[test]
fn a_message_that_was_cut_off_fails() {
    // Fixed codes, dynamic codes and stored blocks.
    for message in [b"Hello, hello, hello".to_vec(), text(3_000, 13), random(300, 14)] {
        let payload = compress_once(&message, 15, level(6), &Pool::new(1));
        // The first byte of a stored block alone is a message: the empty one.
        let first = if payload[0] == 0x00 { 2 } else { 1 };
        for cut in first..payload.len() {
            for takeover in [false, true] {
                let mut inflater = Inflater::new(15, takeover, Pool::new(1));
                let result = inflate(&mut inflater, &[&payload[..cut]], 1 << 16);
                assert_eq!(result, Err(ProtocolError::InvalidDeflate), "cut at {cut}");
            }
        }
    }
}

#[test]
fn a_tail_that_was_not_removed_fails() {
    let mut payload = HELLO.to_vec();
    payload.extend_from_slice(&[0x00, 0x00, 0xff, 0xff]);
    assert_eq!(inflate_once(&payload), Err(ProtocolError::InvalidDeflate));
}

#[test]
fn errors_are_final_and_keep_the_stream_from_the_pool() {
    let pool = Pool::new(4);
    for takeover in [false, true] {
        let mut inflater = Inflater::new(15, takeover, pool.clone());
        let mut out = Vec::new();
        // BTYPE 11 is reserved (RFC 1951 section 3.2.3).
        let error = Err(ProtocolError::InvalidDeflate);
        assert_eq!(inflater.step(&[0x06], &mut out, 100), error);
        assert_eq!(inflater.step(&HELLO, &mut out, 100), error);
        assert_eq!(inflater.finish_step(&mut out, 100).map(|_| ()), error.map(|_| ()));
        assert_eq!(out, b"");
    }
    assert_eq!(pool.idle(), (0, 0));
}

#[test]
fn a_connection_dropped_in_mid_message_gives_nothing_back() {
    let pool = Pool::new(4);
    for takeover in [false, true] {
        let mut compressor = Compressor::new(15, takeover, level(1), pool.clone());
        compressor.compress(b"Hel", false, &mut Vec::new());
        let mut inflater = Inflater::new(15, takeover, pool.clone());
        inflater.step(&HELLO[..4], &mut Vec::new(), 100).unwrap();
    }
    assert_eq!(pool.idle(), (0, 0));
}

#[test]
fn states_are_owned_only_while_needed_and_never_above_the_bound() {
    let pool = Pool::new(2);
    let mut connections: Vec<_> = (0..3)
        .map(|_| {
            let compressor = Compressor::new(15, false, level(1), pool.clone());
            (compressor, Inflater::new(15, false, pool.clone()))
        })
        .collect();
    for (compressor, inflater) in &mut connections {
        compressor.compress(b"Hello", false, &mut Vec::new());
        inflater.step(&HELLO, &mut Vec::new(), 100).unwrap();
    }
    assert_eq!(pool.idle(), (0, 0), "six are in use");
    for (compressor, inflater) in &mut connections {
        compressor.compress(b"", true, &mut Vec::new());
        assert!(inflater.finish_step(&mut Vec::new(), 100).unwrap().done);
    }
    assert_eq!(pool.idle(), (2, 2));

    let mut keeping = Compressor::new(15, true, level(1), pool.clone());
    deflate(&mut keeping, b"Hello");
    assert_eq!(pool.idle(), (2, 2), "with takeover only the window is kept between messages");
}

#[test]
fn a_pooled_state_works_like_a_new_one() {
    let pool = Pool::new(2);
    let kinds = [(15, 6), (9, 1), (12, 9), (15, 1)];
    for round in 0..30 {
        for (window_bits, n) in kinds {
            let message = text(500 * (round % 7) + round, round as u64);
            let pooled = compress_once(&message, window_bits, level(n), &pool);
            assert!(pooled == compress_once(&message, window_bits, level(n), &Pool::new(0)));
            let mut inflater = Inflater::new(15, false, pool.clone());
            assert!(inflate(&mut inflater, &[&pooled], 100).unwrap() == message);
        }
    }
    assert_eq!(pool.idle(), (2, 1));
}

#[test]
fn a_prepared_message_goes_between_messages_with_takeover() {
    let pool = Pool::new(2);
    let mut compressor = Compressor::new(15, true, level(6), pool.clone());
    let mut inflater = Inflater::new(15, true, pool.clone());
    let prepared = compress_once(b"to all: Hello", 15, level(6), &pool);
    for _ in 0..3 {
        let own = deflate(&mut compressor, b"Hello, and once more Hello");
        let back = inflate(&mut inflater, &[&own], 100).unwrap();
        assert_eq!(back, b"Hello, and once more Hello");
        compressor.reset();
        assert_eq!(inflate(&mut inflater, &[&prepared], 100).unwrap(), b"to all: Hello");
    }
}

#[test]
fn a_poisoned_pool_goes_on() {
    let pool = Pool::new(2);
    deflate(&mut Compressor::new(15, false, level(1), pool.clone()), b"Hello");
    pool.poison();
    assert_eq!(compress_once(b"Hello", 15, level(1), &pool), HELLO);
    assert_eq!(pool.idle(), (1, 0));
}

#[test]
fn levels_are_1_to_9() {
    assert_eq!((Level::new(0), Level::new(10)), (None, None));
    assert_eq!((1..=9).filter_map(Level::new).map(Level::get).sum::<u8>(), 45);
}
