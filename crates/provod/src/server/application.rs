//! What a server does with its WebSockets: a task for each, or calls from a worker.

use std::future::{Future, poll_fn};
#[cfg(unix)]
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

#[cfg(unix)]
use provod_proto::Buffers;
use provod_proto::Message;

use crate::BoxError;
use crate::driver::{HandlerFuture, Shared};
use crate::error::Error;
use crate::handler::{Handler, Received, Socket, Wait};
use crate::sender::Sender;
use crate::websocket::WebSocket;
#[cfg(unix)]
use crate::worker::{Home, Worker};

pub(super) trait Application<S>: Send + Sync {
    /// Runs a connection of any kind to its end, in the task that drives it.
    fn run(&self, ws: WebSocket, state: S) -> HandlerFuture;

    /// Starts a worker for plain sockets in the runtime that this is called in, where there is a
    /// faster way for them. It looks after the `buffers` of long messages.
    #[cfg(unix)]
    fn start_worker(&self, buffers: Option<Arc<Buffers>>) -> io::Result<Option<Home<S>>>;
}

/// The future of a handler. It is called here, so that its future is all that is kept; a panic of the
/// handler itself is one of its future, which is caught like any other.
pub(crate) fn future_of<F>(handler: impl FnOnce() -> F) -> HandlerFuture
where
    F: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    match catch_unwind(AssertUnwindSafe(handler)) {
        Ok(future) => Box::pin(future),
        Err(panic) => Box::pin(async move { resume_unwind(panic) }),
    }
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
        future_of(|| (self.0)(ws, state))
    }

    #[cfg(unix)]
    fn start_worker(&self, _: Option<Arc<Buffers>>) -> io::Result<Option<Home<S>>> {
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
    fn start_worker(&self, buffers: Option<Arc<Buffers>>) -> io::Result<Option<Home<S>>> {
        let (worker, home) = Worker::new(self.0.clone(), buffers)?;
        tokio::spawn(worker);
        Ok(Some(home))
    }
}

/// What a handler is called for.
enum Next {
    Message(Result<Option<Message>, Error>),
    Drained,
}

/// Waits until the send queue has passed its high-water mark, and then until it has run low.
async fn relieved(sender: &Sender) {
    poll_fn(|_| if is_congested(&sender.shared) { Poll::Ready(()) } else { Poll::Pending }).await;
    sender.drained().await;
}

fn is_congested(shared: &Shared) -> bool {
    let state = shared.lock();
    state.is_congested() && state.core.can_send()
}

/// Calls a handler for a connection that a task of its own drives.
async fn call<H: Handler<S>, S>(
    handler: Arc<H>,
    mut ws: WebSocket,
    state: S,
) -> Result<(), BoxError> {
    let (sender, shared) = (ws.sender(), ws.sender.shared.clone());
    let mut waits = Vec::new();
    let (mut peer, mut answers) = {
        let mut socket = Socket::new(&shared, 0, None);
        let peer = handler.open(&mut socket, state);
        waits.extend(socket.take_wait());
        (peer, socket.has_sent())
    };
    let mut relieved = pin!(relieved(&sender));
    loop {
        // The driver polls this in each of its turns, so it sees also what others have queued.
        let next = poll_fn(|cx| {
            if relieved.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Next::Drained);
            }
            waits.retain_mut(|wait: &mut Wait| wait.as_mut().poll(cx).is_pending());
            if !waits.is_empty() || (answers && is_congested(&shared)) {
                return Poll::Pending;
            }
            shared.poll_recv(cx.waker()).map(Next::Message)
        });
        let next = next.await;
        let mut socket = Socket::new(&shared, 0, None);
        match next {
            Next::Drained => {
                relieved.set(self::relieved(&sender));
                let closed = shared.lock().core.closed().is_some();
                if !closed {
                    handler.drained(&mut socket, &mut peer);
                }
            }
            Next::Message(Ok(Some(message))) => {
                handler.message(&mut socket, &mut peer, Received::from_message(message));
            }
            // Why it ended is told below.
            Next::Message(_) => break,
        }
        answers = socket.has_sent();
        waits.extend(socket.take_wait());
    }
    let closed = ws.closed().await;
    handler.close(peer, &closed);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::BytesMut;
    use provod_proto::Role;
    use tokio::sync::{Notify, mpsc};

    use super::{Application, Calls};
    use crate::driver::Driver;
    use crate::handler::{Handler, Received, Socket};
    use crate::{Config, WebSocket, pipe};

    /// What it sends is sent by others, and it waits whenever it is called.
    struct Filled {
        told: mpsc::UnboundedSender<&'static str>,
        message: Arc<Notify>,
        drained: Arc<Notify>,
    }

    impl Handler for Filled {
        type Peer = ();

        fn open(&self, _: &mut Socket<'_>, (): ()) {}

        fn message(&self, ws: &mut Socket<'_>, (): &mut (), message: Received<'_>) {
            if message.as_text() != Some("go") {
                return self.told.send("next").expect("the test listens");
            }
            let (sender, gate) = (ws.sender(), self.message.clone());
            while sender.try_send(vec![7; 100_000]).is_ok() {}
            self.told.send("full").expect("the test listens");
            ws.wait(async move { gate.notified().await });
        }

        fn drained(&self, ws: &mut Socket<'_>, (): &mut ()) {
            self.told.send("drained").expect("the test listens");
            let gate = self.drained.clone();
            ws.wait(async move { gate.notified().await });
        }
    }

    #[tokio::test]
    async fn a_task_calls_a_handler_as_a_worker_does() {
        let (told, mut calls) = mpsc::unbounded_channel();
        let (message, drained) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let handler = Filled { told, message: message.clone(), drained: drained.clone() };
        let (near, far) = tokio::io::duplex(4096);
        let masks = Box::new(crate::client::SystemMasks);
        let mut client = pipe::end(near, Role::Client(masks), Config::default());
        let shared = pipe::shared(Role::Server, Config::default());
        let run = Calls(Arc::new(handler)).run(WebSocket::new(shared.clone()), ());
        let driver = tokio::spawn(Driver::new(shared, far, BytesMut::new(), Some(run)));
        client.send("go").await.expect("it is open");
        client.send("next").await.expect("it is open");
        assert_eq!(calls.recv().await, Some("full"));
        let reading = tokio::spawn(async move {
            while client.recv().await.is_ok_and(|message| message.is_some()) {}
        });
        assert_eq!(calls.recv().await, Some("drained"), "though nothing was answered");
        for gate in [drained, message] {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            assert!(calls.try_recv().is_err(), "something is waited for");
            gate.notify_one();
        }
        assert_eq!(calls.recv().await, Some("next"));
        reading.abort();
        driver.await.expect("it ends with its peer");
    }
}
