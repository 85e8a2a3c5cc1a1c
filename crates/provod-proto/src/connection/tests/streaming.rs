//! Messages given out piece by piece, and the wire trace.

use super::*;
use crate::{Compress, MessageKind, OpCode, UsageError};
use bytes::Bytes;

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
fn streaming_begins_at_once_and_ends_between_messages() {
    let mut s = server();
    let a = raw(&s, RawFrame::new(TEXT, "a").fin(false));
    let b = frame(&s, 0, b"b");
    assert!(feed(&mut s, &a, at(0)).unwrap().is_empty());
    s.stream_messages(true);
    assert_eq!(chunks(feed(&mut s, b"", at(0)).unwrap()), [(true, false, b"a".to_vec())]);
    assert_eq!(chunks(feed(&mut s, &b, at(0)).unwrap()), [(false, true, b"b".to_vec())]);
    assert_eq!(chunks(feed(&mut s, &a, at(0)).unwrap()), [(true, false, b"a".to_vec())]);
    s.stream_messages(false);
    assert_eq!(chunks(feed(&mut s, &b, at(0)).unwrap()), [(false, true, b"b".to_vec())]);
    let whole = frame(&s, TEXT, b"c");
    assert_eq!(messages(feed(&mut s, &whole, at(0)).unwrap()), [Message::text("c")]);
}

#[test]
fn what_was_held_when_streaming_began_comes_first() {
    for compressed in [false, true] {
        let no_takeover = params(false, 15);
        let mut c = deflating(client_role(), quiet(), no_takeover);
        let compress = if compressed { Compress::Always } else { Compress::Never };
        let text: String = noise(4000, 7).iter().map(|b| char::from(b'a' + b % 26)).collect();
        c.send_with(Message::text(text.clone()), compress).unwrap();
        let bytes = drain(&mut c, at(0));
        for cut in [3, 700, bytes.len() / 2, bytes.len() - 1] {
            let mut s = deflating(Role::Server, quiet(), no_takeover);
            assert!(feed(&mut s, &bytes[..cut], at(0)).unwrap().is_empty());
            s.stream_messages(true);
            let mut got = chunks(feed(&mut s, b"", at(0)).unwrap());
            assert!(got.len() == 1 || cut == 3 || compressed, "nothing more need come for it");
            assert_eq!(s.held_input(), 0);
            got.extend(chunks(feed(&mut s, &bytes[cut..], at(0)).unwrap()));
            let all: Vec<u8> = got.iter().flat_map(|(_, _, piece)| piece.clone()).collect();
            assert_eq!(String::from_utf8(all).unwrap(), text, "cut at {cut}");
            assert!(got.first().unwrap().0 && got.last().unwrap().1);
            assert_eq!(s.held_input(), 0);
        }
    }
}

#[test]
fn a_streamed_text_that_turns_bad_is_refused_at_that_piece() {
    let mut s = server();
    s.begin_message(MessageKind::Text, Compress::Auto).unwrap();
    s.send_chunk("\u{44f}".as_bytes()[..1].to_vec().into(), false).unwrap();
    let bad = s.send_chunk("x".into(), false);
    assert_eq!(bad, Err(UsageError::InvalidUtf8));
    assert_eq!(s.send_chunk(Bytes::new(), true), Err(UsageError::InvalidUtf8), "it is cut");
    s.send_chunk("\u{44f}".as_bytes()[1..].to_vec().into(), true).unwrap();
    let seen = frames(&drain(&mut s, at(0)));
    let sent: Vec<u8> = seen.into_iter().flat_map(|f| f.payload).collect();
    assert_eq!(sent, "\u{44f}".as_bytes());
}

#[test]
fn a_flush_gives_the_peer_all_that_was_written() {
    let mut s = deflating(Role::Server, quiet(), params(true, 15));
    let mut c = deflating(client_role(), quiet(), params(true, 15));
    c.stream_messages(true);
    s.begin_message(MessageKind::Text, Compress::Auto).unwrap();
    s.send_chunk("so far".into(), false).unwrap();
    assert!(drain(&mut s, at(0)).is_empty(), "the compressor keeps it");
    for flushes in [1, 2] {
        for _ in 0..flushes {
            s.flush_message().unwrap();
        }
    }
    let bytes = drain(&mut s, at(0));
    assert_eq!(chunks(feed(&mut c, &bytes, at(0)).unwrap()), [(true, false, b"so far".into())]);
    s.send_chunk(", so good".into(), true).unwrap();
    let bytes = drain(&mut s, at(0));
    let rest = chunks(feed(&mut c, &bytes, at(0)).unwrap());
    assert_eq!(rest.iter().flat_map(|c| c.2.clone()).collect::<Vec<_>>(), b", so good");
    assert!(rest.last().unwrap().1);
    assert_eq!(s.flush_message(), Err(UsageError::NoMessageInProgress));
}

#[test]
fn rfc7692_7_2_3_6_a_message_may_end_with_nothing_behind_a_flush() {
    for takeover in [false, true] {
        let mut s = deflating(Role::Server, quiet(), params(takeover, 15));
        let mut c = deflating(client_role(), quiet(), params(takeover, 15));
        for word in ["one", "two"] {
            s.begin_message(MessageKind::Text, Compress::Auto).unwrap();
            s.send_chunk(word.into(), false).unwrap();
            s.flush_message().unwrap();
            let mut bytes = drain(&mut s, at(0));
            s.send_chunk(Bytes::new(), true).unwrap();
            bytes.extend(drain(&mut s, at(0)));
            assert_eq!(messages(feed(&mut c, &bytes, at(0)).unwrap()), [Message::text(word)]);
        }
    }
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
