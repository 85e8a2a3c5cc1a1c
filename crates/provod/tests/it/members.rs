//! Groups: who is in them.

use std::time::Duration;

use provod::group::SlowPolicy;
use provod::{Group, Message, Prepared, Server};

use crate::peer::{Peer, close, soon, text, until};
use crate::servers::start_with;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_come_publish_and_go_from_inside_handlers() {
    let group = Group::new();
    let inside = group.clone();
    let (_running, address) = start_with(Server::new().workers(2), move |mut ws| {
        let group = inside.clone();
        async move {
            let mut member = group.join(&ws.sender(), SlowPolicy::DropNewest);
            while let Some(message) = ws.recv().await? {
                member.publish(message.clone());
                member = group.join(&ws.sender(), SlowPolicy::DropOldest);
                group.publish(message);
            }
            Ok(())
        }
    })
    .await;
    let mut tasks = Vec::new();
    for n in 0..8 {
        tasks.push(tokio::spawn(async move {
            for round in 0..5 {
                let mut peer = Peer::open(address).await;
                for m in 0..20 {
                    peer.send(text(&format!("{n} {round} {m}"))).await;
                }
                // Its own come back, others' between them.
                let last = format!("{n} {round} 19");
                while soon(peer.frame()).await.expect("a message").text() != last {}
                peer.send(close(1000)).await;
                peer.gone().await;
            }
        }));
    }
    for task in tasks {
        tokio::time::timeout(Duration::from_secs(120), task).await.expect("a deadlock").unwrap();
    }
    until(|| group.is_empty()).await;
}

#[test]
fn handles_go_anywhere() {
    fn anywhere<T: Send + Sync + 'static>() {}
    anywhere::<Group>();
    anywhere::<provod::group::Member>();
    assert_eq!(format!("{:?}", Group::new()), "Group { len: 0, .. }");
    let _: Prepared = Message::text("x").into();
}

#[tokio::test]
async fn whoever_leaves_is_passed_over_and_the_others_are_not() {
    let group = Group::new();
    let mut members: Vec<_> = (0..100)
        .map(|_| {
            let (theirs, ours) = provod::pipe();
            let member = group.join(&ours.sender(), SlowPolicy::Close);
            (theirs, ours, Some(member))
        })
        .collect();
    // In no order, and past each size at which left seats are done away with.
    let mut at = 0;
    for left in 1..=99 {
        at = (at + 37) % 100;
        members[at].2 = None;
        assert_eq!(group.len(), 100 - left);
        let published = group.publish(format!("{left}"));
        assert_eq!(published.queued, 100 - left);
    }
    let mut at = 0;
    for left in 1..=100 {
        at = (at + 37) % 100;
        for heard in 1..left.min(100) {
            let message = members[at].0.recv().await.expect("it is open");
            assert_eq!(message, Some(format!("{heard}").into()));
        }
    }
    members.clear();
    assert!(group.is_empty());
}

#[tokio::test]
async fn a_connection_is_in_many_groups_and_leaves_them_in_any_order() {
    let groups: Vec<_> = (0..5).map(|_| Group::new()).collect();
    let (mut theirs, ours) = provod::pipe();
    let sender = ours.sender();
    let join = |n: usize| groups[n].join(&sender, SlowPolicy::Latest);
    let mut members: Vec<_> = (0..5).map(|n| Some(join(n))).collect();
    for n in [0, 3, 4, 0, 1] {
        members[n] = match members[n].take() {
            Some(member) => {
                drop(member);
                None
            }
            None => Some(join(n)),
        };
        for (n, group) in groups.iter().enumerate() {
            let here = usize::from(members[n].is_some());
            assert_eq!(group.publish(format!("{n}")).queued, here);
            if here == 1 {
                assert_eq!(theirs.recv().await.expect("it is open"), Some(format!("{n}").into()));
            }
        }
    }
    drop((theirs, ours));
    while groups.iter().any(|group| !group.is_empty()) {
        tokio::task::yield_now().await;
    }
}
