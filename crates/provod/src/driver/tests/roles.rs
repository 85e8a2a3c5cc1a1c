//! What is promised about sending, receiving and closing, kept by both roles.

use std::time::Duration;

use provod_proto::{MessageKind, Side};
use provod_testkit::peer::{Peer, close, ping, raw, soon, text};
use tokio::io::AsyncWriteExt as _;

use super::script::open;
use crate::config::Config;
use crate::error::TrySendError;
use crate::websocket::WebSocket;

const SIDES: [Side; 2] = [Side::Server, Side::Client];

/// A connection of ours, and its peer at the other end of a narrow stream.
fn met(side: Side, config: Config) -> (WebSocket, Peer) {
    let (near, far) = tokio::io::duplex(1024);
    let peer = match side {
        Side::Server => Peer::client(far),
        Side::Client => Peer::server(far),
    };
    (open(side, config, None, near), peer)
}

/// A peer that says nothing for an hour is no silent one.
fn patient() -> Config {
    Config { keepalive: None, close_timeout: Duration::from_secs(3600), ..Config::default() }
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_makes_send_wait_and_try_send_say_so() {
    for side in SIDES {
        let config = Config { high_water: 4000, hard_limit: 20_000, ..patient() };
        let (ws, mut peer) = met(side, config);
        ws.send(vec![0; 6000]).await.unwrap();
        assert!(ws.buffered_amount() >= 6000 && ws.sender().is_congested());
        // Nobody reads, so these wait, in their order; one gives up.
        let sending = [1, 2, 3].map(|n| {
            let sender = ws.sender();
            async move { sender.send(vec![n; 6000]).await }
        });
        let [first, second, third] = sending.map(tokio::spawn);
        let hour = Duration::from_secs(3600);
        assert!(tokio::time::timeout(hour, ws.drained()).await.is_err());
        assert!(!first.is_finished() && !second.is_finished() && !third.is_finished());
        second.abort();
        // One that does not wait passes them, up to the hard limit.
        while ws.try_send(vec![9; 6000]).is_ok() {}
        assert!(ws.buffered_amount() <= 20_000 + 6010);
        assert!(matches!(ws.try_send("more"), Err(TrySendError::Full(m)) if m == "more".into()));
        let mut came = Vec::new();
        while came.last() != Some(&3) {
            let message = peer.message().await.payload;
            assert!(message.len() == 6000 && message.iter().all(|b| *b == message[0]));
            came.push(message[0]);
        }
        assert_eq!((came[0], came.iter().filter(|n| **n == 9).count()), (0, came.len() - 3));
        assert!(!came.contains(&2) && came[came.len() - 2] == 1, "{came:?}");
        soon(ws.drained()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_pong_and_a_ping_pass_a_long_message_and_a_close_does_not() {
    for side in SIDES {
        let (mut ws, mut peer) = met(side, patient());
        ws.send(vec![7; 1 << 20]).await.unwrap();
        peer.send(ping("now")).await;
        let sender = ws.sender();
        let pinging = tokio::spawn(async move { sender.ping().await });
        tokio::time::sleep(Duration::from_secs(60)).await;
        let closing = tokio::spawn(async move { ws.close(1000, "").await });
        let mut opcodes = Vec::new();
        while opcodes.last() != Some(&8) {
            opcodes.push(peer.frame().await.unwrap().opcode);
        }
        let at = |opcode| opcodes.iter().position(|o| *o == opcode).unwrap();
        let last = opcodes.iter().rposition(|o| *o == 0).unwrap();
        assert!(at(10) < last && at(9) < last && last < at(8), "{side:?}: {opcodes:?}");
        drop(peer);
        assert!(soon(closing).await.unwrap().unwrap().sent.is_some());
        assert!(soon(pinging).await.unwrap().is_err(), "nobody answered it");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_application_answers_leaves_before_the_answer_to_a_close() {
    for side in SIDES {
        let (mut ws, mut peer) = met(side, patient());
        peer.send([text("a"), text("b"), close(4321)]).await;
        while let Some(message) = soon(ws.recv()).await.unwrap() {
            // The Close has long arrived.
            tokio::time::sleep(Duration::from_secs(60)).await;
            ws.send(message).await.unwrap();
        }
        peer.expect_text("a").await;
        peer.expect_text("b").await;
        peer.expect_close(4321).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_pong_deadline_waits_while_the_application_takes_nothing() {
    for side in SIDES {
        let config = Config { read_ahead: 1000, ..Config::default() };
        let (mut ws, mut peer) = met(side, config);
        peer.send(text("x".repeat(2000))).await;
        // The Ping comes, and its Pong lies unread behind what nobody takes.
        assert_eq!(peer.frame().await.unwrap().opcode, 9);
        tokio::time::sleep(Duration::from_secs(600)).await;
        peer.send(text("still here")).await;
        assert_eq!(soon(ws.recv()).await.unwrap().unwrap().len(), 2000);
        assert_eq!(soon(ws.recv()).await.unwrap(), Some("still here".into()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_in_pieces_is_live_both_ways_and_held_back_by_who_does_not_read() {
    for side in SIDES {
        let config = Config { high_water: 5000, read_ahead: 5000, ..patient() };
        let (mut ws, mut peer) = met(side, config);
        peer.send(raw(1, "first").fin(false)).await;
        let mut reader = soon(ws.recv_reader()).await.unwrap().unwrap();
        assert_eq!(soon(reader.chunk()).await.unwrap().unwrap(), "first");
        let mut taken = 0;
        let hour = Duration::from_secs(3600);
        while peer.try_send_for(raw(0, vec![b'x'; 1000]).fin(false), hour).await.is_some() {
            taken += 1;
        }
        assert!(taken < 15, "{side:?}: {taken} KB for a reader that does not read");
        drop(reader);
        let sender = ws.sender();
        let writing = tokio::spawn(async move {
            let mut writer = sender.send_writer(MessageKind::Binary).await.unwrap();
            writer.write_all(&[7; 100_000]).await.unwrap();
            writer.finish().await
        });
        tokio::time::sleep(hour).await;
        assert!(!writing.is_finished() && ws.buffered_amount() < 50_000, "{side:?}");
        assert_eq!(peer.message().await.payload, [7; 100_000]);
        soon(writing).await.unwrap().unwrap();
    }
}
