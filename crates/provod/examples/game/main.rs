//! A game: run about, collect dots, see the others do it. Positions go out 20 times a second.
//!
//! ```text
//! cargo run --release -p provod --example game -- 127.0.0.1:8080
//! ```
//!
//! Open the address that it prints in two windows, or on a phone (give it `0.0.0.0:8080`, and open
//! this machine's name there). Arrow keys or WASD steer, and so does a finger or the mouse.
//!
//! # How it works
//!
//! The server alone knows where everybody is. A page says where its player wants to go; each tick
//! the server moves all players by what their speed allows, never beyond the edge, and sends *one*
//! frame with everything in it to a [`Group`]: encoded once, however many play. Nothing is sent
//! when nothing has moved, but for a heartbeat once a second.
//!
//! Since a frame makes the one before it worthless, the members' policy is [`SlowPolicy::Latest`]:
//! while a frame is on its way to a slow player only the newest one waits. He sees fewer frames,
//! never old ones, and costs nobody else anything. A player whose network has died is gone some 10
//! seconds later: the keepalive is set to that.
//!
//! The page draws its own player at once and the others on their way from the last place it heard
//! of to the newest.
//!
//! # The messages
//!
//! All are binary, numbers have the most significant byte first. A place is `u16` x, `u16` y.
//!
//! | from | kind `u8` | then |
//! |---|---|---|
//! | server | 0, welcome | `u8` your id, `u16` side of the square, `u16` speed a second |
//! | server | 1, frame | `u32` tick, `u8` dots, the place of each, |
//! | | | `u8` players, of each `u8` id, place, `u16` score |
//! | client | 2, go | the place it wants to be at |
//! | both | 3, ping | `u32` of the client's choice, which comes back |
//!
//! Text closes with 1003, more than 64 bytes with 1009, anything else that is not in the table with
//! 1008; more than 32 players are answered 503.
//!
//! # For real use
//!
//! - One world is one [`Group`]: many worlds are many of them, chosen by the path or the query.
//! - Say who a player is in `on_request`, as the example `notifications` explains, and give a
//!   returning one his place and score back.
//! - Send a player only what he can see when the world is larger than his screen.
//! - Count a client's messages and close when it sends hundreds a second.
//! - A connection that does nothing has a place too, so 32 of them lock everybody out: give the
//!   place of one who does not move to the next, and few places to one address.

use std::future::ready;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use provod::config::Keepalive;
use provod::group::SlowPolicy;
use provod::server::{Accept, Drain, Request, Response};
use provod::{BoxError, Config, Group, Server, WebSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{MissedTickBehavior, interval};

#[path = "../shared/pages.rs"]
mod pages;
#[path = "../shared/signals.rs"]
mod signals;
mod world;

use world::{Order, World};

const FILES: [(&str, &str); 5] = [
    ("/", include_str!("page/index.html")),
    ("/game.js", include_str!("page/game.js")),
    ("/game.css", include_str!("page/game.css")),
    ("/reconnect.js", pages::RECONNECT),
    ("/shared.css", pages::STYLE),
];

const MOST_PLAYERS: usize = 32;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("game: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), BoxError> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let mut config = Config::default();
    config.limits.max_message = 64;
    config.keepalive = Some(Keepalive::new(Duration::from_secs(5), Duration::from_secs(5)));

    let seats = Arc::new(Semaphore::new(MOST_PLAYERS));
    let game = Arc::new(Game { world: Mutex::new(World::new()), players: Group::new() });
    let players = game.clone();
    let running = Server::new()
        .origin(pages::origin(&address))
        .listen(address)
        .config(config)
        .on_request(move |request| ready(decide(&request, &seats)))
        .start_with(move |ws, seat| play(ws, seat, players.clone()))
        .await?;

    let end = signals::end_asked();
    for address in running.addresses() {
        println!("game: open {} in two windows", pages::link(address));
    }
    tokio::select! {
        () = game.tick() => {}
        () = end => {}
    }
    running.drain(Drain::default()).await;
    Ok(())
}

/// Gives a player a seat while there is one, and everybody else the page. The seat goes to the
/// handler and is free again when that ends.
fn decide(
    request: &Request,
    seats: &Arc<Semaphore>,
) -> Result<Accept<OwnedSemaphorePermit>, Response> {
    if request.path() != "/play" {
        return Err(pages::answer(request, &FILES));
    }
    match seats.clone().try_acquire_owned() {
        Ok(seat) => Ok(Accept::new(seat)),
        Err(_) => Err(Response::text(503, "all 32 places are taken")),
    }
}

struct Game {
    /// Locked for moments only, never across an `await`.
    world: Mutex<World>,
    players: Group,
}

impl Game {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the world on and shows it to all, for ever.
    async fn tick(&self) {
        let mut ticks = interval(Duration::from_secs(1) / world::RATE.into());
        // After a pause of the machine the game goes on; it does not catch up.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            let frame = self.world().step();
            if let Some(frame) = frame {
                self.players.publish(frame);
            }
        }
    }
}

/// One player, from the welcome to the end of the connection.
async fn play(
    mut ws: WebSocket,
    _seat: OwnedSemaphorePermit,
    game: Arc<Game>,
) -> Result<(), BoxError> {
    let (player, _member) = {
        // In one go: no frame comes before the welcome, and that of the next tick has this player.
        let mut world = game.world();
        let id = world.join();
        // It fails only where the connection has ended already, and then `recv` says so.
        let _ = ws.try_send(world.welcome(id));
        let member = game.players.join(&ws.sender(), SlowPolicy::Latest);
        (Player { game: game.clone(), id }, member)
    };
    while let Some(message) = ws.recv().await? {
        match Order::read(&message) {
            Ok(Order::Go(place)) => game.world().go(player.id, place),
            // Waits where the client does not read its answers: it is not read either, then.
            Ok(Order::Ping) => ws.send(message).await?,
            Err((code, why)) => {
                // Does not wait for the client's answer: the others need not see him any longer.
                ws.sender().close(code, why)?;
                break;
            }
        }
    }
    Ok(())
}

/// A player in the world; dropping it takes him out.
struct Player {
    game: Arc<Game>,
    id: u8,
}

impl Drop for Player {
    fn drop(&mut self) {
        self.game.world().leave(self.id);
    }
}
