//! A restart that clients hardly notice: a new process takes the port while the old one says
//! goodbye.
//!
//! ```text
//! cargo run -p provod --example graceful_restart -- 127.0.0.1:8080
//! ```
//!
//! Connect, and start the same command once more in another terminal: the second waits for the
//! port. Now tell the first to end, as systemd and every other supervisor does:
//!
//! ```text
//! kill -TERM PID
//! ```
//!
//! # How it works
//!
//! On SIGTERM [`Running::drain`](provod::server::Running::drain) stops listening at once, and the
//! second process gets the port at its next attempt. Then the first closes its connections with
//! 1012, Service Restart, which tells clients to come back, and spreads that over some seconds, so
//! that they do not come all at once. What was sent is written out first; who does not answer is
//! dropped at the deadline.
//!
//! A client that comes in the moment when nobody listens is refused, and tries again: it must be
//! ready for that anyway. Where even this is too much, put a proxy in front, or two servers.
//!
//! For systemd, the deadline is shorter than `TimeoutStopSec`:
//!
//! ```text
//! [Service]
//! ExecStart=/usr/local/bin/my-server 0.0.0.0:8080
//! Restart=always
//! TimeoutStopSec=30
//! ```

use std::process::ExitCode;
use std::time::Duration;

use provod::server::{Drain, Running};
use provod::{BoxError, CloseCode, Error, Server, WebSocket};

#[path = "shared/signals.rs"]
mod signals;

/// For so long the process before this one may take to give up the port.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> ExitCode {
    let end = signals::end_asked();
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let running = match start(&address).await {
        Ok(running) => running,
        Err(error) => {
            eprintln!("graceful_restart: {error}");
            return ExitCode::FAILURE;
        }
    };
    let process = std::process::id();
    for address in running.addresses() {
        println!("graceful_restart: process {process} listens on ws://{address}/");
    }
    end.await;

    let mut drain = Drain::default();
    drain.code = CloseCode::SERVICE_RESTART;
    drain.spread = Duration::from_secs(5);
    drain.deadline = Duration::from_secs(20);
    let dropped = running.drain(drain).await;
    println!("graceful_restart: process {process} ends, {dropped} connections were dropped");
    ExitCode::SUCCESS
}

/// Listens, as soon as nobody else does.
async fn start(address: &str) -> Result<Running, Error> {
    let attempts = async {
        let mut said = false;
        loop {
            match Server::new().listen(address).start(serve).await {
                Err(error) if error.is_address_in_use() => {
                    if !std::mem::replace(&mut said, true) {
                        println!("graceful_restart: waiting for {address}");
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                result => return result,
            }
        }
    };
    match tokio::time::timeout(PATIENCE, attempts).await {
        Ok(result) => result,
        // The last attempt says what is wrong.
        Err(_) => Server::new().listen(address).start(serve).await,
    }
}

async fn serve(mut ws: WebSocket) -> Result<(), BoxError> {
    ws.send(format!("process {}", std::process::id())).await?;
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}
