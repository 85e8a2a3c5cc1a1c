//! sockudo-ws: `peer-sockudo-ws PORT echo|batch|deflate|broadcast`

use std::sync::Arc;

use bytes::BytesMut;
use common::{MAX_MESSAGE, Mode};
use futures_util::{FutureExt as _, SinkExt, StreamExt as _};
use sockudo_ws::deflate::{DeflateConfig, negotiate_server_deflate};
use sockudo_ws::handshake::{build_response, generate_accept_key, parse_request, server_handshake};
use sockudo_ws::pubsub::PubSub;
use sockudo_ws::{CompressedWebSocketStream, Config, Error, Message, WebSocketStream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc::unbounded_channel;

fn config() -> Config {
    let mut config = Config::default();
    config.max_message_size = MAX_MESSAGE;
    config.max_frame_size = MAX_MESSAGE;
    config.idle_timeout = 0;
    config
}

fn is_data(message: &Message) -> bool {
    matches!(message, Message::Text(_) | Message::Binary(_))
}

async fn accept(mut stream: TcpStream) -> Result<WebSocketStream<TcpStream>, Error> {
    server_handshake(&mut stream).await?;
    Ok(WebSocketStream::server(stream, config()))
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
                SinkExt::<Message>::flush(&mut ws).await?;
                ws.next().await
            }
        };
        let Some(message) = next.transpose()? else { return Ok(()) };
        if is_data(&message) {
            ws.feed(message).await?;
        }
    }
}

async fn deflate(mut stream: TcpStream) -> Result<(), Error> {
    let mut head = BytesMut::with_capacity(4096);
    let agreed = loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
        if let Some((request, _)) = parse_request(&head)? {
            let offered = request.extensions;
            let ours = DeflateConfig::default();
            let agreed = offered.and_then(|offered| negotiate_server_deflate(offered, &ours));
            let Some(agreed) = agreed else { return Ok(()) };
            let (key, header) = (generate_accept_key(request.key), agreed.to_response_header());
            stream.write_all(&build_response(&key, None, Some(&header))).await?;
            break agreed.config;
        }
    };
    let mut ws = CompressedWebSocketStream::server(stream, config(), agreed);
    while let Some(message) = ws.next().await.transpose()? {
        if is_data(&message) {
            ws.send(message).await?;
        }
    }
    Ok(())
}

async fn broadcast(stream: TcpStream, topics: Arc<PubSub>) -> Result<(), Error> {
    let (mut read, mut write) = accept(stream).await?.split();
    let (queue, mut heard) = unbounded_channel();
    let subscriber = topics.create_subscriber(queue);
    topics.subscribe(subscriber, "all");
    let writer = tokio::spawn(async move {
        while let Some(message) = heard.recv().await {
            if write.send(message).await.is_err() {
                break;
            }
        }
    });
    while let Some(Ok(message)) = read.next().await {
        if is_data(&message) {
            topics.publish("all", message);
        }
    }
    topics.remove_subscriber(subscriber);
    writer.abort();
    Ok(())
}

fn main() {
    let (port, mode) = common::arguments();
    let topics = Arc::new(PubSub::new());
    let serve = |stream| {
        let topics = topics.clone();
        async move {
            let _ = match mode {
                Mode::Batch => batch(stream).await,
                Mode::Deflate => deflate(stream).await,
                Mode::Broadcast => broadcast(stream, topics).await,
                _ => echo(stream).await,
            };
        }
    };
    common::block_on(common::accept(port, serve));
}
