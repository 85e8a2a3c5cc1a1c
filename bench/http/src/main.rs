//! What a message costs as a WebSocket frame and as the ways of HTTP: the servers, the client that
//! loads them, and a relay that makes the way long. `bench/http/run` starts them; it prints how.

mod client;
mod options;
mod relay;
mod server;

use std::process::ExitCode;

type Error = Box<dyn std::error::Error + Send + Sync>;

const USAGE: &str = "\
usage: provod-against-http serve ws|http
       provod-against-http relay TARGET DELAY_MS
       provod-against-http measure OPTION=VALUE...";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["serve", "ws"] => server::websocket(),
        ["serve", "http"] => server::http(),
        ["relay", target, delay] => relay::run(target, delay),
        ["measure", ref options @ ..] => options::Options::parse(options).and_then(client::measure),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
