//! What comes on a TCP connection before its request: the header of a proxy, and the handshake of
//! TLS.

#[cfg(feature = "tls")]
mod secure;

use std::net::SocketAddr;
use std::sync::Arc;

#[cfg(feature = "tls")]
use tokio::sync::Semaphore;
use tokio::time::timeout;
#[cfg(feature = "tls")]
use tokio::time::{Instant, timeout_at};

use super::Core;
use super::admission::Ticket;
#[cfg(feature = "tls")]
use super::open::MOST_LINGER;
use super::open::{self, connection};
use super::proxies::{self, Named, Proxies};
use super::request::Caller;
use crate::budget::Reservation;
use crate::transport::Transport;
#[cfg(unix)]
use crate::worker::Home;

/// Of the handshakes of one runtime, how many may compute at a time: a storm of them must leave time
/// for connections that are open.
#[derive(Clone)]
pub(super) struct Turns {
    #[cfg(feature = "tls")]
    permits: Arc<Semaphore>,
}

impl Turns {
    /// For a runtime with so many threads.
    pub(super) fn new(threads: usize) -> Self {
        #[cfg(not(feature = "tls"))]
        let _ = threads;
        Self {
            #[cfg(feature = "tls")]
            permits: Arc::new(Semaphore::new(threads.max(1))),
        }
    }
}

impl<S> Core<S> {
    /// Whether anything comes before the request.
    pub(super) fn is_fronted(&self) -> bool {
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            return true;
        }
        self.settings.proxies.is_some()
    }

    /// An unfinished handshake makes room, without an answer.
    fn evict(&self, peer: &str) {
        let why = if self.phase().is_accepting() { "evicted" } else { "draining" };
        self.counters.refused(why);
        tracing::debug!(peer, why, "hung up on before its request");
    }
}

/// Carries a connection up to its request, and on.
pub(super) async fn arrive<S: Send + 'static, T: Transport>(
    core: Arc<Core<S>>,
    #[cfg(unix)] home: Option<Arc<Home<S>>>,
    mut io: T,
    address: SocketAddr,
    ticket: Ticket,
    memory: Option<Reservation>,
    #[cfg_attr(not(feature = "tls"), expect(unused_variables))] turns: Turns,
) {
    let mut caller = Caller::new(address.to_string());
    if let Some(proxies) = &core.settings.proxies {
        match name(&core, proxies, &mut io, address, &ticket).await {
            None => return,
            Some(Named::Nobody) => {}
            Some(Named::Unix) => caller = Caller::new("unix"),
            Some(Named::Address(address)) => caller = Caller::new(address.to_string()),
        }
    }
    #[cfg(feature = "tls")]
    if core.tls.is_some() {
        return Box::pin(secure::secure(core, io, caller, ticket, memory, turns)).await;
    }
    #[cfg(unix)]
    connection(core, home, io, caller, ticket, memory).await;
    #[cfg(not(unix))]
    connection(core, io, caller, ticket, memory).await;
}

/// Tells a connection that there is no room for it. It must be TLS where that is spoken: a client
/// would take anything else for a server of another kind, and not come again.
pub(super) async fn turn_away<S: Send + 'static, T: Transport>(
    core: Arc<Core<S>>,
    #[cfg_attr(not(feature = "tls"), expect(unused_mut))] mut io: T,
    #[cfg_attr(not(feature = "tls"), expect(unused_variables))] address: SocketAddr,
    ticket: Ticket,
    #[cfg_attr(not(feature = "tls"), expect(unused_variables))] turns: Turns,
) {
    #[cfg(feature = "tls")]
    if core.tls.is_some() {
        let until = Instant::now() + MOST_LINGER;
        if let Some(proxies) = &core.settings.proxies {
            let named = timeout_at(until, name(&core, proxies, &mut io, address, &ticket)).await;
            if !matches!(named, Ok(Some(_))) {
                return;
            }
        }
        return secure::turn_away(core, io, ticket, turns, until).await;
    }
    drop(core);
    open::turn_away(io, ticket).await;
}

/// Whom the proxy names; `None` where the connection ends here.
async fn name<S, T: Transport>(
    core: &Core<S>,
    proxies: &Proxies,
    io: &mut T,
    address: SocketAddr,
    ticket: &Ticket,
) -> Option<Named> {
    if !proxies.trusts(address.ip()) {
        core.counters.refused("proxy");
        tracing::debug!(peer = %address, "hung up on: it is not a trusted proxy");
        return None;
    }
    let limit = core.settings.handshake_timeout;
    let read = tokio::select! {
        biased;
        () = ticket.evicted() => {
            core.evict(&address.to_string());
            return None;
        }
        read = timeout(limit, proxies::read(io)) => read,
    };
    let error = match read {
        Ok(Ok(named)) => return Some(named),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("the PROXY header took longer than {limit:?}"),
    };
    core.counters.refused("proxy");
    tracing::debug!(peer = %address, %error, "hung up on");
    None
}
