//! What is compressed, and whether a peer can read it (RFC 7692).

use super::*;
use crate::{Compress, MessageKind, Prepared};
use bytes::Bytes;

fn pair(config: &Config, takeover: bool, bits: u8) -> (Connection, Connection) {
    let params = params(takeover, bits);
    (
        deflating(Role::Server, config.clone(), params),
        deflating(client_role(), config.clone(), params),
    )
}

fn eager() -> Config {
    let mut config = quiet();
    config.compression.threshold = 0;
    config
}

fn shrinks(len: usize) -> Bytes {
    b"the quick brown fox ".iter().copied().cycle().take(len).collect()
}

#[test]
fn threshold_always_and_never() {
    let mut config = quiet();
    config.compression.threshold = 100;
    for (len, compress, rsv1) in [
        (99, Compress::Auto, false),
        (100, Compress::Auto, true),
        (99, Compress::Always, true),
        (100, Compress::Never, false),
    ] {
        for takeover in [true, false] {
            let (mut s, _) = pair(&config, takeover, 15);
            s.send_with(Message::binary(shrinks(len)), compress).unwrap();
            let seen = frames(&drain(&mut s, at(0)));
            assert_eq!(seen[0].rsv1, rsv1, "{len} bytes, {compress:?}");
            assert_eq!(seen[0].payload.len() < len, rsv1);
        }
    }
}

#[test]
fn without_takeover_what_does_not_shrink_leaves_plain() {
    let (mut s, _) = pair(&eager(), false, 15);
    let data = noise(500, 5);
    s.send_with(Message::binary(data.clone()), Compress::Always).unwrap();
    let seen = frames(&drain(&mut s, at(0)));
    assert!(!seen[0].rsv1 && seen[0].payload == data);
}

#[test]
fn rfc7692_6_1_a_streamed_message_that_the_compressor_keeps_back_is_not_lost() {
    // The first pieces are swallowed without output; the last is short and does not shrink.
    for takeover in [false, true] {
        for pieces in [&["Hello, ", "wo", "rld"][..], &["Hello", ""], &["a", "b"], &["", "x"]] {
            let (mut s, mut c) = pair(&eager(), takeover, 15);
            s.begin_message(MessageKind::Text, Compress::Always).unwrap();
            let mut out = Vec::new();
            for (i, piece) in pieces.iter().enumerate() {
                s.send_chunk((*piece).into(), i + 1 == pieces.len()).unwrap();
                out.extend(drain(&mut s, at(0)));
            }
            let got = messages(feed(&mut c, &out, at(0)).unwrap());
            assert_eq!(got, [Message::text(pieces.concat())], "takeover {takeover}");
        }
    }
}

#[test]
fn rfc7692_6_1_compressed_fragments_of_every_size() {
    for takeover in [false, true] {
        for fragment_size in [1, 2, 10, 100, 1000, 5000] {
            let (mut s, mut c) = pair(&Config { fragment_size, ..eager() }, takeover, 15);
            let data = [shrinks(2000).as_ref(), &noise(2000, 1)].concat();
            for _ in 0..2 {
                s.send(Message::binary(data.clone())).unwrap();
                let out = drain(&mut s, at(0));
                let seen = frames(&out);
                assert!(seen[0].rsv1 && seen[1..].iter().all(|f| !f.rsv1 && f.opcode == 0));
                let got = messages(feed(&mut c, &out, at(0)).unwrap());
                assert_eq!(got, [Message::binary(data.clone())], "{fragment_size}, {takeover}");
            }
        }
    }
}

#[test]
fn a_streamed_compressed_message_lets_pings_through() {
    let (mut s, mut c) = pair(&eager(), true, 12);
    s.begin_message(MessageKind::Binary, Compress::Auto).unwrap();
    let mut out = Vec::new();
    let mut want = Vec::new();
    for i in 0..20 {
        let piece = noise(7000, i);
        want.extend_from_slice(&piece);
        s.send_chunk(piece.into(), i == 19).unwrap();
        s.ping(vec![i as u8]).unwrap();
        out.extend(drain(&mut s, at(0)));
    }
    let events = feed(&mut c, &out, at(0)).unwrap();
    assert_eq!(events.iter().filter(|e| matches!(e, Event::Ping(_))).count(), 20);
    assert_eq!(messages(events), [Message::binary(want)]);
}

#[test]
fn a_prepared_message_among_others_stays_readable_with_context_takeover() {
    let pool = Pool::default();
    let prepared = Prepared::new(Message::binary(shrinks(700)), Default::default(), &pool);
    let stubborn = Prepared::new(Message::binary(noise(700, 2)), Default::default(), &pool);
    for takeover in [true, false] {
        for bits in 9..=15 {
            let (mut s, mut c) = pair(&eager(), takeover, bits);
            let mut random = Random(u64::from(bits));
            let mut want = Vec::new();
            let mut out = Vec::new();
            for i in 0..60 {
                let compress =
                    [Compress::Auto, Compress::Always, Compress::Never][random.below(3) as usize];
                match random.below(4) {
                    0 => {
                        s.send_prepared(&prepared, compress).unwrap();
                        want.push(Message::binary(shrinks(700)));
                    }
                    1 => {
                        s.send_prepared(&stubborn, compress).unwrap();
                        want.push(Message::binary(noise(700, 2)));
                    }
                    _ => {
                        let data = [shrinks(random.below(900) as usize), noise(40, 2).into()];
                        let message = Message::binary(data.concat());
                        s.send_with(message.clone(), compress).unwrap();
                        want.push(message);
                    }
                }
                if i % 3 == 0 {
                    out.extend(drain(&mut s, at(0)));
                }
            }
            out.extend(drain(&mut s, at(0)));
            assert!(messages(feed(&mut c, &out, at(0)).unwrap()) == want, "{bits} bits");
        }
    }
}

#[test]
fn a_prepared_message_is_compressed_once_for_all_who_share_its_window() {
    let prepared =
        Prepared::new(Message::binary(shrinks(5000)), Default::default(), &Pool::default());
    let mut last = None;
    for _ in 0..3 {
        let (mut s, mut c) = pair(&eager(), false, 11);
        s.send_prepared(&prepared, Compress::Auto).unwrap();
        let out = drain(&mut s, at(0));
        assert!(frames(&out)[0].rsv1 && out.len() < 500);
        assert_eq!(messages(feed(&mut c, &out, at(0)).unwrap()).len(), 1);
        assert!(last.is_none_or(|l| l == out));
        last = Some(out);
    }
    let at = prepared.compressed(11).map(|b| b.as_ptr());
    assert_eq!(at, prepared.compressed(11).map(|b| b.as_ptr()));
}

#[test]
fn rfc7692_7_1_2_a_window_of_256_bytes_leaves_plain_and_is_still_read() {
    let mut p = params(false, 8);
    p.client_max_window_bits = 15;
    let mut s = deflating(Role::Server, eager(), p);
    s.send_with(Message::binary(shrinks(500)), Compress::Always).unwrap();
    assert!(!frames(&drain(&mut s, at(0)))[0].rsv1);
    let mut c = deflating(client_role(), eager(), p);
    c.send_with(Message::binary(shrinks(500)), Compress::Always).unwrap();
    let out = drain(&mut c, at(0));
    assert!(frames(&out)[0].rsv1);
    assert_eq!(messages(feed(&mut s, &out, at(0)).unwrap()), [Message::binary(shrinks(500))]);
}

#[test]
fn an_inflated_message_is_limited_while_it_inflates() {
    let mut config = eager();
    config.limits.max_message = 100_000;
    for (len, fits) in [(100_000, true), (100_001, false), (50_000_000, false)] {
        let (mut sender, _) = pair(&eager(), false, 15);
        sender.send(Message::binary(vec![0; len])).unwrap();
        let out = drain(&mut sender, at(0));
        let (_, mut c) = pair(&config, false, 15);
        let got = feed(&mut c, &out, at(0));
        if fits {
            assert_eq!(messages(got.unwrap())[0].len(), len);
        } else {
            let error = crate::LimitError::MessageTooLong { limit: 100_000 };
            assert_eq!(got.unwrap_err(), error.into());
            assert!(c.held_input() <= 400_000, "{}", c.held_input());
        }
    }
}

#[test]
fn input_that_a_step_leaves_is_unmasked_once() {
    // 300 KB of zeros in a few hundred bytes: many steps over the same input.
    let (_, mut c) = pair(&eager(), false, 15);
    c.send(Message::binary(vec![0; 300_000])).unwrap();
    let mut out = drain(&mut c, at(0));
    let (mut s, _) = pair(&eager(), false, 15);
    let first = s.handle_input(&mut out, at(0)).unwrap();
    assert!(first.again && first.event.is_none());
    // "Call again, even with none."
    let none = s.handle_input(&mut [], at(0)).unwrap();
    assert_eq!(none.consumed, 0);
    let mut from = first.consumed;
    let event = loop {
        let progress = s.handle_input(&mut out[from..], at(0)).unwrap();
        from += progress.consumed;
        if let Some(event) = progress.event {
            break event;
        }
    };
    assert_eq!(messages(vec![event]), [Message::binary(vec![0; 300_000])]);
}
