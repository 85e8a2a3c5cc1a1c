//! One connection: its socket, its handshake, and what waits to be written.

use std::io;

use provod::proto::deflate::{Inflater, Pool};
use provod::proto::handshake::{ClientRequest, HeadLimits, ResponseReader};

use super::failure::Wrong;
use super::incoming::Incoming;
use super::payload::{Messages, Random, frame};
use super::target::Stream;
use provod::proto::OpCode;

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// There is no socket.
    Idle,
    /// The TCP connection is being made.
    Connecting,
    /// The request is sent, the answer has not come.
    Upgrading,
    Open,
}

/// What is needed until the answer has come.
#[derive(Debug)]
pub(super) struct Handshake {
    pub(super) request: ClientRequest,
    pub(super) reader: ResponseReader,
}

/// Inflates what a connection receives, all of it, since a message may refer to those before.
#[derive(Debug)]
pub(super) struct Sample {
    inflater: Inflater,
    pub(super) plain: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) state: State,
    pub(super) stream: Option<Stream>,
    /// When it began to connect, or was meant to, in nanoseconds of the clock.
    pub(super) began: u64,
    /// When it gives up, if it is not open.
    pub(super) deadline: u64,
    pub(super) handshake: Option<Box<Handshake>>,
    pub(super) incoming: Incoming,
    pub(super) sample: Option<Box<Sample>>,
    /// Frames that are written before the next of the messages.
    pub(super) out: Vec<u8>,
    out_at: usize,
    /// Messages that are still to be written, the next one, and how much of it has left.
    pending: u64,
    variant: u32,
    offset: usize,
    /// The message whose reply comes next.
    pub(super) expected: u32,
    /// Whether the message that is being received is compressed, and already known to be wrong.
    pub(super) compressed: bool,
    pub(super) spoilt: bool,
    /// Replies until one whose bytes are compared.
    pub(super) unsampled: u64,
    /// Whether this end has sent a Close.
    pub(super) closing: bool,
    /// Messages queued, and replies seen, since it was opened.
    pub(super) sent: u64,
    pub(super) received: u64,
}

impl Connection {
    pub(super) fn new() -> Self {
        Self {
            state: State::Idle,
            stream: None,
            began: 0,
            deadline: u64::MAX,
            handshake: None,
            incoming: Incoming::default(),
            sample: None,
            out: Vec::new(),
            out_at: 0,
            pending: 0,
            variant: 0,
            offset: 0,
            expected: 0,
            compressed: false,
            spoilt: false,
            unsampled: 0,
            closing: false,
            sent: 0,
            received: 0,
        }
    }

    /// As new, with a socket that is being connected; its messages begin at `variant`. Without a
    /// request there is no handshake.
    pub(super) fn begin(&mut self, stream: Stream, request: Option<ClientRequest>, variant: u32) {
        *self = Self::new();
        self.stream = Some(stream);
        self.state = State::Connecting;
        self.variant = variant;
        self.expected = variant;
        self.handshake = request.map(|request| {
            request.write(&mut self.out);
            let reader = ResponseReader::new(HeadLimits::default());
            Box::new(Handshake { request, reader })
        });
    }

    pub(super) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether something waits for the socket to take it.
    pub(super) fn is_waiting(&self) -> bool {
        self.pending > 0 || !self.out.is_empty()
    }

    /// Queues so many of the messages.
    pub(super) fn queue(&mut self, n: u64) {
        self.pending += n;
        self.sent += n;
    }

    /// Queues the answers to Pings.
    pub(super) fn answer_pings(&mut self, random: &mut Random) {
        for ping in std::mem::take(&mut self.incoming.pings) {
            frame(&mut self.out, OpCode::Pong, false, &ping, random.key());
        }
    }

    /// Queues a Close.
    pub(super) fn close(&mut self, random: &mut Random) {
        self.closing = true;
        frame(&mut self.out, OpCode::Close, false, &1000u16.to_be_bytes(), random.key());
    }

    /// Writes what the socket takes; returns how many bytes and whole messages that were.
    pub(super) fn flush(&mut self, messages: &Messages) -> Result<(usize, u64), Wrong> {
        let (mut bytes, mut whole) = (0, 0);
        loop {
            let Some(stream) = &mut self.stream else { return Ok((bytes, whole)) };
            // Frames of `out` stand between messages, never inside one.
            let first = self.variant as usize;
            let from_out = self.offset == 0 && !self.out.is_empty();
            let next = if from_out {
                &self.out[self.out_at..]
            } else if self.pending > 0 {
                let most = (messages.count() - first) as u64;
                let last = first + self.pending.min(most) as usize;
                messages.frames(first, last, self.offset)
            } else {
                return Ok((bytes, whole));
            };
            let len = next.len();
            let written = match stream.write(next) {
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok((bytes, whole)),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                // Connecting sockets say so in many ways; the event that ends it comes.
                Err(e) if e.kind() == io::ErrorKind::NotConnected => return Ok((bytes, whole)),
                Err(e) => return Err(Wrong::Io("write", e)),
            };
            bytes += written;
            if from_out {
                self.out_at += written;
                if written == len {
                    self.out_at = 0;
                    self.out.clear();
                    // One burst of a fan-out must not be held for ever.
                    self.out.shrink_to(4096);
                }
            } else {
                whole += self.advance(written, messages);
            }
            if written < len {
                return Ok((bytes, whole));
            }
        }
    }

    /// So many bytes of messages have left; returns how many messages have now left whole.
    fn advance(&mut self, written: usize, messages: &Messages) -> u64 {
        let mut left = written + self.offset;
        let mut whole = 0;
        while self.pending > 0 && left >= messages.frame_len(self.variant as usize) {
            left -= messages.frame_len(self.variant as usize);
            self.variant = (self.variant + 1) % messages.count() as u32;
            self.pending -= 1;
            whole += 1;
        }
        self.offset = left;
        whole
    }
}

/// What the server may compress with at most; a smaller window is inflated with it just as well.
const WINDOW: u8 = 15;

impl Sample {
    pub(super) fn new(takeover: bool, pool: &Pool) -> Self {
        Self { inflater: Inflater::new(WINDOW, takeover, pool.clone()), plain: Vec::new() }
    }

    /// The next bytes of a compressed message; `most` is how long it may become.
    pub(super) fn inflate(&mut self, mut bytes: &[u8], most: usize) -> Result<(), Wrong> {
        while !bytes.is_empty() {
            let room = (most + 1).saturating_sub(self.plain.len());
            if room == 0 {
                return Err(Wrong::Length(self.plain.len() as u64, most as u64));
            }
            let step = self.inflater.step(bytes, &mut self.plain, room).map_err(bad_deflate)?;
            bytes = &bytes[step.consumed..];
        }
        Ok(())
    }

    /// The message has ended: all of it is in `plain`.
    pub(super) fn finish(&mut self, most: usize) -> Result<(), Wrong> {
        loop {
            let room = (most + 1).saturating_sub(self.plain.len()).max(1);
            let done = self.inflater.finish_step(&mut self.plain, room).map_err(bad_deflate)?.done;
            if done {
                return Ok(());
            }
            if self.plain.len() > most {
                return Err(Wrong::Length(self.plain.len() as u64, most as u64));
            }
        }
    }
}

fn bad_deflate(_: provod::proto::ProtocolError) -> Wrong {
    Wrong::Compression("a compressed reply that cannot be inflated")
}

#[cfg(test)]
mod tests {
    use super::Connection;

    /// A generator with 50,000 connections should not be what fills the machine.
    #[test]
    fn a_connection_is_small() {
        let size = size_of::<Connection>();
        assert!(size <= 400, "{size} bytes");
    }
}
