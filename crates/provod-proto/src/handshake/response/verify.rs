//! What a client checks in the answer (RFC 6455 section 4.1, "once the client's opening handshake
//! has been sent").

use std::fmt;

use super::super::head::{ResponseHead, Version};
use super::super::negotiate::{
    DeflateConfig, DeflateError, DeflateParams, ExtensionError, parse_extensions,
};
use super::super::request::lists_token;

/// What a request offered, as far as its answer depends on it.
#[derive(Debug)]
pub(in crate::handshake) struct Offered<'a> {
    pub(in crate::handshake) accept: &'a str,
    pub(in crate::handshake) subprotocols: &'a [String],
    pub(in crate::handshake) deflate: Option<&'a DeflateConfig>,
}

/// What the server agreed to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Accepted {
    /// The subprotocol that the server chose among those offered. A server may choose none, which
    /// browsers treat as a failure where any was offered.
    pub subprotocol: Option<String>,
    /// Compression, if the server agreed to it.
    pub deflate: Option<AgreedDeflate>,
}

/// Compression as a client uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct AgreedDeflate {
    /// The parameters.
    pub params: DeflateParams,
    /// Whether the client may compress what it sends. Not so when the server limits the client's
    /// window to 8 bits, which the deflate libraries cannot make.
    pub compress: bool,
}

/// Why an answer opens no WebSocket. All but [`ResponseError::Status`] are faults of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResponseError {
    /// A status other than 101: a redirect, a refusal, an error.
    Status(u16),
    /// 101 over HTTP/1.0, which knows no upgrade (RFC 9110 section 7.8).
    Http10,
    /// `Upgrade` is missing or not `websocket` (item 2).
    Upgrade,
    /// `Connection` does not list `upgrade` (item 3).
    Connection,
    /// `Sec-WebSocket-Accept` is missing (item 4).
    MissingAccept,
    /// `Sec-WebSocket-Accept` does not answer the key (item 4): whoever answered did not read the
    /// request.
    WrongAccept,
    /// The named header appears twice and may appear once (RFC 6455 section 11.3).
    Duplicate(&'static str),
    /// A subprotocol that was not offered (item 6).
    Subprotocol,
    /// `Sec-WebSocket-Extensions` breaks its grammar (RFC 6455 section 9.1).
    Extensions(ExtensionError),
    /// The named extension was not offered (item 5).
    ExtensionNotOffered(String),
    /// permessage-deflate is answered twice.
    ExtensionRepeated,
    /// The parameters of permessage-deflate are not what the offer allows.
    Deflate(DeflateError),
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Status(status) => return write!(f, "the server answered with status {status}"),
            Self::Extensions(e) => return e.fmt(f),
            Self::Deflate(e) => return write!(f, "permessage-deflate in the answer: {e}"),
            Self::Duplicate(name) => {
                return write!(f, "the header {name} may appear only once in the answer");
            }
            Self::ExtensionNotOffered(name) => {
                return write!(
                    f,
                    "the server answered the extension {name:?}, which was not offered \
                     (RFC 6455 section 4.1)"
                );
            }
            Self::Http10 => "the server answered 101 over HTTP/1.0",
            Self::Upgrade => "Upgrade in the answer is not websocket (RFC 6455 section 4.1)",
            Self::Connection => {
                "Connection in the answer does not list Upgrade (RFC 6455 section 4.1)"
            }
            Self::MissingAccept => {
                "Sec-WebSocket-Accept is missing in the answer (RFC 6455 section 4.1)"
            }
            Self::WrongAccept => {
                "Sec-WebSocket-Accept does not answer the key (RFC 6455 section 4.1)"
            }
            Self::Subprotocol => {
                "the server chose a subprotocol that was not offered (RFC 6455 section 4.1)"
            }
            Self::ExtensionRepeated => {
                "the server answered permessage-deflate twice (RFC 7692 section 5)"
            }
        })
    }
}

impl std::error::Error for ResponseError {}

/// Checks an answer in the order of RFC 6455 section 4.1.
pub(in crate::handshake) fn verify(
    head: &ResponseHead,
    offered: &Offered<'_>,
) -> Result<Accepted, ResponseError> {
    if head.status() != 101 {
        return Err(ResponseError::Status(head.status()));
    }
    if head.version() != Version::Http11 {
        return Err(ResponseError::Http10);
    }
    const SINGLE: [&str; 3] = ["Upgrade", "Sec-WebSocket-Accept", "Sec-WebSocket-Protocol"];
    if let Some(name) = SINGLE.into_iter().find(|name| head.count(name) > 1) {
        return Err(ResponseError::Duplicate(name));
    }
    if !head.header("Upgrade").is_some_and(|value| value.eq_ignore_ascii_case(b"websocket")) {
        return Err(ResponseError::Upgrade);
    }
    if !lists_token(head.header_all("Connection"), "upgrade") {
        return Err(ResponseError::Connection);
    }
    match head.header("Sec-WebSocket-Accept") {
        None => return Err(ResponseError::MissingAccept),
        Some(accept) if accept == offered.accept.as_bytes() => {}
        Some(_) => return Err(ResponseError::WrongAccept),
    }
    accepted(head, offered)
}

/// Checks the answer to an extended CONNECT (RFC 8441 section 5.1).
pub(in crate::handshake) fn verify_extended(
    head: &ResponseHead,
    offered: &Offered<'_>,
) -> Result<Accepted, ResponseError> {
    // RFC 9110 section 9.3.6: any 2xx opens a tunnel.
    if !(200..300).contains(&head.status()) {
        return Err(ResponseError::Status(head.status()));
    }
    if head.count("Sec-WebSocket-Protocol") > 1 {
        return Err(ResponseError::Duplicate("Sec-WebSocket-Protocol"));
    }
    accepted(head, offered)
}

/// What the server chose of what was offered.
fn accepted(head: &ResponseHead, offered: &Offered<'_>) -> Result<Accepted, ResponseError> {
    let deflate = extensions(head, offered.deflate)?;
    let subprotocol = match head.header("Sec-WebSocket-Protocol") {
        None => None,
        Some(chosen) => Some(
            offered
                .subprotocols
                .iter()
                .find(|name| name.as_bytes() == chosen)
                .ok_or(ResponseError::Subprotocol)?
                .clone(),
        ),
    };
    Ok(Accepted { subprotocol, deflate })
}

fn extensions(
    head: &ResponseHead,
    config: Option<&DeflateConfig>,
) -> Result<Option<AgreedDeflate>, ResponseError> {
    let answered = parse_extensions(head.header_all("Sec-WebSocket-Extensions"))
        .map_err(ResponseError::Extensions)?;
    let mut agreed = None;
    for extension in answered {
        let Some(config) = config.filter(|_| extension.is_deflate()) else {
            return Err(ResponseError::ExtensionNotOffered(extension.name));
        };
        if agreed.is_some() {
            return Err(ResponseError::ExtensionRepeated);
        }
        let (params, compress) = config.check(&extension).map_err(ResponseError::Deflate)?;
        agreed = Some(AgreedDeflate { params, compress });
    }
    Ok(agreed)
}
