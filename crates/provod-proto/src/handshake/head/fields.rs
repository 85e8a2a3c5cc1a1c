//! A parsed head: one buffer and where things lie in it.

use std::fmt;

use bytes::Bytes;

use super::{HeadError, sealed::Sealed};
use crate::handshake::origin::Authority;

/// The version of HTTP that a head names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// HTTP/1.0, which cannot be upgraded (RFC 9110 section 7.8).
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// A part of the head's buffer.
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Where `part`, a slice of `whole`, lies in it.
    fn of(whole: &[u8], part: &[u8]) -> Result<Self, HeadError> {
        let start = (part.as_ptr() as usize)
            .checked_sub(whole.as_ptr() as usize)
            .ok_or(HeadError::Ambiguous)?;
        let end = start.checked_add(part.len()).ok_or(HeadError::Ambiguous)?;
        if end > whole.len() {
            return Err(HeadError::Ambiguous);
        }
        let narrow = |n| u32::try_from(n).map_err(|_| HeadError::TooLong);
        Ok(Self { start: narrow(start)?, end: narrow(end)? })
    }
}

/// The bytes of a head and its header lines.
#[derive(Clone)]
struct Fields {
    bytes: Bytes,
    lines: Box<[(Span, Span)]>,
}

impl Fields {
    fn new(bytes: &Bytes, headers: &[httparse::Header<'_>]) -> Result<Self, HeadError> {
        let lines = headers
            .iter()
            .map(|h| Ok((Span::of(bytes, h.name.as_bytes())?, Span::of(bytes, h.value)?)))
            .collect::<Result<_, _>>()?;
        Ok(Self { bytes: bytes.clone(), lines })
    }

    fn slice(&self, span: Span) -> &[u8] {
        self.bytes.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    /// A span that the parser handed out as `&str`.
    fn text(&self, span: Span) -> &str {
        str::from_utf8(self.slice(span)).unwrap_or_default()
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.lines.iter().map(|&(name, value)| (self.text(name), self.slice(value)))
    }

    fn all<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

macro_rules! header_methods {
    () => {
        /// The header lines in their order: name as sent, and value without the whitespace
        /// around it. A value may hold bytes above 0x7f, in no particular encoding.
        pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
            self.fields.iter()
        }

        /// The values of all lines of this name, compared without case.
        pub fn header_all<'a, 'n>(
            &'a self,
            name: &'n str,
        ) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
            self.fields.all(name)
        }

        /// The value of the first line of this name, compared without case.
        #[must_use]
        pub fn header(&self, name: &str) -> Option<&[u8]> {
            self.fields.all(name).next()
        }

        /// The value of the first line of this name, if it is UTF-8.
        #[must_use]
        pub fn header_str(&self, name: &str) -> Option<&str> {
            self.header(name).and_then(|value| str::from_utf8(value).ok())
        }

        /// How many lines have this name, compared without case.
        #[must_use]
        pub fn count(&self, name: &str) -> usize {
            self.fields.all(name).count()
        }

        /// The version of HTTP.
        #[must_use]
        pub fn version(&self) -> Version {
            self.version
        }

        /// The head as it arrived, with the empty line at its end.
        #[must_use]
        pub fn as_bytes(&self) -> &[u8] {
            &self.fields.bytes
        }
    };
}

/// The head of a request. A clone shares its bytes.
#[derive(Clone)]
pub struct RequestHead {
    fields: Fields,
    version: Version,
    method: Span,
    target: Span,
    authority: Option<Authority>,
    path: Option<Span>,
    query: Option<Span>,
}

impl RequestHead {
    header_methods!();

    /// The method, such as `GET`. Methods are case-sensitive (RFC 9110 section 9.1).
    #[must_use]
    pub fn method(&self) -> &str {
        self.fields.text(self.method)
    }

    /// The request target as sent: visible ASCII only.
    #[must_use]
    pub fn target(&self) -> &str {
        self.fields.text(self.target)
    }

    /// The path of the target, not decoded, starting with `/`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path.map_or("/", |span| self.fields.text(span))
    }

    /// What follows the target's `?`, not decoded.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.query.map(|span| self.fields.text(span))
    }

    /// The authority of a target in absolute form, which then stands for the `Host` header
    /// (RFC 9112 section 3.2.2).
    #[must_use]
    pub fn target_authority(&self) -> Option<&Authority> {
        self.authority.as_ref()
    }
}

impl fmt::Debug for RequestHead {
    /// Header values stay out: they hold cookies and tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", &self.method())
            .field("path", &self.path())
            .field("version", &self.version)
            .field("headers", &self.fields.lines.len())
            .finish_non_exhaustive()
    }
}

impl Sealed for RequestHead {
    const REQUEST: bool = true;

    fn parse(bytes: Bytes, headers: usize) -> Result<Self, HeadError> {
        let mut lines = vec![httparse::EMPTY_HEADER; headers];
        let mut parsed = httparse::Request::new(&mut lines);
        let end = match parsed.parse(&bytes) {
            Ok(httparse::Status::Complete(end)) => end,
            _ => return Err(HeadError::Ambiguous),
        };
        let (Some(method), Some(target), Some(minor)) =
            (parsed.method, parsed.path, parsed.version)
        else {
            return Err(HeadError::Ambiguous);
        };
        if end != bytes.len() || parsed.headers.len() != headers {
            return Err(HeadError::Ambiguous);
        }
        let parts = TargetParts::split(target).ok_or(HeadError::Target)?;
        Ok(Self {
            version: version(minor)?,
            method: Span::of(&bytes, method.as_bytes())?,
            target: Span::of(&bytes, target.as_bytes())?,
            authority: parts.authority,
            path: match parts.path {
                "" => None,
                path => Some(Span::of(&bytes, path.as_bytes())?),
            },
            query: parts.query.map(|q| Span::of(&bytes, q.as_bytes())).transpose()?,
            fields: Fields::new(&bytes, parsed.headers)?,
        })
    }
}

/// A request target taken apart (RFC 9112 section 3.2).
struct TargetParts<'a> {
    authority: Option<Authority>,
    path: &'a str,
    query: Option<&'a str>,
}

impl<'a> TargetParts<'a> {
    /// `None` for the forms of `CONNECT` and `OPTIONS *`, for other schemes, and for a fragment,
    /// which never travels.
    fn split(target: &'a str) -> Option<Self> {
        if target.contains('#') {
            return None;
        }
        let (authority, rest) = if target.starts_with('/') {
            (None, target)
        } else {
            let (scheme, rest) = target.split_once("://")?;
            if !["http", "https", "ws", "wss"].iter().any(|s| scheme.eq_ignore_ascii_case(s)) {
                return None;
            }
            let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            (Some(Authority::parse(authority.as_bytes())?), rest)
        };
        Some(match rest.split_once('?') {
            Some((path, query)) => Self { authority, path, query: Some(query) },
            None => Self { authority, path: rest, query: None },
        })
    }
}

/// The head of a response. A clone shares its bytes.
#[derive(Clone)]
pub struct ResponseHead {
    fields: Fields,
    version: Version,
    status: u16,
    reason: Span,
}

impl ResponseHead {
    header_methods!();

    /// The status code, 100 to 999.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The reason phrase; empty where there is none or it is not ASCII.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.fields.text(self.reason)
    }
}

impl fmt::Debug for ResponseHead {
    /// Header values stay out: they hold cookies and tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseHead")
            .field("status", &self.status)
            .field("version", &self.version)
            .field("headers", &self.fields.lines.len())
            .finish_non_exhaustive()
    }
}

impl Sealed for ResponseHead {
    const REQUEST: bool = false;

    fn parse(bytes: Bytes, headers: usize) -> Result<Self, HeadError> {
        let mut lines = vec![httparse::EMPTY_HEADER; headers];
        let mut parsed = httparse::Response::new(&mut lines);
        let end = match parsed.parse(&bytes) {
            Ok(httparse::Status::Complete(end)) => end,
            _ => return Err(HeadError::Ambiguous),
        };
        let (Some(status), Some(minor)) = (parsed.code, parsed.version) else {
            return Err(HeadError::Ambiguous);
        };
        if end != bytes.len() || parsed.headers.len() != headers {
            return Err(HeadError::Ambiguous);
        }
        Ok(Self {
            version: version(minor)?,
            status,
            reason: match parsed.reason.unwrap_or_default() {
                // An empty reason may be a literal, which does not lie in the buffer.
                "" => Span::default(),
                reason => Span::of(&bytes, reason.as_bytes())?,
            },
            fields: Fields::new(&bytes, parsed.headers)?,
        })
    }
}

fn version(minor: u8) -> Result<Version, HeadError> {
    match minor {
        0 => Ok(Version::Http10),
        1 => Ok(Version::Http11),
        _ => Err(HeadError::UnsupportedVersion),
    }
}
