//! Connections of one worker: who floods it does not keep the others waiting.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use provod::handler::{Received, Socket};
use provod::{Handler, Server};
use provod_testkit::peer::request;

use crate::peer::{Peer, binary, text, until};
use crate::servers::{call, patient};

/// What is handled of a flood before somebody else has his turn. A read takes 43,690 of its
/// messages, a turn two reads, and a task four turns before it yields. One that wakes itself runs 61
/// times before the runtime looks at its sockets: over ten millions.
const BOUND: u64 = 1_000_000;

/// Answers text with the number of binary messages that came before it.
struct Counts(Arc<AtomicU64>);

impl Handler for Counts {
    type Peer = ();

    fn open(&self, _: &mut Socket<'_>, (): ()) {}

    fn message(&self, ws: &mut Socket<'_>, (): &mut (), message: Received<'_>) {
        if message.as_text().is_some() {
            let _ = ws.send(self.0.load(SeqCst).to_string());
        } else {
            self.0.fetch_add(1, SeqCst);
        }
    }
}

#[tokio::test]
async fn a_flood_leaves_turns_to_others_and_to_those_who_come() {
    let count = Arc::<AtomicU64>::default();
    let server = Server::new().config(patient()).workers(1);
    let (running, address) = call(server, Counts(count.clone())).await;
    let mut early = Peer::open(address).await;
    // In a thread, so that it sends whatever the test does.
    let flood = std::thread::spawn(move || {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.write_all(request("/", &[]).as_bytes()).unwrap();
        socket.read_exact(&mut [0; 12]).unwrap();
        let messages = binary(b"").repeat(50_000);
        // Until the server is gone.
        while socket.write_all(&messages).is_ok() {}
    });
    until(|| count.load(SeqCst) > 100_000).await;
    for _ in 0..5 {
        early.send(text("how many?")).await;
        // The message is there from here on, however long this thread is kept from going on.
        let since = count.load(SeqCst);
        let seen: u64 = early.frame().await.unwrap().text().parse().unwrap();
        let handled = seen.saturating_sub(since);
        assert!(handled < BOUND, "{handled} messages of the flood came first");
    }
    // Who comes needs the runtime, too: to be accepted, and for his request.
    let mut late = Peer::open(address).await;
    late.send(text("how many?")).await;
    late.frame().await.unwrap();
    drop(running);
    flood.join().unwrap();
}
