//! What a server has done so far, in numbers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use provod_proto::{CloseCode, Closed};

/// The running counters of a server: see [`Server::counters`](crate::Server::counters).
///
/// ```no_run
/// # async fn example() -> Result<(), provod::Error> {
/// let server = provod::Server::new().listen("127.0.0.1:8080");
/// let counters = server.counters();
/// tokio::spawn(async move {
///     loop {
///         tokio::time::sleep(std::time::Duration::from_secs(60)).await;
///         let stats = counters.read();
///         println!("{} open, {} messages in", stats.open, stats.messages_in);
///         println!("refused: {:?}, ended: {:?}", stats.refusals, stats.close_codes);
///     }
/// });
/// server.serve(|_ws| async { Ok(()) }).await
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Counters {
    pub(crate) accepted: Count,
    pub(crate) accept_errors: Count,
    pub(crate) turned_away: Count,
    pub(crate) opened: Count,
    pub(crate) opened_http2: Count,
    pub(crate) ended: Count,
    pub(crate) messages_in: Count,
    pub(crate) messages_out: Count,
    pub(crate) bytes_in: Count,
    pub(crate) bytes_out: Count,
    pub(crate) dropped: Count,
    pub(crate) shed: Count,
    pub(crate) panics: Count,
    pub(crate) plain: Count,
    pub(crate) health_checks: Count,
    refusals: Mutex<BTreeMap<&'static str, u64>>,
    close_codes: Mutex<BTreeMap<u16, u64>>,
    close_codes_sent: Mutex<BTreeMap<u16, u64>>,
}

/// One counter.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, n: u64) {
        if n > 0 {
            self.0.fetch_add(n, Relaxed);
        }
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

fn bump<K: Ord>(map: &Mutex<BTreeMap<K, u64>>, key: K) {
    *map.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default() += 1;
}

fn copy<K: Ord + Clone>(map: &Mutex<BTreeMap<K, u64>>) -> BTreeMap<K, u64> {
    map.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

impl Counters {
    pub(crate) fn refused(&self, reason: &'static str) {
        bump(&self.refusals, reason);
    }

    pub(crate) fn closed(&self, outcome: &Closed) {
        self.ended.add(1);
        bump(&self.close_codes, outcome.code().as_u16());
        if let Some(sent) = &outcome.sent {
            let code = sent.as_ref().map_or(CloseCode::NO_STATUS, |frame| frame.code);
            bump(&self.close_codes_sent, code.as_u16());
        }
    }

    /// Reads all counters.
    #[must_use]
    pub fn read(&self) -> Stats {
        // `ended` first: a connection that ends in between must not make `open` negative.
        let ended = self.ended.get();
        let opened = self.opened.get();
        Stats {
            accepted: self.accepted.get(),
            accept_errors: self.accept_errors.get(),
            turned_away: self.turned_away.get(),
            opened,
            opened_http2: self.opened_http2.get(),
            open: opened.saturating_sub(ended),
            messages_in: self.messages_in.get(),
            messages_out: self.messages_out.get(),
            bytes_in: self.bytes_in.get(),
            bytes_out: self.bytes_out.get(),
            messages_dropped: self.dropped.get(),
            shed: self.shed.get(),
            handler_panics: self.panics.get(),
            plain_requests: self.plain.get(),
            health_checks: self.health_checks.get(),
            refusals: copy(&self.refusals),
            close_codes: copy(&self.close_codes),
            close_codes_sent: copy(&self.close_codes_sent),
        }
    }
}

/// What a server has done since it was started, as read at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// TCP or Unix connections taken.
    pub accepted: u64,
    /// Connections that the system could not give, as when descriptors ran out.
    pub accept_errors: u64,
    /// Connections answered 503 because the server was full or draining.
    pub turned_away: u64,
    /// WebSockets opened.
    pub opened: u64,
    /// Those of them that were opened over HTTP/2.
    pub opened_http2: u64,
    /// WebSockets open now.
    pub open: u64,
    /// Data messages received.
    pub messages_in: u64,
    /// Data messages queued for sending.
    pub messages_out: u64,
    /// Bytes received on open WebSockets, framing included.
    pub bytes_in: u64,
    /// Bytes sent on open WebSockets, framing included.
    pub bytes_out: u64,
    /// Messages that were received and never taken, or left out because a send queue was full.
    pub messages_dropped: u64,
    /// WebSockets that had to give way because the [`MemoryBudget`](crate::config::MemoryBudget)
    /// was used up.
    pub shed: u64,
    /// Handlers and request callbacks that panicked, and connections that a worker dropped because
    /// something else did, as a waker or a log.
    pub handler_panics: u64,
    /// Requests of plain HTTP that were answered.
    pub plain_requests: u64,
    /// Those of them that asked for the health.
    pub health_checks: u64,
    /// Handshakes refused, by reason.
    pub refusals: BTreeMap<&'static str, u64>,
    /// WebSockets that ended, by the peer's close code: 1005 for a Close without a code, 1006 for
    /// none.
    pub close_codes: BTreeMap<u16, u64>,
    /// The same by the code that this server sent: 1005 for a Close without one.
    pub close_codes_sent: BTreeMap<u16, u64>,
}
