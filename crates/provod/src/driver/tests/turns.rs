//! Whose turn it is: sinks that were given up, flushes beside others' messages, groups behind both.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};

use futures_util::SinkExt;
use provod_proto::{Message, MessageKind};
use tokio::io::AsyncWriteExt as _;

use super::gate::{Gate, opened, poll_once, settled};
use crate::config::Config;
use crate::group::{Group, SlowPolicy};

/// More than may be queued before `send` waits.
const LONG: usize = 200 << 10;

fn ends_with(gate: &Gate, bytes: impl AsRef<[u8]>) -> bool {
    gate.written().ends_with(bytes.as_ref())
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_was_given_up_holds_nobody_up() {
    let (gate, mut ws) = opened(Config::default());
    ws.send(vec![7; LONG]).await.unwrap();
    // The sink keeps its place in the queue, and never asks again.
    assert!(poll_once(ws.feed(Message::text("given up"))).is_pending());
    let other = ws.sender();
    let other = tokio::spawn(async move { other.send("from another task").await });
    settled().await;
    gate.make_room(usize::MAX);
    settled().await;
    assert!(other.is_finished(), "it waits for a sink that nobody polls");
    assert!(ends_with(&gate, "from another task"));
    assert!(poll_once(ws.send("from here")).is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_sink_keeps_its_place_in_front_of_those_who_came_later() {
    let (gate, ws) = opened(Config::default());
    ws.send(vec![7; LONG]).await.unwrap();
    let mut sink = ws.sender();
    let first = tokio::spawn(async move { sink.feed(Message::text("first")).await });
    settled().await;
    let other = ws.sender();
    let second = tokio::spawn(async move { other.send("second").await });
    settled().await;
    gate.make_room(usize::MAX);
    settled().await;
    assert!(first.is_finished() && second.is_finished());
    assert!(ends_with(&gate, b"\x81\x05first\x81\x06second"));
}

#[tokio::test(start_paused = true)]
async fn a_group_waits_for_no_sink_that_was_given_up() {
    let (gate, mut ws) = opened(Config::default());
    let group = Group::new();
    let _member = group.join(&ws.sender(), SlowPolicy::DropOldest);
    ws.send(vec![7; LONG]).await.unwrap();
    group.publish("one");
    group.publish("two");
    assert!(poll_once(ws.feed(Message::text("given up"))).is_pending());
    gate.make_room(usize::MAX);
    settled().await;
    assert!(ends_with(&gate, b"\x81\x03one\x81\x03two"));
}

#[tokio::test(start_paused = true)]
async fn a_group_goes_on_behind_a_sink_that_is_ready_and_sends_nothing() {
    let (gate, mut ws) = opened(Config::default());
    let group = Group::new();
    let _member = group.join(&ws.sender(), SlowPolicy::DropOldest);
    ws.send(vec![7; LONG]).await.unwrap();
    group.publish("one");
    group.publish("two");
    let ready = tokio::spawn(async move {
        std::future::poll_fn(|cx| ws.poll_ready_unpin(cx)).await.unwrap();
        ws
    });
    settled().await;
    gate.make_room(usize::MAX);
    settled().await;
    assert!(ready.is_finished());
    assert!(ends_with(&gate, b"\x81\x03one\x81\x03two"));
}

#[tokio::test(start_paused = true)]
async fn a_flush_waits_for_what_came_before_it_and_no_longer() {
    let (gate, mut ws) = opened(Config::default());
    ws.feed(Message::text("before")).await.unwrap();
    assert!(poll_once(SinkExt::<Message>::flush(&mut ws)).is_pending());
    ws.sender().send(vec![7; LONG]).await.unwrap();
    assert!(poll_once(SinkExt::<Message>::flush(&mut ws)).is_pending());
    gate.make_room(b"\x81\x06before".len());
    settled().await;
    assert!(ws.buffered_amount() >= LONG, "others go on sending");
    assert!(poll_once(SinkExt::<Message>::flush(&mut ws)).is_ready());
    // A message that this sink sends later is flushed anew.
    gate.make_room(LONG + 10);
    settled().await;
    ws.feed(Message::text("later")).await.unwrap();
    settled().await;
    assert!(poll_once(SinkExt::<Message>::flush(&mut ws)).is_pending());
    gate.make_room(usize::MAX);
    settled().await;
    assert!(poll_once(SinkExt::<Message>::flush(&mut ws)).is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_failed_stays_failed() {
    for begun in [false, true] {
        let (gate, ws) = opened(Config::default());
        gate.make_room(usize::MAX);
        let mut writer = ws.send_writer(MessageKind::Text).await.unwrap();
        if begun {
            writer.write_all(b"good, ").await.unwrap();
            writer.flush().await.unwrap();
        }
        writer.write_all(b"lost\xFF").await.unwrap();
        assert!(writer.flush().await.is_err());
        assert!(writer.write_all(b"and the rest").await.is_err(), "there would be a gap");
        assert!(writer.flush().await.is_err());
        assert!(writer.finish().await.is_err());
        settled().await;
        assert!(!ends_with(&gate, "and the rest"));
        assert_eq!(ws.send("next").await.is_ok(), !begun, "half a message cannot be taken back");
    }
}

#[tokio::test(start_paused = true)]
async fn a_writer_learns_of_the_end_though_the_peer_takes_nothing() {
    let (gate, mut ws) = opened(Config::default());
    let mut writer = ws.send_writer(MessageKind::Binary).await.unwrap();
    let writing = tokio::spawn(async move { writer.write_all(&[7; 2 * LONG]).await });
    settled().await;
    assert!(!writing.is_finished());
    // The peer closes, and its Close is answered behind what it does not take.
    let close = provod_proto::raw::RawFrame::new(8, 1000u16.to_be_bytes());
    gate.give(&close.masked(super::script::KEY).to_bytes()).await;
    assert_eq!(ws.recv().await.unwrap(), None);
    settled().await;
    assert!(writing.is_finished(), "nothing can be sent any more");
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_is_not_ready_refuses_and_loses_nothing() {
    let (gate, mut ws) = opened(Config::default());
    gate.make_room(usize::MAX);
    let writer = ws.send_writer(MessageKind::Text).await.unwrap();
    ws.start_send_unpin(Message::text("kept")).unwrap();
    assert!(ws.start_send_unpin(Message::text("too much")).is_err());
    drop(writer);
    SinkExt::<Message>::flush(&mut ws).await.unwrap();
    assert!(ends_with(&gate, "kept"));
}

/// A waker that uses the connection, as one may that takes its owner's lock while its owner sends.
struct Sends(Mutex<Option<crate::Sender>>);

impl Wake for Sends {
    fn wake(self: Arc<Self>) {
        let sender = self.0.lock().unwrap().take();
        if let Some(sender) = sender {
            sender.try_send("from a waker").unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_waker_may_use_the_connection_that_wakes_it() {
    let (gate, ws) = opened(Config { high_water: 1, ..Config::default() });
    ws.send("stopper").await.unwrap();
    let waker = Arc::new(Sends(Mutex::new(Some(ws.sender()))));
    let mut drained = pin!(ws.drained());
    let waker = Waker::from(waker);
    assert!(drained.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    gate.make_room(usize::MAX);
    settled().await;
    assert!(ends_with(&gate, "from a waker"));
}
