//! A ticker that misses no tick, though its server restarts again and again; and orders of which it
//! is known whether they arrived. Server and client in one program; the argument is the number of
//! ticks.
//!
//! ```text
//! cargo run -p provod --example reconnecting_ticker -- 50
//! ```

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use provod::reconnect::{Backoff, Delivery, Event};
use provod::server::Running;
use provod::{BoxError, Client, Server, WebSocket};

/// A server is restarted after so many ticks.
const LIFE: u64 = 10;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let ticks: u64 = std::env::args().nth(1).as_deref().unwrap_or("40").parse()?;
    let (restarts, sent) = run(ticks).await?;
    println!("{ticks} ticks over {restarts} restarts, and {sent} orders that surely arrived");
    Ok(())
}

/// Follows the ticker; returns how often its server was restarted, and how many orders are known to
/// have arrived.
pub async fn run(ticks: u64) -> Result<(usize, usize), BoxError> {
    // In earnest this is a service that knows servers and hands out tokens.
    let directory = Arc::new(Mutex::new(String::new()));
    let mut server = start(&directory).await?;

    let next = Arc::new(AtomicU64::new(0));
    let mut backoff = Backoff::default();
    backoff.first = Duration::from_millis(100); // it is on this machine
    let (lookup, resume) = (directory.clone(), next.clone());
    let mut ws = Client::new("ws://localhost/")
        .reconnecting()
        .backoff(backoff)
        .each_attempt(move |_| {
            let url = lookup.lock().map(|url| url.clone()).unwrap_or_default();
            async move { Ok(Client::new(url).header("Authorization", "Bearer 7d1f")) }
        })
        .on_open(move |ws| {
            let from = resume.load(Relaxed);
            async move {
                ws.send(format!("from {from}")).await?;
                Ok(ws)
            }
        })
        .start()?;

    let mut restarts = 0;
    let mut orders = Vec::new();
    while next.load(Relaxed) < ticks {
        match ws.next_event().await {
            Some(Event::Message(message)) => {
                let text = message.as_text().unwrap_or_default();
                let tick: u64 = text.strip_prefix("tick ").ok_or("not a tick")?.parse()?;
                let expected = next.load(Relaxed);
                if tick > expected {
                    return Err(format!("tick {tick} instead of {expected}").into());
                }
                if tick < expected {
                    // It was still on its way to here when the next connection was asked for it.
                    continue;
                }
                next.store(tick + 1, Relaxed);
                if tick % LIFE == LIFE / 2 {
                    orders.push(ws.send(format!("buy at tick {tick}")).await?);
                }
                if tick % LIFE == LIFE - 1 {
                    // The old one vanishes, without a word.
                    server = start(&directory).await?;
                    restarts += 1;
                }
            }
            Some(Event::Open) => println!("open, from tick {}", next.load(Relaxed)),
            Some(Event::Lost(why)) => println!("{why}"),
            Some(Event::Waiting(time)) => println!("trying again in {time:?}"),
            Some(Event::Closed(why)) => return Err(why.to_string().into()),
            Some(_) => {}
            None => return Err("the end was not told".into()),
        }
    }
    ws.close(1000, "").await?;

    let mut sent = 0;
    for order in orders {
        match order.await {
            Delivery::Sent => sent += 1,
            Delivery::NotSent(order) => println!("{order:?} was not sent"),
            Delivery::InDoubt(order) => println!("{order:?} may have arrived: ask the exchange"),
            _ => {}
        }
    }
    drop(server);
    Ok((restarts, sent))
}

/// Starts a server, and puts it into the directory.
async fn start(directory: &Mutex<String>) -> Result<Running, BoxError> {
    let running = Server::new().listen("127.0.0.1:0").start(tick).await?;
    let address = running.addresses().first().ok_or("no address")?;
    if let Ok(mut url) = directory.lock() {
        *url = format!("ws://{address}/");
    }
    Ok(running)
}

/// Sends ticks, from the one that was asked for.
async fn tick(mut ws: WebSocket) -> Result<(), BoxError> {
    let asked = ws.recv().await?.ok_or("nothing was asked for")?;
    let from = asked.as_text().and_then(|text| text.strip_prefix("from "));
    let mut tick: u64 = from.ok_or("'from N' comes first")?.parse()?;
    let mut clock = tokio::time::interval(Duration::from_millis(10));
    loop {
        tokio::select! {
            order = ws.recv() => match order? {
                Some(order) => println!("order: {}", order.as_text().unwrap_or("?")),
                None => return Ok(()),
            },
            _ = clock.tick() => {
                ws.send(format!("tick {tick}")).await?;
                tick += 1;
            }
        }
    }
}
