//! The clients in their rooms, from their first message to their last.

use std::sync::Arc;

use provod::handler::{Received, Socket};
use provod::{Handler, Message};
use tokio::time::Instant;

use super::protocol::{Limits, MAX_NAME, MAX_TEXT, Mistake, SUBPROTOCOL, Said};
use super::rate::{Bucket, Rate};
use super::room::{Behind, Hello, Named, Plain, pong};
use super::rooms::{Entry, Held, Rooms};

/// Lets clients into their rooms and deals with what they say.
pub(super) struct Talk {
    rooms: Arc<Rooms>,
    rate: Rate,
}

/// A client: plain, or one that speaks the room protocol. Fields are dropped in their order: it
/// leaves the room before it lets go of it.
pub(super) enum Client {
    /// What it says goes to all as it is.
    Plain(Plain),
    /// Boxed, so that a plain client does not carry the room that this one needs.
    Guest(Box<Guest>),
}

/// A client that speaks the room protocol.
pub(super) struct Guest {
    member: Option<Named>,
    bucket: Bucket,
    echo: bool,
    held: Held,
}

impl Talk {
    pub(super) fn new(rooms: Arc<Rooms>, rate: Rate) -> Self {
        Self { rooms, rate }
    }
}

impl Handler<Entry> for Talk {
    type Peer = Client;

    fn open(&self, ws: &mut Socket<'_>, entry: Entry) -> Client {
        let held = self.rooms.hold(entry.room);
        if ws.subprotocol() == Some(SUBPROTOCOL) {
            let bucket = self.rate.bucket();
            return Client::Guest(Box::new(Guest { member: None, bucket, echo: entry.echo, held }));
        }
        Client::Plain(Plain::enter(held, &ws.sender(), entry.echo))
    }

    fn message(&self, ws: &mut Socket<'_>, client: &mut Client, message: Received<'_>) {
        let behind = match client {
            Client::Plain(plain) => plain.say(message.into_message()),
            Client::Guest(guest) => guest.hear(ws, message.into_message(), self.rate),
        };
        // Whoever speaks faster than the others listen is held back for a moment.
        if let Some(behind) = behind {
            ws.wait(behind.caught_up());
        }
    }
}

impl Guest {
    /// Deals with a message. Returns who has not caught up with it.
    fn hear(&mut self, ws: &mut Socket<'_>, message: Message, rate: Rate) -> Option<Behind> {
        let said = match &message {
            Message::Text(text) => Some(Said::read(text)),
            // Binary; whatever else may come one day has no words either.
            _ => None,
        };
        let id = match &said {
            Some(Ok(said)) => said.id(),
            _ => None,
        };
        let mut behind = None;
        let answer = match self.bucket.take(Instant::now()) {
            Err(wait) => {
                let why = format!(
                    "too many messages: {} a second, {} at once",
                    rate.per_second(),
                    rate.burst()
                );
                let wait = u64::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
                Err(Mistake::new("rate", why).of(id).retry_after(wait))
            }
            Ok(()) => match said {
                Some(Ok(said)) => self.do_as(said, ws, rate, &mut behind),
                Some(Err(mistake)) => Err(mistake),
                None => self.pass(message, &mut behind).map(|()| None),
            },
        };
        // Where it cannot be sent, the connection is closing, or the client reads so slowly that
        // the room closes it.
        match answer {
            Ok(None) => {}
            Ok(Some(text)) => drop(ws.send(text)),
            Err(mistake) => {
                let peer = ws.peer();
                tracing::debug!(peer, code = mistake.code(), "a message was not dealt with");
                drop(ws.send(mistake.to_json()));
            }
        }
        behind
    }

    /// Does what a message says; returns what the client alone is told.
    fn do_as(
        &mut self,
        said: Said,
        ws: &Socket<'_>,
        rate: Rate,
        behind: &mut Option<Behind>,
    ) -> Result<Option<String>, Mistake> {
        match (self.member.as_ref(), said) {
            (None, Said::Hello { name, client, attempt }) => {
                let limits = Limits {
                    name: MAX_NAME,
                    text: MAX_TEXT,
                    rate: rate.per_second(),
                    burst: rate.burst(),
                };
                let hello = Hello { name, client, attempt, limits, echo: self.echo };
                // Without a member the connection is closing, and nothing follows.
                self.member = self.held.room().welcome(&ws.sender(), hello);
                Ok(None)
            }
            (None, said) => Err(say_hello().of(said.id())),
            (Some(_), Said::Hello { .. }) => {
                Err(Mistake::new("already_joined", "say rename to change the name"))
            }
            (Some(member), Said::Say { id, text }) => {
                let again = member.say(id.as_deref(), text, behind);
                self.held.said();
                again
            }
            (Some(member), Said::Rename { name }) => Ok(member.rename(name)),
            (Some(member), Said::Typing) => {
                member.types(Instant::now());
                Ok(None)
            }
            (Some(_), Said::Ping { id }) => Ok(Some(pong(id.as_deref()))),
        }
    }

    /// Passes on a message that is not text.
    fn pass(&self, message: Message, behind: &mut Option<Behind>) -> Result<(), Mistake> {
        let member = self.member.as_ref().ok_or_else(say_hello)?;
        *behind = member.pass(message.into_bytes());
        Ok(())
    }
}

fn say_hello() -> Mistake {
    Mistake::new("hello_first", "say hello first")
}
