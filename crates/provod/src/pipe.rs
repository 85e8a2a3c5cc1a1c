//! Two ends of one connection inside a process.

use std::sync::Arc;

use provod_proto::{Connection, Role};

use crate::client::SystemMasks;
use crate::config::Config;
use crate::driver::{Driver, Info, Shared};
use crate::transport::Transport;
use crate::websocket::WebSocket;

/// Bytes on their way in each direction.
const CAPACITY: usize = 64 << 10;

/// Two WebSockets, a client and a server, that are connected in memory: to test what talks to one,
/// or to talk inside a process as over the network.
///
/// Frames, keepalive, closing and back-pressure are those of a real connection. There is no opening
/// handshake, so the path is `/` and neither a subprotocol nor compression is agreed. Where
/// these matter, [`Client::connect_over`](crate::Client::connect_over) and
/// [`Server::accept_over`](crate::Server::accept_over) meet on a `tokio::io::duplex`. Tests can
/// pause tokio's clock.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), provod::Error> {
/// let (mut client, mut server) = provod::pipe();
/// client.send("Hello").await?;
/// assert_eq!(server.recv().await?, Some("Hello".into()));
/// drop(server);
/// assert_eq!(client.recv().await?, None);
/// # Ok(())
/// # }
/// ```
///
/// # Panics
///
/// Outside a tokio runtime, as `tokio::spawn`.
#[must_use]
pub fn pipe() -> (WebSocket, WebSocket) {
    pipe_with(Config::default(), Config::default())
}

/// As [`pipe`], with settings for the client's and for the server's end.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), provod::Error> {
/// use provod::Config;
///
/// let mut small = Config::default();
/// small.limits.max_message = 4;
/// let (mut client, mut server) = provod::pipe_with(Config::default(), small);
/// client.send("12345").await?;
/// assert!(server.recv().await.is_err_and(|error| error.is_limit()));
/// assert_eq!(client.closed().await.code().as_u16(), 1009);
/// # Ok(())
/// # }
/// ```
///
/// # Panics
///
/// As [`pipe`].
#[must_use]
pub fn pipe_with(client: Config, server: Config) -> (WebSocket, WebSocket) {
    let (near, far) = tokio::io::duplex(CAPACITY);
    let masks = Role::Client(Box::new(SystemMasks));
    (end(near, masks, client), end(far, Role::Server, server))
}

pub(crate) fn end<T: Transport>(io: T, role: Role, config: Config) -> WebSocket {
    let shared = shared(role, config);
    tokio::spawn(Driver::new(shared.clone(), io, bytes::BytesMut::new(), None));
    WebSocket::new(shared)
}

pub(crate) fn shared(role: Role, config: Config) -> Arc<Shared> {
    let core = Arc::new(config.core());
    let info = Info::new("pipe", "/", None, None, None);
    let connection = |now| Connection::new(role, core, None, now);
    Shared::new(connection, info, Arc::new(config), Arc::default())
}
