//! Tests a server with a scripted client: a good conversation, a violation, and a client that is
//! cut off in the middle of a message.
//!
//! ```text
//! cargo run -p provod-testkit --example scripted_client
//! ```

use provod::{BoxError, Drain, Server, WebSocket};
use provod_testkit::peer::{Peer, ping, pong, raw, soon, text};

/// The program under test: a bot that shouts back.
async fn shout(ws: &mut WebSocket) -> Result<(), provod::Error> {
    while let Some(message) = ws.recv().await? {
        let text = message.as_text().unwrap_or("no text").to_uppercase();
        ws.send(text).await?;
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let (ended, mut endings) = tokio::sync::mpsc::channel(1);
    let server = Server::new().listen("127.0.0.1:0");
    let handler = move |mut ws: WebSocket| {
        let ended = ended.clone();
        async move {
            let result = shout(&mut ws).await;
            ended.send(result.is_ok()).await?;
            Ok(result?)
        }
    };
    let running = server.start(handler).await?;
    let address = running.addresses()[0].tcp().ok_or("a TCP address")?;

    let mut peer = Peer::open(address).await;
    peer.send(text("hello")).await;
    peer.expect_text("HELLO").await;
    // A message in fragments, with a Ping between them (RFC 6455 section 5.4), in one write.
    peer.send([raw(1, "in ").fin(false), ping("now"), raw(0, "pieces")]).await;
    peer.expect(pong("now")).await;
    peer.expect_text("IN PIECES").await;
    peer.bye().await;
    assert_eq!(soon(endings.recv()).await, Some(true));
    println!("a good conversation: ok");

    let mut peer = Peer::open(address).await;
    // A client that does not mask (RFC 6455 section 5.1).
    peer.send(text("hello").to_bytes()).await;
    println!("a violation: {}", peer.expect_close(1002).await);
    peer.expect_end().await;
    assert_eq!(soon(endings.recv()).await, Some(false));

    let mut peer = Peer::open(address).await;
    let frame = text("a long story").masked([1, 2, 3, 4]).to_bytes();
    peer.send(&frame[..10]).await;
    drop(peer);
    assert_eq!(soon(endings.recv()).await, Some(false));
    println!("a client that is cut off: ok");

    running.drain(Drain::default()).await;
    Ok(())
}
