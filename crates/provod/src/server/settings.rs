//! What is set about a server's connections, and whether it can be.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use provod_proto as proto;
use provod_proto::handshake::{DeflateConfig, HeadLimits, OriginPolicy};

use super::proxies::Proxies;
use crate::budget::{MemoryBudget, Reservation};
use crate::config::Config;
use crate::error::{Error, Kind};
#[cfg(feature = "tls")]
use crate::tls::ServerTls;

/// What a TLS handshake holds at most while it is usual: a record in the making, the messages so
/// far, keys.
#[cfg(feature = "tls")]
const TLS_HANDSHAKE: usize = 24 << 10;

/// What holds for each opening handshake and each connection.
pub(super) struct Settings {
    pub(super) config: Arc<Config>,
    /// Made from `config` when the first connection needs it: by then a wire trace is on or off.
    pub(super) core_config: OnceLock<Arc<proto::Config>>,
    pub(super) origin: OriginPolicy,
    pub(super) subprotocols: Vec<String>,
    pub(super) deflate: Option<DeflateConfig>,
    pub(super) head: HeadLimits,
    pub(super) handshake_timeout: Duration,
    pub(super) health: Option<String>,
    /// Streams of a connection of HTTP/2; 0 where it is not spoken.
    #[cfg(feature = "http2")]
    pub(super) http2_streams: usize,
    pub(super) budget: Option<MemoryBudget>,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<ServerTls>,
    /// The proxies that say for whom they connect.
    pub(super) proxies: Option<Proxies>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            config: Arc::default(),
            core_config: OnceLock::new(),
            origin: OriginPolicy::default(),
            subprotocols: Vec::new(),
            deflate: None,
            head: HeadLimits::default(),
            handshake_timeout: Duration::from_secs(10),
            health: None,
            #[cfg(feature = "http2")]
            http2_streams: 100,
            budget: None,
            #[cfg(feature = "tls")]
            tls: None,
            proxies: None,
        }
    }
}

impl Settings {
    pub(super) fn core_config(&self) -> Arc<proto::Config> {
        let make = || {
            let mut core = self.config.core();
            if self.budget.is_some() {
                // What a header claims must not count as if it had come.
                core.advance = 0;
            } else {
                core.buffers = Some(Arc::default());
            }
            Arc::new(core)
        };
        self.core_config.get_or_init(make).clone()
    }

    /// What would otherwise show in a failing handshake, or never.
    pub(super) fn check(&self) -> Result<(), Error> {
        let setting = |what: String| Err(Error::new(Kind::Setting(what)));
        if let Some(name) = self.subprotocols.iter().find(|name| !is_token(name)) {
            return setting(format!("{name:?} is no subprotocol: it must be a token"));
        }
        if let Some(Err(text)) = self.proxies.as_ref().map(Proxies::check) {
            return setting(format!(
                "{text:?} is no address of a proxy: expected one such as 10.0.0.7, or a range such \
                 as 10.0.0.0/8"
            ));
        }
        match &self.health {
            Some(path) if !path.starts_with('/') => {
                setting(format!("the health path {path:?} does not begin with a slash"))
            }
            _ => Ok(()),
        }
    }

    #[cfg(any(feature = "http2", feature = "tls"))]
    pub(super) fn speaks_http2(&self) -> bool {
        #[cfg(feature = "http2")]
        return self.http2_streams > 0;
        #[cfg(not(feature = "http2"))]
        false
    }

    /// Memory of a handshake while it is not finished.
    pub(super) fn handshake_memory(&self) -> usize {
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            return self.head.max_bytes + TLS_HANDSHAKE;
        }
        self.head.max_bytes
    }

    /// Handshakes that a quarter of the budget is enough for.
    pub(super) fn most_handshakes(&self) -> usize {
        let budget = self.budget.as_ref();
        budget.map_or(usize::MAX, |b| b.limit() / 4 / self.handshake_memory().max(1))
    }

    /// Counts a handshake that begins; `Err` when the budget is used up.
    pub(super) fn reserve(&self) -> Result<Option<Reservation>, ()> {
        let Some(budget) = &self.budget else { return Ok(None) };
        budget.reserve(self.handshake_memory()).map(Some).ok_or(())
    }
}

/// Whether `name` is a token (RFC 9110 section 5.6.2), as a subprotocol must be (RFC 6455 section
/// 4.1).
fn is_token(name: &str) -> bool {
    let mark = |b| b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || mark(b))
}
