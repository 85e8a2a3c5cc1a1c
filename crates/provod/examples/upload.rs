//! A message that is larger than memory should be: written, sent, received and counted piece by
//! piece, compressed on the way. A server and a client in one program; the argument is a size in
//! MiB.
//!
//! ```text
//! cargo run --release -p provod --example upload -- 1024
//! ```

use provod::config::{Config, DeflateConfig};
use provod::message::MessageKind;
use provod::{BoxError, Client, Server, WebSocket};
use tokio::io::AsyncWriteExt as _;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mib: u64 = std::env::args().nth(1).as_deref().unwrap_or("32").parse()?;

    // The longest message is limited also when nobody holds it: see Limits::max_message. It comes
    // in fragments, whose number is limited too.
    let mut config = Config::default();
    config.limits.max_message = mib << 20;
    config.limits.max_fragments = u32::MAX;
    let server = Server::new()
        .listen("127.0.0.1:0")
        .config(config)
        .compression(DeflateConfig::default())
        .start(receive)
        .await?;
    let address = server.addresses().first().ok_or("no address")?;

    let client = Client::new(format!("ws://{address}/")).compression(DeflateConfig::default());
    let mut ws = client.connect().await?;
    let mut writer = ws.send_writer(MessageKind::Binary).await?;
    let chunk: Vec<u8> = (0..1 << 20).map(|n: u32| (n >> 8) as u8).collect();
    for _ in 0..mib {
        writer.write_all(&chunk).await?; // waits while the server is slow
    }
    writer.finish().await?;
    let answer = ws.recv().await?.ok_or("no answer")?;
    println!("{}", answer.as_text().unwrap_or_default());
    ws.close(1000, "").await?;
    Ok(())
}

async fn receive(mut ws: WebSocket) -> Result<(), BoxError> {
    // A reader borrows the WebSocket; this sends meanwhile.
    let sender = ws.sender();
    while let Some(mut reader) = ws.recv_reader().await? {
        let mut len = 0;
        while let Some(chunk) = reader.chunk().await? {
            len += chunk.len();
        }
        sender.send(format!("{len} bytes received")).await?;
    }
    Ok(())
}
