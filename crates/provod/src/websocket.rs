//! The handle to a connection: [`WebSocket`].

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use provod_proto::handshake::DeflateParams;
use provod_proto::{CloseCode, CloseFrame, Closed, Compress, Message, MessageKind, Utf8Bytes};

use crate::client::HttpResponse;
use crate::driver::Shared;
use crate::error::{Error, TrySendError};
use crate::receiver::Receiver;
use crate::sender::Sender;
use crate::streaming::{MessageReader, MessageWriter};

/// An open WebSocket connection.
///
/// Messages come with [`recv`](Self::recv) and go with [`send`](Self::send). Pings are answered, a
/// silent peer is noticed and the closing handshake is carried out whether or not either is called.
///
/// Dropping it closes the connection: with 1000 at the end of a handler that returns `Ok`, with
/// 1011 when the handler fails or panics, and with 1001 otherwise.
///
/// It is a `Stream` of messages, which ends with the connection and gives an error once, and a
/// `Sink`, whose flush waits until all is handed to the system; [`send`](Self::send) needs no
/// flush. Where a method has the name of a combinator, as `send`, `split` and `close` have, it goes
/// first: write `SinkExt::close(&mut ws)` for the other.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), provod::Error> {
/// use futures_util::{StreamExt as _, TryStreamExt as _};
///
/// let (mut client, server) = provod::pipe();
/// tokio::spawn(async move {
///     let (sender, receiver) = server.split();
///     receiver.try_filter(|m| std::future::ready(!m.is_empty())).forward(sender).await
/// });
/// client.send("").await?;
/// client.send("echo").await?;
/// assert_eq!(client.next().await.transpose()?, Some("echo".into()));
/// # Ok(())
/// # }
/// ```
///
/// Its tasks need a tokio runtime with I/O and time enabled, as `enable_all` and `#[tokio::main]`
/// do; tokio panics where they are not.
pub struct WebSocket {
    pub(crate) receiver: Receiver,
    pub(crate) sender: Sender,
}

impl WebSocket {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { sender: Sender::new(shared.clone()), receiver: Receiver::new(shared) }
    }

    /// Splits it into a handle for sending, which can be cloned, and one for receiving, for two
    /// tasks.
    ///
    /// The receiver owns the connection: dropping it closes as dropping the `WebSocket` would, and
    /// senders keep nothing open. Without any sender left, it still receives.
    ///
    /// ```no_run
    /// # async fn example(ws: provod::WebSocket) -> Result<(), provod::Error> {
    /// let (sender, mut receiver) = ws.split();
    /// tokio::spawn(async move { sender.send("tick").await });
    /// while let Some(message) = receiver.recv().await? {
    ///     println!("{message:?}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }

    /// The next message; `None` once the peer has closed, with whatever code:
    /// [`closed`](Self::closed) tells which.
    ///
    /// Asking for the next message also says that the ones before it are dealt with: the answer to
    /// the peer's Close leaves only then, behind all that was sent until now.
    ///
    /// Cancel safe: a message is either returned or still waits.
    ///
    /// # Errors
    ///
    /// The connection was lost, or the peer broke the protocol or hit a limit. Messages that came
    /// before that are given out first. Later calls return the same error.
    pub async fn recv(&mut self) -> Result<Option<Message>, Error> {
        self.receiver.recv().await
    }

    /// The next message as a reader that gives its bytes out as they arrive, however long it is;
    /// `None` and errors as [`recv`](Self::recv) has them. The longest message that is accepted
    /// is still [`Limits::max_message`](crate::config::Limits::max_message), and the most frames
    /// [`Limits::max_fragments`](crate::config::Limits::max_fragments); set them to what you are
    /// ready to read.
    ///
    /// Only about [`read_ahead`](crate::Config::read_ahead) bytes wait to be read; then the peer
    /// is slowed down. It can be mixed with `recv`.
    ///
    /// ```no_run
    /// # async fn example(mut ws: provod::WebSocket) -> Result<(), Box<dyn std::error::Error>> {
    /// let sender = ws.sender(); // the reader borrows `ws`
    /// while let Some(mut reader) = ws.recv_reader().await? {
    ///     let mut file = tokio::fs::File::create("upload").await?;
    ///     let len = tokio::io::copy(&mut reader, &mut file).await?;
    ///     sender.send(format!("{len} bytes stored")).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Cancel safe: no message is begun until it returns.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub async fn recv_reader(&mut self) -> Result<Option<MessageReader<'_>>, Error> {
        self.receiver.recv_reader().await
    }

    /// Queues a message. Waits while [`high_water`](crate::Config::high_water) bytes are queued, in
    /// the order in which tasks began to wait.
    ///
    /// Messages that are sent in one go leave in one write; nothing needs to be flushed. Bytes that
    /// have an owner of their own (`Bytes::from_owner`) are dropped while the connection is locked,
    /// so that owner's `Drop` must not use the connection.
    ///
    /// That it is queued does not mean that it arrives: [`Closed::unsent`] says what was not even
    /// sent.
    ///
    /// Cancel safe: the message is queued whole or not at all, so it may stand in a `select!` or
    /// under a timeout. A dropped `send` has lost its place in the order.
    ///
    /// # Errors
    ///
    /// When the connection is closing or closed ([`is_closed`](Error::is_closed));
    /// [`closed`](Self::closed) tells why.
    pub fn send(&self, message: impl Into<Message>) -> impl Future<Output = Result<(), Error>> {
        self.sender.send(message)
    }

    /// As [`send`](Self::send), and says whether this message is compressed, where compression was
    /// agreed: a picture will not shrink, and a secret should not be mixed with what others chose.
    ///
    /// ```no_run
    /// # async fn example(ws: provod::WebSocket, picture: Vec<u8>) -> Result<(), provod::Error> {
    /// use provod::message::Compress;
    ///
    /// ws.send_with(picture, Compress::Never).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_with(
        &self,
        message: impl Into<Message>,
        compress: Compress,
    ) -> impl Future<Output = Result<(), Error>> {
        self.sender.send_with(message, compress)
    }

    /// Begins a message that is sent as it is written, however long it becomes: it leaves in
    /// fragments, and is finished with [`MessageWriter::finish`] or by shutting the writer down.
    /// Until then other messages wait, those of a [`Group`](crate::Group) within the bounds of its
    /// policy; Pings and Pongs do not.
    ///
    /// ```no_run
    /// # async fn example(ws: provod::WebSocket) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut file = tokio::fs::File::open("film").await?;
    /// let mut writer = ws.send_writer(provod::message::MessageKind::Binary).await?;
    /// tokio::io::copy(&mut file, &mut writer).await?;
    /// writer.finish().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Who holds a writer and sends another message before the end waits for himself; a writer that
    /// is leaked (`mem::forget`) is never finished, and nothing but a close passes it.
    ///
    /// Cancel safe: dropped before it returns, it has done nothing.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn send_writer(&self, kind: MessageKind) -> Result<MessageWriter, Error> {
        self.sender.send_writer(kind).await
    }

    /// As [`send_writer`](Self::send_writer), and says whether the message is compressed, where
    /// compression was agreed. [`Compress::Auto`] does, since the length is not known.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn send_writer_with(
        &self,
        kind: MessageKind,
        compress: Compress,
    ) -> Result<MessageWriter, Error> {
        self.sender.send_writer_with(kind, compress).await
    }

    /// Queues a message without waiting, as [`Sender::try_send`].
    ///
    /// # Errors
    ///
    /// As [`Sender::try_send`].
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), TrySendError<Message>> {
        self.sender.try_send(message)
    }

    /// A handle for sending that can be cloned and given to other tasks. It does not keep the
    /// connection open.
    ///
    /// ```no_run
    /// # async fn example(ws: provod::WebSocket) {
    /// for n in 0..10 {
    ///     let sender = ws.sender();
    ///     tokio::spawn(async move { sender.send(format!("from task {n}")).await });
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn sender(&self) -> Sender {
        self.sender.clone()
    }

    /// Sends a Ping and waits for its Pong (RFC 6455 section 5.5.2); returns the round-trip time.
    /// The wait is as long as the peer likes: put it under a timeout, or leave it to the
    /// [`keepalive`](crate::Config::keepalive) to end it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), provod::Error> {
    /// let (client, _server) = provod::pipe(); // which need not call anything to answer
    /// let round_trip = client.ping().await?;
    /// assert_eq!(client.latency(), Some(round_trip));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Cancel safe: a dropped one may have sent its Ping.
    ///
    /// # Errors
    ///
    /// When the connection ends first, or 64 Pings wait to be sent.
    pub async fn ping(&self) -> Result<Duration, Error> {
        self.sender.ping().await
    }

    /// Closes the connection with a code and a reason, behind everything queued, and waits for the
    /// outcome. It ends within [`close_timeout`](crate::Config::close_timeout), whatever the
    /// peer does, unless [`close_extends`](crate::Config::close_extends) is on. Messages that still
    /// arrive are thrown away.
    ///
    /// On a connection that is closing or closed already, it changes nothing and returns the
    /// outcome. Dropped in the middle, it has closed all the same.
    ///
    /// ```no_run
    /// # async fn example(mut ws: provod::WebSocket) -> Result<(), provod::Error> {
    /// use provod::close::Cause;
    ///
    /// let closed = ws.close(1000, "that was all").await?;
    /// match &closed.cause {
    ///     _ if closed.unsent > 0 => println!("{} bytes were not sent", closed.unsent),
    ///     Cause::Local => println!("we closed, the answer was {}", closed.code()),
    ///     Cause::Peer => println!("the peer was faster: {}", closed.code()),
    ///     other => println!("not clean: {other:?}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When the code must not be sent (RFC 6455 section 7.4) or the reason is above 123 bytes
    /// ([`is_usage`](Error::is_usage)); nothing has happened then.
    pub async fn close(
        &mut self,
        code: impl Into<CloseCode>,
        reason: impl Into<Utf8Bytes>,
    ) -> Result<Closed, Error> {
        let frame = CloseFrame::new(code.into(), reason)?;
        let shared = self.shared();
        shared.close(Some(frame));
        shared.discard();
        Ok(self.closed().await)
    }

    /// Waits for the end of the connection and tells how it came: who closed, both codes, whether
    /// anything queued was lost. Messages that wait to be received are kept, and hold up the
    /// end until the close timeout when nobody takes them; where they are more than
    /// [`read_ahead`](crate::Config::read_ahead), the peer's Close behind them is not even read.
    ///
    /// It does not close: on an open connection it waits until somebody does. The outcome is known
    /// as soon as nothing can change it any more; TCP may end a moment later. Cancel safe.
    pub async fn closed(&mut self) -> Closed {
        self.receiver.closed().await
    }

    fn shared(&self) -> &Shared {
        &self.sender.shared
    }

    /// The peer, for people and logs: `IP:port`; `unix`, with the path at a client's end; `stream`
    /// or the URL's host and port on a stream of one's own; `pipe`.
    #[must_use]
    pub fn peer(&self) -> &str {
        self.shared().info.peer()
    }

    /// The peer's address; `None` where [`peer`](Self::peer) is none, as on a Unix socket.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer().parse().ok()
    }

    /// The path of the request, as it was sent: not percent-decoded, without the query.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), provod::Error> {
    /// provod::serve("127.0.0.1:8080", |mut ws: provod::WebSocket| async move {
    ///     match ws.path() {
    ///         "/time" => ws.send(format!("{:?}", std::time::SystemTime::now())).await?,
    ///         _ => {
    ///             ws.close(4004, "there is nothing here").await?;
    ///         }
    ///     }
    ///     Ok(())
    /// })
    /// .await
    /// # }
    /// ```
    #[must_use]
    pub fn path(&self) -> &str {
        self.shared().info.path()
    }

    /// The query of the request, without the question mark.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.shared().info.query()
    }

    /// The subprotocol that was agreed.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.shared().info.subprotocol()
    }

    /// What was agreed about permessage-deflate; `None` when it was not.
    #[must_use]
    pub fn compression(&self) -> Option<DeflateParams> {
        self.shared().info.deflate()
    }

    /// What a server answered the client's request with, such as its cookies; `None` on the
    /// server's side.
    #[must_use]
    pub fn response(&self) -> Option<&HttpResponse> {
        self.shared().info.response()
    }

    /// Bytes that are queued and not yet handed to the system.
    #[must_use]
    pub fn buffered_amount(&self) -> usize {
        self.sender.buffered_amount()
    }

    /// Waits until so little is queued that [`send`](Self::send) would not wait, or the connection
    /// ends. It does not wait for a [`MessageWriter`], for which `send` would.
    ///
    /// Cancel safe.
    pub async fn drained(&self) {
        self.sender.drained().await;
    }

    /// The round-trip time of the last Ping that was answered; `None` before the first. The
    /// [`keepalive`](crate::Config::keepalive) measures one every 25 s.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        self.shared().lock().core.latency()
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("peer", &self.peer())
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}
