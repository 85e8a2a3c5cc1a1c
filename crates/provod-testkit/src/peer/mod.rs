//! A scripted peer, so that a test reads like a trace: a server to test a client against, and a
//! client to test a server with. It obeys no rule unless told to, and checks that the other end
//! does.
//!
//! A panic is how it fails, and nothing waits for ever: after 30 seconds without what a step is
//! for, the step panics, with the place in the test. With tokio's clock paused these pass at once
//! when nothing else goes on; then use streams of the [`emulator`](crate::emulator), not sockets.
//!
//! **Test a client**: tell it the [`url`](Listener::url) of a [`Listener`].
//!
//! ```
//! # use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use provod_testkit::peer::{Listener, close, text};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let server = Listener::bind().await;
//! # let address = server.address();
//! # let my_client = |_: String| async move {
//! #     use provod_testkit::peer::Peer;
//! #     let mut ws = Peer::connect(address).await;
//! #     ws.upgrade("/chat", &["Authorization: Bearer s3cret"]).await;
//! #     ws.send(text("Hello")).await;
//! #     ws.expect_close(1001).await;
//! #     ws.send(close(1001)).await;
//! # };
//! let client = tokio::spawn(my_client(server.url()));
//!
//! let mut peer = server.accept().await;
//! let request = peer.request().await;
//! assert_eq!(request.path(), "/chat");
//! assert_eq!(request.header_str("Authorization"), Some("Bearer s3cret"));
//! peer.accept(&request, &[]).await;
//! peer.expect_text("Hello").await;
//! peer.send(close(1001)).await;
//! peer.expect_close(1001).await;
//! # client.await?;
//! # Ok::<(), tokio::task::JoinError>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **Test a server** over a socket, or any stream of bytes, an
//! [`emulator::duplex`](crate::emulator::duplex) for one:
//!
//! ```
//! use provod_testkit::emulator::{self, Faults};
//! use provod_testkit::peer::{Peer, binary, ping, pong, raw};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! # let my_server = |stream| async move {
//! #     let mut ws = Peer::server(stream);
//! #     let request = ws.request().await;
//! #     ws.accept(&request, &[]).await;
//! #     assert_eq!(ws.frame().await.expect("a frame").opcode, 9);
//! #     ws.send(pong("are you there?")).await;
//! #     assert_eq!(ws.frame().await.expect("a frame").opcode, 0);
//! #     ws.send(provod_testkit::peer::close(1002)).await;
//! #     ws.finish().await;
//! # };
//! let (ours, theirs) = emulator::duplex(Faults::none().split(1..=3), Faults::none());
//! let server = tokio::spawn(my_server(theirs));
//!
//! let mut peer = Peer::client(ours);
//! peer.upgrade("/", &[]).await;
//! peer.send(ping("are you there?")).await;
//! peer.expect(pong("are you there?")).await;
//! peer.send(raw(0, "a continuation of nothing")).await; // RFC 6455 section 5.4
//! peer.expect_close(1002).await;
//! peer.expect_end().await;
//! # server.await?;
//! # Ok::<(), tokio::task::JoinError>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod frame;
mod handshake;
mod listener;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::panic::Location;
use std::pin::Pin;
use std::time::Duration;

use provod_proto::Side;
use provod_proto::raw::RawFrame;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

pub use frame::{Frame, MASK, Wire, binary, close, ping, pong, raw, text};
pub use handshake::{Answer, KEY, request};
pub use listener::Listener;

/// A hang is a failure after this long. Nothing is asserted about how long anything takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// The step of the test that waits.
type Place = &'static Location<'static>;

/// Waits for `future`, not for ever.
///
/// # Panics
///
/// When it has not ended after 30 seconds.
#[track_caller]
pub fn soon<F: Future>(future: F) -> impl Future<Output = F::Output> {
    within(PATIENCE, future, Location::caller())
}

async fn within<F: Future>(patience: Duration, future: F, place: Place) -> F::Output {
    match tokio::time::timeout(patience, future).await {
        Ok(output) => output,
        Err(_) => panic!("{place}: nothing happened for {patience:?}"),
    }
}

trait Io: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Io for T {}

/// One end of a connection, played by a test.
///
/// Each `expect` and each step that reads [panics](self) when what comes is something else, or
/// nothing. A future that is dropped loses nothing that was read, but for the beginning of a
/// [`message`](Self::message) or a body.
pub struct Peer {
    io: Pin<Box<dyn Io>>,
    buf: Vec<u8>,
    side: Side,
    patience: Duration,
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("side", &self.side).field("buf", &self.buf).finish()
    }
}

impl Peer {
    /// Plays the client on this stream.
    pub fn client(io: impl AsyncRead + AsyncWrite + Send + 'static) -> Self {
        Self { io: Box::pin(io), buf: Vec::new(), side: Side::Client, patience: PATIENCE }
    }

    /// Plays the server on this stream.
    pub fn server(io: impl AsyncRead + AsyncWrite + Send + 'static) -> Self {
        Self { side: Side::Server, ..Self::client(io) }
    }

    /// Connects to a server.
    #[track_caller]
    pub fn connect(address: SocketAddr) -> impl Future<Output = Self> {
        let place = Location::caller();
        async move {
            let connected = within(PATIENCE, TcpStream::connect(address), place).await;
            Self::client(connected.unwrap_or_else(|e| panic!("{place}: {address}: {e}")))
        }
    }

    /// The same with a small receive buffer, so that a peer that does not read is felt soon.
    #[track_caller]
    pub fn connect_narrow(address: SocketAddr) -> impl Future<Output = Self> {
        let place = Location::caller();
        async move {
            let connect = async {
                let socket = match address {
                    SocketAddr::V4(_) => TcpSocket::new_v4(),
                    SocketAddr::V6(_) => TcpSocket::new_v6(),
                }?;
                socket.set_recv_buffer_size(4096)?;
                socket.connect(address).await
            };
            let connected = within(PATIENCE, connect, place).await;
            Self::client(connected.unwrap_or_else(|e| panic!("{place}: {address}: {e}")))
        }
    }

    /// Connects to a server and opens a WebSocket at `/`.
    #[track_caller]
    pub fn open(address: SocketAddr) -> impl Future<Output = Self> {
        let (connecting, place) = (Self::connect(address), Location::caller());
        async move {
            let mut peer = connecting.await;
            peer.open_websocket("/", &[], place).await;
            peer
        }
    }

    /// The same, with so much patience for each step instead of 30 seconds.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    // ---- sending ----

    /// Sends frames, or bytes as they are. The client masks a frame that has no masking key. The
    /// other end may have hung up already: that is no failure of this step.
    #[track_caller]
    pub fn send(&mut self, what: impl Wire) -> impl Future<Output = ()> + Send + '_ {
        let sent = self.try_send(what);
        async {
            let _ = sent.await;
        }
    }

    /// The same; whether the other end still takes it.
    #[track_caller]
    pub fn try_send(&mut self, what: impl Wire) -> impl Future<Output = bool> + Send + '_ {
        let (bytes, place) = (frame::bytes(&what, self.side), Location::caller());
        async move { within(self.patience, self.write(&bytes), place).await }
    }

    /// The same; `None` when the other end has not taken it all after `patience`.
    pub fn try_send_for(
        &mut self,
        what: impl Wire,
        patience: Duration,
    ) -> impl Future<Output = Option<bool>> + Send + '_ {
        let bytes = frame::bytes(&what, self.side);
        async move { tokio::time::timeout(patience, self.write(&bytes)).await.ok() }
    }

    async fn write(&mut self, bytes: &[u8]) -> bool {
        let written = self.io.write_all(bytes).await;
        written.is_ok() && self.io.flush().await.is_ok()
    }

    /// Ends this half of the connection.
    #[track_caller]
    pub fn finish(&mut self) -> impl Future<Output = ()> + Send + '_ {
        let place = Location::caller();
        async move { drop(within(self.patience, self.io.shutdown(), place).await) }
    }

    // ---- receiving ----

    /// Reads more; whether there was any.
    async fn fill(&mut self, place: Place) -> bool {
        match within(self.patience, self.io.read_buf(&mut self.buf), place).await {
            Ok(n) => n > 0,
            Err(e) => {
                panic!("{place}: the other end must end with FIN, so its last words are read: {e}")
            }
        }
    }

    /// The next byte; `None` at the end of the stream.
    #[track_caller]
    pub fn byte(&mut self) -> impl Future<Output = Option<u8>> + Send + '_ {
        let place = Location::caller();
        async move {
            if self.buf.is_empty() && !self.fill(place).await {
                return None;
            }
            Some(self.buf.remove(0))
        }
    }

    /// The next frame, unmasked; `None` at the end of the stream.
    #[track_caller]
    pub fn frame(&mut self) -> impl Future<Output = Option<Frame>> + Send + '_ {
        self.next_frame(Location::caller())
    }

    async fn next_frame(&mut self, place: Place) -> Option<Frame> {
        loop {
            if let Some((frame, n)) = frame::parse(&self.buf, self.side.peer(), place) {
                self.buf.drain(..n);
                return Some(frame);
            }
            if !self.fill(place).await {
                assert!(self.buf.is_empty(), "{place}: the stream ends inside a frame");
                return None;
            }
        }
    }

    /// A whole message, from its fragments; control frames between them, but a Close, are skipped.
    #[track_caller]
    pub fn message(&mut self) -> impl Future<Output = Frame> + Send + '_ {
        let place = Location::caller();
        async move {
            let mut whole: Option<Frame> = None;
            loop {
                let frame = self.next_frame(place).await;
                let frame = frame.unwrap_or_else(|| panic!("{place}: the end, and no message"));
                let message = match (whole.take(), frame.opcode) {
                    (before, 9 | 10) => {
                        whole = before;
                        continue;
                    }
                    (None, 1 | 2) => frame,
                    (Some(mut message), 0) => {
                        message.payload.extend_from_slice(&frame.payload);
                        message.fin = frame.fin;
                        message
                    }
                    (before, _) => {
                        panic!("{place}: after {before:?}, a frame out of place: {frame:?}")
                    }
                };
                if message.fin {
                    return message;
                }
                whole = Some(message);
            }
        }
    }

    /// This frame, whatever its masking key.
    #[track_caller]
    pub fn expect(&mut self, frame: RawFrame) -> impl Future<Output = ()> + Send + '_ {
        let place = Location::caller();
        async move {
            let got = self.next_frame(place).await;
            assert_eq!(got, Some(Frame::from(frame)), "{place}");
        }
    }

    /// A text message in one frame.
    #[track_caller]
    pub fn expect_text(&mut self, expected: &str) -> impl Future<Output = ()> + Send + '_ {
        self.expect(text(expected))
    }

    /// A Close frame with this code; gives its reason.
    #[track_caller]
    pub fn expect_close(&mut self, code: u16) -> impl Future<Output = String> + Send + '_ {
        let place = Location::caller();
        async move {
            let frame = self.next_frame(place).await;
            let frame = frame.unwrap_or_else(|| panic!("{place}: the end instead of Close {code}"));
            assert_eq!(frame.opcode, 8, "{place}: no Close: {frame:?}");
            let (got, reason) = frame.close();
            assert_eq!(got, Some(code), "{place}: the reason is {reason:?}");
            reason
        }
    }

    /// The end of the stream, orderly.
    #[track_caller]
    pub fn expect_end(&mut self) -> impl Future<Output = ()> + Send + '_ {
        let place = Location::caller();
        async move {
            let frame = self.next_frame(place).await;
            assert_eq!(frame, None, "{place}");
        }
    }

    /// The end of the stream, however it comes; what comes before it is thrown away.
    #[track_caller]
    pub fn gone(&mut self) -> impl Future<Output = ()> + Send + '_ {
        let place = Location::caller();
        async move {
            loop {
                match within(self.patience, self.io.read_buf(&mut self.buf), place).await {
                    Ok(0) | Err(_) => return,
                    Ok(_) => self.buf.clear(),
                }
            }
        }
    }

    /// Closes with 1000, gets the answer, and sees the connection end, which is the server's part
    /// (RFC 6455 section 7.1.1).
    #[track_caller]
    pub fn bye(mut self) -> impl Future<Output = ()> + Send {
        let place = Location::caller();
        async move {
            self.send(close(1000)).await;
            let frame = self.next_frame(place).await;
            assert_eq!(frame.as_ref().map(|f| f.close().0), Some(Some(1000)), "{place}: {frame:?}");
            if self.side == Side::Server {
                self.finish().await;
            }
            assert_eq!(self.next_frame(place).await, None, "{place}");
        }
    }
}
