//! Groups: one message to many, and those who do not keep up.

use std::sync::Arc;
use std::time::Duration;

use provod::config::DeflateConfig;
use provod::group::{Published, SlowPolicy};
use provod::message::MessageKind;
use provod::proto::deflate::Pool;
use provod::proto::raw::RawFrame;
use provod::proto::{self, DeflateSetup, Event, MaskSource, Payload, Role, Timestamp};
use provod::{CloseCode, Config, Group, Prepared, Server};
use provod_testkit::peer::Frame;
use tokio::io::AsyncWriteExt as _;

use crate::peer::{close, soon, until};
use crate::servers::{hall, hall_with, patient};

/// More than the system's buffers between two sockets hold.
const STOPPER: usize = 16 << 20;

fn all(queued: usize) -> Published {
    let mut published = Published::default();
    published.queued = queued;
    published
}

/// A message of `len` bytes that says which one it is.
fn numbered(n: u32, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    bytes
}

fn number(frame: &Frame) -> u32 {
    u32::from_be_bytes(*frame.payload.first_chunk().expect("a numbered message"))
}

#[tokio::test]
async fn everybody_hears_the_group_and_everybody_else_a_member() {
    let mut hall = hall_with(Config::default()).await;
    let group = Group::new();
    assert_eq!(group.publish("to nobody"), all(0));
    let (mut anna, a) = hall.enter().await;
    let (mut boris, b) = hall.enter().await;
    let first = group.join(&a.sender(), SlowPolicy::Close);
    let second = group.join(&b.sender(), SlowPolicy::Latest);
    assert_eq!((group.len(), group.is_empty()), (2, false));
    assert_eq!(group.publish("all"), all(2));
    assert_eq!(first.publish("others"), all(1));
    assert_eq!(second.publish(vec![7]), all(1));
    anna.expect_text("all").await;
    assert_eq!(soon(anna.frame()).await.unwrap().payload, [7]);
    boris.expect_text("all").await;
    // What is queued before the Latest one had left whole may be displaced; this one is the newest.
    boris.expect_text("others").await;
    drop(first);
    assert_eq!((group.len(), second.group().publish("after")), (1, all(1)));
    boris.expect_text("after").await;
    a.send("not in the group").await.unwrap();
    anna.expect_text("not in the group").await;
}

#[tokio::test]
async fn ended_connections_leave_though_nobody_publishes() {
    let mut hall = hall_with(patient()).await;
    let group = Group::new();
    let (peer, mut closed) = hall.enter().await;
    let (reset, lost) = hall.enter().await;
    let (_kept, dropped) = hall.enter().await;
    let members = [&closed, &lost, &dropped].map(|ws| group.join(&ws.sender(), SlowPolicy::Close));
    assert_eq!(group.len(), 3);
    drop(reset);
    until(|| group.len() == 2).await;
    let told = tokio::spawn(async move { closed.recv().await.map(|m| m.is_none()) });
    peer.bye().await;
    assert!(soon(told).await.unwrap().unwrap());
    until(|| group.len() == 1).await;
    hall.running.drain(provod::server::Drain::default()).await;
    until(|| group.is_empty()).await;
    // One that has ended does not get in.
    let late = group.join(&dropped.sender(), SlowPolicy::Close);
    assert!(group.is_empty());
    drop((members, late));
    assert!(group.is_empty());
}

#[tokio::test]
async fn a_closing_connection_is_skipped() {
    let mut hall = hall_with(patient()).await;
    let group = Group::new();
    let (mut peer, ws) = hall.enter().await;
    let (mut other, o) = hall.enter().await;
    let _members = [&ws, &o].map(|ws| group.join(&ws.sender(), SlowPolicy::Close));
    ws.sender().close(CloseCode::NORMAL, "").unwrap();
    assert_eq!(group.publish("late"), all(1));
    peer.expect_close(1000).await;
    other.expect_text("late").await;
}

#[tokio::test]
async fn close_ends_a_slow_member_with_1013_and_harms_nobody_else() {
    let mut hall = hall_with(patient()).await;
    let group = Group::new();
    let (mut slow, s) = hall.enter_slow().await;
    let (mut fast, f) = hall.enter().await;
    let _members = [&s, &f].map(|ws| group.join(&ws.sender(), SlowPolicy::Close));
    let mut closed = 0;
    for n in 0..200 {
        let published = group.publish(numbered(n, 100_000));
        closed += published.closed;
        assert_eq!(published.queued, if closed == 0 { 2 } else { 1 });
        assert_eq!(number(&fast.message().await), n);
        assert!(s.buffered_amount() <= (1 << 20) + 101_000, "{}", s.buffered_amount());
    }
    assert_eq!((closed, group.len()), (1, 1));
    // No gap: what was queued comes whole and in order, and then the reason why there is no more.
    let mut heard = 0;
    let code = loop {
        let frame = soon(slow.frame()).await.expect("the Close comes first");
        if frame.opcode == 8 {
            break frame.payload[..2].to_vec();
        }
        assert_eq!(number(&frame), heard);
        heard += 1;
    };
    assert_eq!(code, 1013u16.to_be_bytes());
    assert!((10..200).contains(&heard));
    slow.send(close(1013)).await;
    slow.expect_end().await;
}

#[tokio::test]
async fn drop_newest_leaves_out_what_finds_no_room() {
    let mut hall = hall_with(Config::default()).await;
    let group = Group::new();
    let (mut slow, s) = hall.enter_slow().await;
    let (mut fast, f) = hall.enter().await;
    let _members = [&s, &f].map(|ws| group.join(&ws.sender(), SlowPolicy::DropNewest));
    let mut queued = Vec::new();
    for n in 0..200 {
        let published = group.publish(numbered(n, 100_000));
        assert_eq!((published.queued + published.dropped, published.closed), (2, 0));
        if published.queued == 2 {
            queued.push(n);
        }
        assert_eq!(number(&fast.message().await), n);
        assert!(s.buffered_amount() <= (1 << 20) + 101_000, "{}", s.buffered_amount());
    }
    assert!((10..200).contains(&queued.len()), "{}", queued.len());
    assert_eq!(hall.running.stats().messages_dropped, 200 - queued.len() as u64);
    for n in queued {
        assert_eq!(number(&slow.message().await), n);
    }
    group.publish(numbered(1000, 4));
    assert_eq!(number(&slow.message().await), 1000);
}

#[tokio::test]
async fn a_conversation_has_no_gap_behind_a_streamed_message() {
    for policy in [SlowPolicy::Close, SlowPolicy::DropNewest] {
        let mut config = Config::default();
        config.hard_limit = 10_000;
        let mut hall = hall_with(config).await;
        let group = Group::new();
        let (mut peer, ws) = hall.enter().await;
        let _member = group.join(&ws.sender(), policy);
        let mut writer = ws.send_writer(MessageKind::Binary).await.unwrap();
        soon(writer.write_all(b"begun")).await.unwrap();
        soon(writer.flush()).await.unwrap();
        assert!(!peer.frame().await.unwrap().fin);
        // They wait for the end of the streamed one, and their bound is the hard limit and one
        // message.
        assert_eq!(group.publish(numbered(1, 6000)), all(1));
        assert_eq!(group.publish(numbered(2, 6000)), all(1), "nothing is displaced");
        if policy == SlowPolicy::DropNewest {
            assert_eq!(group.publish(numbered(3, 6000)).dropped, 1);
        }
        soon(writer.finish()).await.unwrap();
        assert!(peer.frame().await.unwrap().fin);
        assert_eq!(number(&peer.message().await), 1);
        assert_eq!(number(&peer.message().await), 2);
    }
}

#[tokio::test]
async fn a_message_that_is_large_by_itself_makes_nobody_slow() {
    for policy in [SlowPolicy::Close, SlowPolicy::DropNewest] {
        let mut config = Config::default();
        config.hard_limit = 100_000;
        let mut hall = hall_with(config).await;
        let group = Group::new();
        let (mut slow, ws) = hall.enter_slow().await;
        let _member = group.join(&ws.sender(), policy);
        assert_eq!(group.publish(vec![7; STOPPER]).queued, 1);
        // What waits behind it may reach the limit, and no more.
        let mut queued = 0;
        while group.publish(numbered(queued, 5000)).queued == 1 {
            queued += 1;
        }
        assert!((18..=21).contains(&queued), "{queued}");
        assert_eq!(slow.message().await.payload.len(), STOPPER);
        for n in 0..queued {
            assert_eq!(number(&slow.message().await), n);
        }
        if policy == SlowPolicy::DropNewest {
            // It has left: from now on it excuses nothing.
            until(|| ws.buffered_amount() == 0).await;
            assert_eq!(group.publish(numbered(queued, 5000)), all(1));
            assert_eq!(number(&slow.message().await), queued);
        }
    }
}

#[tokio::test]
async fn drop_oldest_keeps_the_newest_in_order() {
    let mut hall = hall_with(Config::default()).await;
    let group = Group::new();
    let (mut slow, s) = hall.enter_slow().await;
    let (mut fast, f) = hall.enter().await;
    let _members = [&s, &f].map(|ws| group.join(&ws.sender(), SlowPolicy::DropOldest));
    let mut dropped = 0;
    for n in 0..200 {
        let published = group.publish(numbered(n, 100_000));
        assert_eq!((published.queued, published.closed), (2, 0));
        dropped += published.dropped;
        assert_eq!(number(&fast.message().await), n);
        // The send queue up to its high-water mark, and a backlog up to the hard limit.
        assert!(s.buffered_amount() <= (1 << 20) + (64 << 10) + 101_000);
    }
    assert!(dropped > 0);
    let mut heard = Vec::new();
    while heard.last() != Some(&199) {
        heard.push(number(&slow.message().await));
    }
    assert_eq!(heard.len(), 200 - dropped, "each message is heard or counted");
    assert!(heard.is_sorted());
    // The beginning was on its way already, the end waited; between them the system may have taken
    // a few more, whenever it made its buffers larger.
    let gaps = heard.windows(2).filter(|w| w[1] != w[0] + 1).count();
    assert!((1..10).contains(&gaps), "{heard:?}");
    assert!(heard.ends_with(&[191, 192, 193, 194, 195, 196, 197, 198, 199]));
}

#[tokio::test]
async fn latest_keeps_one_message_while_the_last_has_not_left() {
    let mut config = Config::default();
    // There is always room: what counts is whether the last message has left whole.
    (config.high_water, config.hard_limit) = (2 * STOPPER, 2 * STOPPER);
    let mut hall = hall_with(config).await;
    let group = Group::new();
    let (mut slow, s) = hall.enter_slow().await;
    let (mut fast, f) = hall.enter().await;
    let _slow = group.join(&s.sender(), SlowPolicy::Latest);
    let _fast = group.join(&f.sender(), SlowPolicy::Close);
    group.publish(vec![7; STOPPER]);
    assert_eq!(fast.message().await.payload.len(), STOPPER);
    for n in 0..1000 {
        let published = group.publish(numbered(n, 20));
        assert_eq!((published.queued, published.dropped), (2, usize::from(n > 0)));
        assert_eq!(number(&fast.message().await), n);
        assert!(s.buffered_amount() <= STOPPER + 100);
    }
    assert_eq!(slow.message().await.payload.len(), STOPPER);
    assert_eq!(number(&slow.message().await), 999);
    // With nothing unsent, each one leaves at once.
    for n in 2000..2010 {
        until(|| s.buffered_amount() == 0).await;
        assert_eq!(group.publish(numbered(n, 20)), all(2));
        assert_eq!(number(&slow.message().await), n);
    }
}

#[tokio::test]
async fn latest_waits_behind_what_others_send_and_stays_the_newest() {
    let mut hall = hall_with(Config::default()).await;
    let group = Group::new();
    let (mut slow, s) = hall.enter_slow().await;
    let _member = group.join(&s.sender(), SlowPolicy::Latest);
    s.send(vec![7; STOPPER]).await.unwrap();
    for n in 0..1000 {
        group.publish(numbered(n, 20));
    }
    slow.message().await;
    assert_eq!(number(&slow.message().await), 999);
}

#[tokio::test]
async fn a_connection_is_in_several_groups_each_with_its_policy() {
    let mut hall = hall_with(Config::default()).await;
    let (positions, log) = (Group::new(), Group::new());
    let (mut slow, s) = hall.enter_slow().await;
    let _latest = positions.join(&s.sender(), SlowPolicy::Latest);
    let _oldest = log.join(&s.sender(), SlowPolicy::DropOldest);
    s.send(vec![7; STOPPER]).await.unwrap();
    let both = Prepared::from("both");
    for n in 0..100 {
        positions.publish(numbered(n, 20));
        log.publish(numbered(1000 + n, 20));
    }
    positions.publish(&both);
    log.publish(both);
    slow.message().await;
    let mut heard = Vec::new();
    for _ in 0..102 {
        heard.push(slow.message().await);
    }
    let (texts, numbers): (Vec<_>, Vec<_>) = heard.into_iter().partition(|frame| frame.opcode == 1);
    assert_eq!(texts.len(), 2);
    assert!(numbers.iter().map(number).eq(1000..1100));
}

#[tokio::test]
async fn what_waits_leaves_before_a_close() {
    let mut hall = hall_with(patient()).await;
    let group = Group::new();
    let (mut slow, s) = hall.enter_slow().await;
    let _oldest = group.join(&s.sender(), SlowPolicy::DropOldest);
    let _latest = group.join(&s.sender(), SlowPolicy::Latest);
    s.send(vec![7; STOPPER]).await.unwrap();
    group.publish(numbered(1, 20));
    s.sender().close(CloseCode::NORMAL, "").unwrap();
    slow.message().await;
    for _ in 0..2 {
        assert_eq!(number(&slow.message().await), 1);
    }
    slow.expect_close(1000).await;
}

#[tokio::test]
async fn leaving_gives_up_what_waits_and_so_does_the_end() {
    let mut hall = hall_with(Config::default()).await;
    let group = Group::new();
    let (mut slow, s) = hall.enter_slow().await;
    let member = group.join(&s.sender(), SlowPolicy::DropOldest);
    s.send(vec![7; STOPPER]).await.unwrap();
    group.publish(vec![1; 500_000]);
    let before = s.buffered_amount();
    drop(member);
    assert_eq!(s.buffered_amount(), before - 500_000);
    let _member = group.join(&s.sender(), SlowPolicy::DropOldest);
    group.publish("after");
    slow.message().await;
    slow.expect_text("after").await;
    s.send(vec![7; STOPPER]).await.unwrap();
    let message = Prepared::from(vec![1; 500_000]);
    group.publish(&message);
    drop(slow);
    soon(s.sender().closed()).await;
    until(|| group.is_empty()).await;
    assert_eq!(s.buffered_amount(), 0);
}

#[tokio::test]
async fn a_group_and_those_who_wait_to_send_take_turns() {
    let mut config = Config::default();
    // Each message fills the queue.
    config.high_water = 1;
    let mut hall = hall_with(config).await;
    let group = Group::new();
    let (mut slow, s) = hall.enter_slow().await;
    let _member = group.join(&s.sender(), SlowPolicy::DropOldest);
    s.send(vec![7; STOPPER]).await.unwrap();
    let sender = s.sender();
    let sending = tokio::spawn(async move {
        for n in 0..50 {
            sender.send(numbered(1000 + n, 50_000)).await.unwrap();
        }
    });
    let publish = || (0..10).for_each(|n| assert_eq!(group.publish(numbered(n, 50_000)).queued, 1));
    publish();
    slow.message().await;
    let (mut sent, mut heard) = (0, 0);
    let mut order = String::new();
    while sent < 50 {
        let n = number(&slow.message().await);
        order.push(if n >= 1000 { 's' } else { 'g' });
        if n >= 1000 {
            assert_eq!(n, 1000 + sent);
            sent += 1;
            // The line never runs empty.
            publish();
        } else {
            heard += 1;
        }
        assert!(heard <= 3 * (sent + 10), "the sender starves: {sent}, {heard}");
    }
    soon(sending).await.unwrap();
    // Both had something to send from the beginning.
    assert!(order.starts_with("gsgsgsgsgsgsgsgsgsgs"), "{order}");
}

struct NoMask;

impl MaskSource for NoMask {
    fn next_key(&mut self) -> [u8; 4] {
        [0; 4]
    }
}

/// What a client that agreed to compression makes of a frame.
fn inflate(frame: &Frame) -> Vec<u8> {
    let params = proto::handshake::DeflateParams {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        server_max_window_bits: 15,
        client_max_window_bits: 15,
    };
    let setup = DeflateSetup { params, compress: true, pool: Pool::default() };
    let now = Timestamp::default();
    let role = Role::Client(Box::new(NoMask));
    let mut client = proto::Connection::new(role, Arc::default(), Some(setup), now);
    let raw = RawFrame::new(frame.opcode, frame.payload.clone()).rsv1(frame.rsv1);
    let mut input = raw.to_bytes();
    let mut at = 0;
    loop {
        let progress = client.handle_input(&mut input[at..], now).expect("a legal frame");
        match progress.event {
            Some(Event::Message { payload: Payload::Owned(bytes), .. }) => return bytes.to_vec(),
            Some(Event::Message { payload: Payload::Located(range), .. }) => {
                return input[at..][range].to_vec();
            }
            _ => at += progress.consumed,
        }
    }
}

#[tokio::test]
async fn members_with_and_without_compression_hear_the_same() {
    let deflate = DeflateConfig {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        ..DeflateConfig::default()
    };
    let mut hall = hall(Server::new().compression(deflate)).await;
    let group = Group::new();
    let offer = "Sec-WebSocket-Extensions: permessage-deflate";
    let small = format!("{offer}; server_max_window_bits=10");
    let (mut plain, p) = hall.enter().await;
    let (mut wide, w) = hall.enter_with(&[offer]).await;
    let (mut narrow, n) = hall.enter_with(&[&small]).await;
    let _members = [&p, &w, &n].map(|ws| group.join(&ws.sender(), SlowPolicy::Close));
    let long: Vec<u8> = (0..50_000u32).flat_map(|n| [(n >> 8) as u8, 7]).collect();
    for message in [b"short".to_vec(), long] {
        let compressed = message.len() > 1024;
        assert_eq!(group.publish(message.clone()).queued, 3);
        assert!(plain.message().await.payload == message);
        for peer in [&mut wide, &mut narrow] {
            let frame = peer.message().await;
            assert_eq!(frame.rsv1, compressed);
            assert_eq!(frame.payload.len() < message.len(), compressed);
            assert!(inflate(&frame) == message);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_publishers_are_heard_in_one_order() {
    let mut config = Config::default();
    config.hard_limit = 64 << 20;
    let mut hall = hall_with(config).await;
    let group = Group::new();
    let mut members = Vec::new();
    for policy in [SlowPolicy::Close, SlowPolicy::DropNewest, SlowPolicy::DropOldest] {
        let (peer, ws) = hall.enter().await;
        let member = group.join(&ws.sender(), policy);
        members.push((peer, ws, member));
    }
    for task in 0..4u32 {
        let group = group.clone();
        tokio::spawn(async move {
            for n in 0..500 {
                assert_eq!(group.publish(numbered(task << 16 | n, 300)).queued, 3);
                if n % 50 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    let mut orders = Vec::new();
    for (peer, ..) in &mut members {
        let mut heard = Vec::new();
        for _ in 0..4 * 500 {
            heard.push(number(&peer.message().await));
        }
        for task in 0..4 {
            let own = heard.iter().filter(|n| **n >> 16 == task);
            assert!(own.copied().eq((task << 16)..(task << 16 | 500)), "publisher {task}");
        }
        orders.push(heard);
    }
    assert!(orders.iter().all(|order| *order == orders[0]));
}

#[tokio::test]
async fn drained_waits_for_those_who_read_and_once_for_those_who_do_not() {
    let mut hall = hall_with(Config::default()).await;
    let group = Group::new();
    let (mut reads, r) = hall.enter_slow().await;
    let (_never, n) = hall.enter_slow().await;
    let (_latest, l) = hall.enter_slow().await;
    let _first = group.join(&r.sender(), SlowPolicy::Close);
    // Nobody is congested.
    soon(group.drained(Duration::MAX / 4)).await;
    assert_eq!(group.publish(vec![7; STOPPER]).congested, 1);
    let waiting = group.clone();
    let waiting = tokio::spawn(async move { waiting.drained(Duration::from_secs(3600)).await });
    reads.message().await;
    soon(waiting).await.unwrap();
    let _second = group.join(&n.sender(), SlowPolicy::DropNewest);
    let _third = group.join(&l.sender(), SlowPolicy::Latest);
    let published = group.publish(vec![7; STOPPER]);
    assert_eq!((published.queued, published.congested), (3, 2));
    reads.message().await;
    until(|| r.buffered_amount() == 0).await;
    group.drained(Duration::from_millis(10)).await;
    // The one that was waited for in vain is not waited for again.
    assert_eq!(group.publish("more").congested, 0);
    soon(group.drained(Duration::from_secs(3600))).await;
    reads.expect_text("more").await;
}

#[tokio::test]
async fn what_is_published_during_a_streamed_message_follows_it() {
    use tokio::io::AsyncWriteExt as _;
    let policies =
        [SlowPolicy::Close, SlowPolicy::DropNewest, SlowPolicy::DropOldest, SlowPolicy::Latest];
    for policy in policies {
        let mut hall = hall_with(Config::default()).await;
        let group = Group::new();
        let (mut peer, ws) = hall.enter().await;
        let _member = group.join(&ws.sender(), policy);
        let mut writer = ws.send_writer(MessageKind::Text).await.unwrap();
        soon(writer.write_all(b"a part, ")).await.unwrap();
        soon(writer.flush()).await.unwrap();
        assert_eq!(group.publish("published"), all(1), "{policy:?}");
        soon(writer.write_all(b"the rest")).await.unwrap();
        soon(writer.finish()).await.unwrap();
        assert_eq!(soon(peer.message()).await.payload, b"a part, the rest", "{policy:?}");
        peer.expect_text("published").await;
    }
}
