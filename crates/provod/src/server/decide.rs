//! What is answered to a request, however it came: the rules, then the application.

use std::any::Any;
use std::borrow::Cow;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use provod_proto::handshake::{
    Accept as ProtoAccept, Refusal, RefusalKind, RequestHead, Response, Upgrade, host,
};

use super::agree::{self, Terms, agree};
use super::request::{Accept, Caller, Request};
use super::{Opening, Phase};
use crate::driver::{Shared, panic_text};
use crate::error::Kind;

const NOT_UPGRADE: &str = "the request was of plain HTTP";

/// An answer of plain HTTP, and why it is no WebSocket.
pub(super) type Answer = (Response, Kind);

/// What a request gets.
pub(super) enum Decided<S> {
    /// A WebSocket.
    Accept(Request, Accept<S>),
    Answer(Response, Kind),
    /// Nothing: the server has stopped.
    Gone(Kind),
}

impl<S> From<Answer> for Decided<S> {
    fn from((response, why): Answer) -> Self {
        Self::Answer(response, why)
    }
}

/// An answer with its reason.
pub(super) fn answer(response: Response, why: impl Into<Cow<'static, str>>) -> Answer {
    let why = Kind::TurnedAway { status: response.status(), why: why.into() };
    (response, why)
}

pub(super) fn unavailable(line: &str) -> Response {
    let response = Response::text(503, line);
    response.header("Retry-After", b"5").unwrap_or_else(|_| Response::new(503))
}

/// Decides on a request, of which `upgrade` is what the rules say. `more`: data follows that its
/// head does not speak of, as HTTP/2 allows.
pub(super) async fn decide<S: Send + 'static>(
    core: &Opening<'_, S>,
    head: RequestHead,
    upgrade: Result<Upgrade, Refusal>,
    caller: Caller,
    more: bool,
) -> Decided<S> {
    let upgrade = match upgrade {
        Ok(upgrade) => Some(upgrade),
        Err(Refusal::NotUpgrade) => None,
        Err(refusal) => return core.refuse(&refusal, Some(&head)).into(),
    };
    let request = Request::new(head, upgrade, caller);
    let refused = match request.upgrade() {
        Some(upgrade) => {
            let origin = request.header("Origin");
            core.settings.origin.check(origin, upgrade.host()).err().map(Refusal::from)
        }
        None => match core.plain(&request, more) {
            Ok(None) => None,
            Ok(Some(response)) => {
                core.counters.plain.add(1);
                return answer(response.answering(request.head()), NOT_UPGRADE).into();
            }
            Err(refusal) => Some(refusal),
        },
    };
    if let Some(refusal) = refused {
        return core.refuse(&refusal, Some(request.head())).into();
    }
    let decided = tokio::select! {
        biased;
        // An application that never decides must not outlive its server.
        () = core.stopped() => return Decided::Gone(Kind::Aborted),
        decided = caught(|| (core.on_request)(request.clone())) => decided,
    };
    let decided = decided.unwrap_or_else(|panic| {
        core.counters.panics.add(1);
        let (peer, what) = (request.peer(), panic_text(&*panic));
        tracing::error!(peer, panic = what, "a request callback panicked, answering 500");
        Err(Response::text(500, "the server failed to decide on this request"))
    });
    match decided {
        Err(response) => {
            let why = if request.is_upgrade() {
                core.counters.refused("application");
                "the application refused the request"
            } else {
                core.counters.plain.add(1);
                NOT_UPGRADE
            };
            answer(response.answering(request.head()), why).into()
        }
        Ok(_) if !request.is_upgrade() => {
            core.refuse(&Refusal::NotUpgrade, Some(request.head())).into()
        }
        Ok(accept) => Decided::Accept(request, accept),
    }
}

/// What a WebSocket is opened with.
pub(super) struct Agreed<S> {
    terms: Terms,
    pub(super) state: S,
}

impl<S> Opening<'_, S> {
    pub(super) fn refuse(&self, refusal: &Refusal, head: Option<&RequestHead>) -> Answer {
        if refusal.kind() == RefusalKind::NotUpgrade {
            self.counters.plain.add(1);
        }
        self.counters.refused(refusal.kind().as_str());
        let response = Response::from(refusal);
        let response = match head {
            Some(head) => response.answering(head),
            None => response,
        };
        answer(response, refusal.to_string())
    }

    /// What can be said about plain HTTP without the application: the health answer, and that this
    /// server reads no bodies.
    fn plain(&self, request: &Request, more: bool) -> Result<Option<Response>, Refusal> {
        let read_only = matches!(request.method(), "GET" | "HEAD");
        if read_only && self.settings.health.as_deref() == Some(request.path()) {
            self.counters.health_checks.add(1);
            return Ok(Some(match self.phase() {
                Phase::Running => Response::text(200, "ok"),
                _ => Response::text(503, "draining"),
            }));
        }
        // HTTP/1.0 has no Host, and a page that a browser shows is never asked for with it.
        if request.header("Host").is_some() {
            self.settings.origin.check_host(&host(request.head())?)?;
        }
        if !read_only {
            let response = Response::text(405, "only GET and HEAD are answered here");
            return Ok(Some(response.header("Allow", b"GET, HEAD").unwrap_or_else(|_| {
                // The header is valid; without it the answer would still be right.
                Response::new(405)
            })));
        }
        let length = request.header("Content-Length").unwrap_or(b"0");
        if length.is_empty() || !length.iter().all(u8::is_ascii_digit) {
            return Ok(Some(Response::text(400, "Content-Length is not a number")));
        }
        let body = more
            || request.header("Transfer-Encoding").is_some()
            || length.iter().any(|b| *b != b'0');
        Ok(body.then(|| Response::text(413, "a request with a body is not taken here")))
    }

    /// Chooses what the WebSocket is opened with, and gives the answer that says so to `write`.
    pub(super) fn agree(
        &self,
        request: &Request,
        accept: Accept<S>,
        write: impl FnOnce(&ProtoAccept<'_>),
    ) -> Result<Agreed<S>, Box<Answer>> {
        let settings = self.settings;
        let Some(upgrade) = request.upgrade() else {
            return Err(Box::new(self.refuse(&Refusal::NotUpgrade, Some(request.head()))));
        };
        let (chosen, spoken) = (accept.subprotocol.as_deref(), &settings.subprotocols);
        match agree(settings, upgrade, chosen, spoken, &accept.headers, write) {
            Ok((terms, ())) => Ok(Agreed { terms, state: accept.state }),
            Err(e) => {
                let peer = request.peer();
                tracing::error!(peer, error = %e, "the application's answer is not valid");
                self.counters.refused("application");
                let response = Response::text(500, "the server's answer was not valid");
                Err(Box::new(answer(response, format!("the answer was not valid: {e}"))))
            }
        }
    }

    /// Makes the connection of a WebSocket whose answer is on its way.
    pub(super) fn establish(&self, request: &Request, agreed: &Agreed<S>) -> Arc<Shared> {
        let (peer, target) = (request.peer(), request.head().target());
        agree::connection(self.settings, self.counters, peer, target, &agreed.terms)
    }
}

/// Runs what the application gave, and catches its panics.
async fn caught<F: Future>(
    make: impl FnOnce() -> F,
) -> Result<F::Output, Box<dyn Any + Send + 'static>> {
    let mut future = pin!(catch_unwind(AssertUnwindSafe(make))?);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}
