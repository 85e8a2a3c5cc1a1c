//! The vectors of `testdata/*.toml` answered by the driver: fed whole, byte by byte, and cut once at
//! every offset, with messages taken whole and as they arrive. The notation of a vector is explained
//! in `testdata/README.md`.

use provod_proto::handshake::DeflateParams;
use provod_proto::{self as proto, Closed, MessageKind, Side};
use tokio::io::AsyncReadExt as _;

use super::script::{KEY, Script, open};
use crate::config::Config;
use crate::error::Error;
use crate::websocket::WebSocket;

// The notation is the same for all who answer the vectors.
#[expect(dead_code, reason = "an application does not see where in the input an error came")]
#[path = "../../../../provod-proto/tests/vectors/format.rs"]
mod format;

use format::{File, Frame, Input, Vector};

/// What the application and the peer saw.
#[derive(Debug, PartialEq)]
struct Outcome {
    /// Opcode and payload.
    messages: Vec<(u8, Vec<u8>)>,
    error: Option<proto::Error>,
    closed: Closed,
    /// Opcode and payload of each frame that was written.
    answer: Vec<(u8, Vec<u8>)>,
}

fn opcode(kind: MessageKind) -> u8 {
    match kind {
        MessageKind::Text => 1,
        MessageKind::Binary => 2,
    }
}

async fn next(ws: &mut WebSocket, streamed: bool) -> Result<Option<(u8, Vec<u8>)>, Error> {
    if !streamed {
        let message = ws.recv().await?;
        return Ok(message.map(|m| (opcode(m.kind()), m.into_bytes().to_vec())));
    }
    let Some(mut reader) = ws.recv_reader().await? else { return Ok(None) };
    let kind = reader.kind();
    let mut bytes = Vec::new();
    Ok(match reader.read_to_end(&mut bytes).await {
        Ok(_) => Some((opcode(kind), bytes)),
        // What ended the message ends all that comes after it, too.
        Err(_) => {
            drop(reader);
            ws.recv().await?.map(|m| panic!("a message behind the end: {m:?}"))
        }
    })
}

async fn answer(vector: &Vector, side: Side, pieces: &[&[u8]], streamed: bool) -> Outcome {
    let mut config = Config::default();
    if let Some(max) = vector.max_message {
        config.limits.max_message = max;
    }
    if let Some(max) = vector.max_fragments {
        config.limits.max_fragments = max;
    }
    let deflate = vector.deflate.as_deref().map(|mode| DeflateParams {
        server_no_context_takeover: mode == "no-takeover",
        client_no_context_takeover: mode == "no-takeover",
        server_max_window_bits: 15,
        client_max_window_bits: 15,
    });
    let (script, written) = Script::new(pieces);
    let mut ws = open(side, config, deflate, script);
    let mut messages = Vec::new();
    let error = loop {
        match next(&mut ws, streamed).await {
            Ok(Some(message)) => messages.push(message),
            Ok(None) => break None,
            Err(e) => break e.as_protocol().cloned(),
        }
    };
    let closed = ws.closed().await;
    let written = written.lock().expect("the driver did not panic").clone();
    Outcome { messages, error, closed, answer: split(&written, side == Side::Client) }
}

/// Splits control frames.
fn split(mut bytes: &[u8], masked: bool) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [first, second, rest @ ..] = bytes {
        assert_eq!((first & 0xF0, second & 0x80 != 0), (0x80, masked));
        let (key, rest) = if masked { rest.split_at(4) } else { (&[0; 4][..], rest) };
        let (payload, rest) = rest.split_at(usize::from(second & 0x7F));
        let payload = payload.iter().zip(key.iter().cycle()).map(|(b, k)| b ^ k).collect();
        frames.push((first & 0x0F, payload));
        bytes = rest;
    }
    frames
}

fn frames(lines: &[String]) -> Vec<(u8, Vec<u8>)> {
    let frames = lines.iter().map(|line| Frame::parse(line));
    frames.map(|frame| (frame.opcode, frame.payload)).collect()
}

async fn check(vector: &Vector, side: Side) {
    let what = format!("{} ({side:?})", vector.name);
    let input = Input::new(&vector.input, side);
    let whole = answer(vector, side, &[&input.bytes], false).await;

    let events = frames(&vector.events);
    let data: Vec<_> = events.iter().filter(|e| e.0 < 8).cloned().collect();
    assert_eq!(whole.messages, data, "{what}: messages");
    let close = events.iter().find(|e| e.0 == 8).map(|e| e.1.clone());
    let received = whole.closed.received.as_ref().map(|frame| match frame {
        Some(f) => [&f.code.as_u16().to_be_bytes()[..], f.reason.as_bytes()].concat(),
        None => Vec::new(),
    });
    assert_eq!(received, close, "{what}: the Close received");
    let name = whole.error.as_ref().map(|e| match e {
        proto::Error::Protocol(e) => format!("{e:?}"),
        proto::Error::Limit(e) => format!("{e:?}").split(' ').next().unwrap_or_default().into(),
        other => panic!("{what}: {other:?}"),
    });
    assert_eq!(name, vector.error, "{what}: error");
    let mut expected = frames(&vector.answer);
    if let (Some(e), Some(code)) = (&whole.error, vector.code) {
        let reason = match e {
            proto::Error::Protocol(e) => e.to_string(),
            e => e.to_string(),
        };
        expected.push((8, [&code.to_be_bytes()[..], reason.as_bytes()].concat()));
    }
    assert_eq!(whole.answer, expected, "{what}: answer");

    let single: Vec<&[u8]> = input.bytes.chunks(1).collect();
    for streamed in [false, true] {
        let got = answer(vector, side, &single, streamed).await;
        assert_eq!(got, whole, "{what}: byte by byte, streamed: {streamed}");
        let step = 1 + input.bytes.len() / 64;
        for at in (1..input.bytes.len()).step_by(step) {
            let (a, b) = input.bytes.split_at(at);
            let got = answer(vector, side, &[a, b], streamed).await;
            assert_eq!(got, whole, "{what}: cut at {at}, streamed: {streamed}");
        }
    }
}

async fn run(name: &str) {
    assert_eq!(KEY, format::KEY);
    let path = format!("{}/../../testdata/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let file: File = toml::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"));
    assert!(file.vector.len() >= 30);
    for vector in &file.vector {
        for side in vector.receivers() {
            check(vector, side).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn frames_toml() {
    run("frames.toml").await;
}

#[tokio::test(start_paused = true)]
async fn messages_toml() {
    run("messages.toml").await;
}

#[tokio::test(start_paused = true)]
async fn close_toml() {
    run("close.toml").await;
}

#[tokio::test(start_paused = true)]
async fn deflate_toml() {
    run("deflate.toml").await;
}
