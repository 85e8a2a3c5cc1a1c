//! From a name to a connected stream.

use std::io;
use std::net::{IpAddr, SocketAddr};
#[cfg(unix)]
use std::path::Path;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};
use url::Host;

use super::Timeouts;
use super::address::Address;
use crate::error::{Error, Kind, Step};

/// Connects to the first of the host's addresses that takes the connection.
pub(super) async fn tcp(
    address: &Address,
    timeouts: &Timeouts,
) -> Result<(TcpStream, SocketAddr), Error> {
    let found = resolve(address, timeouts.resolve).await?;
    let deadline = Instant::now() + timeouts.connect;
    let refused = |source| {
        Error::new(Kind::Connect {
            address: format!("{}:{}", address.host(), address.port()),
            source,
        })
    };
    let mut last = None;
    for socket in found {
        match timeout_at(deadline, TcpStream::connect(socket)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true).map_err(refused)?;
                return Ok((stream, socket));
            }
            Ok(Err(e)) => last = Some(e),
            Err(_) => return Err(Error::new(Kind::Timeout(Step::Connect, timeouts.connect))),
        }
    }
    let none = || io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address");
    Err(refused(last.unwrap_or_else(none)))
}

async fn resolve(address: &Address, limit: Duration) -> Result<Vec<SocketAddr>, Error> {
    let name = match address.host() {
        Host::Ipv4(ip) => return Ok(vec![(IpAddr::from(*ip), address.port()).into()]),
        Host::Ipv6(ip) => return Ok(vec![(IpAddr::from(*ip), address.port()).into()]),
        Host::Domain(name) => name,
    };
    let failed = |source| Error::new(Kind::Resolve { host: name.clone(), source });
    match timeout(limit, lookup_host((name.as_str(), address.port()))).await {
        Ok(Ok(found)) => Ok(found.collect()),
        Ok(Err(e)) => Err(failed(e)),
        Err(_) => Err(Error::new(Kind::Timeout(Step::Resolve, limit))),
    }
}

#[cfg(unix)]
pub(super) async fn unix(path: &Path, limit: Duration) -> Result<tokio::net::UnixStream, Error> {
    match timeout(limit, tokio::net::UnixStream::connect(path)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(source)) => {
            let address = format!("unix:{}", path.display());
            Err(Error::new(Kind::Connect { address, source }))
        }
        Err(_) => Err(Error::new(Kind::Timeout(Step::Connect, limit))),
    }
}
