//! The bodies of the fuzz targets in `fuzz/`: plain functions of bytes that panic when a property
//! does not hold. They compile in normal builds, and `cargo test` replays the committed corpora
//! through them.

use std::io::IoSlice;

use provod_proto::{Connection, Event, MessageKind, Payload, Role, Timestamp};

pub mod conversation;
pub mod frames;
pub mod head;
pub mod inflate;
pub mod operations;
mod script;

/// A fuzz body.
pub type Body = fn(&[u8]);

/// Every target: its name, which is also its folder in `fuzz/corpus`, and its body.
pub const TARGETS: [(&str, Body); 5] = [
    ("head", head::run),
    ("frames", frames::run),
    ("inflate", inflate::run),
    ("operations", operations::run),
    ("conversation", conversation::run),
];

/// The key that clients mask with here.
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

fn client() -> Role {
    Role::Client(Box::new(|| KEY))
}

/// The bytes of an event's payload; `input` is what the call was given.
fn owned(payload: Payload, input: &[u8]) -> Vec<u8> {
    match payload {
        // The connection promises that the range lies in the input.
        Payload::Located(range) => input[range].to_vec(),
        Payload::Owned(bytes) => bytes.to_vec(),
    }
}

/// What came out: whole messages, joined where they were streamed, and control frames.
#[derive(Debug, Default, PartialEq, Eq)]
struct Received {
    messages: Vec<(MessageKind, Vec<u8>)>,
    /// Opcode and payload, and how many messages were whole before it.
    controls: Vec<(u8, Vec<u8>, usize)>,
    pieces: Option<Vec<u8>>,
}

impl Received {
    fn take(&mut self, event: Event, input: &[u8]) {
        let before = self.messages.len();
        match event {
            Event::Message { kind, payload } => self.message(kind, owned(payload, input)),
            Event::Chunk { kind, first, last, payload } => {
                assert_eq!(first, self.pieces.is_none(), "the first piece says so");
                let piece = owned(payload, input);
                assert!(last || !piece.is_empty(), "only the last piece may be empty");
                let pieces = self.pieces.get_or_insert_default();
                pieces.extend(piece);
                if last {
                    let whole = self.pieces.take().unwrap_or_default();
                    self.message(kind, whole);
                }
            }
            Event::Ping(payload) => self.controls.push((9, payload.to_vec(), before)),
            Event::Pong { payload, .. } => self.controls.push((10, payload.to_vec(), before)),
            Event::Close(frame) => {
                let payload = frame.map_or_else(Vec::new, |f| {
                    assert!(f.code.may_be_sent());
                    [&f.code.as_u16().to_be_bytes()[..], f.reason.as_bytes()].concat()
                });
                self.controls.push((8, payload, before));
            }
            other => panic!("an event that this test does not know: {other:?}"),
        }
    }

    fn message(&mut self, kind: MessageKind, bytes: Vec<u8>) {
        assert!(kind == MessageKind::Binary || str::from_utf8(&bytes).is_ok());
        self.messages.push((kind, bytes));
    }
}

/// At most `most` bytes that the connection wants to write, taken by the transport.
fn transmit(connection: &mut Connection, most: usize, now: Timestamp) -> Vec<u8> {
    let mut out = Vec::new();
    let mut slices = [IoSlice::new(&[]); 4];
    let n = connection.poll_transmit(&mut slices, now);
    for slice in &slices[..n] {
        let room = most - out.len();
        out.extend_from_slice(&slice[..slice.len().min(room)]);
    }
    connection.handle_transmitted(out.len(), now);
    out
}

/// All that the connection wants to write.
fn drain(connection: &mut Connection, now: Timestamp) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let some = transmit(connection, usize::MAX, now);
        if some.is_empty() {
            assert!(!connection.has_output(), "output that cannot be had would spin a driver");
            return out;
        }
        out.extend(some);
    }
}
