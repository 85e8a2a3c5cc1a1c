//! Between the heads of `http` and those of the core.

use http::header::{self, HeaderName, HeaderValue};
use http::{Extensions, HeaderMap, Method, StatusCode, Uri, Version};
use provod_proto::handshake::{
    self, Accept, HeadLimits, Http2Request, Refusal, RequestHead, Response, ResponseReader,
    validate, validate_extended,
};

use ::hyper::ext::Protocol;

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

/// The pseudo-headers of a request of HTTP/2.
fn http2(request: Parts<'_>) -> Http2Request<'_> {
    Http2Request {
        method: request.method.as_str(),
        protocol: request.extensions.get::<Protocol>().map(Protocol::as_str),
        authority: request.uri.authority().map(http::uri::Authority::as_str),
        path: request.uri.path_and_query().map(http::uri::PathAndQuery::as_str),
    }
}

/// Whether a WebSocket is asked for, well or badly.
pub(crate) fn asks(request: Parts<'_>) -> bool {
    if request.version == Version::HTTP_2 {
        return http2(request).is_upgrade();
    }
    request.headers.get_all(header::UPGRADE).iter().any(|value| {
        let mut protocols = value.as_bytes().split(|&b| b == b',');
        protocols.any(|name| name.trim_ascii().eq_ignore_ascii_case(b"websocket"))
    })
}

/// Checks a request as RFC 6455 section 4.2.1 says, or RFC 8441 section 5 over HTTP/2.
pub(super) fn read(request: Parts<'_>) -> Result<Asked, Refusal> {
    let fields = fields(request.headers);
    let is_http2 = request.version == Version::HTTP_2;
    let (head, upgrade) = match request.version {
        Version::HTTP_2 => {
            let request = http2(request);
            let head = request.head(fields, limits())?;
            let rules = if request.is_upgrade() { validate_extended } else { validate };
            let upgrade = rules(&head)?;
            (head, upgrade)
        }
        Version::HTTP_11 => {
            let target = request.uri.to_string();
            let method = request.method.as_str();
            let head = RequestHead::from_fields(method, &target, fields, limits())?;
            let upgrade = validate(&head)?;
            (head, upgrade)
        }
        // An old health check is plain HTTP.
        _ if asks(request) => return Err(Refusal::Http10),
        _ => return Err(Refusal::NotUpgrade),
    };
    let origin = head.header("Origin").map(<[u8]>::to_vec);
    Ok(Asked { upgrade, target: head.target().to_owned(), origin, is_http2 })
}

/// The headers that matter, as the core takes them.
fn fields(headers: &HeaderMap) -> impl Iterator<Item = (&str, &[u8])> {
    let all = headers.iter().map(|(name, value)| (name, value.as_bytes()));
    all.filter(|(name, _)| READ.contains(name) || name.as_str().starts_with("sec-websocket-"))
        .map(|(name, value)| (name.as_str(), value))
}

fn limits() -> HeadLimits {
    // The HTTP server had its own, and has read it.
    HeadLimits { max_bytes: usize::MAX, max_headers: usize::MAX }
}

/// An answer of `http`. How its body is framed, and whether the connection goes on after it, is the
/// HTTP server's to say.
struct Answer<B>(http::Response<B>);

impl<B: From<String>> Answer<B> {
    /// An answer without headers.
    fn new(status: u16, body: &[u8]) -> Self {
        let body = String::from_utf8_lossy(body).into_owned();
        let mut response = http::Response::new(B::from(body));
        *response.status_mut() =
            StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self(response)
    }

    /// Adds headers that the core has checked.
    fn fields<'a>(mut self, fields: impl Iterator<Item = (&'a str, &'a [u8])>) -> Self {
        let headers = self.0.headers_mut();
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes());
            let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) else { continue };
            match name {
                header::CONNECTION | header::CONTENT_LENGTH => continue,
                // RFC 9110 section 7.8.
                header::UPGRADE => {
                    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
                }
                _ => {}
            }
            headers.append(name, value);
        }
        self
    }

    /// What the core writes for HTTP/1.1, read again: so both say the same.
    fn written(text: &[u8]) -> Self {
        let push = ResponseReader::new(limits()).push(text).ok();
        let read = push.and_then(|push| Some((push.head?, text.get(push.consumed..)?)));
        match read {
            Some((head, body)) => Self::new(head.status(), body).fields(head.headers()),
            // The core has written it, so it can be read.
            None => Self::new(500, b""),
        }
    }

    fn of_http2(status: u16, fields: &[(String, Vec<u8>)], body: &[u8]) -> Self {
        let fields = fields.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        Self::new(status, body).fields(fields)
    }
}

/// The answer to a request that is agreed to.
pub(super) fn accept<B: From<String>>(accept: &Accept<'_>, is_http2: bool) -> http::Response<B> {
    if is_http2 {
        return Answer::of_http2(200, &accept.http2_fields(), b"").0;
    }
    let mut text = Vec::new();
    accept.write(&mut text);
    Answer::written(&text).0
}

/// The answer to one that is not.
pub(super) fn refusal<B: From<String>>(response: &Response, is_http2: bool) -> http::Response<B> {
    if is_http2 {
        let (fields, body) = response.http2();
        return Answer::of_http2(response.status(), &fields, &body).0;
    }
    let mut text = Vec::new();
    response.write(&mut text);
    Answer::written(&text).0
}
