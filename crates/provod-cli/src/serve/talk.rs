//! One client in its room, from its first message to its last.

use std::sync::Arc;

use provod::{BoxError, Message, WebSocket};
use tokio::time::Instant;

use super::protocol::{Limits, MAX_NAME, MAX_TEXT, Mistake, SUBPROTOCOL, Said};
use super::rate::Rate;
use super::room::{Hello, Named, pong};
use super::rooms::{Entry, Held, Rooms};

/// Talks to a client until it goes.
pub(super) async fn talk(
    ws: WebSocket,
    entry: Entry,
    rooms: Arc<Rooms>,
    rate: Rate,
) -> Result<(), BoxError> {
    let held = rooms.hold(entry.room);
    if ws.subprotocol() == Some(SUBPROTOCOL) {
        // Boxed, so that a plain connection does not carry the room that this one needs.
        return Box::pin(Guest { ws, held: &held, rate, echo: entry.echo }.talk()).await;
    }
    plain(ws, &held, entry.echo).await
}

/// What a plain client says goes to all as it is.
async fn plain(mut ws: WebSocket, held: &Held, echo: bool) -> Result<(), BoxError> {
    let member = held.room().enter(&ws.sender(), echo);
    while let Some(message) = ws.recv().await? {
        member.say(message).await;
        held.said();
    }
    Ok(())
}

/// A client that speaks the room protocol.
struct Guest<'a> {
    ws: WebSocket,
    held: &'a Held,
    rate: Rate,
    echo: bool,
}

impl Guest<'_> {
    async fn talk(mut self) -> Result<(), BoxError> {
        let mut bucket = self.rate.bucket();
        let mut member = None;
        while let Some(message) = self.ws.recv().await? {
            let said = match &message {
                Message::Text(text) => Some(Said::read(text)),
                // Binary; whatever else may come one day has no words either.
                _ => None,
            };
            let id = match &said {
                Some(Ok(said)) => said.id(),
                _ => None,
            };
            let answer = match bucket.take(Instant::now()) {
                Err(wait) => {
                    let (rate, burst) = (self.rate.per_second(), self.rate.burst());
                    let why = format!("too many messages: {rate} a second, {burst} at once");
                    let wait = u64::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
                    Err(Mistake::new("rate", why).of(id).retry_after(wait))
                }
                Ok(()) => match said {
                    Some(Ok(said)) => self.hear(&mut member, said).await,
                    Some(Err(mistake)) => Err(mistake),
                    None => self.pass(member.as_ref(), message).await,
                },
            };
            match answer {
                Ok(None) => {}
                Ok(Some(text)) => self.ws.send(text).await?,
                Err(mistake) => {
                    let peer = self.ws.peer();
                    tracing::debug!(peer, code = mistake.code(), "a message was not dealt with");
                    self.ws.send(mistake.to_json()).await?;
                }
            }
        }
        Ok(())
    }

    /// Deals with a message; returns what the client alone is told.
    async fn hear(
        &self,
        member: &mut Option<Named>,
        said: Said,
    ) -> Result<Option<String>, Mistake> {
        match (member.as_ref(), said) {
            (None, Said::Hello { name, client, attempt }) => {
                let limits = Limits {
                    name: MAX_NAME,
                    text: MAX_TEXT,
                    rate: self.rate.per_second(),
                    burst: self.rate.burst(),
                };
                let hello = Hello { name, client, attempt, limits, echo: self.echo };
                // Without a member the connection is closing, and the next `recv` ends this.
                *member = self.held.room().welcome(&self.ws.sender(), hello);
                Ok(None)
            }
            (None, said) => Err(say_hello().of(said.id())),
            (Some(_), Said::Hello { .. }) => {
                Err(Mistake::new("already_joined", "say rename to change the name"))
            }
            (Some(member), Said::Say { id, text }) => {
                let again = member.say(id.as_deref(), text).await;
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
    async fn pass(
        &self,
        member: Option<&Named>,
        message: Message,
    ) -> Result<Option<String>, Mistake> {
        let member = member.ok_or_else(say_hello)?;
        member.pass(message.into_bytes()).await;
        Ok(None)
    }
}

fn say_hello() -> Mistake {
    Mistake::new("hello_first", "say hello first")
}
