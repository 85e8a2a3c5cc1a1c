//! axum: `peer-axum PORT echo|batch|broadcast`

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::any;
use axum::serve::ListenerExt as _;
use common::{MAX_MESSAGE, Mode, QUEUE};
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::sync::broadcast::{Sender, channel};

type Shared = (Mode, Sender<Message>);

fn is_data(message: &Message) -> bool {
    matches!(message, Message::Text(_) | Message::Binary(_))
}

async fn echo(mut ws: WebSocket) {
    while let Some(Ok(message)) = ws.recv().await {
        if is_data(&message) && ws.send(message).await.is_err() {
            return;
        }
    }
}

async fn batch(mut ws: WebSocket) {
    loop {
        let next = match ws.next().now_or_never() {
            Some(next) => next,
            None if ws.flush().await.is_err() => return,
            None => ws.next().await,
        };
        let Some(Ok(message)) = next else { return };
        if is_data(&message) && ws.feed(message).await.is_err() {
            return;
        }
    }
}

async fn broadcast(ws: WebSocket, all: Sender<Message>) {
    let (mut write, mut read) = ws.split();
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
}

async fn upgrade(ws: WebSocketUpgrade, State((mode, all)): State<Shared>) -> Response {
    let ws = ws.max_message_size(MAX_MESSAGE).max_frame_size(MAX_MESSAGE);
    ws.on_upgrade(move |ws| async move {
        match mode {
            Mode::Batch => batch(ws).await,
            Mode::Broadcast => broadcast(ws, all).await,
            _ => echo(ws).await,
        }
    })
}

fn main() {
    let (port, mode) = common::arguments();
    let (all, _) = channel(QUEUE);
    common::block_on(async {
        let app = Router::new().route("/", any(upgrade)).with_state((mode, all));
        let listener = common::bind(port).await.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        axum::serve(listener, app).await.expect("it serves until it is ended");
    });
}
