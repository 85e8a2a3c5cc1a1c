//! What the core costs, without sockets: nanoseconds for one message through it.
//!
//! ```text
//! cargo run --release --manifest-path bench/Cargo.toml [-- FILTER]
//! valgrind --tool=callgrind target/release/provod-bench FILTER ONCE
//! ```
//!
//! The first prints the median of eleven runs, which is good for ratios within one run. The second counts
//! instructions, which is repeatable: with a third argument each case runs a fixed number of times, once.

use std::hint::black_box;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

use provod_proto::deflate::Pool;
use provod_proto::handshake::{DeflateParams, HeadLimits, RequestReader, validate};
use provod_proto::raw::RawFrame;
use provod_proto::{
    Config, Connection, DeflateSetup, Event, Message, Payload, Role, Timestamp, Utf8Bytes,
    apply_mask,
};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A named piece of work; the number is how many units one call does.
struct Case {
    name: String,
    units: u64,
    work: Box<dyn FnMut()>,
}

fn main() {
    let mut args = std::env::args().skip(1);
    let filter = args.next().unwrap_or_default();
    let once = args.next().is_some();
    for mut case in cases().into_iter().filter(|c| c.name.contains(&filter)) {
        if once {
            (0..1000).for_each(|_| (case.work)());
            println!("{:<36} 1000 calls of {} units", case.name, case.units);
            continue;
        }
        let mut calls = 1u64;
        let time = |case: &mut Case, calls: u64| {
            let start = Instant::now();
            (0..calls).for_each(|_| (case.work)());
            start.elapsed().as_nanos() as u64
        };
        while time(&mut case, calls) < 20_000_000 {
            calls *= 2;
        }
        let mut runs: Vec<u64> = (0..11).map(|_| time(&mut case, calls)).collect();
        runs.sort_unstable();
        let ns = runs[5] as f64 / (calls * case.units) as f64;
        println!("{:<36} {ns:>12.1} ns", case.name);
    }
}

fn cases() -> Vec<Case> {
    let ascii = |n: usize| "abcdefgh".repeat(n / 8 + 1)[..n].to_owned();
    let mixed: String = "Привет, server! ".chars().cycle().take(700).collect();
    let json = br#"{"type":"chat","user":"anna","text":"hello there","id":12345},"#.repeat(16);
    let mut cases = Vec::new();
    for n in [20, 1024, 65536] {
        let mut data = vec![7u8; n];
        cases.push(Case {
            name: format!("mask {n}"),
            units: 1,
            work: Box::new(move || apply_mask(black_box(&mut data), KEY, 1)),
        });
    }
    for (name, opcode, payload) in [
        ("echo binary 20 x32", 2, vec![1u8; 20]),
        ("echo text 20 x32", 1, ascii(20).into_bytes()),
        ("echo binary 1024 x32", 2, vec![1u8; 1024]),
        ("echo text 1024 x32 ascii", 1, ascii(1024).into_bytes()),
        ("echo text ~1 KiB x32 mixed", 1, mixed.into_bytes()),
    ] {
        let batch = RawFrame::new(opcode, payload).masked(KEY).to_bytes().repeat(32);
        cases.push(echo(name, batch, 32, None));
    }
    let deflate = DeflateSetup {
        params: DeflateParams {
            server_no_context_takeover: true,
            client_no_context_takeover: true,
            server_max_window_bits: 15,
            client_max_window_bits: 15,
        },
        compress: true,
        pool: Pool::default(),
    };
    let wire = provod_proto::deflate::compress_once(
        &json[..1024.min(json.len())],
        15,
        Default::default(),
        &deflate.pool,
    );
    let frame = RawFrame::new(1, wire).rsv1(true).masked(KEY).to_bytes();
    cases.push(echo("echo deflate ~1 KiB json", frame, 1, Some(deflate)));
    cases.push(Case {
        name: "opening handshake, parse and check".into(),
        units: 1,
        work: Box::new(|| {
            let head = b"GET /chat HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n\
                Connection: keep-alive, Upgrade\r\nOrigin: http://example.com\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                Sec-WebSocket-Version: 13\r\n\r\n";
            let mut reader = RequestReader::new(HeadLimits::default());
            let read = reader.push(black_box(head)).expect("the head is right");
            black_box(validate(&read.head.expect("the head is whole")).expect("it is right"));
        }),
    });
    cases
}

/// A server's core that answers every message of `batch` with itself.
fn echo(name: &str, batch: Vec<u8>, units: u64, deflate: Option<DeflateSetup>) -> Case {
    let mut config = Config::default();
    config.keepalive = None;
    config.compression.threshold = 0;
    let now = Timestamp::default();
    let mut core = Connection::new(Role::Server, Arc::new(config), deflate, now);
    let mut input = Vec::with_capacity(batch.len());
    let work = move || {
        // Unmasking changes the input in place.
        input.clear();
        input.extend_from_slice(&batch);
        let mut at = 0;
        loop {
            let progress = core.handle_input(&mut input[at..], now).expect("the frames are right");
            if let Some(Event::Message { kind, payload }) = progress.event {
                let bytes = match payload {
                    Payload::Located(range) => input[at..][range].to_vec().into(),
                    Payload::Owned(bytes) => bytes,
                };
                let message = match kind {
                    provod_proto::MessageKind::Text => {
                        Message::Text(Utf8Bytes::from_checked(bytes))
                    }
                    provod_proto::MessageKind::Binary => Message::Binary(bytes),
                };
                core.send(message).expect("the connection is open");
            }
            at += progress.consumed;
            if at == input.len() && !progress.again {
                break;
            }
        }
        loop {
            let mut slices = [IoSlice::new(&[]); 64];
            let n = core.poll_transmit(&mut slices, now);
            if n == 0 {
                break;
            }
            let taken = slices[..n].iter().map(|s| black_box(s).len()).sum();
            core.handle_transmitted(taken, now);
        }
    };
    Case { name: name.into(), units, work: Box::new(work) }
}
