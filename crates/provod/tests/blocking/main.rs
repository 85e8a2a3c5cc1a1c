//! The client whose calls wait.
#![allow(clippy::unwrap_used)]

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use provod::{Client, CloseCode, Message, Server, blocking};
use provod_testkit::peer::{Listener, Peer, close, ping, pong, text};

/// Runs a server in a runtime of its own, and gives its address.
fn echo() -> String {
    let (tell, address) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = Server::new().listen("127.0.0.1:0").subprotocols(["echo"]);
            let handler = |mut ws: provod::WebSocket| async move {
                while let Some(message) = ws.recv().await? {
                    ws.send(message).await?;
                }
                Ok(())
            };
            let running = server.start(handler).await.unwrap();
            tell.send(format!("ws://{}/", running.addresses()[0])).unwrap();
            running.wait().await;
        });
    });
    address.recv().unwrap()
}

/// Plays a server in a runtime of its own.
fn scripted<F>(play: impl FnOnce(Peer) -> F + Send + 'static) -> (String, thread::JoinHandle<()>)
where
    F: Future<Output = ()>,
{
    let (tell, address) = mpsc::channel();
    let playing = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = Listener::bind().await;
            tell.send(server.url()).unwrap();
            play(server.open().await).await;
        });
    });
    (address.recv().unwrap(), playing)
}

#[test]
fn a_conversation() {
    let client = Client::new(echo()).subprotocol("echo");
    let mut ws = blocking::connect(client).unwrap();
    assert_eq!(ws.get_ref().subprotocol(), Some("echo"));
    for message in [Message::text("Привет"), Message::binary(vec![7; 300_000])] {
        ws.send(message.clone()).unwrap();
        assert_eq!(ws.recv().unwrap(), Some(message));
    }
    let closed = ws.close(1000, "bye").unwrap();
    assert!(closed.is_clean() && closed.code() == CloseCode::NORMAL);
    assert!(ws.send("too late").is_err_and(|e| e.is_closed()));
    assert_eq!(ws.closed(), closed);
}

#[test]
fn messages_are_an_iterator() {
    let (url, playing) = scripted(|mut peer| async move {
        peer.send(text("1")).await;
        peer.send(text("2")).await;
        peer.send(close(1001)).await;
        peer.expect_close(1001).await;
    });
    let mut ws = blocking::connect(url).unwrap();
    let all: Result<Vec<_>, _> = ws.by_ref().collect();
    assert_eq!(all.unwrap(), ["1".into(), "2".into()]);
    assert_eq!(ws.closed().code(), CloseCode::GOING_AWAY);
    playing.join().unwrap();

    let (url, playing) = scripted(|mut peer| async move { peer.send(text("1")).await });
    let mut ws = blocking::connect(url).unwrap();
    assert!(ws.next().unwrap().is_ok());
    assert!(ws.next().unwrap().is_err_and(|e| e.is_lost()));
    assert!(ws.next().is_none());
    playing.join().unwrap();
}

#[test]
fn a_wait_has_an_end_and_loses_nothing() {
    let (go, gone) = mpsc::channel();
    let (url, playing) = scripted(|mut peer| async move {
        gone.recv().unwrap();
        peer.send(text("at last")).await;
        peer.expect_close(1001).await;
    });
    let mut ws = blocking::connect(url).unwrap();
    assert!(ws.recv_timeout(Duration::ZERO).is_none());
    assert!(ws.recv_timeout(Duration::from_millis(10)).is_none());
    go.send(()).unwrap();
    let received = ws.recv_timeout(Duration::MAX).unwrap();
    assert_eq!(received.unwrap(), Some("at last".into()));
    drop(ws);
    playing.join().unwrap();
}

#[test]
fn many_threads_send_on_one_and_all_connections_share_a_thread() {
    let mut sockets: Vec<_> = (0..4).map(|_| blocking::connect(echo()).unwrap()).collect();
    let threads: Vec<_> = sockets
        .iter()
        .flat_map(|ws| (0..4).map(|_| ws.sender()))
        .map(|sender| {
            thread::spawn(move || {
                for n in 0..200 {
                    sender.send(format!("{n} {}", "x".repeat(2000))).unwrap();
                }
            })
        })
        .collect();
    for ws in &mut sockets {
        for _ in 0..800 {
            assert!(ws.recv().unwrap().is_some());
        }
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    #[cfg(target_os = "linux")]
    {
        let names = std::fs::read_dir("/proc/self/task")
            .unwrap()
            .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
        assert_eq!(names.filter(|name| name.trim() == "provod-blocking").count(), 1);
    }
}

#[test]
fn pings_are_answered_while_nobody_waits_and_dropping_closes() {
    let (url, playing) = scripted(|mut peer| async move {
        peer.send(ping("are you there?")).await;
        peer.expect(pong("are you there?")).await;
        peer.send(text("go")).await;
        peer.expect_close(1001).await;
    });
    let mut ws = blocking::connect(url).unwrap();
    assert_eq!(ws.recv().unwrap(), Some("go".into()));
    let sender = ws.sender();
    drop(ws);
    playing.join().unwrap();
    assert!(sender.send("too late").is_err());
}

#[test]
fn errors_are_those_of_the_client() {
    assert!(blocking::connect("ws://").is_err_and(|e| e.is_usage()));
    // Nobody listens there, where only root could.
    let refused = blocking::connect("ws://127.0.0.1:1/").unwrap_err();
    assert!(refused.is_connect(), "{refused}");
}

#[tokio::test]
async fn inside_a_runtime_it_works_as_long_as_nothing_there_is_needed() {
    let mut ws = blocking::connect(echo()).unwrap();
    ws.send("Hello").unwrap();
    assert_eq!(ws.recv().unwrap(), Some("Hello".into()));
    assert!(ws.recv_timeout(Duration::ZERO).is_none());
    assert!(ws.close(1000, "").unwrap().is_clean());
}
