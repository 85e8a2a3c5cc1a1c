use flate2::{Compress, Compression, FlushCompress};

use super::history::History;
use super::pool::{Key, Pool};
use super::short::{self, Effort};

/// What a sync flush ends with, and RFC 7692 section 7.2.1 removes.
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// The least free room for one call of the compressor. A flush that ends exactly where the room
/// ends is not seen to have ended and is asked for again, which costs one more empty block (5
/// bytes, still right): ample room makes that rare.
const MIN_ROOM: usize = 64;

/// The most room reserved before it is known to be needed.
const MAX_ROOM: usize = 16 * 1024;

/// How far back a short message looks, in bytes, if the window goes as far: to enter a byte of
/// history into the compressor costs half of what it costs to compress one.
const NEAR: usize = 4 * 1024;

/// A longer message looks back further: so many times its own length.
const REACH: usize = 4;

/// How hard to compress: 1 (fastest) to 9 (smallest).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Level(u8);

impl Level {
    /// Level 1: the fastest.
    pub const FASTEST: Self = Self(1);

    /// Level 9: the smallest output.
    pub const SMALLEST: Self = Self(9);

    /// A level from 1 to 9; `None` for any other number.
    #[must_use]
    pub const fn new(level: u8) -> Option<Self> {
        if matches!(level, 1..=9) { Some(Self(level)) } else { None }
    }

    /// The level as a number, 1 to 9.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// How hard to search a short message. `None` where zlib's way is the better one: the fastest,
    /// which builds no codes, unless the history makes it slow; and those that are asked for the
    /// least bytes at any price.
    fn effort(self, takeover: bool) -> Option<Effort> {
        match self.0 {
            1 if takeover => Some(Effort { depth: 1, good: 4, stride: 4 }),
            2 => Some(Effort { depth: 3, good: 8, stride: 4 }),
            3 => Some(Effort { depth: 8, good: 16, stride: 4 }),
            4 => Some(Effort { depth: 16, good: 32, stride: 2 }),
            5 => Some(Effort { depth: 32, good: 64, stride: 2 }),
            _ => None,
        }
    }

    pub(super) fn new_stream(self, window_bits: u8) -> Compress {
        Compress::new_with_window_bits(Compression::new(self.0.into()), false, window_bits)
    }
}

impl Default for Level {
    /// Level 3. Level 1 builds no Huffman codes of its own, and its output is a third larger;
    /// above 3 a message of a few KiB hardly gets smaller.
    fn default() -> Self {
        Self(3)
    }
}

/// Compresses the messages of one direction of one connection (RFC 7692 section 7.2.1).
///
/// It borrows its state from the pool for each message. With context takeover it keeps the last
/// `2^window_bits` bytes between messages, from the first message on, and nothing else.
#[derive(Debug)]
pub struct Compressor {
    key: Key,
    /// With context takeover.
    history: Option<History>,
    pool: Pool,
    /// From the first piece of a message to its last.
    stream: Option<Box<Compress>>,
}

impl Compressor {
    /// A compressor for the agreed parameters: the LZ77 window is `2^window_bits` bytes, and
    /// `takeover` says whether a message may refer to the messages before it.
    ///
    /// # Panics
    ///
    /// When `window_bits` is not in 9..=15. Negotiation never agrees on another value: DEFLATE
    /// libraries cannot compress with 8.
    #[must_use]
    pub fn new(window_bits: u8, takeover: bool, level: Level, pool: Pool) -> Self {
        assert!(matches!(window_bits, 9..=15), "window bits {window_bits} were never agreed on");
        let history = takeover.then(|| History::new(window_bits));
        Self { key: Key { window_bits, level }, history, pool, stream: None }
    }

    /// Compresses the next piece of a message and appends the compressed bytes to `out`. `fin`
    /// marks the last piece.
    ///
    /// The compressed message is all that was appended for it: it may be cut into frames anywhere,
    /// and pieces need not match frames. A piece that is not the last is not flushed: it may add
    /// nothing at all, and then no frame need be sent for it. The last piece always adds at least
    /// one byte.
    pub fn compress(&mut self, input: &[u8], fin: bool, out: &mut Vec<u8>) {
        if input.is_empty() && self.stream.is_none() {
            if fin {
                // RFC 7692 section 7.2.3.6: the header of an empty stored block. Between messages
                // the stream is at a byte border, so the compressor need not know of it.
                out.push(0x00);
            }
            return;
        }
        // Of a message in pieces the length is not known: it looks back as far as it may.
        let reach = if fin { NEAR.max(input.len().saturating_mul(REACH)) } else { usize::MAX };
        if fin
            && self.stream.is_none()
            && input.len() <= short::LONGEST
            && let Some(effort) = self.key.level.effort(self.history.is_some())
        {
            let window = 1 << self.key.window_bits;
            let mut short = self.pool.take_short();
            short.compress(input, self.history.as_ref(), reach, window, effort, out);
            self.pool.give_short(short);
            if let Some(history) = &mut self.history {
                history.push(input);
            }
            return;
        }
        let mut stream = self.stream.take().unwrap_or_else(|| self.begin(reach));
        if let Some(history) = &mut self.history {
            history.push(input);
        }
        if !fin {
            run(&mut stream, input, FlushCompress::None, out);
            self.stream = Some(stream);
            return;
        }
        let before = out.len();
        run(&mut stream, input, FlushCompress::Sync, out);
        if out.len() == before {
            // All was flushed already and the stream is at a byte border: as above.
            out.push(0x00);
        } else {
            debug_assert!(out.ends_with(&TAIL), "a sync flush ends with an empty stored block");
            out.truncate(out.len().saturating_sub(TAIL.len()));
        }
        self.pool.give_compressor(self.key, stream);
    }

    /// A stream that may refer to the last `reach` bytes of the history.
    fn begin(&self, reach: usize) -> Box<Compress> {
        let mut stream = self.pool.take_compressor(self.key);
        for part in self.history.iter().flat_map(|history| history.latest(reach)) {
            if !part.is_empty()
                && let Err(e) = stream.set_dictionary(part)
            {
                unreachable!("a raw stream that was given no input takes a dictionary: {e}");
            }
        }
        stream
    }

    /// Gives out what the compressor has kept of the pieces so far, so that the peer can inflate
    /// all of them; costs five bytes or so.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        if let Some(stream) = &mut self.stream {
            run(stream, &[], FlushCompress::Sync, out);
        }
    }

    /// Forgets the messages sent so far, so that the next one does not refer to them, and owns
    /// nothing.
    ///
    /// For a message that is sent without this compressor's knowledge, such as a shared prepared
    /// frame: afterwards the peer's window holds what ours does not. To be called between
    /// messages; a message in progress is abandoned.
    pub fn reset(&mut self) {
        // In the middle of a message it is not known what the stream holds: it is dropped.
        self.stream = None;
        if let Some(history) = &mut self.history {
            history.clear();
        }
    }
}

/// Compresses one whole message that refers to nothing before it: the payload of a frame that is
/// sent to many connections (RFC 7692 section 7.2.1).
///
/// Connections with context takeover may be sent it too, when their [`Compressor`] is
/// [`reset`](Compressor::reset). `window_bits` must be the smallest that any receiver agreed to.
///
/// # Panics
///
/// When `window_bits` is not in 9..=15.
#[must_use]
pub fn compress_once(input: &[u8], window_bits: u8, level: Level, pool: &Pool) -> Vec<u8> {
    let mut out = Vec::new();
    Compressor::new(window_bits, false, level, pool.clone()).compress(input, true, &mut out);
    // It is kept until the slowest receiver has it.
    out.shrink_to_fit();
    out
}

/// Runs until all of `input` is taken and all that `flush` asks for is in `out`.
fn run(stream: &mut Compress, input: &[u8], flush: FlushCompress, out: &mut Vec<u8>) {
    let mut rest = input;
    loop {
        out.reserve(rest.len().saturating_add(MIN_ROOM).min(MAX_ROOM));
        let before = stream.total_in();
        // `BufError` is the answer to a flush that was complete already.
        if let Err(e) = stream.compress_vec(rest, out, flush) {
            unreachable!("deflate fails only after its stream was finished, and none is: {e}");
        }
        let taken = usize::try_from(stream.total_in() - before).unwrap_or(usize::MAX);
        rest = rest.get(taken..).unwrap_or_default();
        // Room left over is zlib's sign that nothing waits inside.
        if rest.is_empty() && out.len() < out.capacity() {
            return;
        }
    }
}
