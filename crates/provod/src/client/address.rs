//! What a URL says: where to connect, and what to ask for there (RFC 6455 section 3).

#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use url::{Host, ParseError, Url};

use crate::error::{Error, Kind};

/// A parsed `ws` URL. It holds a password, so it has no `Debug`.
#[derive(Clone)]
pub(super) struct Address {
    secure: bool,
    host: Host,
    port: u16,
    authority: String,
    target: String,
    authorization: Option<String>,
}

fn wrong(why: impl Into<String>) -> Error {
    Error::new(Kind::Url(why.into()))
}

impl Address {
    /// Parses as browsers do (WHATWG URL, which repairs much), except that control characters are
    /// refused and not dropped. No error repeats the text: it may hold a password.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        if text.chars().any(char::is_control) {
            return Err(wrong("it holds a control character, such as the end of a line"));
        }
        let url = Url::parse(text).map_err(|e| match e {
            ParseError::RelativeUrlWithoutBase => {
                wrong("it does not begin with ws://, as in ws://example.com:8080/chat")
            }
            ParseError::InvalidIpv6Address if text.contains('%') => {
                wrong("an IPv6 zone (%eth0) has no place in a URL; connect a socket of your own")
            }
            ParseError::InvalidPort => wrong("the port is not a number from 1 to 65535"),
            e => wrong(e.to_string()),
        })?;
        let (secure, default_port) = match url.scheme() {
            "ws" | "http" => (false, 80),
            "wss" | "https" => (true, 443),
            other => {
                return Err(wrong(format!(
                    "its scheme is {other:?}; an address begins with ws:// or wss://, as in \
                     ws://example.com:8080/chat"
                )));
            }
        };
        if url.fragment().is_some() {
            return Err(wrong("it has a fragment (RFC 6455 section 3); write # as %23"));
        }
        let host = url.host().ok_or_else(|| wrong("the host is missing"))?.to_owned();
        let port = url.port().unwrap_or(default_port);
        if port == 0 {
            return Err(wrong("nobody listens on port 0"));
        }
        let authority = match url.port() {
            Some(port) if port != default_port => format!("{host}:{port}"),
            _ => host.to_string(),
        };
        let target = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        Ok(Self { secure, host, port, authority, target, authorization: basic(&url)? })
    }

    /// Whether it is reached over TLS.
    pub(super) fn is_secure(&self) -> bool {
        self.secure
    }

    pub(super) fn host(&self) -> &Host {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The same without user and password.
    pub(super) fn without_credentials(self) -> Self {
        Self { authorization: None, ..self }
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

    fn scheme(&self) -> &'static str {
        if self.secure { "wss" } else { "ws" }
    }

    /// The address without what may be secret: user, password, query.
    pub(super) fn shown(&self) -> String {
        let path = self.target.split('?').next().unwrap_or_default();
        format!("{}://{}{path}", self.scheme(), self.authority)
    }

    /// Whether both are of one origin: scheme, host and port (RFC 6454 section 4).
    pub(super) fn is_same_origin(&self, other: &Self) -> bool {
        (self.secure, &self.host, self.port) == (other.secure, &other.host, other.port)
    }

    /// Whether both ask for the same.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.is_same_origin(other) && self.target == other.target
    }

    /// The address that a `Location` leads to from here (RFC 9110 section 10.2.2). Credentials are
    /// never taken from it: they stay within an origin, and are dropped on the way to another.
    pub(super) fn redirected(&self, location: &str) -> Result<Self, Error> {
        // What was parsed once is parsed again.
        let base = format!("{}://{}{}", self.scheme(), self.authority, self.target);
        let base = Url::parse(&base).map_err(|e| wrong(e.to_string()))?;
        if location.chars().any(char::is_control) {
            return Err(wrong("it holds a control character"));
        }
        let mut to = base.join(location).map_err(|e| wrong(e.to_string()))?;
        to.set_fragment(None);
        if to.has_host() {
            // They cannot fail where there is a host.
            let _ = (to.set_username(""), to.set_password(None));
        }
        let mut to = Self::parse(to.as_str())?;
        if self.is_same_origin(&to) {
            to.authorization.clone_from(&self.authorization);
        }
        Ok(to)
    }
}

/// User and password as Basic credentials (RFC 7617).
fn basic(url: &Url) -> Result<Option<String>, Error> {
    let password = url.password();
    if url.username().is_empty() && password.is_none() {
        return Ok(None);
    }
    let decode = |text: &str| percent_encoding::percent_decode_str(text).collect::<Vec<u8>>();
    let mut pair = decode(url.username());
    if pair.contains(&b':') {
        return Err(wrong("a user name with a colon cannot be sent (RFC 7617 section 2)"));
    }
    pair.push(b':');
    pair.extend(decode(password.unwrap_or_default()));
    if pair.iter().any(u8::is_ascii_control) {
        let why = "a user name or password with a control character cannot be sent";
        return Err(wrong(format!("{why} (RFC 7617 section 2)")));
    }
    Ok(Some(format!("Basic {}", BASE64_STANDARD.encode(pair))))
}
