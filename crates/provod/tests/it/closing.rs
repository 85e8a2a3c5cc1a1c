//! The closing handshake (RFC 6455 section 7): who closes, with what code, and what is not lost on
//! the way.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use provod::close::Cause;
use provod::{BoxError, CloseCode, Closed, Error, Message, Server, WebSocket};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::peer::{
    Peer, binary, close, header, not_stuck, open_narrow, open_with, raw, request, soon, text, until,
};
use crate::servers::{echo, hasty, start, start_with};

/// What handlers report to their test.
fn reports<T: Send + 'static>() -> (mpsc::UnboundedSender<T>, mpsc::UnboundedReceiver<T>) {
    mpsc::unbounded_channel()
}

async fn next<T>(reports: &mut mpsc::UnboundedReceiver<T>) -> T {
    soon(reports.recv()).await.expect("the handler reports")
}

/// A server whose handler closes with 4001 and reports the outcome.
async fn closing_server(
    config: provod::Config,
) -> (provod::server::Running, std::net::SocketAddr, mpsc::UnboundedReceiver<Closed>) {
    let (out, reported) = reports();
    let (running, address) = start_with(Server::new().config(config), move |mut ws| {
        let out = out.clone();
        async move {
            ws.send("before").await?;
            let _ = out.send(ws.close(4001, "enough").await?);
            Ok(())
        }
    })
    .await;
    (running, address, reported)
}

#[tokio::test]
async fn rfc6455_7_1_2_the_server_closes_and_the_peer_answers() {
    let (_running, address, mut reported) = closing_server(provod::Config::default()).await;
    let mut peer = Peer::open(address).await;
    peer.expect_text("before").await;
    assert_eq!(peer.expect_close(4001).await, "enough");
    // What crosses the Close on the wire is thrown away.
    peer.send([text("crossing"), close(4001)].concat()).await;
    peer.expect_end().await;
    let closed = next(&mut reported).await;
    assert_eq!(closed.cause, Cause::Local);
    assert!(closed.is_clean());
    assert_eq!(closed.code(), CloseCode::new(4001));
    assert_eq!(closed.unsent, 0);
    let sent = closed.sent.flatten().expect("a Close was sent");
    assert_eq!((sent.code.as_u16(), sent.reason.as_str()), (4001, "enough"));
}

#[tokio::test]
async fn a_peer_that_does_not_answer_the_close_is_left_at_the_timeout() {
    let (_running, address, mut reported) = closing_server(hasty()).await;
    let mut peer = Peer::open(address).await;
    peer.expect_text("before").await;
    peer.expect_close(4001).await;
    peer.expect_end().await;
    let closed = next(&mut reported).await;
    assert_eq!((closed.cause.clone(), closed.is_clean()), (Cause::Local, false));
    assert_eq!(closed.code(), CloseCode::ABNORMAL);
    assert!(closed.sent.is_some() && closed.received.is_none());
}

#[tokio::test]
async fn a_peer_that_never_reads_cannot_hold_up_a_close() {
    let (out, mut reported) = reports();
    let (_running, address) = start_with(Server::new().config(hasty()), move |mut ws| {
        let out = out.clone();
        async move {
            // More than the system's own buffers take.
            while ws.try_send(vec![0; 16 << 20]).is_ok() {}
            let _ = out.send(ws.close(1000, "").await?);
            Ok(())
        }
    })
    .await;
    let _peer = open_narrow(address).await;
    let closed = next(&mut reported).await;
    assert!(closed.unsent > 0 && closed.sent.is_none(), "{closed:?}");
    assert!(!closed.is_clean());
}

#[tokio::test]
async fn a_handlers_end_closes_with_its_code() {
    let (running, address) = start_with(Server::new(), |ws| async move {
        ws.send("last words").await?;
        match ws.path() {
            "/ok" => Ok(()),
            "/err" => Err("on purpose".into()),
            "/panic" => panic!("on purpose"),
            _ => unreachable!(),
        }
    })
    .await;
    for (path, code) in [("/ok", 1000), ("/err", 1011), ("/panic", 1011), ("/ok", 1000)] {
        let (mut peer, _) = open_with(address, path, &[]).await;
        peer.expect_text("last words").await;
        assert_eq!(peer.expect_close(code).await, "", "an error is nobody's business outside");
        peer.send(close(code)).await;
        peer.expect_end().await;
    }
    assert_eq!(running.stats().handler_panics, 1);
}

/// An error that gives the connection back, as those of `futures` give back what they could not
/// join.
struct Returned(WebSocket);

impl std::error::Error for Returned {}

impl std::fmt::Debug for Returned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("on purpose")
    }
}

impl std::fmt::Display for Returned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "on purpose, with {} bytes queued", self.0.buffered_amount())
    }
}

#[test]
fn a_handlers_error_or_panic_may_hold_the_websocket() {
    not_stuck(async {
        let (_running, address) = start_with(Server::new(), |ws| async move {
            match ws.path() {
                "/err" => Err(Returned(ws).into()),
                _ => std::panic::panic_any(ws),
            }
        })
        .await;
        for path in ["/err", "/panic"] {
            let (mut peer, _) = open_with(address, path, &[]).await;
            peer.expect_close(1011).await;
            peer.send(close(1011)).await;
            peer.expect_end().await;
        }
    });
}

#[tokio::test]
async fn a_handler_that_panics_before_its_first_await_is_caught() {
    let (running, address) = start_with(Server::new(), |ws| {
        assert!(ws.path() != "/panic", "on purpose");
        echo(ws)
    })
    .await;
    let (mut peer, _) = open_with(address, "/panic", &[]).await;
    peer.expect_close(1011).await;
    peer.send(close(1011)).await;
    peer.expect_end().await;
    Peer::open(address).await.bye().await;
    assert_eq!(running.stats().handler_panics, 1);
}

#[tokio::test]
async fn a_websocket_that_is_dropped_before_its_handler_ends_closes_with_1001() {
    let (_running, address) = start_with(Server::new(), |ws| async move {
        drop(ws);
        std::future::pending().await
    })
    .await;
    let mut peer = Peer::open(address).await;
    peer.expect_close(1001).await;
    peer.send(close(1001)).await;
    peer.expect_end().await;
}

#[tokio::test]
async fn a_websocket_that_was_moved_lives_on_after_its_handler() {
    let kept: Arc<Mutex<Vec<WebSocket>>> = Arc::default();
    let keep = kept.clone();
    let (_running, address) = start_with(Server::new(), move |ws| {
        let keep = keep.clone();
        async move {
            keep.lock().unwrap().push(ws);
            Ok(())
        }
    })
    .await;
    let mut peer = Peer::open(address).await;
    until(|| !kept.lock().unwrap().is_empty()).await;
    let mut ws = kept.lock().unwrap().pop().unwrap();
    peer.send(text("question")).await;
    let question = soon(ws.recv()).await.unwrap().unwrap();
    assert_eq!(question.as_text(), Some("question"));
    ws.send("answer").await.unwrap();
    peer.expect_text("answer").await;
    // In another task, on whose end nobody waits.
    soon(tokio::spawn(async move { drop(ws) })).await.unwrap();
    peer.expect_close(1001).await;
    peer.send(close(1001)).await;
    peer.expect_end().await;
}

#[tokio::test]
async fn a_peer_that_half_closes_gets_all_its_answers_first() {
    let (running, address) = start(Server::new()).await;
    let mut peer = Peer::open(address).await;
    let messages: Vec<String> = (0..2000).map(|n| format!("message {n}")).collect();
    peer.send(messages.iter().flat_map(|m| text(m)).collect::<Vec<_>>()).await;
    peer.finish().await;
    for message in &messages {
        peer.expect_text(message).await;
    }
    peer.expect_end().await;
    until(|| running.stats().open == 0).await;
    assert_eq!(running.stats().close_codes[&1006], 1);
}

#[tokio::test]
async fn answers_to_what_came_before_a_close_leave_before_it() {
    let (_running, address) = start(Server::new()).await;
    let mut peer = Peer::open(address).await;
    let messages: Vec<String> = (0..2000).map(|n| format!("message {n}")).collect();
    let mut bytes: Vec<u8> = messages.iter().flat_map(|m| text(m)).collect();
    bytes.extend(close(4000));
    peer.send(bytes).await;
    for message in &messages {
        peer.expect_text(message).await;
    }
    peer.expect_close(4000).await;
    peer.expect_end().await;
}

/// Sends to a server whose handler reads all there is and reports it, and then once more.
async fn received(
    bytes: Vec<u8>,
    leave: impl AsyncFnOnce(Peer),
) -> (Vec<Message>, Result<(), Error>, Closed) {
    let (out, mut reported) = reports();
    let (_running, address) = start_with(Server::new(), move |mut ws| {
        let out = out.clone();
        async move {
            let mut messages = Vec::new();
            let end = loop {
                match ws.recv().await {
                    Ok(Some(message)) => messages.push(message),
                    Ok(None) => break Ok(()),
                    Err(e) => break Err(e),
                }
            };
            // However often one asks.
            for _ in 0..3 {
                match (&end, ws.recv().await) {
                    (Ok(()), Ok(None)) => {}
                    (Err(a), Err(b)) => assert_eq!(a.to_string(), b.to_string()),
                    (a, b) => panic!("first {a:?}, then {b:?}"),
                }
            }
            let _ = out.send((messages, end, ws.closed().await));
            Ok(())
        }
    })
    .await;
    let mut peer = Peer::open(address).await;
    peer.send(bytes).await;
    leave(peer).await;
    next(&mut reported).await
}

#[tokio::test]
async fn recv_tells_a_close_from_a_loss_and_a_violation() {
    let both = || [text("a"), binary(b"b")].concat();
    let expected = vec![Message::text("a"), Message::binary(b"b".to_vec())];

    let bytes = [both(), close(4999)].concat();
    let (messages, end, closed) = received(bytes, async |mut peer| {
        peer.expect_close(4999).await;
        peer.expect_end().await;
    })
    .await;
    assert_eq!(messages, expected);
    assert!(end.is_ok());
    assert_eq!((closed.cause.clone(), closed.code().as_u16()), (Cause::Peer, 4999));
    assert!(closed.is_clean());

    let bytes = [both(), raw(3, "").to_bytes()].concat();
    let (messages, end, closed) = received(bytes, async |mut peer| {
        peer.expect_close(1002).await;
        peer.expect_end().await;
    })
    .await;
    assert_eq!(messages, expected);
    let e = end.unwrap_err();
    assert!(e.is_protocol() && !e.is_lost() && !e.is_limit(), "{e}");
    assert_eq!(e.close_code(), Some(CloseCode::PROTOCOL_ERROR));
    assert!(matches!(closed.cause, Cause::Failed(_)) && !closed.is_clean());

    let bytes = [both(), header(0x82, 1 << 40)].concat();
    let (messages, end, _) = received(bytes, async |mut peer| {
        peer.expect_close(1009).await;
        peer.expect_end().await;
    })
    .await;
    assert_eq!(messages, expected);
    assert!(end.unwrap_err().is_limit());

    // The end in the middle of a frame.
    let bytes = [both(), text("cut")[..4].to_vec()].concat();
    let (messages, end, closed) = received(bytes, async |mut peer| {
        peer.finish().await;
        peer.expect_end().await;
    })
    .await;
    assert_eq!(messages, expected);
    let e = end.unwrap_err();
    assert!(e.is_lost() && !e.is_timeout(), "{e}");
    assert_eq!((closed.cause.clone(), closed.code()), (Cause::Lost, CloseCode::ABNORMAL));
}

#[tokio::test]
async fn a_reset_ends_the_connection_with_an_error() {
    let (out, mut reported) = reports();
    let (running, address) = start_with(Server::new(), move |mut ws| {
        let out = out.clone();
        async move {
            let _ = out.send(None);
            let _ = out.send(Some(ws.recv().await));
            Err("lost".into())
        }
    })
    .await;
    let stream = soon(TcpStream::connect(address)).await.unwrap();
    let mut stream = stream.into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    std::io::Write::write_all(&mut stream, request("/", &[]).as_bytes()).unwrap();
    assert!(next(&mut reported).await.is_none());
    // Closed with the answer unread: the system sends RST. A frame is under way.
    std::io::Write::write_all(&mut stream, &header(0x81, 100)).unwrap();
    drop(stream);
    let e = next(&mut reported).await.unwrap().unwrap_err();
    assert!(e.is_lost(), "{e}");
    until(|| running.stats().open == 0).await;
    Peer::open(address).await;
}

#[tokio::test]
async fn a_close_while_the_peer_sends_and_reads_nothing_ends() {
    let (_running, address) = start_with(Server::new().config(hasty()), |mut ws| async move {
        ws.recv().await?;
        ws.close(1000, "").await?;
        Ok(())
    })
    .await;
    let mut peer = open_narrow(address).await;
    let flood = binary(&[0; 60_000]);
    // Until the server hangs up: a peer that floods does not keep it.
    soon(async {
        let stream = &mut peer;
        while stream.try_send(&flood).await {}
    })
    .await;
    peer.gone().await;
}

#[tokio::test]
async fn close_refuses_codes_and_reasons_that_must_not_be_sent() {
    let (_running, address) = start_with(Server::new(), |mut ws| async move {
        for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000] {
            assert!(ws.close(code, "").await.is_err(), "{code}");
        }
        assert!(ws.close(1000, "x".repeat(124)).await.is_err());
        ws.send("still open").await?;
        ws.close(4000, "ж".repeat(61)).await?;
        assert!(ws.send("x").await.unwrap_err().is_closed());
        assert!(ws.sender().ping().await.unwrap_err().is_closed());
        Ok::<(), BoxError>(())
    })
    .await;
    let mut peer = Peer::open(address).await;
    peer.expect_text("still open").await;
    assert_eq!(peer.expect_close(4000).await, "ж".repeat(61));
    peer.send(close(4000)).await;
    peer.expect_end().await;
}

#[tokio::test]
async fn rfc6455_7_1_1_the_server_ends_tcp_first_and_does_not_wait_for_ever() {
    let (running, address) = start(Server::new().config(hasty())).await;
    let mut peer = Peer::open(address).await;
    peer.send(close(1000)).await;
    peer.expect_close(1000).await;
    peer.expect_end().await;
    // The peer keeps its half open; the server lets go of the socket all the same.
    until(|| running.stats().open == 0).await;
    soon(running.drain(provod::server::Drain::default())).await;
}

#[tokio::test]
async fn a_sender_can_close_and_the_handler_still_receives_what_comes() {
    let (_running, address) = start_with(Server::new(), |mut ws| async move {
        ws.sender().close(1000, "done")?;
        let mut all = String::new();
        while let Some(message) = ws.recv().await? {
            all.push_str(message.as_text().unwrap_or_default());
        }
        assert_eq!(all, "ab");
        assert!(ws.closed().await.is_clean());
        Ok(())
    })
    .await;
    let mut peer = Peer::open(address).await;
    assert_eq!(peer.expect_close(1000).await, "done");
    peer.send([text("a"), text("b"), close(1000)].concat()).await;
    peer.expect_end().await;
}

#[tokio::test]
async fn a_dropped_close_has_closed_all_the_same() {
    let (_running, address) = start_with(Server::new(), |mut ws| async move {
        let closing = ws.close(4002, "");
        assert!(tokio::time::timeout(Duration::ZERO, closing).await.is_err());
        ws.closed().await;
        Ok(())
    })
    .await;
    let mut peer = Peer::open(address).await;
    peer.expect_close(4002).await;
    peer.send(close(4002)).await;
    peer.expect_end().await;
}

#[tokio::test]
async fn recv_dropped_at_every_byte_loses_nothing() {
    let (out, mut reported) = reports();
    let (_running, address) = start_with(Server::new(), move |mut ws| {
        let out = out.clone();
        async move {
            let mut heard = Vec::new();
            while heard.len() < 3 {
                // Polled once and dropped, again and again.
                if let Ok(message) = tokio::time::timeout(Duration::ZERO, ws.recv()).await {
                    heard.push(message?.expect("no Close comes"));
                }
                tokio::task::yield_now().await;
            }
            let _ = out.send(heard);
            Ok(())
        }
    })
    .await;
    let mut peer = Peer::open(address).await;
    let bytes = [
        raw(1, "При").fin(false).to_bytes(),
        raw(9, "p").to_bytes(),
        raw(0, "вет").to_bytes(),
        binary(&[7; 200]),
        text(""),
    ];
    for byte in bytes.concat() {
        peer.send([byte]).await;
        tokio::task::yield_now().await;
    }
    let heard = next(&mut reported).await;
    let expected = [Message::text("Привет"), Message::binary(vec![7; 200]), Message::text("")];
    assert_eq!(heard, expected);
}

#[tokio::test]
async fn a_violation_tells_its_code_though_the_handler_closes_by_itself() {
    let (_running, address) = start_with(Server::new(), |mut ws| async move {
        // It never asks for messages, and ends the conversation when its sender's Ping is answered.
        ws.ping().await?;
        ws.close(1000, "").await?;
        Ok(())
    })
    .await;
    let mut peer = Peer::open(address).await;
    let ping = peer.frame().await.unwrap();
    assert_eq!(ping.opcode, 9);
    peer.send([raw(10, ping.payload).to_bytes(), raw(3, "").to_bytes()].concat()).await;
    peer.expect_close(1002).await;
    peer.expect_end().await;
}

#[tokio::test]
async fn a_handler_that_only_sends_does_not_hold_up_the_answer_to_a_close() {
    let (_running, address) = start_with(Server::new(), |ws| async move {
        ws.send("news").await?;
        std::future::pending().await
    })
    .await;
    let mut peer = Peer::open(address).await;
    peer.expect_text("news").await;
    peer.send(close(1000)).await;
    peer.expect_close(1000).await;
    peer.expect_end().await;
}
