//! The opening handshake of a client (RFC 6455 section 4.1).

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use provod_proto::handshake::{
    Accepted, ClientRequest, HeadError, HeadLimits, ResponseError, ResponseHead, ResponseReader,
};
use provod_proto::{Connection, DeflateSetup, Role};
use tokio::time::timeout_at;

use super::address::Address;
use super::mask::SystemMasks;
use super::response::HttpResponse;
use super::{Client, body};
use crate::driver::{Driver, Info, Shared, pool, with_read_buffer};
use crate::error::{Error, Kind, Step};
use crate::runtime::deadline;
use crate::transport::{Transport, write_all};
use crate::websocket::WebSocket;

/// Bytes in one read of a head; frames that come with it are carried to the driver.
const HEAD_READ: usize = 16 << 10;
/// Interim answers, such as 103 Early Hints, in front of the final one.
const MOST_INTERIM: u32 = 16;

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
    let answered = poll_fn(|cx| exchange.poll(&mut io, cx));
    let (head, carry) = timeout_at(deadline, answered).await.map_err(late)??;
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
    timeout_at(deadline, rest).await.map_err(late)?.map_err(|e| Error::new(Kind::Transport(e)))?;
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

/// The request on its way out and the answer on its way in, at the same time: a server may answer,
/// and hang up, before it has read all of the request.
struct Exchange<'a> {
    unsent: &'a [u8],
    /// Why no more of the request can be sent.
    broken: Option<io::Error>,
    reader: ResponseReader,
    interim: u32,
}

impl<'a> Exchange<'a> {
    fn new(request: &'a [u8], limits: HeadLimits) -> Self {
        Self { unsent: request, broken: None, reader: ResponseReader::new(limits), interim: 0 }
    }

    /// The head of the final answer, and what came behind it.
    fn poll<T: Transport>(
        &mut self,
        io: &mut T,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(ResponseHead, BytesMut), Error>> {
        while !self.unsent.is_empty() && self.broken.is_none() {
            match io.poll_write(cx, &[IoSlice::new(self.unsent)]) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => self.broken = Some(io::ErrorKind::WriteZero.into()),
                // A transport takes no more than it was given; if it did, nothing is left.
                Poll::Ready(Ok(n)) => self.unsent = self.unsent.get(n..).unwrap_or_default(),
                Poll::Ready(Err(e)) => self.broken = Some(e),
            }
        }
        loop {
            let pushed = with_read_buffer(|buf| {
                io.poll_read(cx, buf, HEAD_READ).map(|read| match read {
                    // A read of `n` bytes has put `n` bytes into the buffer.
                    Ok(n @ 1..) => self.push(&buf[..n]),
                    Ok(_) => Err(self.ended()),
                    Err(e) => Err(Error::new(Kind::Transport(e))),
                })
            });
            match pushed {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                Poll::Ready(Ok(Some(answer))) => return Poll::Ready(Ok(answer)),
                Poll::Ready(Ok(None)) => {}
            }
        }
    }

    /// Takes input; interim answers are passed over (RFC 9110 section 15.2).
    fn push(&mut self, mut input: &[u8]) -> Result<Option<(ResponseHead, BytesMut)>, Error> {
        // 21 and 22 begin a TLS record: an alert, or a handshake.
        if self.is_unanswered() && matches!(input, [21 | 22, ..]) {
            let why = "the server speaks TLS on this port, which wss:// is for";
            return Err(Error::new(Kind::Answer(why.to_owned())));
        }
        loop {
            let invalid = |e: HeadError| Error::new(Kind::Answer(e.message().to_owned()));
            let push = self.reader.push(input).map_err(invalid)?;
            let Some(head) = push.head else { return Ok(None) };
            // The reader consumes no more than it is given.
            input = input.get(push.consumed..).unwrap_or_default();
            if !matches!(head.status(), 100 | 102..=199) {
                return Ok(Some((head, BytesMut::from(input))));
            }
            self.interim += 1;
            if self.interim > MOST_INTERIM {
                let why = format!("more than {MOST_INTERIM} interim answers and no final one");
                return Err(Error::new(Kind::Answer(why)));
            }
        }
    }

    fn is_unanswered(&self) -> bool {
        self.reader.is_empty() && self.interim == 0
    }

    /// What it means that the input has ended.
    fn ended(&mut self) -> Error {
        Error::new(if !self.is_unanswered() {
            Kind::Answer("it ends in the middle of its head".to_owned())
        } else if let Some(error) = self.broken.take() {
            Kind::Transport(error)
        } else {
            Kind::NoAnswer
        })
    }
}
