//! Whole connections in virtual time, seen from outside.

use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use super::{Connection, DeflateSetup, Role};
use crate::close::{Cause, CloseCode, CloseFrame, Closed};
use crate::deflate::Pool;
use crate::handshake::DeflateParams;
use crate::raw::RawFrame;
use crate::{Config, Error, Event, Keepalive, Message, Payload, ProtocolError, Timestamp};

mod batches;
mod closing;
mod compression;
mod keepalive;
mod marks;
mod memory;
mod output;
mod pairs;
mod shedding;
mod streaming;

/// The key that the client of these tests masks with.
const KEY: [u8; 4] = [0xA5, 0x00, 0x5A, 0xFF];

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

fn at(ms: u64) -> Timestamp {
    Timestamp::from_epoch(Duration::from_millis(ms))
}

fn client_role() -> Role {
    Role::Client(Box::new(|| KEY))
}

/// Keepalive off: tests of time switch it on.
fn quiet() -> Config {
    Config { keepalive: None, ..Config::default() }
}

fn server_with(config: Config) -> Connection {
    Connection::new(Role::Server, Arc::new(config), None, at(0))
}

fn client_with(config: Config) -> Connection {
    Connection::new(client_role(), Arc::new(config), None, at(0))
}

fn server() -> Connection {
    server_with(quiet())
}

fn client() -> Connection {
    client_with(quiet())
}

fn params(takeover: bool, bits: u8) -> DeflateParams {
    DeflateParams {
        server_no_context_takeover: !takeover,
        client_no_context_takeover: !takeover,
        server_max_window_bits: bits,
        client_max_window_bits: bits,
    }
}

fn deflating(role: Role, config: Config, params: DeflateParams) -> Connection {
    let setup = DeflateSetup { params, compress: true, pool: Pool::default() };
    Connection::new(role, Arc::new(config), Some(setup), at(0))
}

/// A frame as the peer of `to` would send it: masked for a server.
fn frame(to: &Connection, opcode: u8, payload: &[u8]) -> Vec<u8> {
    raw(to, RawFrame::new(opcode, payload))
}

fn raw(to: &Connection, frame: RawFrame) -> Vec<u8> {
    match to.side() {
        crate::Side::Server => frame.masked(KEY).to_bytes(),
        crate::Side::Client => frame.to_bytes(),
    }
}

/// Feeds all of `bytes`; gives the events, located payloads made their own.
fn feed(to: &mut Connection, bytes: &[u8], now: Timestamp) -> Result<Vec<Event>, Error> {
    let mut input = bytes.to_vec();
    let mut from = 0;
    let mut events = Vec::new();
    loop {
        let rest = &mut input[from..];
        let progress = to.handle_input(rest, now)?;
        assert!(progress.consumed <= rest.len());
        events.extend(progress.event.map(|e| own(e, rest)));
        from += progress.consumed;
        if from == input.len() && !progress.again {
            return Ok(events);
        }
    }
}

/// The event with its payload in a buffer of its own.
fn own(event: Event, input: &[u8]) -> Event {
    let own = |payload| match payload {
        Payload::Located(range) => Payload::Owned(input[range].to_vec().into()),
        owned => owned,
    };
    match event {
        Event::Message { kind, payload } => Event::Message { kind, payload: own(payload) },
        Event::Chunk { kind, first, last, payload } => {
            Event::Chunk { kind, first, last, payload: own(payload) }
        }
        other => other,
    }
}

/// The messages among `events`.
fn messages(events: Vec<Event>) -> Vec<Message> {
    let message = |e| match e {
        Event::Message { kind: crate::MessageKind::Text, payload: Payload::Owned(bytes) } => {
            Some(Message::Text(crate::Utf8Bytes::try_from(bytes).expect("text is UTF-8")))
        }
        Event::Message { payload: Payload::Owned(bytes), .. } => Some(Message::Binary(bytes)),
        _ => None,
    };
    events.into_iter().filter_map(message).collect()
}

/// At most `most` bytes that `from` wants to write next, taken by the transport.
fn take(from: &mut Connection, most: usize, now: Timestamp) -> Vec<u8> {
    let mut out = Vec::new();
    let mut slices = [IoSlice::new(&[]); 4];
    let n = from.poll_transmit(&mut slices, now);
    for slice in &slices[..n] {
        let room = most - out.len();
        out.extend_from_slice(&slice[..slice.len().min(room)]);
    }
    from.handle_transmitted(out.len(), now);
    out
}

/// All that `from` wants to write.
fn drain(from: &mut Connection, now: Timestamp) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let some = take(from, usize::MAX, now);
        if some.is_empty() {
            return out;
        }
        out.extend(some);
    }
}

/// A frame as it lies on the wire, unmasked.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    fin: bool,
    rsv1: bool,
    opcode: u8,
    masked: bool,
    payload: Vec<u8>,
}

/// Splits a stream into frames, by RFC 6455 section 5.2 and nothing of this crate.
fn frames(mut bytes: &[u8]) -> Vec<Seen> {
    let mut seen = Vec::new();
    while !bytes.is_empty() {
        let (a, b) = (bytes[0], bytes[1]);
        let (len, mut n) = match b & 0x7F {
            126 => (usize::from(u16::from_be_bytes([bytes[2], bytes[3]])), 4),
            127 => (u64::from_be_bytes(bytes[2..10].try_into().expect("8 bytes")) as usize, 10),
            short => (usize::from(short), 2),
        };
        let masked = b & 0x80 != 0;
        let mut key = [0; 4];
        if masked {
            key.copy_from_slice(&bytes[n..n + 4]);
            n += 4;
        }
        let payload = &bytes[n..n + len];
        let payload = payload.iter().enumerate().map(|(i, b)| b ^ key[i % 4]).collect();
        let (fin, rsv1, opcode) = (a & 0x80 != 0, a & 0x40 != 0, a & 0x0F);
        seen.push(Seen { fin, rsv1, opcode, masked, payload });
        bytes = &bytes[n + len..];
    }
    seen
}

/// What each frame is: its opcode and payload.
fn short(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    frames(bytes).into_iter().map(|f| (f.opcode, f.payload)).collect()
}

fn close_frame(code: u16, reason: &str) -> CloseFrame {
    CloseFrame::new(CloseCode::new(code), reason).expect("a legal code")
}

fn closed(connection: &Connection) -> &Closed {
    connection.closed().expect("the outcome is known")
}

/// Bytes that neither repeat nor shrink, the same in every run.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    (0..len).map(|_| random.next() as u8).collect()
}

/// A small deterministic generator (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}
