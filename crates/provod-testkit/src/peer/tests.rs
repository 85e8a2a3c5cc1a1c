use std::io::ErrorKind;
use std::panic::AssertUnwindSafe;

use super::*;
use crate::emulator::{Control, Faults, duplex};

/// A client and a server, open, over a stream in the smallest pieces.
async fn open() -> (Peer, Peer) {
    let bytewise = || Faults::none().split(1..=1);
    let (a, b) = duplex(bytewise(), bytewise());
    let (mut client, mut server) = (Peer::client(a), Peer::server(b));
    let serve = async {
        let request = server.request().await;
        server.accept(&request, &["Sec-WebSocket-Protocol: chat"]).await;
    };
    let (answer, ()) =
        tokio::join!(client.upgrade("/", &["Sec-WebSocket-Protocol: chat, other"]), serve);
    assert_eq!(answer.header("sec-websocket-protocol"), Some("chat"));
    (client, server)
}

/// What the step says as it fails.
async fn failure<T>(step: impl Future<Output = T>) -> String {
    let mut step = Box::pin(step);
    let result = std::future::poll_fn(|cx| {
        let poll = std::panic::catch_unwind(AssertUnwindSafe(|| step.as_mut().poll(cx)));
        match poll {
            Ok(std::task::Poll::Pending) => std::task::Poll::Pending,
            Ok(std::task::Poll::Ready(_)) => std::task::Poll::Ready(None),
            Err(panic) => std::task::Poll::Ready(panic.downcast::<String>().ok()),
        }
    });
    *result.await.expect("the step fails and says why")
}

#[tokio::test]
async fn either_end_can_be_played() {
    let (mut client, mut server) = open().await;
    client.send(text("Привет")).await;
    server.expect_text("Привет").await;
    server.send([ping("1"), binary([0xFF; 300]), ping("2")]).await;
    client.expect(ping("1")).await;
    client.expect(binary([0xFF; 300])).await;
    assert_eq!(client.frame().await.map(|f| f.opcode), Some(9));
    client.send(pong("2")).await;
    server.expect(pong("2")).await;
    let (bye, reason) = tokio::join!(client.bye(), async {
        let reason = server.expect_close(1000).await;
        server.send(close(1000)).await;
        server.finish().await;
        server.expect_end().await;
        reason
    });
    assert_eq!((bye, &*reason), ((), ""));
}

#[tokio::test]
async fn a_server_says_goodbye_and_hangs_up() {
    let (mut client, server) = open().await;
    tokio::join!(server.bye(), async {
        assert_eq!(client.expect_close(1000).await, "");
        client.send(close(1000)).await;
        client.expect_end().await;
        drop(client);
    });
}

#[tokio::test]
async fn a_message_is_put_together_from_its_fragments() {
    let (mut client, mut server) = open().await;
    client.send([raw(1, "Hel").fin(false), ping("x"), raw(0, "").fin(false), raw(0, "lo")]).await;
    let message = server.message().await;
    assert_eq!(message.text(), "Hello");
    client.send([raw(1, "Hel").fin(false), raw(1, "lo")]).await;
    assert!(failure(server.message()).await.contains("a frame out of place"));
}

#[tokio::test]
async fn rfc6455_5_1_who_masks_is_checked_both_ways() {
    let (mut client, mut server) = open().await;
    client.send(text("x").to_bytes()).await;
    assert!(failure(server.frame()).await.contains("a client masks"));
    server.send(text("x").masked(MASK)).await;
    assert!(failure(client.frame()).await.contains("a server does not"));
}

#[tokio::test]
async fn rfc6455_5_2_reserved_bits_and_long_lengths_are_seen() {
    let (mut client, mut server) = open().await;
    server.send(b"\x82\x7e\x00\x05hello").await;
    assert!(failure(client.frame()).await.contains("not minimal"));
    let mut reserved = text("x");
    reserved.rsv[2] = true;
    client.send(reserved).await;
    assert!(failure(server.frame()).await.contains("RSV2 and RSV3"));
}

#[tokio::test]
async fn a_failure_names_the_line_of_the_test_and_what_came_instead() {
    let (mut client, mut server) = open().await;
    server.send(text("other")).await;
    let line = line!() + 1;
    let failure = failure(client.expect_text("this")).await;
    assert!(failure.contains(&format!("{}:{line}", file!())), "{failure}");
    assert!(failure.contains("b\"other\"") && failure.contains("b\"this\""), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn silence_is_a_failure_after_thirty_seconds_or_as_long_as_was_said() {
    let (mut client, server) = open().await;
    let started = tokio::time::Instant::now();
    let what = failure(client.expect_end()).await;
    assert!(what.contains("nothing happened for 30s") && what.contains(file!()), "{what}");
    assert_eq!(started.elapsed(), Duration::from_secs(30));
    let mut server = server.patience(Duration::from_secs(90));
    assert!(failure(server.byte()).await.contains("90s"));
    assert_eq!(started.elapsed(), Duration::from_secs(120));
}

#[tokio::test]
async fn an_end_inside_a_frame_and_a_break_are_no_orderly_ends() {
    let (mut client, mut server) = open().await;
    client.send(&text("hello").masked(MASK).to_bytes()[..5]).await;
    client.finish().await;
    assert!(failure(server.expect_end()).await.contains("ends inside a frame"));

    let (a, b) = duplex(Faults::none(), Faults::none());
    let control: Control = a.control();
    let mut server = Peer::server(b);
    control.cut(ErrorKind::ConnectionReset);
    assert!(failure(server.expect_end()).await.contains("must end with FIN"));
    assert!(!server.try_send("x").await);
    server.gone().await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_nothing_is_felt() {
    let (a, b) = duplex(Faults::none().capacity(10), Faults::none());
    let mut peer = Peer::client(a);
    assert_eq!(peer.try_send_for([0; 11], Duration::from_secs(1)).await, None);
    drop(b);
    assert_eq!(peer.try_send_for("x", Duration::from_secs(1)).await, Some(false));
}

#[tokio::test]
async fn an_answer_of_http_comes_with_its_body() {
    let (a, b) = duplex(Faults::none().split(1..=3), Faults::none());
    let (mut client, mut server) = (Peer::client(b), Peer::server(a));
    server.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\nX: y\r\n\r\nsorry\x81\x00").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, &*answer.body, answer.header("x")), (404, "sorry", Some("y")));
    client.expect_text("").await;
}

#[tokio::test]
async fn a_bad_request_is_not_accepted_and_a_wrong_accept_key_is_seen() {
    let (a, b) = duplex(Faults::none(), Faults::none());
    let (mut client, mut server) = (Peer::client(a), Peer::server(b));
    client.send(request("/", &[]).replace("13", "8")).await;
    let request = server.request().await;
    assert_eq!(request.header_str("sec-websocket-version"), Some("8"));
    assert!(failure(async { server.accept(&request, &[]).await }).await.contains("not a good"));
    server.send("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: wrong\r\n\r\n").await;
    assert!(failure(client.upgrade("/", &[])).await.contains("wrong"));
}

#[tokio::test]
async fn a_listener_gives_its_clients_out_one_by_one() {
    let listener = Listener::bind().await;
    assert_eq!(listener.url(), format!("ws://127.0.0.1:{}", listener.address().port()));
    let (mut client, mut server) = tokio::join!(Peer::open(listener.address()), listener.open());
    client.send(text("hi")).await;
    server.expect_text("hi").await;
    let (mut narrow, mut server) =
        tokio::join!(Peer::connect_narrow(listener.address()), listener.accept());
    narrow.send("x").await;
    assert_eq!(server.byte().await, Some(b'x'));
    narrow.finish().await;
    assert_eq!(server.byte().await, None);
}
