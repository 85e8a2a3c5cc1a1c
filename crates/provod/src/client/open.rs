//! The opening handshake of a client (RFC 6455 section 4.1).

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use provod_proto::handshake::{Accepted, ClientRequest, ResponseError, ResponseHead};
use provod_proto::{Connection, DeflateSetup, Role};
use tokio::time::timeout_at;

use super::address::Address;
use super::exchange::{Exchange, Trouble};
use super::mask::SystemMasks;
use super::response::HttpResponse;
use super::{Client, body};
use crate::driver::{Driver, Info, Shared, pool};
use crate::error::{Error, Kind, Step};
use crate::runtime::deadline;
use crate::transport::{Transport, write_all};
use crate::websocket::WebSocket;

/// Asks for a WebSocket on `io` and starts its driver.
pub(super) async fn open<T: Transport>(
    client: &Client,
    request: ClientRequest,
    address: &Address,
    mut io: T,
    peer: String,
) -> Result<WebSocket, Error> {
    let mut out = Vec::new();
    request.write(&mut out);
    let limit = client.timeouts.handshake;
    let deadline = deadline(limit);
    let late = |_| Error::new(Kind::Timeout { step: Step::Handshake, limit, place: peer.clone() });
    let mut exchange = Exchange::new(&out, client.head);
    let answered = timeout_at(deadline, exchange.answer(&mut io)).await.map_err(late)?;
    let (head, carry) = answered.map_err(|trouble| match trouble {
        Trouble::Invalid(why) => Error::new(Kind::Answer(why)),
        Trouble::Tls => {
            let why = "the server speaks TLS on this port, which wss:// is for";
            Error::new(Kind::Answer(why.to_owned()))
        }
        Trouble::HungUp => Error::new(Kind::NoAnswer),
        Trouble::Broken(e) => broken(e, address),
    })?;
    let accepted = match request.verify(&head) {
        Ok(accepted) => accepted,
        Err(ResponseError::Status(_)) => {
            let body = body::read(&mut io, &head, &carry, deadline).await;
            return Err(Error::new(Kind::Refused(HttpResponse::new(head, body))));
        }
        Err(e) => return Err(Error::new(Kind::Answer(e.to_string()))),
    };
    // A server may answer before it has read all of the request, but frames come behind it.
    let rest = write_all(&mut io, exchange.unsent);
    timeout_at(deadline, rest).await.map_err(late)?.map_err(|e| broken(e, address))?;
    Ok(start(client, accepted, head, address, io, carry, &peer))
}

/// Starts the driver of a WebSocket that the server has opened.
pub(super) fn start<T: Transport>(
    client: &Client,
    accepted: Accepted,
    head: ResponseHead,
    address: &Address,
    io: T,
    carry: BytesMut,
    peer: &str,
) -> WebSocket {
    let response = HttpResponse::new(head, Bytes::new());
    let deflate = accepted.deflate.map(|agreed| agreed.params);
    let subprotocol = accepted.subprotocol.as_deref();
    let info = Info::new(peer, address.target(), subprotocol, deflate, Some(response));
    let setup = accepted.deflate.map(|agreed| DeflateSetup {
        params: agreed.params,
        compress: agreed.compress,
        pool: pool(),
    });
    let config = Arc::new(client.config.core());
    let role = Role::Client(Box::new(SystemMasks));
    let shared = Shared::new(
        |now| Connection::new(role, config, setup, now),
        info,
        client.config.clone(),
        Arc::default(),
    );
    if let Some(budget) = &client.budget {
        budget.watch(&shared);
    }
    tokio::spawn(Driver::new(shared.clone(), io, carry, None));
    WebSocket::new(shared)
}

/// The stream broke: with TLS perhaps because only now it was known that the server wants another
/// certificate of the client, or one at all (RFC 8446 section 4.4.2.4).
fn broken(e: io::Error, address: &Address) -> Error {
    #[cfg(feature = "tls")]
    if address.is_secure() && crate::tls::is_tls(&e) {
        return crate::tls::failed(e, address.authority());
    }
    let _ = address;
    Error::new(Kind::Transport(e))
}
