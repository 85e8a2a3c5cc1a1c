//! Messages in pieces, and the wait for the end, given up at awkward moments.

use provod_proto::Message;
use provod_proto::raw::RawFrame;

use super::gate::{self, Gate, poll_once, settled};
use super::script::KEY;
use crate::config::{Config, MemoryBudget};
use crate::websocket::WebSocket;

fn opened(config: Config) -> (Gate, WebSocket) {
    let (gate, ws) = gate::opened(config);
    gate.make_room(usize::MAX);
    (gate, ws)
}

fn fragment(opcode: u8, payload: impl Into<Vec<u8>>, fin: bool) -> Vec<u8> {
    RawFrame::new(opcode, payload.into()).fin(fin).masked(KEY).to_bytes()
}

fn close() -> Vec<u8> {
    fragment(8, 1000u16.to_be_bytes(), true)
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_message_that_nobody_wants_holds_up_no_end() {
    let (gate, mut ws) = opened(Config::default());
    assert!(poll_once(ws.recv_reader()).is_pending());
    gate.give(&fragment(2, "begun", false)).await;
    drop(ws.recv_reader().await.unwrap().unwrap());
    let end = tokio::spawn(async move { ws.closed().await });
    // More than is read ahead of whoever takes messages.
    for _ in 0..10 {
        gate.give(&fragment(0, vec![7; 20_000], false)).await;
    }
    gate.give(&[fragment(0, "", true), close()].concat()).await;
    settled().await;
    assert!(end.is_finished(), "it waits for somebody to take what nobody wants");
    assert!(end.await.unwrap().is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_was_forgotten_passes_its_rest_off_as_no_message() {
    let (gate, mut ws) = opened(Config::default());
    assert!(poll_once(ws.recv_reader()).is_pending());
    gate.give(&[fragment(1, "one ", false), fragment(0, "and ", false)].concat()).await;
    std::mem::forget(ws.recv_reader().await.unwrap().unwrap());
    gate.give(&[fragment(0, "a half", true), fragment(1, "two", true)].concat()).await;
    assert_eq!(ws.recv().await.unwrap(), Some(Message::text("two")));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_was_cut_is_let_go_when_its_reader_hears_of_the_end() {
    let (gate, mut ws) = opened(Config::default());
    let budget = MemoryBudget::new(1 << 30);
    budget.watch(&ws.sender.shared);
    assert!(poll_once(ws.recv_reader()).is_pending());
    gate.give(&fragment(2, vec![7; 5000], false)).await;
    // Its piece is kept for a message that is wanted whole.
    assert!(poll_once(ws.recv()).is_pending());
    settled().await;
    assert!(budget.used() >= 5000);
    gate.give(&close()).await;
    assert_eq!(ws.recv().await.unwrap(), None);
    settled().await;
    assert_eq!(budget.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_the_end_that_was_given_up_releases_no_close() {
    let (gate, mut ws) = opened(Config::default());
    gate.give(&fragment(1, "question", true)).await;
    assert_eq!(ws.recv().await.unwrap(), Some(Message::text("question")));
    assert!(poll_once(ws.closed()).is_pending());
    // The Close is answered behind the answers to what came before it.
    gate.give(&close()).await;
    settled().await;
    ws.send("answer").await.unwrap();
    assert_eq!(ws.recv().await.unwrap(), None);
    settled().await;
    assert_eq!(gate.written(), [&b"\x81\x06answer"[..], b"\x88\x02\x03\xe8"].concat());
}
