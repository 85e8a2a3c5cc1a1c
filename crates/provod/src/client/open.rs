//! The opening handshake of a client (RFC 6455 section 4.1).

use std::future::poll_fn;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use provod_proto::handshake::{
    ClientRequest, HeadError, ResponseError, ResponseHead, ResponseReader,
};
use provod_proto::{Connection, DeflateSetup, Role};
use tokio::time::{Instant, timeout_at};

use super::Client;
use super::address::Address;
use super::mask::SystemMasks;
use super::response::HttpResponse;
use crate::driver::{Driver, Info, Shared, pool, with_read_buffer};
use crate::error::{Error, Kind, Step};
use crate::transport::{Transport, write_all};
use crate::websocket::WebSocket;

/// Bytes in one read of a head; frames that come with it are carried to the driver.
const HEAD_READ: usize = 16 << 10;

/// Asks for a WebSocket on `io` and starts its driver.
pub(super) async fn open<T: Transport>(
    client: &Client,
    address: &Address,
    mut io: T,
    peer: String,
) -> Result<WebSocket, Error> {
    let request = request(client, address)?;
    let deadline = Instant::now() + client.timeouts.handshake;
    let exchange = async {
        let mut out = Vec::new();
        request.write(&mut out);
        // A server may answer, and hang up, before it has read all of the request.
        let sent = write_all(&mut io, &out).await;
        match (read_head(&mut io, client).await, sent) {
            (Err(e), Err(sent)) if e.is_lost() => Err(Error::new(Kind::Transport(sent))),
            (read, _) => read,
        }
    };
    let late = |_| Error::new(Kind::Timeout(Step::Handshake, client.timeouts.handshake));
    let (head, carry) = timeout_at(deadline, exchange).await.map_err(late)??;
    let accepted = match request.verify(&head) {
        Ok(accepted) => accepted,
        Err(ResponseError::Status(_)) => {
            let response = HttpResponse::new(head, Bytes::new());
            return Err(Error::new(Kind::Refused(response)));
        }
        Err(e) => return Err(Error::new(Kind::Answer(e.to_string()))),
    };
    let info = Info {
        peer: peer.into(),
        target: address.target().into(),
        subprotocol: accepted.subprotocol.map(Into::into),
        deflate: accepted.deflate.map(|agreed| agreed.params),
        response: Some(Box::new(HttpResponse::new(head, Bytes::new()))),
    };
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
    tokio::spawn(Driver::new(shared.clone(), io, carry, None));
    Ok(WebSocket::new(shared))
}

fn request(client: &Client, address: &Address) -> Result<ClientRequest, Error> {
    let mut key = [0; 16];
    getrandom::fill(&mut key).map_err(|e| {
        let what = format!("the system gives no random numbers, which masking needs: {e}");
        Error::new(Kind::Setting(what))
    })?;
    let build = || {
        let mut request = ClientRequest::new(address.authority(), address.target(), key)?;
        for name in &client.subprotocols {
            request = request.subprotocol(name)?;
        }
        if let Some(config) = client.deflate {
            request = request.deflate(config);
        }
        if let Some(origin) = &client.origin {
            request = request.origin(origin)?;
        }
        let given = |(name, _): &(String, _)| name.eq_ignore_ascii_case("authorization");
        if let Some(value) = address.authorization()
            && !client.headers.iter().any(given)
        {
            request = request.header("Authorization", value.as_bytes())?;
        }
        for (name, value) in &client.headers {
            request = request.header(name, value)?;
        }
        Ok::<_, provod_proto::handshake::FieldError>(request)
    };
    build().map_err(|e| Error::new(Kind::Setting(e.to_string())))
}

/// Reads until the head is whole; returns also what came behind it.
async fn read_head<T: Transport>(
    io: &mut T,
    client: &Client,
) -> Result<(ResponseHead, BytesMut), Error> {
    let mut reader = ResponseReader::new(client.head);
    loop {
        let read = poll_fn(|cx| {
            with_read_buffer(|buf| {
                io.poll_read(cx, buf, HEAD_READ).map(|read| {
                    let n = read.map_err(|e| Error::new(Kind::Transport(e)))?;
                    if n == 0 {
                        return Err(Error::new(if reader.is_empty() {
                            Kind::NoAnswer
                        } else {
                            Kind::Answer("it ends in the middle of its head".to_owned())
                        }));
                    }
                    let invalid = |e: HeadError| Error::new(Kind::Answer(e.message().to_owned()));
                    let push = reader.push(&buf[..n]).map_err(invalid)?;
                    Ok(push.head.map(|head| (head, BytesMut::from(&buf[push.consumed..n]))))
                })
            })
        })
        .await?;
        if let Some(read) = read {
            return Ok(read);
        }
    }
}
