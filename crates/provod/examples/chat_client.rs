//! A chat client: lines of standard input are sent, messages are printed, until either side ends.
//!
//! ```text
//! cargo run -- serve
//! cargo run -p provod --example chat_client -- ws://127.0.0.1:8080/kitchen
//! ```

use std::process::ExitCode;

use provod::close::{Cause, Closed};
use provod::{Error, WebSocket};

#[tokio::main]
async fn main() -> ExitCode {
    let url = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:8080/chat".to_owned());
    let ws = match provod::connect(&url).await {
        Ok(ws) => ws,
        Err(e) => {
            eprintln!("{e}");
            // What the server says about it is its own: escaped, since this may be a terminal.
            if let Some(response) = e.http_response() {
                eprintln!("{}", response.body().escape_ascii());
            }
            return ExitCode::FAILURE;
        }
    };
    match chat(ws).await {
        Ok(closed) => {
            eprintln!("{}", how(&closed));
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

async fn chat(mut ws: WebSocket) -> Result<Closed, Error> {
    let (sender, runtime) = (ws.sender(), tokio::runtime::Handle::current());
    // A thread of its own, since nothing can interrupt a read of standard input. Sending waits
    // while the other side is slow, and receiving goes on.
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            runtime.block_on(sender.send(line))?;
        }
        // Unlike WebSocket::close it returns at once, and what is on its way is still received.
        sender.close(1000, "")
    });
    while let Some(message) = ws.recv().await? {
        println!("{}", message.as_text().unwrap_or("(binary)").escape_debug());
    }
    Ok(ws.closed().await)
}

fn how(closed: &Closed) -> String {
    let code = closed.code();
    match &closed.cause {
        Cause::Local => format!("closed, and answered with {code}"),
        Cause::Peer => format!("the server closed with {code}"),
        Cause::Failed(e) => format!("the server broke the protocol: {e}"),
        other => format!("lost: {other:?}, {} bytes were not sent", closed.unsent),
    }
}
