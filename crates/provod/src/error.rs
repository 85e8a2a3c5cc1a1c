//! What can go wrong, as one opaque type with questions.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use provod_proto::{self as proto, CloseCode, UsageError};

use crate::client::HttpResponse;
use crate::one_line::OneLine;

pub use crate::try_send::TrySendError;

/// Why an operation failed. Cloning shares it.
///
/// `Display` gives one printable line with the cause, whatever a peer sent; the questions tell
/// programs what to do about it.
///
/// ```
/// use provod::Error;
///
/// /// Whether it is worth to connect again.
/// fn is_passing(error: &Error) -> bool {
///     match error.http_response() {
///         // The server answered with HTTP: full, or restarting.
///         Some(response) => matches!(response.status(), 429 | 502..=504),
///         None => error.is_lost() || error.is_timeout() || error.is_connect(),
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let error = provod::connect("ws://").await.expect_err("there is no host");
/// assert!(error.is_usage() && !is_passing(&error));
/// # });
/// ```
#[derive(Clone)]
pub struct Error(Arc<Kind>);

#[derive(Debug)]
pub(crate) enum Kind {
    /// The peer broke the protocol or hit a limit.
    Peer(proto::Error),
    /// The caller's doing.
    Usage(UsageError),
    /// The connection is over or closing: nothing can be sent.
    Closed,
    /// The stream ended without a Close frame.
    Ended,
    /// The peer closed in the middle of a message.
    Cut,
    /// The transport broke.
    Transport(io::Error),
    /// No sign of life after a Ping.
    Silent,
    /// The closing handshake did not end in time.
    CloseTimeout,
    /// This end gave the connection up, as at the end of a drain.
    Aborted,
    /// An address cannot be listened on.
    Listen { address: String, source: io::Error },
    /// An address that is none.
    Url(String),
    /// An address that needs TLS, which is not built in.
    #[cfg(not(feature = "tls"))]
    NoTls,
    #[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "there is no TLS to fail"))]
    /// TLS did not come about; `lost` where the other end, or the network, hung up.
    Tls { what: String, source: Option<io::Error>, lost: bool },
    /// A proxy refused, or spoke nonsense: what it did, and its answer if it was one of HTTP.
    Proxy { place: String, what: String, response: Option<HttpResponse> },
    /// A step towards a proxy failed.
    AtProxy(Error),
    /// A redirect that is not followed, and why.
    Redirect { why: String, response: HttpResponse },
    /// A name that cannot be resolved.
    Resolve { host: String, source: io::Error },
    /// Nobody took the connection.
    Connect { address: String, source: io::Error },
    /// The server hung up without an answer to the request.
    NoAnswer,
    /// The server answered with something else than a WebSocket.
    Refused(HttpResponse),
    /// The server's answer is not a valid one.
    Answer(String),
    /// A step of the opening handshake took too long.
    Timeout { step: Step, limit: Duration, place: String },
    /// A client hung up without a whole request.
    NoRequest,
    /// This end, a server, did not open the WebSocket that was asked for.
    TurnedAway { status: u16, why: Cow<'static, str> },
    /// A setting that cannot be.
    Setting(String),
    /// The system gives no random numbers, without which nothing can be masked.
    Random(String),
    /// A worker thread or runtime cannot be started.
    Start(io::Error),
}

/// A step of the opening handshake that has a time limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Resolve,
    Connect,
    #[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "there is no TLS to wait for"))]
    Tls,
    /// The answer of a proxy.
    Proxy,
    Handshake,
    /// At a server.
    Request,
    /// From an HTTP server to us.
    #[cfg(feature = "hyper")]
    Handover,
}

impl Error {
    pub(crate) fn new(kind: Kind) -> Self {
        Self(Arc::new(kind))
    }

    /// A step of the opening handshake took too long.
    pub(crate) fn late(step: Step, limit: Duration, place: impl Into<String>) -> Self {
        Self::new(Kind::Timeout { step, limit, place: place.into() })
    }

    /// Why, wherever on the way it was.
    fn kind(&self) -> &Kind {
        match &*self.0 {
            Kind::AtProxy(e) => e.kind(),
            kind => kind,
        }
    }

    /// Time ran out: for a step of connecting, the peer was silent, or it did not end the closing
    /// handshake.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.kind(), Kind::Silent | Kind::CloseTimeout | Kind::Timeout { .. })
    }

    /// The connection was lost: the stream ended or broke, or time ran out, without a closing
    /// handshake.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        matches!(
            self.kind(),
            Kind::Ended
                | Kind::Cut
                | Kind::Transport(_)
                | Kind::Silent
                | Kind::CloseTimeout
                | Kind::Aborted
                | Kind::NoAnswer
                | Kind::NoRequest
                | Kind::Tls { lost: true, .. }
        )
    }

    /// The connection is closing or closed, so nothing more can be sent.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(*self.0, Kind::Closed)
    }

    /// The peer broke a rule of the protocol.
    #[must_use]
    pub fn is_protocol(&self) -> bool {
        matches!(*self.0, Kind::Peer(proto::Error::Protocol(_)))
    }

    /// The peer hit a limit, such as the longest message, or the connection had to give way because
    /// a [`MemoryBudget`](crate::config::MemoryBudget) was used up.
    #[must_use]
    pub fn is_limit(&self) -> bool {
        matches!(*self.0, Kind::Peer(proto::Error::Limit(_)))
    }

    /// The URL, the address to listen on, a setting or an argument is not valid: nothing was tried,
    /// and nothing has changed.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self.kind() {
            Kind::Url(_) | Kind::Setting(_) | Kind::Usage(_) => true,
            Kind::Listen { source, .. } => source.kind() == io::ErrorKind::InvalidInput,
            _ => false,
        }
    }

    /// The name of the server, or of the proxy, cannot be resolved.
    #[must_use]
    pub fn is_resolve(&self) -> bool {
        matches!(self.kind(), Kind::Resolve { .. })
    }

    /// Nobody took the connection.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        matches!(self.kind(), Kind::Connect { .. })
    }

    /// TLS did not come about (RFC 8446): a certificate that is not trusted, has expired or is for
    /// another name, a peer that speaks no TLS or took too long, or a build without TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        match self.kind() {
            Kind::Tls { .. } | Kind::Timeout { step: Step::Tls, .. } => true,
            #[cfg(not(feature = "tls"))]
            Kind::NoTls => true,
            _ => false,
        }
    }

    /// It was a proxy, or the way to it, and not the server: beside this another question may be
    /// answered with yes, as [`is_connect`](Self::is_connect) is where nobody listens there. What
    /// the proxy answered tells [`http_response`](Self::http_response).
    #[must_use]
    pub fn is_proxy(&self) -> bool {
        let proxy = |kind: &Kind| {
            matches!(kind, Kind::Proxy { .. } | Kind::Timeout { step: Step::Proxy, .. })
        };
        matches!(*self.0, Kind::AtProxy(_)) || proxy(&self.0)
    }

    /// The server's answer to the request is not a valid one (RFC 6455 section 4.1); or, where this
    /// end is the server, the request was refused.
    #[must_use]
    pub fn is_handshake(&self) -> bool {
        matches!(*self.0, Kind::Answer(_) | Kind::TurnedAway { .. })
    }

    /// What the server answered instead of opening a WebSocket; or the proxy, where
    /// [`is_proxy`](Self::is_proxy) says so.
    #[must_use]
    pub fn http_response(&self) -> Option<&HttpResponse> {
        match self.kind() {
            Kind::Refused(response) | Kind::Redirect { response, .. } => Some(response),
            Kind::Proxy { response, .. } => response.as_ref(),
            _ => None,
        }
    }

    /// The address is in use already.
    #[must_use]
    pub fn is_address_in_use(&self) -> bool {
        matches!(&*self.0, Kind::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse)
    }

    /// The close code that this end sent because of the error (RFC 6455 section 7.4.1).
    #[must_use]
    pub fn close_code(&self) -> Option<CloseCode> {
        match &*self.0 {
            Kind::Peer(e) => e.close_code(),
            _ => None,
        }
    }

    /// The protocol's own word for the violation or limit.
    #[must_use]
    pub fn as_protocol(&self) -> Option<&proto::Error> {
        match &*self.0 {
            Kind::Peer(e) => Some(e),
            _ => None,
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(OneLine::new(f), "{}", self.0)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Peer(proto::Error::Limit(proto::LimitError::MemoryBudget)) => f.write_str(
                "the memory budget is used up and this connection held the most: raise the budget, \
                 or lower what one connection may hold",
            ),
            Kind::Peer(e) => e.fmt(f),
            Kind::Usage(e) => e.fmt(f),
            Kind::Closed => f.write_str("the connection is closing or closed"),
            Kind::Ended => f.write_str("the connection was lost: it ended without a Close frame"),
            Kind::Cut => f.write_str("the message was cut: the peer closed in the middle of it"),
            Kind::Transport(e) if is_cut_tls(e) => f.write_str(
                "the connection was lost: TLS ended without close_notify (RFC 8446 section 6.1) \
                 before a Close frame came",
            ),
            Kind::Transport(e) => write!(f, "the connection was lost: {e}"),
            Kind::Silent => {
                f.write_str("the connection was lost: no sign of life from the peer after a Ping")
            }
            Kind::CloseTimeout => {
                f.write_str("the connection was lost: the closing handshake did not end in time")
            }
            Kind::Aborted => f.write_str("the connection was given up by this end"),
            Kind::Listen { address, source } => match source.kind() {
                io::ErrorKind::AddrInUse => write!(
                    f,
                    "cannot listen on {address}: the address is in use; stop the other program or \
                     choose another port"
                ),
                io::ErrorKind::PermissionDenied => write!(
                    f,
                    "cannot listen on {address}: permission denied; ports below 1024 need a \
                     privilege, choose another port"
                ),
                _ => write!(f, "cannot listen on {address}: {source}"),
            },
            Kind::Url(why) => write!(f, "the address is not valid: {why}"),
            #[cfg(not(feature = "tls"))]
            Kind::NoTls => f.write_str(
                "wss:// needs TLS, which this program was built without: enable the feature `tls` \
                 of provod",
            ),
            Kind::Tls { what, .. } => f.write_str(what),
            Kind::Proxy { place, what, response } => {
                write!(f, "the proxy {place} {what}")?;
                let Some(response) = response else { return Ok(()) };
                status(response, f)?;
                match response.status() {
                    407 => f.write_str(
                        "; it wants a login, or another: USER:PASSWORD@ before its host",
                    ),
                    _ => Ok(()),
                }
            }
            Kind::AtProxy(e) => write!(f, "on the way to the proxy: {}", e.0),
            Kind::Redirect { why, .. } => write!(f, "a redirect is not followed: {why}"),
            Kind::Resolve { host, source } => {
                write!(f, "cannot resolve {host:?}: {source}; is the name right?")
            }
            Kind::Connect { address, source } => {
                write!(f, "cannot connect to {address}: {source}")?;
                match source.kind() {
                    io::ErrorKind::ConnectionRefused => f.write_str("; is the server running?"),
                    io::ErrorKind::NotFound => f.write_str("; is the path right?"),
                    _ => Ok(()),
                }
            }
            Kind::NoAnswer => {
                f.write_str("the connection was lost: the server hung up without an answer")
            }
            Kind::Refused(response) => refused(response, f),
            Kind::Answer(why) => write!(f, "the server's answer is not valid: {why}"),
            Kind::Timeout { step, limit, place } => match step {
                Step::Resolve => write!(f, "resolving {place:?} took longer than {limit:?}"),
                Step::Connect => write!(f, "connecting to {place} took longer than {limit:?}"),
                Step::Tls => write!(
                    f,
                    "the TLS handshake with {place} took longer than {limit:?}; does it speak TLS \
                     on this port?"
                ),
                Step::Proxy => {
                    write!(f, "the answer of the proxy {place} took longer than {limit:?}")
                }
                Step::Handshake => write!(f, "the answer of {place} took longer than {limit:?}"),
                Step::Request => write!(f, "the client's request took longer than {limit:?}"),
                #[cfg(feature = "hyper")]
                Step::Handover => write!(
                    f,
                    "the HTTP server did not hand the connection over within {limit:?}: was the \
                     answer returned as it was?"
                ),
            },
            Kind::NoRequest => {
                f.write_str("the connection was lost: the client hung up without a whole request")
            }
            Kind::TurnedAway { status, why } => {
                write!(f, "the client was answered with status {status}: {why}")
            }
            Kind::Setting(what) => f.write_str(what),
            Kind::Random(why) => {
                write!(f, "the system gives no random numbers, which masking needs: {why}")
            }
            Kind::Start(e) => write!(f, "cannot start a worker: {e}"),
        }
    }
}

/// Whether a TLS stream ended as no peer ends it on purpose.
fn is_cut_tls(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::UnexpectedEof && e.to_string().contains("close_notify")
}

/// A refusal, with what its status means to whoever reads it.
fn refused(response: &HttpResponse, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("the server refused the WebSocket")?;
    status(response, f)?;
    match response.status() {
        300..=399 => match response.header("Location") {
            Some(to) => {
                let to = String::from_utf8_lossy(to);
                write!(f, ": it redirects to {}, which is not followed", public(&to))
            }
            None => Ok(()),
        },
        200..=299 | 404 | 405 => f.write_str("; is there a WebSocket at this path?"),
        401 => f.write_str("; it wants credentials, or others"),
        403 => f.write_str("; it may want another Origin, or credentials"),
        _ => Ok(()),
    }
}

/// A reference without what may be secret: user and password, query, fragment.
fn public(reference: &str) -> String {
    let shown = reference.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = shown.split_once("//") else { return shown.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}//{host}{path}")
}

/// The status of an answer and its reason, behind who refused.
fn status(response: &HttpResponse, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, " with status {}", response.status())?;
    if !response.reason().is_empty() {
        write!(f, " ({})", response.reason())?;
    }
    Ok(())
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &*self.0 {
            Kind::Transport(e) | Kind::Start(e) | Kind::Tls { source: Some(e), .. } => Some(e),
            Kind::AtProxy(e) => e.source(),
            Kind::Listen { source, .. }
            | Kind::Resolve { source, .. }
            | Kind::Connect { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<Error> for io::Error {
    fn from(e: Error) -> Self {
        let kind = match e.kind() {
            Kind::Peer(_) => io::ErrorKind::InvalidData,
            Kind::Usage(_) | Kind::Setting(_) | Kind::Url(_) => io::ErrorKind::InvalidInput,
            Kind::Closed => io::ErrorKind::BrokenPipe,
            Kind::Ended | Kind::Cut | Kind::NoAnswer => io::ErrorKind::UnexpectedEof,
            Kind::Silent | Kind::CloseTimeout | Kind::Timeout { .. } => io::ErrorKind::TimedOut,
            Kind::Aborted => io::ErrorKind::ConnectionAborted,
            Kind::Transport(e)
            | Kind::Listen { source: e, .. }
            | Kind::Resolve { source: e, .. }
            | Kind::Connect { source: e, .. }
            | Kind::Start(e) => e.kind(),
            Kind::NoRequest => io::ErrorKind::UnexpectedEof,
            #[cfg(not(feature = "tls"))]
            Kind::NoTls => io::ErrorKind::Unsupported,
            Kind::Tls { lost: true, .. } => io::ErrorKind::UnexpectedEof,
            Kind::Tls { .. }
            | Kind::Proxy { .. }
            | Kind::AtProxy(_)
            | Kind::Redirect { .. }
            | Kind::Refused(_)
            | Kind::Answer(_)
            | Kind::TurnedAway { .. }
            | Kind::Random(_) => io::ErrorKind::Other,
        };
        Self::new(kind, e)
    }
}

impl From<UsageError> for Error {
    fn from(e: UsageError) -> Self {
        Self::new(match e {
            UsageError::Closing => Kind::Closed,
            e => Kind::Usage(e),
        })
    }
}

impl From<proto::Error> for Error {
    fn from(e: proto::Error) -> Self {
        match e {
            proto::Error::Usage(e) => e.into(),
            e => Self::new(Kind::Peer(e)),
        }
    }
}

#[cfg(test)]
mod tests;
