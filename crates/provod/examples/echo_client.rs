//! A client that a server plays with: it echoes each message, does what some ask for, and says at
//! the end how the connection ended. The tests with other people's servers use it.
//!
//! ```text
//! cargo run --release -p provod --example echo_client -- ws://127.0.0.1:8080/chat --compress
//! ```
//!
//! The text `/close 3000 bye` makes it close with that code and reason, `/ping` makes it send a
//! Ping and answer `pong` once that was answered.

use std::process::ExitCode;

use provod::{BoxError, Client, Config, WebSocket, config::DeflateConfig};

const USAGE: &str = "usage: echo_client URL [--compress | --takeover] [--window 9..15]
                   [--subprotocol NAME]... [--header 'NAME: VALUE']...";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some(client) = client(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(&client).await {
        Ok(end) => {
            println!("{end}");
            ExitCode::SUCCESS
        }
        Err(e) => {
            let lost = e.downcast_ref::<provod::Error>().is_some_and(provod::Error::is_lost);
            println!("{}: {e}", if lost { "lost" } else { "failed" });
            ExitCode::FAILURE
        }
    }
}

fn client(mut arguments: impl Iterator<Item = String>) -> Option<Client> {
    let mut config = Config::default();
    config.compression.threshold = 0;
    let mut client = Client::new(arguments.next()?).config(config);
    let mut deflate = None;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--compress" | "--takeover" => {
                let forget = argument == "--compress";
                let wanted = deflate.get_or_insert_with(DeflateConfig::default);
                wanted.server_no_context_takeover = forget;
                wanted.client_no_context_takeover = forget;
            }
            "--window" => {
                let bits = arguments.next()?.parse().ok()?;
                let wanted = deflate.get_or_insert_with(DeflateConfig::default);
                wanted.server_max_window_bits = bits;
                wanted.client_max_window_bits = bits;
            }
            "--subprotocol" => client = client.subprotocol(arguments.next()?),
            "--header" => {
                let header = arguments.next()?;
                let (name, value) = header.split_once(": ")?;
                client = client.header(name, value);
            }
            _ => return None,
        }
    }
    Some(match deflate {
        Some(config) => client.compression(config),
        None => client,
    })
}

/// Echoes until the end; returns how it came, unless it came without a closing handshake.
async fn run(client: &Client) -> Result<String, BoxError> {
    let mut ws = client.connect().await?;
    println!("open: subprotocol {}", ws.subprotocol().unwrap_or("none"));
    while let Some(message) = ws.recv().await? {
        match message.as_text() {
            Some("/ping") => {
                ws.ping().await?;
                ws.send("pong").await?;
            }
            Some(text) if text.starts_with("/close ") => return close(ws, text).await,
            _ => ws.send(message).await?,
        }
    }
    let closed = ws.closed().await;
    let reason = closed.received.clone().flatten().map(|frame| frame.reason).unwrap_or_default();
    Ok(format!("closed by the peer: {} {reason}", closed.code()))
}

async fn close(mut ws: WebSocket, command: &str) -> Result<String, BoxError> {
    let mut words = command.splitn(3, ' ').skip(1);
    let code: u16 = words.next().unwrap_or_default().parse()?;
    let closed = ws.close(code, words.next().unwrap_or_default()).await?;
    let how = if closed.is_clean() { "cleanly" } else { "without an answer" };
    Ok(format!("closed by us, {how}: {}", closed.code()))
}
