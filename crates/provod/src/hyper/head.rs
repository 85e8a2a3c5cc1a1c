//! Between the heads of `http` and those of the core.

use http::header::{self, HeaderName, HeaderValue};
use http::{Extensions, HeaderMap, Method, Uri, Version};
use provod_proto::handshake::{
    self, HeadLimits, Refusal, RequestHead, Response, ResponseReader, validate,
};

/// The headers that the opening handshake looks at, but for those that begin with
/// `sec-websocket-`. The rest is the application's.
const READ: [HeaderName; 7] = [
    header::HOST,
    header::UPGRADE,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::ORIGIN,
    header::AUTHORIZATION,
];

/// A request as it lies before us: that of `http` may have a body of any type.
#[derive(Clone, Copy)]
pub(crate) struct Parts<'a> {
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) version: Version,
    pub(super) headers: &'a HeaderMap,
    pub(super) extensions: &'a Extensions,
}

#[cfg(feature = "axum")]
impl<'a> Parts<'a> {
    pub(crate) fn of(parts: &'a http::request::Parts) -> Self {
        let original = parts.extensions.get::<::axum::extract::OriginalUri>();
        Self {
            method: &parts.method,
            // That of a router in a router has lost its beginning.
            uri: original.map_or(&parts.uri, |original| &original.0),
            version: parts.version,
            headers: &parts.headers,
            extensions: &parts.extensions,
        }
    }
}

/// A request for a WebSocket that obeys the rules.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) upgrade: handshake::Upgrade,
    pub(super) target: String,
    pub(super) origin: Option<Vec<u8>>,
    pub(super) is_http2: bool,
}

/// Whether this is an extended CONNECT for a WebSocket (RFC 8441 section 4).
fn is_extended_connect(request: Parts<'_>) -> bool {
    let protocol = request.extensions.get::<::hyper::ext::Protocol>();
    request.method == Method::CONNECT && protocol.is_some_and(|p| p.as_str() == "websocket")
}

/// Whether a WebSocket is asked for, well or badly.
pub(crate) fn asks(request: Parts<'_>) -> bool {
    is_extended_connect(request)
        || request.headers.get_all(header::UPGRADE).iter().any(|value| {
            let mut protocols = value.as_bytes().split(|&b| b == b',');
            protocols.any(|name| name.trim_ascii().eq_ignore_ascii_case(b"websocket"))
        })
}

/// Checks a request as RFC 6455 section 4.2.1 says, or RFC 8441 section 5 over HTTP/2.
pub(super) fn read(request: Parts<'_>) -> Result<Asked, Refusal> {
    let is_http2 = request.version == Version::HTTP_2;
    let head = if is_http2 { over_http2(request)? } else { over_http1(request)? };
    let upgrade = validate(&head)?;
    let origin = head.header("Origin").map(<[u8]>::to_vec);
    Ok(Asked { upgrade, target: head.target().to_owned(), origin, is_http2 })
}

/// The headers that matter, as the core takes them.
fn fields(headers: &HeaderMap) -> impl Iterator<Item = (&str, &[u8])> {
    let all = headers.iter().map(|(name, value)| (name, value.as_bytes()));
    all.filter(|(name, _)| READ.contains(name) || name.as_str().starts_with("sec-websocket-"))
        .map(|(name, value)| (name.as_str(), value))
}

fn over_http1(request: Parts<'_>) -> Result<RequestHead, Refusal> {
    if request.version != Version::HTTP_11 {
        // The core's heads are of HTTP/1.1, and an older one that asks for nothing is plain HTTP.
        return Err(if asks(request) { Refusal::Http10 } else { Refusal::NotUpgrade });
    }
    let fields = fields(request.headers);
    let target = request.uri.to_string();
    let head = RequestHead::from_fields(request.method.as_str(), &target, fields, limits())?;
    Ok(head)
}

/// An extended CONNECT says what a request of HTTP/1.1 says, but for the headers of one hop and the
/// key, which a frame of another protocol cannot be mistaken for (RFC 8441 section 5). So those are
/// put in, and the core has one set of rules.
fn over_http2(request: Parts<'_>) -> Result<RequestHead, Refusal> {
    if !is_extended_connect(request) {
        return Err(Refusal::NotUpgrade);
    }
    let authority = request.uri.authority().ok_or(Refusal::Host)?;
    let own = [
        ("host", authority.as_str().as_bytes()),
        ("upgrade", b"websocket"),
        ("connection", b"Upgrade"),
        ("sec-websocket-key", b"AAAAAAAAAAAAAAAAAAAAAA=="),
    ];
    let theirs = fields(request.headers)
        .filter(|(name, _)| own.iter().all(|(known, _)| known != name))
        // Nothing is said about a body in a stream that never ends.
        .filter(|(name, _)| *name != "content-length");
    let target = request.uri.path_and_query().map_or("/", |target| target.as_str());
    Ok(RequestHead::from_fields("GET", target, own.into_iter().chain(theirs), limits())?)
}

fn limits() -> HeadLimits {
    // The HTTP server had its own, and has read it.
    HeadLimits { max_bytes: usize::MAX, max_headers: usize::MAX }
}

/// What is written for HTTP/1.1, as an answer of `http`: its head is read again, so that both say
/// the same. Whether the connection goes on after it, and how its body is framed, is the HTTP
/// server's to say.
pub(super) fn answer<B: From<String>>(written: &[u8], is_http2: bool) -> http::Response<B> {
    let broken = || {
        // The core has written it, so it can be read.
        let mut response = http::Response::new(B::from(String::new()));
        *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
        response
    };
    let Ok(push) = ResponseReader::new(limits()).push(written) else { return broken() };
    let Some(head) = push.head else { return broken() };
    let opens = head.status() == 101;
    let status = match head.status() {
        101 if is_http2 => 200,
        // It must name what to upgrade to, which HTTP/2 has no word for (RFC 9110 section 15.5.22).
        426 if is_http2 => 400,
        status => status,
    };
    let body = written.get(push.consumed..).unwrap_or_default();
    let mut response = http::Response::new(B::from(String::from_utf8_lossy(body).into_owned()));
    *response.status_mut() = match http::StatusCode::from_u16(status) {
        Ok(status) => status,
        Err(_) => return broken(),
    };
    for (name, value) in head.headers() {
        let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value))
        else {
            return broken();
        };
        let framing = name == header::CONNECTION || name == header::CONTENT_LENGTH;
        let http1 = name == header::UPGRADE || name == header::SEC_WEBSOCKET_ACCEPT;
        if framing || (is_http2 && http1) {
            continue;
        }
        if name == header::UPGRADE {
            // RFC 9110 section 7.8.
            let value = HeaderValue::from_static("Upgrade");
            response.headers_mut().insert(header::CONNECTION, value);
        }
        response.headers_mut().append(name, value);
    }
    debug_assert!(!opens || body.is_empty(), "frames are not the head's to send");
    response
}

/// The answer to a request that was not agreed to.
pub(super) fn refusal<B: From<String>>(response: &Response, is_http2: bool) -> http::Response<B> {
    let mut written = Vec::new();
    response.write(&mut written);
    answer(&written, is_http2)
}
