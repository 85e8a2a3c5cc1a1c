//! Groups whose members workers serve: what is put off until their next turn keeps its place.

use std::sync::Arc;
use std::time::Duration;

use provod::config::DeflateConfig;
use provod::group::{self, SlowPolicy};
use provod::handler::{Received, Socket};
use provod::{Client, Config, Group, Handler, Message, Prepared, Sender, Server};

use crate::peer::{Peer, close, soon, text, until};
use crate::servers::{call, hall, hall_with};

#[tokio::test]
async fn what_is_published_goes_before_what_is_sent_after_it() {
    let mut hall = hall(Server::new()).await;
    let group = Group::new();
    let (mut peer, ws) = hall.enter().await;
    let sender = ws.sender();
    let _member = group.join(&sender, SlowPolicy::Close);
    for round in 0..3 {
        // Nothing here waits, so the worker has no turn before the end.
        group.publish(format!("{round} published"));
        sender.try_send(format!("{round} sent")).unwrap();
        group.publish(format!("{round} published again"));
        sender.try_send_prepared(&Prepared::from(format!("{round} prepared"))).unwrap();
        group.publish(format!("{round} last"));
        for what in ["published", "sent", "published again", "prepared", "last"] {
            peer.expect_text(&format!("{round} {what}")).await;
        }
    }
    group.publish("before the end");
    sender.close(provod::CloseCode::NORMAL, "").unwrap();
    group.publish("after the end");
    peer.expect_text("before the end").await;
    peer.expect_close(1000).await;
}

#[tokio::test]
async fn who_leaves_has_heard_what_was_said_before_and_who_comes_hears_what_follows() {
    let mut hall = hall(Server::new()).await;
    let group = Group::new();
    let (mut stays, s) = hall.enter().await;
    let (mut leaves, l) = hall.enter().await;
    let (mut comes, c) = hall.enter().await;
    let _stays = group.join(&s.sender(), SlowPolicy::Close);
    let member = group.join(&l.sender(), SlowPolicy::Close);
    for n in 0..3 {
        // The first finds them served by whoever publishes, the others by their worker.
        let left = group.join(&l.sender(), SlowPolicy::DropNewest);
        group.publish(format!("{n}"));
        drop(left);
        leaves.expect_text(&format!("{n}")).await;
        leaves.expect_text(&format!("{n}")).await;
        stays.expect_text(&format!("{n}")).await;
    }
    group.publish("before");
    drop(member);
    let member = group.join(&c.sender(), SlowPolicy::Close);
    group.publish("after");
    assert_eq!(member.publish("from who came").queued, 1);
    for what in ["before", "after", "from who came"] {
        stays.expect_text(what).await;
    }
    leaves.expect_text("before").await;
    comes.expect_text("after").await;
    l.sender().try_send("nothing between").unwrap();
    leaves.expect_text("nothing between").await;
    drop(member);
    c.sender().try_send("nothing between").unwrap();
    comes.expect_text("nothing between").await;
}

#[tokio::test]
async fn messages_of_several_groups_come_in_the_order_in_which_they_were_published() {
    let mut hall = hall(Server::new()).await;
    let groups = [Group::new(), Group::new(), Group::new()];
    let (mut peer, ws) = hall.enter().await;
    let sender = ws.sender();
    let mut members = [None, None, None];
    let mut n = 0;
    // Moves between rooms, as an application does it: into the next before it leaves the last.
    for at in [0, 1, 2, 0, 2, 1] {
        let mut said = Vec::new();
        for step in 0..4 {
            match step {
                1 => members[at] = Some(groups[at].join(&sender, SlowPolicy::Close)),
                3 => members = members.map(|_| None),
                _ => {}
            }
            if step == 3 {
                members[at] = Some(groups[at].join(&sender, SlowPolicy::Close));
            }
            for group in groups.iter().chain(groups.iter().rev()) {
                if group.publish(format!("{n}")).queued > 0 {
                    said.push(n);
                }
                n += 1;
            }
        }
        for n in said {
            peer.expect_text(&format!("{n}")).await;
        }
    }
}

#[tokio::test]
async fn a_burst_is_bounded_by_each_members_limit_though_the_worker_has_no_turn() {
    let mut config = Config::default();
    config.hard_limit = 1 << 20;
    let mut hall = hall_with(config).await;
    let group = Group::new();
    let mut peers = Vec::new();
    for _ in 0..3 {
        let (peer, ws) = hall.enter().await;
        let member = group.join(&ws.sender(), SlowPolicy::DropNewest);
        peers.push((peer, ws, member));
    }
    let mut queued = 0;
    let mut n = 0u32;
    let dropped = loop {
        let published = group.publish(vec![n as u8; 1000]);
        n += 1;
        assert_eq!(published.queued + published.dropped, 3);
        if published.dropped > 0 {
            break published.dropped;
        }
        queued += 1;
    };
    assert_eq!(dropped, 3);
    assert!((900..1000).contains(&queued), "{queued}");
    for (peer, ..) in &mut peers {
        for n in 0..queued {
            assert!(peer.message().await.payload == [n as u8; 1000]);
        }
    }
    // They keep up again.
    assert_eq!(group.publish("more").queued, 3);
    for (peer, ..) in &mut peers {
        peer.expect_text("more").await;
    }
}

/// Says to all what it is told, and to the speaker that it did.
struct Repeats(Group);

impl Handler for Repeats {
    type Peer = (group::Member, Sender);

    fn open(&self, ws: &mut Socket<'_>, (): ()) -> Self::Peer {
        (self.0.join(&ws.sender(), SlowPolicy::Close), ws.sender())
    }

    fn message(&self, ws: &mut Socket<'_>, _: &mut Self::Peer, message: Received<'_>) {
        let message = message.into_message();
        self.0.publish(message.clone());
        ws.send(message).unwrap();
    }
}

#[tokio::test]
async fn each_member_can_inflate_what_it_hears_whatever_it_has_agreed_to() {
    let room = Group::new();
    let keeps = DeflateConfig::default();
    let mut forgets = keeps;
    (forgets.server_no_context_takeover, forgets.client_no_context_takeover) = (true, true);
    let server = Server::new().compression(keeps);
    let (_running, address) = call(server, Repeats(room.clone())).await;
    let url = format!("ws://{address}/");
    let mut narrow = keeps;
    narrow.server_max_window_bits = 9;
    let mut clients = Vec::new();
    for compression in [Some(keeps), Some(narrow), Some(forgets), None] {
        for _ in 0..2 {
            let client = match &compression {
                Some(deflate) => Client::new(&url).compression(*deflate),
                None => Client::new(&url),
            };
            clients.push(client.connect().await.expect("it answers"));
        }
    }
    until(|| room.len() == clients.len()).await;
    // Long enough to be compressed, short enough to be put off, and like each other.
    let said = |n: usize, m: usize| Message::from(format!("{n} says {m}: {}", "la ".repeat(700)));
    for n in 0..clients.len() {
        for m in 0..3 {
            clients[n].send(said(n, m)).await.unwrap();
        }
        for (at, ws) in clients.iter_mut().enumerate() {
            for m in 0..3 {
                let copies = if at == n { 2 } else { 1 };
                for _ in 0..copies {
                    assert_eq!(soon(ws.recv()).await.unwrap(), Some(said(n, m)), "{at} hears {n}");
                }
            }
        }
    }
}

/// Enters a room, and another one with every message.
struct Wanders(Vec<Group>);

impl Handler for Wanders {
    type Peer = (usize, Sender, group::Member);

    fn open(&self, ws: &mut Socket<'_>, (): ()) -> Self::Peer {
        (0, ws.sender(), self.0[0].join(&ws.sender(), SlowPolicy::Close))
    }

    fn message(&self, ws: &mut Socket<'_>, peer: &mut Self::Peer, message: Received<'_>) {
        let (at, sender, member) = peer;
        let message = message.into_message();
        *at = (*at + 1) % self.0.len();
        *member = self.0[*at].join(sender, SlowPolicy::Close);
        self.0[*at].publish(message.clone());
        let _ = ws.send(message);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_stuck_or_forgotten_where_members_wander_speak_and_vanish() {
    let rooms: Vec<_> = (0..3).map(|_| Group::new()).collect();
    let (running, address) = call(Server::new().workers(3), Wanders(rooms.clone())).await;
    let mut tasks = Vec::new();
    for n in 0..12 {
        tasks.push(tokio::spawn(async move {
            for round in 0..6 {
                let mut peer = Peer::open(address).await;
                for m in 0..20 {
                    peer.send(text(&format!("{n} {round} {m}"))).await;
                }
                if round % 2 == 1 {
                    continue;
                }
                // Its own come once from the room and once as the answer, in their order.
                let mut own = Vec::new();
                while own.len() < 40 {
                    let frame = soon(peer.frame()).await.expect("a message");
                    let said = frame.text();
                    let mut words = said.split(' ');
                    if words.next() == Some(&n.to_string()) {
                        let (r, m) = (words.next().unwrap(), words.next().unwrap());
                        if r == round.to_string() {
                            own.push(m.parse::<usize>().unwrap());
                        }
                    }
                }
                assert!(own.iter().copied().eq((0..40).map(|i| i / 2)), "{own:?}");
                peer.send(close(1000)).await;
                peer.gone().await;
            }
        }));
    }
    for task in tasks {
        tokio::time::timeout(Duration::from_secs(120), task).await.expect("a deadlock").unwrap();
    }
    until(|| rooms.iter().all(Group::is_empty)).await;
    until(|| running.stats().open == 0).await;
}

/// Answers, and then says to all what it was told.
struct Answers(Group);

impl Handler for Answers {
    type Peer = group::Member;

    fn open(&self, ws: &mut Socket<'_>, (): ()) -> Self::Peer {
        self.0.join(&ws.sender(), SlowPolicy::Close)
    }

    fn message(&self, ws: &mut Socket<'_>, _: &mut Self::Peer, message: Received<'_>) {
        let text = message.as_text().expect("text").to_owned();
        ws.send(format!("answer {text}")).unwrap();
        self.0.publish(format!("all {text}"));
        assert!(text != "panic", "as it was told");
    }
}

#[tokio::test]
async fn what_a_handler_publishes_goes_behind_what_it_has_sent_before() {
    let room = Group::new();
    let (_running, address) = call(Server::new(), Answers(room.clone())).await;
    let mut peer = Peer::open(address).await;
    until(|| room.len() == 1).await;
    for n in 0..5 {
        // From here on the worker serves it.
        room.publish("hello");
        peer.expect_text("hello").await;
        peer.send(text(&format!("{n}"))).await;
        peer.expect_text(&format!("answer {n}")).await;
        peer.expect_text(&format!("all {n}")).await;
    }
    room.publish("hello");
    peer.expect_text("hello").await;
    peer.send(text("panic")).await;
    peer.expect_text("answer panic").await;
    peer.expect_text("all panic").await;
    peer.expect_close(1011).await;
}

#[tokio::test]
async fn a_member_whose_connection_is_gone_can_say_so_to_the_others() {
    let mut hall = hall(Server::new()).await;
    let group = Group::new();
    let (mut stays, s) = hall.enter().await;
    let (mut leaves, l) = hall.enter().await;
    let stayed = group.join(&s.sender(), SlowPolicy::Close);
    let left = group.join(&l.sender(), SlowPolicy::Close);
    assert_eq!(group.publish("first").queued, 2);
    for peer in [&mut stays, &mut leaves] {
        peer.expect_text("first").await;
    }
    drop(leaves);
    until(|| group.len() == 1).await;
    assert_eq!(left.publish("one is gone").queued, 1);
    stays.expect_text("one is gone").await;
    // Nobody is left but one whom no worker serves.
    let (_client, ws) = provod::pipe();
    let piped = group.join(&ws.sender(), SlowPolicy::Close);
    drop(stays);
    until(|| group.len() == 1).await;
    assert_eq!(left.publish("all are gone").queued, 1);
    assert_eq!(stayed.publish("all are gone").queued, 1);
    assert_eq!(piped.publish("to nobody").queued, 0);
}

#[tokio::test]
async fn a_connection_that_is_closed_counts_no_more_though_its_worker_has_served_it() {
    let mut hall = hall(Server::new()).await;
    let group = Group::new();
    let (mut peer, ws) = hall.enter().await;
    let (mut other, o) = hall.enter().await;
    let _members = [&ws, &o].map(|ws| group.join(&ws.sender(), SlowPolicy::Close));
    assert_eq!(group.publish("first").queued, 2);
    ws.sender().close(provod::CloseCode::NORMAL, "").unwrap();
    assert_eq!(group.publish("late").queued, 1);
    peer.expect_text("first").await;
    peer.expect_close(1000).await;
    other.expect_text("first").await;
    other.expect_text("late").await;
}

#[tokio::test]
async fn a_member_that_others_have_filled_up_meanwhile_is_told_of() {
    let mut config = Config::default();
    (config.high_water, config.hard_limit) = (4096, 8192);
    let mut hall = hall_with(config).await;
    let group = Group::new();
    let (_drops, d) = hall.enter_slow().await;
    let (_closes, c) = hall.enter_slow().await;
    let _drops = group.join(&d.sender(), SlowPolicy::DropNewest);
    let _closes = group.join(&c.sender(), SlowPolicy::Close);
    assert_eq!(group.publish("first").queued, 2);
    for ws in [&d, &c] {
        while ws.sender().try_send(vec![0; 1024]).is_ok() {}
    }
    let published = group.publish("late");
    assert_eq!((published.queued, published.dropped, published.closed), (0, 1, 1));
}

/// Bytes that tell when nobody holds them any more.
struct Watched(#[allow(dead_code)] Arc<()>);

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        b"watched"
    }
}

#[test]
fn what_waits_for_a_worker_goes_with_it() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (group, held) = (Group::new(), Arc::new(()));
    let mut members = Vec::new();
    for _ in 0..3 {
        let first = runtime();
        let (hall, mut peer, ws) = first.block_on(async {
            let mut hall = hall(Server::new()).await;
            let (peer, ws) = hall.enter().await;
            (hall, peer, ws)
        });
        members.push(group.join(&ws.sender(), SlowPolicy::Close));
        assert_eq!(group.publish("first").queued, 1);
        first.block_on(peer.expect_text("first"));
        // The worker has no turn any more.
        let last = bytes::Bytes::from_owner(Watched(held.clone()));
        assert_eq!(group.publish(last).queued, 1);
        drop(peer);
        drop((first, hall, ws));
        assert_eq!(group.len(), 0);
    }
    drop((group, members));
    assert_eq!(Arc::strong_count(&held), 1);
}
