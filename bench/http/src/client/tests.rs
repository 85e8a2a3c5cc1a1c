//! The transports, fed as a network may: split anywhere.

use std::net::SocketAddr;

use super::wire::{self, Heard};
use crate::options::Options;

fn options(words: &[&str]) -> (Options, SocketAddr) {
    let rest = ["connections=1", "warm_up_ms=0", "time_ms=0", "pid=1", "size=20"];
    let addresses = ["address=127.0.0.1:80", "publisher=127.0.0.1:81"];
    let words: Vec<&str> = [words, &rest, &addresses].concat();
    let options = Options::parse(&words).expect("all options are there");
    let address = options.address;
    (options, address)
}

/// What is heard, and what is sent in answer, when `input` comes in pieces of this length.
fn hear(words: &[&str], input: &[u8], piece: usize) -> (Vec<String>, Vec<u8>) {
    let (options, host) = options(words);
    let mut wire = wire::new(&options, host);
    let (mut out, mut said) = (Vec::new(), Vec::new());
    let mut heard = |heard: Heard<'_>| match heard {
        Heard::Open => said.push("open".to_owned()),
        Heard::Message(text) => said.push(String::from_utf8_lossy(text).into_owned()),
    };
    wire.begin(&mut out, &mut heard);
    out.clear();
    let mut rest = Vec::new();
    for piece in input.chunks(piece) {
        rest.extend_from_slice(piece);
        let taken = wire.hear(&rest, &mut out, &mut heard).expect("the input is right");
        rest.drain(..taken);
    }
    assert!(rest.is_empty(), "not taken: {rest:?}");
    (said, out)
}

fn at_any_pace(words: &[&str], input: &[u8], expected: &[&str]) -> Vec<u8> {
    let (said, out) = hear(words, input, input.len());
    assert_eq!(said, expected);
    for piece in 1..input.len() {
        assert_eq!(hear(words, input, piece), (said.clone(), out.clone()), "pieces of {piece}");
    }
    out
}

#[test]
fn frames_are_heard_and_a_ping_is_answered() {
    let input = b"HTTP/1.1 101 Switching Protocols\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x81\x02ab\x89\x01x\x81\x7e\x00\x03cde";
    let words = ["work=push", "wire=websocket", "fields=browser"];
    let out = at_any_pace(&words, input, &["open", "ab", "cde"]);
    assert_eq!(out[..2], [0x8a, 0x81]);
    assert_eq!(out.len(), 7);
}

#[test]
fn events_are_heard_wherever_their_chunks_end() {
    let input = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
        9\r\ndata: one\r\n2\r\n\n\n\r\nB\r\ndata: two\n\n\r\n";
    let words = ["work=push", "wire=http1-events", "fields=browser"];
    at_any_pace(&words, input, &["open", "one", "two"]);
}

#[test]
fn a_poll_asks_for_what_comes_after_the_last_event() {
    let input = b"HTTP/1.1 200 OK\r\ncontent-length: 16\r\n\r\n00000012\none\ntwo";
    let words = ["work=push", "wire=http1-poll", "fields=minimal"];
    let out = at_any_pace(&words, input, &["open", "one", "two"]);
    let request = "GET /poll?after=00000012 HTTP/1.1\r\nHost: 127.0.0.1:80\r\n\r\n";
    assert_eq!(String::from_utf8_lossy(&out), request);
}

#[test]
fn http2_sends_its_fields_by_index_from_the_second_request_on() {
    let (options, host) = options(&["work=echo", "wire=http2", "fields=minimal"]);
    let mut wire = wire::new(&options, host);
    let mut out = Vec::new();
    wire.begin(&mut out, &mut |_| ());
    out.clear();
    wire.say(b"12345678901234567890", &mut out);
    out.clear();
    wire.say(b"12345678901234567890", &mut out);
    // POST, http, then the path, the authority and the length: the newest has the lowest index.
    let headers = [0, 0, 5, 1, 4, 0, 0, 0, 3, 0x83, 0x86, 0x80 | 64, 0x80 | 63, 0x80 | 62];
    let data = [0, 0, 20, 0, 1, 0, 0, 0, 3];
    assert_eq!(out[..23], [&headers[..], &data].concat());
}

#[test]
fn http2_hears_a_body_in_parts_and_answers_settings_and_pings() {
    let mut input = Vec::from(*b"\0\0\0\x04\0\0\0\0\0");
    input.extend_from_slice(b"\0\0\x08\x06\0\0\0\0\0abcdefgh");
    input.extend_from_slice(b"\0\0\x01\x01\x04\0\0\0\x01\x88");
    input.extend_from_slice(b"\0\0\x07\0\0\0\0\0\x01data: o");
    input.extend_from_slice(b"\0\0\x04\0\0\0\0\0\x01ne\n\n");
    let words = ["work=push", "wire=http2-events", "fields=browser"];
    let out = at_any_pace(&words, &input, &["open", "one"]);
    assert_eq!(out, b"\0\0\0\x04\x01\0\0\0\0\0\0\x08\x06\x01\0\0\0\0abcdefgh");
}
