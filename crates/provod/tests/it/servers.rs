//! Servers for the tests: on a port of the system's choice, ended with the test.

use std::net::SocketAddr;
use std::time::Duration;

use provod::server::Running;
use provod::{BoxError, Config, Server, WebSocket};
use tokio::sync::mpsc;

use crate::hall::Hall;

pub(crate) async fn echo(mut ws: WebSocket) -> Result<(), BoxError> {
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}

/// Starts `server` as an echo server.
pub(crate) async fn start(server: Server) -> (Running, SocketAddr) {
    start_with(server, echo).await
}

/// Starts `server` with a handler.
pub(crate) async fn start_with<H, F>(server: Server, handler: H) -> (Running, SocketAddr)
where
    H: Fn(WebSocket) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    let running = server.listen("127.0.0.1:0").start(handler).await.expect("the server starts");
    let address = address(&running);
    (running, address)
}

/// Starts `server`, which gives its WebSockets to the test.
pub(crate) async fn hall(server: Server) -> Hall<WebSocket> {
    let (out, opened) = mpsc::unbounded_channel();
    let (running, address) = start_with(server, move |ws| {
        let _ = out.send(ws);
        std::future::ready(Ok(()))
    })
    .await;
    Hall { running, address, opened }
}

pub(crate) async fn hall_with(config: Config) -> Hall<WebSocket> {
    hall(Server::new().config(config)).await
}

pub(crate) fn address(running: &Running) -> SocketAddr {
    running.addresses()[0].tcp().expect("a TCP address")
}

/// Settings with short times: for tests of what happens when time runs out.
pub(crate) fn hasty() -> Config {
    let mut config = Config::default();
    config.close_timeout = Duration::from_millis(100);
    config
}

/// Settings under which a closing handshake may take as long as a busy machine makes it.
pub(crate) fn patient() -> Config {
    let mut config = Config::default();
    config.close_timeout = Duration::from_secs(3600);
    config
}
