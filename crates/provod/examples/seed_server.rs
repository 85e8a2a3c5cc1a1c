//! The seed's Node server, in Rust: it logs what it gets and answers «Ответ от сервера».
//!
//! ```text
//! cargo run -p provod --example seed_server -- 127.0.0.1:8080
//! ```

use provod::server::OriginPolicy;
use provod::{Server, WebSocket};

#[path = "shared/signals.rs"]
mod signals;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let server = Server::new().listen(address).origin(OriginPolicy::any());
    let running = server
        .start(|mut ws: WebSocket| async move {
            while let Some(message) = ws.recv().await? {
                println!("Получено: {}", String::from_utf8_lossy(message.as_bytes()));
                ws.send("Ответ от сервера").await?;
            }
            Ok(())
        })
        .await?;
    for address in running.addresses() {
        println!("слушаю ws://{address}/");
    }
    signals::end_asked().await;
    running.drain(provod::server::Drain::default()).await;
    Ok(())
}
