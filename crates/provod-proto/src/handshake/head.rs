//! Reading an HTTP/1.1 head as it arrives, and what a head is once it is whole.

mod fields;
mod parts;
mod scan;
#[cfg(test)]
mod tests;

use std::fmt;
use std::marker::PhantomData;
use std::mem;

use bytes::Bytes;

pub use fields::{RequestHead, ResponseHead, Version};
use scan::{Scanner, Step};

/// How much a head may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes from the first of the start line to the last of the empty line. Default 8192.
    pub max_bytes: usize,
    /// Header lines. Default 64.
    pub max_headers: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { max_bytes: 8192, max_headers: 64 }
    }
}

/// Why some bytes are not a head.
///
/// Stricter than RFC 9112 obliges where leniency lets two parsers disagree about one text: a bare
/// LF or CR, folded lines and whitespace around header names are refused, never repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HeadError {
    /// The first byte starts a TLS record: the peer speaks TLS to a port that does not.
    Tls,
    /// The first bytes can never become an HTTP message.
    NotHttp,
    /// An empty line in front of the head, beyond the one that a server ignores
    /// (RFC 9112 section 2.2).
    EmptyLine,
    /// The request line is not `method SP target SP version` (RFC 9112 section 3).
    RequestLine,
    /// The status line is not `version SP code SP reason` (RFC 9112 section 4).
    StatusLine,
    /// A request target that is neither a path nor an absolute URI of a web scheme, or that holds
    /// a character that no URI holds (RFC 9112 section 3.2).
    Target,
    /// A version of HTTP other than 1.0 and 1.1.
    UnsupportedVersion,
    /// A line feed without its carriage return.
    BareLf,
    /// A carriage return without its line feed.
    BareCr,
    /// A header line that continues the one before it (RFC 9112 section 5.2).
    ObsFold,
    /// Whitespace between a header name and its colon (RFC 9112 section 5.1).
    SpaceBeforeColon,
    /// A header name that is not a token (RFC 9110 section 5.1).
    HeaderName,
    /// NUL or another control character in a header value (RFC 9110 section 5.5).
    HeaderValue,
    /// The request target alone is longer than a whole head may be.
    TargetTooLong,
    /// The head is longer than [`HeadLimits::max_bytes`].
    TooLong,
    /// More header lines than [`HeadLimits::max_headers`].
    TooManyHeaders,
    /// Our scan and the parser read the same bytes differently: nothing can be trusted.
    Ambiguous,
}

impl HeadError {
    /// The HTTP status that a server answers with: 400, 414 or 431.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::TargetTooLong => 414,
            Self::TooLong | Self::TooManyHeaders => 431,
            _ => 400,
        }
    }

    /// The rule that was broken, in one line.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::Tls => "TLS was spoken to a port that speaks plain HTTP",
            Self::NotHttp => "this is not HTTP",
            Self::EmptyLine => "an empty line in front of the head",
            Self::RequestLine => "the request line is malformed (RFC 9112 section 3)",
            Self::StatusLine => "the status line is malformed (RFC 9112 section 4)",
            Self::Target => "the request target is malformed (RFC 9112 section 3.2)",
            Self::UnsupportedVersion => "a version of HTTP other than 1.1",
            Self::BareLf => "a line ends in LF without CR (RFC 9112 section 2.2)",
            Self::BareCr => "a CR without LF (RFC 9112 section 2.2)",
            Self::ObsFold => "a folded header line (RFC 9112 section 5.2)",
            Self::SpaceBeforeColon => {
                "whitespace between a header name and its colon (RFC 9112 section 5.1)"
            }
            Self::HeaderName => "a header name is malformed (RFC 9110 section 5.1)",
            Self::HeaderValue => "a control character in a header value (RFC 9110 section 5.5)",
            Self::TargetTooLong => "the request target is too long",
            Self::TooLong => "the head is too long",
            Self::TooManyHeaders => "too many header lines",
            Self::Ambiguous => "the head can be read in two ways",
        }
    }
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for HeadError {}

/// What one [`HeadReader::push`] did.
#[derive(Debug, Clone)]
pub struct Push<H> {
    /// Bytes of the input that belong to the head. What lies behind them stays with the caller;
    /// all of the input while `head` is `None`.
    pub consumed: usize,
    /// The head, once it is whole.
    pub head: Option<H>,
}

/// A kind of head that a [`HeadReader`] reads: [`RequestHead`] or [`ResponseHead`].
pub trait Head: sealed::Sealed {}

impl Head for RequestHead {}
impl Head for ResponseHead {}

mod sealed {
    use bytes::Bytes;

    use super::HeadError;

    pub trait Sealed: Sized {
        /// Whether the start line is a request line.
        const REQUEST: bool;
        /// Parses bytes that the scanner found to be one whole head with `headers` header lines.
        fn parse(bytes: Bytes, headers: usize) -> Result<Self, HeadError>;
    }
}

/// Reads a request head, as a server.
pub type RequestReader = HeadReader<RequestHead>;
/// Reads a response head, as a client.
pub type ResponseReader = HeadReader<ResponseHead>;

/// Reads a head in whatever pieces it arrives.
///
/// Each byte is looked at once when it arrives, so that a peer that sends single bytes costs no
/// more than one that sends the head whole; what can never become a head is refused at the first
/// byte that shows it. Memory grows with what has arrived, up to [`HeadLimits::max_bytes`], and
/// leaves with the head. After a head the reader is empty, ready for another; after an error it
/// returns that error again.
#[derive(Debug)]
pub struct HeadReader<H> {
    limits: HeadLimits,
    scanner: Scanner,
    buf: Vec<u8>,
    failed: Option<HeadError>,
    kind: PhantomData<fn() -> H>,
}

impl<H: Head> HeadReader<H> {
    /// A reader that has seen nothing. It allocates when the first bytes arrive.
    #[must_use]
    pub fn new(limits: HeadLimits) -> Self {
        Self {
            limits,
            scanner: Scanner::new(H::REQUEST),
            buf: Vec::new(),
            failed: None,
            kind: PhantomData,
        }
    }

    /// Takes the bytes of `input` that belong to the head.
    ///
    /// # Errors
    /// The bytes are not a head, or one above the limits. A server answers with
    /// [`HeadError::status`] and closes.
    pub fn push(&mut self, input: &[u8]) -> Result<Push<H>, HeadError> {
        if let Some(e) = self.failed {
            return Err(e);
        }
        let pushed = self.advance(input);
        if let Err(e) = pushed {
            self.failed = Some(e);
            self.buf = Vec::new();
        }
        pushed
    }

    /// Whether no byte has arrived since the last head: a connection that ends here asked for
    /// nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buf.is_empty() && self.failed.is_none()
    }

    /// Bytes of memory held, for a budget.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.buf.capacity()
    }

    fn advance(&mut self, input: &[u8]) -> Result<Push<H>, HeadError> {
        let mut start = 0;
        for (i, &b) in input.iter().enumerate() {
            match self.scanner.step(b, &self.limits)? {
                Step::Head => {}
                Step::Skip => start = i + 1,
                Step::End => {
                    // start <= i < input.len(): a byte that ends the head was not skipped.
                    self.buf.extend_from_slice(&input[start..=i]);
                    let headers = self.scanner.headers();
                    self.scanner = Scanner::new(H::REQUEST);
                    let head = H::parse(Bytes::from(mem::take(&mut self.buf)), headers)?;
                    return Ok(Push { consumed: i + 1, head: Some(head) });
                }
            }
        }
        // start <= input.len(): it is 0 or one behind a byte of the input.
        self.buf.extend_from_slice(&input[start..]);
        Ok(Push { consumed: input.len(), head: None })
    }
}
