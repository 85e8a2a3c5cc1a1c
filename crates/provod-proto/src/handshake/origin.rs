//! Which web pages may connect: authorities, origins (RFC 6454) and a server's policy.
//!
//! A browser sends cookies along with a WebSocket to any server, whatever page opens it, and does
//! not ask first: checking `Origin` is all that stands between a foreign page and a user's session
//! (RFC 6455 section 10.2).

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A host with an optional port: the value of a `Host` header (RFC 9110 section 7.2).
///
/// A name, an IPv4 address or an IPv6 address in brackets. Names are letters, digits, `-`, `.` and
/// `_`: RFC 3986 allows more, but no name that a resolver knows has it, and a comma or an escape
/// is where two readers of one header part ways.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Authority {
    host: String,
    port: Option<u16>,
}

impl Authority {
    /// Parses `host` or `host:port`; `None` if it is anything else, such as one with user
    /// information.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let value = str::from_utf8(value).ok()?;
        let (host, port) = match value.find(']') {
            Some(end) => {
                let (host, port) = value.split_at(end + 1);
                let address = host.strip_prefix('[')?.strip_suffix(']')?;
                (format!("[{}]", address.parse::<Ipv6Addr>().ok()?), port)
            }
            None => {
                let (host, port) = value.split_at(value.find(':').unwrap_or(value.len()));
                let named = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
                if host.is_empty() || !host.bytes().all(named) {
                    return None;
                }
                (host.to_ascii_lowercase(), port)
            }
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            None => return None,
            // `host:` means the default port (RFC 3986 section 3.2.3).
            Some("") => None,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                Some(digits.parse().ok()?)
            }
            Some(_) => return None,
        };
        Some(Self { host, port })
    }

    /// The host in lower case; an IPv6 address in brackets and in its canonical form.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, if one is named.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

/// Whether a host, without port, can only mean this machine: `localhost` and names below it
/// (RFC 6761 section 6.3), 127.0.0.0/8, `::1` with or without brackets.
#[must_use]
pub fn is_loopback_host(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    if let Ok(v4) = bare.parse::<Ipv4Addr>() {
        return v4.is_loopback();
    }
    if let Ok(v6) = bare.parse::<Ipv6Addr>() {
        return v6.is_loopback() || v6.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback());
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    name == "localhost" || name.strip_suffix(".localhost").is_some_and(|rest| !rest.is_empty())
}

/// The origin of a web page (RFC 6454).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// `null`: a page whose origin is nobody's, such as a sandboxed frame or a local file.
    Null,
    /// Scheme, host and port.
    Tuple {
        /// In lower case.
        scheme: String,
        /// The host in lower case; for schemes that are not of the web, whatever names the page,
        /// such as the id of a browser extension; empty only after `file://`.
        host: String,
        /// The port, filled in for `http`, `https`, `ws` and `wss`.
        port: Option<u16>,
    },
}

impl Origin {
    /// Parses the value of an `Origin` header (RFC 6454 section 7), which browsers fill with
    /// exactly one origin.
    ///
    /// # Errors
    /// Anything else, such as a URL with a path or a list.
    pub fn parse(value: &[u8]) -> Result<Self, InvalidOrigin> {
        let text = str::from_utf8(value).map_err(|_| InvalidOrigin)?;
        if text == "null" {
            return Ok(Self::Null);
        }
        let (scheme, rest) = text.split_once("://").ok_or(InvalidOrigin)?;
        let scheme_byte = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
        if !scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            || !scheme.bytes().all(scheme_byte)
        {
            return Err(InvalidOrigin);
        }
        let scheme = scheme.to_ascii_lowercase();
        if rest.is_empty() && scheme == "file" {
            return Ok(Self::Tuple { scheme, host: String::new(), port: None });
        }
        let authority = Authority::parse(rest.as_bytes()).ok_or(InvalidOrigin)?;
        if rest.ends_with(':') {
            return Err(InvalidOrigin);
        }
        let port = authority.port.or_else(|| default_port(&scheme));
        Ok(Self::Tuple { scheme, host: authority.host, port })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Tuple { scheme, host, port } => {
                write!(f, "{scheme}://{host}")?;
                match port {
                    Some(port) if default_port(scheme) != Some(*port) => write!(f, ":{port}"),
                    _ => Ok(()),
                }
            }
        }
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

/// Text that is neither an origin nor an entry of an [`OriginPolicy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InvalidOrigin;

impl fmt::Display for InvalidOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an origin like https://example.com or http://localhost:3000, nor a host")
    }
}

impl std::error::Error for InvalidOrigin {}

/// Why a page may not connect. A server answers 403.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OriginRefused {
    /// A page of another origin, which is not allowed.
    CrossSite,
    /// The origin `null`, which any page can give itself, and which is not allowed.
    Null,
    /// The `Origin` header is not one origin (RFC 6454 section 7).
    Malformed,
    /// The request reached a loopback address under a name from elsewhere: a page made its own
    /// name resolve to this machine (DNS rebinding).
    Rebinding,
}

impl fmt::Display for OriginRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CrossSite => "pages of this origin may not connect (RFC 6455 section 10.2)",
            Self::Null => "pages without an origin (null) may not connect",
            Self::Malformed => "the Origin header is not one origin (RFC 6454 section 7)",
            Self::Rebinding => "this server is reached on this machine as localhost only",
        })
    }
}

impl std::error::Error for OriginRefused {}

/// Which pages may connect to a server. A request without `Origin` does not come from a page, and
/// passes.
///
/// ```
/// use provod_proto::handshake::{Authority, OriginPolicy};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let policy = OriginPolicy::same_host().allow("https://app.example.com")?;
/// let host = Authority::parse(b"api.example.com").ok_or("host")?;
/// assert!(policy.check(None, &host).is_ok());
/// assert!(policy.check(Some(b"https://api.example.com"), &host).is_ok());
/// assert!(policy.check(Some(b"https://app.example.com"), &host).is_ok());
/// assert!(policy.check(Some(b"https://evil.example"), &host).is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginPolicy {
    any: bool,
    same_host: bool,
    loopback: bool,
    allowed: Vec<Allowed>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Allowed {
    Origin(Origin),
    Host(Authority),
}

impl Default for OriginPolicy {
    /// [`OriginPolicy::same_host`].
    fn default() -> Self {
        Self::same_host()
    }
}

impl OriginPolicy {
    /// Every page, also one with a malformed origin: for servers that hold no secrets.
    #[must_use]
    pub fn any() -> Self {
        Self { any: true, ..Self::listed() }
    }

    /// Pages of the host and port that the request itself names in `Host`, where the port of the
    /// origin's scheme stands for none.
    #[must_use]
    pub fn same_host() -> Self {
        Self { same_host: true, ..Self::listed() }
    }

    /// Only pages that [`OriginPolicy::allow`] adds.
    #[must_use]
    pub fn listed() -> Self {
        Self { any: false, same_host: false, loopback: false, allowed: Vec::new() }
    }

    /// Allows one more origin: `https://example.com`, with a port if it is not the scheme's own;
    /// `example.com`, the same host with `http` and `https` on any port, or `example.com:8080` on
    /// that port; `null`; or `*`, which makes it [`OriginPolicy::any`].
    ///
    /// # Errors
    /// The text is none of these.
    pub fn allow(mut self, entry: &str) -> Result<Self, InvalidOrigin> {
        if entry == "*" {
            self.any = true;
        } else if entry == "null" || entry.contains("://") {
            self.allowed.push(Allowed::Origin(Origin::parse(entry.as_bytes())?));
        } else {
            let host = Authority::parse(entry.as_bytes()).ok_or(InvalidOrigin)?;
            self.allowed.push(Allowed::Host(host));
        }
        Ok(self)
    }

    /// Whether the server listens on a loopback address only. If so, loopback pages of any port
    /// may connect too, and `Host` must name this machine, or a host that was allowed by name:
    /// otherwise a page could let its own name resolve to 127.0.0.1 and be its own same host.
    #[must_use]
    pub fn on_loopback(mut self, yes: bool) -> Self {
        self.loopback = yes;
        self
    }

    /// Whether a page of this origin may connect to this host. `origin` is the value of the only
    /// `Origin` header, `host` that of [`host`](super::host) or [`Upgrade::host`](super::Upgrade).
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, origin: Option<&[u8]>, host: &Authority) -> Result<(), OriginRefused> {
        if self.any {
            return Ok(());
        }
        self.check_host(host)?;
        let Some(origin) = origin else { return Ok(()) };
        let origin = Origin::parse(origin).map_err(|InvalidOrigin| OriginRefused::Malformed)?;
        if self.allowed.iter().any(|allowed| allowed.matches(&origin)) {
            return Ok(());
        }
        let Origin::Tuple { scheme, host: page, port: Some(port) } = &origin else {
            return Err(match origin {
                Origin::Null => OriginRefused::Null,
                Origin::Tuple { .. } => OriginRefused::CrossSite,
            });
        };
        let Some(default) = default_port(scheme) else {
            return Err(OriginRefused::CrossSite);
        };
        let same = *page == host.host && *port == host.port.unwrap_or(default);
        if (self.same_host && same) || (self.loopback && is_loopback_host(page)) {
            Ok(())
        } else {
            Err(OriginRefused::CrossSite)
        }
    }

    /// The part of [`OriginPolicy::check`] that concerns `Host` alone, for plain HTTP requests to
    /// the same port.
    ///
    /// # Errors
    /// [`OriginRefused::Rebinding`].
    pub fn check_host(&self, host: &Authority) -> Result<(), OriginRefused> {
        let known = self.any
            || !self.loopback
            || is_loopback_host(&host.host)
            || self.allowed.iter().any(|allowed| allowed.host() == Some(&host.host));
        if known { Ok(()) } else { Err(OriginRefused::Rebinding) }
    }
}

impl Allowed {
    fn matches(&self, origin: &Origin) -> bool {
        match (self, origin) {
            (Self::Origin(allowed), origin) => allowed == origin,
            (Self::Host(allowed), Origin::Tuple { scheme, host, port }) => {
                matches!(scheme.as_str(), "http" | "https")
                    && allowed.host == *host
                    && (allowed.port.is_none() || allowed.port == *port)
            }
            (Self::Host(_), Origin::Null) => false,
        }
    }

    fn host(&self) -> Option<&String> {
        match self {
            Self::Host(authority) => Some(&authority.host),
            Self::Origin(Origin::Tuple { host, .. }) => Some(host),
            Self::Origin(Origin::Null) => None,
        }
    }
}
