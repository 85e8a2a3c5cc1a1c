//! One message as a stream of bytes, both ways.

use std::io::ErrorKind;
use std::time::Duration;

use provod::config::DeflateConfig;
use provod::message::{Compress, MessageKind};
use provod::{Client, Config, Message, Server, WebSocket};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

use crate::peer::{close, ping, raw, soon, text};
use crate::sending::connected;
use crate::servers::start_with;

fn fragment(opcode: u8, payload: &str, fin: bool) -> Vec<u8> {
    raw(opcode, payload).fin(fin).to_bytes()
}

/// Two WebSockets of ours, joined: the client's and the server's end.
async fn pair(config: Config, deflate: Option<DeflateConfig>) -> (WebSocket, WebSocket) {
    let (out, mut opened) = mpsc::unbounded_channel();
    let mut server = Server::new().config(config.clone());
    if let Some(deflate) = deflate {
        server = server.compression(deflate);
    }
    let (running, address) = start_with(server, move |ws| {
        let _ = out.send(ws);
        std::future::ready(Ok(()))
    })
    .await;
    let mut client = Client::new(format!("ws://{address}/")).config(config);
    if let Some(deflate) = deflate {
        client = client.compression(deflate);
    }
    let client = soon(client.connect()).await.unwrap();
    let server = soon(opened.recv()).await.unwrap();
    // It would stop when it is dropped; its listener goes with the test's runtime.
    std::mem::forget(running);
    (client, server)
}

fn poem(len: usize) -> String {
    "Буря мглою небо кроет, 🌨 вихри снежные крутя. ".chars().cycle().take(len).collect()
}

#[tokio::test]
async fn a_reader_gives_out_what_has_arrived() {
    let (_running, mut peer, mut ws) = connected(Config::default()).await;
    peer.send(fragment(1, "first ", false)).await;
    let mut reader = soon(ws.recv_reader()).await.unwrap().unwrap();
    assert_eq!(reader.kind(), MessageKind::Text);
    assert_eq!(soon(reader.chunk()).await.unwrap().unwrap(), "first ");
    peer.send(ping("between")).await;
    assert_eq!(peer.frame().await.unwrap().opcode, 10);
    peer.send(fragment(0, "second", true)).await;
    let mut rest = String::new();
    soon(reader.read_to_string(&mut rest)).await.unwrap();
    assert_eq!(rest, "second");
    assert_eq!(soon(reader.chunk()).await.unwrap(), None);
    drop(reader);
    peer.send(text("whole")).await;
    assert_eq!(soon(ws.recv()).await.unwrap(), Some(Message::text("whole")));
}

#[tokio::test]
async fn a_reader_takes_over_a_message_that_has_begun() {
    let (_running, mut peer, mut ws) = connected(Config::default()).await;
    peer.send(fragment(2, "begun ", false)).await;
    peer.send(ping("")).await;
    // Its Pong says that the fragment is in.
    assert_eq!(peer.frame().await.unwrap().opcode, 10);
    assert!(tokio::time::timeout(Duration::ZERO, ws.recv()).await.is_err());
    let mut reader = soon(ws.recv_reader()).await.unwrap().unwrap();
    assert_eq!(soon(reader.chunk()).await.unwrap().unwrap(), "begun ");
    peer.send(fragment(0, "and ended", true)).await;
    assert_eq!(soon(reader.chunk()).await.unwrap().unwrap(), "and ended");
    assert_eq!(soon(reader.chunk()).await.unwrap(), None);
}

#[tokio::test]
async fn a_reader_that_is_dropped_skips_the_rest_of_its_message() {
    let (_running, mut peer, mut ws) = connected(Config::default()).await;
    for rest_is_here in [false, true] {
        peer.send(fragment(1, "unwanted ", false)).await;
        let mut reader = soon(ws.recv_reader()).await.unwrap().unwrap();
        soon(reader.chunk()).await.unwrap();
        let rest = [fragment(0, "too", false), fragment(0, "", true), text("wanted")].concat();
        if rest_is_here {
            peer.send(&rest).await;
            peer.send(ping("")).await;
            assert_eq!(peer.frame().await.unwrap().opcode, 10);
        }
        drop(reader);
        if !rest_is_here {
            peer.send(&rest).await;
        }
        assert_eq!(soon(ws.recv()).await.unwrap(), Some(Message::text("wanted")));
    }
}

#[tokio::test]
async fn whole_messages_and_readers_can_be_mixed_and_given_up() {
    let (_running, mut peer, mut ws) = connected(Config::default()).await;
    assert!(tokio::time::timeout(Duration::ZERO, ws.recv_reader()).await.is_err());
    peer.send(fragment(1, "pie", false)).await;
    peer.send(ping("")).await;
    assert_eq!(peer.frame().await.unwrap().opcode, 10);
    // The piece is here; a receive that is given up keeps it.
    assert!(tokio::time::timeout(Duration::ZERO, ws.recv()).await.is_err());
    peer.send(fragment(0, "ces", true)).await;
    assert_eq!(soon(ws.recv()).await.unwrap(), Some(Message::text("pieces")));

    assert!(tokio::time::timeout(Duration::ZERO, ws.recv_reader()).await.is_err());
    peer.send(fragment(1, "one ", false)).await;
    peer.send(ping("")).await;
    assert_eq!(peer.frame().await.unwrap().opcode, 10);
    assert!(tokio::time::timeout(Duration::ZERO, ws.recv()).await.is_err());
    peer.send(fragment(0, "two", true)).await;
    let mut reader = soon(ws.recv_reader()).await.unwrap().unwrap();
    let mut all = String::new();
    soon(reader.read_to_string(&mut all)).await.unwrap();
    assert_eq!(all, "one two", "what a receive had joined is not lost");
}

#[tokio::test]
async fn an_empty_message_is_a_reader_without_bytes() {
    let (_running, mut peer, mut ws) = connected(Config::default()).await;
    peer.send([text(""), text("next")].concat()).await;
    let mut reader = soon(ws.recv_reader()).await.unwrap().unwrap();
    assert_eq!(soon(reader.chunk()).await.unwrap(), None);
    drop(reader);
    assert_eq!(soon(ws.recv()).await.unwrap(), Some(Message::text("next")));
}

#[tokio::test]
async fn a_message_that_is_cut_is_an_error_of_its_reader() {
    for closes in [true, false] {
        let (_running, mut peer, mut ws) = connected(Config::default()).await;
        peer.send(fragment(1, "half", false)).await;
        let mut reader = soon(ws.recv_reader()).await.unwrap().unwrap();
        if closes {
            peer.send(close(1000)).await;
        } else {
            peer.finish().await;
        }
        let mut all = String::new();
        let error = soon(reader.read_to_string(&mut all)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{error}");
        assert!(soon(reader.chunk()).await.unwrap_err().is_lost());
        drop(reader);
        let next = soon(ws.recv()).await;
        assert_eq!(next.is_ok(), closes, "{next:?}");
    }
}

#[tokio::test]
async fn rfc6455_8_1_bad_text_fails_while_it_is_read() {
    let (_running, mut peer, mut ws) = connected(Config::default()).await;
    peer.send(fragment(1, "good", false)).await;
    peer.send(raw(0, [0xFF]).fin(false).to_bytes()).await;
    let mut reader = soon(ws.recv_reader()).await.unwrap().unwrap();
    let mut all = Vec::new();
    let error = soon(reader.read_to_end(&mut all)).await.unwrap_err();
    assert_eq!((error.kind(), &*all), (ErrorKind::InvalidData, &b"good"[..]));
    drop(reader);
    assert!(soon(ws.recv()).await.unwrap_err().is_protocol());
    peer.expect_close(1007).await;
}

#[tokio::test]
async fn a_reader_that_does_not_read_slows_the_peer_down() {
    let mut config = Config::default();
    config.limits.max_message = u64::MAX;
    let (client, mut server) = pair(config, None).await;
    let mut writer = soon(client.send_writer(MessageKind::Binary)).await.unwrap();
    let total = 64 << 20;
    let mut writing = tokio::spawn(async move {
        let chunk = vec![7; 1 << 20];
        for _ in 0..total >> 20 {
            writer.write_all(&chunk).await.unwrap();
        }
        writer.finish().await.unwrap();
        client
    });
    let mut reader = soon(server.recv_reader()).await.unwrap().unwrap();
    let early = tokio::time::timeout(Duration::from_millis(300), &mut writing).await;
    assert!(early.is_err(), "64 MiB were written to a peer that reads nothing");
    let mut got = 0;
    while let Some(chunk) = soon(reader.chunk()).await.unwrap() {
        assert!(chunk.iter().all(|b| *b == 7));
        got += chunk.len();
    }
    assert_eq!(got, total);
    soon(writing).await.unwrap();
}

#[tokio::test]
async fn text_is_streamed_whole_through_compression_and_cuts() {
    let no_takeover = DeflateConfig {
        client_no_context_takeover: true,
        server_no_context_takeover: true,
        ..DeflateConfig::default()
    };
    for deflate in [None, Some(DeflateConfig::default()), Some(no_takeover)] {
        let (client, mut server) = pair(Config::default(), deflate).await;
        let text = poem(700_000);
        for compress in [Compress::Auto, Compress::Never] {
            let mut writer = client.send_writer_with(MessageKind::Text, compress).await.unwrap();
            let bytes = text.clone();
            let writing = tokio::spawn(async move {
                // Odd pieces, which cut characters.
                for piece in bytes.as_bytes().chunks(7001) {
                    writer.write_all(piece).await.unwrap();
                }
                writer.finish().await.unwrap();
            });
            let mut reader = soon(server.recv_reader()).await.unwrap().unwrap();
            let mut got = String::new();
            soon(reader.read_to_string(&mut got)).await.unwrap();
            assert!(got == text, "{deflate:?} {compress:?}");
            soon(writing).await.unwrap();
        }
        client.send("and whole").await.unwrap();
        assert_eq!(soon(server.recv()).await.unwrap(), Some(Message::text("and whole")));
    }
}

#[tokio::test]
async fn a_flush_lets_the_peer_have_all_that_was_written() {
    for deflate in [None, Some(DeflateConfig::default())] {
        let (client, mut server) = pair(Config::default(), deflate).await;
        let mut writer = client.send_writer(MessageKind::Text).await.unwrap();
        soon(writer.write_all(b"live")).await.unwrap();
        soon(writer.flush()).await.unwrap();
        let mut reader = soon(server.recv_reader()).await.unwrap().unwrap();
        assert_eq!(soon(reader.chunk()).await.unwrap().unwrap(), "live");
        soon(writer.write_all(b"updates")).await.unwrap();
        for _ in 0..3 {
            soon(writer.flush()).await.unwrap();
        }
        assert_eq!(soon(reader.chunk()).await.unwrap().unwrap(), "updates");
        soon(writer.shutdown()).await.unwrap();
        assert_eq!(soon(reader.chunk()).await.unwrap(), None);
        let error = writer.write_all(b"more").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }
}

#[tokio::test]
async fn rfc6455_5_4_others_wait_for_a_streamed_message_and_pongs_do_not() {
    let (_running, mut peer, ws) = connected(Config::default()).await;
    let mut writer = ws.send_writer(MessageKind::Text).await.unwrap();
    soon(writer.write_all(b"a long ")).await.unwrap();
    soon(writer.flush()).await.unwrap();
    let first = peer.frame().await.unwrap();
    assert_eq!((first.fin, first.opcode, &*first.payload), (false, 1, &b"a long "[..]));
    let other = ws.sender();
    let waits = tokio::spawn(async move { other.send("another").await });
    assert!(ws.try_send("now").unwrap_err().to_string().contains("full"));
    peer.send(ping("p")).await;
    assert_eq!(peer.frame().await.unwrap().opcode, 10);
    soon(writer.write_all(b"message")).await.unwrap();
    soon(writer.finish()).await.unwrap();
    let last = peer.frame().await.unwrap();
    assert_eq!((last.fin, last.opcode, &*last.payload), (true, 0, &b"message"[..]));
    peer.expect_text("another").await;
    soon(waits).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_writer_dropped_before_anything_left_was_never_there() {
    let (_running, mut peer, ws) = connected(Config::default()).await;
    let mut writer = ws.send_writer(MessageKind::Text).await.unwrap();
    soon(writer.write_all(b"never mind")).await.unwrap();
    drop(writer);
    let mut bad = ws.send_writer(MessageKind::Text).await.unwrap();
    soon(bad.write_all(b"\xFF")).await.unwrap();
    assert_eq!(soon(bad.flush()).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    drop(bad);
    ws.send("here").await.unwrap();
    peer.expect_text("here").await;
}

#[tokio::test]
async fn a_writer_dropped_in_the_middle_closes_with_1011() {
    let (_running, mut peer, ws) = connected(Config::default()).await;
    let mut writer = ws.send_writer(MessageKind::Text).await.unwrap();
    soon(writer.write_all(b"half")).await.unwrap();
    soon(writer.flush()).await.unwrap();
    let other = ws.sender();
    let waits = tokio::spawn(async move { other.send("another").await });
    assert!(!peer.frame().await.unwrap().fin);
    drop(writer);
    assert_eq!(peer.expect_close(1011).await, "a message was not finished");
    assert!(soon(waits).await.unwrap().unwrap_err().is_closed());
}

#[tokio::test]
async fn a_writer_ends_with_an_error_when_the_connection_does() {
    let (_running, mut peer, mut ws) = connected(Config::default()).await;
    let mut writer = ws.send_writer(MessageKind::Binary).await.unwrap();
    let writing = tokio::spawn(async move {
        let chunk = vec![0; 1 << 20];
        loop {
            if let Err(e) = writer.write_all(&chunk).await {
                return e;
            }
        }
    });
    peer.frame().await.unwrap();
    drop(peer);
    let error = soon(writing).await.unwrap();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{error}");
    assert!(soon(ws.recv()).await.is_err());
}
