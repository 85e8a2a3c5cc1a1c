//! The loop that takes connections.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::Core;
use super::admission::Listening;
use super::arrival::{self, Turns, arrive};
use super::listen::{Listener, Socket};
use super::open::connection;
#[cfg(unix)]
use super::open::turn_away;
use super::request::Caller;
#[cfg(unix)]
use super::run::Homes;
#[cfg(unix)]
use crate::worker::Home;

/// How long to wait when the system has no descriptors or memory for another connection.
const PAUSE: Duration = Duration::from_millis(50);

/// So many connections are taken before those that were taken have their turn: their requests have
/// mostly come, and what a handshake needs can be used for the next. A burst of thousands leaves
/// holes in the heap otherwise that stay for as long as its connections do.
const BURST: usize = 16;

/// Takes connections until the server drains. `_listening` is given back after the listener is
/// closed, so that the address is free when a drain ends.
pub(super) async fn accept<S: Send + 'static>(
    core: Arc<Core<S>>,
    _listening: Listening,
    mut listener: Listener,
    turns: Turns,
    #[cfg(unix)] homes: Homes<S>,
) {
    #[cfg(unix)]
    let mut homes = homes.iter().cycle();
    let mut phase = core.phase.subscribe();
    let mut burst = 0usize;
    loop {
        let accepted = tokio::select! {
            biased;
            changed = phase.wait_for(|p| !p.is_accepting()) => {
                drop(changed);
                return;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(socket) => {
                core.outage.over();
                core.counters.accepted.add(1);
                take(
                    &core,
                    &turns,
                    #[cfg(unix)]
                    homes.next().cloned(),
                    socket,
                );
                burst += 1;
                if burst.is_multiple_of(BURST) {
                    tokio::task::yield_now().await;
                }
            }
            Err(e) if is_passing(&e) => {}
            Err(e) => {
                core.counters.accept_errors.add(1);
                core.outage.failed(&e, || core.admission.taken());
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Whether the error is about one connection that is gone already.
fn is_passing(e: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(e.kind(), K::ConnectionAborted | K::ConnectionReset | K::Interrupted)
}

fn take<S: Send + 'static>(
    core: &Arc<Core<S>>,
    turns: &Turns,
    #[cfg(unix)] home: Option<Arc<Home<S>>>,
    socket: Socket,
) {
    let memory = core.settings.reserve().map_err(|()| "memory");
    let admitted = memory.and_then(|m| Ok((m, core.admission.admit().ok_or("full")?)));
    let (memory, ticket) = match admitted {
        Ok(admitted) => admitted,
        Err(why) => return refuse(core, turns, socket, why),
    };
    let core = core.clone();
    match socket {
        Socket::Tcp(stream, peer) if core.is_fronted() => {
            let turns = turns.clone();
            tokio::spawn(arrive(
                core,
                #[cfg(unix)]
                home,
                stream,
                peer,
                ticket,
                memory,
                turns,
            ))
        }
        Socket::Tcp(stream, peer) => tokio::spawn(connection(
            core,
            #[cfg(unix)]
            home,
            stream,
            Caller::new(peer.to_string()),
            ticket,
            memory,
        )),
        #[cfg(unix)]
        Socket::Late(stream, peer) if core.is_fronted() => {
            tokio::spawn(arrive(core, home, stream, peer, ticket, memory, turns.clone()))
        }
        #[cfg(unix)]
        Socket::Late(stream, peer) => {
            let caller = Caller::new(peer.to_string());
            tokio::spawn(connection(core, home, stream, caller, ticket, memory))
        }
        #[cfg(unix)]
        Socket::Unix(stream) => {
            tokio::spawn(connection(core, home, stream, Caller::new("unix"), ticket, memory))
        }
    };
}

/// Answers that there is no room.
fn refuse<S: Send + 'static>(
    core: &Arc<Core<S>>,
    turns: &Turns,
    socket: Socket,
    why: &'static str,
) {
    core.counters.turned_away.add(1);
    core.counters.refused(why);
    if let Some(ticket) = core.admission.turn_away() {
        let (core, turns) = (core.clone(), turns.clone());
        match socket {
            Socket::Tcp(stream, peer) => {
                tokio::spawn(arrival::turn_away(core, stream, peer, ticket, turns))
            }
            #[cfg(unix)]
            Socket::Late(stream, peer) => {
                tokio::spawn(arrival::turn_away(core, stream, peer, ticket, turns))
            }
            #[cfg(unix)]
            Socket::Unix(stream) => tokio::spawn(turn_away(stream, ticket)),
        };
    }
}
