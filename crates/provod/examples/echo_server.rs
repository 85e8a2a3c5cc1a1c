//! An echo server as an `async` function: what `bench/memory` measures beside the tool's.
//!
//! ```text
//! cargo run -p provod --example echo_server -- 127.0.0.1:9001
//! cargo run -p provod --example echo_server -- 127.0.0.1:9001 takeover
//! ```

use provod::config::DeflateConfig;
use provod::server::OriginPolicy;
use provod::{Server, WebSocket};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    // Pages of any site may connect: there is nothing to protect. Left out, those of its own host may.
    let mut server = Server::new().listen(address).origin(OriginPolicy::any());
    if arguments.next().as_deref() == Some("takeover") {
        server = server.compression(DeflateConfig::default());
    }
    let running = server
        .start(|mut ws: WebSocket| async move {
            while let Some(message) = ws.recv().await? {
                ws.send(message).await?;
            }
            Ok(())
        })
        .await?;
    for address in running.addresses() {
        println!("echoing on ws://{address}/");
    }
    running.wait().await;
    Ok(())
}
