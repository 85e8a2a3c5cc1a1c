//! WebSockets over HTTP/2 (RFC 8441): a stream is opened with an extended CONNECT and a status of
//! 2xx, in place of an upgrade and a 101. Whoever speaks HTTP/2 brings the fields; what they must
//! say is here.

#[cfg(test)]
mod tests;

use super::grammar::is_token;
use super::head::{HeadError, HeadLimits, RequestHead};
use super::origin::Authority;
use super::request::{Refusal, Upgrade, host, no_body, offers, single};

/// A request as HTTP/2 carries it (RFC 9113 section 8.3.1).
#[derive(Clone, Copy)]
pub struct Http2Request<'a> {
    /// `:method`.
    pub method: &'a str,
    /// `:protocol` (RFC 8441 section 4).
    pub protocol: Option<&'a str>,
    /// `:authority`.
    pub authority: Option<&'a str>,
    /// `:path`, with its query.
    pub path: Option<&'a str>,
}

impl Http2Request<'_> {
    /// Whether it asks for a WebSocket at all, well or badly. The name of the protocol is compared
    /// without case, as in `Upgrade`.
    #[must_use]
    pub fn is_upgrade(&self) -> bool {
        let protocol = self.protocol.unwrap_or_default();
        self.method == "CONNECT" && protocol.eq_ignore_ascii_case("websocket")
    }

    /// The request as one of HTTP/1.1 would be, for whoever decides on both: the authority is its
    /// `Host`, cookies are in one line, and the method of a WebSocket is GET.
    ///
    /// # Errors
    /// It is malformed, above the limits, or a CONNECT for something else than a WebSocket.
    pub fn head<'a>(
        &'a self,
        fields: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        limits: HeadLimits,
    ) -> Result<RequestHead, Refusal> {
        if !is_token(self.method.as_bytes()) {
            return Err(HeadError::RequestLine.into());
        }
        if self.method == "CONNECT" && !self.is_upgrade() {
            return Err(Refusal::Protocol);
        }
        let method = if self.is_upgrade() { "GET" } else { self.method };
        let mut cookies = Vec::new();
        let mut all = Vec::new();
        // The authority goes before `Host`, which must be the same where both are there (RFC 9113
        // section 8.3.1).
        all.extend(self.authority.map(|authority| ("host", authority.as_bytes())));
        let mut differs = false;
        for (name, value) in fields {
            if name.eq_ignore_ascii_case("cookie") {
                // A client may split them (RFC 9113 section 8.2.3).
                if !cookies.is_empty() {
                    cookies.extend_from_slice(b"; ");
                }
                cookies.extend_from_slice(value);
            } else if let Some(authority) = self.authority
                && name.eq_ignore_ascii_case("host")
            {
                differs |= Authority::parse(authority.as_bytes()) != Authority::parse(value);
            } else {
                all.push((name, value));
            }
        }
        if !cookies.is_empty() {
            all.push(("cookie", &cookies));
        }
        let target = self.path.unwrap_or_default();
        let head = RequestHead::from_fields(method, target, all, limits)?;
        if differs { Err(Refusal::Host) } else { Ok(head) }
    }
}

/// Checks a request for a WebSocket that came as an extended CONNECT, of which
/// [`Http2Request::head`] made `head`, as RFC 8441 section 5 says: by the rules of RFC 6455 section
/// 4.2.1, without `Upgrade` and `Connection`, which HTTP/2 does not know. `Sec-WebSocket-Key` is
/// not used; a bridge that leaves it in does no harm.
///
/// # Errors
/// The first rule that the request breaks.
pub fn validate_extended(head: &RequestHead) -> Result<Upgrade, Refusal> {
    single(head)?;
    let host = host(head)?;
    if head.count("Upgrade") > 0 || head.count("Connection") > 0 {
        return Err(Refusal::Connection);
    }
    no_body(head)?;
    offers(head, host, String::new())
}
