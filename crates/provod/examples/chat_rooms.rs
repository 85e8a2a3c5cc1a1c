//! A chat with rooms: the path is the room, the query says who comes.
//!
//! ```text
//! cargo run -p provod --example chat_rooms -- 127.0.0.1:8080
//! cargo run -p provod --example chat_client -- 'ws://127.0.0.1:8080/kitchen?anna'
//! cargo run -p provod --example chat_client -- 'ws://127.0.0.1:8080/kitchen?ben'
//! ```
//!
//! # How it works
//!
//! A room is a [`Group`]: what is published to it is encoded once, however many are in it. It begins
//! with the first who enters and ends with the last who leaves. Everybody hears all but himself.
//!
//! A member who reads so slowly that 1 MiB waits for him is closed with 1013 and may come back:
//! that is [`SlowPolicy::Close`], right where no message may be left out.
//!
//! # For real use
//!
//! - Here everybody is who he says he is. `on_request` is the place to find out: see the examples
//!   `notifications` and `axum_app`.
//! - Nothing is kept: who comes later has missed what was said.
//! - Limit how much one member may say in a second, and how many rooms there may be.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use provod::group::{Member, SlowPolicy};
use provod::server::Drain;
use provod::{BoxError, Config, Group, Server, WebSocket};

#[path = "shared/signals.rs"]
mod signals;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let mut config = Config::default();
    config.limits.max_message = 4 << 10; // nobody writes more in a chat

    let rooms = Arc::new(Rooms::default());
    let running = Server::new()
        .listen(address)
        .config(config)
        .start(move |ws| talk(ws, rooms.clone()))
        .await?;
    let end = signals::end_asked();
    for address in running.addresses() {
        println!("chat_rooms: enter ws://{address}/ROOM?NAME");
    }
    end.await;
    running.drain(Drain::default()).await; // everybody is told that the server goes away
    Ok(())
}

/// One member of a room, from the first word to the last.
async fn talk(mut ws: WebSocket, rooms: Arc<Rooms>) -> Result<(), BoxError> {
    let name: String = ws.query().unwrap_or("somebody").chars().take(40).collect();
    let place = rooms.enter(ws.path(), &ws);
    ws.send(format!("welcome to {}", ws.path())).await?;
    place.say(format!("{name} is here"));
    // It ends with an error where the connection is lost: the others hear of that, too.
    while let Ok(Some(message)) = ws.recv().await {
        if let Some(text) = message.as_text() {
            place.say(format!("{name}: {text}"));
        }
    }
    place.say(format!("{name} has left"));
    Ok(())
}

/// The rooms in which somebody is.
#[derive(Default)]
struct Rooms(Mutex<HashMap<String, Group>>);

impl Rooms {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Group>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(self: &Arc<Self>, room: &str, ws: &WebSocket) -> Place {
        // Under the lock, so that no one else takes an empty room away meanwhile.
        let member =
            self.lock().entry(room.to_owned()).or_default().join(&ws.sender(), SlowPolicy::Close);
        Place { rooms: self.clone(), room: room.to_owned(), member: Some(member) }
    }
}

/// A place in a room. Dropping it leaves, and takes the room along when it is empty.
struct Place {
    rooms: Arc<Rooms>,
    room: String,
    member: Option<Member>,
}

impl Place {
    /// Tells the others.
    fn say(&self, text: String) {
        if let Some(member) = &self.member {
            member.publish(text); // never waits
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.member.take();
        let mut rooms = self.rooms.lock();
        if rooms.get(&self.room).is_some_and(Group::is_empty) {
            rooms.remove(&self.room);
        }
    }
}
