//! Marks: which messages have begun to leave.

use super::*;
use crate::Compress;

/// Takes `n` bytes off the front, as a transport would.
fn advance(end: &mut Connection, n: usize) {
    let mut slices = [IoSlice::new(&[]); 8];
    end.poll_transmit(&mut slices, at(0));
    end.handle_transmitted(n, at(0));
}

#[test]
fn a_marked_message_is_reached_with_its_first_byte() {
    for compress in [Compress::Never, Compress::Always] {
        let mut end = client_with(quiet());
        for n in 0..3 {
            assert_eq!(end.send_marked(Message::text("Hello"), compress).unwrap(), n);
        }
        // A frame of five bytes has a header of six at a client's end.
        for taken in 0..33 {
            assert_eq!(end.marks_reached(), (taken as u64).div_ceil(11), "{taken} bytes");
            advance(&mut end, 1);
        }
        assert_eq!((end.marks_reached(), end.has_output()), (3, false));
    }
}

#[test]
fn what_stands_between_marked_messages_begins_none_of_them() {
    let mut end = client_with(quiet());
    end.send_marked(Message::text("Hello"), Compress::Auto).unwrap();
    advance(&mut end, 11);
    end.ping("1").unwrap();
    end.send_marked(Message::text("Hello"), Compress::Auto).unwrap();
    advance(&mut end, 7);
    assert_eq!(end.marks_reached(), 1, "the Ping alone has left");
    advance(&mut end, 1);
    assert_eq!(end.marks_reached(), 2);
}

#[test]
fn a_long_marked_message_is_reached_once_and_flush_marks_count_with_it() {
    let config = Config { fragment_size: 10, ..quiet() };
    let mut end = server_with(config);
    end.send_marked(Message::binary(vec![1; 25]), Compress::Auto).unwrap();
    let flush = end.mark();
    end.send_marked(Message::binary(""), Compress::Auto).unwrap();
    assert_eq!(flush, 1);
    for (taken, reached) in [(0, 0), (1, 1), (12, 1), (17, 1), (1, 2), (1, 3), (1, 3)] {
        advance(&mut end, taken);
        assert_eq!(end.marks_reached(), reached);
    }
    assert!(!end.has_output());
}

#[test]
fn marks_of_what_is_given_up_are_passed_and_not_reached() {
    for ending in 0..3 {
        let mut end = client_with(quiet());
        for _ in 0..4 {
            end.send_marked(Message::text("Hello"), Compress::Auto).unwrap();
        }
        advance(&mut end, 12);
        match ending {
            0 => end.handle_lost(at(0)),
            1 => end.handle_output_lost(at(0)),
            _ => {
                end.send_marked(Message::binary(vec![1; 100_000]), Compress::Auto).unwrap();
                end.handle_output_lost(at(0));
                end.handle_lost(at(0));
            }
        }
        assert_eq!(end.marks_reached(), 2, "ending {ending}");
        assert!(end.marks_passed() >= 4);
    }
}

/// Where the frames that begin a data message lie in a stream, whose last frame may be cut. None is
/// longer than 64 KiB.
fn beginnings(bytes: &[u8]) -> Vec<usize> {
    let (mut at, mut found) = (0, Vec::new());
    while let Some(&first) = bytes.get(at) {
        if matches!(first & 0x0F, TEXT | BINARY) {
            found.push(at);
        }
        let rest = [1, 2, 3].map(|n| bytes.get(at + n).copied().unwrap_or_default());
        let (len, extended) = match rest[0] & 0x7F {
            126 => (usize::from(u16::from_be_bytes([rest[1], rest[2]])), 2),
            short => (usize::from(short), 0),
        };
        at += 2 + extended + if rest[0] & 0x80 == 0 { 0 } else { 4 } + len;
    }
    found
}

#[test]
fn however_it_leaves_and_ends_the_messages_that_have_begun_are_known() {
    for seed in 0..400 {
        let mut random = Random(seed);
        let config = Config { fragment_size: 1 + random.below(300) as usize, ..quiet() };
        let mut end = match random.below(3) {
            0 => server_with(config),
            1 => client_with(config),
            _ => deflating(client_role(), config, params(random.below(2) == 0, 15)),
        };
        let (mut out, mut marks) = (Vec::new(), Vec::new());
        // What was begun when so many bytes were taken.
        let mut claims = Vec::new();
        for _ in 0..60 {
            match random.below(7) {
                0..=2 => {
                    let len = random.below(400) as usize;
                    let compress = [Compress::Always, Compress::Never][random.below(2) as usize];
                    let data = if random.below(2) == 0 { noise(len, seed) } else { vec![7; len] };
                    marks.push(end.send_marked(Message::binary(data), compress).unwrap());
                }
                3 => end.ping("ping").unwrap(),
                4 => {
                    let ping = frame(&end, PING, b"theirs");
                    feed(&mut end, &ping, at(0)).unwrap();
                }
                5 => drop(end.mark()),
                _ => {}
            }
            out.extend(take(&mut end, random.below(200) as usize, at(0)));
            claims.push((out.len(), end.marks_reached()));
        }
        match random.below(3) {
            0 => end.handle_lost(at(0)),
            1 => end.handle_output_lost(at(0)),
            _ => drop(end.shed(at(0))),
        }
        out.extend(drain(&mut end, at(0)));
        claims.push((out.len(), end.marks_reached()));
        let places = beginnings(&out);
        for (taken, reached) in claims {
            let claimed = marks.iter().filter(|mark| **mark < reached).count();
            let begun = places.iter().filter(|place| **place < taken).count();
            assert_eq!(claimed, begun, "{taken} bytes, seed {seed}");
        }
    }
}
