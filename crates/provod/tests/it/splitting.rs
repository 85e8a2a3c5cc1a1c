//! The halves of a connection, and the handles as `Stream` and `Sink`.

use futures_util::{SinkExt, StreamExt as _, stream};
use provod::{BoxError, Config, Error, Message, MessageReader, MessageWriter, Receiver, Sender};
use provod::{MessageKind, Prepared, WebSocket};
use tokio::io::AsyncWriteExt as _;

use crate::peer::{close, soon, text};
use crate::sending::connected;

#[test]
fn handles_can_go_to_any_task() {
    fn send<T: Send + 'static>() {}
    fn sync<T: Sync>() {}
    send::<WebSocket>();
    send::<Sender>();
    send::<Receiver>();
    send::<MessageWriter>();
    send::<Prepared>();
    send::<MessageReader<'static>>();
    send::<Error>();
    sync::<WebSocket>();
    sync::<Sender>();
    sync::<Receiver>();
    sync::<Error>();
}

#[tokio::test]
async fn the_halves_work_in_tasks_of_their_own() {
    let (_running, mut peer, ws) = connected(Config::default()).await;
    let (sender, mut receiver) = ws.split();
    let sending = tokio::spawn(async move {
        for n in 0..100 {
            sender.send(format!("{n}")).await?;
        }
        Ok::<_, Error>(sender)
    });
    let receiving = tokio::spawn(async move {
        let mut got = Vec::new();
        while let Some(message) = receiver.recv().await? {
            got.push(message);
        }
        Ok::<_, Error>(got)
    });
    for n in 0..100 {
        peer.expect_text(&n.to_string()).await;
        peer.send(text(&format!("re: {n}"))).await;
    }
    peer.send(close(1000)).await;
    let got = soon(receiving).await.unwrap().unwrap();
    assert_eq!(got.len(), 100);
    assert_eq!(got[99], Message::text("re: 99"));
    let sender = soon(sending).await.unwrap().unwrap();
    assert!(soon(sender.closed()).await.is_clean());
}

#[tokio::test]
async fn a_receiver_lives_without_senders() {
    let (_running, mut peer, ws) = connected(Config::default()).await;
    let (sender, mut receiver) = ws.split();
    drop(sender);
    peer.send(text("still here")).await;
    assert_eq!(soon(receiver.recv()).await.unwrap(), Some(Message::text("still here")));
    receiver.sender().send("and able to answer").await.unwrap();
    peer.expect_text("and able to answer").await;
}

#[tokio::test]
async fn a_dropped_receiver_closes_and_senders_are_told() {
    let (_running, mut peer, ws) = connected(Config::default()).await;
    let (sender, receiver) = ws.split();
    sender.send("last words").await.unwrap();
    drop(receiver);
    peer.expect_text("last words").await;
    peer.expect_close(1001).await;
    assert!(
        soon(async {
            loop {
                if let Err(e) = sender.send("too late").await {
                    return e.is_closed();
                }
            }
        })
        .await
    );
}

#[tokio::test]
async fn a_stream_gives_its_error_once_and_ends() {
    let (_running, mut peer, mut ws) = connected(Config::default()).await;
    peer.send([text("one"), vec![0xFF, 0xFF]].concat()).await;
    assert_eq!(soon(ws.next()).await.unwrap().unwrap(), Message::text("one"));
    assert!(soon(ws.next()).await.unwrap().unwrap_err().is_protocol());
    assert!(soon(ws.next()).await.is_none());

    let (_running, mut peer, ws) = connected(Config::default()).await;
    let (_sender, receiver) = ws.split();
    peer.send([text("one"), text("two"), close(1000)].concat()).await;
    let all: Vec<_> = soon(receiver.map(Result::unwrap).collect()).await;
    assert_eq!(all, [Message::text("one"), Message::text("two")]);
}

#[tokio::test]
async fn a_sink_sends_in_order_flushes_and_closes() {
    let (_running, mut peer, mut ws) = connected(Config::default()).await;
    let words = ["a", "b", "c"].map(|w| Ok::<_, Error>(Message::text(w)));
    soon(ws.send_all(&mut stream::iter(words))).await.unwrap();
    assert_eq!(ws.buffered_amount(), 0, "it was flushed");
    soon(ws.feed(Message::text("d"))).await.unwrap();
    let mut sender = ws.sender();
    let closing = tokio::spawn(async move { SinkExt::close(&mut sender).await });
    for word in ["a", "b", "c", "d"] {
        peer.expect_text(word).await;
    }
    peer.expect_close(1000).await;
    peer.send(close(1000)).await;
    soon(closing).await.unwrap().unwrap();
    assert!(soon(ws.feed(Message::text("late"))).await.unwrap_err().is_closed());
}

#[tokio::test]
async fn a_sink_waits_for_a_streamed_message() {
    let (_running, mut peer, ws) = connected(Config::default()).await;
    let mut sink = ws.sender();
    // It is ready, and before it sends, a message in pieces begins.
    soon(std::future::poll_fn(|cx| sink.poll_ready_unpin(cx))).await.unwrap();
    let mut writer = ws.send_writer(MessageKind::Text).await.unwrap();
    sink.start_send_unpin(Message::text("behind")).unwrap();
    let flushing = tokio::spawn(async move { sink.flush().await });
    soon(writer.write_all(b"in pieces")).await.unwrap();
    soon(writer.finish()).await.unwrap();
    peer.expect_text("in pieces").await;
    peer.expect_text("behind").await;
    soon(flushing).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stream_can_be_forwarded_to_a_sink() -> Result<(), BoxError> {
    let (_running, mut peer, ws) = connected(Config::default()).await;
    let (sender, receiver) = ws.split();
    let echo = tokio::spawn(receiver.forward(sender));
    for n in 0..50 {
        peer.send(text(&format!("{n}"))).await;
        peer.expect_text(&format!("{n}")).await;
    }
    peer.send(close(1000)).await;
    peer.expect_close(1000).await;
    soon(echo).await??;
    Ok(())
}
