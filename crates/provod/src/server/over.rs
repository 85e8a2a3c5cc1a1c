//! A server without a listener: the opening handshake on a stream of the application's own.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use super::admission::Admission;
use super::open::{MOST_LINGER, Outcome, handshake, hang_up, say};
use super::request::Caller;
use super::{Opening, Phase, Server};
use crate::driver::Driver;
use crate::error::{Error, Kind};
use crate::runtime;
use crate::websocket::WebSocket;

impl<S: Send + 'static> Server<S> {
    /// Opens a WebSocket on a stream that a client has connected: a TLS stream, a tunnel, a pipe.
    /// The client's side of this is [`Client::connect_over`](crate::Client::connect_over).
    ///
    /// The server's settings hold as for a listener: origins, subprotocols, compression, limits,
    /// [`on_request`](Self::on_request). Addresses, workers, TLS, proxies
    /// and [`max_connections`](Self::max_connections) do not matter. The connection is driven by a task
    /// of its own, and ends as the client's does: when the `WebSocket` is closed or dropped.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), provod::Error> {
    /// use provod::{Client, Server};
    ///
    /// let (near, far) = tokio::io::duplex(64 << 10);
    /// let server = Server::new().subprotocols(["chat"]);
    /// let client = Client::new("ws://localhost/room").subprotocol("chat");
    /// let (opened, accepted) = tokio::join!(client.connect_over(near), server.accept_over(far));
    ///
    /// let (opened, mut accepted) = (opened?, accepted?);
    /// opened.send("Hello").await?;
    /// assert_eq!(accepted.recv().await?, Some("Hello".into()));
    /// assert_eq!(accepted.subprotocol(), Some("chat"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Dropping the future gives the attempt up, and drops the stream.
    ///
    /// # Errors
    ///
    /// The request was refused, and answered with HTTP ([`is_handshake`](Error::is_handshake)); the
    /// client hung up ([`is_lost`](Error::is_lost)) or took too long
    /// ([`is_timeout`](Error::is_timeout)).
    pub async fn accept_over<T>(&self, io: T) -> Result<WebSocket, Error>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.accept_over_with(io).await.map(|(ws, _)| ws)
    }

    /// As [`accept_over`](Self::accept_over), with what [`on_request`](Self::on_request) handed
    /// over.
    ///
    /// # Errors
    ///
    /// As [`accept_over`](Self::accept_over).
    pub async fn accept_over_with<T>(&self, mut io: T) -> Result<(WebSocket, S), Error>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        runtime::check()?;
        self.settings.check()?;
        // Nobody drains this server, and its only connection never makes room.
        let (phase, _) = watch::channel(Phase::Running);
        let Some(ticket) = Arc::new(Admission::new(1, 1)).admit() else {
            return Err(Error::new(Kind::Aborted));
        };
        self.counters.accepted.add(1);
        let opening = Opening {
            settings: &self.settings,
            on_request: &self.on_request,
            counters: &self.counters,
            phase: &phase,
            // One stream is one WebSocket here.
            #[cfg(feature = "http2")]
            is_http2: false,
        };
        match Box::pin(handshake(&opening, &mut io, Caller::new("stream"), &ticket)).await {
            Outcome::Open(open) => {
                tokio::spawn(Driver::new(open.shared.clone(), io, open.carry, None));
                Ok((WebSocket::new(open.shared), open.state))
            }
            Outcome::Answer(response, kind) => {
                let linger = self.settings.config.close_timeout.min(MOST_LINGER);
                if say(&mut io, &response).await {
                    tokio::spawn(hang_up(io, linger));
                }
                Err(Error::new(kind))
            }
            Outcome::Gone(kind) => Err(Error::new(kind)),
            #[cfg(feature = "http2")]
            Outcome::Http2(..) => Err(Error::new(Kind::NoRequest)),
        }
    }
}
