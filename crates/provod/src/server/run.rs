//! A server that runs: its workers, its drain, its end.

use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use provod_proto::CloseCode;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::accept::accept;
use super::admission::Admission;
use super::arrival::Turns;
#[cfg(unix)]
use super::listen::SocketFile;
use super::listen::{Address, Bound};
use super::{Core, Phase};
use crate::counters::{Counters, Stats};
use crate::driver::Shared;
use crate::error::{Error, Kind};
use crate::runtime::deadline;
#[cfg(unix)]
use crate::worker::Home;

/// The longest pause between two closes of a drain.
const MOST_BETWEEN: Duration = Duration::from_millis(10);

/// How a server ends: it says so where it is asked for its health, stops accepting, closes all
/// connections, and gives up those that do not end.
///
/// ```
/// use std::time::Duration;
/// use provod::server::Drain;
///
/// let mut drain = Drain::default();
/// drain.notice = Duration::from_secs(5); // a load balancer sees 503 first
/// drain.spread = Duration::from_secs(10); // clients do not come back all at once
/// drain.deadline = Duration::from_secs(15);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drain {
    /// For so long the [health answer](crate::Server::health) is 503 while everything else goes on,
    /// new connections too: time for a load balancer to notice, and to send people elsewhere.
    /// Default: 0.
    pub notice: Duration,
    /// What the connections are closed with. Default: 1001, Going Away.
    pub code: CloseCode,
    /// The closes are spread over at most this time, so that clients do not come back all at once;
    /// few connections take less, 10 ms each. Default: 0.
    pub spread: Duration,
    /// What is left so long after the notice is dropped. Default: 10 s.
    pub deadline: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            notice: Duration::ZERO,
            code: CloseCode::GOING_AWAY,
            spread: Duration::ZERO,
            deadline: Duration::from_secs(10),
        }
    }
}

/// A running server. Dropping it stops the server at once.
#[must_use = "dropping it stops the server"]
pub struct Running {
    addresses: Vec<Address>,
    /// Files that are removed when the server stops.
    #[cfg(unix)]
    sockets: Vec<SocketFile>,
    counters: Arc<Counters>,
    admission: Arc<Admission>,
    phase: watch::Sender<Phase>,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// The workers that plain sockets may be given to.
#[cfg(unix)]
pub(super) type Homes<S> = Arc<[Arc<Home<S>>]>;

/// Starts `n` of them in the runtime that this is called in, where the application has such.
#[cfg(unix)]
fn homes<S>(core: &Core<S>, n: usize) -> std::io::Result<Homes<S>> {
    let mut homes = Vec::new();
    for _ in 0..n {
        let buffers = core.settings.core_config().buffers.clone();
        homes.extend(core.application.start_worker(buffers)?.map(Arc::new));
    }
    Ok(homes.into())
}

pub(super) async fn start<S: Send + 'static>(
    core: Arc<Core<S>>,
    addresses: &[String],
    workers: usize,
) -> Result<Running, Error> {
    if addresses.is_empty() {
        let what = "the server has no address to listen on: call listen()";
        return Err(Error::new(Kind::Setting(what.into())));
    }
    let mut bound = Vec::new();
    let mut running = Running {
        addresses: Vec::new(),
        #[cfg(unix)]
        sockets: Vec::new(),
        counters: core.counters.clone(),
        admission: core.admission.clone(),
        phase: core.phase.clone(),
    };
    for address in addresses {
        let (listener, address) = Bound::bind(address).await?;
        #[cfg(unix)]
        if let Address::Unix(path) = &address {
            running.sockets.extend(SocketFile::of(path));
        }
        running.addresses.push(address);
        bound.push(listener);
    }
    let start = |e| Error::new(Kind::Start(e));
    if workers == 0 {
        let threads = tokio::runtime::Handle::current().metrics().num_workers();
        let turns = Turns::new(threads);
        #[cfg(unix)]
        let homes = homes(&core, threads).map_err(start)?;
        for listener in bound {
            #[cfg(unix)]
            let to_workers = !homes.is_empty();
            #[cfg(not(unix))]
            let to_workers = false;
            let listener = listener.into_listener(to_workers).map_err(start)?;
            tokio::spawn(accept(
                core.clone(),
                core.admission.listening(),
                listener,
                turns.clone(),
                #[cfg(unix)]
                homes.clone(),
            ));
        }
        return Ok(running);
    }
    for n in 0..workers {
        let mine: Result<Vec<_>, _> = bound.iter().map(Bound::try_clone).collect();
        let mine = mine.map_err(start)?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(start)?;
        let mine: Vec<_> = mine.into_iter().map(|l| (core.admission.listening(), l)).collect();
        let core = core.clone();
        let run = move || {
            runtime.block_on(async move {
                #[cfg(unix)]
                let homes = match homes(&core, 1) {
                    Ok(homes) => homes,
                    Err(e) => return tracing::error!(error = %e, "a worker cannot start"),
                };
                #[cfg(unix)]
                let to_workers = !homes.is_empty();
                #[cfg(not(unix))]
                let to_workers = false;
                let turns = Turns::new(1);
                for (listening, listener) in mine {
                    match listener.into_listener(to_workers) {
                        Ok(listener) => {
                            drop(tokio::spawn(accept(
                                core.clone(),
                                listening,
                                listener,
                                turns.clone(),
                                #[cfg(unix)]
                                homes.clone(),
                            )));
                        }
                        Err(e) => tracing::error!(error = %e, "a worker cannot listen"),
                    }
                }
                #[cfg(unix)]
                drop(homes);
                let mut phase = core.phase.subscribe();
                let _ = phase.wait_for(|p| *p == Phase::Stopped).await;
                core.admission.empty().await;
            });
        };
        thread::Builder::new().name(format!("provod-{n}")).spawn(run).map_err(start)?;
    }
    Ok(running)
}

impl Running {
    /// Where it listens, in the order in which the addresses were added; a port 0 is now the real
    /// one.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// What the server has done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.counters.read()
    }

    /// Waits until the server has ended, which it does only when another task calls
    /// [`drain`](Self::drain).
    ///
    /// Cancel safe.
    pub async fn wait(&self) {
        let mut phase = self.phase.subscribe();
        // The sender lives in `self`, so this ends with `Stopped` and nothing else.
        let _ = phase.wait_for(|p| *p == Phase::Stopped).await;
    }

    /// After the notice, stops accepting, closes all connections and waits until they have ended,
    /// or drops them at the deadline. Returns how many had to be dropped.
    ///
    /// ```no_run
    /// # async fn example(running: provod::server::Running) -> std::io::Result<()> {
    /// use std::time::Duration;
    /// use provod::CloseCode;
    /// use provod::server::Drain;
    ///
    /// tokio::signal::ctrl_c().await?;
    /// let mut drain = Drain::default();
    /// drain.code = CloseCode::SERVICE_RESTART;
    /// drain.spread = Duration::from_secs(5);
    /// println!("{} connections had to be dropped", running.drain(drain).await);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Dropped during the notice, the server goes on, with a health answer of 503. Dropped later,
    /// it accepts nothing more, and the connections that were not yet closed stay open until
    /// `drain` is called again or the `Running` is dropped.
    pub async fn drain(&self, drain: Drain) -> usize {
        let left = self::drain(&self.admission, &self.phase, drain).await;
        self.remove_sockets();
        left
    }

    /// Files of sockets go when nobody listens on them any more.
    fn remove_sockets(&self) {
        #[cfg(unix)]
        self.sockets.iter().for_each(SocketFile::remove);
    }
}

/// Brings all that was admitted to its end; returns how many connections had to be dropped.
pub(super) async fn drain(
    admission: &Admission,
    phase: &watch::Sender<Phase>,
    drain: Drain,
) -> usize {
    if !drain.notice.is_zero() && phase.borrow().is_accepting() {
        phase.send_replace(Phase::Noticed);
        sleep_until(deadline(drain.notice)).await;
    }
    let begun = Instant::now();
    let deadline = deadline(drain.deadline);
    // Another call may have come to its end meanwhile.
    phase.send_if_modified(|phase| {
        let goes_on = *phase != Phase::Stopped;
        if goes_on {
            *phase = Phase::Draining(drain.code);
        }
        goes_on
    });
    admission.evict_handshakes();
    let open = admission.open();
    let spread = drain.spread.min(drain.deadline);
    let step = spread / u32::try_from(open.len().max(1)).unwrap_or(u32::MAX);
    let step = step.min(MOST_BETWEEN);
    let mut at = begun;
    for shared in open {
        if !step.is_zero() {
            sleep_until(at).await;
            at += step;
        }
        shared.close(provod_proto::CloseFrame::new(drain.code, "").ok());
    }
    let _ = timeout_at(deadline, admission.empty()).await;
    stop(admission, phase)
}

/// Drops all that is left; returns how many connections that were.
fn stop(admission: &Admission, phase: &watch::Sender<Phase>) -> usize {
    phase.send_replace(Phase::Stopped);
    admission.evict_handshakes();
    let open = admission.open();
    open.iter().for_each(|shared: &Arc<Shared>| shared.abort());
    open.len()
}

impl Drop for Running {
    fn drop(&mut self) {
        if *self.phase.borrow() != Phase::Stopped {
            stop(&self.admission, &self.phase);
            self.remove_sockets();
        }
    }
}
