//! From a name to a connected stream.

use std::future::{Future as _, poll_fn};
use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::Path;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use url::Host;

use super::Timeouts;
use super::names::Names;
use crate::error::{Error, Kind, Step};

/// How long an address is tried alone before the next one is tried beside it (RFC 8305 section 5).
const STAGGER: Duration = Duration::from_millis(250);
/// Addresses that an error names.
const NAMED: usize = 4;

/// Connects to the first of the host's addresses that takes the connection.
pub(super) async fn tcp(
    host: &Host,
    port: u16,
    names: &Names,
    timeouts: &Timeouts,
) -> Result<(TcpStream, SocketAddr), Error> {
    let found = names.resolve(host, port, timeouts.resolve).await?;
    first_of(mixed(found), format!("{host}:{port}"), timeouts.connect).await
}

/// The addresses with the two families in turn, so that one that does not work costs no more than
/// one attempt (RFC 8305 section 4). The first stays the first: the system has sorted them.
fn mixed(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let six = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == six);
    let mut mixed = Vec::with_capacity(first.len() + second.len());
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    loop {
        let before = mixed.len();
        mixed.extend(first.next());
        mixed.extend(second.next());
        if mixed.len() == before {
            return mixed;
        }
    }
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
    fn rfc8305_4_families_take_turns_and_the_first_stays_the_first() {
        let addresses = |text: &str| -> Vec<SocketAddr> {
            text.split(' ').filter(|t| !t.is_empty()).map(|t| t.parse().unwrap()).collect()
        };
        for (found, expected) in [
            ("", ""),
            ("1.1.1.1:1 1.1.1.2:1", "1.1.1.1:1 1.1.1.2:1"),
            (
                "[::1]:1 [::2]:1 [::3]:1 1.1.1.1:1 1.1.1.2:1",
                "[::1]:1 1.1.1.1:1 [::2]:1 1.1.1.2:1 [::3]:1",
            ),
            ("1.1.1.1:1 [::1]:1 [::2]:1 [::3]:1", "1.1.1.1:1 [::1]:1 [::2]:1 [::3]:1"),
        ] {
            assert_eq!(mixed(addresses(found)), addresses(expected), "{found}");
        }
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
