//! Giving way when memory is short, and knowing what has left.

use super::*;
use crate::raw::RawLength;
use crate::{LimitError, Prepared};

/// A connection with 5 KB of an unfinished message.
fn half_a_message() -> Connection {
    let mut s = server();
    let mut head = RawFrame::new(BINARY, vec![7; 5000]);
    head.length = RawLength::Bits64(1 << 20);
    let input = raw(&s, head);
    feed(&mut s, &input, at(0)).unwrap();
    assert!(s.held_input() >= 5000);
    s
}

#[test]
fn giving_way_frees_all_and_says_1013() {
    let mut s = half_a_message();
    s.send(Message::binary(vec![1; 300_000])).unwrap();
    let error = s.shed(at(0));
    assert_eq!(error, LimitError::MemoryBudget.into());
    assert_eq!((s.held_input(), s.held()), (0, 0));
    assert_eq!(s.handle_input(&mut [0x82, 0x80], at(0)).unwrap_err(), error);
    assert!(!s.can_send());
    let sent = short(&drain(&mut s, at(0)));
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].0, &sent[0].1[..2]), (CLOSE, &1013u16.to_be_bytes()[..]));
    let closed = closed(&s);
    assert_eq!(closed.cause, Cause::Failed(error));
    assert_eq!(closed.unsent, 300_002);
}

#[test]
fn what_a_peer_does_not_read_is_given_up_with_the_connection() {
    let mut s = half_a_message();
    s.send(Message::binary(vec![1; 300_000])).unwrap();
    assert_eq!(take(&mut s, 10, at(0)).len(), 10);
    s.shed(at(0));
    assert!(s.is_done());
    assert_eq!((s.held_input(), s.held()), (0, 0));
    // Two frames: what waited is counted without the header that it did not get yet.
    assert!((299_990..300_020).contains(&closed(&s).unsent), "{}", closed(&s).unsent);
}

#[test]
fn the_rest_of_a_small_frame_leaves_before_the_close() {
    let mut s = server();
    s.send(Message::text("Hello")).unwrap();
    let mut sent = take(&mut s, 3, at(0));
    s.shed(at(0));
    sent.extend(drain(&mut s, at(0)));
    let sent = short(&sent);
    assert_eq!(sent[0], (TEXT, b"Hello".to_vec()));
    assert_eq!((sent[1].0, &sent[1].1[..2]), (CLOSE, &1013u16.to_be_bytes()[..]));
}

#[test]
fn giving_way_in_any_state_ends_the_connection() {
    let prepare: [fn(&mut Connection); 4] = [
        |s| s.close(None, at(0)).unwrap(),
        |s| drop(feed(s, b"\x88\x80\0\0\0\0", at(0)).unwrap()),
        |s| assert!(feed(s, b"\x83", at(0)).is_err()),
        |s| assert!(s.handle_eof(at(0)) || s.held() > 0),
    ];
    for prepare in prepare {
        let mut s = server();
        s.send(Message::binary(vec![1; 10_000])).unwrap();
        prepare(&mut s);
        s.shed(at(0));
        assert_eq!(s.held(), 0);
        drain(&mut s, at(0));
        assert!(s.closed().is_some());
        s.handle_eof(at(0));
        assert!(s.is_done());
    }
}

#[test]
fn a_message_that_will_never_be_whole_is_not_kept() {
    let end: [fn(&mut Connection); 3] = [
        |s| assert!(s.handle_eof(at(0)) || s.held() > 0),
        |s| s.handle_lost(at(0)),
        |s| assert!(feed(s, &[0x83; 1 << 20], at(0)).is_err()),
    ];
    for end in end {
        let mut s = half_a_message();
        end(&mut s);
        assert_eq!(s.held_input(), 0);
    }
}

#[test]
fn a_mark_is_passed_when_all_before_it_has_left() {
    let mut s = server();
    assert_eq!(s.mark(), 0);
    assert_eq!(s.marks_passed(), 1, "nothing is before it");
    s.send(Message::text("a")).unwrap();
    let first = s.mark();
    s.send(Message::binary(vec![7; 300_000])).unwrap();
    let second = s.mark();
    assert_eq!(s.marks_passed(), first);
    s.ping("overtakes").unwrap();
    assert_eq!(take(&mut s, 2, at(0)).len(), 2);
    assert_eq!(s.marks_passed(), first, "a byte of the message is missing");
    take(&mut s, 1, at(0));
    assert_eq!(s.marks_passed(), second);
    let rest = 2 + 9 + 300_000 + 10 + 4;
    let mut out = 0;
    while out < rest - 1 {
        out += take(&mut s, rest - 1 - out, at(0)).len();
    }
    assert_eq!(s.marks_passed(), second);
    drain(&mut s, at(0));
    assert_eq!(s.marks_passed(), second + 1);
}

#[test]
fn marks_are_passed_by_what_is_encoded_already_and_by_the_end() {
    let mut s = server();
    let prepared = Prepared::from("at once on the wire");
    s.send_prepared(&prepared, crate::Compress::Auto).unwrap();
    let mark = s.mark();
    assert_eq!(s.marks_passed(), mark);
    drain(&mut s, at(0));
    assert_eq!(s.marks_passed(), mark + 1);
    s.send(Message::text("never")).unwrap();
    s.mark();
    s.handle_lost(at(0));
    assert_eq!(s.marks_passed(), mark + 2);
}
