//! Writing the request (RFC 6455 section 4.1) and remembering what it offers.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::super::grammar::{ExtraFields, FieldError, is_handshake_field, is_token, write_field};
use super::super::head::ResponseHead;
use super::super::negotiate::DeflateConfig;
use super::super::origin::{Authority, Origin};
use super::super::response::{
    Accepted, Offered, ResponseError, accept_key, verify, verify_extended,
};

/// A client's request, and the check of the answer to it.
///
/// ```
/// use provod_proto::handshake::*;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let key = *b"the sample nonce"; // 16 random bytes
/// let request = ClientRequest::new("example.com", "/chat", key)?
///     .subprotocol("chat")?
///     .header("Cookie", b"id=7")?;
/// let mut out = Vec::new();
/// request.write(&mut out);
///
/// let answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
///     Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
/// let mut reader = ResponseReader::new(HeadLimits::default());
/// if let Some(head) = reader.push(answer)?.head {
///     let accepted = request.verify(&head)?;
///     assert_eq!(accepted.subprotocol, None);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ClientRequest {
    host: Authority,
    target: String,
    key: String,
    origin: Option<String>,
    subprotocols: Vec<String>,
    deflate: Option<DeflateConfig>,
    extra: ExtraFields,
}

impl ClientRequest {
    /// A request to `host`, which includes the port unless it is the scheme's own, for `target`,
    /// a path with an optional query, both already in ASCII. `key` must be random and new for
    /// each request (RFC 6455 section 4.1 item 7).
    ///
    /// # Errors
    /// [`FieldError::Host`] or [`FieldError::Target`].
    pub fn new(host: &str, target: &str, key: [u8; 16]) -> Result<Self, FieldError> {
        let host = Authority::parse(host.as_bytes()).ok_or(FieldError::Host)?;
        let visible = |b: u8| b.is_ascii_graphic() && b != b'#';
        if !target.starts_with('/') || !target.bytes().all(visible) {
            return Err(FieldError::Target);
        }
        Ok(Self {
            host,
            target: target.to_owned(),
            key: BASE64_STANDARD.encode(key),
            origin: None,
            subprotocols: Vec::new(),
            deflate: None,
            extra: ExtraFields::default(),
        })
    }

    /// Offers one more subprotocol, less wanted than those before it.
    ///
    /// # Errors
    /// [`FieldError::Subprotocol`].
    pub fn subprotocol(mut self, name: &str) -> Result<Self, FieldError> {
        if !is_token(name.as_bytes()) || self.subprotocols.iter().any(|known| known == name) {
            return Err(FieldError::Subprotocol(name.to_owned()));
        }
        self.subprotocols.push(name.to_owned());
        Ok(self)
    }

    /// Offers permessage-deflate.
    #[must_use]
    pub fn deflate(mut self, config: DeflateConfig) -> Self {
        self.deflate = Some(config);
        self
    }

    /// Says on behalf of which page the client connects. Clients that are not browsers need not.
    ///
    /// # Errors
    /// [`FieldError::Value`]: not an origin.
    pub fn origin(mut self, origin: &str) -> Result<Self, FieldError> {
        Origin::parse(origin.as_bytes()).map_err(|_| FieldError::Value("Origin".to_owned()))?;
        self.origin = Some(origin.to_owned());
        Ok(self)
    }

    /// Adds a header, such as `Cookie` or `Authorization`.
    ///
    /// # Errors
    /// The name or value would break the head, or the handshake writes this header itself.
    pub fn header(mut self, name: &str, value: &[u8]) -> Result<Self, FieldError> {
        let reserved =
            |lower: &str| is_handshake_field(lower) || matches!(lower, "host" | "origin");
        self.extra.add(name, value, reserved)?;
        Ok(self)
    }

    /// Appends the request to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"GET ");
        out.extend_from_slice(self.target.as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        write_field(out, "Host", self.host.to_string().as_bytes());
        write_field(out, "Upgrade", b"websocket");
        write_field(out, "Connection", b"Upgrade");
        write_field(out, "Sec-WebSocket-Key", self.key.as_bytes());
        self.each_field(|name, value| write_field(out, name, value));
        out.extend_from_slice(b"\r\n");
    }

    /// The fields that are the same over HTTP/1.1 and HTTP/2.
    fn each_field(&self, mut add: impl FnMut(&str, &[u8])) {
        add("Sec-WebSocket-Version", b"13");
        if let Some(origin) = &self.origin {
            add("Origin", origin.as_bytes());
        }
        if !self.subprotocols.is_empty() {
            add("Sec-WebSocket-Protocol", self.subprotocols.join(", ").as_bytes());
        }
        if let Some(deflate) = &self.deflate {
            add("Sec-WebSocket-Extensions", deflate.offer().as_bytes());
        }
        self.extra.iter().for_each(|(name, value)| add(name, value));
    }

    /// The fields of the request over HTTP/2, an extended CONNECT (RFC 8441 section 5), beside
    /// [`host`](Self::host) as its `:authority` and [`target`](Self::target) as its `:path`.
    #[must_use]
    pub fn http2_fields(&self) -> Vec<(String, Vec<u8>)> {
        let mut fields = Vec::new();
        self.each_field(|name, value| fields.push((name.to_owned(), value.to_owned())));
        fields
    }

    /// The host that is asked, with the port unless it is the scheme's own.
    #[must_use]
    pub fn host(&self) -> &Authority {
        &self.host
    }

    /// The path and query.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// As [`verify`](Self::verify), for an answer to an extended CONNECT (RFC 8441 section 5.1).
    ///
    /// # Errors
    /// As [`verify`](Self::verify); every status of 2xx opens a WebSocket.
    pub fn verify_extended(&self, head: &ResponseHead) -> Result<Accepted, ResponseError> {
        let (subprotocols, deflate) = (&self.subprotocols, self.deflate.as_ref());
        verify_extended(head, &Offered { accept: "", subprotocols, deflate })
    }

    /// Checks the answer as RFC 6455 section 4.1 tells a client to.
    ///
    /// # Errors
    /// The connection must be failed; or, for [`ResponseError::Status`], the server answered with
    /// something else than a WebSocket.
    pub fn verify(&self, head: &ResponseHead) -> Result<Accepted, ResponseError> {
        verify(
            head,
            &Offered {
                accept: &accept_key(&self.key),
                subprotocols: &self.subprotocols,
                deflate: self.deflate.as_ref(),
            },
        )
    }
}
