//! Feeds a vector in every way and compares.

use std::io::IoSlice;
use std::sync::Arc;

use provod_proto::deflate::Pool;
use provod_proto::handshake::DeflateParams;
use provod_proto::{
    Config, Connection, DeflateSetup, Error, Event, MessageKind, Payload, Role, Side, Timestamp,
};

use crate::format::{Frame, Input, KEY, Vector};

/// What the core made of an input.
#[derive(Debug, PartialEq)]
struct Outcome {
    /// Opcode and payload of each message and control frame.
    events: Vec<(u8, Vec<u8>)>,
    error: Option<Error>,
    /// Bytes that were given when the error came.
    fed: usize,
    /// Opcode and payload of each frame that was written.
    answer: Vec<(u8, Vec<u8>)>,
    cut: bool,
}

struct Feeder {
    connection: Connection,
    events: Vec<(u8, Vec<u8>)>,
    /// The pieces so far of a message that is streamed.
    pieces: Vec<u8>,
    /// What was given and not consumed.
    rest: Vec<u8>,
    fed: usize,
    error: Option<Error>,
}

impl Feeder {
    fn new(vector: &Vector, receiver: Side, streamed: bool) -> Self {
        let mut config = Config::default();
        if let Some(max) = vector.max_message {
            config.limits.max_message = max;
        }
        if let Some(max) = vector.max_fragments {
            config.limits.max_fragments = max;
        }
        let deflate = vector.deflate.as_deref().map(|mode| DeflateSetup {
            params: DeflateParams {
                server_no_context_takeover: mode == "no-takeover",
                client_no_context_takeover: mode == "no-takeover",
                server_max_window_bits: 15,
                client_max_window_bits: 15,
            },
            compress: true,
            pool: Pool::default(),
        });
        let role = match receiver {
            Side::Server => Role::Server,
            Side::Client => Role::Client(Box::new(|| KEY)),
        };
        let mut connection = Connection::new(role, Arc::new(config), deflate, Timestamp::default());
        connection.stream_messages(streamed);
        Self {
            connection,
            events: Vec::new(),
            pieces: Vec::new(),
            rest: Vec::new(),
            fed: 0,
            error: None,
        }
    }

    fn give(&mut self, piece: &[u8]) {
        if self.error.is_some() {
            return;
        }
        self.fed += piece.len();
        self.rest.extend_from_slice(piece);
        loop {
            match self.connection.handle_input(&mut self.rest, Timestamp::default()) {
                Ok(progress) => {
                    assert!(progress.consumed <= self.rest.len());
                    if let Some(event) = progress.event {
                        self.event(event);
                    }
                    self.rest.drain(..progress.consumed);
                    if self.rest.is_empty() && !progress.again {
                        return;
                    }
                }
                Err(e) => {
                    self.error = Some(e);
                    return;
                }
            }
        }
    }

    /// Gives the front of `input` to the message's own buffer, if there is one; says how much.
    fn give_direct(&mut self, input: &[u8], most: usize) -> usize {
        if !self.rest.is_empty() || self.error.is_some() {
            return 0;
        }
        let Some(room) = self.connection.direct_buffer() else { return 0 };
        let n = room.len().min(input.len()).min(most);
        room[..n].copy_from_slice(&input[..n]);
        self.fed += n;
        match self.connection.handle_direct(n, Timestamp::default()) {
            Ok(progress) => {
                if let Some(event) = progress.event {
                    self.event(event);
                }
            }
            Err(e) => self.error = Some(e),
        }
        n
    }

    fn event(&mut self, event: Event) {
        let rest = &self.rest;
        let own = |payload| match payload {
            Payload::Located(range) => rest[range].to_vec(),
            Payload::Owned(bytes) => bytes.to_vec(),
        };
        let opcode = |kind| match kind {
            MessageKind::Text => 1,
            MessageKind::Binary => 2,
        };
        let event = match event {
            Event::Message { kind, payload } => (opcode(kind), own(payload)),
            Event::Chunk { kind, first, last, payload } => {
                assert_eq!(first, self.pieces.is_empty(), "an empty piece is only the last");
                let piece = own(payload);
                assert!(last || !piece.is_empty());
                self.pieces.extend(piece);
                if !last {
                    return;
                }
                (opcode(kind), std::mem::take(&mut self.pieces))
            }
            Event::Ping(payload) => (9, payload.to_vec()),
            Event::Pong { payload, .. } => (10, payload.to_vec()),
            Event::Close(None) => (8, Vec::new()),
            Event::Close(Some(frame)) => {
                let code = frame.code.as_u16().to_be_bytes();
                (8, [&code[..], frame.reason.as_bytes()].concat())
            }
            other => panic!("{other:?}"),
        };
        self.events.push(event);
    }

    fn finish(mut self, receiver: Side) -> Outcome {
        let now = Timestamp::default();
        // Data after a Close or an error means nothing any more.
        if !self.connection.is_receiving() {
            let again = self.connection.handle_input(&mut [0xFF; 20], now);
            assert_eq!(again.err(), self.error);
        }
        let receiving = self.connection.is_receiving();
        let cut = self.connection.handle_eof(now) && receiving;
        self.connection.release_close(now);
        let mut written = Vec::new();
        loop {
            let mut slices = [IoSlice::new(&[]); 8];
            let n = self.connection.poll_transmit(&mut slices, now);
            let before = written.len();
            slices[..n].iter().for_each(|s| written.extend_from_slice(s));
            let taken = written.len() - before;
            if taken == 0 {
                break;
            }
            self.connection.handle_transmitted(taken, now);
        }
        assert!(self.connection.is_done() && self.connection.closed().is_some());
        let answer = split(&written, receiver == Side::Client);
        Outcome { events: self.events, error: self.error, fed: self.fed, answer, cut }
    }
}

/// Splits what the core wrote into frames, none of which is ever longer than 16 bits say.
fn split(mut bytes: &[u8], masked: bool) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        assert_eq!(bytes[0] & 0xF0, 0x80, "a control frame has FIN and no reserved bit");
        assert_eq!(bytes[1] & 0x80 != 0, masked);
        let len = usize::from(bytes[1] & 0x7F);
        assert!(len <= 125);
        let opcode = bytes[0] & 0x0F;
        let (key, from) = if masked { (&bytes[2..6], 6) } else { (&[0; 4][..], 2) };
        let payload = &bytes[from..from + len];
        frames.push((opcode, payload.iter().enumerate().map(|(i, b)| b ^ key[i % 4]).collect()));
        bytes = &bytes[from + len..];
    }
    frames
}

fn expected(lines: &[String]) -> Vec<(u8, Vec<u8>)> {
    lines
        .iter()
        .map(|line| {
            let frame = Frame::parse(line);
            (frame.opcode, frame.payload)
        })
        .collect()
}

pub(crate) fn check(vector: &Vector, receiver: Side) {
    let input = Input::new(&vector.input, receiver);
    let what = format!("{} ({receiver:?})", vector.name);
    let fed_in = |pieces: &[&[u8]], streamed| {
        let mut feeder = Feeder::new(vector, receiver, streamed);
        pieces.iter().for_each(|piece| feeder.give(piece));
        feeder.finish(receiver)
    };

    let whole = fed_in(&[&input.bytes], false);
    assert_eq!(whole.events, expected(&vector.events), "{what}: events");
    let name = whole.error.as_ref().map(|e| match e {
        Error::Protocol(e) => format!("{e:?}"),
        Error::Limit(e) => format!("{e:?}").split(' ').next().unwrap_or_default().to_owned(),
        other => panic!("{what}: {other:?}"),
    });
    assert_eq!(name, vector.error, "{what}: error");
    assert_eq!(whole.cut, vector.cut, "{what}: cut");
    let mut answer = expected(&vector.answer);
    if let Some(e) = &whole.error {
        let code = vector.code.unwrap_or_else(|| panic!("{what}: no code"));
        assert_eq!(e.close_code().map(u16::from), Some(code), "{what}: code");
        let reason = match e {
            Error::Protocol(e) => e.to_string(),
            e => e.to_string(),
        };
        answer.push((8, [&code.to_be_bytes()[..], reason.as_bytes()].concat()));
    }
    assert_eq!(whole.answer, answer, "{what}: answer");

    let same = |got: Outcome, how: &str| {
        assert_eq!(got.events, whole.events, "{what}, {how}: events");
        assert_eq!(got.error, whole.error, "{what}, {how}: error");
        assert_eq!(got.answer, whole.answer, "{what}, {how}: answer");
        assert_eq!(got.cut, whole.cut, "{what}, {how}: cut");
        got.fed
    };

    let single: Vec<&[u8]> = input.bytes.chunks(1).collect();
    for streamed in [false, true] {
        let fed = same(fed_in(&single, streamed), "byte by byte");
        if let Some(place) = &vector.fails {
            assert_eq!(fed, input.place(place), "{what}: the error comes after so many bytes");
        }
    }
    let offsets = offsets(&input);
    for (i, &a) in offsets.iter().enumerate() {
        for &b in &offsets[i..] {
            let (first, rest) = input.bytes.split_at(a);
            let (second, third) = rest.split_at(b - a);
            let pieces = [first, second, third];
            same(fed_in(&pieces, false), &format!("cut at {a} and {b}"));
            if a % 3 == b % 3 {
                same(fed_in(&pieces, true), &format!("streamed, cut at {a} and {b}"));
            }
        }
    }
    for (first, most) in [(1, 1), (7, 3), (300, 1000), (1000, usize::MAX)] {
        let mut feeder = Feeder::new(vector, receiver, false);
        let mut rest = &input.bytes[..];
        while !rest.is_empty() {
            let n = match feeder.give_direct(rest, most) {
                0 => {
                    let n = first.min(rest.len());
                    feeder.give(&rest[..n]);
                    n
                }
                n => n,
            };
            rest = &rest[n..];
        }
        same(feeder.finish(receiver), &format!("direct, {first} and {most} bytes at a time"));
    }
}

/// Where to cut: everywhere in a short input, around every border in a long one.
fn offsets(input: &Input) -> Vec<usize> {
    let len = input.bytes.len();
    if len <= 100 {
        return (0..=len).collect();
    }
    let (around, most) = if len < 10_000 { (3, 60) } else { (1, 14) };
    let mut offsets: Vec<usize> = input
        .places
        .iter()
        .flat_map(|&(start, payload)| [start, payload])
        .chain([len / 2, len])
        .flat_map(|at| at.saturating_sub(around)..=(at + around).min(len))
        .collect();
    offsets.sort_unstable();
    offsets.dedup();
    let step = offsets.len().div_ceil(most);
    offsets.into_iter().step_by(step).collect()
}
