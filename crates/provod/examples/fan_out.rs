//! A ticker: one message to many subscribers, each of which chooses by its path what becomes of it
//! when it reads too slowly. A server and a few clients in one program; the argument is the number
//! of subscribers.
//!
//! ```text
//! cargo run --release -p provod --example fan_out -- 1000
//! ```

use std::time::Duration;

use provod::group::SlowPolicy;
use provod::server::Drain;
use provod::{BoxError, Error, Group, Server, WebSocket};

const TICKS: usize = 1000;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let subscribers: usize = std::env::args().nth(1).as_deref().unwrap_or("40").parse()?;

    let group = Group::new();
    let ticker = group.clone();
    let server =
        Server::new().listen("127.0.0.1:0").start(move |ws| subscribe(ws, ticker.clone())).await?;
    let address = server.addresses().first().ok_or("no address")?;

    let paths = ["close", "newest", "oldest", "latest"];
    let mut reading = Vec::new();
    for path in paths.iter().cycle().take(subscribers) {
        let mut ws = provod::connect(format!("ws://{address}/{path}")).await?;
        ws.recv().await?; // "welcome": it is a member
        reading.push(tokio::spawn(async move {
            let mut count = 0;
            while ws.recv().await?.is_some() {
                count += 1;
            }
            Ok::<usize, Error>(count)
        }));
    }

    let (mut queued, mut dropped, mut closed) = (0, 0, 0);
    for tick in 0..TICKS {
        // Never waits; encoded once, however many there are.
        let published = group.publish(format!("tick {tick}"));
        queued += published.queued;
        dropped += published.dropped;
        closed += published.closed;
        // Waits for those that are worth it, so that a burst costs nobody anything.
        group.drained(Duration::from_millis(100)).await;
    }
    println!("queued {queued}, left out {dropped}, closed for slowness {closed}");

    server.drain(Drain::default()).await;
    let mut received = 0;
    for task in reading {
        received += task.await??;
    }
    println!("received {received}");
    Ok(())
}

async fn subscribe(mut ws: WebSocket, group: Group) -> Result<(), BoxError> {
    let policy = match ws.path() {
        "/newest" => SlowPolicy::DropNewest,
        "/oldest" => SlowPolicy::DropOldest,
        "/latest" => SlowPolicy::Latest,
        _ => SlowPolicy::Close,
    };
    // It is in the group for as long as this lives.
    let _member = group.join(&ws.sender(), policy);
    ws.send("welcome").await?;
    while ws.recv().await?.is_some() {}
    Ok(())
}
