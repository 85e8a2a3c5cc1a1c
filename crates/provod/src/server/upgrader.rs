//! The server's half of WebSockets whose requests somebody else has read: settings, a list of what
//! is open, and their end.

mod workers;

use std::fmt;
use std::future::Future;
use std::sync::{Arc, OnceLock};

use provod_proto::handshake::{Accept, Refusal, Upgrade};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::admission::{Admission, Ticket};
use super::agree::{self, Terms, agree};
use super::decide::{Answer, answer, unavailable};
use super::run::drain;
use super::settings::Settings;
use super::{Drain, Guard, Phase, Response, Server, most_connections};
use crate::budget::Reservation;
use crate::counters::{Counters, Stats};
use crate::driver::Shared;
use crate::error::{Error, Kind, Step};
use crate::runtime::deadline;

pub use workers::Workers;

impl Server {
    /// Makes of the settings what the WebSockets of another HTTP server are opened with:
    /// [`hyper::Upgrade`](crate::hyper::Upgrade), which is axum's extractor, too.
    ///
    /// What concerns the WebSocket holds as for a listener: [`config`](Self::config),
    /// [`origin`](Self::origin), [`subprotocols`](Self::subprotocols),
    /// [`compression`](Self::compression), [`memory_budget`](Self::memory_budget),
    /// [`max_connections`](Self::max_connections), which counts WebSockets here, and
    /// [`handshake_timeout`](Self::handshake_timeout), the time that the HTTP server may take from
    /// the answer until it hands the connection over. The limits of a request's head are the HTTP
    /// server's.
    ///
    /// # Errors
    ///
    /// A setting is not valid, or is the HTTP server's business: an address, TLS, the PROXY
    /// protocol, workers, a health answer, [`on_request`](Self::on_request)
    /// ([`is_usage`](Error::is_usage)).
    pub fn upgrader(self) -> Result<Upgrader, Error> {
        self.settings.check()?;
        let foreign = [
            (!self.addresses.is_empty(), "listen()"),
            (self.workers > 0, "workers()"),
            (self.settings.health.is_some(), "health()"),
            (self.decides, "on_request()"),
            #[cfg(feature = "tls")]
            (self.settings.tls.is_some(), "tls()"),
            (self.settings.proxies.is_some(), "proxy_protocol()"),
        ];
        if let Some((_, name)) = foreign.into_iter().find(|(set, _)| *set) {
            let what = format!("an upgrader has no {name}: that is for the HTTP server to do");
            return Err(Error::new(Kind::Setting(what)));
        }
        let max = self.max_connections.unwrap_or_else(|| most_connections(64));
        Ok(Upgrader::new(self.settings, max, self.counters))
    }
}

/// The settings and the list of WebSockets that are opened from another server's requests. Cloning
/// gives a handle to the same.
///
/// Make one for an application, from a [`Server`], and give it to each upgrade. The list is what a
/// graceful shutdown needs: an HTTP server has no part in a WebSocket that it has handed over, and
/// ends without it, or, over HTTP/2, waits for it for ever. Dropping the handles ends nothing.
///
/// ```
/// use provod::Server;
/// use provod::config::DeflateConfig;
///
/// # fn example() -> Result<(), provod::Error> {
/// let upgrader = Server::new()
///     .subprotocols(["chat.v2"])
///     .compression(DeflateConfig::default())
///     .max_connections(10_000)
///     .upgrader()?;
/// assert_eq!(upgrader.stats().open, 0);
/// # Ok(())
/// # }
/// # example().unwrap();
/// ```
#[derive(Clone)]
pub struct Upgrader(Arc<Inner>);

struct Inner {
    settings: Settings,
    admission: Arc<Admission>,
    counters: Arc<Counters>,
    phase: watch::Sender<Phase>,
}

impl Upgrader {
    fn new(settings: Settings, max: usize, counters: Arc<Counters>) -> Self {
        let (phase, _) = watch::channel(Phase::Running);
        let admission = Arc::new(Admission::new(max, usize::MAX));
        Self(Arc::new(Inner { settings, admission, counters, phase }))
    }

    /// That of applications which did not make one: all defaults.
    pub(crate) fn common() -> &'static Self {
        static COMMON: OnceLock<Upgrader> = OnceLock::new();
        COMMON.get_or_init(|| Self::new(Settings::default(), most_connections(64), Arc::default()))
    }

    /// What the WebSockets have done so far, and how many are open.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.0.counters.read()
    }

    /// Closes all WebSockets and waits until they have ended, or drops them at the deadline. From
    /// the end of the notice on, new ones are answered 503. Returns how many had to be dropped.
    ///
    /// Begin it when the HTTP server begins to shut down, not after that: over HTTP/2 the server
    /// waits for its WebSockets. While the process exits, wait for both.
    ///
    /// ```no_run
    /// # async fn example(upgrader: provod::hyper::Upgrader) -> std::io::Result<()> {
    /// use provod::CloseCode;
    /// use provod::server::Drain;
    ///
    /// let app = axum::Router::new();
    /// let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    /// let mut drain = Drain::default();
    /// drain.code = CloseCode::SERVICE_RESTART;
    /// let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    /// let server = axum::serve(listener, app).with_graceful_shutdown(async {
    ///     let _ = stopped.await;
    /// });
    /// let ending = async {
    ///     let _ = tokio::signal::ctrl_c().await;
    ///     let _ = stop.send(());
    ///     upgrader.drain(drain).await
    /// };
    /// let (served, dropped) = tokio::join!(server, ending);
    /// println!("{dropped} WebSockets had to be dropped");
    /// served
    /// # }
    /// ```
    pub async fn drain(&self, drain: Drain) -> usize {
        self::drain(&self.0.admission, &self.0.phase, drain).await
    }

    pub(crate) fn refused(&self, refusal: &Refusal) {
        self.0.counters.refused(refusal.kind().as_str());
    }

    /// Agrees to a request; returns also what `write` makes of the answer.
    ///
    /// # Errors
    ///
    /// The answer of plain HTTP, and why.
    pub(crate) fn begin<W>(
        &self,
        upgrade: &Upgrade,
        origin: Option<&[u8]>,
        spoken: Option<&[String]>,
        headers: &[(String, Vec<u8>)],
        write: impl FnOnce(&Accept<'_>) -> W,
    ) -> Result<(Begun, W), Box<Answer>> {
        let Inner { settings, admission, counters, phase } = &*self.0;
        counters.accepted.add(1);
        if let Err(refused) = settings.origin.check(origin, upgrade.host()) {
            let refusal = Refusal::from(refused);
            self.refused(&refusal);
            let response = Response::from(&refusal);
            return Err(Box::new(answer(response, refusal.to_string())));
        }
        let away = |reason, line: &'static str| {
            counters.turned_away.add(1);
            counters.refused(reason);
            Box::new(answer(unavailable(line), line))
        };
        if !phase.borrow().is_accepting() {
            return Err(away("draining", "the server is shutting down, try again later"));
        }
        let full = "the server is full, try again later";
        let memory = settings.reserve().map_err(|()| away("memory", full))?;
        // The client has done its part: it need not make room for others.
        let ticket = admission.admit().filter(Ticket::handshake_done);
        let ticket = ticket.ok_or_else(|| away("full", full))?;
        let spoken = spoken.unwrap_or(&settings.subprotocols);
        match agree(settings, upgrade, None, spoken, headers, write) {
            Ok((terms, written)) => {
                let deadline = deadline(settings.handshake_timeout);
                let upgrader = self.clone();
                Ok((Begun { upgrader, ticket, terms, deadline, _memory: memory }, written))
            }
            Err(e) => {
                tracing::error!(error = %e, "the application's answer is not valid");
                counters.refused("application");
                let response = Response::text(500, "the server's answer was not valid");
                Err(Box::new(answer(response, format!("the answer was not valid: {e}"))))
            }
        }
    }
}

impl fmt::Debug for Upgrader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrader").field("open", &self.stats().open).finish_non_exhaustive()
    }
}

/// A request that is agreed to, and whose connection is still the HTTP server's.
pub(crate) struct Begun {
    upgrader: Upgrader,
    ticket: Ticket,
    terms: Terms,
    deadline: Instant,
    _memory: Option<Reservation>,
}

impl Begun {
    /// Waits for the connection, not for ever.
    ///
    /// # Errors
    ///
    /// It does not come in time, or the WebSockets have come to their end meanwhile.
    pub(crate) async fn wait<F: Future>(&self, handover: F) -> Result<F::Output, Kind> {
        let inner = &*self.upgrader.0;
        let mut phase = inner.phase.subscribe();
        tokio::select! {
            biased;
            // The sender outlives `self`, so this ends with `Stopped` and nothing else.
            _ = phase.wait_for(|p| *p == Phase::Stopped) => Err(Kind::Aborted),
            given = timeout_at(self.deadline, handover) => given.map_err(|_| {
                let limit = inner.settings.handshake_timeout;
                Kind::Timeout { step: Step::Handover, limit, place: String::new() }
            }),
        }
    }

    /// The connection is ours.
    pub(crate) fn open(self, peer: &str, target: &str, is_http2: bool) -> (Arc<Shared>, Guard) {
        let Inner { settings, counters, phase, .. } = &*self.upgrader.0;
        counters.opened_http2.add(is_http2.into());
        let shared = agree::connection(settings, counters, peer, target, &self.terms);
        let guard = Guard::new(self.ticket, &shared);
        // Only now: a drain that has begun meanwhile may not have found it in the list.
        let phase = *phase.borrow();
        phase.greet(&shared);
        (shared, guard)
    }
}
