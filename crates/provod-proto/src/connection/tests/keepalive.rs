//! Pings, the pong deadline and the round-trip time, in virtual time.

use super::*;
use crate::timer::TimerKind;

fn timed(interval_ms: u64, timeout_ms: u64) -> Connection {
    let ms = Duration::from_millis;
    let keepalive = Some(Keepalive::new(ms(interval_ms), ms(timeout_ms)));
    server_with(Config { keepalive, ..Config::default() })
}

/// Lets the Ping that is due at `now` leave; gives its payload.
fn ping(s: &mut Connection, now: Timestamp) -> Vec<u8> {
    s.handle_timeout(now);
    let mut sent = short(&drain(s, now));
    assert_eq!(sent.len(), 1, "{sent:?}");
    let (opcode, payload) = sent.remove(0);
    assert_eq!(opcode, PING);
    payload
}

#[test]
fn the_defaults_are_25_and_20_seconds() {
    let mut s = server_with(Config::default());
    assert_eq!(s.poll_timeout(), Some((at(25_000), TimerKind::Ping)));
    ping(&mut s, at(25_000));
    assert_eq!(s.poll_timeout(), Some((at(45_000), TimerKind::PongDeadline)));
}

#[test]
fn a_pong_gives_the_round_trip_time_and_stops_the_deadline() {
    let mut s = timed(1000, 400);
    assert_eq!(s.latency(), None);
    let payload = ping(&mut s, at(1000));
    let pong = frame(&s, PONG, &payload);
    let events = feed(&mut s, &pong, at(1030)).unwrap();
    let rtt = Some(Duration::from_millis(30));
    assert_eq!(events, [Event::Pong { payload: payload.into(), rtt }]);
    assert_eq!(s.latency(), rtt);
    assert_eq!(s.poll_timeout(), Some((at(2000), TimerKind::Ping)));
}

#[test]
fn rfc6455_5_5_3_a_pong_answers_the_pings_before_it_too_and_unasked_ones_answer_none() {
    let mut s = timed(1000, 400);
    s.ping("a").unwrap();
    drain(&mut s, at(0));
    s.ping("b").unwrap();
    drain(&mut s, at(5));
    let unasked = frame(&s, PONG, b"who");
    assert_eq!(
        feed(&mut s, &unasked, at(6)).unwrap(),
        [Event::Pong { payload: "who".into(), rtt: None }]
    );
    let b = frame(&s, PONG, b"b");
    feed(&mut s, &b, at(9)).unwrap();
    assert_eq!(s.latency(), Some(Duration::from_millis(4)));
    let a = frame(&s, PONG, b"a");
    let late = feed(&mut s, &a, at(10)).unwrap();
    assert_eq!(late, [Event::Pong { payload: "a".into(), rtt: None }], "answered already");
}

#[test]
fn a_silent_peer_is_lost_at_the_deadline() {
    let mut s = timed(1000, 400);
    ping(&mut s, at(1000));
    s.send(Message::text("abc")).unwrap();
    s.handle_timeout(at(1399));
    assert!(!s.is_done());
    s.handle_timeout(at(1400));
    assert!(s.is_done());
    assert_eq!(closed(&s).cause, Cause::Silent);
    assert_eq!(closed(&s).unsent, 5);
    assert_eq!(s.poll_timeout(), None);
}

#[test]
fn any_byte_is_a_sign_of_life() {
    let mut s = timed(1000, 400);
    ping(&mut s, at(1000));
    feed(&mut s, &[0x81], at(1399)).unwrap();
    s.handle_timeout(at(1400));
    assert!(!s.is_done());
    assert_eq!(s.poll_timeout(), Some((at(2000), TimerKind::Ping)));
}

#[test]
fn no_byte_is_no_sign_of_life() {
    let mut s = timed(1000, 400);
    let mut first = frame(&s, BINARY, &[0; 9000]);
    first.truncate(100);
    feed(&mut s, &first, at(0)).unwrap();
    ping(&mut s, at(1000));
    let _ = s.handle_input(&mut [], at(1399)).unwrap();
    let _ = s.handle_direct(0, at(1399)).unwrap();
    s.handle_timeout(at(1400));
    assert!(s.is_done());
}

#[test]
fn the_deadline_is_suspended_while_reading_is_paused() {
    let mut s = timed(1000, 400);
    ping(&mut s, at(1000));
    s.handle_reading_paused();
    for now in [1400, 2000, 2400, 3000, 3400] {
        s.handle_timeout(at(now));
        drain(&mut s, at(now));
        assert!(!s.is_done(), "at {now} ms");
    }
    s.handle_reading_resumed(at(3400));
    assert_eq!(s.poll_timeout(), Some((at(4000), TimerKind::Ping)));
    ping(&mut s, at(4000));
    s.handle_timeout(at(4400));
    assert!(s.is_done(), "it counts again from the next Ping");
}

#[test]
fn output_that_moves_after_it_was_stuck_is_a_sign_of_life() {
    let mut s = timed(1000, 400);
    s.send(Message::binary(noise(100_000, 1))).unwrap();
    take(&mut s, 10, at(0));
    s.handle_blocked();
    s.handle_timeout(at(1000));
    take(&mut s, 10, at(1300));
    assert_eq!(s.poll_timeout(), Some((at(1700), TimerKind::PongDeadline)));
    take(&mut s, 10, at(1500));
    assert_eq!(s.poll_timeout(), Some((at(1700), TimerKind::PongDeadline)), "it was not stuck");
}

#[test]
fn a_closing_connection_pings_no_more() {
    let mut s = timed(1000, 400);
    ping(&mut s, at(1000));
    s.close(None, at(1100)).unwrap();
    assert_eq!(s.poll_timeout(), Some((at(6100), TimerKind::Close)));
    s.handle_timeout(at(2000));
    assert_eq!(short(&drain(&mut s, at(2000))), [(CLOSE, vec![])]);
}

#[test]
fn no_interval_at_all_does_not_hang_the_timer() {
    let mut s = timed(0, 400);
    s.handle_timeout(at(0));
    s.handle_timeout(at(1));
    assert!(!s.is_done());
    let end = Timestamp::from_epoch(Duration::MAX);
    s.handle_timeout(end);
    assert!(s.is_done());
}

#[test]
fn a_ping_that_is_due_with_the_deadline_that_ends_it_does_not_leave() {
    let mut s = timed(1000, 400);
    ping(&mut s, at(1000));
    s.handle_timeout(at(9000));
    assert!(s.is_done() && !s.has_output());
    assert_eq!(s.poll_timeout(), None);
}

#[test]
fn a_peer_that_neither_reads_nor_is_read_is_given_up() {
    let mut s = timed(1000, 400);
    s.send(Message::binary(vec![0; 1000])).unwrap();
    take(&mut s, 500, at(0));
    s.handle_blocked();
    s.handle_reading_paused();
    s.handle_timeout(at(1000));
    assert_eq!(s.poll_timeout(), Some((at(1400), TimerKind::PongDeadline)));
    // It reads a little, so it lives; then our own pause is the only reason for silence.
    take(&mut s, 100, at(1300));
    assert_eq!(s.poll_timeout(), Some((at(2000), TimerKind::Ping)));
    s.handle_blocked();
    s.handle_timeout(at(2000));
    s.handle_timeout(at(2400));
    assert_eq!(s.closed().map(|c| &c.cause), Some(&Cause::Silent));
}
