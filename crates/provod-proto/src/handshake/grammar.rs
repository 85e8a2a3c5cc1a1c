//! The parts of the HTTP grammar that several modules need (RFC 9110 section 5.6).

use std::fmt;

/// `tchar` of RFC 9110 section 5.6.2.
pub(super) fn is_tchar(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

/// A token of at least one character (RFC 9110 section 5.6.2).
pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&b| is_tchar(b))
}

/// A byte that a field value may hold: HTAB, SP, VCHAR or obs-text (RFC 9110 section 5.5).
pub(super) fn is_field_byte(b: u8) -> bool {
    b == b'\t' || (b >= 0x20 && b != 0x7f)
}

/// The text without the optional whitespace around it (OWS, RFC 9110 section 5.6.3).
pub(super) fn trim_ows(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// The elements of a comma-separated list, without the empty ones, which a recipient must ignore
/// (RFC 9110 section 5.6.1.2). Only for lists whose elements hold no quoted strings.
pub(super) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(trim_ows).filter(|element| !element.is_empty())
}

/// Why a field cannot be written: the bytes would mean something else on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FieldError {
    /// A header name that is not a token (RFC 9110 section 5.1).
    Name(String),
    /// A value of the named header with a byte that a value cannot hold: CR, LF, NUL or another
    /// control (RFC 9110 section 5.5).
    Value(String),
    /// A header that the handshake writes itself, or that would announce a body or a second
    /// connection option.
    Reserved(String),
    /// A request target that is not a path (and query) of visible ASCII characters.
    Target,
    /// A host that is not `name`, `name:port`, an IPv4 address or an IPv6 address in brackets.
    Host,
    /// A subprotocol that is not a token (RFC 6455 section 4.1), or that is offered twice.
    Subprotocol(String),
    /// A subprotocol that the client did not offer (RFC 6455 section 4.2.2).
    SubprotocolNotOffered(String),
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "{name:?} is not a header name"),
            Self::Value(name) => write!(f, "the value of {name:?} holds a control character"),
            Self::Reserved(name) => write!(f, "the handshake itself decides about {name:?}"),
            Self::Target => {
                f.write_str("the target must be a path (and query) of visible ASCII characters")
            }
            Self::Host => {
                f.write_str("the host must be a name or an address, with or without port")
            }
            Self::Subprotocol(name) => {
                write!(f, "{name:?} is not a token, or is offered twice as a subprotocol")
            }
            Self::SubprotocolNotOffered(name) => {
                write!(f, "the client did not offer the subprotocol {name:?}")
            }
        }
    }
}

impl std::error::Error for FieldError {}

/// Header lines that an application adds, checked when they are added.
#[derive(Clone, Default)]
pub(super) struct ExtraFields {
    lines: Vec<u8>,
}

impl fmt::Debug for ExtraFields {
    /// The lines stay out: they hold cookies and tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.lines.len())
    }
}

impl ExtraFields {
    /// Adds one line. `reserved` names what the caller writes itself, in any case.
    pub(super) fn add(
        &mut self,
        name: &str,
        value: &[u8],
        reserved: impl Fn(&str) -> bool,
    ) -> Result<(), FieldError> {
        if !is_token(name.as_bytes()) {
            return Err(FieldError::Name(name.to_owned()));
        }
        if !value.iter().all(|&b| is_field_byte(b)) {
            return Err(FieldError::Value(name.to_owned()));
        }
        if reserved(&name.to_ascii_lowercase()) {
            return Err(FieldError::Reserved(name.to_owned()));
        }
        write_field(&mut self.lines, name, trim_ows(value));
        Ok(())
    }

    /// For lines that were not made from anybody's input.
    pub(super) fn lines(&mut self) -> &mut Vec<u8> {
        &mut self.lines
    }

    /// The lines taken apart again.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        // No value holds a line feed, and no name a colon: they were checked.
        self.lines.split(|&b| b == b'\n').filter_map(|line| {
            let line = line.strip_suffix(b"\r")?;
            let colon = line.iter().position(|&b| b == b':')?;
            let (name, value) = line.split_at_checked(colon)?;
            Some((str::from_utf8(name).ok()?, trim_ows(value.get(1..)?)))
        })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.lines);
    }
}

/// Headers of the handshake itself, and those that would announce a body, which it never has.
pub(super) fn is_handshake_field(lower: &str) -> bool {
    lower.starts_with("sec-websocket-")
        || matches!(
            lower,
            "upgrade" | "connection" | "content-length" | "transfer-encoding" | "trailer"
        )
}

/// Writes one line whose name and value were checked before.
pub(super) fn write_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
