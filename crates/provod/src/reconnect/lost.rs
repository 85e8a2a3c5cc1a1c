//! Why a connection or an attempt was lost, and whether to try again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use provod_proto::{Cause, CloseCode, Closed};
#[cfg(not(target_family = "wasm"))]
use provod_proto::{Error as ProtocolError, LimitError};

#[cfg(not(target_family = "wasm"))]
use super::retry_after::retry_after;
#[cfg(not(target_family = "wasm"))]
use super::seam;
use crate::BoxError;
#[cfg(not(target_family = "wasm"))]
use crate::client::HttpResponse;
use crate::error::Error;
use crate::one_line::OneLine;

/// Whether to try again after a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// As the [`Backoff`](super::Backoff) says.
    Again,
    /// After so long, or, where that is not known, after the longest wait of the back-off.
    Later(Option<Duration>),
    /// Not at all.
    GiveUp,
}

/// Why a connection was lost, or could not be made. Cloning shares it.
///
/// `Display` gives one printable line, whatever a peer sent.
///
/// # What is done about it
///
/// [`verdict`](Self::verdict) is the answer unless a [policy](super::Setup::policy) gives another:
///
/// | what happened | verdict |
/// |---|---|
/// | the connection broke, the server fell silent, hung up, or closed with 1001, 1005 (no code), 1011, 1012, 1014 | again |
/// | the server broke the protocol, or its answer is not valid | again: something between may have done it |
/// | the server closed with 1013 | later |
/// | the server closed with 3008, Timeout | again |
/// | the server closed with 1000, 1002, 1003, 1007, 1008, 1009, 1010, any other of 3000 to 4999 | give up |
/// | nobody took the connection, the name could not be resolved, a step took too long | again |
/// | HTTP 408, 425, 500 and above | again, or later, where the answer has a `Retry-After` |
/// | HTTP 429, 503 | later |
/// | any other answer of HTTP, a redirect or 401, 403, 404 above all | give up |
/// | the URL or a setting is not valid, TLS fails, a certificate above all | give up |
/// | a message was above a limit of this end | give up: it would come again |
/// | the memory budget was used up | later |
/// | a callback failed with an error of its own, or took too long | give up, or again |
#[derive(Clone)]
pub struct Lost(Arc<Why>);

enum Why {
    /// The peer closed.
    Closed(Closed),
    Error(Error),
    /// A callback of the application failed.
    Own(BoxError),
    /// A callback of the application took longer than this.
    Slow(Duration),
}

impl Lost {
    pub(super) fn closed(closed: Closed) -> Self {
        Self(Arc::new(Why::Closed(closed)))
    }

    pub(super) fn error(error: Error) -> Self {
        Self(Arc::new(Why::Error(error)))
    }

    /// What a callback failed with: often it is an error of a connection.
    pub(super) fn own(error: BoxError) -> Self {
        match error.downcast::<Error>() {
            Ok(error) => Self::error(*error),
            Err(error) => Self(Arc::new(Why::Own(error))),
        }
    }

    pub(super) fn slow(limit: Duration) -> Self {
        Self(Arc::new(Why::Slow(limit)))
    }

    /// The error, where it was one of connecting or of the connection.
    #[must_use]
    pub fn as_error(&self) -> Option<&Error> {
        match &*self.0 {
            Why::Error(error) => Some(error),
            _ => None,
        }
    }

    /// How the connection ended, where the server closed it.
    #[must_use]
    pub fn as_closed(&self) -> Option<&Closed> {
        match &*self.0 {
            Why::Closed(closed) => Some(closed),
            _ => None,
        }
    }

    /// The error of a callback of the application.
    #[must_use]
    pub fn as_own(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
        match &*self.0 {
            Why::Own(error) => Some(&**error),
            _ => None,
        }
    }

    /// The code that the server closed with; 1005 where its Close had none.
    #[must_use]
    pub fn code(&self) -> Option<CloseCode> {
        self.as_closed().map(Closed::code)
    }

    /// The status that the server answered with, where it did not open a WebSocket.
    #[cfg(not(target_family = "wasm"))]
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        Some(self.as_error()?.http_response()?.status())
    }

    /// What is done about it where no policy says otherwise.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match &*self.0 {
            Why::Closed(closed) => of_closed(closed),
            Why::Error(error) => of_error(error),
            Why::Own(_) => Verdict::GiveUp,
            Why::Slow(_) => Verdict::Again,
        }
    }
}

fn of_closed(closed: &Closed) -> Verdict {
    if closed.cause == Cause::Local {
        // A callback did it, with a handle that it kept.
        return Verdict::GiveUp;
    }
    of_code(closed.code())
}

fn of_code(code: CloseCode) -> Verdict {
    match code.as_u16() {
        1001 | 1005 | 1006 | 1011 | 1012 | 1014 | 3008 => Verdict::Again,
        1013 => Verdict::Later(None),
        _ => Verdict::GiveUp,
    }
}

#[cfg(not(target_family = "wasm"))]
fn of_error(error: &Error) -> Verdict {
    if let Some(response) = error.http_response() {
        return of_response(response);
    }
    if error.is_lost() || error.is_timeout() || error.is_connect() || error.is_resolve() {
        return Verdict::Again;
    }
    match error.as_protocol() {
        Some(ProtocolError::Limit(LimitError::MemoryBudget)) => return Verdict::Later(None),
        Some(ProtocolError::Limit(_)) => return Verdict::GiveUp,
        _ => {}
    }
    if error.is_usage() || error.is_tls() {
        return Verdict::GiveUp;
    }
    Verdict::Again
}

/// A browser does not tell why a connection was not opened.
#[cfg(target_family = "wasm")]
fn of_error(error: &Error) -> Verdict {
    if error.is_usage() || error.is_limit() { Verdict::GiveUp } else { Verdict::Again }
}

#[cfg(not(target_family = "wasm"))]
fn of_response(response: &HttpResponse) -> Verdict {
    let later = matches!(response.status(), 429 | 503);
    if !later && !matches!(response.status(), 408 | 425 | 500..) {
        return Verdict::GiveUp;
    }
    let asked = response.header("Retry-After");
    let date = response.header("Date");
    match asked.and_then(|asked| retry_after(asked, date, seam::unix_time())) {
        None if !later => Verdict::Again,
        wait => Verdict::Later(wait),
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        let mut f = OneLine::new(f);
        match &*self.0 {
            Why::Closed(closed) => match &closed.received {
                Some(Some(frame)) if frame.reason.is_empty() => {
                    write!(f, "the server closed with {}", frame.code)
                }
                Some(Some(frame)) => {
                    write!(f, "the server closed with {}: {}", frame.code, frame.reason)
                }
                Some(None) => write!(f, "the server closed without a code"),
                None => write!(f, "the connection was closed by this end"),
            },
            Why::Error(error) => write!(f, "{error}"),
            Why::Own(error) => write!(f, "{error}"),
            Why::Slow(limit) => write!(
                f,
                "a callback took longer than {limit:?}; Setup::callback_timeout allows more"
            ),
        }
    }
}

impl fmt::Debug for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lost({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn codes() {
        use Verdict::{Again, GiveUp, Later};
        for (code, verdict) in [
            (1000, GiveUp),
            (1001, Again),
            (1002, GiveUp),
            (1003, GiveUp),
            (1005, Again),
            (1006, Again),
            (1007, GiveUp),
            (1008, GiveUp),
            (1009, GiveUp),
            (1010, GiveUp),
            (1011, Again),
            (1012, Again),
            (1013, Later(None)),
            (1014, Again),
            (3000, GiveUp),
            (3008, Again),
            (4000, GiveUp),
            (4999, GiveUp),
        ] {
            assert_eq!(of_code(CloseCode::from(code)), verdict, "{code}");
        }
    }

    #[test]
    fn errors() {
        let io = || std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        for (kind, verdict) in [
            (Kind::Ended, Verdict::Again),
            (Kind::Silent, Verdict::Again),
            (Kind::Transport(io()), Verdict::Again),
            (Kind::Connect { address: String::new(), source: io() }, Verdict::Again),
            (Kind::Resolve { host: String::new(), source: io() }, Verdict::Again),
            (Kind::NoAnswer, Verdict::Again),
            (Kind::Url(String::new()), Verdict::GiveUp),
            (Kind::Setting(String::new()), Verdict::GiveUp),
            (Kind::Answer(String::new()), Verdict::Again),
            (Kind::Peer(LimitError::MemoryBudget.into()), Verdict::Later(None)),
            (Kind::Peer(LimitError::MessageTooLong { limit: 1 }.into()), Verdict::GiveUp),
        ] {
            let shown = format!("{kind:?}");
            assert_eq!(Lost::error(Error::new(kind)).verdict(), verdict, "{shown}");
        }
        assert_eq!(Lost::own("no token".into()).verdict(), Verdict::GiveUp);
        assert_eq!(Lost::slow(Duration::ZERO).verdict(), Verdict::Again);
    }

    #[test]
    fn it_is_one_printable_line() {
        assert_eq!(format!("{:?}", Lost::own("a\nb".into())), "Lost(a\\nb)");
    }
}
