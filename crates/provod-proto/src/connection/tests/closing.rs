//! The closing handshake (RFC 6455 section 7): order, deadlines, outcome.

use super::*;

#[test]
fn rfc6455_7_1_1_server_closes_first_and_the_peer_answers() {
    let mut s = server();
    s.close(Some(close_frame(1000, "bye")), at(0)).unwrap();
    assert_eq!(short(&drain(&mut s, at(0))), [(CLOSE, b"\x03\xe8bye".to_vec())]);
    assert!(s.closed().is_none() && s.is_receiving() && !s.poll_half_close());
    let answer = frame(&s, CLOSE, b"\x03\xe8");
    assert_eq!(feed(&mut s, &answer, at(1)).unwrap().len(), 1);
    assert!(s.poll_half_close(), "the server ends its half first");
    assert!(!s.poll_half_close(), "once");
    let outcome = closed(&s).clone();
    assert_eq!(outcome.cause, Cause::Local);
    assert_eq!(outcome.received, Some(Some(close_frame(1000, ""))));
    assert_eq!(outcome.sent, Some(Some(close_frame(1000, "bye"))));
    assert!(outcome.is_clean() && outcome.unsent == 0);
    assert!(!s.is_done(), "it waits for the peer's end");
    assert!(!s.handle_eof(at(2)));
    assert!(s.is_done());
    assert_eq!(s.poll_timeout(), None);
}

#[test]
fn rfc6455_7_1_1_client_waits_for_the_server_to_end_the_stream() {
    let mut c = client();
    c.close(None, at(0)).unwrap();
    assert_eq!(short(&drain(&mut c, at(0))), [(CLOSE, vec![])]);
    let answer = frame(&c, CLOSE, b"");
    feed(&mut c, &answer, at(1)).unwrap();
    assert!(!c.poll_half_close(), "the client leaves that to the server");
    assert_eq!(closed(&c).received, Some(None));
    assert_eq!(closed(&c).code(), CloseCode::NO_STATUS);
    assert!(closed(&c).is_clean() && !c.is_done());
    c.handle_timeout(at(5001));
    assert!(c.is_done(), "but not for ever");
}

#[test]
fn rfc6455_5_5_1_the_answer_carries_the_peers_code_and_waits_for_release() {
    for mut end in [server(), client()] {
        let close = frame(&end, CLOSE, b"\x0b\xb8over");
        let events = feed(&mut end, &close, at(0)).unwrap();
        assert_eq!(events, [Event::Close(Some(close_frame(3000, "over")))]);
        assert!(end.is_close_held() && !end.is_receiving());
        assert!(drain(&mut end, at(0)).is_empty(), "held");
        assert!(end.closed().is_none());

        end.send(Message::text("last words")).unwrap();
        assert_eq!(short(&drain(&mut end, at(1))), [(TEXT, b"last words".to_vec())]);
        end.send(Message::text("one more")).unwrap();
        end.release_close(at(2));
        assert_eq!(
            short(&drain(&mut end, at(2))),
            [(TEXT, b"one more".to_vec()), (CLOSE, vec![0x0b, 0xb8])],
            "what was queued goes first"
        );
        assert_eq!(closed(&end).cause, Cause::Peer);
        assert!(closed(&end).is_clean());
    }
}

#[test]
fn a_held_answer_leaves_when_the_close_timeout_runs_out() {
    let mut s = server();
    let close = frame(&s, CLOSE, b"");
    feed(&mut s, &close, at(100)).unwrap();
    assert_eq!(s.poll_timeout().map(|t| t.0), Some(at(5100)));
    s.handle_timeout(at(5099));
    assert!(drain(&mut s, at(5099)).is_empty());
    s.handle_timeout(at(5100));
    assert_eq!(short(&drain(&mut s, at(5100))), [(CLOSE, vec![])]);
    assert_eq!(closed(&s).sent, Some(None));
}

#[test]
fn rfc6455_7_1_7_the_close_for_a_bad_frame_waits_for_release_and_for_data() {
    let mut s = server();
    s.send(Message::text("echo")).unwrap();
    let error = feed(&mut s, b"\x83\x80abcd", at(0)).unwrap_err();
    assert_eq!(error, ProtocolError::ReservedOpcode.into());
    assert_eq!(feed(&mut s, b"\x81\x80abcd", at(0)).unwrap_err(), error, "the same again");
    assert!(s.is_close_held());
    assert_eq!(short(&drain(&mut s, at(0))), [(TEXT, b"echo".to_vec())]);
    s.release_close(at(1));
    let sent = short(&drain(&mut s, at(1)));
    let [(CLOSE, payload)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(payload[..2], 1002u16.to_be_bytes());
    assert!(s.poll_half_close());
    assert_eq!(closed(&s).cause, Cause::Failed(error));
    assert!(!closed(&s).is_clean());
    assert_eq!(closed(&s).code(), CloseCode::ABNORMAL);
}

#[test]
fn rfc6455_7_1_7_a_client_that_fails_the_connection_ends_its_half_itself() {
    let mut c = client();
    feed(&mut c, b"\x81\x80abcd", at(0)).unwrap_err();
    c.release_close(at(0));
    assert_eq!(frames(&drain(&mut c, at(0))).len(), 1);
    assert!(c.poll_half_close());
}

#[test]
fn a_violation_after_our_close_is_the_peers_fault() {
    let mut s = server();
    s.close(Some(close_frame(1001, "")), at(0)).unwrap();
    let error = feed(&mut s, b"\xff", at(0)).unwrap_err();
    assert_eq!(short(&drain(&mut s, at(0))), [(CLOSE, vec![0x03, 0xe9])], "one Close, not two");
    assert_eq!(closed(&s).cause, Cause::Failed(error));
    assert!(s.poll_half_close());
}

#[test]
fn data_still_comes_after_our_close_and_not_after_the_peers() {
    let mut s = server();
    s.close(None, at(0)).unwrap();
    let hello = frame(&s, TEXT, b"late");
    assert_eq!(messages(feed(&mut s, &hello, at(0)).unwrap()), [Message::text("late")]);
    let close = frame(&s, CLOSE, b"");
    feed(&mut s, &close, at(0)).unwrap();
    assert!(feed(&mut s, b"\xff\xff\xff", at(0)).unwrap().is_empty(), "thrown away");
}

#[test]
fn a_ping_behind_our_close_does_not_hold_the_closing_up() {
    // Its Pong can never leave (RFC 6455 section 5.5.1), so nothing may wait for it.
    for flushed_before in [true, false] {
        let mut s = server();
        s.close(None, at(0)).unwrap();
        let mut sent = Vec::new();
        if flushed_before {
            sent = drain(&mut s, at(0));
        }
        let mut rest = frame(&s, PING, b"?");
        rest.extend(frame(&s, CLOSE, b""));
        feed(&mut s, &rest, at(1)).unwrap();
        sent.extend(drain(&mut s, at(1)));
        assert_eq!(short(&sent).last(), Some(&(CLOSE, vec![])));
        assert!(!s.has_output(), "flushed before: {flushed_before}");
        assert!(s.poll_half_close() && closed(&s).is_clean());
    }
}

#[test]
fn a_local_close_ends_within_its_timeout_whatever_the_peer_does() {
    for reads in [true, false] {
        let mut s = server();
        s.send(Message::binary(noise(100_000, 1))).unwrap();
        s.close(None, at(7)).unwrap();
        let sent = if reads { drain(&mut s, at(8)).len() } else { take(&mut s, 10, at(8)).len() };
        s.handle_timeout(at(5006));
        assert!(s.closed().is_none());
        s.handle_timeout(at(5007));
        assert!(s.is_done() && !s.has_output() && s.poll_timeout().is_none());
        assert_eq!(closed(&s).cause, Cause::Local);
        assert_eq!(closed(&s).sent.is_some(), reads);
        assert_eq!(closed(&s).received, None);
        if reads {
            assert_eq!(closed(&s).unsent, 0);
        } else {
            assert!(closed(&s).unsent >= 100_000 - sent, "{}", closed(&s).unsent);
        }
    }
}

#[test]
fn where_it_extends_the_close_timeout_counts_from_the_last_progress() {
    let mut c = client_with(Config { close_extends: true, ..quiet() });
    c.send(Message::text("all of it")).unwrap();
    c.close(None, at(0)).unwrap();
    assert_eq!(c.poll_timeout().map(|t| t.0), Some(at(5000)));
    drain(&mut c, at(1000));
    assert_eq!(c.poll_timeout().map(|t| t.0), Some(at(6000)), "output left");
    let fragment = raw(&c, RawFrame::new(TEXT, "hal").fin(false));
    assert!(feed(&mut c, &fragment, at(2000)).unwrap().is_empty());
    assert_eq!(c.poll_timeout().map(|t| t.0), Some(at(7000)), "a fragment came");
    let ping = frame(&c, PING, b"");
    feed(&mut c, &ping, at(3000)).unwrap();
    assert_eq!(c.poll_timeout().map(|t| t.0), Some(at(8000)), "a Ping came");
    let rest = raw(&c, RawFrame::new(0, "f"));
    feed(&mut c, &rest[..1], at(4000)).unwrap();
    assert_eq!(c.poll_timeout().map(|t| t.0), Some(at(8000)), "half a header is no frame");
    c.handle_reading_paused();
    assert_eq!(c.poll_timeout(), None, "what comes now lies unread");
    c.handle_reading_resumed(at(9000));
    assert_eq!(c.poll_timeout().map(|t| t.0), Some(at(14_000)));
    assert_eq!(messages(feed(&mut c, &rest[1..], at(9500)).unwrap()), [Message::text("half")]);
    c.handle_timeout(at(14_500));
    assert!(c.is_done() && !closed(&c).is_clean());
}

#[test]
fn a_close_that_was_not_written_is_not_said_to_be_sent() {
    let mut s = server();
    let close = frame(&s, CLOSE, b"\x03\xe8");
    feed(&mut s, &close, at(0)).unwrap();
    s.release_close(at(0));
    // The answer is encoded, three of its four bytes leave, then the transport breaks.
    assert_eq!(take(&mut s, 3, at(0)).len(), 3);
    s.handle_lost(at(1));
    assert_eq!(closed(&s).sent, None);
    assert_eq!(closed(&s).unsent, 1);
    assert!(!closed(&s).is_clean());
    assert_eq!(closed(&s).cause, Cause::Peer);
}

#[test]
fn nothing_leaves_after_the_end() {
    let mut s = server();
    s.send(Message::text("x")).unwrap();
    s.close(None, at(0)).unwrap();
    s.handle_lost(at(0));
    assert!(s.is_done() && !s.has_output());
    assert!(drain(&mut s, at(0)).is_empty());
    assert_eq!(closed(&s).unsent, 3);
    assert!(s.send(Message::text("x")).is_err() && s.close(None, at(0)).is_err());
    assert!(s.ping("").is_err() && !s.can_send());
    assert!(!s.poll_half_close(), "there is nothing left to half-close");
}

#[test]
fn an_end_of_stream_says_whether_it_cut_a_message() {
    let whole = frame(&server(), TEXT, b"abc");
    for cut in 0..=whole.len() {
        let mut s = server();
        feed(&mut s, &whole[..cut], at(0)).unwrap();
        assert_eq!(s.handle_eof(at(0)), cut != 0 && cut != whole.len(), "{cut} bytes");
        assert!(s.is_close_held());
    }
    let mut s = server();
    let first = raw(&s, RawFrame::new(TEXT, "abc").fin(false));
    feed(&mut s, &first, at(0)).unwrap();
    assert!(s.handle_eof(at(0)), "between fragments");
}

#[test]
fn after_an_end_of_stream_what_is_queued_still_leaves() {
    let mut s = server();
    let hello = frame(&s, TEXT, b"hi");
    feed(&mut s, &hello, at(0)).unwrap();
    s.handle_eof(at(0));
    assert!(s.can_send() && s.closed().is_none());
    s.send(Message::text("answer")).unwrap();
    s.release_close(at(1));
    assert_eq!(short(&drain(&mut s, at(1))), [(TEXT, b"answer".to_vec())], "no Close to nobody");
    assert!(s.is_done());
    let outcome = closed(&s);
    assert_eq!((outcome.cause.clone(), outcome.unsent), (Cause::Lost, 0));
    assert_eq!((outcome.received.clone(), outcome.sent.clone()), (None, None));
    assert_eq!(outcome.code(), CloseCode::ABNORMAL);
}

#[test]
fn after_an_end_of_stream_the_application_is_not_waited_for_for_ever() {
    let mut s = server();
    s.handle_eof(at(10));
    s.send(Message::text("abc")).unwrap();
    s.handle_timeout(at(5010));
    assert!(s.is_done());
    assert_eq!(closed(&s).unsent, 5);
}

#[test]
fn an_end_of_stream_right_behind_the_close_ends_it_once_the_answer_is_out() {
    let mut s = server();
    let close = frame(&s, CLOSE, b"");
    feed(&mut s, &close, at(0)).unwrap();
    assert!(!s.handle_eof(at(0)));
    assert!(s.is_close_held(), "the application has not asked yet");
    s.release_close(at(1));
    assert!(!s.is_done());
    assert_eq!(short(&drain(&mut s, at(1))), [(CLOSE, vec![])]);
    assert!(s.is_done() && closed(&s).is_clean());
}

#[test]
fn the_application_may_answer_the_peers_close_itself() {
    let mut s = server();
    let close = frame(&s, CLOSE, b"\x03\xe9");
    feed(&mut s, &close, at(0)).unwrap();
    s.close(Some(close_frame(4000, "mine")), at(1)).unwrap();
    assert_eq!(short(&drain(&mut s, at(1))), [(CLOSE, b"\x0f\xa0mine".to_vec())]);
    assert_eq!(closed(&s).cause, Cause::Peer, "the peer was first");
    assert!(s.close(None, at(1)).is_err(), "only once");
}

#[test]
fn rfc6455_7_4_an_illegal_close_frame_is_refused_before_it_is_queued() {
    let mut s = server();
    let codes = [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535];
    for code in codes {
        let frame = CloseFrame { code: code.into(), reason: "".into() };
        assert_eq!(s.close(Some(frame), at(0)), Err(crate::UsageError::CloseCode), "{code}");
    }
    let long = CloseFrame { code: CloseCode::NORMAL, reason: "x".repeat(124).into() };
    assert_eq!(s.close(Some(long), at(0)), Err(crate::UsageError::ControlTooLong));
    assert!(s.can_send() && !s.has_output());
    s.close(Some(close_frame(1000, &"x".repeat(123))), at(0)).unwrap();
    assert_eq!(frames(&drain(&mut s, at(0)))[0].payload.len(), 125);
}

#[test]
fn every_violation_and_limit_fits_a_close_frame() {
    let limits = [
        (crate::LimitError::MessageTooLong { limit: u64::MAX }, 1009u16),
        (crate::LimitError::TooManyFragments { limit: u32::MAX }, 1009),
        (crate::LimitError::MemoryBudget, 1013),
    ];
    for (error, code) in limits {
        let mut s = server();
        s.fail(error.into(), at(0));
        s.release_close(at(0));
        let sent = short(&drain(&mut s, at(0)));
        assert_eq!(sent[0].1[..2], code.to_be_bytes());
        assert!(sent[0].1.len() > 2, "with a reason");
    }
}

#[test]
fn the_close_for_a_bad_frame_leaves_when_the_close_timeout_runs_out() {
    let mut s = server();
    feed(&mut s, b"\x83", at(10)).unwrap_err();
    assert_eq!(s.poll_timeout().map(|t| t.0), Some(at(5010)));
    s.handle_timeout(at(5010));
    assert_eq!(frames(&drain(&mut s, at(5010))).len(), 1);
    assert!(closed(&s).sent.is_some());
}

#[test]
fn an_answer_that_nobody_reads_is_given_up() {
    let mut s = server();
    s.send(Message::binary(vec![0; 10])).unwrap();
    let close = frame(&s, CLOSE, b"\x03\xe8");
    feed(&mut s, &close, at(0)).unwrap();
    s.release_close(at(100));
    assert_eq!(take(&mut s, 5, at(100)).len(), 5);
    s.handle_timeout(at(5099));
    assert!(!s.is_done());
    s.handle_timeout(at(5100));
    assert!(s.is_done());
    assert_eq!((closed(&s).sent.clone(), closed(&s).unsent), (None, 2 + 10 + 4 - 5));
}

#[test]
fn a_peer_that_does_not_end_its_stream_is_given_up_and_the_outcome_stands() {
    let mut s = server();
    s.close(None, at(0)).unwrap();
    drain(&mut s, at(0));
    let close = frame(&s, CLOSE, b"");
    feed(&mut s, &close, at(1000)).unwrap();
    let outcome = closed(&s).clone();
    assert!(s.wants_input(), "what still comes is drained");
    s.handle_timeout(at(5999));
    assert!(!s.is_done());
    s.handle_timeout(at(6000));
    assert!(s.is_done());
    assert_eq!(*closed(&s), outcome);
}

#[test]
fn a_violation_is_told_with_its_own_code_even_when_the_application_closes() {
    let mut s = server();
    let bad = raw(&s, RawFrame::new(3, ""));
    feed(&mut s, &bad, at(0)).unwrap_err();
    s.close(CloseFrame::new(CloseCode::NORMAL, "").ok(), at(1)).unwrap();
    let sent = drain(&mut s, at(1));
    assert_eq!(sent[2..4], CloseCode::PROTOCOL_ERROR.as_u16().to_be_bytes());
}

#[test]
fn what_has_arrived_is_given_out_after_the_output_is_lost() {
    let mut s = server();
    s.send(Message::binary(vec![0; 1000])).unwrap();
    s.handle_output_lost(at(0));
    assert!(!s.can_send() && !s.has_output());
    let text = frame(&s, TEXT, b"last words");
    assert_eq!(messages(feed(&mut s, &text, at(1)).unwrap()), [Message::text("last words")]);
    assert!(s.closed().is_none());
    s.handle_eof(at(2));
    let closed = s.closed().expect("the stream has ended");
    assert!(s.is_done() && closed.unsent >= 1000);
}

#[test]
fn lost_output_ends_with_the_close_timeout_at_the_latest() {
    let mut s = server();
    s.handle_output_lost(at(0));
    let (due, kind) = s.poll_timeout().expect("a timer");
    assert_eq!((due, kind), (at(5000), crate::TimerKind::Close));
    s.handle_timeout(due);
    assert!(s.is_done());
    assert_eq!(s.closed().map(|c| &c.cause), Some(&Cause::Lost));
}
