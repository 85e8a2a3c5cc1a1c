//! The byte automaton that finds the end of a head and refuses what can never be one.

use super::{HeadError, HeadLimits};
use crate::handshake::grammar::{is_field_byte, is_tchar};

/// No registered method is longer than 17 characters; a longer "method" is another protocol.
const MAX_METHOD: u8 = 32;

const TLS_HANDSHAKE_RECORD: u8 = 0x16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    /// Behind the CR of an empty line in front of a request.
    LeadingCr,
    Method(u8),
    Target {
        empty: bool,
    },
    /// That many bytes of `HTTP/1.x` were seen.
    Version(u8),
    VersionEnd,
    /// That many digits of the status code were seen.
    Code(u8),
    CodeEnd,
    Reason,
    LineCr,
    LineStart,
    Name,
    Value,
    EndCr,
    End,
}

/// What a byte was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A byte of the head.
    Head,
    /// A byte of the empty line that a server ignores in front of a request.
    Skip,
    /// The last byte of the head.
    End,
}

/// Where in a head the next byte belongs. Holds no bytes.
#[derive(Debug, Clone)]
pub(super) struct Scanner {
    state: State,
    request: bool,
    skipped: bool,
    bytes: usize,
    headers: usize,
}

impl Scanner {
    pub(super) fn new(request: bool) -> Self {
        Self { state: State::Start, request, skipped: false, bytes: 0, headers: 0 }
    }

    /// Header lines seen so far.
    pub(super) fn headers(&self) -> usize {
        self.headers
    }

    /// Takes the next byte.
    pub(super) fn step(&mut self, b: u8, limits: &HeadLimits) -> Result<Step, HeadError> {
        let before = self.state;
        self.state = self.next(b)?;
        if self.state == State::LeadingCr || before == State::LeadingCr {
            return Ok(Step::Skip);
        }
        if self.bytes >= limits.max_bytes {
            return Err(match before {
                State::Target { .. } => HeadError::TargetTooLong,
                _ => HeadError::TooLong,
            });
        }
        self.bytes += 1;
        if before == State::LineStart && self.state == State::Name {
            if self.headers >= limits.max_headers {
                return Err(HeadError::TooManyHeaders);
            }
            self.headers += 1;
        }
        Ok(if self.state == State::End { Step::End } else { Step::Head })
    }

    fn next(&mut self, b: u8) -> Result<State, HeadError> {
        Ok(match self.state {
            State::Start => match b {
                TLS_HANDSHAKE_RECORD => return Err(HeadError::Tls),
                // RFC 9112 section 2.2: a server should ignore at least one empty line in front of
                // a request. One is enough, and the rule is for requests only.
                b'\r' if self.request && !self.skipped => {
                    self.skipped = true;
                    State::LeadingCr
                }
                b'\r' => return Err(HeadError::EmptyLine),
                b'\n' => return Err(HeadError::BareLf),
                b'H' if !self.request => State::Version(1),
                _ if self.request && is_tchar(b) => State::Method(1),
                _ => return Err(HeadError::NotHttp),
            },
            State::LeadingCr => match b {
                b'\n' => State::Start,
                _ => return Err(HeadError::BareCr),
            },
            State::Method(n) => match b {
                b' ' => State::Target { empty: true },
                _ if is_tchar(b) && n < MAX_METHOD => State::Method(n + 1),
                _ => return Err(HeadError::NotHttp),
            },
            State::Target { empty } => match b {
                b' ' if !empty => State::Version(0),
                0x21..=0x7e => State::Target { empty: false },
                // Raw non-ASCII is no URI (RFC 3986), and what it means depends on who reads it.
                0x80.. => return Err(HeadError::Target),
                _ => return Err(HeadError::RequestLine),
            },
            State::Version(n) => self.version(n, b)?,
            State::VersionEnd => match b {
                b'\r' if self.request => State::LineCr,
                b'\n' if self.request => return Err(HeadError::BareLf),
                b' ' if !self.request => State::Code(0),
                _ => return Err(self.start_line()),
            },
            State::Code(n) => match b {
                b'0' if n == 0 => return Err(HeadError::StatusLine),
                b'0'..=b'9' if n == 2 => State::CodeEnd,
                b'0'..=b'9' => State::Code(n + 1),
                _ => return Err(HeadError::StatusLine),
            },
            State::CodeEnd => match b {
                b' ' => State::Reason,
                // The space is required, but servers leave it out with the reason.
                b'\r' => State::LineCr,
                b'\n' => return Err(HeadError::BareLf),
                _ => return Err(HeadError::StatusLine),
            },
            State::Reason => match b {
                b'\r' => State::LineCr,
                b'\n' => return Err(HeadError::BareLf),
                _ if is_field_byte(b) => State::Reason,
                _ => return Err(HeadError::StatusLine),
            },
            State::LineCr => match b {
                b'\n' => State::LineStart,
                _ => return Err(HeadError::BareCr),
            },
            State::LineStart => match b {
                b'\r' => State::EndCr,
                b'\n' => return Err(HeadError::BareLf),
                b' ' | b'\t' => return Err(HeadError::ObsFold),
                _ if is_tchar(b) => State::Name,
                _ => return Err(HeadError::HeaderName),
            },
            State::Name => match b {
                b':' => State::Value,
                b' ' | b'\t' => return Err(HeadError::SpaceBeforeColon),
                _ if is_tchar(b) => State::Name,
                _ => return Err(HeadError::HeaderName),
            },
            State::Value => match b {
                b'\r' => State::LineCr,
                b'\n' => return Err(HeadError::BareLf),
                _ if is_field_byte(b) => State::Value,
                _ => return Err(HeadError::HeaderValue),
            },
            State::EndCr => match b {
                b'\n' => State::End,
                _ => return Err(HeadError::BareCr),
            },
            // The reader starts a new scan after the end; nothing follows in this one.
            State::End => return Err(HeadError::Ambiguous),
        })
    }

    fn version(&self, n: u8, b: u8) -> Result<State, HeadError> {
        match (n, b) {
            (0, b'H') | (1 | 2, b'T') | (3, b'P') | (4, b'/') | (5, b'1') | (6, b'.') => {
                Ok(State::Version(n + 1))
            }
            (7, b'0' | b'1') => Ok(State::VersionEnd),
            (5 | 7, b'0'..=b'9') => Err(HeadError::UnsupportedVersion),
            _ if !self.request && n < 5 => Err(HeadError::NotHttp),
            _ => Err(self.start_line()),
        }
    }

    fn start_line(&self) -> HeadError {
        if self.request { HeadError::RequestLine } else { HeadError::StatusLine }
    }
}
