//! Extensions: the grammar of their header (RFC 6455 section 9.1) and the parameters of
//! permessage-deflate (RFC 7692 section 7.1), both roles.

mod deflate;
#[cfg(test)]
mod tests;

use std::fmt;

use super::grammar::{is_tchar, is_token};

pub use deflate::{DeflateAnswer, DeflateConfig, DeflateError, DeflateParams};

/// More than any peer needs; a head could hold thousands of two-byte ones.
const MAX_EXTENSIONS: usize = 32;
const MAX_PARAMETERS: usize = 32;

/// One element of `Sec-WebSocket-Extensions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// The extension's name, as sent.
    pub name: String,
    /// Its parameters in their order, repeated ones included.
    pub parameters: Vec<Parameter>,
}

/// A parameter of an [`Extension`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// The parameter's name, as sent.
    pub name: String,
    /// Its value, a token, taken out of its quotes where it was quoted.
    pub value: Option<String>,
}

/// A `Sec-WebSocket-Extensions` header that the grammar does not allow (RFC 6455 section 9.1): the
/// handshake fails, whatever the extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExtensionError {
    /// A header without any extension.
    Empty,
    /// An extension or parameter name that is missing or no token.
    Name,
    /// A parameter value that is missing behind its `=` or no token.
    Value,
    /// A quoted value without its second quote.
    Quote,
    /// Something behind an element that is neither `,` nor `;`.
    Separator,
    /// More than 32 extensions, or parameters of one. A limit of ours, not of the RFC.
    TooMany,
}

impl fmt::Display for ExtensionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sec-WebSocket-Extensions is malformed (RFC 6455 section 9.1): ")?;
        f.write_str(match self {
            Self::Empty => "no extension",
            Self::Name => "a name is not a token",
            Self::Value => "a value is not a token",
            Self::Quote => "a quoted value does not end",
            Self::Separator => "neither a comma nor a semicolon behind an element",
            Self::TooMany => "too many elements",
        })
    }
}

impl std::error::Error for ExtensionError {}

/// Parses the values of all `Sec-WebSocket-Extensions` lines, which make one list.
///
/// # Errors
/// A value breaks the grammar.
pub fn parse_extensions<'a>(
    values: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<Extension>, ExtensionError> {
    let mut extensions = Vec::new();
    let mut lines = 0;
    for value in values {
        lines += 1;
        let mut cursor = Cursor { rest: value };
        loop {
            // Empty elements are to be ignored (RFC 9110 section 5.6.1.2).
            cursor.skip_space();
            if cursor.eat(b',') {
                continue;
            }
            if cursor.rest.is_empty() {
                break;
            }
            if extensions.len() == MAX_EXTENSIONS {
                return Err(ExtensionError::TooMany);
            }
            extensions.push(cursor.extension()?);
            if !cursor.rest.is_empty() && !cursor.eat(b',') {
                return Err(ExtensionError::Separator);
            }
        }
    }
    if lines > 0 && extensions.is_empty() {
        return Err(ExtensionError::Empty);
    }
    Ok(extensions)
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl Cursor<'_> {
    fn extension(&mut self) -> Result<Extension, ExtensionError> {
        let name = self.token().ok_or(ExtensionError::Name)?;
        let mut parameters = Vec::new();
        self.skip_space();
        while self.eat(b';') {
            self.skip_space();
            if parameters.len() == MAX_PARAMETERS {
                return Err(ExtensionError::TooMany);
            }
            let name = self.token().ok_or(ExtensionError::Name)?;
            // RFC 6455 section 2.1 implies whitespace between any two parts.
            self.skip_space();
            let value = if self.eat(b'=') {
                self.skip_space();
                let value = if self.eat(b'"') { self.quoted()? } else { self.token() };
                Some(value.ok_or(ExtensionError::Value)?)
            } else {
                None
            };
            parameters.push(Parameter { name, value });
            self.skip_space();
        }
        Ok(Extension { name, parameters })
    }

    fn token(&mut self) -> Option<String> {
        let len = self.rest.iter().position(|&b| !is_tchar(b)).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        if token.is_empty() { None } else { String::from_utf8(token.to_vec()).ok() }
    }

    /// The rest of a quoted string. `None` if what it says is no token: "the value after
    /// quoted-string unescaping MUST conform to the 'token' ABNF" (RFC 6455 section 9.1).
    fn quoted(&mut self) -> Result<Option<String>, ExtensionError> {
        let mut value = Vec::new();
        loop {
            match self.rest {
                [b'"', rest @ ..] => {
                    self.rest = rest;
                    let token = is_token(&value);
                    return Ok(String::from_utf8(value).ok().filter(|_| token));
                }
                [b'\\', b, rest @ ..] | [b, rest @ ..] => {
                    value.push(*b);
                    self.rest = rest;
                }
                [] => return Err(ExtensionError::Quote),
            }
        }
    }

    fn skip_space(&mut self) {
        while self.eat(b' ') || self.eat(b'\t') {}
    }

    fn eat(&mut self, byte: u8) -> bool {
        match self.rest {
            [first, rest @ ..] if *first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }
}
