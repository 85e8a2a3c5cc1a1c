//! What the application sees of an opening handshake, and what it answers.

use std::sync::Arc;

use provod_proto::handshake::{RequestHead, Upgrade};

/// A request, whether for a WebSocket or of plain HTTP. Cloning shares it.
///
/// Header values are bytes as they came. A cookie, for example:
///
/// ```
/// use provod::server::Request;
///
/// fn cookie<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
///     let pairs = str::from_utf8(request.header("Cookie")?).ok()?;
///     pairs.split("; ").find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Request(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    head: RequestHead,
    upgrade: Option<Upgrade>,
    caller: Caller,
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// `IP:port`, `unix` or `stream`.
    pub(super) peer: Box<str>,
    /// What was shown in the TLS handshake, and checked, in DER.
    pub(super) certificate: Option<Arc<[u8]>>,
    /// Its requests come over HTTP/2.
    pub(super) http2: bool,
}

impl Caller {
    pub(super) fn new(peer: impl Into<Box<str>>) -> Self {
        Self { peer: peer.into(), certificate: None, http2: false }
    }
}

impl Request {
    pub(super) fn new(head: RequestHead, upgrade: Option<Upgrade>, caller: Caller) -> Self {
        Self(Arc::new(Inner { head, upgrade, caller }))
    }

    /// Whether it came over HTTP/2 (RFC 8441), and not HTTP/1.1. All else is the same: the method
    /// of a WebSocket is `GET`, and `Host` is there.
    #[must_use]
    pub fn is_http2(&self) -> bool {
        self.0.caller.http2
    }

    /// Whether it asks for a WebSocket, and rightly so. Otherwise it is plain HTTP.
    #[must_use]
    pub fn is_upgrade(&self) -> bool {
        self.0.upgrade.is_some()
    }

    /// The method; `GET` for a WebSocket.
    #[must_use]
    pub fn method(&self) -> &str {
        self.0.head.method()
    }

    /// The path as it was sent: not percent-decoded, without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.0.head.path()
    }

    /// The query, without the question mark.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.0.head.query()
    }

    /// The first header of this name, in any case.
    #[must_use]
    pub fn header<'a>(&'a self, name: &'a str) -> Option<&'a [u8]> {
        self.0.head.header(name)
    }

    /// All headers, in the order in which they came.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.head.headers()
    }

    /// The subprotocols that the client speaks, in its order of preference.
    #[must_use]
    pub fn subprotocols(&self) -> &[String] {
        self.0.upgrade.as_ref().map_or(&[], |u| u.subprotocols())
    }

    /// The client's address: `IP:port`, or `unix`.
    #[must_use]
    pub fn peer(&self) -> &str {
        &self.0.caller.peer
    }

    /// The certificate that the client has shown, in DER (X.509): the first of its chain. It was
    /// checked against the authorities that `ServerTls` was given; without those nobody is asked
    /// for one.
    #[must_use]
    pub fn client_certificate(&self) -> Option<&[u8]> {
        self.0.caller.certificate.as_deref()
    }

    pub(super) fn head(&self) -> &RequestHead {
        &self.0.head
    }

    pub(super) fn upgrade(&self) -> Option<&Upgrade> {
        self.0.upgrade.as_ref()
    }
}

/// How a WebSocket is opened, with a value that is handed to the handler.
///
/// ```
/// use provod::server::Accept;
///
/// let anna = Accept::new(String::from("Anna"))
///     .subprotocol("chat.v2") // one that the client offered
///     .header("Set-Cookie", "seen=1; Secure; HttpOnly");
/// ```
#[derive(Debug, Clone)]
pub struct Accept<S = ()> {
    pub(super) state: S,
    pub(super) subprotocol: Option<String>,
    pub(super) headers: Vec<(String, Vec<u8>)>,
}

impl<S> Accept<S> {
    /// Opens it; `state` goes to the handler.
    #[must_use]
    pub fn new(state: S) -> Self {
        Self { state, subprotocol: None, headers: Vec::new() }
    }

    /// Agrees to one of the subprotocols that the client offered. Without it the server chooses by
    /// [`Server::subprotocols`](crate::Server::subprotocols).
    #[must_use]
    pub fn subprotocol(mut self, name: impl Into<String>) -> Self {
        self.subprotocol = Some(name.into());
        self
    }

    /// Adds a header to the answer, such as `Set-Cookie`.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}
