//! The task that connects, again and again.

use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::time::Duration;

use provod_proto::{CloseFrame, Closed};

use super::core::Core;
use super::events::{Ended, Event};
use super::link::{self, Link};
use super::lost::Lost;
use super::schedule::{Next, Schedule};
use super::seam::{self, Boxed, Function, Policy};
use super::setup::{Attempt, Backoff};
use crate::error::Error;
use crate::{BoxError, Receiver, WebSocket};

/// A Ping that cannot be queued is tried again so much later.
const NEXT_PING: Duration = Duration::from_millis(100);

/// Makes a connection, or says why not.
pub(super) type Dial = Function<Attempt, Boxed<Result<WebSocket, Lost>>>;
/// Does what an open connection needs first.
pub(super) type Hook = Function<WebSocket, Boxed<Result<WebSocket, BoxError>>>;

/// All that is set, ready to run.
pub(super) struct Plan {
    pub(super) dial: Dial,
    pub(super) hook: Option<Hook>,
    pub(super) policy: Policy,
    pub(super) backoff: Backoff,
    pub(super) callback_timeout: Duration,
}

/// However the task ends, everybody is told.
struct Guard(Arc<Core>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.end(Ended::Stopped);
    }
}

pub(super) async fn run(core: Arc<Core>, plan: Plan) {
    let guard = Guard(core);
    let core = &*guard.0;
    let ended = attempts(core, &plan).await;
    core.end(ended);
}

async fn attempts(core: &Core, plan: &Plan) -> Ended {
    let mut schedule = Schedule::new(plan.backoff.clone());
    let mut last = None;
    loop {
        let number = schedule.attempt(seam::now());
        core.tell(Event::Connecting(number));
        let opened = tokio::select! {
            biased;
            _ = closing(core) => return Ended::Closed(None),
            opened = open(plan, Attempt { number, lost: last.take() }) => opened,
        };
        let lost = match opened {
            Ok(ws) => {
                schedule.opened(seam::now());
                core.opened();
                match serve(core, ws).await {
                    Over::Lost(lost) => lost,
                    Over::Closed(closed) => return Ended::Closed(Some(closed)),
                }
            }
            Err(lost) => lost,
        };
        core.tell(Event::Lost(lost.clone()));
        if core.is_closing() {
            // The peer was faster, or the connection was lost under the last messages.
            return Ended::Closed(lost.as_closed().cloned());
        }
        match schedule.lost((plan.policy)(&lost), seam::now(), seam::random()) {
            Next::GiveUp => return Ended::GaveUp(lost),
            Next::Exhausted => return Ended::Exhausted(lost),
            Next::Wait(wait) => {
                core.tell(Event::Waiting(wait));
                tokio::select! {
                    biased;
                    _ = closing(core) => return Ended::Closed(None),
                    () = poll_fn(|cx| core.poll_hurried(cx.waker())) => schedule.hurry(),
                    () = seam::sleep(wait) => {}
                }
            }
        }
        last = Some(lost);
    }
}

async fn closing(core: &Core) -> CloseFrame {
    poll_fn(|cx| core.poll_closing(cx.waker())).await
}

async fn open(plan: &Plan, attempt: Attempt) -> Result<WebSocket, Lost> {
    let ws = (plan.dial)(attempt).await?;
    let Some(hook) = &plan.hook else { return Ok(ws) };
    let limit = plan.callback_timeout;
    match seam::timeout(limit, hook(ws)).await {
        Some(opened) => opened.map_err(Lost::own),
        None => Err(Lost::slow(limit)),
    }
}

/// How an open connection came to its end.
enum Over {
    Lost(Lost),
    Closed(Closed),
}

/// Drives an open connection until it is over, one way or the other.
async fn serve(core: &Core, ws: WebSocket) -> Over {
    let (link, mut receiver) = link::split(ws);
    let ended = tokio::select! {
        // What the peer has confirmed counts before what it says next.
        biased;
        never = confirm(core, &link) => match never {},
        never = feed(core, &link) => match never {},
        end = receive(core, &mut receiver) => Err(end),
        frame = leave(core, &link) => Ok(frame),
    };
    let over = match ended {
        Ok(frame) => Over::Closed(close(core, &link, &mut receiver, frame).await),
        // The answer to the peer's Close leaves behind what the connection was given already.
        Err(Ok(())) => Over::Lost(Lost::closed(receiver.closed().await)),
        Err(Err(e)) => {
            if e.is_lost() {
                link.abort();
            } else {
                // The peer is owed the code of its violation.
                receiver.closed().await;
            }
            Over::Lost(Lost::error(e))
        }
    };
    core.lost(link.reached());
    over
}

/// Asks the peer what it has read, one Ping at a time, where anybody wants to know.
async fn confirm(core: &Core, link: &Link) -> Infallible {
    loop {
        let upto = poll_fn(|cx| core.poll_flying(cx.waker())).await;
        // A Ping overtakes what is queued, so it is queued behind the last byte.
        if link.flush().await.is_err() {
            return pending().await;
        }
        if core.flushed(upto) {
            match link.confirm().await {
                Ok(()) => core.confirmed(upto),
                Err(e) if e.is_closed() => return pending().await,
                // Somebody else's Pings fill their queue.
                Err(_) => seam::sleep(NEXT_PING).await,
            }
        }
    }
}

/// Gives the connection what waits, as it has room.
async fn feed(core: &Core, link: &Link) -> Infallible {
    loop {
        poll_fn(|cx| core.poll_waiting(cx.waker())).await;
        if link.feed(core).await.is_err() {
            // The end is told to whoever receives.
            return pending().await;
        }
        core.fed();
    }
}

/// Gives messages out, as fast as they are taken.
async fn receive(core: &Core, receiver: &mut Receiver) -> Result<(), Error> {
    loop {
        poll_fn(|cx| core.poll_room(cx.waker())).await;
        match link::receive(receiver).await? {
            Some(message) => core.received(message),
            None => return Ok(()),
        }
    }
}

/// Waits until this end wants to close, and then until all is sent, not for ever.
async fn leave(core: &Core, link: &Link) -> CloseFrame {
    let frame = closing(core).await;
    seam::timeout(link.close_timeout(), poll_fn(|cx| core.poll_settled(cx.waker()))).await;
    frame
}

/// Closes, and gives out what still comes.
async fn close(core: &Core, link: &Link, receiver: &mut Receiver, frame: CloseFrame) -> Closed {
    link.close(frame);
    let closed = tokio::select! {
        _ = receive(core, receiver) => link.closed().await,
        closed = link.closed() => closed,
    };
    // What had no room until now is no more than the connection has read ahead.
    while let Ok(Some(message)) = link::receive(receiver).await {
        core.received(message);
    }
    closed
}
