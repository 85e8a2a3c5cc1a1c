//! A stream of bytes that misbehaves as networks do, the same way for the same seed.
//!
//! [`duplex`] makes two connected [`Stream`]s for programs over tokio, [`Link`] is one direction
//! without any I/O or clock. What goes wrong in a direction is said by its [`Faults`].
//!
//! Whatever reads and writes an `AsyncRead + AsyncWrite` can be tested over them. Here a reader
//! must put a line together, however it is cut; with tokio's clock paused
//! (`#[tokio::test(start_paused = true)]`), delays cost no time:
//!
//! ```
//! use std::time::Duration;
//! use provod_testkit::emulator::{self, Faults};
//! use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
//!
//! # let mut runtime = tokio::runtime::Builder::new_current_thread();
//! # runtime.enable_time().start_paused(true).build()?.block_on(async {
//! let slow = Faults::new(7).split(1..=3).delay(Duration::ZERO..=Duration::from_secs(60));
//! let (mut ours, theirs) = emulator::duplex(slow, Faults::none());
//! ours.write_all(b"one line\n").await?;
//! let mut line = String::new();
//! BufReader::new(theirs).read_line(&mut line).await?;
//! assert_eq!(line, "one line\n");
//! # Ok::<(), std::io::Error>(())
//! # })?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! **Every call that can fail, failed once.** A [`Control`] stays with the test while the program
//! owns the stream. It counts the reads, writes and shutdowns, and makes the n-th of them fail:
//!
//! ```
//! use std::io::{self, ErrorKind};
//! use provod_testkit::emulator::{self, Faults, Stream};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! /// The program under test: sends back what comes.
//! async fn echo(mut stream: Stream) -> io::Result<()> {
//!     let mut buf = [0; 64];
//!     loop {
//!         match stream.read(&mut buf).await? {
//!             0 => return stream.shutdown().await,
//!             n => stream.write_all(&buf[..n]).await?,
//!         }
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! for n in 1.. {
//!     let (mut peer, stream) = emulator::duplex(Faults::none(), Faults::none());
//!     let control = stream.control();
//!     control.fail_operation(n, ErrorKind::ConnectionReset);
//!     peer.write_all(b"hello").await?;
//!     peer.shutdown().await?;
//!     let result = echo(stream).await;
//!     if control.operations() < n {
//!         result?; // nothing failed this time: every call has had its turn
//!         assert_eq!(control.operations(), 4); // read, write, read, shutdown
//!         break;
//!     }
//!     assert_eq!(result.unwrap_err().kind(), ErrorKind::ConnectionReset);
//! }
//! # Ok::<(), io::Error>(())
//! # })?;
//! # Ok::<(), io::Error>(())
//! ```

mod link;
mod operations;
mod stream;
#[cfg(test)]
mod tests;

use std::io::ErrorKind;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::random::Random;

pub use link::Link;
pub use stream::{Control, Stream, duplex};

/// Bytes that a direction holds when nothing else is said: what a socket's buffers hold, about.
const CAPACITY: usize = 64 << 10;

/// What goes wrong in one direction of a stream. Offsets count the bytes of this direction from 0.
///
/// The same faults with the same seed do the same to the same calls; a failing test prints them
/// with `{:?}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults {
    seed: u64,
    split: Option<RangeInclusive<u64>>,
    short_writes: Option<RangeInclusive<u64>>,
    delay: RangeInclusive<u64>,
    coalesce: Duration,
    capacity: usize,
    stall: Option<u64>,
    cut: Option<(u64, ErrorKind)>,
    half_close: Option<u64>,
}

impl Faults {
    /// No faults: a buffer of 64 KiB, whose bytes arrive at once.
    #[must_use]
    pub fn none() -> Self {
        Self::new(0)
    }

    /// No faults yet; those that are added and have something to choose follow this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            split: None,
            short_writes: None,
            delay: 0..=0,
            coalesce: Duration::ZERO,
            capacity: CAPACITY,
            stall: None,
            cut: None,
            half_close: None,
        }
    }

    /// A bad network that loses nothing: small or larger pieces, short writes, delays of up to
    /// 100 ms and little room, as the seed will have it. What works must work over this, whatever
    /// the seed.
    #[must_use]
    pub fn rough(seed: u64) -> Self {
        let mut random = Random(seed);
        let mut faults = Self::new(seed);
        let mut size = |least: usize| {
            let most = [1, 7, 100, 1500, 20_000][random.up_to(5) - 1];
            random.up_to(most).max(least)
        };
        faults = faults.split(1..=size(1)).short_writes(1..=size(1)).capacity(size(16));
        if random.one_in(2) {
            faults = faults.delay(Duration::ZERO..=Duration::from_millis(100));
        }
        if random.one_in(4) {
            faults = faults.coalesce(Duration::from_millis(40));
        }
        faults
    }

    /// Bytes arrive in pieces of so many bytes: a read gets one of them, or less. Otherwise a read
    /// gets all that has arrived.
    #[must_use]
    pub fn split(mut self, sizes: RangeInclusive<usize>) -> Self {
        self.split = Some(some_bytes(&sizes));
        self
    }

    /// A write takes at most so many bytes.
    #[must_use]
    pub fn short_writes(mut self, sizes: RangeInclusive<usize>) -> Self {
        self.short_writes = Some(some_bytes(&sizes));
        self
    }

    /// What is written, or each piece of it where it is [`split`](Self::split), arrives so much
    /// later, though never before what was written earlier.
    #[must_use]
    pub fn delay(mut self, times: RangeInclusive<Duration>) -> Self {
        let nanos = |time: &Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.delay = nanos(times.start())..=nanos(times.end());
        self
    }

    /// Bytes arrive at multiples of this time only, so that what was written in between arrives
    /// together.
    #[must_use]
    pub fn coalesce(mut self, every: Duration) -> Self {
        self.coalesce = every;
        self
    }

    /// At most this many bytes, and at least one, are on their way; then writes wait until some
    /// are read. Default: 64 KiB.
    #[must_use]
    pub fn capacity(mut self, bytes: usize) -> Self {
        self.capacity = bytes.max(1);
        self
    }

    /// The byte at this offset, and all that follows, does not arrive until the stall is
    /// [released](Control::release). Writes go on while there is [room](Self::capacity).
    #[must_use]
    pub fn stall(mut self, at: u64) -> Self {
        self.stall = Some(at);
        self
    }

    /// The connection breaks in front of the byte at this offset: what comes before it arrives,
    /// then reads and writes fail, in both directions of a [`duplex`].
    #[must_use]
    pub fn cut(self, at: u64) -> Self {
        self.cut_with(at, ErrorKind::ConnectionReset)
    }

    /// The same, with an error of this kind.
    #[must_use]
    pub fn cut_with(mut self, at: u64, kind: ErrorKind) -> Self {
        self.cut = Some((at, kind));
        self
    }

    /// The stream ends, orderly, in front of the byte at this offset, as behind a proxy that ended
    /// this direction: the writer may go on, and is read no more.
    #[must_use]
    pub fn half_close(mut self, at: u64) -> Self {
        self.half_close = Some(at);
        self
    }
}

/// Sizes of pieces: never 0, which would mean the end of the stream.
fn some_bytes(sizes: &RangeInclusive<usize>) -> RangeInclusive<u64> {
    (*sizes.start()).max(1) as u64..=(*sizes.end()).max(1) as u64
}
