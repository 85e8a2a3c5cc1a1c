//! Servers to lose, and settings that lose no time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use provod::reconnect::{Backoff, Event, OutboxLimits, Setup, WhenFull};
use provod::server::Running;
use provod::{Client, Message, Reconnecting, Server};
use provod_testkit::peer::soon;

/// What servers have read, in order.
pub(crate) type Record = Arc<Mutex<Vec<Message>>>;

/// Where a server that comes and goes is now. Its port changes, since another test may have taken
/// the old one meanwhile.
pub(crate) type Place = Arc<Mutex<String>>;

/// A client that looks there before each attempt.
pub(crate) fn client_of(place: &Place) -> Setup {
    let place = place.clone();
    Client::new("ws://localhost/").reconnecting().backoff(quick()).each_attempt(move |_| {
        let url = place.lock().unwrap().clone();
        async move { Ok(Client::new(url)) }
    })
}

/// A server that writes down what it reads, and sends it back.
pub(crate) async fn echo(place: &Place, record: &Record) -> Running {
    let record = record.clone();
    let handler = move |mut ws: provod::WebSocket| {
        let record = record.clone();
        async move {
            while let Some(message) = ws.recv().await? {
                record.lock().unwrap().push(message.clone());
                ws.send(message).await?;
            }
            Ok(())
        }
    };
    let running = Server::new().listen("127.0.0.1:0").start(handler).await.unwrap();
    *place.lock().unwrap() = format!("ws://{}/", running.addresses()[0]);
    running
}

/// Real servers are back at once.
pub(crate) fn quick() -> Backoff {
    let mut backoff = Backoff::default();
    backoff.first = Duration::from_millis(10);
    backoff.max = Duration::from_millis(50);
    backoff
}

/// Nobody waits for the end of this wait.
pub(crate) fn endless() -> Backoff {
    let mut backoff = Backoff::default();
    backoff.first = Duration::from_secs(3600);
    backoff.max = Duration::from_secs(3600);
    backoff
}

pub(crate) fn outbox(messages: usize, when_full: WhenFull) -> OutboxLimits {
    let mut limits = OutboxLimits::default();
    (limits.messages, limits.when_full) = (messages, when_full);
    limits
}

/// The next event that this finds.
pub(crate) async fn until<T>(ws: &mut Reconnecting, find: impl Fn(&Event) -> Option<T>) -> T {
    loop {
        let event = soon(ws.next_event()).await.expect("it goes on");
        if let Some(found) = find(&event) {
            return found;
        }
    }
}

pub(crate) async fn until_open(ws: &mut Reconnecting) {
    until(ws, |event| matches!(event, Event::Open).then_some(())).await;
}

pub(crate) async fn until_waiting(ws: &mut Reconnecting) -> Duration {
    until(ws, |event| match event {
        Event::Waiting(time) => Some(*time),
        _ => None,
    })
    .await
}
