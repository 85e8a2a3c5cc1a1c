//! Clients that break the rules of HTTP/2, or keep them in a way that hurts.

use std::time::Duration;

use provod::close::Cause;
use provod::config::{HeadLimits, MemoryBudget};
use provod::server::Accept;
use provod::{CloseCode, Config, Server, WebSocket};

use super::raw::*;
use crate::peer::{Peer, binary, request, soon, text, until};
use crate::servers::{address, echo, hall, hall_with, hasty, start};

#[tokio::test]
async fn an_empty_frame_is_not_the_end_and_padding_is_no_data() {
    let (_running, address) = start(Server::new()).await;
    let mut raw = Raw::open(address).await;
    raw.websocket(1).await;
    for _ in 0..50 {
        raw.data(1, 0, &[]).await;
    }
    raw.echo(1, "hello").await;
    let message = text("padded");
    let mut padded = vec![200];
    padded.extend(&message);
    padded.extend([0; 200]);
    raw.data(1, PADDED, &padded).await;
    assert_eq!(&raw.until(DATA, 1).await.payload[2..], b"padded");
    // Padding counts against the window, and is given back: so much fits through it once only.
    let long = text(&"y".repeat(592));
    for (n, byte) in long.iter().enumerate() {
        let frame = [&[254, *byte][..], &[0; 254]].concat();
        raw.data(1, PADDED, &frame).await;
        if n % 150 == 149 {
            raw.until(WINDOW_UPDATE, 1).await;
        }
    }
    assert_eq!(raw.until(DATA, 1).await.payload.len(), 4 + 592);
    raw.echo(1, "still").await;
    raw.data(1, 0, &close(1000)).await;
    assert_eq!(raw.until(DATA, 1).await.payload, [0x88, 2, 3, 232]);
    let end = raw.until(DATA, 1).await;
    assert_eq!((end.flags & END_STREAM, end.payload.len()), (END_STREAM, 0));
}

#[tokio::test]
async fn a_message_in_many_frames_and_many_messages_in_one() {
    let (_running, address) = start(Server::new()).await;
    let mut raw = Raw::open(address).await;
    raw.websocket(1).await;
    for byte in text("byte by byte") {
        raw.data(1, 0, &[byte]).await;
    }
    assert_eq!(&raw.until(DATA, 1).await.payload[2..], b"byte by byte");
    raw.data(1, 0, &[text("one"), text("two"), text("three")].concat()).await;
    assert_eq!(raw.until(DATA, 1).await.payload, b"\x81\x03one\x81\x03two\x81\x05three");
}

#[tokio::test]
async fn the_end_of_a_stream_without_a_close_is_1006() {
    let mut hall = hall(Server::new()).await;
    let mut raw = Raw::open(hall.address).await;
    raw.websocket(1).await;
    let mut ws = soon(hall.opened.recv()).await.unwrap();
    raw.data(1, 0, &text("last words")).await;
    raw.data(1, END_STREAM, &[]).await;
    assert_eq!(soon(ws.recv()).await.unwrap(), Some("last words".into()));
    let e = soon(ws.recv()).await.unwrap_err();
    assert!(e.is_lost() && e.to_string().contains("without a Close"), "{e}");
    assert_eq!(soon(ws.closed()).await.code(), CloseCode::ABNORMAL);
    until(|| hall.running.stats().close_codes.get(&1006) == Some(&1)).await;
}

#[tokio::test]
async fn a_reset_in_the_middle_of_a_message_is_the_error_of_that_socket() {
    let mut hall = hall(Server::new()).await;
    let mut raw = Raw::open(hall.address).await;
    raw.websocket(1).await;
    let mut cut = soon(hall.opened.recv()).await.unwrap();
    raw.websocket(3).await;
    let mut other = soon(hall.opened.recv()).await.unwrap();
    raw.data(1, 0, &text("whole")).await;
    let half = text("this is cut");
    raw.data(1, 0, &half[..9]).await;
    raw.send(&frame(RST_STREAM, 0, 1, &CANCEL.to_be_bytes())).await;
    assert_eq!(soon(cut.recv()).await.unwrap(), Some("whole".into()));
    let e = soon(cut.recv()).await.unwrap_err();
    assert!(e.is_lost() && e.to_string().contains("CANCEL"), "{e}");
    assert_eq!(soon(cut.closed()).await.code(), CloseCode::ABNORMAL);
    raw.data(3, 0, &text("untouched")).await;
    assert_eq!(soon(other.recv()).await.unwrap(), Some("untouched".into()));
}

#[tokio::test]
async fn a_goaway_leaves_open_streams_alone() {
    let (_running, address) = start(Server::new()).await;
    let mut raw = Raw::open(address).await;
    raw.websocket(1).await;
    raw.send(&frame(GOAWAY, 0, 0, &[0; 8])).await;
    raw.echo(1, "go on").await;
    raw.data(1, 0, &close(1000)).await;
    assert_eq!(raw.until(DATA, 1).await.payload[0], 0x88);
}

#[tokio::test]
async fn a_flood_of_requests_that_are_reset_ends_the_connection() {
    let (running, address) = start(Server::new()).await;
    let mut raw = Raw::open(address).await;
    let request = connect_block(&[]);
    let mut flood = Vec::new();
    for n in 0..10_000u32 {
        flood.extend(frame(HEADERS, END_HEADERS, 2 * n + 1, &request));
        flood.extend(frame(RST_STREAM, 0, 2 * n + 1, &CANCEL.to_be_bytes()));
    }
    // The server may hang up before it has taken all of it.
    raw.try_send(&flood).await;
    while raw.next().await.is_some() {}
    until(|| running.stats().open == 0).await;
    assert!(running.stats().opened < 1000, "{:?}", running.stats());
    Raw::open(address).await.websocket(1).await;
}

#[tokio::test]
async fn most_requests_given_up_before_they_are_answered_end_the_connection() {
    let server = Server::new().on_request(|_| async {
        std::future::pending::<()>().await;
        Ok(Accept::new(()))
    });
    let running =
        server.listen("127.0.0.1:0").start_with(|ws: WebSocket, ()| echo(ws)).await.unwrap();
    let mut raw = Raw::open(address(&running)).await;
    for n in 0..101u32 {
        raw.request(2 * n + 1).await;
        raw.send(&frame(RST_STREAM, 0, 2 * n + 1, &CANCEL.to_be_bytes())).await;
        until(|| running.stats().refusals.get("cut") == Some(&u64::from(n + 1))).await;
    }
    // It is told at the next occasion.
    raw.send(&frame(HEADERS, END_HEADERS, 1001, &connect_block(&[]))).await;
    assert_eq!(raw.goaway().await, ENHANCE_YOUR_CALM);
    assert_eq!(running.stats().refusals["http2"], 1);
}

#[tokio::test]
async fn a_connection_that_was_told_to_go_may_not_give_up_more() {
    let server = Server::new().max_connections(2).on_request(|_| async {
        std::future::pending::<()>().await;
        Ok(Accept::new(()))
    });
    let running =
        server.listen("127.0.0.1:0").start_with(|ws: WebSocket, ()| echo(ws)).await.unwrap();
    let mut raw = Raw::open(address(&running)).await;
    let others = [Peer::connect(address(&running)).await, Peer::connect(address(&running)).await];
    raw.until(GOAWAY, 0).await;
    drop(others);
    until(|| running.stats().accepted == 3).await;
    // Its PING is not answered, so streams are still taken. The first finds its place given away.
    raw.request(1).await;
    until(|| running.stats().refusals.get("full") == Some(&1)).await;
    for n in 1..102u32 {
        raw.request(2 * n + 1).await;
        raw.send(&frame(RST_STREAM, 0, 2 * n + 1, &CANCEL.to_be_bytes())).await;
        until(|| running.stats().refusals.get("cut") == Some(&u64::from(n))).await;
    }
    // It is told at the next occasion.
    raw.send(&frame(HEADERS, END_HEADERS, 1001, &connect_block(&[]))).await;
    assert_eq!(raw.goaway().await, ENHANCE_YOUR_CALM);
}

#[tokio::test]
async fn a_window_of_zero_holds_up_nobody_else_and_ends_in_time() {
    let mut hall = hall_with(hasty()).await;
    // SETTINGS_INITIAL_WINDOW_SIZE
    let mut raw = Raw::with(hall.address, &[0, 4, 0, 0, 0, 0]).await;
    raw.websocket(1).await;
    let stuck = soon(hall.opened.recv()).await.unwrap();
    raw.websocket(3).await;
    let mut other = soon(hall.opened.recv()).await.unwrap();
    while stuck.try_send(vec![7; 10_000]).is_ok() {}
    assert!(stuck.buffered_amount() > 1_000_000);
    raw.send(&frame(WINDOW_UPDATE, 0, 3, &1000u32.to_be_bytes())).await;
    other.send("through").await.unwrap();
    assert_eq!(&raw.until(DATA, 3).await.payload[2..], b"through");
    raw.data(3, 0, &text("and back")).await;
    assert_eq!(soon(other.recv()).await.unwrap(), Some("and back".into()));
    let mut stuck = stuck;
    let closed = soon(stuck.close(1000, "")).await.unwrap();
    assert_eq!((closed.cause, closed.sent), (Cause::Local, None));
    assert!(closed.unsent > 1_000_000, "{}", closed.unsent);
    raw.until(RST_STREAM, 1).await;
    raw.data(3, 0, &text("still")).await;
    assert_eq!(soon(other.recv()).await.unwrap(), Some("still".into()));
}

#[tokio::test]
async fn small_frames_on_a_socket_that_is_not_read_harm_nobody() {
    let mut hall = hall(Server::new()).await;
    let mut raw = Raw::open(hall.address).await;
    raw.websocket(1).await;
    let mut slow = soon(hall.opened.recv()).await.unwrap();
    raw.websocket(3).await;
    let mut other = soon(hall.opened.recv()).await.unwrap();
    let mut whole = Vec::new();
    // More than is read ahead, and then the window full of frames of one byte.
    for n in 0..8000 {
        whole.extend(binary(&[n as u8; 20]));
    }
    let mut sent = 0;
    loop {
        let window = usize::try_from(raw.windows[&1]).unwrap();
        let size = if sent < 100_000 { 4000 } else { 1 };
        let frames = window.min(whole.len() - sent) / size;
        let mut out = Vec::new();
        for _ in 0..frames {
            out.extend(frame(DATA, 0, 1, &whole[sent..sent + size]));
            sent += size;
        }
        *raw.windows.get_mut(&1).unwrap() -= (frames * size) as i64;
        raw.send(&out).await;
        // What comes before the echo on the other stream has been seen by the server.
        raw.data(3, 0, &text("here")).await;
        assert_eq!(soon(other.recv()).await.unwrap(), Some("here".into()));
        other.send("there").await.unwrap();
        raw.until(DATA, 3).await;
        if frames == 0 {
            break;
        }
    }
    assert!(sent > 120_000, "{sent}");
    for n in 0..sent / 26 {
        let message = soon(slow.recv()).await.unwrap().unwrap();
        assert_eq!(message.as_bytes(), &[n as u8; 20]);
    }
}

#[tokio::test]
async fn fields_without_end_are_cut_off() {
    let (running, address) = start(Server::new()).await;
    let mut raw = Raw::open(address).await;
    let many = connect_block(&[("x-many", &"y".repeat(9000))]);
    raw.send(&frame(HEADERS, END_HEADERS, 1, &many)).await;
    let answer = raw.until(HEADERS, 1).await;
    assert!(answer.payload.windows(3).any(|w| w == b"431") || answer.payload.len() > 2);
    // RFC 9113 section 10.5.1: CONTINUATION without end.
    raw.send(&frame(HEADERS, 0, 3, &connect_block(&[]))).await;
    let more = frame(CONTINUATION, 0, 3, &block(&[("x", &"y".repeat(1000))]));
    while raw.try_send(&more.repeat(100)).await {
        if running.stats().open > 0 {
            break;
        }
    }
    while raw.next().await.is_some() {}
    assert_eq!(running.stats().opened, 0);
    Raw::open(address).await.websocket(1).await;
}

#[tokio::test]
async fn floods_of_settings_and_pings_are_answered_or_felt() {
    let (running, address) = start(Server::new()).await;
    for flood in [frame(SETTINGS, 0, 0, &[]), frame(PING, 0, 0, &[7; 8])] {
        // Read: each is answered.
        let mut raw = Raw::open(address).await;
        raw.websocket(1).await;
        for _ in 0..100 {
            raw.send(&flood.repeat(100)).await;
            let mut answers = 0;
            while answers < 100 {
                let answer = raw.next().await.unwrap();
                answers += u32::from(answer.kind == flood[3] && answer.flags & ACK != 0);
            }
        }
        raw.echo(1, "still").await;
        // Not read: the server stops reading, too.
        let mut raw = Raw::open(address).await;
        let flood = flood.repeat(1000);
        let stuck = async { while raw.try_send(&flood).await {} };
        let others = async {
            for _ in 0..3 {
                let mut other = Raw::open(address).await;
                other.websocket(1).await;
                other.echo(1, "here").await;
            }
        };
        tokio::select! { () = stuck => {}, () = others => {} }
    }
    drop(running);
}

#[tokio::test]
async fn what_is_no_http2_ends() {
    let (running, address) = start(Server::new().config(Config::default())).await;
    for bytes in [
        &b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"[..],
        b"PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\0\0\0\0\0\x01",
    ] {
        let mut raw = Raw::silent(address).await;
        raw.send(bytes).await;
        while raw.next().await.is_some() {}
    }
    for kind in 0..=20 {
        let mut raw = Raw::open(address).await;
        raw.websocket(1).await;
        // Of a length that none of them has, on a stream that is open and on one that is idle.
        raw.try_send(&frame(kind, 0xff, 1, &[0xff; 5])).await;
        raw.try_send(&frame(kind, 0xff, 77, &[0xff; 5])).await;
        raw.try_send(&frame(DATA, 0, 99, b"x")).await;
        while raw.next().await.is_some() {}
    }
    until(|| running.stats().open == 0).await;
    Raw::open(address).await.websocket(1).await;
}

#[tokio::test]
async fn silence_before_the_first_stream_has_the_deadline_of_a_handshake() {
    let server = Server::new().handshake_timeout(Duration::from_millis(50));
    let (running, address) = start(server).await;
    for bytes in [&PREFACE[..5], &PREFACE[..12], &PREFACE[..20]] {
        let mut raw = Raw::silent(address).await;
        raw.send(bytes).await;
        while raw.next().await.is_some() {}
    }
    let mut raw = Raw::open(address).await;
    let code = raw.until(GOAWAY, 0).await.number(4);
    assert_eq!(code, 0);
    while raw.next().await.is_some() {}
    assert_eq!(running.stats().refusals["timeout"], 3);
    assert_eq!(running.drain(provod::server::Drain::default()).await, 0);
}

#[tokio::test]
async fn a_stream_on_a_connection_whose_place_was_given_away_is_turned_away() {
    let (running, address) = start(Server::new().max_connections(1)).await;
    let mut raw = Raw::open(address).await;
    // Without a stream it is as good as an unfinished handshake, and makes room for a newer one.
    let mut other = Peer::connect(address).await;
    raw.until(GOAWAY, 0).await;
    other.send(request("/", &[])).await;
    assert_eq!(other.answer().await.status, 101);
    // The GOAWAY tells it what is taken no more only when its PING was answered.
    raw.request(1).await;
    raw.until(HEADERS, 1).await;
    assert_eq!(running.stats().refusals.get("full"), Some(&1));
    assert_eq!(running.stats().opened, 1);
    drop((raw, other));
    until(|| running.stats().open == 0).await;
    // All places are free again, and there is one.
    Raw::open(address).await.websocket(1).await;
    assert_eq!(soon(running.drain(provod::server::Drain::default())).await, 0);
}

#[tokio::test]
async fn a_stream_finds_503_when_all_memory_is_used() {
    let budget = MemoryBudget::new(1000);
    let head = HeadLimits { max_bytes: 4000, ..HeadLimits::default() };
    let server = Server::new().head_limits(head).memory_budget(&budget);
    let server = server.on_request(|request| async move {
        if request.path() == "/slow" {
            std::future::pending::<()>().await;
        }
        Ok(Accept::new(()))
    });
    let running =
        server.listen("127.0.0.1:0").start_with(|ws: WebSocket, ()| echo(ws)).await.unwrap();
    let mut raw = Raw::open(address(&running)).await;
    raw.websocket(1).await;
    until(|| budget.used() == 0).await;
    // One that the application has not decided on holds its memory.
    let mut slow = Raw::open(address(&running)).await;
    until(|| budget.used() == 0).await;
    let block = connect_block(&[]);
    let at = block.windows(4).position(|w| w == b"/raw").unwrap();
    let block = [&block[..at - 1], &[5], b"/slow", &block[at + 4..]].concat();
    slow.send(&frame(HEADERS, END_HEADERS, 1, &block)).await;
    until(|| budget.used() == 4000).await;
    raw.request(3).await;
    raw.until(HEADERS, 3).await;
    assert_eq!(running.stats().refusals.get("memory"), Some(&1));
    drop(slow);
    until(|| budget.used() == 0).await;
    raw.websocket(5).await;
    raw.echo(5, "room again").await;
    raw.echo(1, "still").await;
}
