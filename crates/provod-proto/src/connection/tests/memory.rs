//! What a peer can make this end hold.

use super::*;
use crate::raw::RawLength;
use crate::{Compress, LimitError, MessageKind, UsageError};

fn claiming(to: &Connection, opcode: u8, len: u64) -> Vec<u8> {
    let mut frame = RawFrame::new(opcode, vec![7; 100]);
    frame.length = RawLength::Bits64(len);
    raw(to, frame)
}

#[test]
fn a_claimed_length_allocates_nothing() {
    let mut config = quiet();
    config.limits.max_message = u64::MAX;
    for claimed in [1 << 40, 1 << 53, (1 << 63) - 1] {
        let mut s = server_with(config.clone());
        let input = claiming(&s, BINARY, claimed);
        assert!(feed(&mut s, &input, at(0)).unwrap().is_empty());
        let room = s.direct_buffer().expect("the rest is large").len();
        assert!(room <= 16 << 10);
        assert!(s.held_input() <= 16 << 10, "{} for 100 bytes", s.held_input());
    }
}

#[test]
fn the_direct_buffer_grows_with_what_has_arrived() {
    let mut s = server();
    let len = 5_000_000;
    let input = claiming(&s, BINARY, len);
    feed(&mut s, &input, at(0)).unwrap();
    let mut have = 100;
    while let Some(room) = s.direct_buffer() {
        room.fill(0);
        let room = room.len();
        assert!(room > 0);
        assert!(s.held_input() <= 2 * have + (16 << 10), "{} for {have}", s.held_input());
        have += room;
        assert!(s.handle_direct(room, at(0)).unwrap().event.is_none() || have == len as usize);
    }
    assert!(have as u64 + 4096 >= len, "the rest is small or done: {have}");
}

#[test]
fn room_in_advance_is_for_messages_of_moderate_length_and_bounded_in_all() {
    let len = 4 << 20;
    let mut holders = Vec::new();
    for n in 0..40 {
        let mut s = server();
        let input = claiming(&s, BINARY, len);
        feed(&mut s, &input, at(0)).unwrap();
        let room = s.direct_buffer().expect("the rest is large").len();
        let advanced = s.held_input() >= len as usize;
        assert!(advanced || s.held_input() <= 16 << 10);
        // Other tests of this process may hold some of the 64 MiB, too.
        assert!(n < 16 || !advanced, "{n} messages of {len} bytes");
        assert!(room > 0);
        holders.push(s);
    }
    drop(holders);
    let mut config = quiet();
    config.advance = 0;
    let mut s = server_with(config);
    let input = claiming(&s, BINARY, len);
    feed(&mut s, &input, at(0)).unwrap();
    assert!(s.direct_buffer().expect("the rest is large").len() <= 16 << 10);
    assert!(s.held_input() <= 16 << 10);
}

#[test]
fn a_length_above_the_limit_is_refused_at_the_header() {
    let limit = 16 << 20;
    let too_long = Error::from(LimitError::MessageTooLong { limit });
    for claimed in [limit + 1, 1 << 53, (1 << 63) - 1] {
        let mut s = server();
        let input = claiming(&s, BINARY, claimed);
        assert_eq!(feed(&mut s, &input[..14], at(0)).unwrap_err(), too_long, "{claimed}");
        assert!(s.direct_buffer().is_none());
    }
}

#[test]
fn a_failed_connection_takes_no_direct_input() {
    let mut s = server();
    let mut head = RawFrame::new(TEXT, vec![0xFF; 100]);
    head.length = RawLength::Bits64(100_000);
    head.payload.fill(b'a');
    let input = raw(&s, head);
    feed(&mut s, &input, at(0)).unwrap();
    let put = |s: &mut Connection, n| {
        // Whatever the key makes of it, no byte below 0x80 stays below with this one.
        s.direct_buffer().expect("in the frame")[..n].fill(0x3C);
    };
    put(&mut s, 8);
    let error = s.handle_direct(8, at(0)).unwrap_err();
    assert_eq!(error, ProtocolError::InvalidUtf8.into());
    assert!(s.direct_buffer().is_none());
    assert_eq!(s.handle_direct(8, at(0)).unwrap_err(), error, "the same again");
}

#[test]
fn rfc6455_5_5_3_a_peer_that_pings_and_never_reads_holds_64_pongs() {
    let mut s = server();
    // The wire is full: nothing of this leaves.
    s.send(Message::binary(noise(300_000, 1))).unwrap();
    take(&mut s, 0, at(0));
    let mut pings = Vec::new();
    for i in 0..10_000u32 {
        pings.extend(frame(&s, PING, &i.to_be_bytes()));
    }
    assert_eq!(feed(&mut s, &pings, at(0)).unwrap().len(), 10_000);
    take(&mut s, 0, at(0));
    assert!(s.buffered() < 301_000, "{}", s.buffered());
    let pongs: Vec<_> = short(&drain(&mut s, at(0)))
        .into_iter()
        .filter(|f| f.0 == PONG)
        .map(|f| u32::from_be_bytes(f.1.try_into().expect("four bytes")))
        .collect();
    let want: Vec<_> = (10_000 - 64..10_000).collect();
    assert_eq!(pongs, want, "the newest, in order");
}

#[test]
fn the_application_may_queue_64_pings() {
    let mut s = server();
    for _ in 0..64 {
        s.ping("x").unwrap();
    }
    assert_eq!(s.ping("x"), Err(UsageError::TooManyPings));
    assert_eq!(s.ping(vec![0; 126]), Err(UsageError::ControlTooLong));
    assert_eq!(frames(&drain(&mut s, at(0))).len(), 64);
    s.ping(vec![0; 125]).unwrap();
}

#[test]
fn messages_of_no_bytes_count_too_while_they_wait() {
    let mut s = server();
    s.send(Message::binary(vec![1; 64 << 10])).unwrap();
    let first = s.buffered();
    for _ in 0..1000 {
        s.send(Message::binary(vec![])).unwrap();
    }
    assert_eq!(s.buffered(), first + 2000);
    assert!(s.held() >= first + 100_000, "{}", s.held());
    assert_eq!(drain(&mut s, at(0)).len(), first + 2000);
    assert_eq!((s.buffered(), s.held()), (0, 0));
}

#[test]
fn empty_fragments_are_counted() {
    let mut config = quiet();
    config.limits.max_fragments = 3;
    for (fragments, fits) in [(3, true), (4, false)] {
        let mut s = server_with(config.clone());
        let mut input = raw(&s, RawFrame::new(TEXT, "").fin(false));
        for i in 1..fragments {
            input.extend(frame(&s, PING, b"between"));
            input.extend(raw(&s, RawFrame::new(0, "").fin(i + 1 == fragments)));
        }
        let got = feed(&mut s, &input, at(0));
        if fits {
            assert_eq!(messages(got.unwrap()), [Message::text("")]);
        } else {
            assert_eq!(got.unwrap_err(), LimitError::TooManyFragments { limit: 3 }.into());
        }
    }
}

#[test]
fn a_limit_of_no_fragments_means_the_same_however_the_bytes_arrive() {
    let mut config = quiet();
    config.limits.max_fragments = 0;
    let hello = frame(&server(), TEXT, b"hello");
    let mut whole = server_with(config.clone());
    let want = feed(&mut whole, &hello, at(0));
    for cut in 1..hello.len() {
        let mut s = server_with(config.clone());
        let got = feed(&mut s, &hello[..cut], at(0)).and_then(|mut events| {
            events.extend(feed(&mut s, &hello[cut..], at(0))?);
            Ok(events)
        });
        assert_eq!(got, want, "cut at {cut}");
    }
}

#[test]
fn a_message_is_limited_whole_and_in_fragments() {
    let mut config = quiet();
    config.limits.max_message = 10;
    for (sizes, fits) in
        [(&[10][..], true), (&[11], false), (&[5, 5], true), (&[5, 6], false), (&[10, 0, 0], true)]
    {
        for mut end in [server_with(config.clone()), client_with(config.clone())] {
            let mut input = Vec::new();
            for (i, size) in sizes.iter().enumerate() {
                let opcode = if i == 0 { BINARY } else { 0 };
                let fin = i + 1 == sizes.len();
                input.extend(raw(&end, RawFrame::new(opcode, vec![1; *size]).fin(fin)));
            }
            let got = feed(&mut end, &input, at(0));
            assert_eq!(got.is_ok(), fits, "{sizes:?}");
            if let Err(e) = got {
                assert_eq!(e, LimitError::MessageTooLong { limit: 10 }.into());
                assert_eq!(e.close_code(), Some(CloseCode::TOO_BIG));
            }
        }
    }
}

#[test]
fn frames_that_wait_for_a_slow_peer_cost_about_their_bytes() {
    for len in [10, 1000, 3000, 10_000, 100_000] {
        let mut s = server();
        for i in 0..100 {
            s.send(Message::binary(noise(len, i))).unwrap();
        }
        take(&mut s, 0, at(0));
        let copied = s.outgoing.allocated().0;
        // Encoded is some 64 KiB; what is pointed to costs its header only.
        let most = if len < 2048 { 2 * (64 << 10) } else { 4096 };
        assert!(copied <= most, "{copied} bytes for messages of {len}");
    }
}

/// Nothing but the connection itself is there.
fn is_lean(connection: &Connection) -> bool {
    let (copied, output) = connection.outgoing.allocated();
    let input = connection.incoming.is_allocated();
    let rest = connection.keepalive.is_allocated() || connection.rare.is_some();
    copied == 0 && !output && !input && !rest
}

#[test]
fn an_idle_connection_holds_nothing_before_and_after_its_traffic() {
    let mut s = server_with(Config::default());
    assert!(is_lean(&s));
    for size in [0, 20, 1000, 5000, 70_000, 400_000, 1 << 20] {
        for opcode in [TEXT, BINARY] {
            let payload = vec![b'x'; size];
            // Whole, in two pieces that part anywhere, and in fragments.
            let whole = frame(&s, opcode, &payload);
            assert_eq!(feed(&mut s, &whole, at(0)).unwrap().len(), 1);
            for cut in [1, 5, whole.len() / 2] {
                assert!(feed(&mut s, &whole[..cut], at(0)).unwrap().is_empty());
                assert!(!is_lean(&s));
                assert_eq!(feed(&mut s, &whole[cut..], at(0)).unwrap().len(), 1);
            }
            let first = raw(&s, RawFrame::new(opcode, &payload[..]).fin(false));
            feed(&mut s, &first, at(0)).unwrap();
            let last = [frame(&s, PING, b"between"), frame(&s, 0, &payload)].concat();
            assert_eq!(feed(&mut s, &last, at(0)).unwrap().len(), 2);
            s.send_slice(&payload[..], Compress::Auto).unwrap();
            s.send(Message::binary(payload)).unwrap();
            s.ping("mine").unwrap();
            assert!(!is_lean(&s));
            drain(&mut s, at(0));
            let pong = frame(&s, PONG, b"mine");
            feed(&mut s, &pong, at(0)).unwrap();
            assert!(is_lean(&s), "after {size} bytes");
        }
    }
    s.begin_message(MessageKind::Text, Compress::Auto).unwrap();
    assert!(s.cancel_message() && is_lean(&s));
    s.begin_message(MessageKind::Text, Compress::Auto).unwrap();
    s.send_chunk("piece".into(), false).unwrap();
    drain(&mut s, at(0));
    s.send_chunk("".into(), true).unwrap();
    drain(&mut s, at(0));
    assert!(is_lean(&s));
    // The keepalive's own Ping, before and after its Pong.
    s.handle_timeout(at(25_000));
    let ping = short(&drain(&mut s, at(25_000)));
    assert!(is_lean(&s));
    let pong = frame(&s, PONG, &ping[0].1);
    feed(&mut s, &pong, at(25_010)).unwrap();
    assert_eq!(s.latency(), Some(Duration::from_millis(10)));
    assert!(is_lean(&s));
}
