//! tokio-websockets: `peer-tokio-websockets PORT echo|batch|broadcast`

use common::{MAX_MESSAGE, Mode, QUEUE};
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::sync::broadcast::{Sender, channel};
use tokio_websockets::{Error, Limits, Message, ServerBuilder, WebSocketStream};

fn is_data(message: &Message) -> bool {
    message.is_text() || message.is_binary()
}

async fn accept(stream: TcpStream) -> Result<WebSocketStream<TcpStream>, Error> {
    let limits = Limits::default().max_payload_len(Some(MAX_MESSAGE));
    let (_, ws) = ServerBuilder::new().limits(limits).accept(stream).await?;
    Ok(ws)
}

async fn echo(stream: TcpStream) -> Result<(), Error> {
    let mut ws = accept(stream).await?;
    while let Some(message) = ws.next().await.transpose()? {
        if is_data(&message) {
            ws.send(message).await?;
        }
    }
    Ok(())
}

async fn batch(stream: TcpStream) -> Result<(), Error> {
    let mut ws = accept(stream).await?;
    loop {
        let next = match ws.next().now_or_never() {
            Some(next) => next,
            None => {
                ws.flush().await?;
                ws.next().await
            }
        };
        let Some(message) = next.transpose()? else { return Ok(()) };
        if is_data(&message) {
            ws.feed(message).await?;
        }
    }
}

async fn broadcast(stream: TcpStream, all: Sender<Message>) -> Result<(), Error> {
    let (mut write, mut read) = accept(stream).await?.split();
    let mut heard = all.subscribe();
    let writer = tokio::spawn(async move {
        while let Ok(message) = heard.recv().await {
            if write.send(message).await.is_err() {
                break;
            }
        }
    });
    while let Some(Ok(message)) = read.next().await {
        if is_data(&message) {
            let _ = all.send(message);
        }
    }
    writer.abort();
    Ok(())
}

fn main() {
    let (port, mode) = common::arguments();
    let (all, _) = channel(QUEUE);
    let serve = |stream| {
        let all = all.clone();
        async move {
            let _ = match mode {
                Mode::Batch => batch(stream).await,
                Mode::Broadcast => broadcast(stream, all).await,
                _ => echo(stream).await,
            };
        }
    };
    common::block_on(common::accept(port, serve));
}
