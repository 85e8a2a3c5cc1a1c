//! A client and a server, joined by two streams that chop at random, against a model.

use std::collections::VecDeque;

use super::*;
use crate::{Compress, MessageKind, Prepared};
use bytes::Bytes;

/// One end, what it reads, and what it must still receive.
struct End {
    connection: Connection,
    input: Vec<u8>,
    expected: VecDeque<Message>,
    pongs: usize,
    streaming: Option<(MessageKind, Vec<u8>)>,
}

impl End {
    fn new(connection: Connection) -> Self {
        let (input, expected) = (Vec::new(), VecDeque::new());
        Self { connection, input, expected, pongs: 0, streaming: None }
    }

    /// Handles some of what has arrived and checks each message against the model.
    fn read(&mut self, most: usize, now: Timestamp) {
        if let Some(room) = self.connection.direct_buffer()
            && !self.input.is_empty()
        {
            let n = room.len().min(self.input.len()).min(most);
            room[..n].copy_from_slice(&self.input[..n]);
            self.input.drain(..n);
            let event = self.connection.handle_direct(n, now).unwrap().event;
            self.check(event);
            return;
        }
        let n = self.input.len().min(most);
        let progress = self.connection.handle_input(&mut self.input[..n], now).unwrap();
        let event = progress.event.map(|e| own(e, &self.input[..n]));
        self.input.drain(..progress.consumed);
        self.check(event);
    }

    fn check(&mut self, event: Option<Event>) {
        match event {
            Some(Event::Pong { .. }) => self.pongs += 1,
            Some(event @ Event::Message { .. }) => {
                assert_eq!(messages(vec![event]).pop(), self.expected.pop_front());
            }
            _ => {}
        }
    }
}

fn some_bytes(random: &mut Random) -> Vec<u8> {
    let len = [0, 1, 20, 125, 126, 300, 2048, 10_000, 70_000][random.below(9) as usize];
    let len = random.below(len + 1) as usize;
    match random.below(3) {
        0 => noise(len, random.next()),
        1 => vec![b'a'; len],
        _ => b"provod ".iter().copied().cycle().take(len).collect(),
    }
}

fn message(kind: MessageKind, bytes: Vec<u8>) -> Message {
    match kind {
        MessageKind::Binary => Message::binary(bytes),
        MessageKind::Text => {
            Message::text(bytes.iter().map(|b| char::from(b'a' + b % 26)).collect::<String>())
        }
    }
}

/// One random command to `from`, whose effect `to` must see.
fn command(from: &mut End, to: &mut End, prepared: &[(Prepared, Message)], random: &mut Random) {
    let compress = [Compress::Auto, Compress::Always, Compress::Never][random.below(3) as usize];
    let kind = [MessageKind::Text, MessageKind::Binary][random.below(2) as usize];
    let c = &mut from.connection;
    if let Some((kind, mut sent)) = from.streaming.take() {
        let piece = message(kind, some_bytes(random));
        let last = random.below(3) == 0;
        sent.extend_from_slice(piece.as_bytes());
        c.send_chunk(piece.into_bytes(), last).unwrap();
        if last {
            let bytes = Bytes::from(sent);
            to.expected.push_back(match kind {
                MessageKind::Binary => Message::Binary(bytes),
                MessageKind::Text => Message::Text(bytes.try_into().unwrap()),
            });
        } else {
            from.streaming = Some((kind, sent));
        }
        return;
    }
    match random.below(6) {
        0 => {
            let _ = c.ping(vec![0; random.below(126) as usize]);
        }
        1 => {
            c.begin_message(kind, compress).unwrap();
            from.streaming = Some((kind, Vec::new()));
        }
        2 => {
            let (prepared, message) = &prepared[random.below(prepared.len() as u64) as usize];
            c.send_prepared(prepared, compress).unwrap();
            to.expected.push_back(message.clone());
        }
        _ => {
            let message = message(kind, some_bytes(random));
            c.send_with(message.clone(), compress).unwrap();
            to.expected.push_back(message);
        }
    }
}

fn run(seed: u64, deflate: Option<DeflateParams>) {
    let mut random = Random(seed);
    let mut config = Config { fragment_size: 1 + random.below(20_000) as usize, ..quiet() };
    config.compression.threshold = random.below(300) as usize;
    let make = |role| match deflate {
        Some(params) => deflating(role, config.clone(), params),
        None => Connection::new(role, Arc::new(config.clone()), None, at(0)),
    };
    let mut ends = [End::new(make(client_role())), End::new(make(Role::Server))];
    let pool = Pool::default();
    let prepared: Vec<_> = (0..3)
        .map(|_| {
            let message = message(MessageKind::Binary, some_bytes(&mut random));
            (Prepared::new(message.clone(), Default::default(), &pool), message)
        })
        .collect();
    let now = at(0);
    for _ in 0..300 {
        if random.below(2) == 0 {
            ends.reverse();
        }
        let [a, b] = &mut ends;
        match random.below(4) {
            0 => command(a, b, &prepared, &mut random),
            1 => b.input.extend(take(&mut a.connection, random.below(9000) as usize, now)),
            _ => a.read(random.below(9000) as usize, now),
        }
    }
    // Everything said must arrive.
    for _ in 0..2 {
        ends.reverse();
        let [a, b] = &mut ends;
        if a.streaming.is_some() {
            let (kind, sent) = a.streaming.take().unwrap();
            a.connection.send_chunk(Bytes::new(), true).unwrap();
            b.expected.push_back(match kind {
                MessageKind::Binary => Message::binary(sent),
                MessageKind::Text => Message::Text(Bytes::from(sent).try_into().unwrap()),
            });
        }
        a.connection.close(None, now).unwrap();
    }
    for _ in 0..100_000 {
        ends.reverse();
        let [a, b] = &mut ends;
        b.input.extend(drain(&mut a.connection, now));
        b.read(usize::MAX, now);
        if ends.iter().all(|e| e.connection.closed().is_some()) {
            break;
        }
    }
    for end in &ends {
        assert!(end.expected.is_empty(), "seed {seed}: {} messages lost", end.expected.len());
        assert!(closed(&end.connection).is_clean(), "seed {seed}");
    }
}

#[test]
fn whatever_is_sent_arrives_however_it_is_chopped() {
    for seed in 0..60 {
        run(seed, None);
    }
}

#[test]
fn whatever_is_sent_compressed_arrives_however_it_is_chopped() {
    for seed in 0..120 {
        let bits = 9 + (seed % 7) as u8;
        let mut p = params(seed % 2 == 0, bits);
        p.client_no_context_takeover = seed % 3 == 0;
        run(1000 + seed, Some(p));
    }
}
