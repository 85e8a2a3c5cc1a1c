//! What compression costs: time and ratio by level, memory by window, and the dearest bytes a peer
//! can send. The numbers of `docs/decisions/0005-deflate.md` come from here; compare them within
//! one run only.
//!
//! ```text
//! taskset -c 1 cargo run --release -p provod-proto --example deflate_cost
//! ```
#![allow(missing_docs, reason = "nothing in an example is public")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use provod_proto::ProtocolError;
use provod_proto::deflate::{Compressor, Inflater, Level, Pool, compress_once};

/// Messages of each length.
const MESSAGES: usize = 64;
/// Bytes compressed in one timed run.
const VOLUME: usize = 20_000_000;
/// The best of so many runs is printed.
const RUNS: usize = 5;
/// Output of one step of the inflater, as the connection asks for it.
const STEP: usize = 64 << 10;

fn main() -> Result<(), ProtocolError> {
    time_and_ratio()?;
    memory()?;
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

fn memory() -> Result<(), ProtocolError> {
    println!();
    let message = json(1, 1024);
    let mut out = Vec::with_capacity(4096);
    for bits in [15, 12, 9] {
        for level in [1, 3, 6].into_iter().filter_map(Level::new) {
            let mut compressor = Compressor::new(bits, true, level, Pool::new(1));
            out.clear();
            let before = LIVE.load(Relaxed);
            compressor.compress(&message, true, &mut out);
            let bytes = LIVE.load(Relaxed) - before;
            println!("compressor, window 2^{bits}, level {}: {bytes} bytes", level.get());
        }
    }
    let payload = compress_once(&message, 15, Level::default(), &Pool::new(0));
    let mut inflater = Inflater::new(15, true, Pool::new(1));
    out.clear();
    let before = LIVE.load(Relaxed);
    inflater.step(&payload, &mut out, 4096)?;
    println!("inflater: {} bytes", LIVE.load(Relaxed) - before);
    Ok(())
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
