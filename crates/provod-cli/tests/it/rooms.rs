//! `provod serve`: every path is a room.

use crate::peer::{Peer, binary, close, request, text};
use crate::process::Provod;

#[tokio::test]
async fn what_one_says_reaches_all_in_the_room_and_nobody_else() {
    let server = Provod::serve(&[]);
    let (mut anna, mut boris) = (server.join("/chat").await, server.join("/chat").await);
    let mut other = server.join("/other").await;
    server.until_counter("open", |n| n == 3).await;
    anna.send([text("Привет"), binary(b"\0\xff")].concat()).await;
    for member in [&mut anna, &mut boris] {
        member.expect_text("Привет").await;
        let frame = member.frame().await.unwrap();
        assert_eq!((frame.opcode, frame.payload.as_slice()), (2, &b"\0\xff"[..]));
    }
    boris.send(text("hello")).await;
    anna.expect_text("hello").await;
    boris.expect_text("hello").await;
    // What this room says is the first thing its member hears.
    other.send(text("alone")).await;
    other.expect_text("alone").await;
    anna.bye().await;
    boris.send(text("still here")).await;
    boris.expect_text("still here").await;
}

#[tokio::test]
async fn everybody_hears_everything_in_the_same_order() {
    let server = Provod::serve(&["--workers=2"]);
    let mut members = Vec::new();
    for _ in 0..4 {
        members.push(server.join("/race").await);
    }
    server.until_counter("open", |n| n == 4).await;
    for (m, member) in members.iter_mut().enumerate() {
        let said: Vec<u8> = (0..200).flat_map(|n| text(&format!("{m} {n}"))).collect();
        member.send(said).await;
    }
    let mut heard = Vec::new();
    for member in &mut members {
        let mut all = Vec::new();
        for _ in 0..4 * 200 {
            all.push(member.frame().await.unwrap().text().to_owned());
        }
        heard.push(all);
    }
    assert!(heard.iter().all(|all| *all == heard[0]), "the order differs");
    for m in 0..4 {
        let own = heard[0].iter().filter(|line| line.starts_with(&format!("{m} ")));
        assert!(own.enumerate().all(|(n, line)| *line == format!("{m} {n}")));
    }
}

#[tokio::test]
async fn echo_0_leaves_the_sender_out() {
    let server = Provod::serve(&[]);
    let (mut quiet, mut other) = (server.join("/r?a=b&echo=0").await, server.join("/r").await);
    server.until_counter("open", |n| n == 2).await;
    quiet.send(text("from quiet")).await;
    other.expect_text("from quiet").await;
    other.send(text("from other")).await;
    quiet.expect_text("from other").await;
    other.expect_text("from other").await;
}

#[tokio::test]
async fn names_are_percent_decoded_once() {
    let server = Provod::serve(&[]);
    for (one, same) in [
        ("/%D0%BC%D0%B8%D1%80", "/%d0%bc%d0%b8%d1%80"),
        ("/a%2Fb", "/a/b"),
        ("/", "/?x=y"),
        ("/%63hat", "/chat"),
    ] {
        let (mut a, mut b) = (server.join(one).await, server.join(same).await);
        server.until_counter("open", |n| n == 2).await;
        a.send(text(one)).await;
        b.expect_text(one).await;
        a.expect_text(one).await;
        a.bye().await;
        b.bye().await;
        server.until_counter("open", |n| n == 0).await;
    }
    let (mut once, mut twice) = (server.join("/%2561").await, server.join("/a").await);
    once.send(text("once")).await;
    once.expect_text("once").await;
    twice.send(text("twice")).await;
    twice.expect_text("twice").await;
}

async fn refused(server: &Provod, target: &str, status: u16) {
    let mut peer = Peer::connect(server.address).await;
    peer.send(request(target, &[])).await;
    let answer = peer.answer().await;
    assert_eq!(answer.status, status, "{target}: {answer:?}");
    assert!(answer.body.len() > 10, "{answer:?}");
    peer.expect_end().await;
}

#[tokio::test]
async fn names_are_bounded_and_the_servers_own_paths_are_no_rooms() {
    let server = Provod::serve(&[]);
    server.join(&format!("/{}", "a".repeat(256))).await.bye().await;
    server.join(&format!("/{}", "%61".repeat(256))).await.bye().await;
    refused(&server, &format!("/{}", "a".repeat(257)), 400).await;
    refused(&server, &format!("/{}", "%d0%bc".repeat(129)), 400).await;
    refused(&server, "/%ff", 400).await;
    for own in ["/_provod", "/_provod/", "/_provod/health", "/_provod/x", "/%5Fprovod/x"] {
        refused(&server, own, 404).await;
    }
    server.join("/_provodx").await.bye().await;
    server.join("/x/_provod/").await.bye().await;
}

#[tokio::test]
async fn a_slow_member_is_closed_with_1013_and_the_others_hear_all() {
    let server = Provod::serve(&["--close-timeout=60s"]);
    let mut slow = Peer::connect_narrow(server.address).await;
    slow.upgrade("/busy", &[]).await;
    let (mut fast, mut speaker) = (server.join("/busy").await, server.join("/busy?echo=0").await);
    server.until_counter("open", |n| n == 3).await;
    // More than the sockets' buffers and the hard limit of the queue together.
    for n in 0..200u8 {
        speaker.send(binary(&[n; 100_000])).await;
        assert!(fast.message().await.payload == [n; 100_000]);
    }
    assert!(server.counter("messages_dropped").await > 0);
    // The slow one gets what was queued for it, whole and in order, and then hears why there is no
    // more.
    let mut heard = 0;
    loop {
        let frame = slow.frame().await.expect("the Close comes first");
        if frame.opcode == 8 {
            assert_eq!(frame.payload[..2], 1013u16.to_be_bytes());
            break;
        }
        assert!(frame.payload == [heard; 100_000]);
        heard += 1;
    }
    assert!((1..200).contains(&heard));
    slow.send(close(1013)).await;
    slow.expect_end().await;
    speaker.send(text("on we go")).await;
    fast.expect_text("on we go").await;
}

#[tokio::test]
async fn a_member_that_breaks_the_protocol_harms_nobody() {
    let server = Provod::serve(&[]);
    let (mut bad, mut good) = (server.join("/r").await, server.join("/r").await);
    server.until_counter("open", |n| n == 2).await;
    bad.send([text("good"), vec![0xFF; 1000]].concat()).await;
    bad.expect_text("good").await;
    bad.expect_close(1002).await;
    bad.expect_end().await;
    good.expect_text("good").await;
    good.send(text("fine")).await;
    good.expect_text("fine").await;
}

#[tokio::test]
async fn listen_echoes_as_it_came() {
    let server = Provod::start("listen", &[]);
    let mut peer = server.join("/any/path?x").await;
    peer.send([text("Привет"), binary(b"\0"), text("")].concat()).await;
    peer.expect_text("Привет").await;
    assert_eq!(peer.frame().await.unwrap().opcode, 2);
    peer.expect_text("").await;
    peer.bye().await;
}
