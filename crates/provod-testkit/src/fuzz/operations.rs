//! A client and a server do what the bytes say, against a model of what each must receive.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use provod_proto::deflate::{Level, Pool};
use provod_proto::{
    CloseCode, CloseFrame, Compress, Connection, Error, Event, LimitError, Message, MessageKind,
    Prepared, Role, Timestamp, UsageError,
};

use super::script::{Script, config, deflate, invariants, message};
use super::{Received, client, drain, transmit};

/// What a sender is known to have queued and the receiver has not seen.
type Expected = VecDeque<(MessageKind, Vec<u8>)>;

struct End {
    connection: Connection,
    /// Bytes on their way to this end, and whether the end of the stream lies behind them.
    input: Vec<u8>,
    ended: bool,
    eof_seen: bool,
    received: Received,
    expected: Expected,
    streaming: Option<(MessageKind, Vec<u8>)>,
    closing: bool,
    /// Marks made, and how many of them were passed when it was last looked.
    marks: (u64, u64),
    /// It gave up all it held.
    shed: bool,
}

impl End {
    fn new(connection: Connection) -> Self {
        Self {
            connection,
            input: Vec::new(),
            ended: false,
            eof_seen: false,
            received: Received::default(),
            expected: Expected::new(),
            streaming: None,
            closing: false,
            marks: (0, 0),
            shed: false,
        }
    }

    fn read(&mut self, most: usize, now: Timestamp) {
        let n = self.input.len().min(most);
        if n > 0
            && let Some(room) = self.connection.direct_buffer()
        {
            let n = room.len().min(n);
            room[..n].copy_from_slice(&self.input[..n]);
            self.input.drain(..n);
            let progress = self.connection.handle_direct(n, now).expect("the peer is one of us");
            self.take(progress.event, &[]);
            return;
        }
        let mut input = std::mem::take(&mut self.input);
        let again = match self.connection.handle_input(&mut input[..n], now) {
            Ok(progress) => {
                self.take(progress.event, &input);
                input.drain(..progress.consumed);
                progress.again
            }
            Err(e) => {
                assert!(self.shed, "the peer is one of us: {e}");
                assert_eq!(e, Error::from(LimitError::MemoryBudget));
                input.clear();
                false
            }
        };
        self.input = input;
        if self.input.is_empty() && !again && self.ended && !self.eof_seen {
            self.eof_seen = true;
            self.connection.handle_eof(now);
        }
    }

    fn take(&mut self, event: Option<Event>, input: &[u8]) {
        let Some(event) = event else { return };
        self.received.take(event, input);
        for message in self.received.messages.drain(..) {
            assert_eq!(Some(message), self.expected.pop_front(), "the next that was sent");
        }
        self.received.controls.clear();
    }

    /// Marks are passed in their order, and all of them when nothing is left.
    fn check_marks(&mut self) {
        let (made, before) = self.marks;
        let passed = self.connection.marks_passed();
        assert!((before..=made).contains(&passed), "{before} <= {passed} <= {made}");
        assert!(self.connection.has_output() || passed == made, "{passed} of {made}");
        self.marks.1 = passed;
    }
}

/// The first two bytes configure the pair; then each operation is a byte and its arguments.
pub fn run(data: &[u8]) {
    let mut script = Script(data);
    let flags = script.byte();
    let config = Arc::new(config(script.byte()));
    let deflate = deflate(flags);
    let mut now = Timestamp::default();
    let make = |role| Connection::new(role, Arc::clone(&config), deflate.clone(), now);
    let mut ends = [End::new(make(client())), End::new(make(Role::Server))];
    if flags & 0x80 != 0 {
        ends.iter_mut().for_each(|e| e.connection.stream_messages(true));
    }
    let pool = Pool::new(1);
    let prepared = [b"a".repeat(3000), vec![], (0..200).collect()]
        .map(|bytes| Prepared::new(Message::binary(bytes), Level::default(), &pool));

    while let Some(op) = script.next() {
        if op & 1 != 0 {
            ends.reverse();
        }
        let [a, b] = &mut ends;
        match op >> 1 & 15 {
            0..=2 => command(a, b, &mut script, &prepared, now),
            3..=5 => {
                let most = script.len();
                carry(a, b, most, now);
            }
            6..=8 => {
                let most = script.len();
                a.read(most, now);
            }
            9 => {
                now = now.after(Duration::from_millis(u64::from(script.byte()) * 100));
                for end in &mut ends {
                    end.connection.handle_timeout(now);
                    if let Some((at, _)) = end.connection.poll_timeout() {
                        assert!(at > now, "a timer that is due would spin a driver");
                    }
                }
            }
            10 => a.connection.release_close(now),
            11 => a.connection.handle_reading_paused(),
            12 => a.connection.handle_reading_resumed(now),
            13 => a.connection.handle_blocked(),
            14 if script.byte() == 0xFF => {
                a.connection.handle_lost(now);
                b.ended = true;
            }
            14 => close(a, &mut script, now),
            _ => end_of_stream(a, b),
        }
        for end in &mut ends {
            invariants(&end.connection);
            end.check_marks();
        }
    }
    finish(ends, now);
}

/// What the application may ask; refused exactly when the connection is closing or in mid-message.
fn command(
    a: &mut End,
    b: &mut End,
    script: &mut Script<'_>,
    prepared: &[Prepared],
    now: Timestamp,
) {
    let op = script.byte();
    if op >= 0xC0 {
        return seldom(a, b, op, now);
    }
    let kind = if op & 1 == 0 { MessageKind::Text } else { MessageKind::Binary };
    let compress = [Compress::Auto, Compress::Always, Compress::Never, Compress::Auto]
        [usize::from(op >> 1 & 3)];
    let open = a.connection.can_send();
    let refusal = if !open {
        Some(UsageError::Closing)
    } else if a.streaming.is_some() {
        Some(UsageError::MessageInProgress)
    } else {
        None
    };
    match op >> 3 & 7 {
        0 | 1 => {
            let bytes = script.payload(kind);
            let sent = a.connection.send_with(message(kind, &bytes), compress);
            assert_eq!(sent.err(), refusal);
            if refusal.is_none() {
                b.expected.push_back((kind, bytes));
            }
        }
        2 => {
            let prepared = &prepared[usize::from(script.byte()) % prepared.len()];
            assert_eq!(a.connection.send_prepared(prepared, compress).err(), refusal);
            if refusal.is_none() {
                b.expected.push_back((prepared.kind(), prepared.payload().to_vec()));
            }
        }
        3 => {
            assert_eq!(a.connection.begin_message(kind, compress).err(), refusal);
            if refusal.is_none() {
                a.streaming = Some((kind, Vec::new()));
            }
        }
        4 | 5 => {
            let last = op & 8 != 0;
            let kind = a.streaming.as_ref().map_or(kind, |s| s.0);
            let bytes = script.payload(kind);
            let sent = a.connection.send_chunk(Bytes::copy_from_slice(&bytes), last);
            match (&mut a.streaming, open) {
                (_, false) => assert_eq!(sent, Err(UsageError::Closing)),
                (None, true) => assert_eq!(sent, Err(UsageError::NoMessageInProgress)),
                (Some((kind, all)), true) => {
                    assert_eq!(sent, Ok(()));
                    all.extend(bytes);
                    if last {
                        b.expected.push_back((*kind, std::mem::take(all)));
                        a.streaming = None;
                    }
                }
            }
        }
        6 => {
            let len = usize::from(script.byte() & 0x7F);
            let sent = a.connection.ping(vec![0; len]);
            assert!(open || sent == Err(UsageError::Closing));
            assert!(!open || (len > 125) == (sent == Err(UsageError::ControlTooLong)));
        }
        _ => a.read(usize::MAX, now),
    }
}

/// Commands that are rarer.
fn seldom(a: &mut End, b: &mut End, op: u8, now: Timestamp) {
    let open = a.connection.can_send();
    match op & 7 {
        0 | 1 => flush(a, open),
        2 => {
            let cancelled = a.connection.cancel_message();
            if open {
                let fresh = a.streaming.as_ref().is_some_and(|(_, all)| all.is_empty());
                assert_eq!(cancelled, fresh);
            }
            a.streaming.take_if(|_| cancelled);
        }
        3 | 4 => a.connection.stream_messages(op & 7 == 3),
        5 => {
            assert_eq!(a.connection.mark(), a.marks.0);
            a.marks.0 += 1;
        }
        6 if op & 0x38 == 0x38 => {
            a.connection.shed(now);
            (a.shed, a.streaming) = (true, None);
            assert!(!a.connection.can_send());
            assert_eq!(a.connection.held_input(), 0);
        }
        // All that is written before a flush is heard behind it, whatever a compressor would keep.
        _ => {
            flush(a, open);
            let mark = a.connection.mark();
            a.marks.0 += 1;
            let bytes = drain(&mut a.connection, now);
            let _ = a.connection.poll_trace();
            assert!(bytes.is_empty() || !b.ended);
            assert!(a.connection.marks_passed() > mark);
            b.input.extend(bytes);
            end_of_stream(a, b);
            b.connection.stream_messages(true);
            // Once more for what is inflated and was not asked for.
            while !b.input.is_empty() {
                b.read(usize::MAX, now);
            }
            b.read(0, now);
            if open
                && b.connection.is_receiving()
                && let Some((_, all)) = &a.streaming
            {
                let heard = b.received.pieces.as_ref().map_or(0, Vec::len);
                let held = b.connection.held_input();
                assert!(heard + held >= all.len(), "{heard} and {held} of {}", all.len());
            }
        }
    }
}

fn flush(a: &mut End, open: bool) {
    let expected = match (open, &a.streaming) {
        (false, _) => Err(UsageError::Closing),
        (true, None) => Err(UsageError::NoMessageInProgress),
        (true, Some(_)) => Ok(()),
    };
    assert_eq!(a.connection.flush_message(), expected);
}

/// Moves bytes from one end to the other; to one that is gone they are lost.
fn carry(a: &mut End, b: &mut End, most: usize, now: Timestamp) {
    let bytes = transmit(&mut a.connection, most, now);
    assert!(bytes.is_empty() || !b.ended, "nothing leaves after our own half-close");
    b.input.extend(bytes);
    let _ = a.connection.poll_trace();
    end_of_stream(a, b);
}

/// Does what a driver does at the end: the half-close, and letting the transport go.
fn end_of_stream(a: &mut End, b: &mut End) {
    if a.connection.poll_half_close() {
        assert!(!a.connection.has_output(), "the last byte leaves before the half-close");
        b.ended = true;
    }
    b.ended |= a.connection.is_done();
}

fn close(a: &mut End, script: &mut Script<'_>, now: Timestamp) {
    let code = u16::from_be_bytes([script.byte(), script.byte()]);
    let frame = match code {
        0 => None,
        code => Some(CloseFrame { code: CloseCode::new(code), reason: "bye".into() }),
    };
    let legal = frame.as_ref().is_none_or(|f| f.code.may_be_sent());
    let open = a.connection.can_send();
    let closed = a.connection.close(frame, now);
    assert_eq!(closed.is_ok(), open && legal);
    a.closing |= closed.is_ok();
    if closed.is_ok() {
        a.streaming = None;
    }
}

/// Lets both ends say all they have, close, and end.
fn finish(mut ends: [End; 2], mut now: Timestamp) {
    for end in &mut ends {
        end.connection.handle_reading_resumed(now);
        if end.connection.can_send() {
            let _ = end.connection.close(None, now);
        }
        end.streaming = None;
    }
    for _ in 0..4 {
        for _ in 0..2 {
            ends.reverse();
            let [a, b] = &mut ends;
            let out = drain(&mut a.connection, now);
            assert!(out.is_empty() || !b.ended);
            b.input.extend(out);
            let _ = a.connection.poll_trace();
            end_of_stream(a, b);
            while !b.input.is_empty() || (b.ended && !b.eof_seen) {
                b.read(usize::MAX, now);
            }
            b.connection.release_close(now);
        }
    }
    for _ in 0..3 {
        now = now.after(Duration::from_secs(6));
        for end in &mut ends {
            end.connection.handle_timeout(now);
            drain(&mut end.connection, now);
        }
    }
    let [a, b] = &ends;
    for (from, to) in [(a, b), (b, a)] {
        let closed = from.connection.closed().expect("every connection ends by timeouts alone");
        assert!(from.connection.is_done(), "{closed:?}");
        let other = to.connection.closed().expect("it has ended too");
        if closed.is_clean() {
            assert_eq!(closed.received, other.sent);
            assert_eq!(closed.unsent, 0);
        }
        if closed.is_clean() && other.is_clean() {
            assert!(to.expected.is_empty(), "clean, and {} messages lost", to.expected.len());
        }
    }
}
