//! Everything that can be set about connecting again.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use super::Reconnecting;
use super::core::Core;
use super::lost::{Lost, Verdict};
use super::outbox::{Outbox, OutboxLimits};
use super::run::{Dial, Hook, Plan, run};
use super::seam::{self, MaybeSend, MaybeSync, Policy};
use crate::client::Client;
use crate::error::{Error, Kind};
use crate::{BoxError, WebSocket};

pub use super::schedule::Backoff;

/// An attempt to connect that is about to be made.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Attempt {
    /// The how-manieth in a row, from 1.
    pub number: u32,
    /// What the connection or attempt before it was lost by; `None` in front of the first.
    pub lost: Option<Lost>,
}

/// All that can be set about connecting again, from
/// [`Client::reconnecting`](crate::Client::reconnecting).
#[must_use = "nothing connects before it is started"]
pub struct Setup {
    dial: Source,
    hook: Option<Hook>,
    policy: Option<Policy>,
    backoff: Backoff,
    outbox: OutboxLimits,
    resend: bool,
    callback_timeout: Duration,
}

/// Where connections come from.
enum Source {
    Client(Box<Client>),
    /// Needs the limit for callbacks.
    Callback(Box<dyn FnOnce(Duration) -> Dial>),
}

impl Setup {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            dial: Source::Client(Box::new(client)),
            hook: None,
            policy: None,
            backoff: Backoff::default(),
            outbox: OutboxLimits::default(),
            resend: false,
            callback_timeout: Duration::from_secs(30),
        }
    }

    /// Computes the client anew for each attempt: another URL, a fresh token. An error gives up,
    /// unless it is an [`Error`] of this crate, which has its own [verdict](Lost::verdict), or the
    /// [policy](Self::policy) says otherwise.
    ///
    /// ```no_run
    /// # async fn fresh_token() -> Result<String, provod::BoxError> { Ok(String::new()) }
    /// # fn example() -> Result<(), provod::Error> {
    /// use provod::Client;
    ///
    /// let ws = Client::new("ws://example.com/feed")
    ///     .reconnecting()
    ///     .each_attempt(|attempt| async move {
    ///         let server = if attempt.number % 2 == 1 { "a" } else { "b" };
    ///         let client = Client::new(format!("ws://{server}.example.com/feed"));
    ///         Ok(client.header("Authorization", format!("Bearer {}", fresh_token().await?)))
    ///     })
    ///     .start()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn each_attempt<F, Fut>(mut self, callback: F) -> Self
    where
        F: Fn(Attempt) -> Fut + MaybeSend + MaybeSync + 'static,
        Fut: Future<Output = Result<Client, BoxError>> + MaybeSend + 'static,
    {
        self.dial = Source::Callback(Box::new(move |limit| {
            Box::new(move |attempt| {
                let client = callback(attempt);
                Box::pin(async move {
                    let client = seam::timeout(limit, client).await;
                    let client = client.ok_or_else(|| Lost::slow(limit))?.map_err(Lost::own)?;
                    client.connect().await.map_err(Lost::error)
                })
            })
        }));
        self
    }

    /// Connects in a way of the application's own, such as through a tunnel with
    /// [`Client::connect_over`], instead of [`Client::connect`]. Errors as those of
    /// [`each_attempt`](Self::each_attempt), which it replaces.
    pub fn connect_with<F, Fut>(mut self, callback: F) -> Self
    where
        F: Fn(Attempt) -> Fut + MaybeSend + MaybeSync + 'static,
        Fut: Future<Output = Result<WebSocket, BoxError>> + MaybeSend + 'static,
    {
        self.dial = Source::Callback(Box::new(move |limit| {
            Box::new(move |attempt| {
                let connected = callback(attempt);
                Box::pin(async move {
                    let connected = seam::timeout(limit, connected).await;
                    connected.ok_or_else(|| Lost::slow(limit))?.map_err(Lost::own)
                })
            })
        }));
        self
    }

    /// Does what each new connection needs first: logs in, subscribes. It owns the `WebSocket` and
    /// gives it back; what it sends goes before everything of the outbox, and what it receives
    /// nobody else sees. An error as that of [`each_attempt`](Self::each_attempt).
    ///
    /// ```no_run
    /// # fn example(client: provod::Client) -> Result<(), provod::Error> {
    /// let ws = client
    ///     .reconnecting()
    ///     .on_open(|mut ws| async move {
    ///         ws.send("subscribe: prices").await?;
    ///         match ws.recv().await? {
    ///             Some(answer) if answer.as_text() == Some("ok") => Ok(ws),
    ///             _ => Err("the subscription was refused".into()),
    ///         }
    ///     })
    ///     .start()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_open<F, Fut>(mut self, callback: F) -> Self
    where
        F: Fn(WebSocket) -> Fut + MaybeSend + MaybeSync + 'static,
        Fut: Future<Output = Result<WebSocket, BoxError>> + MaybeSend + 'static,
    {
        self.hook = Some(Box::new(move |ws| Box::pin(callback(ws))));
        self
    }

    /// Decides what is done after each loss. [`Lost::verdict`] is the default, and its table a good
    /// answer to all that a program has no opinion on.
    ///
    /// ```no_run
    /// # fn example(client: provod::Client) -> Result<(), provod::Error> {
    /// use provod::reconnect::Verdict;
    ///
    /// let ws = client
    ///     .reconnecting()
    ///     .policy(|lost| match (lost.code().map(u16::from), lost.status()) {
    ///         (Some(1000 | 4002), _) => Verdict::Again, // "the round is over", "server is full"
    ///         (_, Some(404)) => Verdict::Later(None),   // not deployed yet
    ///         _ => lost.verdict(),
    ///     })
    ///     .start()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn policy(
        mut self,
        policy: impl Fn(&Lost) -> Verdict + MaybeSend + MaybeSync + 'static,
    ) -> Self {
        self.policy = Some(Box::new(policy));
        self
    }

    /// When attempts are made.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// How much may be on its way, and what happens to what is more.
    pub fn outbox(mut self, limits: OutboxLimits) -> Self {
        self.outbox = limits;
        self
    }

    /// Sends what is [in doubt](super::Delivery::InDoubt) again on the next connection, before
    /// everything else: each message then arrives at least once, and perhaps twice, so the peer must
    /// be able to bear that. It also means that the peer is asked, by Ping, what it has read even
    /// where nobody holds a receipt. Default: off, each message arrives at most once.
    pub fn resend_in_doubt(mut self, resend: bool) -> Self {
        self.resend = resend;
        self
    }

    /// How long each call of a callback may take. Default: 30 s.
    pub fn callback_timeout(mut self, limit: Duration) -> Self {
        self.callback_timeout = limit;
        self
    }

    /// Starts to connect, in a task of its own. That the first attempt fails is no error: it is
    /// told as all others are.
    ///
    /// # Errors
    ///
    /// A setting is not valid, or there is no tokio runtime ([`is_usage`](Error::is_usage)).
    pub fn start(self) -> Result<Reconnecting, Error> {
        seam::check()?;
        self.backoff.check()?;
        self.outbox.check()?;
        if self.callback_timeout.is_zero() {
            let what = "a callback that may take no time at all cannot do anything";
            return Err(Error::new(Kind::Setting(what.to_owned())));
        }
        let dial: Dial = match self.dial {
            Source::Callback(make) => make(self.callback_timeout),
            Source::Client(client) => Box::new(move |_| {
                let client = client.clone();
                Box::pin(async move { client.connect().await.map_err(Lost::error) })
            }),
        };
        let core = Core::new(Outbox::new(self.outbox, self.resend));
        let plan = Plan {
            dial,
            hook: self.hook,
            policy: self.policy.unwrap_or_else(|| Box::new(Lost::verdict)),
            backoff: self.backoff,
            callback_timeout: self.callback_timeout,
        };
        seam::spawn(run(core.clone(), plan));
        Ok(Reconnecting::new(core))
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup")
            .field("backoff", &self.backoff)
            .field("outbox", &self.outbox)
            .field("resend_in_doubt", &self.resend)
            .finish_non_exhaustive()
    }
}
