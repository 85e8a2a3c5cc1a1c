//! Futures that are dropped: at every byte of the input, at every step of a send.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use provod_proto::Message;
use provod_proto::raw::RawFrame;

use super::gate::{Gate, opened};
use super::script::KEY;
use crate::config::Config;
use crate::error::Error;
use crate::websocket::WebSocket;

/// Polls once and drops.
fn give_up<F: Future>(future: F) -> Option<F::Output> {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

fn frame(frame: RawFrame) -> Vec<u8> {
    frame.masked(KEY).to_bytes()
}

/// A conversation with everything in it that can be cut: and its messages.
fn conversation() -> (Vec<u8>, Vec<Message>) {
    let bytes = [
        frame(RawFrame::new(1, "first")),
        frame(RawFrame::new(1, "sec").fin(false)),
        frame(RawFrame::new(9, "ping")),
        frame(RawFrame::new(0, "").fin(false)),
        frame(RawFrame::new(0, "ond \u{44f}")),
        frame(RawFrame::new(2, vec![7; 200])),
        frame(RawFrame::new(2, "")),
        frame(RawFrame::new(8, 1000u16.to_be_bytes())),
    ];
    let messages = vec![
        Message::text("first"),
        Message::text("second \u{44f}"),
        Message::binary(vec![7; 200]),
        Message::binary(""),
    ];
    (bytes.concat(), messages)
}

#[tokio::test(start_paused = true)]
async fn a_receive_dropped_after_any_number_of_bytes_loses_nothing() {
    let (bytes, expected) = conversation();
    for k in 0..=bytes.len() {
        let (gate, mut ws) = opened(Config::default());
        gate.make_room(usize::MAX);
        gate.give(&bytes[..k]).await;
        let mut got = Vec::new();
        // What is complete comes at once; the future that would wait for more is dropped.
        while let Some(next) = give_up(ws.recv()) {
            match next.unwrap() {
                Some(message) => got.push(message),
                None => break,
            }
        }
        gate.give(&bytes[k..]).await;
        while let Some(message) = ws.recv().await.unwrap() {
            got.push(message);
        }
        assert_eq!(got, expected, "dropped after {k} bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn a_receive_dropped_after_each_byte_loses_nothing() {
    let (bytes, expected) = conversation();
    let (gate, mut ws) = opened(Config::default());
    gate.make_room(usize::MAX);
    let mut got = Vec::new();
    for byte in bytes {
        gate.give(&[byte]).await;
        got.extend(give_up(ws.recv()).and_then(|next| next.unwrap()));
    }
    assert_eq!(got, expected);
    assert!(ws.recv().await.unwrap().is_none());
}

/// Whole receives, readers, and pieces of readers, each dropped after any number of bytes.
#[tokio::test(start_paused = true)]
async fn a_reader_dropped_after_any_number_of_bytes_loses_nothing() {
    let (bytes, expected) = conversation();
    for k in 0..=bytes.len() {
        let (gate, mut ws) = opened(Config::default());
        gate.make_room(usize::MAX);
        assert!(give_up(ws.recv_reader()).is_none());
        gate.give(&bytes[..k]).await;
        let mut got = Vec::new();
        let mut rest = Some(&bytes[k..]);
        loop {
            let next = give_up(ws.recv_reader());
            let Some(next) = next else {
                let rest = rest.take().expect("all has come, and more is awaited");
                gate.give(rest).await;
                continue;
            };
            let Some(mut reader) = next.unwrap() else { break };
            let kind = reader.kind();
            let mut whole = Vec::new();
            loop {
                match give_up(reader.chunk()) {
                    Some(Ok(Some(chunk))) => whole.extend_from_slice(&chunk),
                    Some(Ok(None)) => break,
                    Some(Err(e)) => panic!("{e}"),
                    None => gate.give(rest.take().expect("the message has an end")).await,
                }
            }
            got.push(super::super::inbox::message(kind, whole.into()));
        }
        assert_eq!(got, expected, "dropped after {k} bytes");
    }
}

type Sending = Pin<Box<dyn Future<Output = Result<(), Error>>>>;

fn sending(ws: &WebSocket, name: &'static str) -> Sending {
    let sender = ws.sender();
    Box::pin(async move { sender.send(name).await })
}

fn poll(future: &mut Sending) -> Poll<Result<(), Error>> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// Frames on the wire, as text.
fn texts(mut bytes: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    while let [first, len, rest @ ..] = bytes {
        assert_eq!((*first, len & 0x80), (0x81, 0), "whole text frames of a server");
        let (text, rest) = match len {
            126 => {
                let n = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
                rest[2..].split_at(n)
            }
            n => rest.split_at(usize::from(*n)),
        };
        texts.push(String::from_utf8(text.to_vec()).unwrap());
        bytes = rest;
    }
    texts
}

/// Where in its life a send is dropped.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Dropped {
    BeforeItsFirstPoll,
    WhileItWaits,
    /// Its turn has come, and it has not been polled since.
    WhenItWasWoken,
    AfterItIsDone,
}

#[tokio::test(start_paused = true)]
async fn a_send_dropped_at_any_step_is_whole_or_not_there_and_the_next_one_is_woken() {
    use Dropped::*;
    for when in [BeforeItsFirstPoll, WhileItWaits, WhenItWasWoken, AfterItIsDone] {
        for dropped in 0..3 {
            let (gate, ws) = opened(Config { high_water: 1, ..Config::default() });
            // The queue is full until there is room.
            ws.send("stopper").await.unwrap();
            let mut sends = ["a", "b", "c"].map(|name| Some(sending(&ws, name)));
            if when == BeforeItsFirstPoll {
                sends[dropped] = None;
            }
            sends.iter_mut().flatten().for_each(|send| assert!(poll(send).is_pending()));
            if when == WhileItWaits {
                sends[dropped] = None;
            }
            gate.make_room(usize::MAX);
            while gate.written().is_empty() {
                tokio::task::yield_now().await;
            }
            if when == WhenItWasWoken {
                sends[dropped] = None;
            }
            // One whose waker was lost would wait here until the peer is found silent.
            for (n, send) in sends.iter_mut().enumerate() {
                if let Some(waiting) = send {
                    waiting.as_mut().await.unwrap();
                }
                if n == dropped {
                    *send = None;
                }
            }
            ws.send("end").await.unwrap();
            let mut expected = vec!["stopper", "a", "b", "c", "end"];
            if when != AfterItIsDone {
                expected.remove(1 + dropped);
            }
            while texts(&gate.written()).len() < expected.len() {
                tokio::task::yield_now().await;
            }
            assert_eq!(texts(&gate.written()), expected, "{when:?}, the {dropped}th");
        }
    }
}

/// Many tasks send, and are stopped at moments that a seed chooses, while the peer takes some bytes
/// at a time: what each has sent arrives in its order, whole, once; a send that said it was done
/// has arrived.
#[tokio::test(start_paused = true)]
async fn many_senders_some_cancelled_tear_double_and_lose_nothing() {
    for seed in 1..=20u64 {
        let mut random = seed;
        let mut next = move |n: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % n
        };
        let (gate, ws) = opened(Config { high_water: 1 + next(300) as usize, ..Config::default() });
        let done = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for task in 0..8 {
            let sender = ws.sender();
            let done = done.clone();
            tasks.push(tokio::spawn(async move {
                for n in 0..20 {
                    let text = format!("{task}.{n} {}", "x".repeat(n * 7 % 90));
                    sender.send(text.clone()).await.unwrap();
                    done.lock().unwrap().push(text);
                }
            }));
        }
        for _ in 0..400 {
            gate.make_room(next(60) as usize);
            for _ in 0..next(4) {
                tokio::task::yield_now().await;
            }
            if next(20) == 0 {
                tasks[next(8) as usize].abort();
            }
        }
        gate.make_room(usize::MAX);
        for task in tasks {
            let _ = task.await;
        }
        ws.send("end").await.unwrap();
        while texts_of(&gate).last().map(String::as_str) != Some("end") {
            tokio::task::yield_now().await;
        }
        let got = texts_of(&gate);
        for task in 0..8 {
            let prefix = format!("{task}.");
            let of_task = |all: &[String]| {
                all.iter().filter(|t| t.starts_with(&prefix)).cloned().collect::<Vec<_>>()
            };
            let (got, done) = (of_task(&got), of_task(&done.lock().unwrap()));
            // One more may have been queued in the very poll in which its task was stopped.
            assert!(got.starts_with(&done) && got.len() <= done.len() + 1, "seed {seed}: {got:?}");
            for (n, text) in got.iter().enumerate() {
                assert!(text.starts_with(&format!("{task}.{n} ")), "seed {seed}: {text}");
            }
        }
    }
}

/// The whole frames that were written.
fn texts_of(gate: &Gate) -> Vec<String> {
    let bytes = gate.written();
    let mut end = 0;
    while let Some(len) = bytes.get(end + 1) {
        let whole = end + 2 + usize::from(*len);
        if whole > bytes.len() {
            break;
        }
        end = whole;
    }
    texts(&bytes[..end])
}

#[tokio::test(start_paused = true)]
async fn a_writer_dropped_at_any_step_leaves_the_turn_to_the_next() {
    use provod_proto::MessageKind;
    use tokio::io::AsyncWriteExt as _;
    let (gate, ws) = opened(Config { high_water: 1, ..Config::default() });
    ws.send("stopper").await.unwrap();
    // It waits for its turn and is dropped.
    assert!(give_up(ws.send_writer(MessageKind::Text)).is_none());
    gate.make_room(usize::MAX);
    // It has its turn, and text that nobody saw.
    let mut writer = ws.send_writer(MessageKind::Text).await.unwrap();
    writer.write_all(b"unseen").await.unwrap();
    let mut waits = sending(&ws, "next");
    assert!(poll(&mut waits).is_pending());
    drop(writer);
    waits.await.unwrap();
    let writer = ws.send_writer(MessageKind::Text).await.unwrap();
    writer.finish().await.unwrap();
    ws.send("end").await.unwrap();
    while texts_of(&gate).len() < 4 {
        tokio::task::yield_now().await;
    }
    assert_eq!(texts_of(&gate), ["stopper", "next", "", "end"]);
}
