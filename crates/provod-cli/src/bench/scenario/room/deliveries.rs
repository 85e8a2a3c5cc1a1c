//! What a member of a room receives, checked: number, order for each publisher, length, bytes by
//! sample; and its age, from the stamp that it carries.

use super::{Rooms, State};
use crate::bench::connection::Connection;
use crate::bench::failure::Wrong;
use crate::bench::incoming::Receiver;
use crate::bench::payload::{Messages, STAMP};
use crate::bench::stats::Stats;

/// The publisher, the number of its message, and when it was meant to leave: in hexadecimal, so
/// that text stays text.
#[derive(Debug, Clone, Default)]
pub(super) struct Stamp {
    text: [u8; STAMP],
    filled: u8,
}

impl Stamp {
    pub(super) fn write(at: &mut [u8], publisher: usize, sequence: u64, intended: u64) {
        let mut digits = |from: usize, to: usize, mut number: u64| {
            for digit in at[from..to].iter_mut().rev() {
                *digit = b"0123456789abcdef"[(number & 15) as usize];
                number >>= 4;
            }
        };
        digits(0, 4, publisher as u64);
        digits(4, 16, sequence);
        digits(16, STAMP, intended);
    }

    /// `None` where it is not whole, or was not written here.
    pub(super) fn read(&self) -> Option<(usize, u64, u64)> {
        let number = |from: usize, to: usize| {
            self.text[from..to].iter().try_fold(0u64, |number, digit| {
                let value = match digit {
                    b'0'..=b'9' => digit - b'0',
                    b'a'..=b'f' => digit - b'a' + 10,
                    _ => return None,
                };
                Some(number << 4 | u64::from(value))
            })
        };
        if usize::from(self.filled) < STAMP {
            return None;
        }
        Some((number(0, 4)? as usize, number(4, 16)?, number(16, STAMP)?))
    }
}

pub(super) struct Deliveries<'a> {
    pub(super) how: &'a Rooms,
    pub(super) state: &'a mut State,
    pub(super) stamp: &'a mut Stamp,
    pub(super) expected: &'a mut [u64],
    pub(super) connection: &'a mut Connection,
    pub(super) stats: &'a mut Stats,
    pub(super) messages: &'a Messages,
    pub(super) deflate: bool,
    pub(super) number: usize,
    pub(super) now: u64,
    pub(super) done: u64,
}

impl Deliveries<'_> {
    fn is_sampled(&self) -> bool {
        self.connection.received.is_multiple_of(self.how.verify_every)
    }

    #[cold]
    fn spoil(&mut self, wrong: &Wrong) {
        if !std::mem::replace(&mut self.connection.spoilt, true) {
            self.stats.failures.add(self.number, wrong);
        }
    }

    /// Keeps the stamp's part of the bytes, and compares those behind it by sample.
    fn look(&mut self, bytes: &[u8], at: usize) {
        let begin = self.how.content.stamp_at();
        let end = begin + STAMP;
        let filled = usize::from(self.stamp.filled);
        if filled < STAMP {
            // Chunks come in order, so the next byte of the stamp is in this one or a later one.
            let from = (begin + filled).saturating_sub(at).min(bytes.len());
            let to = end.saturating_sub(at).min(bytes.len());
            let part = &bytes[from..to];
            self.stamp.text[filled..filled + part.len()].copy_from_slice(part);
            self.stamp.filled += part.len() as u8;
        }
        if !self.is_sampled() {
            return;
        }
        let Some((_, sequence, _)) = self.stamp.read() else { return };
        let skip = end.saturating_sub(at).min(bytes.len());
        let rest = &bytes[skip..];
        let from = at + skip;
        let wanted = self.messages.plain(sequence as usize).get(from..from + rest.len());
        if wanted.is_some_and(|wanted| wanted != rest) {
            self.spoil(&Wrong::Content(from as u64));
        }
    }

    /// Checks a whole message by its stamp.
    fn check(&mut self) {
        let Some((publisher, sequence, intended)) = self.stamp.read() else {
            return self.spoil(&Wrong::Content(self.how.content.stamp_at() as u64));
        };
        let Some(expected) = self.expected.get_mut(publisher) else {
            return self.spoil(&Wrong::Content(self.how.content.stamp_at() as u64));
        };
        let due = std::mem::replace(expected, sequence + 1);
        if due != sequence {
            let what = format!("message {sequence} of publisher {publisher}, {due} was due");
            self.spoil(&Wrong::Order(what));
        }
        self.stats.reply(intended, self.now);
    }
}

impl Receiver for Deliveries<'_> {
    fn start(&mut self, opcode: u8, compressed: bool) -> Result<(), Wrong> {
        if self.connection.received == self.state.published {
            return Err(Wrong::Unasked);
        }
        if compressed && !self.deflate {
            return Err(Wrong::Compression("a compressed message, though nothing was agreed"));
        }
        self.connection.compressed = compressed;
        self.connection.spoilt = false;
        self.stamp.filled = 0;
        if opcode != self.how.content.opcode() as u8 {
            self.spoil(&Wrong::Opcode(opcode));
        }
        Ok(())
    }

    fn chunk(&mut self, bytes: &[u8], at: u64) -> Result<(), Wrong> {
        if !self.connection.compressed {
            self.look(bytes, usize::try_from(at).unwrap_or(usize::MAX));
            return Ok(());
        }
        match &mut self.connection.sample {
            Some(sample) => sample.inflate(bytes, self.how.size),
            None => Ok(()),
        }
    }

    fn end(&mut self, len: u64) -> Result<(), Wrong> {
        let size = self.how.size as u64;
        let mut looked_at = !self.connection.compressed && self.is_sampled();
        if self.connection.compressed {
            self.stats.compressed += 1;
            if let Some(mut sample) = self.connection.sample.take() {
                sample.finish(self.how.size)?;
                if sample.plain.len() as u64 != size {
                    self.spoil(&Wrong::Length(sample.plain.len() as u64, size));
                } else {
                    self.look(&sample.plain, 0);
                    self.check();
                }
                sample.plain.clear();
                self.connection.sample = Some(sample);
                looked_at = true;
            }
        } else if len != size {
            self.spoil(&Wrong::Length(len, size));
        } else {
            self.check();
        }
        self.stats.verified += u64::from(looked_at && !self.connection.spoilt);
        self.connection.received += 1;
        self.state.owed = self.state.owed.saturating_sub(1);
        self.done += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{STAMP, Stamp};

    #[test]
    fn a_stamp_says_what_was_written() {
        let mut stamp = Stamp { text: [0; STAMP], filled: STAMP as u8 };
        for numbers in [(0, 0, 0), (0xffff, (1 << 48) - 1, u64::MAX), (7, 123_456, 789)] {
            Stamp::write(&mut stamp.text, numbers.0, numbers.1, numbers.2);
            assert_eq!(stamp.read(), Some(numbers));
            assert!(stamp.text.is_ascii());
        }
        stamp.text[3] = b'g';
        assert_eq!(stamp.read(), None);
        stamp.text[3] = b'0';
        stamp.filled = 31;
        assert_eq!(stamp.read(), None);
    }
}
