//! Messages given out piece by piece, and the wire trace.

use super::*;
use crate::{MessageKind, OpCode};

/// First, last, and the bytes of each chunk.
fn chunks(events: Vec<Event>) -> Vec<(bool, bool, Vec<u8>)> {
    let chunk = |e| match e {
        Event::Chunk { kind, first, last, payload: Payload::Owned(bytes) } => {
            assert_eq!(kind, MessageKind::Text);
            Some((first, last, bytes.to_vec()))
        }
        _ => None,
    };
    events.into_iter().filter_map(chunk).collect()
}

#[test]
fn chunks_come_out_as_they_arrive() {
    let mut s = server();
    s.stream_messages(true);
    let mut input = raw(&s, RawFrame::new(TEXT, "Hello").fin(false));
    input.extend(raw(&s, RawFrame::new(0, "").fin(false)));
    input.extend(frame(&s, 0, b""));
    let first = feed(&mut s, &input[..8], at(0)).unwrap();
    assert_eq!(chunks(first), [(true, false, b"He".to_vec())]);
    assert_eq!(s.held_input(), 0, "nothing is kept");
    let rest = feed(&mut s, &input[8..], at(0)).unwrap();
    assert_eq!(chunks(rest), [(false, false, b"llo".to_vec()), (false, true, vec![])]);
}

#[test]
fn streaming_begins_and_ends_between_messages() {
    let mut s = server();
    let a = raw(&s, RawFrame::new(TEXT, "a").fin(false));
    let b = frame(&s, 0, b"b");
    assert!(feed(&mut s, &a, at(0)).unwrap().is_empty());
    s.stream_messages(true);
    assert_eq!(messages(feed(&mut s, &b, at(0)).unwrap()), [Message::text("ab")]);
    assert_eq!(chunks(feed(&mut s, &a, at(0)).unwrap()), [(true, false, b"a".to_vec())]);
    s.stream_messages(false);
    assert_eq!(chunks(feed(&mut s, &b, at(0)).unwrap()), [(false, true, b"b".to_vec())]);
    let whole = frame(&s, TEXT, b"c");
    assert_eq!(messages(feed(&mut s, &whole, at(0)).unwrap()), [Message::text("c")]);
}

#[test]
fn an_empty_message_is_one_empty_chunk() {
    let mut s = server();
    s.stream_messages(true);
    let empty = frame(&s, TEXT, b"");
    for pieces in [1, empty.len()] {
        let mut events = Vec::new();
        for piece in empty.chunks(pieces) {
            events.extend(feed(&mut s, piece, at(0)).unwrap());
        }
        assert_eq!(chunks(events), [(true, true, vec![])]);
    }
}

#[test]
fn the_trace_shows_frames_and_no_payload_unless_asked() {
    for most in [0, 3] {
        let mut s = server_with(Config { trace: true, trace_payload: most, ..quiet() });
        let ping = frame(&s, PING, b"hello");
        feed(&mut s, &ping, at(0)).unwrap();
        s.send(Message::text("world")).unwrap();
        drain(&mut s, at(0));
        let seen: Vec<_> = s
            .poll_trace()
            .into_iter()
            .map(|f| (f.sent, f.header.opcode, f.header.len, f.payload))
            .collect();
        let (hel, wor) = (b"hello"[..most].to_vec(), b"world"[..most].to_vec());
        assert_eq!(
            seen,
            [
                (false, OpCode::Ping, 5, hel.clone()),
                (true, OpCode::Pong, 5, hel),
                (true, OpCode::Text, 5, wor),
            ]
        );
        assert!(s.poll_trace().is_empty());
    }
}
