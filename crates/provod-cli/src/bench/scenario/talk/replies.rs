//! Replies of an echo server, checked: opcode, length, order, and bytes by sample.

use super::Talk;
use crate::bench::connection::Connection;
use crate::bench::failure::Wrong;
use crate::bench::incoming::Receiver;
use crate::bench::payload::Messages;
use crate::bench::stats::Stats;

pub(super) struct Replies<'a> {
    pub(super) plan: &'a mut Talk,
    pub(super) connection: &'a mut Connection,
    pub(super) stats: &'a mut Stats,
    pub(super) messages: &'a Messages,
    pub(super) deflate: bool,
    /// Frames come back as they were sent.
    pub(super) raw: bool,
    /// The connection's number among all, and its place.
    pub(super) number: usize,
    pub(super) i: usize,
    pub(super) now: u64,
    /// Whole messages so far.
    pub(super) done: u64,
}

impl Replies<'_> {
    /// The bytes of the reply that comes next.
    pub(super) fn wanted(&self) -> &[u8] {
        let expected = self.connection.expected as usize;
        match self.raw {
            true => self.messages.frames(expected, expected + 1, 0),
            false => self.messages.plain(expected),
        }
    }

    #[inline]
    fn is_sampled(&self) -> bool {
        self.connection.unsampled == 0
    }

    /// Counts what is wrong with a message; the first thing alone, the rest follows from it.
    #[cold]
    fn spoil(&mut self, wrong: &Wrong) {
        if !std::mem::replace(&mut self.connection.spoilt, true) {
            self.stats.failures.add(self.number, wrong);
        }
    }

    /// Says how bytes that are not the wanted ones are wrong.
    #[cold]
    fn differs(&mut self, bytes: &[u8], at: usize) {
        let on_way = (self.connection.sent - self.connection.received) as usize;
        let expected = self.connection.expected as usize;
        let wrong = if self.messages.is_near(expected, on_way, at, bytes) {
            Wrong::Order("the reply to another message".to_owned())
        } else {
            Wrong::Content(at as u64)
        };
        self.spoil(&wrong);
    }
}

impl Receiver for Replies<'_> {
    #[inline]
    fn start(&mut self, opcode: u8, compressed: bool) -> Result<(), Wrong> {
        if self.connection.received == self.connection.sent {
            return Err(Wrong::Unasked);
        }
        if compressed && !self.deflate {
            return Err(Wrong::Compression("a compressed reply, though nothing was agreed"));
        }
        self.connection.compressed = compressed;
        self.connection.spoilt = false;
        if opcode != self.plan.how.opcode {
            self.spoil(&Wrong::Opcode(opcode));
        }
        Ok(())
    }

    #[inline]
    fn chunk(&mut self, bytes: &[u8], at: u64) -> Result<(), Wrong> {
        if self.connection.compressed {
            let most = self.wanted().len();
            return match &mut self.connection.sample {
                Some(sample) => sample.inflate(bytes, most),
                None => Ok(()),
            };
        }
        if !self.is_sampled() {
            return Ok(());
        }
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        // A reply that is too long shows at its end.
        if let Some(wanted) = self.wanted().get(at..at.saturating_add(bytes.len()))
            && wanted != bytes
        {
            self.differs(bytes, at);
        }
        Ok(())
    }

    #[inline]
    fn end(&mut self, len: u64) -> Result<(), Wrong> {
        let wanted = self.wanted().len();
        let mut looked_at = !self.connection.compressed && self.is_sampled();
        if self.connection.compressed {
            self.stats.compressed += 1;
            if let Some(mut sample) = self.connection.sample.take() {
                sample.finish(wanted)?;
                if sample.plain != self.wanted() {
                    self.differs(&sample.plain, 0);
                }
                sample.plain.clear();
                self.connection.sample = Some(sample);
                looked_at = true;
            }
        } else if len != wanted as u64 {
            self.spoil(&Wrong::Length(len, wanted as u64));
        }
        self.stats.verified += u64::from(looked_at && !self.connection.spoilt);
        if self.plan.is_talker(self.i) {
            let intended = self.plan.intended(self.i, self.connection.received);
            self.stats.reply(intended, self.now);
        }
        let left = self.connection.unsampled.checked_sub(1);
        self.connection.unsampled = left.unwrap_or(self.plan.how.verify_every - 1);
        self.connection.received += 1;
        self.connection.expected += 1;
        if self.connection.expected as usize == self.messages.count() {
            self.connection.expected = 0;
        }
        self.done += 1;
        Ok(())
    }
}
