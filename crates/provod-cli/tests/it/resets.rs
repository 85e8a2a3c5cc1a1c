//! Thousands of connections that break at the same moment.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use provod_testkit::peer::KEY;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::peer::text;
use crate::process::Provod;

/// What is asked for; each end of a connection takes a descriptor of its process.
const MOST: usize = 15_000;
/// So many of them share a room, half of them by the room protocol.
const IN_ROOM: usize = 20;
/// Handshakes that go on at the same time: fewer than a server keeps unfinished.
const AT_ONCE: usize = 250;
/// What the server may have grown by after a wave of resets, compared with the one before: less
/// than 100 bytes a connection, which no leak of anything that belongs to one would keep to.
const SLACK: usize = 1 << 20;

/// As many as the descriptor limit lets this process have beside the other tests, which run in it,
/// too.
fn how_many() -> usize {
    let limit = getrlimit(Resource::Nofile);
    // The hard one may be infinite, which is no reason to stay below it.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let n = usize::try_from(limit / 4 * 3).unwrap_or(usize::MAX).min(MOST);
    if n < MOST {
        eprintln!("{n} connections instead of {MOST}: the descriptor limit is {limit}");
    }
    n / (2 * IN_ROOM) * (2 * IN_ROOM)
}

/// Asks for a WebSocket, and says something at once.
fn ask(address: SocketAddr, n: usize) -> TcpStream {
    let mut socket = TcpStream::connect(address).expect("the server listens");
    socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a time");
    let member = n.is_multiple_of(2);
    let offer = if member { "Sec-WebSocket-Protocol: provod.room.v1\r\n" } else { "" };
    let mut bytes = format!(
        "GET /room{} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{offer}\r\n",
        n / IN_ROOM
    )
    .into_bytes();
    if member {
        bytes.extend(text(r#"{"type":"hello","name":"Anna"}"#));
    }
    socket.write_all(&bytes).expect("a socket that takes a request");
    socket
}

/// Waits for the answer; what comes behind it is left unread.
fn opened(mut socket: &TcpStream) {
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 101");
}

fn wave(address: SocketAddr, n: usize) -> Vec<TcpStream> {
    let mut open = Vec::with_capacity(n);
    while open.len() < n {
        let first = open.len();
        let last = (first + AT_ONCE).min(n);
        open.extend((first..last).map(|n| ask(address, n)));
        open[first..].iter().for_each(opened);
    }
    open
}

/// Resets all of them: nothing is said of an end.
fn reset(sockets: Vec<TcpStream>) {
    for socket in &sockets {
        let linger = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
        linger.expect("an option");
    }
    drop(sockets);
}

async fn metric(server: &Provod, name: &str) -> usize {
    let page = server.get("/_provod/metrics", &[]).await.body;
    let line = page.lines().find_map(|line| line.strip_prefix(&format!("provod_{name} ")));
    line.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{name} in {page}"))
}

async fn until_metric(server: &Provod, name: &str, expected: usize) {
    // The work of thousands of ends, in a debug build on a busy machine, is no hang.
    for _ in 0..6000 {
        if metric(server, name).await == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{name} is {}, not {expected}", metric(server, name).await);
}

fn descriptors(server: &Provod) -> usize {
    let list = std::fs::read_dir(format!("/proc/{}/fd", server.child.id()));
    list.expect("Linux").count()
}

#[tokio::test]
async fn thousands_of_resets_at_once_leak_nothing() {
    let n = how_many();
    let server = Provod::serve(&["--workers=2"]);
    // What the first connections of each worker cost once.
    reset(wave(server.address, 100));
    until_metric(&server, "connections_open", 0).await;
    let before = descriptors(&server);
    let mut memory = Vec::new();
    for _ in 0..3 {
        let open = wave(server.address, n);
        until_metric(&server, "connections_open", n).await;
        until_metric(&server, "room_members", n / 2).await;
        until_metric(&server, "room_plain_clients", n / 2).await;
        assert!(descriptors(&server) >= n);
        reset(open);
        until_metric(&server, "connections_open", 0).await;
        for gone in ["rooms", "room_members", "room_plain_clients", "history_bytes"] {
            until_metric(&server, gone, 0).await;
        }
        // The connection that asked for the last metric is on its way out.
        crate::peer::until(|| descriptors(&server) <= before).await;
        memory.push(server.memory());
    }
    let grown: Vec<_> = memory.windows(2).map(|two| two[1].saturating_sub(two[0])).collect();
    assert!(grown.iter().all(|more| *more <= SLACK), "resident after each wave: {memory:?}");
    let log = server.whole_log();
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
}
