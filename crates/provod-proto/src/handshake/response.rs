//! The server's half of the opening handshake: written by a server (RFC 6455 section 4.2.2),
//! checked by a client (section 4.1).

#[cfg(test)]
mod tests;
mod verify;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use sha1::{Digest, Sha1};

use super::grammar::{ExtraFields, FieldError, is_handshake_field, write_field};
use super::head::RequestHead;
use super::negotiate::DeflateAnswer;
use super::request::{Refusal, Upgrade};

pub use verify::{Accepted, AgreedDeflate, ResponseError};
pub(super) use verify::{Offered, verify, verify_extended};

/// The value of `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key`
/// (RFC 6455 section 4.2.2 item 5.4).
#[must_use]
pub fn accept_key(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    BASE64_STANDARD.encode(hash.finalize())
}

/// A server's 101 answer.
#[derive(Debug, Clone)]
pub struct Accept<'a> {
    upgrade: &'a Upgrade,
    subprotocol: Option<&'a str>,
    deflate: Option<&'a DeflateAnswer>,
    extra: ExtraFields,
}

impl<'a> Accept<'a> {
    /// An answer without subprotocol and extension.
    #[must_use]
    pub fn new(upgrade: &'a Upgrade) -> Self {
        Self { upgrade, subprotocol: None, deflate: None, extra: ExtraFields::default() }
    }

    /// Chooses a subprotocol that the client offered.
    ///
    /// # Errors
    /// [`FieldError::SubprotocolNotOffered`].
    pub fn subprotocol(mut self, name: &str) -> Result<Self, FieldError> {
        let offered = self.upgrade.subprotocols().iter().find(|known| *known == name);
        let name = offered.ok_or_else(|| FieldError::SubprotocolNotOffered(name.to_owned()))?;
        self.subprotocol = Some(name);
        Ok(self)
    }

    /// Agrees to compression, with what [`Upgrade::accept_deflate`] returned for this request.
    #[must_use]
    pub fn deflate(mut self, answer: &'a DeflateAnswer) -> Self {
        self.deflate = Some(answer);
        self
    }

    /// Adds a header, such as `Set-Cookie`.
    ///
    /// # Errors
    /// The name or value would break the head, or the handshake writes this header itself.
    pub fn header(mut self, name: &str, value: &[u8]) -> Result<Self, FieldError> {
        self.extra.add(name, value, is_handshake_field)?;
        Ok(self)
    }

    /// The fields of the answer over HTTP/2, whose status is 200 (RFC 8441 section 5.1).
    #[must_use]
    pub fn http2_fields(&self) -> Vec<(String, Vec<u8>)> {
        let mut fields = Vec::new();
        let mut add = |name: &str, value: &[u8]| fields.push((name.to_owned(), value.to_owned()));
        if let Some(name) = self.subprotocol {
            add("sec-websocket-protocol", name.as_bytes());
        }
        if let Some(answer) = self.deflate {
            add("sec-websocket-extensions", answer.header().as_bytes());
        }
        self.extra.iter().for_each(|(name, value)| add(name, value));
        fields
    }

    /// Appends the answer to `out`. Frames may follow at once.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
        write_field(out, "Upgrade", b"websocket");
        write_field(out, "Connection", b"Upgrade");
        write_field(out, "Sec-WebSocket-Accept", self.upgrade.accept().as_bytes());
        if let Some(name) = self.subprotocol {
            write_field(out, "Sec-WebSocket-Protocol", name.as_bytes());
        }
        if let Some(answer) = self.deflate {
            write_field(out, "Sec-WebSocket-Extensions", answer.header().as_bytes());
        }
        self.extra.write(out);
        out.extend_from_slice(b"\r\n");
    }
}

/// An answer of plain HTTP: a refusal, a page, a health check. The connection closes after it.
#[derive(Debug, Clone)]
pub struct Response {
    status: u16,
    upgrade: bool,
    to_head: bool,
    fields: ExtraFields,
    body: Bytes,
}

impl Response {
    /// An answer without body. A status below 200 or above 599 is no final answer and becomes 500.
    #[must_use]
    pub fn new(status: u16) -> Self {
        let status = if (200..600).contains(&status) { status } else { 500 };
        Self {
            status,
            upgrade: false,
            to_head: false,
            fields: ExtraFields::default(),
            body: Bytes::new(),
        }
    }

    /// An answer with one line of text.
    #[must_use]
    pub fn text(status: u16, line: &str) -> Self {
        let mut response = Self::new(status);
        write_field(response.fields.lines(), "Content-Type", b"text/plain; charset=utf-8");
        response.body = Bytes::from(format!("{line}\n"));
        response
    }

    /// Adds a header. `Upgrade` is added to `Connection` too (RFC 9110 section 7.8).
    ///
    /// # Errors
    /// The name or value would break the head, or it is `Connection`, `Content-Length`,
    /// `Transfer-Encoding` or `Trailer`, which are written as the body needs them.
    pub fn header(mut self, name: &str, value: &[u8]) -> Result<Self, FieldError> {
        let reserved = |lower: &str| {
            matches!(lower, "connection" | "content-length" | "transfer-encoding" | "trailer")
        };
        self.fields.add(name, value, reserved)?;
        self.upgrade |= name.eq_ignore_ascii_case("upgrade");
        Ok(self)
    }

    /// Sets the body. What it is goes into a `Content-Type` header.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Fits the answer to its request: one to HEAD announces its body and leaves it out
    /// (RFC 9110 section 9.3.2).
    #[must_use]
    pub fn answering(mut self, head: &RequestHead) -> Self {
        self.to_head = head.method() == "HEAD";
        self
    }

    /// The status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The fields of the answer over HTTP/2, and its body, without what is only for a connection of
    /// HTTP/1.1 (RFC 9113 section 8.2.2). So a 426 does not say to what.
    #[must_use]
    pub fn http2(&self) -> (Vec<(String, Vec<u8>)>, Bytes) {
        let hop = ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];
        let for_stream = |name: &str| !hop.iter().any(|hop| name.eq_ignore_ascii_case(hop));
        let fields = self.fields.iter().filter(|(name, _)| for_stream(name));
        let mut fields: Vec<_> = fields.map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        let bodiless = self.is_bodiless();
        if !bodiless {
            fields.push(("content-length".to_owned(), self.body.len().to_string().into_bytes()));
        }
        let silent = bodiless || self.to_head;
        (fields, if silent { Bytes::new() } else { self.body.clone() })
    }

    /// RFC 9110 sections 8.6, 15.3.5 and 15.4.5.
    fn is_bodiless(&self) -> bool {
        matches!(self.status, 204 | 304)
    }

    /// Appends the answer to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let status = self.status;
        out.extend_from_slice(format!("HTTP/1.1 {status} {}\r\n", reason(status)).as_bytes());
        self.fields.write(out);
        write_field(out, "Connection", if self.upgrade { b"Upgrade, close" } else { b"close" });
        let bodiless = self.is_bodiless();
        if !bodiless {
            write_field(out, "Content-Length", self.body.len().to_string().as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        if !bodiless && !self.to_head {
            out.extend_from_slice(&self.body);
        }
    }
}

impl From<&Refusal> for Response {
    fn from(refusal: &Refusal) -> Self {
        let mut response = Self::text(refusal.status(), &refusal.to_string());
        for &(name, value) in refusal.headers() {
            response.upgrade |= name == "Upgrade";
            write_field(response.fields.lines(), name, value.as_bytes());
        }
        response
    }
}

/// The reason phrase of a status code (RFC 9110 section 15), empty for one that it does not name.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        421 => "Misdirected Request",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}
