//! Many messages in one call are what they are one by one.

use super::*;
use crate::Whole;

/// Everything that came of some input: messages and control frames in their order, then the error.
#[derive(Debug, Default, PartialEq)]
struct Seen(Vec<Event>, Option<Error>);

fn one_by_one(mut connection: Connection, wire: &[u8], piece: usize) -> Seen {
    let mut seen = Seen::default();
    for part in wire.chunks(piece) {
        let mut input = part.to_vec();
        let mut from = 0;
        loop {
            match connection.handle_input(&mut input[from..], at(0)) {
                Ok(progress) => {
                    seen.0.extend(progress.event.map(|event| own(event, &input[from..])));
                    from += progress.consumed;
                    if from == input.len() && !progress.again {
                        break;
                    }
                }
                Err(error) => return Seen(seen.0, Some(error)),
            }
        }
    }
    seen
}

fn together(mut connection: Connection, wire: &[u8], piece: usize, most: usize) -> Seen {
    let mut seen = Seen::default();
    let mut found: Vec<Whole> = Vec::new();
    for part in wire.chunks(piece) {
        let mut input = part.to_vec();
        let mut from = 0;
        loop {
            let taken = connection.handle_messages(&mut input[from..], at(0), most, &mut found);
            assert!(found.len() <= most);
            for whole in found.drain(..) {
                let payload = Payload::Located(whole.range());
                let event = Event::Message { kind: whole.kind, payload };
                seen.0.push(own(event, &input[from..]));
            }
            let progress = taken.and_then(|taken| {
                from += taken;
                connection.handle_input(&mut input[from..], at(0))
            });
            match progress {
                Ok(progress) => {
                    seen.0.extend(progress.event.map(|event| own(event, &input[from..])));
                    from += progress.consumed;
                    if from == input.len() && !progress.again {
                        break;
                    }
                }
                Err(error) => return Seen(seen.0, Some(error)),
            }
        }
    }
    seen
}

fn some_frame(random: &mut Random) -> Vec<RawFrame> {
    let long = random.below(20) == 0;
    let len = if long { [65_535, 65_536] } else { [[0, 5], [125, 126]][random.below(2) as usize] };
    let len = len[random.below(2) as usize];
    let payload = vec![b'a' + random.below(26) as u8; len];
    match random.below(12) {
        0 => vec![RawFrame::new(PING, b"p".to_vec())],
        1 => vec![RawFrame::new(TEXT, payload.clone()).fin(false), RawFrame::new(0, payload)],
        2 => vec![RawFrame::new(TEXT, "п".repeat(len / 2).into_bytes())],
        3..=6 => vec![RawFrame::new(TEXT, payload)],
        _ => vec![RawFrame::new(BINARY, payload)],
    }
}

/// Something that ends the conversation.
fn last_frame(random: &mut Random) -> RawFrame {
    match random.below(6) {
        0 => RawFrame::new(TEXT, b"a\xff".to_vec()),
        1 => RawFrame::new(3, b"x".to_vec()),
        2 => RawFrame::new(0, b"x".to_vec()),
        3 => RawFrame::new(BINARY, vec![0; 200_000]),
        4 => RawFrame::new(CLOSE, 1000u16.to_be_bytes().to_vec()),
        _ => RawFrame::new(BINARY, b"x".to_vec()).rsv1(true),
    }
}

#[test]
fn many_messages_in_one_call_are_what_they_are_one_by_one() {
    let mut config = quiet();
    config.limits.max_message = 150_000;
    for seed in 0..40 {
        let mut random = Random(seed);
        let as_server = random.below(2) == 0;
        let end =
            || if as_server { server_with(config.clone()) } else { client_with(config.clone()) };
        let to = end();
        let mut frames: Vec<RawFrame> =
            (0..random.below(20)).flat_map(|_| some_frame(&mut random)).collect();
        frames.push(last_frame(&mut random));
        let wire: Vec<u8> = frames.into_iter().flat_map(|frame| raw(&to, frame)).collect();
        for piece in [wire.len(), 1000, 7] {
            let expected = one_by_one(end(), &wire, piece.max(1));
            for most in [1, 1000] {
                let seen = together(end(), &wire, piece.max(1), most);
                assert_eq!(seen, expected, "seed {seed}, pieces of {piece}, at most {most}");
            }
        }
    }
}
