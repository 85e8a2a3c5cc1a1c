//! What a server does with its WebSockets: a task for each, or calls from a worker.

use std::future::Future;
#[cfg(unix)]
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use crate::BoxError;
use crate::driver::HandlerFuture;
use crate::handler::{Handler, Received, Socket};
use crate::websocket::WebSocket;
#[cfg(unix)]
use crate::worker::{Home, Worker};

pub(super) trait Application<S>: Send + Sync {
    /// Runs a connection of any kind to its end, in the task that drives it.
    fn run(&self, ws: WebSocket, state: S) -> HandlerFuture;

    /// Starts a worker for plain sockets in the runtime that this is called in, where there is a
    /// faster way for them.
    #[cfg(unix)]
    fn start_worker(&self) -> io::Result<Option<Home<S>>>;
}

/// An `async` function that owns a WebSocket.
pub(super) struct Tasks<H>(pub(super) Arc<H>);

impl<H, F, S> Application<S> for Tasks<H>
where
    H: Fn(WebSocket, S) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), BoxError>> + Send + 'static,
    S: Send + 'static,
{
    fn run(&self, ws: WebSocket, state: S) -> HandlerFuture {
        // It is called here, so that its future is all that is kept; a panic of the handler itself is
        // one of its future, which is caught like any other.
        match catch_unwind(AssertUnwindSafe(|| (self.0)(ws, state))) {
            Ok(future) => Box::pin(future),
            Err(panic) => Box::pin(async move { resume_unwind(panic) }),
        }
    }

    #[cfg(unix)]
    fn start_worker(&self) -> io::Result<Option<Home<S>>> {
        Ok(None)
    }
}

/// A [`Handler`].
pub(super) struct Calls<H>(pub(super) Arc<H>);

impl<H: Handler<S>, S: Send + 'static> Application<S> for Calls<H> {
    fn run(&self, ws: WebSocket, state: S) -> HandlerFuture {
        Box::pin(call(self.0.clone(), ws, state))
    }

    #[cfg(unix)]
    fn start_worker(&self) -> io::Result<Option<Home<S>>> {
        let (worker, home) = Worker::new(self.0.clone())?;
        tokio::spawn(worker);
        Ok(Some(home))
    }
}

/// Calls a handler for a connection that a task of its own drives.
async fn call<H: Handler<S>, S>(
    handler: Arc<H>,
    mut ws: WebSocket,
    state: S,
) -> Result<(), BoxError> {
    let shared = ws.sender.shared.clone();
    let (mut peer, mut wait, mut answers) = {
        let mut socket = Socket::new(&shared, 0, None);
        (handler.open(&mut socket, state), socket.take_wait(), socket.has_sent())
    };
    loop {
        if let Some(wait) = wait.take() {
            wait.await;
        }
        if answers && shared.is_congested() {
            ws.drained().await;
            handler.drained(&mut Socket::new(&shared, 0, None), &mut peer);
        }
        // Why it ended is told below.
        let Ok(Some(message)) = ws.recv().await else { break };
        let mut socket = Socket::new(&shared, 0, None);
        handler.message(&mut socket, &mut peer, Received::from_message(message));
        (wait, answers) = (socket.take_wait(), socket.has_sent());
    }
    let closed = ws.closed().await;
    handler.close(peer, &closed);
    Ok(())
}
