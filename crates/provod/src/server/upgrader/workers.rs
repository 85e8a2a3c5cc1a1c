//! A [`Handler`] for the WebSockets of another HTTP server.

use std::fmt;
use std::sync::Arc;
#[cfg(unix)]
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::Upgrader;
use crate::driver::HandlerFuture;
use crate::error::Error;
#[cfg(unix)]
use crate::error::Kind;
use crate::handler::Handler;
use crate::runtime;
use crate::server::application::{Application, Calls};
#[cfg(unix)]
use crate::server::run::Homes;
use crate::websocket::WebSocket;
#[cfg(unix)]
use crate::worker::Home;

impl Upgrader {
    /// Starts workers for a [`Handler`] in the runtime that this is called in, one for each of its
    /// threads. [`Upgrade::hand_to`](crate::hyper::Upgrade::hand_to) gives them WebSockets, which
    /// are opened with this upgrader's settings.
    ///
    /// This is the fast way for plain sockets, as it is in a [`Server`](crate::Server): they leave
    /// the HTTP server altogether. Over TLS and HTTP/2 the handler is called from a task of each
    /// connection. Workers end when the last handle to them is dropped and their last WebSocket has
    /// ended.
    ///
    /// ```
    /// use provod::hyper::{Upgrade, Workers};
    /// use provod::{Handler, Server, handler::{Received, Socket}};
    ///
    /// struct Echo;
    ///
    /// impl Handler for Echo {
    ///     type Peer = ();
    ///
    ///     fn open(&self, _: &mut Socket<'_>, (): ()) {}
    ///
    ///     fn message(&self, ws: &mut Socket<'_>, (): &mut (), message: Received<'_>) {
    ///         let _ = ws.send(message); // it fails when the connection is ending
    ///     }
    /// }
    ///
    /// fn answer<R>(workers: &Workers, mut request: hyper::Request<R>) -> hyper::Response<String> {
    ///     match Upgrade::new(&mut request) {
    ///         Ok(upgrade) => upgrade.hand_to(workers, ()),
    ///         Err(refusal) => refusal,
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), provod::Error> {
    /// let workers = Server::new().upgrader()?.start_handler(Echo)?;
    /// # let _ = answer(&workers, hyper::Request::new(()));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Outside a tokio runtime ([`is_usage`](Error::is_usage)), or when a worker cannot be started.
    pub fn start_handler<S, H>(&self, handler: H) -> Result<Workers<S>, Error>
    where
        S: Send + 'static,
        H: Handler<S>,
    {
        runtime::check()?;
        let application: Box<dyn Application<S>> = Box::new(Calls(Arc::new(handler)));
        #[cfg(unix)]
        let homes = {
            let buffers = self.0.settings.core_config().buffers.clone();
            let threads = tokio::runtime::Handle::current().metrics().num_workers();
            let homes: Result<Vec<_>, _> =
                (0..threads).map(|_| application.start_worker(buffers.clone())).collect();
            let homes = homes.map_err(|e| Error::new(Kind::Start(e)))?;
            homes.into_iter().flatten().map(Arc::new).collect()
        };
        Ok(Workers(Arc::new(Inner {
            upgrader: self.clone(),
            application,
            #[cfg(unix)]
            homes,
            #[cfg(unix)]
            next: AtomicUsize::new(0),
        })))
    }
}

/// The workers of a [`Handler`]: see [`Upgrader::start_handler`]. Cloning gives a handle to the
/// same. `S` is what the handler's `open` is given.
pub struct Workers<S = ()>(Arc<Inner<S>>);

struct Inner<S> {
    upgrader: Upgrader,
    application: Box<dyn Application<S>>,
    #[cfg(unix)]
    homes: Homes<S>,
    #[cfg(unix)]
    next: AtomicUsize,
}

impl<S> Clone for Workers<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S> fmt::Debug for Workers<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").field("upgrader", &self.0.upgrader).finish_non_exhaustive()
    }
}

impl<S> Workers<S> {
    pub(crate) fn upgrader(&self) -> &Upgrader {
        &self.0.upgrader
    }

    /// The worker whose turn it is.
    #[cfg(unix)]
    pub(crate) fn next(&self) -> Option<&Home<S>> {
        let n = self.0.next.fetch_add(1, Relaxed).checked_rem(self.0.homes.len())?;
        self.0.homes.get(n).map(|home| &**home)
    }

    /// For a connection that has a task of its own.
    pub(crate) fn run(&self, ws: WebSocket, state: S) -> HandlerFuture {
        self.0.application.run(ws, state)
    }
}
