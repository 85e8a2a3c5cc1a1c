//! A client and a server talk over a network that splits, delays, stalls, cuts and half-closes as
//! the bytes say, against a model of what each must hear and of how it may end.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::time::Duration;

use bytes::Bytes;
use provod_proto::deflate::{Level, Pool};
use provod_proto::{CloseCode, CloseFrame, Compress, Message, MessageKind, Prepared};

use super::Received;
use super::script::{Script, config, deflate, invariants, message};
use crate::emulator::{Faults, Link};
use crate::pair::{End, Pair};

/// Each close timeout is 5 s and there are three phases; whatever is lost, that is the end of it.
const LONGEST_END: Duration = Duration::from_secs(120);

/// After so many bytes only short messages are said: large ones take their time, in small pieces,
/// and one of them shows what there is to see.
const MUCH: usize = 64 << 10;

/// What one end has said, of which the other has heard the beginning.
#[derive(Default)]
struct Said {
    /// Accepted, and not heard yet.
    unheard: VecDeque<(MessageKind, Vec<u8>)>,
    streaming: Option<(MessageKind, Vec<u8>)>,
    /// Bytes of the longest message, whole or not.
    longest: usize,
    /// Bytes of the message that the Close left without an end.
    unfinished: usize,
    total: usize,
}

impl Said {
    /// What the script wants to say next.
    fn payload(&mut self, kind: MessageKind, script: &mut Script<'_>) -> Vec<u8> {
        let mut bytes = script.payload(kind);
        if self.total > MUCH {
            bytes.truncate(200);
        }
        self.total += bytes.len();
        bytes
    }

    fn accepted(&mut self, kind: MessageKind, bytes: Vec<u8>) {
        self.longest = self.longest.max(bytes.len());
        self.unheard.push_back((kind, bytes));
    }

    /// What the queue of an end that has said this may hold at most: all that was not heard, in
    /// fragments of 7 bytes with a header of at most 14 each or as little compressed as can be, and
    /// control frames, of which there are limits.
    fn most_queued(&self) -> usize {
        let streamed = self.streaming.as_ref().map_or(0, |(_, bytes)| bytes.len());
        let payloads: usize = self.unheard.iter().map(|(_, bytes)| bytes.len()).sum();
        (payloads + streamed + self.unfinished) * 3
            + self.unheard.len() * 32
            + (64 + 64 + 2) * 139
            + 32
    }
}

struct Conversation {
    pair: Pair,
    /// What the client has said, and what the server has.
    said: [Said; 2],
    /// What the client has heard, and what the server has.
    heard: [Received; 2],
    paused: [bool; 2],
    capacity: [usize; 2],
    extends: bool,
}

/// Four bytes configure the ends, some more the network; then each operation is a byte and its
/// arguments.
pub fn run(data: &[u8]) {
    let mut script = Script(data);
    let flags = script.byte();
    let mut config = config(script.byte());
    config.trace = false;
    let extends = config.close_extends;
    let (to_server, a) = faults(&mut script);
    let (to_client, b) = faults(&mut script);
    let mut builder = Pair::builder().config(config).to_server(to_server).to_client(to_client);
    if let Some(deflate) = deflate(flags) {
        builder = builder.compression(deflate);
    }
    let mut talk = Conversation {
        extends,
        pair: builder.build(),
        said: Default::default(),
        heard: Default::default(),
        paused: [false; 2],
        capacity: [a, b],
    };
    if flags & 0x80 != 0 {
        talk.pair.client.connection_mut().stream_messages(true);
        talk.pair.server.connection_mut().stream_messages(true);
    }
    let prepared =
        Prepared::new(Message::binary(b"a".repeat(3000)), Level::default(), &Pool::new(1));
    while let Some(op) = script.next() {
        talk.operation(op, &mut script, &prepared);
        talk.check();
    }
    talk.finish();
}

/// What goes wrong in a direction, and its capacity.
fn faults(script: &mut Script<'_>) -> (Faults, usize) {
    let (how, more) = (script.byte(), script.byte());
    let capacity = [64 << 10, 2000, 127, 16][usize::from(more >> 2 & 3)];
    let mut faults = Faults::new(u64::from(more)).capacity(capacity);
    match how & 3 {
        0 => {}
        1 => faults = faults.split(1..=7),
        2 => faults = faults.split(1..=300),
        _ => faults = faults.split(100..=5000),
    }
    if how & 4 != 0 {
        faults = faults.short_writes(1..=50);
    }
    if how & 8 != 0 {
        faults = faults.delay(Duration::ZERO..=Duration::from_millis(300));
    }
    if how & 16 != 0 {
        faults = faults.coalesce(Duration::from_millis(70));
    }
    let at = u64::from(more & 3) << 12 | u64::from(if how >> 5 > 4 { script.byte() } else { 0 });
    match how >> 5 {
        5 => faults = faults.stall(at),
        6 => faults = faults.cut(at),
        7 => faults = faults.half_close(at),
        _ => {}
    }
    (faults, capacity)
}

impl Conversation {
    /// The end `who`, and what it writes into.
    fn at(&mut self, who: usize) -> (&mut End, &mut Link) {
        match who {
            0 => (&mut self.pair.client, &mut self.pair.to_server),
            _ => (&mut self.pair.server, &mut self.pair.to_client),
        }
    }

    fn operation(&mut self, op: u8, script: &mut Script<'_>, prepared: &Prepared) {
        let who = usize::from(op & 1);
        let now = self.pair.now();
        match op >> 1 & 15 {
            0..=4 => self.say(who, script, prepared),
            5 | 6 => {
                for _ in 0..=script.byte() {
                    self.pair.step();
                }
            }
            7 => self.pair.run_until_idle(),
            8 | 9 => self.pair.advance(Duration::from_millis(u64::from(script.byte()) * 40)),
            10 => drop(self.pair.jump()),
            11 => {
                self.paused[who] = !self.paused[who];
                let paused = self.paused[who];
                let (end, _) = self.at(who);
                if paused { end.pause() } else { end.resume() }
            }
            12 => self.close(who, script),
            13 => match script.byte() {
                0..=127 => self.at(who).1.stall(),
                _ => self.at(who).1.release(),
            },
            14 if script.byte() & 7 == 0 => self.at(who).1.cut(ErrorKind::TimedOut, now),
            15 if script.byte() & 7 == 0 => self.at(who).1.finish(now),
            _ => {}
        }
    }

    fn say(&mut self, who: usize, script: &mut Script<'_>, prepared: &Prepared) {
        let op = script.byte();
        let kind = if op & 1 == 0 { MessageKind::Text } else { MessageKind::Binary };
        let compress = [Compress::Auto, Compress::Always, Compress::Never, Compress::Auto]
            [usize::from(op >> 1 & 3)];
        let mut said = std::mem::take(&mut self.said[who]);
        let connection = self.at(who).0.connection_mut();
        let may = connection.can_send();
        match (op >> 3 & 7, said.streaming.take()) {
            (7, streaming) => {
                // Refused while 64 wait; a Ping is no promise.
                let _ = connection.ping(vec![op; usize::from(op) % 126]);
                said.streaming = streaming;
            }
            (last, Some((kind, mut all))) => {
                let bytes = said.payload(kind, script);
                let last = last & 1 == 1;
                let sent = connection.send_chunk(Bytes::copy_from_slice(&bytes), last);
                assert_eq!(sent.is_ok(), may, "{sent:?}");
                all.extend(bytes);
                said.longest = said.longest.max(all.len());
                match sent {
                    Ok(()) if last => said.accepted(kind, all),
                    Ok(()) => said.streaming = Some((kind, all)),
                    // It is closed, and the message will never be whole.
                    Err(_) => said.unfinished = all.len(),
                }
            }
            (6, None) => {
                assert_eq!(connection.begin_message(kind, compress).is_ok(), may);
                said.streaming = may.then(|| (kind, Vec::new()));
            }
            (5, None) => {
                assert_eq!(connection.send_prepared(prepared, compress).is_ok(), may);
                if may {
                    said.accepted(prepared.kind(), prepared.payload().to_vec());
                }
            }
            (_, None) => {
                let bytes = said.payload(kind, script);
                assert_eq!(connection.send_with(message(kind, &bytes), compress).is_ok(), may);
                if may {
                    said.accepted(kind, bytes);
                }
            }
        }
        self.said[who] = said;
    }

    fn close(&mut self, who: usize, script: &mut Script<'_>) {
        let now = self.pair.now();
        let code = [1000, 1001, 4000, 1005][usize::from(script.byte() & 3)];
        let frame = CloseFrame { code: CloseCode::new(code), reason: "bye".into() };
        let connection = self.at(who).0.connection_mut();
        let may = connection.can_send();
        // 1005 is never on the wire: here it stands for a Close without a code.
        assert_eq!(connection.close((code != 1005).then_some(frame), now).is_ok(), may);
        if may && let Some((_, bytes)) = self.said[who].streaming.take() {
            self.said[who].unfinished = bytes.len();
        }
    }

    /// Each message heard is the next that was said; memory is bounded by what was said.
    fn check(&mut self) {
        for who in 0..2 {
            let events = self.at(who).0.take_events();
            let (heard, said) = (&mut self.heard[who], &mut self.said[1 - who]);
            for event in events {
                heard.take(event, &[]);
            }
            for message in heard.messages.drain(..) {
                assert!(Some(message) == said.unheard.pop_front(), "not the next that was said");
            }
            heard.controls.clear();
            let longest = said.longest;
            let (most, capacity) = (self.said[who].most_queued(), self.capacity[who]);
            let (end, link) = self.at(who);
            let connection = end.connection();
            invariants(connection);
            assert!(connection.buffered() <= most, "{} of {most}", connection.buffered());
            let held = connection.held_input();
            assert!(held <= longest * 2 + (16 << 10), "{held} bytes for {longest}");
            assert!(link.buffered() <= capacity);
        }
    }

    /// Both close, and end, and what they say about it is true.
    fn finish(mut self) {
        for who in 0..2 {
            self.close(who, &mut Script(&[]));
        }
        for who in 0..2 {
            // An end that never reads again may, where the close timeout counts from the last
            // progress, wait for itself for ever.
            self.at(who).0.resume();
        }
        let start = self.pair.now();
        self.pair.run_until_closed();
        // Where the close timeout counts from the last progress, the end takes as long as what is
        // under way, which `run_until_closed` bounds.
        assert!(self.extends || self.pair.now().since(start) <= LONGEST_END);
        self.check();
        for end in [&self.pair.client, &self.pair.server] {
            assert_eq!(end.connection().buffered(), 0, "what was given up is let go");
        }
        let [client, server] = [&self.pair.client, &self.pair.server]
            .map(|end| end.closed().expect("it is over").clone());
        for (from, to, said) in
            [(&client, &server, &self.said[0]), (&server, &client, &self.said[1])]
        {
            if to.received.is_some() {
                assert_eq!(to.received, from.sent, "what was heard was said");
                // A Close follows all data.
                assert!(said.unheard.is_empty(), "{} messages lost in silence", said.unheard.len());
            }
            assert!(!from.is_clean() || from.unsent == 0);
            assert!(said.unheard.is_empty() || !to.is_clean());
        }
    }
}
