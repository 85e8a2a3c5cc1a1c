//! What leaves, in which order, and how it is cut.

use super::*;
use crate::{Compress, MessageKind, Prepared, UsageError};
use bytes::Bytes;

#[test]
fn rfc6455_5_7_the_servers_hello() {
    let mut s = server();
    s.send(Message::text("Hello")).unwrap();
    assert_eq!(drain(&mut s, at(0)), b"\x81\x05Hello");
    let mut c = client_with(quiet());
    c.send(Message::text("Hello")).unwrap();
    assert_eq!(drain(&mut c, at(0)), b"\x81\x85\xa5\x00\x5a\xff\xed\x65\x36\x93\xca");
}

#[test]
fn rfc6455_5_4_long_messages_leave_as_fragments_and_a_pong_passes_between() {
    let size = 256 << 10;
    for mut end in [server(), client()] {
        let data = Bytes::from(noise(3 * size + 5, 3));
        end.send(Message::binary(data.clone())).unwrap();
        let mut out = take(&mut end, 1000, at(0));
        let ping = frame(&end, PING, b"now");
        feed(&mut end, &ping, at(0)).unwrap();
        end.ping("mine").unwrap();
        out.extend(drain(&mut end, at(0)));
        let seen = frames(&out);
        let order: Vec<_> = seen.iter().map(|f| (f.opcode, f.fin, f.payload.len())).collect();
        assert_eq!(
            order,
            [
                (BINARY, false, size),
                (PONG, true, 3),
                (PING, true, 4),
                (0, false, size),
                (0, false, size),
                (0, true, 5),
            ]
        );
        let joined: Vec<u8> =
            seen.iter().filter(|f| f.opcode < 8).flat_map(|f| f.payload.clone()).collect();
        assert!(joined == data, "the same bytes in the same order");
        assert!(seen.iter().all(|f| f.masked == (end.side() == crate::Side::Client) && !f.rsv1));
    }
}

#[test]
fn a_message_of_exactly_the_fragment_size_is_one_frame() {
    let config = Config { fragment_size: 1000, ..quiet() };
    for (len, want) in [(0, vec![0]), (1000, vec![1000]), (1001, vec![1000, 1]), (0, vec![0])] {
        let mut s = server_with(config.clone());
        s.send(Message::binary(vec![1; len])).unwrap();
        let seen = frames(&drain(&mut s, at(0)));
        assert_eq!(seen.iter().map(|f| f.payload.len()).collect::<Vec<_>>(), want);
        assert!(seen.iter().rev().skip(1).all(|f| !f.fin) && seen.last().unwrap().fin);
    }
}

#[test]
fn pongs_and_pings_pass_data_that_waits() {
    let mut s = server();
    s.send(Message::binary(vec![1; 64 << 10])).unwrap();
    // The wire is full.
    s.send(Message::text("data")).unwrap();
    let pings = [frame(&s, PING, b"1"), frame(&s, PING, b"2")].concat();
    feed(&mut s, &pings, at(0)).unwrap();
    s.ping("3").unwrap();
    let order: Vec<_> = short(&drain(&mut s, at(0))).into_iter().map(|f| f.0).collect();
    assert_eq!(order, [BINARY, PONG, PONG, PING, TEXT]);
}

#[test]
fn borrowed_messages_leave_as_owned_ones_and_in_their_order() {
    let tracing = Config { trace: true, ..quiet() };
    let small = Config { fragment_size: 5, ..quiet() };
    for config in [quiet(), tracing, small] {
        for masked in [false, true] {
            let new =
                || if masked { client_with(config.clone()) } else { server_with(config.clone()) };
            let (mut borrowed, mut owned) = (new(), new());
            for (i, len) in [0, 1, 5, 6, 125, 126, 70_000, 3, 300_000, 3].into_iter().enumerate() {
                let bytes = noise(len, i as u64);
                borrowed.send_slice(&bytes[..], Compress::Auto).unwrap();
                owned.send(Message::binary(bytes)).unwrap();
                borrowed.send_slice("текст", Compress::Never).unwrap();
                owned.send(Message::text("текст")).unwrap();
                assert_eq!(borrowed.buffered(), owned.buffered());
                assert_eq!(borrowed.mark(), owned.mark());
            }
            assert!(drain(&mut borrowed, at(0)) == drain(&mut owned, at(0)), "the same bytes");
            assert_eq!(borrowed.marks_passed(), 10);
            assert_eq!(borrowed.poll_trace(), owned.poll_trace());
        }
    }
}

#[test]
fn a_borrowed_message_waits_for_its_turn() {
    let mut s = server();
    s.begin_message(MessageKind::Binary, Compress::Never).unwrap();
    assert_eq!(s.send_slice("no", Compress::Auto), Err(UsageError::MessageInProgress));
    s.send_chunk("ab".into(), true).unwrap();
    s.ping("first").unwrap();
    s.send_slice("behind", Compress::Auto).unwrap();
    let sent = short(&drain(&mut s, at(0)));
    let kinds: Vec<_> = sent.iter().map(|f| f.0).collect();
    assert_eq!(kinds, [PING, BINARY, TEXT]);
    s.close(None, at(0)).unwrap();
    assert_eq!(s.send_slice("no", Compress::Auto), Err(UsageError::Closing));
}

#[test]
fn a_streamed_message_lets_pings_through_and_messages_wait() {
    let mut s = server();
    s.begin_message(MessageKind::Text, Compress::Auto).unwrap();
    assert_eq!(s.send(Message::text("no")), Err(UsageError::MessageInProgress));
    assert_eq!(
        s.begin_message(MessageKind::Text, Compress::Auto),
        Err(UsageError::MessageInProgress)
    );
    s.send_chunk("ab".into(), false).unwrap();
    s.send_chunk("".into(), false).unwrap();
    let mut out = drain(&mut s, at(0));
    s.ping("p").unwrap();
    out.extend(drain(&mut s, at(0)));
    s.send_chunk("c".into(), false).unwrap();
    s.send_chunk("".into(), true).unwrap();
    s.send(Message::text("next")).unwrap();
    out.extend(drain(&mut s, at(0)));
    assert_eq!(s.send_chunk("x".into(), true), Err(UsageError::NoMessageInProgress));
    let seen = frames(&out);
    let flags: Vec<_> = seen.iter().map(|f| (f.opcode, f.fin, &f.payload[..])).collect();
    assert_eq!(
        flags,
        [
            (TEXT, false, &b"ab"[..]),
            (PING, true, b"p"),
            (0, false, b"c"),
            (0, true, b""),
            (TEXT, true, b"next"),
        ]
    );
}

#[test]
fn a_streamed_message_of_nothing_is_an_empty_message() {
    let mut s = server();
    s.begin_message(MessageKind::Binary, Compress::Never).unwrap();
    s.send_chunk(Bytes::new(), true).unwrap();
    assert_eq!(drain(&mut s, at(0)), b"\x82\x00");
}

#[test]
fn a_close_cuts_a_streamed_message_short() {
    let mut s = server();
    s.begin_message(MessageKind::Binary, Compress::Never).unwrap();
    s.send_chunk("abc".into(), false).unwrap();
    s.close(None, at(0)).unwrap();
    assert_eq!(s.send_chunk("d".into(), true), Err(UsageError::Closing));
    assert_eq!(drain(&mut s, at(0)), b"\x02\x03abc\x88\x00");
}

#[test]
fn a_write_of_any_size_keeps_the_stream_right() {
    let fill = |end: &mut Connection| {
        for len in [0, 1, 125, 126, 2047, 2048, 2049, 5000, 70_000, 3] {
            end.send(Message::binary(noise(len, len as u64))).unwrap();
        }
        end.ping("ping").unwrap();
    };
    for is_client in [true, false] {
        let fresh = || if is_client { client() } else { server() };
        let mut whole = fresh();
        fill(&mut whole);
        let want = drain(&mut whole, at(0));
        for step in [1, 2, 3, 7, 13, 1000, 2047, 4096, 65_537] {
            let mut end = fresh();
            fill(&mut end);
            let mut got = Vec::new();
            while end.has_output() {
                got.extend(take(&mut end, step, at(0)));
            }
            assert!(got == want, "{step} bytes at a time, client {is_client}");
            assert_eq!(end.buffered(), 0);
        }
    }
}

#[test]
fn a_transport_that_says_it_took_too_much_does_no_harm() {
    let mut s = server();
    s.send(Message::text("abc")).unwrap();
    take(&mut s, 1, at(0));
    s.handle_transmitted(usize::MAX, at(0));
    assert_eq!(s.buffered(), 0);
    s.send(Message::text("d")).unwrap();
    assert_eq!(drain(&mut s, at(0)), b"\x81\x01d");
}

#[test]
fn a_prepared_message_is_the_same_bytes_on_every_server_connection() {
    for len in [0, 5, 3000] {
        let message = Message::binary(noise(len, 9));
        let prepared = Prepared::new(message.clone(), Default::default(), &Pool::default());
        let mut plain = server();
        plain.send(message.clone()).unwrap();
        let want = drain(&mut plain, at(0));
        for busy in [false, true] {
            let mut s = server();
            if busy {
                s.send(Message::text("x")).unwrap();
            }
            s.send_prepared(&prepared, Compress::Auto).unwrap();
            let out = drain(&mut s, at(0));
            assert_eq!(out[if busy { 3 } else { 0 }..], want, "busy {busy}");
        }
        let mut c = client();
        c.send_prepared(&prepared, Compress::Auto).unwrap();
        let out = drain(&mut c, at(0));
        assert_eq!(messages(feed(&mut server(), &out, at(0)).unwrap()), [message]);
    }
}

#[test]
fn a_prepared_message_obeys_order_and_fragment_size() {
    let config = Config { fragment_size: 4, ..quiet() };
    let mut s = server_with(config);
    let prepared = Prepared::new(Message::text("abcdef"), Default::default(), &Pool::default());
    let ping = frame(&s, PING, b"");
    feed(&mut s, &ping, at(0)).unwrap();
    s.send_prepared(&prepared, Compress::Never).unwrap();
    assert_eq!(drain(&mut s, at(0)), b"\x8a\x00\x01\x04abcd\x80\x02ef");
}

#[test]
fn one_call_compresses_a_bounded_part_of_a_message_that_shrinks_to_nothing() {
    let mut s = deflating(Role::Server, quiet(), params(false, 15));
    s.send(Message::binary(vec![0; 4 << 20])).unwrap();
    let mut calls = 0;
    while s.has_output() {
        let had = s.buffered();
        assert!(!take(&mut s, usize::MAX, at(0)).is_empty(), "each call brings something");
        assert!(had - s.buffered() <= 512 << 10, "{} bytes in one call", had - s.buffered());
        calls += 1;
    }
    assert!(calls >= 8, "{calls} calls");
}
