//! Frames as a hostile peer sends them (RFC 6455 section 5, RFC 7692): the right close code, good
//! messages in front delivered, the end of the connection by the server.

use provod::config::DeflateConfig;
use provod::proto::deflate::{Compressor, Inflater, Level, Pool};
use provod::proto::raw::{RawFrame, RawLength};
use provod::{Config, Server};

use crate::peer::{Peer, binary, close, header, open_narrow, open_with, ping, raw, text};
use crate::servers::{patient, start};

const DEFLATE: &str = "Sec-WebSocket-Extensions: permessage-deflate";
const DEFLATE_ONCE: &str = "Sec-WebSocket-Extensions: permessage-deflate; \
                            server_no_context_takeover; client_no_context_takeover";

fn deflating() -> Server {
    let mut config = Config::default();
    config.compression.threshold = 0;
    Server::new().config(config).compression(DeflateConfig::default())
}

/// Agrees to compression, and sends what is short uncompressed.
fn agreeing() -> Server {
    Server::new().compression(DeflateConfig::default())
}

/// Sends good messages, the bad bytes, and a lot behind them: the messages are echoed first, then
/// the Close comes, then an orderly end.
async fn fails_with(server: Server, lines: &[&str], bad: &[u8], code: u16, what: &str) {
    let (running, address) = start(server).await;
    let (mut peer, _) = open_with(address, "/", lines).await;
    let mut bytes = [text("one"), binary(b"two")].concat();
    bytes.extend_from_slice(bad);
    // More than the socket buffers of both ends hold would be reset, and the Close with it, by a
    // server that closed without reading.
    bytes.extend(vec![0xAA; 300_000]);
    peer.send(&bytes).await;
    peer.expect_text("one").await;
    assert_eq!(peer.frame().await.expect(what).payload, b"two", "{what}");
    let frame = peer.frame().await.unwrap_or_else(|| panic!("no Close: {what}"));
    assert_eq!(frame.opcode, 8, "{what}: {frame:?}");
    let got = u16::from_be_bytes(*frame.payload.first_chunk().expect("a code"));
    assert_eq!(got, code, "{what}: {:?}", String::from_utf8_lossy(&frame.payload[2..]));
    peer.expect_end().await;
    assert_eq!(running.stats().messages_in, 2, "{what}");
}

fn bits64(opcode: u8, length: u64) -> RawFrame {
    RawFrame { length: RawLength::Bits64(length), ..raw(opcode, "") }
}

#[tokio::test]
async fn rfc6455_5_each_violation_closes_with_its_code() {
    let first = || raw(1, "a").fin(false).to_bytes();
    let with = |front: Vec<u8>, bad: RawFrame| [front, bad.to_bytes()].concat();
    let rsv = |at: usize| {
        let mut frame = raw(1, "x");
        frame.rsv[at] = true;
        frame.to_bytes()
    };
    let cases: Vec<(u16, &str, Vec<u8>)> = vec![
        (1002, "5.1: not masked", RawFrame::new(1, "x").to_bytes()),
        (1002, "5.1: an unmasked Close", RawFrame::new(8, 1000u16.to_be_bytes()).to_bytes()),
        (1002, "5.2: RSV1 not negotiated", rsv(0)),
        (1002, "5.2: RSV2", rsv(1)),
        (1002, "5.2: RSV3", rsv(2)),
        (1002, "5.2: opcode 3", raw(3, "x").to_bytes()),
        (1002, "5.2: opcode 7", raw(7, "").to_bytes()),
        (1002, "5.2: opcode 11", raw(11, "").to_bytes()),
        (1002, "5.2: opcode 15", raw(15, "x").to_bytes()),
        (
            1002,
            "5.2: 16 bits for a length of 125",
            RawFrame { length: RawLength::Bits16(125), ..raw(2, vec![0; 125]) }.to_bytes(),
        ),
        (
            1002,
            "5.2: 64 bits for a length of 65535",
            RawFrame { length: RawLength::Bits64(65535), ..raw(2, vec![0; 65535]) }.to_bytes(),
        ),
        (1002, "5.2: a length of 2^63", bits64(2, 1 << 63).to_bytes()),
        (1002, "5.2: a length of 2^64-1", bits64(2, u64::MAX).to_bytes()),
        (1009, "a length of 2^63-1", bits64(2, i64::MAX as u64).to_bytes()),
        (1009, "a length of 2^53", bits64(2, 1 << 53).to_bytes()),
        (1009, "a length of 2^40", bits64(1, 1 << 40).to_bytes()),
        (1009, "one byte above the limit", header(0x82, (16 << 20) + 1)),
        (
            1009,
            "lengths whose sum overflows",
            with(raw(2, "a").fin(false).to_bytes(), bits64(0, i64::MAX as u64)),
        ),
        (1002, "5.5: a fragmented Ping", raw(9, "x").fin(false).to_bytes()),
        (1002, "5.5: a fragmented Close", raw(8, "").fin(false).to_bytes()),
        (1002, "5.5: a Ping of 126 bytes", raw(9, vec![b'x'; 126]).to_bytes()),
        (1002, "5.5: a Ping of 0 bytes in 16 bits", {
            RawFrame { length: RawLength::Bits16(0), ..raw(9, "") }.to_bytes()
        }),
        (1002, "5.4: a continuation of nothing", raw(0, "x").to_bytes()),
        (1002, "5.4: an unfinished continuation of nothing", raw(0, "x").fin(false).to_bytes()),
        (1002, "5.4: a text inside a message", with(first(), raw(1, "x"))),
        (1002, "5.4: a binary inside a message", with(first(), raw(2, "x").fin(false))),
        (1002, "5.5.1: a Close of one byte", raw(8, [3]).to_bytes()),
        (1007, "5.5.1: a reason that is not UTF-8", raw(8, b"\x03\xe8\xff".to_vec()).to_bytes()),
        (1007, "5.5.1: a reason cut in a character", raw(8, b"\x03\xe8\xd0".to_vec()).to_bytes()),
        (1007, "8.1: not UTF-8", raw(1, b"a\xffb".to_vec()).to_bytes()),
        (1007, "8.1: an overlong form", raw(1, b"\xc0\xaf".to_vec()).to_bytes()),
        (1007, "8.1: a surrogate", raw(1, b"\xed\xa0\x80".to_vec()).to_bytes()),
        (1007, "8.1: above U+10FFFF", raw(1, b"\xf4\x90\x80\x80".to_vec()).to_bytes()),
        (1007, "8.1: cut in a character", raw(1, b"\xd0".to_vec()).to_bytes()),
        (
            1007,
            "8.1: cut in a character at the last fragment",
            with(raw(1, b"\xf0\x9f".to_vec()).fin(false).to_bytes(), raw(0, b"\x98".to_vec())),
        ),
    ];
    for (code, what, bad) in cases {
        fails_with(Server::new(), &[], &bad, code, what).await;
    }
}

#[tokio::test]
async fn rfc6455_7_4_close_codes_that_must_not_be_sent_are_refused() {
    let illegal = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535];
    for code in illegal {
        fails_with(Server::new(), &[], &close(code), 1002, &format!("code {code}")).await;
    }
    let legal = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014];
    for code in legal.into_iter().chain([3000, 3999, 4000, 4999]) {
        // Data after a Close means nothing, and does not destroy the answer.
        fails_with(Server::new(), &[], &close(code), code, "a legal code comes back").await;
    }
}

#[tokio::test]
async fn rfc6455_5_5_1_a_close_without_code_is_answered_without_code() {
    let (_running, address) = start(Server::new()).await;
    let mut peer = Peer::open(address).await;
    peer.send([raw(8, "").to_bytes(), text("late")].concat()).await;
    let frame = peer.frame().await.expect("a Close");
    assert_eq!((frame.opcode, frame.payload.len()), (8, 0));
    peer.expect_end().await;
}

#[tokio::test]
async fn rfc6455_5_5_1_a_close_with_the_longest_reason_is_taken() {
    let (_running, address) = start(Server::new()).await;
    let mut peer = Peer::open(address).await;
    let payload = [&4321u16.to_be_bytes()[..], "ж".repeat(61).as_bytes(), b"x"].concat();
    assert_eq!(payload.len(), 125);
    peer.send(raw(8, payload).to_bytes()).await;
    peer.expect_close(4321).await;
    peer.expect_end().await;
}

#[tokio::test]
async fn autobahn_6_4_bad_utf8_fails_before_the_frame_or_message_ends() {
    let (_running, address) = start(Server::new()).await;
    // A frame of which 100 bytes have come, and one of a megabyte, whose rest goes into the
    // message's own buffer.
    for (len, good) in [(100_000, 10), (1 << 20, 100_000)] {
        let mut peer = Peer::open(address).await;
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        let mut payload = vec![b'a'; good];
        payload.push(0xFF);
        provod::proto::apply_mask(&mut payload, mask, 0);
        peer.send([header(0x81, len), payload].concat()).await;
        peer.expect_close(1007).await;
        peer.expect_end().await;
    }
    // A message that is not finished, with a Ping inside.
    let mut peer = Peer::open(address).await;
    peer.send(raw(1, b"\xd0".to_vec()).fin(false).to_bytes()).await;
    peer.send(ping("p")).await;
    assert_eq!(peer.frame().await.expect("a Pong").opcode, 10);
    peer.send(raw(0, b"\x20".to_vec()).fin(false).to_bytes()).await;
    peer.expect_close(1007).await;
    peer.expect_end().await;
}

#[tokio::test]
async fn rfc6455_5_4_fragments_with_control_frames_between_them_make_one_message() {
    let (_running, address) = start(Server::new()).await;
    let mut peer = Peer::open(address).await;
    let mut bytes = raw(1, "При").fin(false).to_bytes();
    bytes.extend(ping("1"));
    bytes.extend(raw(0, "").fin(false).to_bytes());
    bytes.extend(raw(10, "unasked").to_bytes());
    // A character that is cut between fragments.
    bytes.extend(raw(0, b"\xd0".to_vec()).fin(false).to_bytes());
    bytes.extend(ping("2"));
    bytes.extend(raw(0, [b"\xb2", "ет".as_bytes()].concat()).to_bytes());
    peer.send(bytes).await;
    let pongs = [peer.frame().await.unwrap(), peer.frame().await.unwrap()];
    assert_eq!(pongs.map(|p| (p.opcode, p.payload)), [(10, b"1".to_vec()), (10, b"2".to_vec())]);
    peer.expect_text("Привет").await;
    peer.bye().await;
}

#[tokio::test]
async fn empty_messages_and_frames_are_messages() {
    let (_running, address) = start(Server::new()).await;
    let mut peer = Peer::open(address).await;
    peer.send([text(""), binary(b"")].concat()).await;
    peer.expect_text("").await;
    let frame = peer.frame().await.unwrap();
    assert_eq!((frame.opcode, frame.payload.len()), (2, 0));
    peer.bye().await;
}

#[tokio::test]
async fn lengths_at_each_border_come_back_whole() {
    let (_running, address) = start(Server::new()).await;
    let mut peer = Peer::open(address).await;
    for len in [1, 125, 126, 127, 4095, 4096, 65535, 65536, 65537, 262_144, 262_145, 1 << 20] {
        let payload: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
        peer.send(binary(&payload)).await;
        assert!(peer.message().await.payload == payload, "{len} bytes");
    }
    peer.bye().await;
}

#[tokio::test]
async fn floods_of_fragments_are_limited_by_their_number() {
    let mut config = Config::default();
    config.limits.max_fragments = 1000;
    let server = || Server::new().config(config.clone());
    for piece in ["", "x"] {
        let mut flood = raw(1, piece).fin(false).to_bytes();
        for n in 0..1000 {
            flood.extend(raw(0, piece).fin(false).to_bytes());
            if n % 100 == 0 {
                flood.extend(raw(10, "").to_bytes());
            }
        }
        fails_with(server(), &[], &flood, 1009, "empty fragments").await;
    }
    // As many as allowed are a message.
    let (_running, address) = start(server()).await;
    let mut peer = Peer::open(address).await;
    let mut bytes = raw(1, "x").fin(false).to_bytes();
    for n in 1..1000 {
        bytes.extend(raw(0, "x").fin(n == 999).to_bytes());
    }
    peer.send(bytes).await;
    peer.expect_text(&"x".repeat(1000)).await;
    peer.bye().await;
}

#[tokio::test]
async fn the_longest_message_counts_over_its_fragments() {
    let mut config = Config::default();
    config.limits.max_message = 1000;
    let server = || Server::new().config(config.clone());
    let over = [raw(2, vec![0; 600]).fin(false).to_bytes(), raw(0, vec![0; 401]).to_bytes()];
    fails_with(server(), &[], &over.concat(), 1009, "600 and 401 bytes").await;
    fails_with(server(), &[], &header(0x82, 1001), 1009, "the header alone").await;
    let (_running, address) = start(server()).await;
    let mut peer = Peer::open(address).await;
    let most = [raw(2, vec![7; 600]).fin(false).to_bytes(), raw(0, vec![7; 400]).to_bytes()];
    peer.send(most.concat()).await;
    assert_eq!(peer.message().await.payload, vec![7; 1000]);
    peer.bye().await;
}

#[tokio::test]
async fn pings_are_answered_in_order_with_their_payload() {
    let (_running, address) = start(Server::new()).await;
    let mut peer = Peer::open(address).await;
    let long = "p".repeat(125);
    peer.send([ping(""), ping("1"), ping(&long), raw(10, "unasked").to_bytes()].concat()).await;
    for payload in ["", "1", &long] {
        let frame = peer.frame().await.unwrap();
        assert_eq!((frame.opcode, frame.payload.as_slice()), (10, payload.as_bytes()));
    }
    peer.bye().await;
}

#[tokio::test]
async fn a_flood_of_pings_never_read_keeps_a_bounded_number_of_pongs() {
    let (running, address) = start(Server::new().config(patient())).await;
    let mut peer = open_narrow(address).await;
    let flood = ping(&"x".repeat(125)).repeat(1000);
    for _ in 0..500 {
        peer.send(&flood).await;
    }
    assert!(running.stats().bytes_in > 30_000_000, "the server goes on reading");
    // The newest are still answered.
    peer.send(close(1000)).await;
    let mut pongs = 0;
    loop {
        let frame = peer.frame().await.expect("a Close comes first");
        match frame.opcode {
            10 => pongs += 1,
            8 => break,
            other => panic!("opcode {other}"),
        }
    }
    assert!((64..500_000).contains(&pongs), "{pongs} Pongs");
    peer.expect_end().await;
}

// ---- RFC 7692 ----

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Compressor::new(15, false, Level::default(), Pool::default()).compress(bytes, true, &mut out);
    out
}

fn inflated(payload: &mut [u8]) -> Vec<u8> {
    inflate_with(&mut Inflater::new(15, false, Pool::default()), payload)
}

fn inflate_with(inflater: &mut Inflater, payload: &mut [u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    loop {
        let step = inflater.step(&payload[at..], &mut out, 1 << 20).expect("DEFLATE");
        at += step.consumed;
        if at == payload.len() && !step.more {
            break;
        }
    }
    while !inflater.finish_step(&mut out, 1 << 20).expect("an end").done {}
    out
}

#[tokio::test]
async fn rfc7692_7_2_messages_are_compressed_both_ways() {
    for line in [DEFLATE, DEFLATE_ONCE] {
        let (_running, address) = start(deflating()).await;
        let (mut peer, answer) = open_with(address, "/", &[line]).await;
        assert!(answer.header("Sec-WebSocket-Extensions").is_some());
        let takeover = line == DEFLATE;
        let mut compressor = Compressor::new(15, takeover, Level::default(), Pool::default());
        let mut inflater = Inflater::new(15, takeover, Pool::default());
        for n in 0..5 {
            let message = format!("Привет, сервер! {n} ").repeat(50);
            let mut payload = Vec::new();
            compressor.compress(message.as_bytes(), true, &mut payload);
            // In two fragments, of which the first alone has RSV1, with a Ping between them.
            let (front, back) = payload.split_at(payload.len() / 2);
            peer.send(raw(1, front).rsv1(true).fin(false).to_bytes()).await;
            peer.send(ping("")).await;
            assert_eq!(peer.frame().await.unwrap().opcode, 10);
            peer.send(raw(0, back).to_bytes()).await;
            let mut frame = peer.message().await;
            assert!(frame.rsv1 && frame.payload.len() < message.len() / 2, "{frame:?}");
            let echo = inflate_with(&mut inflater, &mut frame.payload);
            assert_eq!(String::from_utf8(echo).unwrap(), message);
        }
        // A plain message between compressed ones is fine.
        peer.send(text("x")).await;
        let mut frame = peer.message().await;
        if frame.rsv1 {
            frame.payload = inflate_with(&mut inflater, &mut frame.payload);
        }
        assert_eq!(frame.payload, b"x");
        peer.bye().await;
    }
}

#[tokio::test]
async fn rfc7692_7_2_3_4_a_stream_that_ends_in_bfinal_is_a_message_and_so_is_the_next() {
    let (_running, address) = start(deflating()).await;
    for line in [DEFLATE, DEFLATE_ONCE] {
        let (mut peer, _) = open_with(address, "/", &[line]).await;
        // RFC 7692 section 7.2.3.4: "Hello" in a block with BFINAL, and the byte that makes it end
        // right.
        let hello = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
        for _ in 0..3 {
            peer.send(raw(1, hello).rsv1(true).to_bytes()).await;
            let mut frame = peer.message().await;
            let payload = match frame.rsv1 {
                // Each is checked on its own only where no history is kept.
                true if line == DEFLATE_ONCE => inflated(&mut frame.payload),
                true => continue,
                false => frame.payload,
            };
            assert_eq!(payload, b"Hello");
        }
        peer.bye().await;
    }
}

#[tokio::test]
async fn rfc7692_7_2_3_empty_fragments_and_messages_are_taken() {
    let (_running, address) = start(deflating()).await;
    let (mut peer, _) = open_with(address, "/", &[DEFLATE_ONCE]).await;
    let payload = compressed(b"hello hello hello");
    peer.send(raw(2, "").rsv1(true).fin(false).to_bytes()).await;
    peer.send(raw(0, "").fin(false).to_bytes()).await;
    peer.send(raw(0, payload).fin(false).to_bytes()).await;
    peer.send(raw(0, "").to_bytes()).await;
    let mut frame = peer.message().await;
    let echo = if frame.rsv1 { inflated(&mut frame.payload) } else { frame.payload };
    assert_eq!(echo, b"hello hello hello");
    // Section 7.2.3.6: an empty message is one byte.
    peer.send(raw(1, [0]).rsv1(true).to_bytes()).await;
    let frame = peer.message().await;
    assert!(frame.payload.len() <= 1, "{frame:?}");
    peer.bye().await;
}

#[tokio::test]
async fn compressed_bombs_are_stopped_while_they_inflate() {
    let mut config = Config::default();
    config.limits.max_message = 1 << 20;
    let server = || Server::new().config(config.clone()).compression(DeflateConfig::default());
    let bomb = compressed(&vec![0; 64 << 20]);
    assert!(bomb.len() < 100_000, "64 MiB of nothing in {} bytes", bomb.len());
    let one = raw(2, bomb.clone()).rsv1(true).to_bytes();
    fails_with(server(), &[DEFLATE], &one, 1009, "a bomb in one frame").await;
    let (front, back) = bomb.split_at(1000);
    let two = [raw(2, front).rsv1(true).fin(false).to_bytes(), raw(0, back).to_bytes()].concat();
    fails_with(server(), &[DEFLATE], &two, 1009, "a bomb in two").await;
    let (_running, address) = start(server()).await;
    let (mut peer, _) = open_with(address, "/", &[DEFLATE_ONCE]).await;
    peer.send(raw(2, compressed(&vec![0; 1 << 20])).rsv1(true).to_bytes()).await;
    let mut frame = peer.message().await;
    assert!(frame.rsv1 && inflated(&mut frame.payload).len() == 1 << 20, "exactly the limit");
}

#[tokio::test]
async fn floods_of_empty_blocks_end() {
    let mut config = Config::default();
    config.limits.max_message = 1 << 10;
    let server = Server::new().config(config).compression(DeflateConfig::default());
    // Stored blocks of length 0: five bytes each that inflate to nothing.
    let blocks = [0u8, 0, 0, 0xff, 0xff].repeat(1000);
    let bad = raw(2, blocks).rsv1(true).to_bytes();
    fails_with(server, &[DEFLATE], &bad, 1009, "empty blocks").await;
}

#[tokio::test]
async fn rfc7692_6_1_each_violation_closes_with_its_code() {
    let garbage = raw(2, [0xff; 40]).rsv1(true).to_bytes();
    fails_with(agreeing(), &[DEFLATE], &garbage, 1007, "not DEFLATE").await;
    let behind = [
        raw(1, compressed(b"ab")).rsv1(true).fin(false).to_bytes(),
        raw(0, "x").rsv1(true).to_bytes(),
    ];
    fails_with(agreeing(), &[DEFLATE], &behind.concat(), 1002, "RSV1 in a continuation").await;
    fails_with(agreeing(), &[DEFLATE], &raw(9, "x").rsv1(true).to_bytes(), 1002, "in a Ping").await;
    fails_with(agreeing(), &[DEFLATE], &raw(8, "").rsv1(true).to_bytes(), 1002, "in a Close").await;
    let bad = raw(1, compressed(b"a\xff")).rsv1(true).to_bytes();
    fails_with(agreeing(), &[DEFLATE], &bad, 1007, "compressed text that is not UTF-8").await;
    let rsv2 = RawFrame { rsv: [true, true, false], ..raw(1, compressed(b"a")) }.to_bytes();
    fails_with(agreeing(), &[DEFLATE], &rsv2, 1002, "RSV2 beside RSV1").await;
    // A distance that reaches behind the first byte: a match of 3 bytes at distance 1, of nothing.
    let far = raw(2, [0x03, 0x02, 0x00]).rsv1(true).to_bytes();
    fails_with(agreeing(), &[DEFLATE_ONCE], &far, 1007, "a distance behind the start").await;
    // Offered, not negotiated.
    let plain = raw(1, compressed(b"a")).rsv1(true).to_bytes();
    fails_with(Server::new(), &[DEFLATE], &plain, 1002, "not negotiated").await;
}

#[tokio::test]
async fn history_that_was_not_agreed_is_not_kept() {
    let (_running, address) = start(deflating()).await;
    let (mut peer, _) = open_with(address, "/", &[DEFLATE_ONCE]).await;
    let mut with_history = Compressor::new(15, true, Level::default(), Pool::default());
    let text = "the same words that come back ".repeat(3);
    let (mut first, mut second) = (Vec::new(), Vec::new());
    with_history.compress(text.as_bytes(), true, &mut first);
    with_history.compress(text.as_bytes(), true, &mut second);
    peer.send(raw(1, first).rsv1(true).to_bytes()).await;
    let mut frame = peer.message().await;
    assert_eq!(inflated(&mut frame.payload), text.as_bytes());
    // The second refers to the first, which the server has forgotten.
    peer.send(raw(1, second).rsv1(true).to_bytes()).await;
    peer.expect_close(1007).await;
    peer.expect_end().await;
}

#[tokio::test]
async fn data_that_does_not_shrink_comes_back_whole() {
    let (_running, address) = start(deflating()).await;
    for line in [DEFLATE, DEFLATE_ONCE] {
        let (mut peer, _) = open_with(address, "/", &[line]).await;
        let mut inflater = Inflater::new(15, line == DEFLATE, Pool::default());
        let mut seed = 1u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        })
        .take(300_000)
        .collect();
        for _ in 0..2 {
            peer.send(binary(&noise)).await;
            let mut frame = peer.message().await;
            let echo = match frame.rsv1 {
                true => inflate_with(&mut inflater, &mut frame.payload),
                false => frame.payload,
            };
            assert!(echo == noise);
        }
        peer.bye().await;
    }
}
