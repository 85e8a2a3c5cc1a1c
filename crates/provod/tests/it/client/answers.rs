//! What a client checks in the answer (RFC 6455 section 4.1), and how it takes what is none.

use std::time::Duration;

use provod::{Client, DeflateConfig, HeadLimits};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{answered, plain};
use crate::peer::soon;
use crate::scripted::{Scripted, filled, good, listen};

/// An answer that must not open a WebSocket, with a word that the error says.
async fn refused(client: &Client, answer: &str, word: &str) {
    let e = answered(client, answer).await.expect_err(answer);
    assert!(e.is_handshake() && e.http_response().is_none(), "{answer:?}: {e:?}");
    let text = e.to_string();
    assert!(text.contains(word), "{answer:?}: {text}");
    assert!(!text.chars().any(char::is_control), "{text:?}");
}

fn without(name: &str) -> String {
    let mut lines = good(&[]);
    lines = lines.split_inclusive("\r\n").filter(|line| !line.starts_with(name)).collect();
    lines
}

#[tokio::test]
async fn rfc6455_4_1_a_good_answer_opens() {
    for answer in [
        good(&[]),
        good(&["X: \u{ff}", "Set-Cookie: a=1", "Set-Cookie: b=2"]),
        without("Connection")
            .replace("Upgrade: w", "Connection: keep-alive, uPgRaDe\r\nUPGRADE: W"),
        good(&[]).replace(" Switching Protocols", ""),
        good(&[]).replace("Accept: {accept}", "Accept:\t {accept} \t"),
        // RFC 9110 section 8.6 forbids it, RFC 9112 section 6.3 says that it means nothing.
        good(&["Content-Length: 0"]),
        good(&["Transfer-Encoding: chunked"]),
    ] {
        let ws = answered(&plain(), &answer).await;
        assert!(ws.is_ok(), "{answer:?}: {ws:?}");
    }
}

#[tokio::test]
async fn rfc6455_4_1_upgrade_connection_and_accept_are_checked() {
    let refused = async |answer: &str, word| refused(&plain(), answer, word).await;
    refused(&without("Upgrade"), "Upgrade").await;
    refused(&good(&[]).replace("websocket", "h2c"), "Upgrade").await;
    refused(&good(&[]).replace("websocket", "websocket, h2c"), "Upgrade").await;
    refused(&good(&["Upgrade: websocket"]), "once").await;
    refused(&without("Connection"), "Connection").await;
    refused(&good(&[]).replace("Connection: Upgrade", "Connection: close"), "Connection").await;
    refused(&good(&[]).replace("Connection: Upgrade", "Connection: Upgraded"), "Connection").await;
    refused(&without("Sec-WebSocket-Accept"), "missing").await;
    refused(&good(&["Sec-WebSocket-Accept: {accept}"]), "once").await;
    for wrong in [
        "",
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        "{accept}=",
        "x{accept}",
        "{accept}, {accept}",
        "\"{accept}\"",
    ] {
        refused(&good(&[]).replace("{accept}", wrong), "does not answer the key").await;
    }
}

#[tokio::test]
async fn rfc6455_4_1_the_accept_key_is_compared_with_its_case() {
    let (near, mut server) = Scripted::pipe();
    let served = async {
        let request = server.request().await;
        let answer = filled(&request, &good(&[]));
        // Base64 of a hash in which no letter changed its case is rarer than a cosmic ray.
        let (front, rest) = answer.split_once("Accept: ").unwrap();
        let flipped: String = rest
            .chars()
            .map(|c| if c.is_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() })
            .collect();
        server.send(format!("{front}Accept: {flipped}")).await;
    };
    let client = plain();
    let (ws, ()) = soon(async { tokio::join!(client.connect_over(near), served) }).await;
    assert!(ws.is_err_and(|e| e.is_handshake()));
}

#[tokio::test]
async fn rfc6455_4_1_subprotocols() {
    let offering = plain().subprotocol("chat.v2").subprotocol("chat.v1");
    let chosen = async |line: &str| {
        let ws = answered(&offering, &good(&[line])).await.expect(line);
        ws.subprotocol().map(str::to_owned)
    };
    assert_eq!(chosen("Sec-WebSocket-Protocol: chat.v1").await.as_deref(), Some("chat.v1"));
    assert_eq!(chosen("X: y").await, None, "a server may choose none");
    for bad in ["other", "chat", "CHAT.V1", "chat.v1, chat.v2", "", "\"chat.v1\""] {
        let line = format!("Sec-WebSocket-Protocol: {bad}");
        refused(&offering, &good(&[&line]), "not offered").await;
    }
    let one = "Sec-WebSocket-Protocol: chat.v1";
    refused(&offering, &good(&[one, one]), "once").await;
    refused(&plain(), &good(&[one]), "not offered").await;
}

#[tokio::test]
async fn rfc6455_4_1_extensions_that_were_not_offered() {
    let line = "Sec-WebSocket-Extensions: permessage-deflate";
    refused(&plain(), &good(&[line]), "not offered").await;
    let offering = plain().compression(DeflateConfig::default());
    for (bad, word) in [
        ("x-webkit-deflate-frame", "not offered"),
        ("permessage-deflate, x", "not offered"),
        ("permessage-deflate, permessage-deflate", "twice"),
        ("permessage-deflate;", "malformed"),
        ("", "malformed"),
    ] {
        let line = format!("Sec-WebSocket-Extensions: {bad}");
        refused(&offering, &good(&[&line]), word).await;
    }
}

#[tokio::test]
async fn rfc7692_7_1_parameters_of_the_answer() {
    let narrow = DeflateConfig {
        server_max_window_bits: 12,
        client_max_window_bits: 11,
        server_no_context_takeover: true,
        ..DeflateConfig::default()
    };
    let (any, narrow) =
        (plain().compression(DeflateConfig::default()), plain().compression(narrow));
    let line = |parameters: &str| {
        good(&[&format!("Sec-WebSocket-Extensions: permessage-deflate{parameters}")])
    };
    for good in [
        "",
        "; server_no_context_takeover; client_no_context_takeover",
        "; server_max_window_bits=8",
        "; server_max_window_bits=\"9\"; client_max_window_bits=15",
        "; client_max_window_bits=8",
    ] {
        let ws = answered(&any, &line(good)).await.expect(good);
        assert!(ws.compression().is_some(), "{good}");
    }
    for bad in [
        "; server_max_window_bits",
        "; server_max_window_bits=",
        "; server_max_window_bits=7",
        "; server_max_window_bits=16",
        "; server_max_window_bits=09",
        "; server_max_window_bits=1000",
        "; server_max_window_bits=10; server_max_window_bits=10",
        "; client_max_window_bits",
        "; client_max_window_bits=16",
        "; server_no_context_takeover=1",
        "; server_no_context_takeover; server_no_context_takeover",
        "; unknown",
    ] {
        let e = answered(&any, &line(bad)).await.expect_err(bad);
        assert!(e.is_handshake(), "{bad}: {e}");
    }
    let kept = "; server_no_context_takeover; server_max_window_bits=12";
    assert!(answered(&narrow, &line(kept)).await.is_ok());
    for broken in [
        "; server_no_context_takeover",
        "; server_max_window_bits=12",
        "; server_no_context_takeover; server_max_window_bits=13",
        "; server_no_context_takeover; server_max_window_bits=12; client_max_window_bits=12",
    ] {
        refused(&narrow, &line(broken), "permessage-deflate").await;
    }
}

#[tokio::test]
async fn an_answer_that_is_no_http() {
    for (answer, word) in [
        ("SSH-2.0-OpenSSH_9.9\r\n", "not HTTP"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "not HTTP"),
        ("\0\0\x12\x04\0\0\0\0\0", "not HTTP"),
        ("\x15\x03\x03\0\x02\x02\x46", "wss://"),
        ("\x16\x03\x01", "wss://"),
        ("\u{1}\u{1b}[31m", "not HTTP"),
        ("HTTP/2 101 x\r\n\r\n", "version"),
        ("HTTP/1.2 101 x\r\n\r\n", "version"),
        ("HTTP/1.1 1 x\r\n\r\n", "status line"),
        ("HTTP/1.1 0101 x\r\n\r\n", "status line"),
        ("HTTP/1.1 101 \u{1b}[2J\r\n\r\n", "status line"),
        ("HTTP/1.1 101 x\nUpgrade: websocket\n\n", "LF"),
        ("HTTP/1.1 101 x\r\nX: \u{1b}[2J\r\n\r\n", "control"),
        ("HTTP/1.1 101 x\r\nX : y\r\n\r\n", "whitespace"),
        ("HTTP/1.1 101 x\r\n folded\r\n\r\n", "folded"),
        ("\r\nHTTP/1.1 101 x\r\n\r\n", "empty line"),
    ] {
        refused(&plain(), answer, word).await;
    }
    refused(&plain(), &good(&[]).replace("HTTP/1.1", "HTTP/1.0"), "HTTP/1.0").await;
}

#[tokio::test]
async fn a_head_without_end() {
    refused(&plain(), &("HTTP/1.1 101 ".to_owned() + &"x".repeat(9000)), "too long").await;
    refused(&plain(), &("HTTP/1.1 101 x\r\n".to_owned() + &"X: y\r\n".repeat(100)), "many").await;
    let limits = HeadLimits { max_bytes: 20, ..HeadLimits::default() };
    refused(&plain().head_limits(limits), &good(&[]), "too long").await;
}

#[tokio::test]
async fn rfc9110_15_2_interim_answers_are_passed_over() {
    let hints = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    assert!(answered(&plain(), &(hints.to_owned() + &good(&[]))).await.is_ok());
    let e = answered(&plain(), &(hints.to_owned() + "HTTP/1.1 404 x\r\n\r\n")).await;
    let e = e.expect_err("a refusal");
    assert_eq!(e.http_response().map(provod::HttpResponse::status), Some(404));
    refused(&plain(), &"HTTP/1.1 102 x\r\n\r\n".repeat(100), "interim").await;
    refused(&plain(), hints, "ends").await;
}

#[tokio::test]
async fn frames_in_the_same_packet_as_the_101_are_delivered_wherever_it_is_cut() {
    let frames = b"\x81\x02Hi\x82\x03abc\x88\x02\x03\xe8";
    let length = {
        let (near, mut server) = Scripted::pipe();
        let client = plain();
        let served = async {
            let request = server.request().await;
            filled(&request, &good(&[])).len() + frames.len()
        };
        tokio::select! { _ = client.connect_over(near) => 0, n = served => n }
    };
    assert!(length > frames.len());
    for cut in 0..=length {
        let (near, mut server) = Scripted::pipe();
        let client = plain();
        let served = async {
            let request = server.request().await;
            let mut bytes = filled(&request, &good(&[])).into_bytes();
            bytes.extend_from_slice(frames);
            server.send(&bytes[..cut]).await;
            // The client takes what there is before it gets the rest.
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
            server.send(&bytes[cut..]).await;
            server
        };
        let (ws, _server) = soon(async { tokio::join!(client.connect_over(near), served) }).await;
        let mut ws = ws.unwrap_or_else(|e| panic!("cut at {cut}: {e}"));
        assert_eq!(soon(ws.recv()).await.unwrap(), Some("Hi".into()), "cut at {cut}");
        let second = soon(ws.recv()).await.unwrap().unwrap();
        assert_eq!(second.as_bytes(), b"abc", "cut at {cut}");
        assert_eq!(soon(ws.recv()).await.unwrap(), None, "cut at {cut}");
    }
}

#[tokio::test]
async fn a_server_that_hangs_up_at_any_byte_of_its_answer() {
    let whole = filled("GET\r\nSec-WebSocket-Key: x", &good(&[]));
    for cut in 0..whole.len() {
        let (near, mut server) = Scripted::pipe();
        let client = plain();
        let served = async move {
            let request = server.request().await;
            server.send(&filled(&request, &good(&[])).as_bytes()[..cut]).await;
        };
        let (ws, ()) = soon(async { tokio::join!(client.connect_over(near), served) }).await;
        let e = ws.expect_err("half an answer");
        assert_eq!((e.is_lost(), e.is_handshake()), (cut == 0, cut > 0), "cut at {cut}: {e}");
    }
}

#[tokio::test]
async fn a_server_that_resets_the_connection() {
    let address = listen(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 101 x\r\n").await.expect("it is taken");
        // A socket that is closed with input unread is reset.
        stream.readable().await.expect("a request");
    })
    .await;
    let e = soon(provod::connect(format!("ws://{address}/"))).await.expect_err("a reset");
    assert!(e.is_lost(), "{e}");
}

#[tokio::test(start_paused = true)]
async fn silence_and_a_slow_drip_end_at_the_deadline_of_the_whole_step() {
    let client = plain().handshake_timeout(Duration::from_secs(7));
    let begun = tokio::time::Instant::now();
    let (near, _silent) = Scripted::pipe();
    let e = client.connect_over(near).await.expect_err("silence");
    assert!(e.is_timeout() && e.to_string().contains("7s"), "{e}");
    assert_eq!(begun.elapsed().as_secs(), 7);

    let begun = tokio::time::Instant::now();
    let (near, mut far) = tokio::io::duplex(1024);
    let drip = async {
        far.write_all(b"HTTP/1.1 101 ").await.expect("it is taken");
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            far.write_all(b"x").await.expect("it is taken");
        }
    };
    let e = tokio::select! {
        ws = client.connect_over(near) => ws.expect_err("a drip"),
        () = drip => panic!("it has no end"),
    };
    assert!(e.is_timeout(), "{e}");
    assert_eq!(begun.elapsed().as_secs(), 7);
}

#[tokio::test]
async fn a_server_that_answers_before_it_has_read_the_request() {
    // The pipe holds less than the request, and nobody reads it.
    let (near, mut far) = tokio::io::duplex(64);
    let client = plain().header("Cookie", "x".repeat(1000));
    let served = async {
        far.write_all(b"HTTP/1.1 431 x\r\nContent-Length: 3\r\n\r\nbig").await.unwrap();
    };
    let (ws, ()) = soon(async { tokio::join!(client.connect_over(near), served) }).await;
    let e = ws.expect_err("a refusal");
    assert_eq!(e.http_response().map(provod::HttpResponse::body), Some(&b"big"[..]), "{e}");
}

#[tokio::test]
async fn a_server_that_opens_before_it_has_read_the_request_still_gets_all_of_it() {
    let (near, mut far) = tokio::io::duplex(64);
    let client = plain().header("Cookie", "x".repeat(1000));
    let served = async {
        let mut got = String::new();
        while !got.contains("Sec-WebSocket-Version") {
            got.push(char::from(far.read_u8().await.expect("a request")));
        }
        // The pipe is full again, so this is read while the request still waits.
        far.write_all(filled(&got, &good(&[])).as_bytes()).await.expect("it is taken");
        while !got.ends_with("\r\n\r\n") {
            got.push(char::from(far.read_u8().await.expect("the rest")));
        }
        (far, got)
    };
    let (ws, (mut far, got)) =
        soon(async { tokio::join!(client.connect_over(near), served) }).await;
    let ws = ws.expect("it opens");
    assert!(got.contains(&"x".repeat(1000)), "{got}");
    ws.send("Hi").await.expect("it is queued");
    assert_eq!(soon(far.read_u16()).await.expect("a frame"), 0x8182);
}
