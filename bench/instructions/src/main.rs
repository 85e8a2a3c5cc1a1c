//! The core's work in cases whose instructions are counted; `run` beside this counts them.
//!
//! Without an argument it names the cases and how many units of work each does; with the name of a
//! case it does that work. Only what runs inside [`measured`] counts: all that a case needs is made
//! before, and its work is done once beforehand, so that lazy set-up does not count.

use std::hint::black_box;
use std::io::IoSlice;
use std::sync::Arc;

use bytes::Bytes;
use provod_proto::deflate::{Compressor, Inflater, Level, Pool, compress_once};
use provod_proto::raw::RawFrame;
use provod_proto::{
    Compress, Config, Connection, Event, MessageRef, Payload, Role, Timestamp, Utf8Bytes,
    apply_mask,
};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
/// How often the work of a case is done.
const TIMES: usize = 50;
/// Messages in one turn of an echo.
const BATCH: usize = 32;

/// Does one round of a case's work; the number says which one it is.
type Work = Box<dyn FnMut(usize)>;

struct Case {
    name: &'static str,
    /// What one round does so many times.
    units: usize,
    make: fn() -> Work,
}

const CASES: [Case; 16] = [
    Case { name: "header decode", units: BATCH, make: || receive(2, vec![]) },
    Case { name: "header decode, byte by byte", units: 2, make: cut_headers },
    Case { name: "unmask, 20 B", units: 1, make: || unmask(20) },
    Case { name: "unmask, 1 KiB", units: 1, make: || unmask(1024) },
    Case { name: "unmask, 64 KiB", units: 1, make: || unmask(65_536) },
    Case { name: "UTF-8, 1 KiB ASCII", units: 1, make: || utf8(ascii(1024)) },
    Case { name: "UTF-8, 1 KiB Cyrillic", units: 1, make: || utf8(cyrillic(1024)) },
    Case { name: "echo binary, 20 B, 1 a turn", units: 1, make: || echo(2, vec![7; 20], 1) },
    Case {
        name: "echo binary, 20 B, 32 a turn",
        units: BATCH,
        make: || echo(2, vec![7; 20], BATCH),
    },
    Case { name: "echo text, 20 B, 32 a turn", units: BATCH, make: || echo(1, ascii(20), BATCH) },
    Case {
        name: "echo binary, 1 KiB, 32 a turn",
        units: BATCH,
        make: || echo(2, vec![7; 1024], BATCH),
    },
    Case {
        name: "echo text, 1 KiB Cyrillic, 32 a turn",
        units: BATCH,
        make: || echo(1, cyrillic(1024), BATCH),
    },
    Case {
        name: "echo binary, 64 KiB in two reads",
        units: 1,
        make: || echo(2, vec![7; 65_536], 1),
    },
    Case {
        name: "echo text, 64 KiB Cyrillic in two reads",
        units: 1,
        make: || echo(1, cyrillic(65_536), 1),
    },
    Case { name: "deflate, 1 KiB JSON", units: 1, make: deflate },
    Case { name: "inflate, 1 KiB JSON", units: 1, make: inflate },
];

fn main() {
    let Some(name) = std::env::args().nth(1) else {
        CASES.iter().for_each(|case| println!("{}\t{}", case.name, case.units * TIMES));
        return;
    };
    let case = CASES.iter().find(|case| case.name == name).expect("the name of a case");
    let mut work = (case.make)();
    // The first round is not counted.
    work(0);
    measured(&mut work);
}

/// All that is counted.
#[inline(never)]
fn measured(work: &mut dyn FnMut(usize)) {
    (1..=TIMES).for_each(work);
}

fn ascii(len: usize) -> Vec<u8> {
    b"abcdefgh".iter().copied().cycle().take(len).collect()
}

/// Two bytes a letter, and a space now and then, as text has it.
fn cyrillic(len: usize) -> Vec<u8> {
    let mut text: String = "Привет, как дела? ".chars().cycle().take(len).collect();
    while text.len() > len {
        text.pop();
    }
    text.extend(std::iter::repeat_n('.', len - text.len()));
    text.into_bytes()
}

fn json() -> Vec<u8> {
    let one =
        |i: usize| format!(r#"{{"type":"chat","user":"anna","text":"hello there","id":{i}}},"#);
    let mut all: Vec<u8> = (1000..).flat_map(|i| one(i * i).into_bytes()).take(1024).collect();
    all.truncate(1024);
    all
}

/// One of `input` for each round: unmasking changes it in place.
fn rounds(input: &[u8]) -> Vec<Vec<u8>> {
    vec![input.to_vec(); TIMES + 1]
}

fn server() -> Connection {
    Connection::new(Role::Server, Arc::new(Config::default()), None, Timestamp::default())
}

fn frames(opcode: u8, payload: Vec<u8>, times: usize) -> Vec<u8> {
    RawFrame::new(opcode, payload).masked(KEY).to_bytes().repeat(times)
}

/// Takes messages and throws them away.
fn receive(opcode: u8, payload: Vec<u8>) -> Work {
    let mut core = server();
    let mut inputs = rounds(&frames(opcode, payload, BATCH));
    Box::new(move |round| {
        take(&mut core, &mut inputs[round], |_, message| {
            black_box(message);
        });
    })
}

/// The headers of an empty and of a longer message, byte by byte.
fn cut_headers() -> Work {
    let mut core = server();
    let mut inputs = rounds(&[frames(2, vec![], 1), frames(2, vec![7; 126], 1)].concat());
    Box::new(move |round| {
        let (headers, payload) = inputs[round].split_at_mut(6 + 8);
        for byte in headers.chunks_mut(1) {
            take(&mut core, byte, |_, _| {});
        }
        take(&mut core, payload, |_, _| {});
    })
}

fn unmask(len: usize) -> Work {
    let mut data = vec![7; len];
    Box::new(move |_| apply_mask(black_box(&mut data), KEY, 0))
}

fn utf8(text: Vec<u8>) -> Work {
    let text = Bytes::from(text).slice(..);
    let text = text.clone();
    Box::new(move |_| {
        black_box(Utf8Bytes::try_from(black_box(text.clone())).expect("it is UTF-8"));
    })
}

/// What a server does that answers each message with itself: one turn a round.
fn echo(opcode: u8, payload: Vec<u8>, times: usize) -> Work {
    let mut core = server();
    let input = frames(opcode, payload, times);
    // What is longer than a read buffer comes in two reads.
    let read = if input.len() > 65_536 { input.len() / 2 } else { input.len() };
    let mut inputs = rounds(&input);
    Box::new(move |round| {
        for input in inputs[round].chunks_mut(read) {
            take(&mut core, input, |core, message| {
                core.send_slice(message, Compress::Auto).expect("the connection is open");
            });
        }
        loop {
            let mut slices = [IoSlice::new(&[]); 64];
            let n = core.poll_transmit(&mut slices, Timestamp::default());
            if n == 0 {
                break;
            }
            let len = slices[..n].iter().map(|s| black_box(s).len()).sum();
            core.handle_transmitted(len, Timestamp::default());
        }
    })
}

/// Gives all of `input` to the core, and each message that comes of it to `each`.
fn take(
    core: &mut Connection,
    input: &mut [u8],
    mut each: impl FnMut(&mut Connection, MessageRef<'_>),
) {
    let mut at = 0;
    loop {
        let rest = &mut input[at..];
        let progress = core.handle_input(rest, Timestamp::default()).expect("the frames are right");
        if let Some(Event::Message { kind, payload }) = progress.event {
            let bytes = match &payload {
                Payload::Located(range) => &rest[range.clone()],
                Payload::Owned(bytes) => bytes,
            };
            each(core, MessageRef::from_checked(kind, bytes));
        }
        at += progress.consumed;
        if at == input.len() && !progress.again {
            return;
        }
    }
}

fn deflate() -> Work {
    let mut compressor = Compressor::new(15, false, Level::default(), Pool::default());
    let input = json();
    let mut out = Vec::with_capacity(4096);
    Box::new(move |_| {
        out.clear();
        compressor.compress(black_box(&input), true, &mut out);
    })
}

fn inflate() -> Work {
    let mut inflater = Inflater::new(15, false, Pool::default());
    let input = compress_once(&json(), 15, Level::default(), &Pool::default());
    let mut out = Vec::with_capacity(4096);
    Box::new(move |_| {
        out.clear();
        let mut rest = &input[..];
        while !rest.is_empty() {
            let step = inflater.step(rest, &mut out, 65_536).expect("it is DEFLATE");
            rest = &rest[step.consumed..];
        }
        while !inflater.finish_step(&mut out, 65_536).expect("it is whole").done {}
        assert_eq!(out.len(), 1024);
    })
}
