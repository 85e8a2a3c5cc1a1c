//! What a URL says: where to connect, and what to ask for there (RFC 6455 section 3).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use url::{Host, Url};

use crate::error::{Error, Kind};

/// A parsed `ws` URL.
#[derive(Debug)]
pub(super) struct Address {
    host: Host,
    port: u16,
    authority: String,
    target: String,
    authorization: Option<String>,
}

impl Address {
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |why: String| Error::new(Kind::Url(why));
        let url = Url::parse(text).map_err(|e| {
            wrong(format!("{e}; expected an address such as ws://example.com:8080/chat"))
        })?;
        let default_port = match url.scheme() {
            "ws" | "http" => 80,
            "wss" | "https" => return Err(Error::new(Kind::Tls)),
            other => return Err(wrong(format!("the scheme is {other:?}, expected ws"))),
        };
        if url.fragment().is_some() {
            let why = "a WebSocket address has no fragment (RFC 6455 section 3); write # as %23";
            return Err(wrong(why.to_owned()));
        }
        let host = url.host().ok_or_else(|| wrong("the host is missing".to_owned()))?.to_owned();
        let port = url.port().unwrap_or(default_port);
        let authority = match url.port() {
            Some(port) if port != default_port => format!("{host}:{port}"),
            _ => host.to_string(),
        };
        let target = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        Ok(Self { host, port, authority, target, authorization: basic(&url) })
    }

    pub(super) fn host(&self) -> &Host {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Host and port as the `Host` header has them: without the scheme's own port.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// Path and query.
    pub(super) fn target(&self) -> &str {
        &self.target
    }

    /// The value of `Authorization` that user and password in the URL stand for.
    pub(super) fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }
}

/// User and password as Basic credentials (RFC 7617).
fn basic(url: &Url) -> Option<String> {
    let password = url.password();
    if url.username().is_empty() && password.is_none() {
        return None;
    }
    let decode = |text: &str| percent_encoding::percent_decode_str(text).collect::<Vec<u8>>();
    let mut pair = decode(url.username());
    pair.push(b':');
    pair.extend(decode(password.unwrap_or_default()));
    Some(format!("Basic {}", BASE64_STANDARD.encode(pair)))
}
