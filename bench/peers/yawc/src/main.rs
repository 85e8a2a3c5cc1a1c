//! yawc: `peer-yawc PORT echo|batch|deflate|broadcast|broadcast-deflate`

use common::{MAX_MESSAGE, Mode, QUEUE};
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::sync::broadcast::{Sender, channel};
use yawc::{CompressionLevel, Frame, HttpWebSocket, OpCode, Options, WebSocket};

/// The opcode and payload of a message to all.
type Message = (OpCode, Bytes);

fn is_data(frame: &Frame) -> bool {
    matches!(frame.opcode(), OpCode::Text | OpCode::Binary)
}

async fn echo(mut ws: HttpWebSocket) {
    while let Some(frame) = ws.next().await {
        if is_data(&frame) && ws.send(frame).await.is_err() {
            return;
        }
    }
}

async fn batch(mut ws: HttpWebSocket) {
    loop {
        let next = match ws.next().now_or_never() {
            Some(next) => next,
            None if ws.flush().await.is_err() => return,
            None => ws.next().await,
        };
        let Some(frame) = next else { return };
        if is_data(&frame) && ws.feed(frame).await.is_err() {
            return;
        }
    }
}

async fn broadcast(ws: HttpWebSocket, all: Sender<Message>) {
    let (mut write, mut read) = ws.split();
    let mut heard = all.subscribe();
    let writer = tokio::spawn(async move {
        while let Ok((opcode, payload)) = heard.recv().await {
            let frame = match opcode {
                OpCode::Text => Frame::text(payload),
                _ => Frame::binary(payload),
            };
            if write.send(frame).await.is_err() {
                break;
            }
        }
    });
    while let Some(frame) = read.next().await {
        if is_data(&frame) {
            let _ = all.send((frame.opcode(), frame.into_payload()));
        }
    }
    writer.abort();
}

async fn upgraded(
    mut request: Request<Incoming>,
    mode: Mode,
    all: Sender<Message>,
) -> yawc::Result<Response<Empty<Bytes>>> {
    let options = Options::default().with_limits(MAX_MESSAGE, 2 * MAX_MESSAGE).with_utf8();
    let options = match mode {
        Mode::Deflate | Mode::BroadcastDeflate => {
            options.with_compression_level(CompressionLevel::default())
        }
        _ => options.without_compression(),
    };
    let (response, ws) = WebSocket::upgrade_with_options(&mut request, options)?;
    tokio::spawn(async move {
        let Ok(ws) = ws.await else { return };
        match mode {
            Mode::Broadcast | Mode::BroadcastDeflate => broadcast(ws, all).await,
            Mode::Batch => batch(ws).await,
            _ => echo(ws).await,
        }
    });
    Ok(response)
}

fn main() {
    let (port, mode) = common::arguments();
    let (all, _) = channel(QUEUE);
    let serve = |stream| {
        let all = all.clone();
        async move {
            let service = service_fn(move |request| upgraded(request, mode, all.clone()));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            let _ = connection.with_upgrades().await;
        }
    };
    common::block_on(common::accept(port, serve));
}
