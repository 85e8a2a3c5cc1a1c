//! What the peers share: the command line `PORT MODE`, one thread, and the loop that accepts.

use std::net::Ipv4Addr;

use tokio::net::{TcpListener, TcpStream};

/// What a server does with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It comes back, with the loop that the crate's documentation shows.
    Echo,
    /// It comes back, and is flushed when no further message is ready: for many in flight.
    Batch,
    /// It comes back, compressed where the client asks for it.
    Deflate,
    /// Everybody gets it, whoever sent it too, all in the same order.
    Broadcast,
    /// The same, compressed where the client asks for it.
    BroadcastDeflate,
    /// It comes back, without an HTTP library for the handshake.
    Bare,
}

/// No message of the table is longer; frames are not limited below that.
pub const MAX_MESSAGE: usize = 64 << 20;

/// How many messages wait for a slow member of a broadcast.
pub const QUEUE: usize = 4096;

/// The port and the mode of the command line; says how it is used where it makes no sense.
pub fn arguments() -> (u16, Mode) {
    let mut words = std::env::args().skip(1);
    let port = words.next().and_then(|port| port.parse().ok());
    let mode = match words.next().as_deref() {
        Some("echo") => Some(Mode::Echo),
        Some("batch") => Some(Mode::Batch),
        Some("deflate") => Some(Mode::Deflate),
        Some("broadcast") => Some(Mode::Broadcast),
        Some("broadcast-deflate") => Some(Mode::BroadcastDeflate),
        Some("bare") => Some(Mode::Bare),
        _ => None,
    };
    match (port, mode) {
        (Some(port), Some(mode)) => (port, mode),
        _ => {
            eprintln!("usage: PORT echo|batch|deflate|broadcast|broadcast-deflate|bare");
            std::process::exit(2);
        }
    }
}

/// Runs a server on this thread.
pub fn block_on<F: Future>(server: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(server)
}

/// Listens on a port of this machine.
pub async fn bind(port: u16) -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.expect("the port is free")
}

/// Hands each connection to a task of its own.
pub async fn accept<F, S>(port: u16, serve: F)
where
    F: Fn(TcpStream) -> S,
    S: Future<Output = ()> + Send + 'static,
{
    let listener = bind(port).await;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true);
                tokio::spawn(serve(stream));
            }
            Err(e) => eprintln!("accept: {e}"),
        }
    }
}
