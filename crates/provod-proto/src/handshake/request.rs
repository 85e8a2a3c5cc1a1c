//! The client's half of the opening handshake: checked by a server (RFC 6455 section 4.2.1),
//! written by a client (section 4.1).

mod client;
mod refusal;
#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::grammar::{is_token, list};
use super::head::{RequestHead, Version};
use super::negotiate::{DeflateAnswer, DeflateConfig, Extension, parse_extensions};
use super::origin::Authority;
use super::response::accept_key;

pub use client::ClientRequest;
pub use refusal::{Refusal, RefusalKind};

/// More than any client needs; a head could hold thousands of two-byte ones.
const MAX_SUBPROTOCOLS: usize = 64;

/// Headers that mean nothing, or two things, when they appear twice. Two readers of such a request
/// may each believe another line.
const SINGLE: [&str; 7] = [
    "Host",
    "Content-Length",
    "Transfer-Encoding",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Version",
    "Origin",
    "Authorization",
];

/// A request for a WebSocket that obeys RFC 6455 section 4.2.1: what its answer depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    host: Authority,
    accept: String,
    subprotocols: Vec<String>,
    extensions: Vec<Extension>,
}

impl Upgrade {
    /// The host that the client wants, from the target or the `Host` header.
    #[must_use]
    pub fn host(&self) -> &Authority {
        &self.host
    }

    /// The value of `Sec-WebSocket-Accept` that proves to the client that its key was read
    /// (RFC 6455 section 4.2.2); empty over HTTP/2, where there is no key (RFC 8441 section 5).
    #[must_use]
    pub fn accept(&self) -> &str {
        &self.accept
    }

    /// The subprotocols that the client speaks, in its order of preference, each once.
    #[must_use]
    pub fn subprotocols(&self) -> &[String] {
        &self.subprotocols
    }

    /// The first subprotocol of the client that is also in `supported`, compared with case.
    #[must_use]
    pub fn choose_subprotocol<S: AsRef<str>>(&self, supported: &[S]) -> Option<&str> {
        let known = |name: &&String| supported.iter().any(|s| s.as_ref() == name.as_str());
        self.subprotocols.iter().find(known).map(String::as_str)
    }

    /// The extensions that the client offers, in its order of preference.
    #[must_use]
    pub fn extensions(&self) -> &[Extension] {
        &self.extensions
    }

    /// The answer to the client's offer of permessage-deflate: [`DeflateConfig::accept`].
    #[must_use]
    pub fn accept_deflate(&self, config: &DeflateConfig) -> Option<DeflateAnswer> {
        config.accept(&self.extensions)
    }
}

/// Whether the request asks for a WebSocket at all, well or badly: `Upgrade` lists `websocket` in
/// any case. `websocket/13` is another protocol: RFC 6455 defines no version in this header. Other
/// requests are plain HTTP, for a server to answer as such.
#[must_use]
pub fn is_upgrade(head: &RequestHead) -> bool {
    lists_token(head.header_all("Upgrade"), "websocket")
}

/// The host that a request is for: the authority of a target in absolute form, else that of the
/// `Host` header, which HTTP/1.1 requires (RFC 9112 section 3.2).
///
/// # Errors
/// It is missing, repeated or not a host. For every request of HTTP/1.1 the answer is then 400.
pub fn host(head: &RequestHead) -> Result<Authority, Refusal> {
    if head.count("Host") > 1 {
        return Err(Refusal::Duplicate("Host"));
    }
    // The header must be there and be right even where the target wins.
    let host = head.header("Host").and_then(Authority::parse).ok_or(Refusal::Host)?;
    Ok(head.target_authority().cloned().unwrap_or(host))
}

/// Checks a request for a WebSocket as RFC 6455 section 4.2.1 says.
///
/// # Errors
/// The first rule that the request breaks, in an order that tells plain HTTP
/// ([`Refusal::NotUpgrade`], [`Refusal::Method`]) from a broken handshake. `Origin` is only checked
/// to be there at most once: see [`OriginPolicy`](super::OriginPolicy).
pub fn validate(head: &RequestHead) -> Result<Upgrade, Refusal> {
    single(head)?;
    if !is_upgrade(head) {
        // A request of HTTP/1.0 may lack the host: an old health check is still plain HTTP.
        if head.version() == Version::Http11 {
            host(head)?;
        }
        return Err(Refusal::NotUpgrade);
    }
    if head.version() != Version::Http11 {
        return Err(Refusal::Http10);
    }
    let host = host(head)?;
    if head.method() != "GET" {
        return Err(Refusal::Method);
    }
    no_body(head)?;
    if !lists_token(head.header_all("Connection"), "upgrade") {
        return Err(Refusal::Connection);
    }
    version(head)?;
    let key = head.header_str("Sec-WebSocket-Key").ok_or(Refusal::Key)?;
    match BASE64_STANDARD.decode(key) {
        Ok(nonce) if nonce.len() == 16 => {}
        _ => return Err(Refusal::Key),
    }
    offers(head, host, accept_key(key))
}

/// Whether what may appear once does.
pub(super) fn single(head: &RequestHead) -> Result<(), Refusal> {
    match SINGLE.into_iter().find(|name| head.count(name) > 1) {
        Some(name) => Err(Refusal::Duplicate(name)),
        None => Ok(()),
    }
}

fn version(head: &RequestHead) -> Result<(), Refusal> {
    match head.header("Sec-WebSocket-Version") {
        Some(b"13") => Ok(()),
        _ => Err(Refusal::Version),
    }
}

/// What is the same however the request came: the version, and what it offers.
pub(super) fn offers(
    head: &RequestHead,
    host: Authority,
    accept: String,
) -> Result<Upgrade, Refusal> {
    version(head)?;
    Ok(Upgrade {
        host,
        accept,
        subprotocols: subprotocols(head)?,
        extensions: parse_extensions(head.header_all("Sec-WebSocket-Extensions"))
            .map_err(Refusal::Extensions)?,
    })
}

/// An upgrade has no body: one that a proxy sees and we do not is a smuggled request, or frames
/// that no client masked.
pub(super) fn no_body(head: &RequestHead) -> Result<(), Refusal> {
    if head.count("Transfer-Encoding") > 0 {
        return Err(Refusal::Body);
    }
    match head.header("Content-Length") {
        None => Ok(()),
        Some(length) if !length.is_empty() && length.iter().all(|&b| b == b'0') => Ok(()),
        Some(_) => Err(Refusal::Body),
    }
}

/// RFC 6455 section 4.1 item 10: tokens, "and MUST all be unique strings".
fn subprotocols(head: &RequestHead) -> Result<Vec<String>, Refusal> {
    let mut names: Vec<String> = Vec::new();
    for name in head.header_all("Sec-WebSocket-Protocol").flat_map(list) {
        let name = str::from_utf8(name).map_err(|_| Refusal::Subprotocol)?;
        let unique = names.iter().all(|known| known != name);
        if !is_token(name.as_bytes()) || !unique || names.len() == MAX_SUBPROTOCOLS {
            return Err(Refusal::Subprotocol);
        }
        names.push(name.to_owned());
    }
    if names.is_empty() && head.count("Sec-WebSocket-Protocol") > 0 {
        return Err(Refusal::Subprotocol);
    }
    Ok(names)
}

/// Whether the lines, which make one list, hold a token, compared without case.
pub(super) fn lists_token<'a>(mut lines: impl Iterator<Item = &'a [u8]>, token: &str) -> bool {
    lines.any(|line| list(line).any(|element| element.eq_ignore_ascii_case(token.as_bytes())))
}
