//! One end of a pair: a connection and the least driver it can have.

use std::io::{ErrorKind, IoSlice};

use bytes::Bytes;
use provod_proto::{
    CloseCode, CloseFrame, Closed, Connection, Event, Message, MessageKind, Payload, Timestamp,
    UsageError, Utf8Bytes,
};

use crate::emulator::Link;

/// What one read asks for at most.
const READ: usize = 64 << 10;

/// One end of a [`Pair`](super::Pair): its connection, and what that has received.
#[derive(Debug)]
pub struct End {
    connection: Connection,
    now: Timestamp,
    events: Vec<Event>,
    /// Read and not handled yet.
    input: Vec<u8>,
    /// The connection has more to do with no further input.
    again: bool,
    eof: bool,
    paused: bool,
    /// The transport was let go.
    gone: bool,
}

impl End {
    pub(super) fn new(connection: Connection) -> Self {
        Self {
            connection,
            now: Timestamp::default(),
            events: Vec::new(),
            input: Vec::new(),
            again: false,
            eof: false,
            paused: false,
            gone: false,
        }
    }

    pub(super) fn set_clock(&mut self, now: Timestamp) {
        self.now = now;
    }

    /// Queues a message.
    ///
    /// # Errors
    ///
    /// As [`Connection::send`].
    pub fn send(&mut self, message: impl Into<Message>) -> Result<(), UsageError> {
        self.connection.send(message.into())
    }

    /// Closes.
    ///
    /// # Errors
    ///
    /// As [`Connection::close`].
    pub fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), UsageError> {
        let frame = CloseFrame::new(code, reason)?;
        self.connection.close(Some(frame), self.now)
    }

    /// The application takes nothing: this end reads no more, and a Close that it owes waits for
    /// its timeout.
    pub fn pause(&mut self) {
        self.paused = true;
        self.connection.handle_reading_paused();
    }

    /// The application takes what comes again.
    pub fn resume(&mut self) {
        self.paused = false;
        self.connection.handle_reading_resumed(self.now);
    }

    /// The messages received since the last call; other events stay.
    pub fn take_messages(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        self.events.retain(|event| {
            let Event::Message { kind, payload: Payload::Owned(bytes) } = event else {
                return true;
            };
            messages.push(match kind {
                MessageKind::Text => Message::Text(Utf8Bytes::from_checked(bytes.clone())),
                MessageKind::Binary => Message::Binary(bytes.clone()),
            });
            false
        });
        messages
    }

    /// All that was received since the last call, in order. Every payload is
    /// [`Payload::Owned`].
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// How it ended for this end; `None` while it has not.
    #[must_use]
    pub fn closed(&self) -> Option<&Closed> {
        self.connection.closed()
    }

    /// The connection, for every question that has no shorthand here.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The connection, for every command that has no shorthand here.
    pub fn connection_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// One turn; returns whether anything came of it.
    pub(super) fn step(&mut self, incoming: &mut Link, outgoing: &mut Link) -> bool {
        if self.gone {
            return false;
        }
        let timed = self.run_timers();
        let read = !self.paused && (self.read(incoming) || self.release());
        let written = self.write(outgoing);
        self.gone = self.connection.is_done();
        if self.gone {
            outgoing.finish(self.now);
            incoming.abandon();
        }
        timed || read || written || self.gone
    }

    fn run_timers(&mut self) -> bool {
        let due = |c: &Connection, now| c.poll_timeout().is_some_and(|(at, _)| at <= now);
        if !due(&self.connection, self.now) {
            return false;
        }
        self.connection.handle_timeout(self.now);
        assert!(!due(&self.connection, self.now), "a timer that stays due: {:?}", self.connection);
        true
    }

    /// Handles one frame, or reads when there is nothing to handle.
    fn read(&mut self, incoming: &mut Link) -> bool {
        if !self.connection.wants_input() {
            return false;
        }
        if !self.input.is_empty() || self.again {
            self.handle();
            return true;
        }
        if self.eof {
            return false;
        }
        let room = self.connection.direct_buffer().map(|room| room.len());
        let most = room.unwrap_or(READ).min(READ);
        self.input.resize(most.min(incoming.buffered()).max(1), 0);
        let read = incoming.read(&mut self.input, self.now);
        self.input.truncate(*read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => {
                self.eof = true;
                self.connection.handle_eof(self.now);
            }
            Ok(_) => self.arrived(),
            Err(e) if e.kind() == ErrorKind::WouldBlock => return false,
            Err(_) => self.connection.handle_lost(self.now),
        }
        true
    }

    fn arrived(&mut self) {
        let Some(room) = self.connection.direct_buffer() else {
            return self.handle();
        };
        let n = self.input.len();
        room[..n].copy_from_slice(&self.input);
        self.input.clear();
        if let Ok(progress) = self.connection.handle_direct(n, self.now) {
            self.again = progress.again;
            self.events.extend(progress.event.map(|event| own(event, &[])));
        }
    }

    fn handle(&mut self) {
        match self.connection.handle_input(&mut self.input, self.now) {
            Ok(progress) => {
                self.again = progress.again;
                self.events.extend(progress.event.map(|event| own(event, &self.input)));
                self.input.drain(..progress.consumed);
            }
            Err(_) => {
                // The outcome tells why; what follows means nothing.
                self.again = false;
                self.input.clear();
            }
        }
    }

    /// The application has taken all that came, and asks for more.
    fn release(&mut self) -> bool {
        let held = self.connection.is_close_held();
        if held {
            self.connection.release_close(self.now);
        }
        held
    }

    fn write(&mut self, outgoing: &mut Link) -> bool {
        let mut written = false;
        loop {
            let mut slices = [IoSlice::new(&[])];
            if self.connection.poll_transmit(&mut slices, self.now) == 0 {
                break;
            }
            match outgoing.write(&slices[0], self.now) {
                Ok(n) => {
                    self.connection.handle_transmitted(n, self.now);
                    written = true;
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.connection.handle_blocked();
                    break;
                }
                Err(_) => {
                    self.connection.handle_output_lost(self.now);
                    written = true;
                    break;
                }
            }
        }
        if self.connection.poll_half_close() {
            outgoing.finish(self.now);
            written = true;
        }
        written
    }
}

/// The event with a payload of its own; `input` is what the call was given.
fn own(event: Event, input: &[u8]) -> Event {
    let own = |payload| match payload {
        // The connection promises that the range lies in the input.
        Payload::Located(range) => Payload::Owned(Bytes::copy_from_slice(&input[range])),
        owned => owned,
    };
    match event {
        Event::Message { kind, payload } => Event::Message { kind, payload: own(payload) },
        Event::Chunk { kind, first, last, payload } => {
            Event::Chunk { kind, first, last, payload: own(payload) }
        }
        other => other,
    }
}
