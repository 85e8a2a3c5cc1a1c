//! Any bytes as frames, both roles: the same events, error and answers however they arrive; memory
//! within the limits.

use std::sync::Arc;

use provod_proto::deflate::Pool;
use provod_proto::handshake::DeflateParams;
use provod_proto::{Config, Connection, DeflateSetup, Error, Limits, Role, Timestamp};

use super::{Received, client, drain};
use crate::random::Random;

const NOW: fn() -> Timestamp = Timestamp::default;

#[derive(Debug, PartialEq)]
struct Outcome {
    received: Received,
    error: Option<Error>,
    answer: Vec<u8>,
    cut: bool,
}

/// The first byte: role, compression, limits, streaming. The second: how the rest is cut.
pub fn run(data: &[u8]) {
    let [flags, seed, input @ ..] = data else { return };
    let mut random = Random(u64::from(*seed));
    let streamed = flags & 1 != 0;
    let whole = feed(*flags, input, streamed, |rest, _| rest);
    assert_eq!(whole, feed(*flags, input, !streamed, |rest, _| rest), "streamed or not");
    assert_eq!(whole, feed(*flags, input, streamed, |_, _| 1), "byte by byte");
    assert_eq!(whole, feed(*flags, input, streamed, |n, _| random.up_to(n)), "at random");
    assert_eq!(whole, feed(*flags, input, false, |n, _| random.up_to(n.min(3000))), "direct");
}

fn connection(flags: u8, streamed: bool) -> (Connection, Limits) {
    let mut config = Config::default();
    if flags & 2 != 0 {
        config.limits.max_message = 1000;
        config.limits.max_fragments = 4;
    } else {
        config.limits.max_message = 1 << 17;
    }
    let limits = config.limits;
    let deflate = |takeover: bool| DeflateSetup {
        params: DeflateParams {
            server_no_context_takeover: !takeover,
            client_no_context_takeover: !takeover,
            server_max_window_bits: 15,
            client_max_window_bits: 15,
        },
        compress: true,
        pool: Pool::new(0),
    };
    let deflate = match flags >> 2 & 3 {
        0 | 1 => None,
        2 => Some(deflate(false)),
        _ => Some(deflate(true)),
    };
    let role = if flags & 16 != 0 { client() } else { Role::Server };
    let mut connection = Connection::new(role, Arc::new(config), deflate, NOW());
    connection.stream_messages(streamed);
    (connection, limits)
}

/// Feeds `input` in pieces as long as `size` says, of what is left; it is also told how much was
/// fed.
fn feed(
    flags: u8,
    input: &[u8],
    streamed: bool,
    mut size: impl FnMut(usize, usize) -> usize,
) -> Outcome {
    let (mut connection, limits) = connection(flags, streamed);
    let mut received = Received::default();
    let mut error = None;
    let mut rest = Vec::new();
    let mut at = 0;
    // A message, and room to double; a decoder gives up to its window at once.
    let most = 2 * limits.max_message as usize + (80 << 10);
    'feeding: while at < input.len() {
        let n = size(input.len() - at, at);
        let piece = &input[at..at + n];
        if let Some(room) = connection.direct_buffer()
            && rest.is_empty()
        {
            let n = room.len().min(n);
            room[..n].copy_from_slice(&piece[..n]);
            at += n;
            match connection.handle_direct(n, NOW()) {
                Ok(progress) => {
                    progress.event.into_iter().for_each(|e| received.take(e, &[]));
                }
                Err(e) => {
                    error = Some(e);
                    break;
                }
            }
            assert!(connection.held_input() <= most);
            continue;
        }
        at += n;
        rest.extend_from_slice(piece);
        loop {
            match connection.handle_input(&mut rest, NOW()) {
                Ok(progress) => {
                    assert!(progress.consumed <= rest.len());
                    let idle = progress.consumed == 0 && progress.event.is_none();
                    progress.event.into_iter().for_each(|e| received.take(e, &rest));
                    rest.drain(..progress.consumed);
                    assert!(connection.held_input() <= most, "{}", connection.held_input());
                    if rest.is_empty() && !progress.again {
                        break;
                    }
                    assert!(!idle || progress.again, "no progress and none to come");
                }
                Err(e) => {
                    error = Some(e);
                    break 'feeding;
                }
            }
        }
    }
    if error.is_some() {
        let stored = connection.handle_input(&mut [0], NOW()).err();
        assert_eq!(stored, error, "the first error is final");
    }
    for (_, message) in &received.messages {
        assert!(message.len() as u64 <= limits.max_message);
    }
    // Pieces of a message that never ended are nobody's.
    received.pieces = None;
    let receiving = connection.is_receiving();
    let cut = connection.handle_eof(NOW()) && receiving;
    connection.release_close(NOW());
    let answer = drain(&mut connection, NOW());
    assert!(connection.is_done() && connection.closed().is_some_and(|c| c.unsent == 0));
    Outcome { received, error, answer, cut }
}
