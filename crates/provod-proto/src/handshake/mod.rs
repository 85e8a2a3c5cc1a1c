//! The opening handshake over HTTP/1.1 (RFC 6455 section 4), both roles, as pure code.
//!
//! A server reads the request with a [`RequestReader`], asks [`is_upgrade`], and lets [`validate`]
//! turn the head into an [`Upgrade`] or a [`Refusal`]. It checks the page that the client runs in
//! with an [`OriginPolicy`], agrees on compression with [`DeflateConfig::accept`], and answers with
//! an [`Accept`], or with a [`Response`] made from the refusal:
//!
//! ```
//! use provod_proto::handshake::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let input = b"GET /chat HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n\
//!     Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
//!     Sec-WebSocket-Version: 13\r\n\r\n\x81\x80frame";
//! let mut reader = RequestReader::new(HeadLimits::default());
//! let read = reader.push(input)?;
//! let frames = &input[read.consumed..]; // behind the head: the first frames
//! # assert!(frames.starts_with(b"\x81\x80"));
//! let Some(head) = read.head else { return Ok(()) /* read more and push again */ };
//!
//! let mut out = Vec::new();
//! match validate(&head) {
//!     Ok(upgrade) => Accept::new(&upgrade).write(&mut out),
//!     Err(refusal) => Response::from(&refusal).answering(&head).write(&mut out),
//! }
//! assert!(out.starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"));
//! # Ok(())
//! # }
//! ```
//!
//! A client writes a [`ClientRequest`], reads the answer with a [`ResponseReader`] and passes it to
//! [`ClientRequest::verify`].
//!
//! Over HTTP/2 (RFC 8441) a server makes a head with [`Http2Request::head`] and checks it with
//! [`validate_extended`]; a client uses [`ClientRequest::http2_fields`] and
//! [`ClientRequest::verify_extended`].

mod extended;
mod grammar;
mod head;
mod negotiate;
mod origin;
mod request;
mod response;
#[cfg(test)]
mod testing;

pub use extended::{Http2Request, validate_extended};
pub use grammar::FieldError;
pub use head::{
    Head, HeadError, HeadLimits, HeadReader, Push, RequestHead, RequestReader, ResponseHead,
    ResponseReader, Version,
};
pub use negotiate::{
    DeflateAnswer, DeflateConfig, DeflateError, DeflateParams, Extension, ExtensionError,
    Parameter, parse_extensions,
};
pub use origin::{Authority, InvalidOrigin, Origin, OriginPolicy, OriginRefused, is_loopback_host};
pub use request::{ClientRequest, Refusal, RefusalKind, Upgrade, host, is_upgrade, validate};
pub use response::{Accept, Accepted, AgreedDeflate, Response, ResponseError, accept_key};
