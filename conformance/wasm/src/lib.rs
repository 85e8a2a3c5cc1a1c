//! What a page does with the client compiled for the browser: each function is called by a test,
//! and throws what went wrong.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use provod::close::Cause;
use provod::error::TrySendError;
use provod::reconnect::{Backoff, Delivery, Event, OutboxLimits};
use provod::{Client, CloseCode, Config, Message, WebSocket};
use wasm_bindgen::prelude::*;

type Outcome = Result<(), String>;

/// Fails with the place and both values.
macro_rules! same {
    ($left:expr, $right:expr) => {
        match (&$left, &$right) {
            (left, right) if left == right => {}
            (left, right) => return Err(format!("line {}: {left:?}, not {right:?}", line!())),
        }
    };
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

async fn open(url: &str) -> Result<WebSocket, String> {
    provod::connect(url).await.map_err(text)
}

/// Polls once and drops what has not ended.
async fn once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Messages of each kind and many lengths, behind each other.
#[wasm_bindgen]
pub async fn echoes(url: String) -> Outcome {
    let mut ws = open(&url).await?;
    let mut all = vec![
        Message::from("Привет, сервер! 🎉"),
        Message::from(""),
        Message::from(Vec::new()),
        Message::from(vec![0, 255, 128]),
    ];
    for length in [125, 126, 65_535, 65_536, 3 << 20] {
        all.push(Message::from("ü".repeat(length)));
        all.push(Message::from(vec![7; length]));
    }
    for message in &all {
        ws.send(message.clone()).await.map_err(text)?;
    }
    for message in &all {
        same!(ws.recv().await.map_err(text)?.as_ref(), Some(message));
    }
    let closed = ws.close(4321, "до свидания").await.map_err(text)?;
    same!(closed.cause, Cause::Local);
    same!((closed.code(), closed.is_clean(), closed.unsent), (CloseCode::from(4321), true, 0));
    same!(ws.recv().await.map_err(text)?, None);
    match ws.send("too late").await {
        Err(e) if e.is_closed() => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

/// A `recv` that is dropped loses nothing; the receiver is a stream; senders are many.
#[wasm_bindgen]
pub async fn handles(url: String) -> Outcome {
    let (sender, mut receiver) = open(&url).await?.split();
    for n in 0..20 {
        same!(once(receiver.recv()).await.is_none(), true);
        sender.clone().send(n.to_string()).await.map_err(text)?;
        same!(receiver.next().await.transpose().map_err(text)?, Some(n.to_string().into()));
    }
    drop(receiver);
    match sender.try_send("nobody listens") {
        Err(TrySendError::Closed(message)) => {
            same!(message.as_text(), Some("nobody listens"));
            Ok(())
        }
        other => Err(format!("{other:?}")),
    }
}

/// What the browser holds is bounded.
#[wasm_bindgen]
pub async fn bounded_queue(url: String) -> Outcome {
    let mut config = Config::default();
    config.hard_limit = 1 << 20;
    let ws = Client::new(&url).config(config).connect().await.map_err(text)?;
    let part = Message::from(vec![1; 512 << 10]);
    let mut taken = 0;
    let full = loop {
        match ws.try_send(part.clone()) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
        if taken > 64 {
            return Err("it takes everything".to_owned());
        }
    };
    same!(full, TrySendError::Full(part));
    same!(ws.buffered_amount() <= 2 << 20, true);
    same!(ws.send("behind it").now_or_never().is_none(), true);
    ws.drained().await;
    same!(ws.buffered_amount() <= 64 << 10, true);
    Ok(())
}

/// What is received and not taken is bounded.
#[wasm_bindgen]
pub async fn bounded_inbox(url: String) -> Outcome {
    let mut config = Config::default();
    config.receive_limit = 100_000;
    let mut ws = Client::new(&url).config(config).connect().await.map_err(text)?;
    for _ in 0..3 {
        ws.send(vec![0; 40_000]).await.map_err(text)?;
    }
    same!(ws.closed().await.cause, Cause::Local);
    for _ in 0..3 {
        same!(ws.recv().await.map_err(text)?.map(|m| m.len()), Some(40_000));
    }
    match ws.recv().await {
        Err(e) if e.is_limit() => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

/// Also where they are empty. The server ends it when it has sent too many.
#[wasm_bindgen]
pub async fn bounded_flood(url: String) -> Outcome {
    let mut config = Config::default();
    config.receive_limit = 100_000;
    let mut ws = Client::new(&url).config(config).connect().await.map_err(text)?;
    ws.closed().await;
    let mut taken = 0;
    loop {
        match ws.recv().await {
            Ok(Some(_)) => taken += 1,
            Err(e) if e.is_limit() => break,
            other => return Err(format!("{other:?} behind {taken}")),
        }
    }
    same!(taken < 10_000, true);
    Ok(())
}

/// Where nobody listens, where the address is none, and what a page must not say.
#[wasm_bindgen]
pub async fn refusals(url: String, nobody: String) -> Outcome {
    let error = provod::connect(format!("{nobody}?token=secret"))
        .await
        .err()
        .map(|e| (e.is_connect(), text(e)));
    let Some((true, line)) = error else { return Err(format!("{error:?}")) };
    same!(line.contains("secret"), false);
    match provod::connect("gopher://example.com/").await {
        Err(e) if e.is_usage() => {}
        other => return Err(format!("{other:?}")),
    }
    match Client::new(&url).subprotocol("not a token").connect().await {
        Err(e) if e.is_usage() => {}
        other => return Err(format!("{other:?}")),
    }
    // What the browser says repeats what it was given.
    match provod::connect("ws://me:secret@host:99999/?token=secret#secret").await {
        Err(e) if e.is_usage() => same!(text(e).contains("secret"), false),
        other => return Err(format!("{other:?}")),
    }
    match Client::new(&url).subprotocol("the secret").connect().await {
        Err(e) if e.is_usage() => same!(text(e).contains("secret"), false),
        other => return Err(format!("{other:?}")),
    }
    let client = Client::new("wss://me:secret@host/?secret").subprotocol("secret");
    same!(format!("{client:?}").contains("secret"), false);
    let mut ws = Client::new(&url).reconnecting().start().map_err(text)?;
    for code in [1001, 1009, 2999, 5000] {
        let (closed, sent) = (ws.close(code, "").await, ws.sender().close(code, ""));
        match (&closed, &sent) {
            (Err(closed), Err(sent)) if closed.is_usage() && sent.is_usage() => {}
            _ => return Err(format!("{code}: {closed:?}, {sent:?}")),
        }
    }
    ws.close(3000, "").await.map_err(text)?;
    let mut ws = open(&url).await?;
    for code in [1001, 1009, 2999, 5000] {
        match ws.close(code, "").await {
            Err(e) if e.is_usage() => {}
            other => return Err(format!("{code}: {other:?}")),
        }
    }
    match ws.close(1000, "r".repeat(124)).await {
        Err(e) if e.is_usage() => {}
        other => return Err(format!("{other:?}")),
    }
    ws.send("still open").await.map_err(text)
}

#[wasm_bindgen]
extern "C" {
    /// The test waits for this.
    #[wasm_bindgen(js_name = onReady)]
    fn on_ready();
}

/// Waits for the end that the server brings about; returns how it came.
#[wasm_bindgen]
pub async fn ended(url: String) -> Result<String, String> {
    let mut ws = open(&url).await?;
    ws.send("ready").await.map_err(text)?;
    let end = loop {
        match ws.recv().await {
            Ok(Some(_)) => on_ready(),
            Ok(None) => break "closed",
            Err(e) if e.is_lost() => break "lost",
            Err(e) => return Err(text(e)),
        }
    };
    let closed = ws.closed().await;
    Ok(format!("{end} {} {:?}", closed.code(), closed.cause))
}

/// Connects again when the server has gone and come back; returns what happened, line by line.
#[wasm_bindgen]
pub async fn reconnects(url: String) -> Result<String, String> {
    let mut backoff = Backoff::default();
    backoff.first = Duration::from_millis(50);
    backoff.max = Duration::from_millis(200);
    let hello = |ws: WebSocket| async move {
        ws.send("hello").await?;
        Ok(ws)
    };
    let setup = Client::new(&url).reconnecting().backoff(backoff).on_open(hello);
    let mut ws = setup.start().map_err(text)?;
    let mut story: Vec<String> = Vec::new();
    let mut late = None;
    while let Some(event) = ws.next_event().await {
        let line = match event {
            // How many of these there are is a matter of time.
            Event::Connecting(_) | Event::Waiting(_) => continue,
            Event::Open => "open".to_owned(),
            Event::Message(message) => format!("message {}", message.as_text().unwrap_or("?")),
            Event::Lost(_) => "lost".to_owned(),
            Event::Closed(ended) => ended.to_string(),
            other => return Err(format!("{other:?}")),
        };
        match line.as_str() {
            // Attempts that failed.
            "lost" if story.last() == Some(&line) => continue,
            "lost" => late = Some(ws.send("late").await.map_err(text)?),
            "open" if late.is_none() => {
                same!(ws.deliver("early").await, Delivery::HandedOver);
            }
            "message early" => on_ready(),
            "message late" => {
                let Some(receipt) = late.take() else { return Err("it was not sent".to_owned()) };
                same!(receipt.await, Delivery::HandedOver);
                ws.sender().close(1000, "").map_err(text)?;
            }
            _ => {}
        }
        story.push(line);
    }
    Ok(story.join(", "))
}

/// Drops one that is open, which closes.
#[wasm_bindgen]
pub async fn drops(url: String) -> Outcome {
    let ws = Client::new(&url).reconnecting().start().map_err(text)?;
    same!(ws.deliver("hello").await, Delivery::HandedOver);
    Ok(())
}

/// Closes on a server that takes nothing and answers nothing; returns what became of each message.
#[wasm_bindgen]
pub async fn closes_in_time(url: String) -> Result<String, String> {
    let mut config = Config::default();
    config.close_timeout = Duration::from_millis(500);
    config.high_water = 64 << 20;
    let client = Client::new(&url).config(config);
    let mut outbox = OutboxLimits::default();
    outbox.bytes = 64 << 20;
    let mut ws = client.reconnecting().outbox(outbox).start().map_err(text)?;
    while !matches!(ws.next_event().await, Some(Event::Open)) {}
    let mut receipts = Vec::new();
    for _ in 0..32 {
        receipts.push(ws.send(vec![0; 1 << 20]).await.map_err(text)?);
    }
    ws.close(1000, "").await.map_err(text)?;
    let mut fates: Vec<_> = Vec::new();
    for receipt in receipts {
        fates.push(match receipt.await {
            Delivery::HandedOver => "handed over",
            Delivery::NotSent(_) => "not sent",
            Delivery::InDoubt(_) => "in doubt",
            _ => "?",
        });
    }
    fates.dedup();
    Ok(fates.join(", "))
}
