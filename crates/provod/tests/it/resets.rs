//! Connections that all break at the same moment.

use provod::Server;
use tokio::runtime::Handle;

use crate::peer::{Peer, text, until};
use crate::servers::{patient, start};

/// The server's sockets and the peers' are in one process, with those of the other tests.
const MANY: usize = 200;

#[tokio::test]
async fn resets_at_once_leave_no_task_and_no_connection() {
    let (running, address) = start(Server::new().config(patient())).await;
    // The loop that accepts, and a worker where there is one.
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    for wave in 1..=3 {
        let mut peers = Vec::new();
        for n in 0..MANY {
            let mut peer = Peer::open(address).await;
            match n % 3 {
                0 => {}
                // An echo that is never read: closing such a socket resets its connection.
                1 => peer.send(text("x")).await,
                // Half a frame.
                _ => peer.send(&text("half")[..5]).await,
            }
            peers.push(peer);
        }
        until(|| running.stats().open == MANY as u64).await;
        until(|| running.stats().messages_out as usize >= wave * (MANY / 3)).await;
        drop(peers);
        until(|| running.stats().open == 0).await;
        until(|| tasks() == before).await;
    }
    let mut late = Peer::open(address).await;
    late.send(text("x")).await;
    late.expect_text("x").await;
    assert_eq!(running.stats().opened, 3 * MANY as u64 + 1);
}
