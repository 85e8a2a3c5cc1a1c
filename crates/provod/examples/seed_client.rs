//! The seed's browser client, in Rust: it greets the server and logs what it gets.
//!
//! ```text
//! cargo run -p provod --example seed_server -- 127.0.0.1:8080
//! cargo run -p provod --example seed_client -- ws://127.0.0.1:8080/chat
//! ```
//!
//! It ends when the server closes, or with Ctrl-C.

use provod::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let url = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:8080/chat".to_owned());
    if let Err(error) = chat(&url).await {
        eprintln!("Ошибка: {error}");
        std::process::exit(1);
    }
}

async fn chat(url: &str) -> Result<(), Error> {
    let mut ws = provod::connect(url).await?;
    println!("Соединение установлено");
    ws.send("Привет, сервер!").await?;
    loop {
        tokio::select! {
            message = ws.recv() => match message? {
                Some(message) => println!("Получено: {}", String::from_utf8_lossy(message.as_bytes())),
                None => break,
            },
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    let closed = ws.close(1000, "").await?;
    println!("Соединение закрыто: {}", closed.code().as_u16());
    Ok(())
}
