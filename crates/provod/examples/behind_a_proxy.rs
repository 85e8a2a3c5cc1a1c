//! A client in a company's network, where the way out leads through a proxy.
//!
//! ```text
//! export https_proxy=http://me:secret@proxy.example:3128 no_proxy=localhost,.intern
//! cargo run -p provod --example behind_a_proxy -- wss://example.com/chat Hello
//! ```
//!
//! It connects as curl and most programs do: through `https_proxy` for `wss://`, `http_proxy` for
//! `ws://` or `all_proxy` for both, but not to what `no_proxy` names. Sends one message, prints one
//! answer, and says what to do where it does not come so far.
//!
//! # How it works
//!
//! [`Proxy::from_env`] is all that it takes. The library reads the environment only when it is
//! asked; a proxy from a setting of your own is [`Proxy::parse`]. A proxy of HTTP is asked for a
//! tunnel with CONNECT, one of SOCKS5 (`socks5h://`) in its own words; TLS is made inside the
//! tunnel, so the proxy learns no more than host and port. The password goes to the proxy only, and
//! into no error and no log.
//!
//! # For real use
//!
//! - A proxy that opens TLS needs its own certificate authority to be trusted, beside or instead of
//!   the system's: `Client::tls` with `ClientTls::ca_pem`.
//! - Proxies cut what they take for idle, often after a minute. The keepalive sends a Ping every
//!   25 s: see `Config::keepalive`.
//! - Come back by yourself when the connection is lost: see the example `reconnecting_ticker`.

use std::process::ExitCode;

use provod::client::Proxy;
use provod::{Client, Error, Message};

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "wss://example.com/chat".to_owned());
    let words = arguments.next().unwrap_or_else(|| "Hello".to_owned());
    match ask(&url, words).await {
        Ok(Some(answer)) => {
            // What others send is escaped, since this may be a terminal.
            println!("{}", answer.as_text().unwrap_or("(binary)").escape_debug());
            ExitCode::SUCCESS
        }
        Ok(None) => {
            eprintln!("behind_a_proxy: the server closed without an answer");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("behind_a_proxy: {error}");
            if let Some(advice) = advice(&error) {
                eprintln!("behind_a_proxy: {advice}");
            }
            ExitCode::FAILURE
        }
    }
}

async fn ask(url: &str, words: String) -> Result<Option<Message>, Error> {
    let client = Client::new(url).proxy(Proxy::from_env()?).redirects(5); // a portal in between may move things about
    let mut ws = client.connect().await?;
    ws.send(words).await?;
    let answer = ws.recv().await?;
    ws.close(1000, "").await?;
    Ok(answer)
}

/// What a person can do about it.
fn advice(error: &Error) -> Option<&'static str> {
    if error.is_proxy() {
        return Some(match error.http_response().map(|response| response.status()) {
            Some(407) => "write user and password into the proxy's address: http://me:secret@proxy",
            Some(403) => "the proxy does not let this host or port through: ask whoever runs it",
            Some(_) => "the proxy could not reach the server: is the name right?",
            None => "look at https_proxy, http_proxy and all_proxy: is this the right proxy?",
        });
    }
    if error.is_resolve() || error.is_connect() {
        return Some("no proxy was used for this address: see https_proxy and no_proxy");
    }
    None
}
