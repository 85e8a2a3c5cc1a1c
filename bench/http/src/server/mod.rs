//! The servers. Each has one thread, echoes, and hands what is published to whoever listens. What
//! is to be published comes over a plain connection of its own, which costs all of them the same.

mod feed;
mod http;
mod websocket;

use std::future::Future;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::runtime;

use crate::Error;

pub(crate) fn websocket() -> Result<(), Error> {
    block_on(websocket::run())
}

pub(crate) fn http() -> Result<(), Error> {
    block_on(http::run())
}

fn block_on(server: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(server)
}

/// Listens for one publisher at a time, says where it and the server are, and calls `publish` with
/// each text: four bytes of length, then the text.
async fn publish_from(address: SocketAddr, publish: impl Fn(String)) -> Result<(), Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{address} {}", listener.local_addr()?);
    loop {
        let (socket, _) = listener.accept().await?;
        let mut socket = BufReader::new(socket);
        // The end of a publisher is the end of its measurement.
        while let Ok(len) = socket.read_u32().await {
            let mut text = vec![0; len as usize];
            socket.read_exact(&mut text).await?;
            publish(String::from_utf8(text)?);
        }
    }
}
