//! fastwebsockets: `peer-fastwebsockets PORT echo|broadcast|bare`
//!
//! `echo` is the crate's own example: hyper makes the handshake. With `bare` the handshake is made
//! by hand, as few use the crate, and the connection is read and written without hyper's layer.

use std::sync::Arc;

use base64::Engine as _;
use common::{MAX_MESSAGE, Mode, QUEUE};
use fastwebsockets::{
    FragmentCollector, FragmentCollectorRead, Frame, OpCode, Payload, Role, WebSocket,
    WebSocketError, upgrade,
};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::broadcast::{Sender, channel};
use tokio::task::unconstrained;

/// The opcode and payload of a message to all.
type Message = (OpCode, Arc<Vec<u8>>);

async fn echo<S: AsyncRead + AsyncWrite + Unpin>(ws: WebSocket<S>) -> Result<(), WebSocketError> {
    let mut ws = FragmentCollector::new(ws);
    loop {
        let frame = ws.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => ws.write_frame(frame).await?,
            _ => {}
        }
    }
}

async fn broadcast<S>(ws: WebSocket<S>, all: Sender<Message>) -> Result<(), WebSocketError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (read, mut write) = ws.split(tokio::io::split);
    let mut read = FragmentCollectorRead::new(read);
    let mut heard = all.subscribe();
    let writer = tokio::spawn(async move {
        while let Ok((opcode, payload)) = heard.recv().await {
            let payload = Payload::Borrowed(&payload);
            let frame = Frame::new(true, opcode, None, payload);
            if write.write_frame(frame).await.is_err() {
                break;
            }
        }
    });
    loop {
        let frame = read.read_frame::<_, WebSocketError>(&mut |_| async { Ok(()) }).await;
        match frame {
            Ok(frame) if matches!(frame.opcode, OpCode::Text | OpCode::Binary) => {
                let _ = all.send((frame.opcode, Arc::new(frame.payload.to_vec())));
            }
            Ok(frame) if frame.opcode != OpCode::Close => {}
            _ => break,
        }
    }
    writer.abort();
    Ok(())
}

async fn upgraded(
    mut request: Request<Incoming>,
    all: Option<Sender<Message>>,
) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    let (response, ws) = upgrade::upgrade(&mut request)?;
    tokio::spawn(unconstrained(async move {
        if let Ok(mut ws) = ws.await {
            ws.set_max_message_size(MAX_MESSAGE);
            let _ = match all {
                None => echo(ws).await,
                Some(all) => broadcast(ws, all).await,
            };
        }
    }));
    Ok(response)
}

async fn bare(mut stream: TcpStream) -> Result<(), WebSocketError> {
    let mut head = Vec::with_capacity(1024);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head);
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim())
    });
    let mut hash = Sha1::new();
    hash.update(key.unwrap_or_default());
    hash.update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let accept = base64::engine::general_purpose::STANDARD.encode(hash.finalize());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await?;
    let mut ws = WebSocket::after_handshake(stream, Role::Server);
    ws.set_max_message_size(MAX_MESSAGE);
    echo(ws).await
}

fn main() {
    let (port, mode) = common::arguments();
    let (all, _) = channel(QUEUE);
    let serve = |stream| {
        let all = (mode == Mode::Broadcast).then(|| all.clone());
        async move {
            if mode == Mode::Bare {
                let _ = unconstrained(bare(stream)).await;
                return;
            }
            let service = service_fn(move |request| upgraded(request, all.clone()));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            let _ = connection.with_upgrades().await;
        }
    };
    common::block_on(common::accept(port, serve));
}
