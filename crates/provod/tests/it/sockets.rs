//! Where a server listens: several addresses, Unix sockets, ports in use, workers.

use std::path::PathBuf;

use provod::Server;
use provod::server::{Drain, Running};
use tokio::net::UnixStream;

use crate::peer::{Peer, close, soon, text};
use crate::servers::{echo, start, start_with};

/// A path of its own for each test, removed at the end.
struct Socket(PathBuf);

impl Socket {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("provod-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Self(path)
    }

    fn address(&self) -> String {
        format!("unix:{}", self.0.display())
    }

    async fn start(&self) -> Result<Running, provod::Error> {
        Server::new().listen(self.address()).start(echo).await
    }

    async fn works(&self) {
        let stream = soon(UnixStream::connect(&self.0)).await.expect("somebody listens");
        let mut peer = Peer::client(stream);
        peer.upgrade("/", &[]).await;
        peer.send(text("x")).await;
        peer.expect_text("x").await;
        peer.bye().await;
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn a_unix_socket_is_served_and_removed_at_the_end() {
    let socket = Socket::new("served");
    let running = socket.start().await.unwrap();
    assert_eq!(running.addresses()[0].to_string(), socket.address());
    socket.works().await;
    soon(running.drain(Drain::default())).await;
    assert!(!socket.0.exists());
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let socket = Socket::new("stale");
    drop(std::os::unix::net::UnixListener::bind(&socket.0).unwrap());
    assert!(socket.0.exists(), "what a killed server leaves behind");
    let running = socket.start().await.unwrap();
    socket.works().await;

    let e = socket.start().await.unwrap_err();
    assert!(e.is_address_in_use(), "{e}");
    socket.works().await;
    drop(running);
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_left_alone() {
    let file = Socket::new("file");
    std::fs::write(&file.0, "precious").unwrap();
    assert!(file.start().await.unwrap_err().is_address_in_use());
    assert_eq!(std::fs::read_to_string(&file.0).unwrap(), "precious");
}

#[tokio::test]
async fn a_server_that_ends_does_not_remove_its_successors_socket() {
    let socket = Socket::new("successor");
    let old = socket.start().await.unwrap();
    let stream = soon(UnixStream::connect(&socket.0)).await.unwrap();
    let mut peer = Peer::client(stream);
    peer.upgrade("/", &[]).await;
    let ended = tokio::spawn(async move { old.drain(Drain::default()).await });
    peer.expect_close(1001).await;
    // The old server still waits for this peer while the new one takes over the path.
    let new = socket.start().await.unwrap();
    socket.works().await;
    peer.send(close(1001)).await;
    drop(peer);
    assert_eq!(soon(ended).await.unwrap(), 0);
    socket.works().await;
    drop(new);
}

#[tokio::test]
async fn one_server_listens_on_several_addresses() {
    let socket = Socket::new("several");
    let server = Server::new().listen(socket.address()).listen("127.0.0.1:0").workers(2);
    let running = server.listen("127.0.0.1:0").start(echo).await.unwrap();
    assert_eq!(running.addresses().len(), 3);
    socket.works().await;
    for address in running.addresses().iter().filter_map(provod::server::Address::tcp) {
        Peer::open(address).await.bye().await;
    }
    assert_eq!(running.stats().opened, 3);
}

#[tokio::test]
async fn an_address_that_cannot_be_had_says_why() {
    let (_running, taken) = start(Server::new()).await;
    let fails = async |address: &str| {
        let started = Server::new().listen(address).start(echo).await;
        started.map(drop).unwrap_err()
    };
    let e = fails(&taken.to_string()).await;
    assert!(e.is_address_in_use());
    let text = e.to_string();
    assert!(text.contains(&taken.to_string()) && text.contains("in use"), "{text}");
    for bad in ["nonsense", "127.0.0.1", "127.0.0.1:99999", "unix:/no/such/folder/socket"] {
        let e = fails(bad).await;
        assert!(!e.is_address_in_use() && e.to_string().contains(bad), "{bad}: {e}");
    }
    let e = Server::new().start(echo).await.unwrap_err();
    assert!(e.to_string().contains("no address"), "{e}");
}

#[tokio::test]
async fn a_second_address_that_fails_leaves_no_socket_behind() {
    let socket = Socket::new("second");
    let server = Server::new().listen(socket.address()).listen("nonsense");
    assert!(server.start(echo).await.is_err());
    assert!(!socket.0.exists());
}

#[tokio::test]
async fn workers_carry_the_connections() {
    let (_running, address) = start_with(Server::new().workers(2), |mut ws| async move {
        let name = std::thread::current().name().unwrap_or("none").to_owned();
        ws.send(name).await?;
        ws.recv().await?;
        Ok(())
    })
    .await;
    for _ in 0..10 {
        let mut peer = Peer::open(address).await;
        let frame = peer.frame().await.unwrap();
        assert!(frame.text().starts_with("provod-"), "{}", frame.text());
        peer.bye().await;
    }
}

/// What is wrong with the settings, said by the question that clients ask of theirs.
async fn is_usage(server: Server) -> String {
    let e = server.start(echo).await.expect_err("it cannot start");
    assert!(e.is_usage(), "{e}");
    e.to_string()
}

#[tokio::test]
async fn an_address_that_is_none_is_a_mistake_of_the_caller() {
    for address in ["", "127.0.0.1", "localhost:http", "127.0.0.1:99999", "unix:"] {
        let why = is_usage(Server::new().listen(address)).await;
        assert!(why.contains(&format!("listen on {address}:")), "{why}");
    }
}

#[tokio::test]
async fn settings_that_could_never_work_are_refused_at_the_start() {
    let server = || Server::new().listen("127.0.0.1:0");
    assert!(is_usage(server().subprotocols(["chat", "two words"])).await.contains("two words"));
    assert!(is_usage(server().subprotocols([""])).await.contains("token"));
    assert!(is_usage(server().health("health")).await.contains("slash"));
}

#[test]
fn a_server_needs_a_runtime_and_says_so() {
    let starting = std::pin::pin!(Server::new().listen("127.0.0.1:0").start(echo));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(Err(e)) = starting.poll(&mut context) else {
        panic!("nothing drives it")
    };
    assert!(e.is_usage() && e.to_string().contains("tokio runtime"), "{e}");
}
