//! Servers of hyper and axum for the tests, on a port of the system's choice; they end with the
//! test's runtime.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Router;
use axum::response::Response;
use axum::routing::any;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use provod::axum::WebSocketUpgrade;
use provod::hyper::Upgrade;
use provod::{BoxError, WebSocket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

pub(crate) async fn echo(mut ws: WebSocket) -> Result<(), BoxError> {
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// Serves an application of axum.
pub(crate) async fn axum(app: Router) -> SocketAddr {
    let (listener, address) = listener().await;
    tokio::spawn(axum::serve(listener, app).into_future());
    address
}

/// An application whose only route is a WebSocket, answered in this way.
pub(crate) async fn axum_with(
    answer: impl Fn(WebSocketUpgrade) -> Response + Clone + Send + Sync + 'static,
) -> SocketAddr {
    axum(Router::new().route("/", any(move |ws: WebSocketUpgrade| async move { answer(ws) }))).await
}

/// Serves a function with hyper-util's server, for HTTP/1.1 and HTTP/2.
pub(crate) async fn hyper(
    answer: impl Fn(Request<Incoming>) -> http::Response<String> + Clone + Send + Sync + 'static,
) -> SocketAddr {
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut server = Builder::new(TokioExecutor::new());
                server.http2().enable_connect_protocol();
                let service = service_fn(|request| {
                    let response = answer(request);
                    async { Ok::<_, Infallible>(response) }
                });
                let _ = server.serve_connection_with_upgrades(TokioIo::new(tcp), service).await;
            });
        }
    });
    address
}

/// The same with hyper's own server of HTTP/1.1, on what `wrap` makes of the socket.
pub(crate) async fn hyper_http1<T>(
    wrap: impl Fn(TcpStream) -> T + Send + 'static,
    upgrades: bool,
    answer: impl Fn(Request<Incoming>) -> http::Response<String> + Clone + Send + Sync + 'static,
) -> SocketAddr
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (answer, io) = (answer.clone(), TokioIo::new(wrap(tcp)));
            tokio::spawn(async move {
                let service = service_fn(|request| {
                    let response = answer(request);
                    async { Ok::<_, Infallible>(response) }
                });
                let server = hyper::server::conn::http1::Builder::new();
                let connection = server.serve_connection(io, service);
                let _ = if upgrades { connection.with_upgrades().await } else { connection.await };
            });
        }
    });
    address
}

/// Answers each WebSocket with an echo.
pub(crate) fn echoing<R>(mut request: Request<R>) -> http::Response<String> {
    match Upgrade::new(&mut request) {
        Ok(upgrade) => upgrade.on_upgrade(echo),
        Err(refusal) => refusal,
    }
}

/// A socket that is none any more, as one under TLS.
pub(crate) struct Wrapped(pub(crate) TcpStream);

impl AsyncRead for Wrapped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wrapped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
