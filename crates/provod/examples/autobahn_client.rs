//! A client that lets the Autobahn Testsuite's `fuzzingserver` play all its cases: it echoes what
//! it gets and ends each connection as the suite wants.
//!
//! ```text
//! cargo run --release -p provod --example autobahn_client -- ws://127.0.0.1:9001 --at-once 4
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use provod::{BoxError, Client, Config, Error, Message, WebSocket, config::DeflateConfig};

const AGENT: &str = "provod";
const USAGE: &str = "usage: autobahn_client URL [--at-once N] [--takeover]";

struct Options {
    url: String,
    /// Cases that run side by side.
    at_once: usize,
    /// Compression keeps its context from one message to the next.
    takeover: bool,
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let options = Arc::new(Options::parse(std::env::args().skip(1)).ok_or(USAGE)?);
    let count = ask(options.client("/getCaseCount?agent=")).await?.ok_or("no count of cases")?;
    let count = count.as_text().unwrap_or_default().parse()?;
    let next = Arc::new(AtomicUsize::new(1));
    let workers: Vec<_> = (0..options.at_once)
        .map(|_| tokio::spawn(run_cases(options.clone(), next.clone(), count)))
        .collect();
    let mut failed = None;
    for worker in workers {
        failed = failed.or(worker.await?.err());
    }
    // Also when a case did not start: the reports tell about all others.
    ask(options.client("/updateReports?agent=")).await?;
    if let Some(e) = failed {
        return Err(e.into());
    }
    println!("{count} cases done");
    Ok(())
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let url = arguments.next()?.trim_end_matches('/').to_owned();
        let mut options = Self { url, at_once: 1, takeover: false };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--at-once" => options.at_once = arguments.next()?.parse().ok()?,
                "--takeover" => options.takeover = true,
                _ => return None,
            }
        }
        Some(options)
    }

    /// A client for one of the suite's paths; the agent's name is added to it.
    fn client(&self, path: &str) -> Client {
        let mut config = Config::default();
        // The suite judges the compression of small messages too.
        config.compression.threshold = 0;
        let deflate = DeflateConfig {
            server_no_context_takeover: !self.takeover,
            client_no_context_takeover: !self.takeover,
            ..DeflateConfig::default()
        };
        Client::new(format!("{}{path}{AGENT}", self.url)).config(config).compression(deflate)
    }
}

/// Takes cases until none is left.
async fn run_cases(
    options: Arc<Options>,
    next: Arc<AtomicUsize>,
    count: usize,
) -> Result<(), Error> {
    loop {
        let case = next.fetch_add(1, Ordering::Relaxed);
        if case > count {
            return Ok(());
        }
        let ws = options.client(&format!("/runCase?case={case}&agent=")).connect().await?;
        // How it ends is the suite's to judge: many cases break the protocol.
        let _ = echo(ws).await;
        // Answered when the suite has its verdict, which may be after our end of the connection.
        ask(options.client(&format!("/getCaseStatus?case={case}&agent="))).await?;
    }
}

async fn echo(mut ws: WebSocket) -> Result<(), Error> {
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}

/// The suite's answer to a question; `None` when all it says is that it has done something.
async fn ask(client: Client) -> Result<Option<Message>, Error> {
    let mut ws = client.connect().await?;
    let answer = ws.recv().await?;
    while ws.recv().await?.is_some() {}
    Ok(answer)
}
