//! What compression costs: time and ratio by level, time and memory by window with context
//! takeover, and the dearest bytes a peer can send. The numbers of `docs/guide/compression.md` and
//! `docs/decisions/0023-short-messages.md` come from here; compare them within one run only.
//!
//! ```text
//! taskset -c 1 cargo run --release -p provod-proto --example deflate_cost
//! ```
#![allow(missing_docs, reason = "nothing in an example is public")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use provod_proto::ProtocolError;
use provod_proto::deflate::{Compressor, Inflater, Level, Pool, compress_once};

/// Messages of each length.
const MESSAGES: usize = 64;
/// Connections that take turns, so that none finds its state in the processor's first caches.
const CONNECTIONS: usize = 64;
/// Bytes compressed in one timed run.
const VOLUME: usize = 6_000_000;
/// The best of so many runs is printed.
const RUNS: usize = 5;
/// Output of one step of the inflater, as the connection asks for it.
const STEP: usize = 64 << 10;

fn main() -> Result<(), ProtocolError> {
    time_and_ratio()?;
    taking_turns()?;
    restarts()?;
    bomb()
}

fn time_and_ratio() -> Result<(), ProtocolError> {
    println!("length  takeover  bits  level  compress  ratio  inflate");
    for length in [256, 1024, 4096, 16384, 65536] {
        let messages: Vec<Vec<u8>> = (0..MESSAGES).map(|i| json(i, length)).collect();
        let rounds = (VOLUME / length / MESSAGES).max(5);
        for (takeover, bits) in [(false, 15), (true, 15), (false, 9), (true, 9)] {
            if bits == 9 && length != 1024 {
                continue;
            }
            for level in [1, 2, 3, 6, 9].into_iter().filter_map(Level::new) {
                let (compress, ratio) = compressing(&messages, rounds, bits, takeover, level);
                let inflate = inflating(&messages, rounds, bits, takeover, level)?;
                println!(
                    "{length:6}  {takeover:8}  {bits:4}  {:5}  {compress:5.2} us  {ratio:.3}  \
                     {inflate:4.2} us",
                    level.get(),
                );
            }
        }
    }
    Ok(())
}

/// Microseconds for one message, and the compressed part of its length.
fn compressing(
    messages: &[Vec<u8>],
    rounds: usize,
    bits: u8,
    takeover: bool,
    level: Level,
) -> (f64, f64) {
    let mut compressor = Compressor::new(bits, takeover, level, Pool::new(1));
    let mut out = Vec::new();
    let mut made = 0;
    let best = best_of(|| {
        made = 0;
        for message in messages.iter().cycle().take(rounds * messages.len()) {
            out.clear();
            compressor.compress(black_box(message), true, &mut out);
            made += out.len();
        }
        Ok::<_, ProtocolError>(())
    });
    let count = (rounds * messages.len()) as f64;
    let length: usize = messages.iter().map(Vec::len).sum();
    (best.unwrap_or(f64::NAN) / count, made as f64 / (rounds * length) as f64)
}

/// Microseconds for one message.
fn inflating(
    messages: &[Vec<u8>],
    rounds: usize,
    bits: u8,
    takeover: bool,
    level: Level,
) -> Result<f64, ProtocolError> {
    let pool = Pool::new(1);
    let payloads: Vec<_> = messages.iter().map(|m| compress_once(m, bits, level, &pool)).collect();
    let mut inflater = Inflater::new(bits, takeover, pool);
    let mut out = Vec::new();
    let best = best_of(|| {
        for payload in payloads.iter().cycle().take(rounds * payloads.len()) {
            out.clear();
            inflate(&mut inflater, payload, &mut out)?;
            black_box(&out);
        }
        Ok(())
    })?;
    Ok(best / (rounds * payloads.len()) as f64)
}

/// Context takeover on many connections: a state of zlib's for each, and what this crate keeps.
/// Messages of 1 KiB.
fn taking_turns() -> Result<(), ProtocolError> {
    println!(
        "\n{CONNECTIONS} connections, context takeover, level 3, 1 KiB: time, memory each, ratio"
    );
    println!("bits  compressor: zlib's        ours                      inflater: zlib's    ours");
    let messages: Vec<Vec<u8>> = (0..16 * MESSAGES).map(|i| json(i, 1024)).collect();
    // Each connection has its own order.
    let turns = (0..8 * messages.len()).map(|i| (i % CONNECTIONS, (i * 7 + i / CONNECTIONS)));
    let turns: Vec<_> = turns.map(|(c, m)| (c, m % messages.len())).collect();
    let level = Level::default();
    let pool = Pool::new(1);
    let once = compress_once(&messages[0], 15, level, &pool);
    inflate(&mut Inflater::new(15, false, pool.clone()), &once, &mut Vec::new())?;
    for bits in 9..=15 {
        let zlib = || Compress::new_with_window_bits(Compression::new(3), false, bits);
        let compress = |stream: &mut Compress, message: &[u8], out: &mut Vec<u8>| {
            out.reserve(2048);
            assert!(stream.compress_vec(message, out, FlushCompress::Sync).is_ok());
        };
        let before = LIVE.load(Relaxed);
        let mut states: Vec<_> = (0..CONNECTIONS).map(|_| zlib()).collect();
        let theirs = run(&turns, &messages, 4, before, |c, message, out| {
            compress(&mut states[c], message, out);
        });
        drop(states);

        let mut states: Vec<_> =
            (0..CONNECTIONS).map(|_| Compressor::new(bits, true, level, pool.clone())).collect();
        let before = LIVE.load(Relaxed);
        let ours = run(&turns, &messages, 0, before, |c, message, out| {
            states[c].compress(message, true, out);
        });
        drop(states);

        let payloads: Vec<_> =
            messages.iter().map(|m| compress_once(m, bits, level, &pool)).collect();
        let before = LIVE.load(Relaxed);
        let mut states: Vec<_> =
            (0..CONNECTIONS).map(|_| Decompress::new_with_window_bits(false, bits)).collect();
        let their_inflater = run(&turns, &payloads, 0, before, |c, payload, out| {
            out.reserve(4096);
            for part in [payload, &[0, 0, 0xFF, 0xFF]] {
                assert!(states[c].decompress_vec(part, out, FlushDecompress::Sync).is_ok());
            }
        });
        drop(states);

        let mut states: Vec<_> =
            (0..CONNECTIONS).map(|_| Inflater::new(bits, true, pool.clone())).collect();
        let before = LIVE.load(Relaxed);
        let our_inflater = run(&turns, &payloads, 0, before, |c, payload, out| {
            assert!(inflate(&mut states[c], payload, out).is_ok());
        });
        println!(
            "{bits:4}  {} {:.3}  {} {:.3}  {}  {}",
            theirs.0, theirs.1, ours.0, ours.1, their_inflater.0, our_inflater.0,
        );
    }
    Ok(())
}

/// The time of one message and the bytes that each connection holds more than `before`; and the
/// part of the messages' length that is left. Of each output `tail` bytes do not count.
fn run(
    turns: &[(usize, usize)],
    messages: &[Vec<u8>],
    tail: usize,
    before: usize,
    mut work: impl FnMut(usize, &[u8], &mut Vec<u8>),
) -> (String, f64) {
    let mut out = Vec::with_capacity(8192);
    let own = out.capacity();
    let mut ratio = 0.0;
    let best = best_of(|| {
        let mut made = 0;
        let mut given = 0;
        for &(connection, message) in turns {
            out.clear();
            work(connection, &messages[message], &mut out);
            given += messages[message].len();
            made += out.len() - tail;
        }
        ratio = made as f64 / given as f64;
        Ok::<_, ProtocolError>(())
    });
    let micros = best.unwrap_or(f64::NAN) / turns.len() as f64;
    let bytes = (LIVE.load(Relaxed) - before - own) / CONNECTIONS;
    (format!("{micros:5.2} us {bytes:6} B"), ratio)
}

/// Streams that end with every two bytes: each restart copies the window.
fn restarts() -> Result<(), ProtocolError> {
    let mut inflater = Inflater::new(15, true, Pool::new(1));
    let mut out = Vec::new();
    let filled = compress_once(&json(1, 65536), 15, Level::default(), &Pool::new(0));
    inflate(&mut inflater, &filled, &mut out)?;
    let input = [0x03, 0x00].repeat(1 << 17);
    let begun = Instant::now();
    let mut rest = &input[..];
    let mut steps = 0;
    while !rest.is_empty() {
        let step = inflater.step(rest, &mut out, STEP)?;
        rest = rest.get(step.consumed..).unwrap_or_default();
        steps += 1;
    }
    let micros = begun.elapsed().as_secs_f64() * 1e6;
    println!(
        "BFINAL storm: {:.3} us for a byte of input, {:.1} us for a step",
        micros / input.len() as f64,
        micros / f64::from(steps),
    );
    Ok(())
}

/// The most output for a byte of input.
fn bomb() -> Result<(), ProtocolError> {
    let mut block = compress_once(&vec![0; 1 << 20], 15, Level::SMALLEST, &Pool::new(0));
    block.extend([0, 0, 0xff, 0xff]);
    let input = block.repeat(256);
    let mut inflater = Inflater::new(15, false, Pool::new(1));
    let mut out = Vec::new();
    let mut made = 0;
    let begun = Instant::now();
    let mut rest = &input[..];
    while !rest.is_empty() {
        out.clear();
        let step = inflater.step(rest, &mut out, STEP)?;
        rest = rest.get(step.consumed..).unwrap_or_default();
        made += step.produced;
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "bomb: {:.3} us for a byte of input, {:.2} GB/s of output",
        seconds * 1e6 / input.len() as f64,
        made as f64 / seconds / 1e9,
    );
    Ok(())
}

/// The shortest of several runs, in microseconds.
fn best_of<E>(mut run: impl FnMut() -> Result<(), E>) -> Result<f64, E> {
    let mut best = f64::MAX;
    for _ in 0..RUNS {
        let begun = Instant::now();
        run()?;
        best = best.min(begun.elapsed().as_secs_f64() * 1e6);
    }
    Ok(best)
}

/// Inflates one whole message.
fn inflate(
    inflater: &mut Inflater,
    payload: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), ProtocolError> {
    let mut rest = payload;
    while !rest.is_empty() {
        let step = inflater.step(rest, out, STEP)?;
        rest = rest.get(step.consumed..).unwrap_or_default();
    }
    while !inflater.finish_step(out, STEP)?.done {}
    Ok(())
}

/// A message as applications send them: JSON with repeated keys and varying values.
fn json(seed: usize, length: usize) -> Vec<u8> {
    const NAMES: [&str; 6] = ["alice", "bob", "carol", "dmitri", "eve", "фёдор"];
    let mut text = String::from("[");
    let mut x = (seed as u64).wrapping_mul(2_654_435_761).wrapping_add(12_345);
    while text.len() < length {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let r = x >> 33;
        text += &format!(
            "{{\"id\":{r},\"user\":\"{}\",\"ts\":{},\"price\":{}.{:02},\
             \"text\":\"message {:x} to room {}\",\"ok\":{}}},",
            NAMES[(r % 6) as usize],
            1_700_000_000 + r % 1_000_000,
            r % 1000,
            r % 97,
            r * 7919,
            r % 50,
            r.is_multiple_of(2),
        );
    }
    let mut bytes = text.into_bytes();
    bytes.truncate(length);
    bytes
}

/// The system's allocator, counting the bytes that live.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[expect(unsafe_code, reason = "an allocator cannot be written without")]
// SAFETY: every call goes to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Relaxed);
        // SAFETY: the caller keeps the contract of `GlobalAlloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}
