//! One direction of a stream: bytes in, the same bytes out, later and in other pieces.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::time::Duration;

use provod_proto::Timestamp;

use super::Faults;
use crate::random::Random;

/// Bytes that arrive together.
#[derive(Debug)]
struct Piece {
    len: usize,
    at: Timestamp,
}

/// One direction of a stream, with no I/O: time is an argument. It behaves as a socket that does
/// not block: what cannot be done now fails with [`ErrorKind::WouldBlock`].
///
/// ```
/// use std::io::ErrorKind;
/// use std::time::Duration;
/// use provod_testkit::emulator::{Faults, Link};
/// use provod_testkit::proto::Timestamp;
///
/// let now = Timestamp::default();
/// let second = Duration::from_secs(1);
/// let mut link = Link::new(Faults::new(1).delay(second..=second).cut(4));
/// assert_eq!(link.write(b"hello", now)?, 4);
///
/// let mut buf = [0; 16];
/// assert_eq!(link.read(&mut buf, now).unwrap_err().kind(), ErrorKind::WouldBlock);
/// let later = link.poll_timeout().expect("something is on its way");
/// assert_eq!(later, now.after(second));
/// assert_eq!(link.read(&mut buf, later)?, 4);
/// assert_eq!(link.read(&mut buf, later).unwrap_err().kind(), ErrorKind::ConnectionReset);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Link {
    faults: Faults,
    random: Random,
    bytes: VecDeque<u8>,
    pieces: VecDeque<Piece>,
    /// Bytes taken from the writer, and given to the reader.
    written: u64,
    read: u64,
    latest: Timestamp,
    /// The writer has ended the stream; its end arrives then.
    finished: Option<Timestamp>,
    broken: Option<ErrorKind>,
    /// Nobody reads any more.
    abandoned: bool,
}

impl Link {
    /// A direction with these faults, before its first byte.
    #[must_use]
    pub fn new(faults: Faults) -> Self {
        Self {
            random: Random(faults.seed),
            faults,
            bytes: VecDeque::new(),
            pieces: VecDeque::new(),
            written: 0,
            read: 0,
            latest: Timestamp::default(),
            finished: None,
            broken: None,
            abandoned: false,
        }
    }

    /// Takes bytes from the front of `bytes`; returns how many.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::WouldBlock`] while there is no room; [`ErrorKind::BrokenPipe`] after
    /// [`finish`](Self::finish) or [`abandon`](Self::abandon); the error of the cut, once it was
    /// reached.
    pub fn write(&mut self, bytes: &[u8], now: Timestamp) -> io::Result<usize> {
        if let Some(kind) = self.broken {
            return Err(kind.into());
        }
        if self.finished.is_some() || self.abandoned {
            return Err(ErrorKind::BrokenPipe.into());
        }
        if bytes.is_empty() {
            return Ok(0);
        }
        let mut most = bytes.len();
        if let Some(at) = self.faults.half_close {
            let left = at.saturating_sub(self.written);
            if left == 0 {
                // The writer does not learn that nobody listens.
                return Ok(most);
            }
            most = most.min(clamp(left));
        }
        if let Some((at, kind)) = self.faults.cut {
            let left = at.saturating_sub(self.written);
            if left == 0 {
                self.broken = Some(kind);
                return Err(kind.into());
            }
            most = most.min(clamp(left));
        }
        most = most.min(self.faults.capacity.saturating_sub(self.bytes.len()));
        if most == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        if let Some(sizes) = &self.faults.short_writes {
            most = most.min(clamp(self.random.within(sizes)));
        }
        self.bytes.extend(&bytes[..most]);
        self.written += most as u64;
        self.send_off(most, now);
        Ok(most)
    }

    /// Cuts what was written into pieces and says when each arrives.
    fn send_off(&mut self, len: usize, now: Timestamp) {
        let mut left = len;
        while left > 0 {
            let len = match &self.faults.split {
                Some(sizes) => clamp(self.random.within(sizes)).min(left),
                None => left,
            };
            left -= len;
            let at = self.arrival(now);
            match self.pieces.back_mut() {
                Some(last) if last.at == at && self.faults.split.is_none() => last.len += len,
                _ => self.pieces.push_back(Piece { len, at }),
            }
        }
    }

    fn arrival(&mut self, now: Timestamp) -> Timestamp {
        let delay = self.random.within(&self.faults.delay);
        let mut at = now.after(Duration::from_nanos(delay));
        let every = u64::try_from(self.faults.coalesce.as_nanos()).unwrap_or(u64::MAX);
        if every > 0 {
            let nanos = u64::try_from(at.since_epoch().as_nanos()).unwrap_or(u64::MAX);
            let rest = (every - nanos % every) % every;
            at = at.after(Duration::from_nanos(rest));
        }
        self.latest = self.latest.max(at);
        self.latest
    }

    /// Gives bytes that have arrived; 0, for a `buf` that has room, is the end of the stream.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::WouldBlock`] while nothing has arrived; the error of the cut, behind what came
    /// before it.
    pub fn read(&mut self, buf: &mut [u8], now: Timestamp) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let most = self.arrived(now).min(buf.len());
        if most > 0 {
            // most <= buf.len(), and as many bytes are in the two slices together.
            let (front, back) = self.bytes.as_slices();
            let n = front.len().min(most);
            buf[..n].copy_from_slice(&front[..n]);
            buf[n..most].copy_from_slice(&back[..most - n]);
            self.bytes.drain(..most);
            self.take(most);
            return Ok(most);
        }
        if let Some(kind) = self.broken
            && self.bytes.is_empty()
        {
            return Err(kind.into());
        }
        if self.is_stalled() {
            return Err(ErrorKind::WouldBlock.into());
        }
        if let Some((at, kind)) = self.faults.cut
            && self.read >= at
        {
            self.broken = Some(kind);
            return Err(kind.into());
        }
        let ended = self.faults.half_close.is_some_and(|at| self.read >= at)
            || (self.bytes.is_empty() && self.finished.is_some_and(|at| at <= now));
        if ended { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) }
    }

    /// How many bytes a read may get now.
    fn arrived(&self, now: Timestamp) -> usize {
        let mut due = self.pieces.iter().take_while(|p| p.at <= now).map(|p| p.len);
        let n = match self.faults.split {
            Some(_) => due.next().unwrap_or(0),
            None => due.sum(),
        };
        let open = self.faults.stall.map_or(u64::MAX, |at| at.saturating_sub(self.read));
        n.min(clamp(open))
    }

    fn take(&mut self, mut n: usize) {
        self.read += n as u64;
        while let Some(piece) = self.pieces.front_mut() {
            if piece.len > n {
                piece.len -= n;
                return;
            }
            n -= piece.len;
            self.pieces.pop_front();
        }
    }

    /// Ends the stream behind all that was written.
    pub fn finish(&mut self, now: Timestamp) {
        if self.finished.is_none() {
            self.finished = Some(self.arrival(now));
        }
    }

    /// Breaks the connection: what has arrived can still be read, what is on its way is lost.
    pub fn cut(&mut self, kind: ErrorKind, now: Timestamp) {
        if self.broken.is_some() {
            return;
        }
        self.broken = Some(kind);
        let open = self.faults.stall.map_or(u64::MAX, |at| at.saturating_sub(self.read));
        let arrived = self.pieces.iter().take_while(|p| p.at <= now).map(|p| p.len).sum();
        let mut keep = clamp(open).min(arrived);
        self.bytes.truncate(keep);
        self.pieces.retain_mut(|piece| {
            piece.len = piece.len.min(keep);
            keep -= piece.len;
            piece.len > 0
        });
    }

    /// Nothing more arrives until [`release`](Self::release).
    pub fn stall(&mut self) {
        self.faults.stall = Some(self.read);
    }

    /// Ends a stall, for good.
    pub fn release(&mut self) {
        self.faults.stall = None;
    }

    /// The reader is gone: writes fail from now on.
    pub fn abandon(&mut self) {
        self.abandoned = true;
        self.bytes.clear();
        self.pieces.clear();
    }

    /// When something arrives that has not been read: bytes or the end of the stream. `None` while
    /// nothing is on its way, or a stall holds it.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        if self.is_stalled() || self.abandoned {
            return None;
        }
        self.pieces.front().map(|p| p.at).or(self.finished)
    }

    /// Bytes that were written and not read.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.bytes.len()
    }

    /// The error that this direction broke with.
    #[must_use]
    pub fn broken(&self) -> Option<ErrorKind> {
        self.broken
    }

    fn is_stalled(&self) -> bool {
        self.faults.stall.is_some_and(|at| self.read >= at)
    }
}

fn clamp(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}
