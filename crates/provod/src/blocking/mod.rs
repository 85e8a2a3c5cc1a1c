//! A client for programs without async: calls that wait.
//!
//! ```no_run
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let mut ws = provod::blocking::connect("ws://example.com/chat")?;
//!     ws.send("Hello")?;
//!     while let Some(message) = ws.recv()? {
//!         println!("{message:?}");
//!     }
//!     Ok(())
//! }
//! ```
//!
//! Connections are driven by one thread in the background, `provod-blocking`, which all of them
//! share and which starts with the first one: Pings are answered and a silent peer is noticed
//! whatever the program does. It needs no runtime, and the program none. Each call may be made
//! from any thread; what waits is the thread that calls, and nothing else.
//!
//! **Inside an async runtime** these calls work, and do not panic, but they stop the thread that
//! they are made on and every task on it; with a runtime of one thread, that is all of them, a
//! server that the program itself runs for this client included, which then never answers. Use
//! [`provod::connect`](crate::connect) there, or `spawn_blocking`.

mod thread;

use std::fmt;
use std::time::Duration;

use provod_proto::{CloseCode, Closed, Message, Utf8Bytes};

use crate::client::Client;
use crate::error::Error;

use thread::{background, wait, wait_until};

/// Connects, and waits until the WebSocket is open.
///
/// It takes a URL, with all defaults, or a [`Client`] with everything that can be set:
///
/// ```no_run
/// # fn example() -> Result<(), provod::Error> {
/// use provod::{Client, blocking};
///
/// let ws = blocking::connect(Client::new("ws://example.com/chat").subprotocol("chat.v2"))?;
/// println!("{:?}", ws.get_ref().subprotocol());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// As [`Client::connect`]; or the thread in the background cannot be started.
pub fn connect(client: impl Into<Client>) -> Result<WebSocket, Error> {
    let client = client.into();
    let connecting = background()?.spawn(async move { client.connect().await });
    Ok(WebSocket { ws: wait(thread::joined(connecting))?, failed: false })
}

/// An open WebSocket, whose calls wait. See [the module](self) for what that means.
///
/// It is an `Iterator` of messages, which ends with the connection and gives an error once:
///
/// ```no_run
/// # fn example() -> Result<(), provod::Error> {
/// for message in provod::blocking::connect("ws://example.com/feed")? {
///     println!("{:?}", message?);
/// }
/// # Ok(())
/// # }
/// ```
///
/// Dropping it closes with 1001, in the background: a program that ends right behind that may be
/// faster, so one that cares calls [`close`](Self::close).
pub struct WebSocket {
    ws: crate::WebSocket,
    /// The iterator has given out its error.
    failed: bool,
}

impl WebSocket {
    /// Waits for the next message; `None` once the peer has closed, with whatever code.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::recv`](crate::WebSocket::recv).
    pub fn recv(&mut self) -> Result<Option<Message>, Error> {
        wait(self.ws.recv())
    }

    /// As [`recv`](Self::recv), not longer than this: `None` when nothing came in time. The
    /// connection goes on, and so does a message of which a part has come.
    ///
    /// ```no_run
    /// # fn example(mut ws: provod::blocking::WebSocket) -> Result<(), provod::Error> {
    /// use std::time::Duration;
    ///
    /// loop {
    ///     match ws.recv_timeout(Duration::from_secs(10)) {
    ///         None => ws.send("still there")?,
    ///         Some(received) => match received? {
    ///             Some(message) => println!("{message:?}"),
    ///             None => return Ok(()),
    ///         },
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn recv_timeout(&mut self, timeout: Duration) -> Option<Result<Option<Message>, Error>> {
        wait_until(self.ws.recv(), timeout)
    }

    /// Queues a message, and waits while [`high_water`](crate::Config::high_water) bytes are
    /// queued. That it is queued does not mean that it arrives.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send`](crate::WebSocket::send).
    pub fn send(&self, message: impl Into<Message>) -> Result<(), Error> {
        wait(self.ws.send(message))
    }

    /// A handle for sending from other threads. It does not keep the connection open.
    ///
    /// ```no_run
    /// # fn example(ws: provod::blocking::WebSocket) {
    /// for n in 0..10 {
    ///     let sender = ws.sender();
    ///     std::thread::spawn(move || sender.send(format!("from thread {n}")));
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn sender(&self) -> Sender {
        Sender { sender: self.ws.sender() }
    }

    /// Closes behind everything queued, and waits for the outcome, at most for
    /// [`close_timeout`](crate::Config::close_timeout). Messages that still arrive are thrown away.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::close`](crate::WebSocket::close).
    pub fn close(
        &mut self,
        code: impl Into<CloseCode>,
        reason: impl Into<Utf8Bytes>,
    ) -> Result<Closed, Error> {
        wait(self.ws.close(code, reason))
    }

    /// Waits for the end of the connection and tells how it came, as
    /// [`WebSocket::closed`](crate::WebSocket::closed).
    pub fn closed(&mut self) -> Closed {
        wait(self.ws.closed())
    }

    /// What can be asked without waiting: the peer, the subprotocol, how much is queued.
    #[must_use]
    pub fn get_ref(&self) -> &crate::WebSocket {
        &self.ws
    }
}

impl Iterator for WebSocket {
    type Item = Result<Message, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.recv().transpose();
        self.failed = matches!(next, Some(Err(_)));
        next
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ws.fmt(f)
    }
}

/// A handle for sending on a [`WebSocket`], from [`WebSocket::sender`]. Clone it freely, give it to
/// any thread.
#[derive(Clone)]
pub struct Sender {
    sender: crate::Sender,
}

impl Sender {
    /// As [`WebSocket::send`]; threads that wait take their turns in the order in which they came.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send`].
    pub fn send(&self, message: impl Into<Message>) -> Result<(), Error> {
        wait(self.sender.send(message))
    }

    /// What can be done without waiting: `try_send`, `close`.
    #[must_use]
    pub fn get_ref(&self) -> &crate::Sender {
        &self.sender
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sender.fmt(f)
    }
}
