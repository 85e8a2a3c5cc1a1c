//! Why a server does not open a WebSocket, and the HTTP answer that says so.

use std::fmt;

use super::super::head::HeadError;
use super::super::negotiate::ExtensionError;
use super::super::origin::OriginRefused;

/// Why a request gets no WebSocket. Its text, for the body of the answer, is its `Display`; the
/// whole answer is `Response::from(&refusal)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The bytes are not a request head, or one above the limits.
    Head(HeadError),
    /// Plain HTTP: the request does not ask for a WebSocket.
    NotUpgrade,
    /// An upgrade with a method other than GET (RFC 6455 section 4.1 item 2).
    Method,
    /// An upgrade over HTTP/1.0 (RFC 6455 section 4.1 item 2).
    Http10,
    /// A `Host` that is missing or not a host (RFC 9112 section 3.2).
    Host,
    /// The named header appears twice and may appear once.
    Duplicate(&'static str),
    /// An upgrade that announces a body.
    Body,
    /// `Connection` does not list `upgrade` (RFC 6455 section 4.1 item 6); or, over HTTP/2, it is
    /// there at all (RFC 9113 section 8.2.2).
    Connection,
    /// A CONNECT that is not one for a WebSocket (RFC 8441 section 4).
    Protocol,
    /// `Sec-WebSocket-Version` is not 13 (RFC 6455 section 4.2.2 item 4).
    Version,
    /// `Sec-WebSocket-Key` is not the base64 of 16 bytes (RFC 6455 section 4.2.1 item 5).
    Key,
    /// `Sec-WebSocket-Protocol` is not a list of unique tokens (RFC 6455 section 4.1 item 10), or
    /// lists more than 64.
    Subprotocol,
    /// `Sec-WebSocket-Extensions` breaks its grammar.
    Extensions(ExtensionError),
    /// The page that the client runs in may not connect.
    Origin(OriginRefused),
}

impl Refusal {
    /// The HTTP status of the answer.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Head(e) => e.status(),
            Self::NotUpgrade | Self::Version => 426,
            Self::Method => 405,
            // RFC 9220 section 3 says so for an unknown :protocol.
            Self::Protocol => 501,
            Self::Origin(_) => 403,
            _ => 400,
        }
    }

    /// Headers that belong to the status.
    #[must_use]
    pub fn headers(&self) -> &'static [(&'static str, &'static str)] {
        match self {
            // RFC 9110 section 15.5.22: 426 names the protocol to upgrade to.
            Self::NotUpgrade | Self::Version => {
                &[("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
            }
            Self::Method => &[("Allow", "GET")],
            _ => &[],
        }
    }

    /// The cause without its details, to count by.
    #[must_use]
    pub fn kind(&self) -> RefusalKind {
        match self {
            Self::Head(HeadError::Tls) => RefusalKind::Tls,
            Self::Head(e) if e.status() == 400 => RefusalKind::Head,
            Self::Head(_) => RefusalKind::HeadTooLarge,
            Self::NotUpgrade => RefusalKind::NotUpgrade,
            Self::Method => RefusalKind::Method,
            Self::Http10 => RefusalKind::Http10,
            Self::Host => RefusalKind::Host,
            Self::Duplicate(_) => RefusalKind::Duplicate,
            Self::Body => RefusalKind::Body,
            Self::Connection => RefusalKind::Connection,
            Self::Protocol => RefusalKind::Protocol,
            Self::Version => RefusalKind::Version,
            Self::Key => RefusalKind::Key,
            Self::Subprotocol => RefusalKind::Subprotocol,
            Self::Extensions(_) => RefusalKind::Extensions,
            Self::Origin(_) => RefusalKind::Origin,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Head(e) => return e.fmt(f),
            Self::Extensions(e) => return e.fmt(f),
            Self::Origin(e) => return e.fmt(f),
            Self::Duplicate(name) => {
                return write!(f, "the header {name} may appear only once");
            }
            Self::NotUpgrade => "this is a WebSocket server: the request lacks Upgrade: websocket",
            Self::Method => "a WebSocket is opened with GET (RFC 6455 section 4.1)",
            Self::Http10 => "a WebSocket is opened over HTTP/1.1 (RFC 6455 section 4.1)",
            Self::Host => "the Host header is missing or malformed (RFC 9112 section 3.2)",
            Self::Body => "an upgrade request has no body",
            Self::Connection => "Connection does not list Upgrade (RFC 6455 section 4.2.1)",
            Self::Protocol => "CONNECT opens nothing but a WebSocket here (RFC 8441 section 4)",
            Self::Version => "Sec-WebSocket-Version must be 13 (RFC 6455 section 4.2.1)",
            Self::Key => {
                "Sec-WebSocket-Key must be the base64 of 16 bytes (RFC 6455 section 4.2.1)"
            }
            Self::Subprotocol => {
                "Sec-WebSocket-Protocol must list unique tokens (RFC 6455 section 4.1)"
            }
        })
    }
}

impl std::error::Error for Refusal {}

impl From<HeadError> for Refusal {
    fn from(e: HeadError) -> Self {
        Self::Head(e)
    }
}
impl From<OriginRefused> for Refusal {
    fn from(e: OriginRefused) -> Self {
        Self::Origin(e)
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $label:literal)*) => {
        /// The cause of a [`Refusal`] without its details.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum RefusalKind {
            $($(#[$doc])* $kind,)*
        }

        impl RefusalKind {
            /// Every kind: `RefusalKind::ALL[kind as usize] == kind`.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// A short label, for counters and logs.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => $label,)*
                }
            }
        }
    };
}

kinds! {
    /// TLS on a plain port.
    Tls "tls"
    /// Not a request head.
    Head "head"
    /// A head above the limits.
    HeadTooLarge "head_too_large"
    /// Plain HTTP.
    NotUpgrade "not_upgrade"
    /// [`Refusal::Method`].
    Method "method"
    /// [`Refusal::Http10`].
    Http10 "http_1_0"
    /// [`Refusal::Host`].
    Host "host"
    /// [`Refusal::Duplicate`].
    Duplicate "duplicate_header"
    /// [`Refusal::Body`].
    Body "body"
    /// [`Refusal::Connection`].
    Connection "connection"
    /// [`Refusal::Protocol`].
    Protocol "protocol"
    /// [`Refusal::Version`].
    Version "version"
    /// [`Refusal::Key`].
    Key "key"
    /// [`Refusal::Subprotocol`].
    Subprotocol "subprotocol"
    /// [`Refusal::Extensions`].
    Extensions "extensions"
    /// [`Refusal::Origin`].
    Origin "origin"
}

impl fmt::Display for RefusalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
