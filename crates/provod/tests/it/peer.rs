//! The scripted client of the test kit, and what these tests say with it.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use provod_proto::raw::RawFrame;
use provod_testkit::peer::MASK;
pub(crate) use provod_testkit::peer::{Answer, Peer, request, soon};

/// Lets other tasks run until `done`.
#[track_caller]
pub(crate) fn until(mut done: impl FnMut() -> bool) -> impl Future<Output = ()> {
    soon(async move {
        while !done() {
            tokio::task::yield_now().await;
            // On a runtime of one thread, only parking lets sockets make progress.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
}

/// Runs a test in a thread of its own: one that locks for ever what it has locked already would
/// never come to a deadline.
#[track_caller]
pub(crate) fn not_stuck(test: impl Future<Output = ()> + Send + 'static) {
    let (ended, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(test);
        ended.send(()).expect("the test waits");
    });
    end.recv_timeout(Duration::from_secs(60)).expect("the test ends well");
}

/// Connects and opens a WebSocket at a path and with more header lines.
pub(crate) async fn open_with(address: SocketAddr, target: &str, lines: &[&str]) -> (Peer, Answer) {
    let mut peer = Peer::connect(address).await;
    let answer = peer.upgrade(target, lines).await;
    (peer, answer)
}

/// Opens a WebSocket whose peer has a small receive buffer.
pub(crate) async fn open_narrow(address: SocketAddr) -> Peer {
    let mut peer = Peer::connect_narrow(address).await;
    peer.upgrade("/", &[]).await;
    peer
}

/// Talks to echoing peers in turn until one of them is closed; tells which.
pub(crate) async fn first_closed(peers: &mut [Peer]) -> usize {
    soon(async {
        loop {
            for (n, peer) in peers.iter_mut().enumerate() {
                peer.send(text("still there?")).await;
                if peer.frame().await.expect("an echo or a Close").opcode == 8 {
                    return n;
                }
            }
        }
    })
    .await
}

pub(crate) fn raw(opcode: u8, payload: impl Into<Vec<u8>>) -> RawFrame {
    RawFrame::new(opcode, payload).masked(MASK)
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    raw(1, text).to_bytes()
}

pub(crate) fn binary(bytes: &[u8]) -> Vec<u8> {
    raw(2, bytes).to_bytes()
}

pub(crate) fn ping(payload: &str) -> Vec<u8> {
    raw(9, payload).to_bytes()
}

pub(crate) fn close(code: u16) -> Vec<u8> {
    raw(8, code.to_be_bytes()).to_bytes()
}

/// The header of a masked frame whose payload is said to have `len` bytes.
pub(crate) fn header(first: u8, len: u64) -> Vec<u8> {
    let mut out = vec![first];
    match len {
        0..=125 => out.push(0x80 | len as u8),
        126..=0xFFFF => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend_from_slice(&len.to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out
}
