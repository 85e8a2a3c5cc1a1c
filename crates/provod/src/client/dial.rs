//! From a name to a connected stream.

use std::future::{Future as _, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
#[cfg(unix)]
use std::path::Path;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use url::Host;

use super::Timeouts;
use super::address::Address;
use crate::error::{Error, Kind, Step};

/// How long an address is tried alone before the next one is tried beside it (RFC 8305 section 5).
const STAGGER: Duration = Duration::from_millis(250);
/// Names that are resolved at the same time; more wait.
const MOST_LOOKUPS: usize = 64;
/// Addresses that an error names.
const NAMED: usize = 4;

/// Connects to the first of the host's addresses that takes the connection.
pub(super) async fn tcp(
    address: &Address,
    timeouts: &Timeouts,
) -> Result<(TcpStream, SocketAddr), Error> {
    let found = resolve(address, timeouts.resolve).await?;
    let place = format!("{}:{}", address.host(), address.port());
    first_of(found, place, timeouts.connect).await
}

async fn resolve(address: &Address, limit: Duration) -> Result<Vec<SocketAddr>, Error> {
    let name = match address.host() {
        Host::Ipv4(ip) => return Ok(vec![(IpAddr::from(*ip), address.port()).into()]),
        Host::Ipv6(ip) => return Ok(vec![(IpAddr::from(*ip), address.port()).into()]),
        Host::Domain(name) => name,
    };
    let failed = |source| Error::new(Kind::Resolve { host: name.clone(), source });
    let host = (name.clone(), address.port());
    let lookup =
        off_the_runtime(move || (host.0.as_str(), host.1).to_socket_addrs().map(Vec::from_iter));
    match timeout(limit, lookup).await {
        Ok(Ok(found)) if found.is_empty() => Err(failed(io::Error::other("it has no address"))),
        Ok(Ok(found)) => Ok(found),
        Ok(Err(e)) => Err(failed(e)),
        Err(_) => {
            Err(Error::new(Kind::Timeout { step: Step::Resolve, limit, place: name.clone() }))
        }
    }
}

/// Runs what blocks on a thread of its own. Tokio's threads for that would hold up the end of the
/// runtime until the system's resolver gives up, long after the caller has.
async fn off_the_runtime<T: Send + 'static>(
    block: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    static THREADS: Semaphore = Semaphore::const_new(MOST_LOOKUPS);
    let gone = || io::Error::other("the resolver gave no answer");
    let permit = THREADS.acquire().await.map_err(|_| gone())?;
    let (tell, told) = oneshot::channel();
    std::thread::Builder::new().name("provod-resolve".to_owned()).spawn(move || {
        let _permit = permit;
        // Whoever asked may have given up.
        let _ = tell.send(block());
    })?;
    told.await.unwrap_or_else(|_| Err(gone()))
}

/// Connects to one of `addresses`, in their order. One that does not answer holds the others up
/// for a moment only; one that refuses not at all.
async fn first_of(
    addresses: Vec<SocketAddr>,
    place: String,
    limit: Duration,
) -> Result<(TcpStream, SocketAddr), Error> {
    let mut failures = Vec::new();
    let all = addresses.clone();
    let won = timeout(limit, race(addresses, &mut failures)).await;
    match won {
        Ok(Some((stream, address))) => {
            // Small messages would wait for the acknowledgment of earlier ones. A socket that
            // does not know the option works all the same.
            let _ = stream.set_nodelay(true);
            Ok((stream, address))
        }
        Ok(None) => Err(nobody(place, failures)),
        Err(_) => {
            let names = all.iter().map(SocketAddr::to_string).filter(|a| *a != place);
            let names: Vec<_> = names.take(NAMED).collect();
            let place =
                if names.is_empty() { place } else { format!("{place} ({})", names.join(", ")) };
            Err(Error::new(Kind::Timeout { step: Step::Connect, limit, place }))
        }
    }
}

/// The error for addresses of which none took the connection: the place, and each one's reason
/// where there are several.
fn nobody(place: String, mut failures: Vec<(SocketAddr, io::Error)>) -> Error {
    let mut address = place;
    if failures.len() > 1 {
        let reason = |(address, e): &(SocketAddr, io::Error)| format!("{address}: {e}");
        let reasons: Vec<_> = failures.iter().take(NAMED).map(reason).collect();
        address = format!("{address} ({})", reasons.join("; "));
    } else if let [(one, _)] = &failures[..]
        && one.to_string() != address
    {
        address = format!("{address} ({one})");
    }
    let none = || io::Error::other("there is no address to connect to");
    let source = failures.pop().map_or_else(none, |(_, e)| e);
    Error::new(Kind::Connect { address, source })
}

type Attempt = Pin<Box<dyn Future<Output = (SocketAddr, io::Result<TcpStream>)> + Send>>;

/// The first connection that comes about; `None` when all have failed. Dropping it gives all
/// attempts up.
async fn race(
    addresses: Vec<SocketAddr>,
    failures: &mut Vec<(SocketAddr, io::Error)>,
) -> Option<(TcpStream, SocketAddr)> {
    let mut untried = addresses.into_iter();
    let mut attempts: Vec<Attempt> = Vec::new();
    let mut stagger = pin!(sleep_until(Instant::now()));
    poll_fn(|cx| {
        loop {
            let mut failed = false;
            let mut won = None;
            attempts.retain_mut(|attempt| match attempt.as_mut().poll(cx) {
                Poll::Pending => true,
                Poll::Ready((address, Ok(stream))) => {
                    won.get_or_insert((stream, address));
                    false
                }
                Poll::Ready((address, Err(e))) => {
                    failures.push((address, e));
                    failed = true;
                    false
                }
            });
            if won.is_some() {
                return Poll::Ready(won);
            }
            if !failed && !attempts.is_empty() && stagger.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let Some(address) = untried.next() else {
                return if attempts.is_empty() { Poll::Ready(None) } else { Poll::Pending };
            };
            attempts.push(Box::pin(async move { (address, TcpStream::connect(address).await) }));
            stagger.as_mut().reset(Instant::now() + STAGGER);
        }
    })
    .await
}

#[cfg(unix)]
pub(super) async fn unix(path: &Path, limit: Duration) -> Result<tokio::net::UnixStream, Error> {
    let place = || format!("unix:{}", path.display());
    match timeout(limit, tokio::net::UnixStream::connect(path)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(source)) => Err(Error::new(Kind::Connect { address: place(), source })),
        Err(_) => Err(Error::new(Kind::Timeout { step: Step::Connect, limit, place: place() })),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    async fn closed() -> SocketAddr {
        listener().await.1
    }

    fn soon<F: Future>(future: F) -> impl Future<Output = F::Output> {
        let patience = Duration::from_secs(30);
        async move { timeout(patience, future).await.expect("nothing happened") }
    }

    /// An address where connecting neither succeeds nor fails: a full backlog.
    #[cfg(target_os = "linux")]
    async fn dead() -> (TcpListener, Vec<TcpStream>, SocketAddr) {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut filling = Vec::new();
        let more = Duration::from_millis(300);
        while let Ok(stream) = timeout(more, TcpStream::connect(address)).await {
            filling.push(stream.unwrap());
        }
        (listener, filling, address)
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn rfc8305_5_a_dead_address_does_not_hold_up_the_others() {
        let (_dead, _filling, dead) = dead().await;
        let (_live, live) = listener().await;
        let all = vec![dead, closed().await, live];
        let (_, won) = soon(first_of(all, "example.com:80".to_owned(), LONG)).await.unwrap();
        assert_eq!(won, live);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_timeout_names_the_addresses() {
        let (_dead, _filling, dead) = dead().await;
        let short = Duration::from_millis(1);
        let tried = soon(first_of(vec![dead], "example.com:80".to_owned(), short)).await;
        let e = tried.unwrap_err();
        assert!(e.is_timeout() && !e.is_connect(), "{e}");
        let text = e.to_string();
        assert!(text.contains("example.com:80") && text.contains(&dead.to_string()), "{text}");
    }

    #[test]
    fn a_resolver_that_hangs_does_not_hold_up_the_end_of_the_runtime() {
        let (release, held) = std::sync::mpsc::channel::<()>();
        let (started, starts) = std::sync::mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.spawn(off_the_runtime(move || {
            started.send(()).unwrap();
            let _ = held.recv();
            Ok(())
        }));
        runtime.block_on(tokio::task::yield_now());
        let patience = Duration::from_secs(30);
        starts.recv_timeout(patience).expect("it starts");
        let (ended, ends) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            drop(runtime);
            ended.send(()).unwrap();
        });
        ends.recv_timeout(patience).expect("nobody waits for the resolver");
        drop(release);
    }

    #[tokio::test]
    async fn every_address_is_tried_and_named() {
        let (one, two) = (closed().await, closed().await);
        let (_live, live) = listener().await;
        let place = || "example.com:80".to_owned();
        let (_, won) = soon(first_of(vec![one, two, live], place(), LONG)).await.unwrap();
        assert_eq!(won, live);
        let e = soon(first_of(vec![one, two], place(), LONG)).await.unwrap_err();
        let text = e.to_string();
        assert!(e.is_connect() && text.contains("example.com:80"), "{text}");
        assert!(text.contains(&one.to_string()) && text.contains(&two.to_string()), "{text}");
        assert!(std::error::Error::source(&e).is_some());
    }
}
