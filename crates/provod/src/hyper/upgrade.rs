//! One request for a WebSocket, from its head to the answer.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;

use http::{Request, Response};
use provod_proto::handshake;

use super::handover::{Handover, Opened};
use super::head::{self, Asked, Parts};
use crate::BoxError;
use crate::error::Error;
use crate::runtime;
use crate::server::future_of;
use crate::server::upgrader::{Upgrader, Workers};
use crate::websocket::WebSocket;
use ::hyper::upgrade::OnUpgrade;

/// Whether a request asks for a WebSocket, well or badly: for a service that answers others at the
/// same path.
#[must_use]
pub fn is_upgrade<R>(request: &Request<R>) -> bool {
    head::asks(parts(request))
}

fn parts<R>(request: &Request<R>) -> Parts<'_> {
    Parts {
        method: request.method(),
        uri: request.uri(),
        version: request.version(),
        headers: request.headers(),
        extensions: request.extensions(),
    }
}

/// A valid request for a WebSocket, which is not answered yet.
///
/// `B` is the body of the answer, which is empty or one line of text: `String` is one, and so is
/// everything that can be made of it, as `Full<Bytes>` and axum's `Body`.
///
/// ```
/// use provod::hyper::{Upgrade, Upgrader};
///
/// fn answer<R>(upgrader: &Upgrader, mut request: hyper::Request<R>) -> hyper::Response<String> {
///     let upgrade = match Upgrade::new(&mut request) {
///         Ok(upgrade) => upgrade,
///         Err(refusal) => return refusal,
///     };
///     upgrade
///         .with(upgrader)
///         .protocols(["chat.v2", "chat.v1"])
///         .header("Set-Cookie", "seen=1; Secure; HttpOnly")
///         .on_failed_upgrade(|error| eprintln!("no WebSocket after all: {error}"))
///         .on_upgrade(|mut ws| async move {
///             ws.send("Hello").await?;
///             while let Some(message) = ws.recv().await? {
///                 println!("{message:?}");
///             }
///             Ok(())
///         })
/// }
///
/// // A request that is none for a WebSocket is answered as by the crate's own server.
/// let upgrader = provod::Server::new().upgrader().expect("nothing was set");
/// let response = answer(&upgrader, hyper::Request::new(()));
/// assert_eq!(response.status(), 400); // it has no Host
/// ```
#[must_use = "it is answered with what on_upgrade() or accept() returns"]
pub struct Upgrade<B = String> {
    asked: Asked,
    connection: OnUpgrade,
    upgrader: Upgrader,
    peer: Option<Box<str>>,
    protocols: Option<Vec<String>>,
    headers: Vec<(String, Vec<u8>)>,
    on_failed: Option<Box<dyn FnOnce(Error) + Send>>,
    body: PhantomData<fn() -> B>,
}

impl<B: From<String>> Upgrade<B> {
    /// Checks a request (RFC 6455 section 4.2.1, RFC 8441 section 5) and takes from it what hyper
    /// hands the connection over with. Of its settings it is the [`Upgrader`] among the request's
    /// extensions that counts, where there is one, until [`with`](Self::with) names another.
    ///
    /// # Errors
    ///
    /// The answer: 426 for a request that asks for no WebSocket or another version; 400, 405 or 501
    /// for one that breaks a rule; 500 where hyper does not upgrade connections, because the server
    /// does not serve them with upgrades, or something has upgraded this one already.
    pub fn new<R>(request: &mut Request<R>) -> Result<Self, Response<B>> {
        let (asked, upgrader) = Self::check(parts(request))?;
        let connection = request.extensions_mut().remove::<OnUpgrade>();
        Self::of(asked, upgrader, connection)
    }

    /// As [`new`](Self::new), of the parts that an extractor gets.
    #[cfg(feature = "axum")]
    pub(crate) fn extract(parts: &mut http::request::Parts) -> Result<Self, Response<B>> {
        let (asked, upgrader) = Self::check(Parts::of(parts))?;
        let connection = parts.extensions.remove::<OnUpgrade>();
        Self::of(asked, upgrader, connection)
    }

    fn check(request: Parts<'_>) -> Result<(Asked, Upgrader), Response<B>> {
        let upgrader = request.extensions.get::<Upgrader>();
        let upgrader = upgrader.unwrap_or_else(|| Upgrader::common()).clone();
        match head::read(request) {
            Ok(asked) => Ok((asked, upgrader)),
            Err(refusal) => {
                upgrader.refused(&refusal);
                let is_http2 = request.version == http::Version::HTTP_2;
                Err(head::refusal(&(&refusal).into(), is_http2))
            }
        }
    }

    fn of(
        asked: Asked,
        upgrader: Upgrader,
        connection: Option<OnUpgrade>,
    ) -> Result<Self, Response<B>> {
        let Some(connection) = connection else {
            tracing::error!(
                "a request for a WebSocket whose connection hyper does not hand over: serve \
                 connections with upgrades, and upgrade a request once"
            );
            let what = "this server does not upgrade connections";
            return Err(head::refusal(&handshake::Response::text(500, what), asked.is_http2));
        };
        Ok(Self {
            asked,
            connection,
            upgrader,
            peer: None,
            protocols: None,
            headers: Vec::new(),
            on_failed: None,
            body: PhantomData,
        })
    }

    /// Opens it with these settings, and puts it into that list. Default: the `Upgrader` among the
    /// request's extensions, or else all defaults: pages of the same host, no compression.
    pub fn with(mut self, upgrader: &Upgrader) -> Self {
        self.upgrader = upgrader.clone();
        self
    }

    /// Sets the subprotocols that are spoken here. The first of the client's that is among them is
    /// agreed. Default: those of [`Server::subprotocols`](crate::Server::subprotocols).
    pub fn protocols<I: IntoIterator<Item: Into<String>>>(mut self, names: I) -> Self {
        self.protocols = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// The subprotocols that the client speaks, in its order of preference.
    #[must_use]
    pub fn requested_protocols(&self) -> &[String] {
        self.asked.upgrade.subprotocols()
    }

    /// Adds a header to the answer, such as `Set-Cookie`. One that is not valid, or that the
    /// handshake writes itself, makes the answer 500.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets what [`WebSocket::peer`] tells, for people and logs: the address that a proxy names,
    /// for example. Default: that of the socket, where it is a plain one; what axum's `ConnectInfo`
    /// says; else `stream`.
    pub fn peer(mut self, peer: impl ToString) -> Self {
        self.peer = Some(peer.to_string().into());
        self
    }

    /// Is called when the request was agreed to, and no WebSocket comes of it: the client hung up,
    /// the answer was changed on its way, the connection was not handed over in time. Default: a
    /// line in the log, at debug level.
    pub fn on_failed_upgrade(mut self, failed: impl FnOnce(Error) + Send + 'static) -> Self {
        self.on_failed = Some(Box::new(failed));
        self
    }

    /// The answer to return; `handler` runs when it has been sent. It is that of a
    /// [`Server`](crate::Server): `Ok` closes with 1000, an error or a panic with 1011.
    ///
    /// Where the request is not agreed to after all, the answer says why: 403 for a page of another
    /// origin, 503 where the [`Upgrader`] is full or drains, 500 for a header that is not valid.
    /// Then neither the handler nor [`on_failed_upgrade`](Self::on_failed_upgrade) is called.
    pub fn on_upgrade<H, F>(self, handler: H) -> Response<B>
    where
        H: FnOnce(WebSocket) -> F + Send + 'static,
        F: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.begin_with(|opened| {
            let ws = WebSocket::new(opened.shared.clone());
            opened.run(Some(future_of(|| handler(ws))));
        })
    }

    /// As [`on_upgrade`](Self::on_upgrade), for a [`Handler`](crate::Handler), whose `open` gets
    /// `state`. The settings are those of the upgrader that has started the workers, whatever
    /// [`with`](Self::with) named.
    pub fn hand_to<S: Send + 'static>(self, workers: &Workers<S>, state: S) -> Response<B> {
        let workers = workers.clone();
        let upgrade = self.with(workers.upgrader());
        upgrade.begin_with(move |opened| opened.hand_to(&workers, state))
    }

    /// Answers, and runs `open` once the connection has come.
    fn begin_with(mut self, open: impl FnOnce(Opened) + Send + 'static) -> Response<B> {
        let on_failed = self.on_failed.take();
        let (response, handover) = self.begin();
        let Ok(handover) = handover else { return response };
        tokio::spawn(async move {
            match (handover.open().await, on_failed) {
                (Ok(opened), _) => open(opened),
                (Err(error), Some(on_failed)) => on_failed(error),
                (Err(error), None) => tracing::debug!(%error, "no WebSocket after all"),
            }
        });
        response
    }

    /// The answer to return, and the WebSocket that comes of it once it is sent: for a task of its
    /// own, since whoever waits for it before he answers waits in vain. The WebSocket is closed as
    /// a client's is: with 1001 when it is dropped.
    ///
    /// ```
    /// # use provod::hyper::Upgrade;
    /// fn answer<R>(mut request: hyper::Request<R>) -> hyper::Response<String> {
    ///     let upgrade = match Upgrade::new(&mut request) {
    ///         Ok(upgrade) => upgrade,
    ///         Err(refusal) => return refusal,
    ///     };
    ///     let (response, opening) = upgrade.accept();
    ///     tokio::spawn(async move {
    ///         let mut ws = opening.await?;
    ///         ws.close(1000, "that was all").await
    ///     });
    ///     response
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// The request was not agreed to ([`is_handshake`](Error::is_handshake)), as the answer says;
    /// or, for the reasons of [`on_failed_upgrade`](Self::on_failed_upgrade), the connection was
    /// lost ([`is_lost`](Error::is_lost)) or did not come in time
    /// ([`is_timeout`](Error::is_timeout)).
    pub fn accept(
        self,
    ) -> (Response<B>, impl Future<Output = Result<WebSocket, Error>> + Send + 'static + use<B>)
    {
        let (response, handover) = self.begin();
        (response, async move {
            let opened = handover?.open().await?;
            let ws = WebSocket::new(opened.shared.clone());
            opened.run(None);
            Ok(ws)
        })
    }

    fn begin(self) -> (Response<B>, Result<Handover, Error>) {
        let Self { asked, connection, upgrader, peer, protocols, headers, .. } = self;
        let Asked { upgrade, target, origin, is_http2 } = asked;
        if let Err(error) = runtime::check() {
            tracing::error!(%error, "a WebSocket cannot be opened here");
            let what = "this server cannot open WebSockets";
            return (head::refusal(&handshake::Response::text(500, what), is_http2), Err(error));
        }
        let (origin, protocols) = (origin.as_deref(), protocols.as_deref());
        let write = |accept: &handshake::Accept<'_>| head::accept(accept, is_http2);
        match upgrader.begin(&upgrade, origin, protocols, &headers, write) {
            Ok((begun, response)) => {
                (response, Ok(Handover { begun, connection, peer, target, is_http2 }))
            }
            Err(refused) => {
                let (response, kind) = *refused;
                (head::refusal(&response, is_http2), Err(Error::new(kind)))
            }
        }
    }
}

impl<B> fmt::Debug for Upgrade<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade").field("http2", &self.asked.is_http2).finish_non_exhaustive()
    }
}
