use std::fmt;

use flate2::{Decompress, FlushDecompress, Status};

use super::history::History;
use super::pool::Pool;
use crate::ProtocolError;

/// Every stream is inflated with the largest LZ77 window: it reads what any smaller one wrote.
const WINDOW_BITS: u8 = 15;
const WINDOW: usize = 1 << WINDOW_BITS;

/// How much of a full history a message begins with, in bytes. Most need no more, and a copy of the
/// whole window costs as much as half of a message of 1 KiB.
const NEAR: usize = 4 * 1024;

/// What bounds one step besides `max_out`: empty blocks take input and make no output. In bytes.
const MAX_INPUT: usize = 64 * 1024;

/// A restart after BFINAL copies the window, for as little as two bytes of input.
const MAX_RESTARTS: u32 = 16;

/// What RFC 7692 section 7.2.2 appends to a message, and one more empty stored block, with BFINAL.
/// A whole message stands in front of a block after the first four bytes, so a stream that ends
/// exactly with the added block was whole; one that was cut off makes output of it, or an error.
const TAIL: [u8; 9] = [0x00, 0x00, 0xff, 0xff, 0x01, 0x00, 0x00, 0xff, 0xff];

/// What one [`Inflater::step`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// How many bytes of the input were taken.
    pub consumed: usize,
    /// How many bytes were appended to the output.
    pub produced: usize,
    /// The step's bounds were reached: there may be more output even with no input left.
    pub more: bool,
}

/// What one [`Inflater::finish_step`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finish {
    /// The message has ended and all its output is out. Otherwise call again.
    pub done: bool,
    /// How many bytes were appended to the output.
    pub produced: usize,
}

/// Inflates the messages of one direction of one connection (RFC 7692 section 7.2.2).
///
/// It borrows its state from the pool for each message. With context takeover it keeps the last
/// `2^window_bits` bytes between messages, as far as there were as many, and nothing else.
///
/// For each message: [`step`](Self::step) until all input is consumed, frame after frame, then
/// [`finish_step`](Self::finish_step) until it is done. The first error is final: it is returned
/// again by every later call.
#[derive(Debug)]
pub struct Inflater {
    /// With context takeover.
    history: Option<History>,
    pool: Pool,
    /// From the first byte of a message to its end.
    stream: Option<Box<Stream>>,
    place: Place,
}

/// Where the stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Between messages.
    Between,
    /// In a message, in front of a block with no bit of it read: right after a block with BFINAL.
    Fresh,
    /// In a message, with all that the input gave already out.
    Drained,
    /// In a message, with output possibly waiting inside.
    Pending,
    /// An error was returned.
    Failed,
}

impl Inflater {
    /// An inflater for the agreed parameters: the peer's LZ77 window is `2^window_bits` bytes, and
    /// `takeover` says whether a message may refer to the messages before it. Within one message
    /// references of up to 32 KiB are followed whatever was agreed.
    ///
    /// # Panics
    ///
    /// When `window_bits` is above 15.
    #[must_use]
    pub fn new(window_bits: u8, takeover: bool, pool: Pool) -> Self {
        assert!(window_bits <= WINDOW_BITS, "window bits {window_bits} were never agreed on");
        let history = takeover.then(|| History::new(window_bits));
        Self { history, pool, stream: None, place: Place::Between }
    }

    /// Inflates the next bytes of a message and appends at most `max_out` bytes to `out`, which
    /// grows by what was produced and nothing else (amortised, as a `Vec` does).
    ///
    /// Input that was not consumed must be given again. While there is input, every call with
    /// `max_out > 0` makes progress or fails; with `max_out == 0` nothing happens. To find out
    /// whether a message is longer than a limit, allow it one byte more.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::InvalidDeflate`] when the input is not DEFLATE or refers back further than
    /// the window goes. All that comes before the fault is appended by earlier calls.
    pub fn step(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        max_out: usize,
    ) -> Result<Step, ProtocolError> {
        let result = self.try_step(input, out, max_out);
        self.note(result)
    }

    /// Ends the message: call it when all input of the message is consumed, until it is done. At
    /// most `max_out` bytes are appended per call. A message of no bytes at all is taken as empty.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::InvalidDeflate`] when the message was cut off before its last block ended
    /// (RFC 7692 section 7.2.1).
    pub fn finish_step(
        &mut self,
        out: &mut Vec<u8>,
        max_out: usize,
    ) -> Result<Finish, ProtocolError> {
        let result = self.try_finish_step(out, max_out);
        self.note(result)
    }

    fn try_step(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        max_out: usize,
    ) -> Result<Step, ProtocolError> {
        if self.place == Place::Failed {
            return Err(ProtocolError::InvalidDeflate);
        }
        let mut step = Step { consumed: 0, produced: 0, more: false };
        let nothing_waits = self.place != Place::Pending;
        if nothing_waits && (input.is_empty() || max_out == 0) {
            return Ok(step);
        }
        let history = self.history.as_ref();
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let stream = none.insert(self.pool.take_inflater());
                stream.begin(history)?;
                stream
            }
        };
        let input = input.get(..MAX_INPUT).unwrap_or(input);
        let mut restarts = 0;
        loop {
            let room = max_out - step.produced;
            if room == 0 || restarts == MAX_RESTARTS {
                step.more = true;
                return Ok(step);
            }
            let rest = input.get(step.consumed..).unwrap_or_default();
            let run = stream.go_on(history, rest, room)?;
            out.extend_from_slice(stream.latest(run.produced));
            step.consumed += run.consumed;
            step.produced += run.produced;
            match run.stop {
                Stop::Room => self.place = Place::Pending,
                // A run that leaves both input and room would never take the rest.
                Stop::Input if run.consumed < rest.len() => {
                    return Err(ProtocolError::InvalidDeflate);
                }
                Stop::Input => {
                    self.place = Place::Drained;
                    return Ok(step);
                }
                Stop::Fault if step.produced == 0 => return Err(ProtocolError::InvalidDeflate),
                Stop::Fault => {
                    // What came before the fault comes out first, so that the same is seen however
                    // the input was cut. A byte is left, so that the caller comes back.
                    self.place = Place::Failed;
                    self.stream = None;
                    step.consumed = step.consumed.min(input.len().saturating_sub(1));
                    step.more = true;
                    return Ok(step);
                }
                Stop::End => {
                    stream.restart(history)?;
                    restarts += 1;
                    self.place = Place::Fresh;
                    if step.consumed == input.len() {
                        return Ok(step);
                    }
                }
            }
        }
    }

    fn try_finish_step(
        &mut self,
        out: &mut Vec<u8>,
        max_out: usize,
    ) -> Result<Finish, ProtocolError> {
        let step = self.try_step(&[], out, max_out)?;
        let produced = step.produced;
        let stream = match (self.place, &mut self.stream) {
            (Place::Pending | Place::Failed, _) => return Ok(Finish { done: false, produced }),
            (Place::Drained, Some(stream)) => stream,
            // Section 7.2.3.4 asks a sender to add the header of an empty stored block after
            // BFINAL. Some do not, and some send nothing at all for an empty message: there is no
            // block that the tail could end.
            _ => return Ok(self.end_message(produced)),
        };
        let run = stream.run(&TAIL, WINDOW);
        if run != (Run { consumed: TAIL.len(), produced: 0, stop: Stop::End }) {
            return Err(ProtocolError::InvalidDeflate);
        }
        Ok(self.end_message(produced))
    }

    fn end_message(&mut self, produced: usize) -> Finish {
        self.place = Place::Between;
        if let Some(stream) = self.stream.take() {
            if let Some(history) = &mut self.history {
                stream.parts().into_iter().for_each(|part| history.push(part));
            }
            self.pool.give_inflater(stream);
        }
        Finish { done: true, produced }
    }

    /// A failed stream is never used again, nor given to anybody else.
    fn note<T>(&mut self, result: Result<T, ProtocolError>) -> Result<T, ProtocolError> {
        if result.is_err() {
            self.place = Place::Failed;
            self.stream = None;
        }
        result
    }
}

/// A DEFLATE decoder with its last 32 KiB of output in a ring.
///
/// It writes into the ring, from where the bytes go to the caller. That one copy buys two things
/// which the decoder does not give: a bound on the output that does not depend on the capacity of
/// the caller's buffer, with nothing zero-filled; and the window of a stream that has ended, which
/// the blocks after BFINAL may refer to.
pub(super) struct Stream {
    decoder: Decompress,
    ring: Box<[u8]>,
    /// Where the next byte goes; less than `WINDOW`.
    next: usize,
    /// How many bytes of the ring are filled: `next` until it is full, then `WINDOW`.
    filled: usize,
    /// The decoder knows only the last `NEAR` bytes of a full history.
    near: bool,
}

/// What one run of the decoder did.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    consumed: usize,
    produced: usize,
    stop: Stop,
}

#[derive(Debug, PartialEq, Eq)]
enum Stop {
    /// The room is used up: output may be waiting.
    Room,
    /// There is nothing to do without more input.
    Input,
    /// A block with BFINAL has ended.
    End,
    /// The input is not DEFLATE.
    Fault,
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            decoder: Decompress::new_with_window_bits(false, WINDOW_BITS),
            ring: vec![0; WINDOW].into_boxed_slice(),
            next: 0,
            filled: 0,
            near: false,
        }
    }
}

impl Stream {
    pub(super) fn reset(&mut self) {
        self.decoder.reset(false);
        self.next = 0;
        self.filled = 0;
        self.near = false;
    }

    /// Begins a message, which may refer to the history.
    fn begin(&mut self, history: Option<&History>) -> Result<(), ProtocolError> {
        // A full history, given later, pushes out of the decoder's window all that it was given
        // before; a shorter one would lie behind other bytes, which nothing may refer to.
        self.near = history.is_some_and(|history| history.len() == WINDOW);
        self.refer_to(history, if self.near { NEAR } else { WINDOW })
    }

    /// Runs the decoder, with as much of the history as it needs.
    fn go_on(
        &mut self,
        history: Option<&History>,
        input: &[u8],
        room: usize,
    ) -> Result<Run, ProtocolError> {
        if !self.near {
            return Ok(self.run(input, room));
        }
        let first = self.decoder.total_in() == 0;
        if first {
            let run = self.run(input, room);
            if run.stop != Stop::Fault {
                return Ok(run);
            }
            // It may be that it refers further back.
            self.reset();
        }
        self.near = false;
        self.refer_to(history, WINDOW)?;
        Ok(self.run(input, room))
    }

    /// Decodes at most `room` bytes, or up to the end of the ring, into the ring.
    fn run(&mut self, input: &[u8], room: usize) -> Run {
        let before = (self.decoder.total_in(), self.decoder.total_out());
        // In bounds, and not empty for `room > 0`: `next < WINDOW`, the length of the ring.
        let room = room.min(WINDOW - self.next);
        let free = &mut self.ring[self.next..self.next + room];
        let status = self.decoder.decompress(input, free, FlushDecompress::None);
        // Both counts are bounded by the lengths of two slices.
        let consumed = (self.decoder.total_in() - before.0) as usize;
        let produced = (self.decoder.total_out() - before.1) as usize;
        self.next += produced;
        self.filled = self.filled.max(self.next);
        if self.next == WINDOW {
            self.next = 0;
        }
        let stop = match status {
            Err(_) => Stop::Fault,
            Ok(Status::StreamEnd) => Stop::End,
            // `BufError` only says that nothing could be done.
            Ok(Status::Ok | Status::BufError) if produced == room => Stop::Room,
            Ok(Status::Ok | Status::BufError) => Stop::Input,
        };
        Run { consumed, produced, stop }
    }

    /// The bytes of the latest run.
    fn latest(&self, produced: usize) -> &[u8] {
        let end = if self.next == 0 { self.filled } else { self.next };
        // A run never wraps around the ring: it ended at `end` and began at or after 0.
        &self.ring[end - produced..end]
    }

    /// All that is in the ring: the older part, then the newer.
    fn parts(&self) -> [&[u8]; 2] {
        // Until the ring is full, it is filled up to `next`, and `older` is empty.
        let (newer, older) = self.ring[..self.filled].split_at(self.next);
        [older, newer]
    }

    /// Begins a new DEFLATE stream that may refer to the output of the one before, and behind it
    /// to the history.
    fn restart(&mut self, history: Option<&History>) -> Result<(), ProtocolError> {
        self.decoder.reset(false);
        self.near = false;
        self.refer_to(history, WINDOW)
    }

    /// Gives the decoder what it may refer to: at most `most` bytes of the history, and the ring.
    fn refer_to(&mut self, history: Option<&History>, most: usize) -> Result<(), ProtocolError> {
        let most = most.min(WINDOW - self.filled);
        let behind = history.map_or([&[][..]; 2], |history| history.latest(most));
        let (newer, older) = self.ring[..self.filled].split_at(self.next);
        for part in behind.into_iter().chain([older, newer]) {
            if !part.is_empty() {
                self.decoder.set_dictionary(part).map_err(|_| ProtocolError::InvalidDeflate)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("filled", &self.filled).finish_non_exhaustive()
    }
}
