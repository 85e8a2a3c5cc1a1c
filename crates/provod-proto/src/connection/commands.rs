//! What the application tells a connection to do.

use bytes::Bytes;

use super::Connection;
use crate::close::{Cause, CloseFrame, Input, State};
use crate::error::{Error, LimitError, UsageError};
use crate::message::{Message, MessageKind, MessageRef};
use crate::prepared::{Prepared, PreparedForm, PreparedFrames};
use crate::send::Compress;
use crate::time::Timestamp;

/// Encoded bytes that a connection which gives way to others still tries to write.
const SHED_KEEPS: usize = 4096;

impl Connection {
    /// Queues a message, whole.
    ///
    /// # Errors
    ///
    /// When the connection is closing, or a streamed message is not finished.
    pub fn send(&mut self, message: Message) -> Result<(), UsageError> {
        self.send_with(message, Compress::Auto)
    }

    /// Queues a message and says whether it is compressed.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_with(&mut self, message: Message, compress: Compress) -> Result<(), UsageError> {
        self.may_send()?;
        self.outgoing.message(message, compress, &self.config)
    }

    /// Queues a message with a mark at its first byte and returns the number of the mark. Once
    /// [`marks_reached`](Self::marks_reached) is above that number, the transport has taken at
    /// least one byte of the message; when the connection has ended and it is not, none.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_marked(&mut self, message: Message, compress: Compress) -> Result<u64, UsageError> {
        self.may_send()?;
        self.outgoing.message_marked(message, compress, &self.config)
    }

    /// Queues a message whose bytes are borrowed, whole. They are copied once, to where they are
    /// written from: the cheapest way to send what is short or lies elsewhere. A long message that
    /// is owned already goes through [`send_with`](Self::send_with), which does not copy it.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_slice<'a>(
        &mut self,
        message: impl Into<MessageRef<'a>>,
        compress: Compress,
    ) -> Result<(), UsageError> {
        self.may_send()?;
        self.outgoing.slice(message.into(), compress, &self.config)
    }

    /// Queues a message that is encoded once for many connections.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_prepared(
        &mut self,
        message: &Prepared,
        compress: Compress,
    ) -> Result<(), UsageError> {
        self.may_send()?;
        self.outgoing.prepared(message, compress, &self.config)
    }

    /// Whether [`send_frames`](Self::send_frames) may be used: this is a server's end, and no message
    /// waits to be encoded or is on its way in pieces.
    #[must_use]
    pub fn takes_frames(&self) -> bool {
        self.may_send().is_ok() && self.outgoing.takes_frames() && !self.config.trace
    }

    /// Queues bytes of frames as they are, behind all that is encoded: whole messages, each in one
    /// frame of [`message_frame`](crate::message_frame), of which the first bytes may have
    /// been written to the transport already. [`takes_frames`](Self::takes_frames) must have been
    /// true since the connection was last written to. Where nothing can be sent any more they are
    /// dropped.
    pub fn send_frames(&mut self, frames: &[u8]) {
        if !self.is_output_lost() {
            self.outgoing.frames(frames);
        }
    }

    /// The form in which prepared messages of up to `longest` bytes may leave at once, all in one
    /// write of the application's own that [`prepared_sent`](Self::prepared_sent) tells of; `None`
    /// where each must take its turn with [`send_prepared`](Self::send_prepared): something else
    /// is on its way, frames are masked, cut into fragments or traced, or nothing can be sent.
    #[must_use]
    pub fn takes_prepared(&self, longest: usize) -> Option<PreparedForm> {
        let whole = longest <= self.config.fragment_size;
        let takes = whole && self.outgoing.is_empty() && self.takes_frames();
        takes.then(|| PreparedForm {
            window_bits: self.outgoing.window_bits().unwrap_or(0),
            threshold: self.config.compression.threshold,
        })
    }

    /// The first `taken` bytes of `frames` were written to the transport; the rest is queued. The
    /// form must be that of [`takes_prepared`](Self::takes_prepared).
    pub fn prepared_sent(&mut self, frames: &PreparedFrames, taken: usize) {
        if !self.is_output_lost() {
            self.outgoing.prepared_sent(frames, taken);
        }
    }

    /// Begins a message whose pieces follow with [`send_chunk`](Self::send_chunk). Other messages
    /// wait until it is finished; Pings and Pongs do not.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn begin_message(
        &mut self,
        kind: MessageKind,
        compress: Compress,
    ) -> Result<(), UsageError> {
        self.may_send()?;
        self.outgoing.begin(kind, compress)
    }

    /// Queues a piece of the message begun. The pieces of a text message together must be UTF-8; a
    /// character may be cut between them.
    ///
    /// # Errors
    ///
    /// When no message was begun, the connection is closing, or the piece makes the text bad UTF-8:
    /// then the piece is not queued.
    pub fn send_chunk(&mut self, data: Bytes, last: bool) -> Result<(), UsageError> {
        self.may_send()?;
        self.outgoing.chunk(data, last)
    }

    /// Lets all pieces so far leave, those too that a compressor would keep for later. Costs some
    /// bytes where the message is compressed, and nothing else.
    ///
    /// # Errors
    ///
    /// As [`send_chunk`](Self::send_chunk).
    pub fn flush_message(&mut self) -> Result<(), UsageError> {
        self.may_send()?;
        self.outgoing.flush()
    }

    /// Takes [`begin_message`](Self::begin_message) back, unless a piece was queued since. Returns
    /// whether it did.
    pub fn cancel_message(&mut self) -> bool {
        self.outgoing.cancel()
    }

    /// Queues a Ping. Its Pong comes as [`Event::Pong`](crate::Event::Pong) with the round-trip
    /// time.
    ///
    /// # Errors
    ///
    /// When the connection is closing, the payload is above 125 bytes, or 64 Pings wait already.
    pub fn ping(&mut self, payload: impl Into<Bytes>) -> Result<(), UsageError> {
        self.may_send()?;
        self.outgoing.ping(payload.into())
    }

    /// Closes: the Close frame (or, after a violation by the peer, the one that tells of it) leaves
    /// behind everything queued, and the closing handshake ends within
    /// [`close_timeout`](crate::Config::close_timeout). Without a frame, the Close has no code.
    ///
    /// # Errors
    ///
    /// When the connection is closing already, or the frame is not one that
    /// [`CloseFrame::new`] would have made.
    pub fn close(&mut self, frame: Option<CloseFrame>, now: Timestamp) -> Result<(), UsageError> {
        self.may_send()?;
        frame.as_ref().map_or(Ok(()), CloseFrame::check)?;
        // A violation is told with its own code, whatever the application thinks of the connection.
        let frame = if self.state == State::FailHeld { self.answer() } else { frame };
        self.outgoing.close(frame);
        self.rare().cause.get_or_insert(Cause::Local);
        self.turn(Input::Local, now);
        Ok(())
    }

    /// The application has taken every message and asked for the next one, or is gone: now the
    /// answer to the peer's Close, or the Close that tells of its violation, may leave.
    pub fn release_close(&mut self, now: Timestamp) {
        self.turn(Input::Release, now);
    }

    /// Gives up what this connection holds because memory is short: the message in the making, and
    /// all output that is not encoded. The peer is told with 1013, Try Again Later, right behind
    /// what is encoded; where that is more than 4 KiB, which a peer that does not read will not
    /// take soon, the connection is over at once. Returns the error that the connection ends with.
    pub fn shed(&mut self, now: Timestamp) -> Error {
        let error = Error::from(LimitError::MemoryBudget);
        self.incoming.abandon();
        let given_up = self.outgoing.abandon_waiting();
        self.rare().given_up += given_up.bytes;
        self.rare().marks_given_up += given_up.marks;
        if self.is_receiving() || self.is_close_held() {
            self.fail(error.clone(), now);
            self.turn(Input::Release, now);
        }
        if self.outgoing.encoded() > SHED_KEEPS {
            self.turn(Input::Lost, now);
        }
        self.flushed(now);
        error
    }

    /// Marks the end of the data that is queued now and returns the number of the mark. Once
    /// [`marks_passed`](Self::marks_passed) is above that number, the transport has taken all of it
    /// (or it was given up).
    pub fn mark(&mut self) -> u64 {
        self.outgoing.mark()
    }

    /// Gives messages out as [`Event::Chunk`](crate::Event::Chunk): what is held of one that has
    /// begun comes with the next call of [`handle_input`](Self::handle_input), which needs no input
    /// for it. Off again, a message that was begun in pieces ends in pieces.
    pub fn stream_messages(&mut self, on: bool) {
        self.streamed = on;
        if on {
            self.incoming.stream();
        }
    }

    pub(super) fn may_send(&self) -> Result<(), UsageError> {
        match self.state {
            _ if self.is_output_lost() => Err(UsageError::Closing),
            State::Open | State::PeerHeld | State::FailHeld | State::EofHeld => Ok(()),
            _ => Err(UsageError::Closing),
        }
    }
}
