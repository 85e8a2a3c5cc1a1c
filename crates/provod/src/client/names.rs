//! From a host to its addresses.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use tokio::time::timeout;
use url::Host;

use crate::error::{Error, Kind, Step};
use crate::runtime::off_the_runtime;

/// One of the two families of addresses; see [`Client::ip_version`](crate::Client::ip_version).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IpVersion {
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
}

impl IpVersion {
    fn fits(self, ip: IpAddr) -> bool {
        ip.is_ipv4() == (self == Self::V4)
    }

    fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// What is known about names without asking anybody, and which addresses count.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    pub(super) known: Vec<(String, u16, Vec<IpAddr>)>,
    pub(super) version: Option<IpVersion>,
}

impl Names {
    /// The addresses of the host, in the system's order. `getaddrinfo` gives those of both families
    /// at once or not at all, so one family cannot be tried while the other is still asked for
    /// (RFC 8305 section 3).
    pub(super) async fn resolve(
        &self,
        host: &Host,
        port: u16,
        limit: Duration,
    ) -> Result<Vec<SocketAddr>, Error> {
        let found = match (self.known(host, port), host) {
            (Some(known), _) => known.iter().map(|ip| (*ip, port).into()).collect(),
            (None, Host::Ipv4(ip)) => vec![(IpAddr::from(*ip), port).into()],
            (None, Host::Ipv6(ip)) => vec![(IpAddr::from(*ip), port).into()],
            (None, Host::Domain(name)) => ask(name, port, limit).await?,
        };
        let fits = |address: &SocketAddr| self.version.is_none_or(|v| v.fits(address.ip()));
        let fitting: Vec<_> = found.into_iter().filter(fits).collect();
        if fitting.is_empty() {
            let kind = self.version.map_or("", IpVersion::name);
            let source = io::Error::other(format!("it has no {kind} address").replace("  ", " "));
            return Err(Error::new(Kind::Resolve { host: host.to_string(), source }));
        }
        Ok(fitting)
    }

    /// What was set last for this host and port.
    fn known(&self, host: &Host, port: u16) -> Option<&[IpAddr]> {
        let host = host.to_string();
        let bare = |name: &str| name.trim_start_matches('[').trim_end_matches(']').to_owned();
        let is = |(name, p, _): &&(String, u16, Vec<IpAddr>)| {
            *p == port && bare(name).eq_ignore_ascii_case(&bare(&host))
        };
        self.known.iter().rev().find(is).map(|(_, _, addresses)| addresses.as_slice())
    }
}

/// Asks the system.
async fn ask(name: &str, port: u16, limit: Duration) -> Result<Vec<SocketAddr>, Error> {
    let owned = name.to_owned();
    let lookup =
        off_the_runtime(move || (owned.as_str(), port).to_socket_addrs().map(Vec::from_iter));
    match timeout(limit, lookup).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(source)) => Err(Error::new(Kind::Resolve { host: name.to_owned(), source })),
        Err(_) => {
            let place = name.to_owned();
            Err(Error::new(Kind::Timeout { step: Step::Resolve, limit, place }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    async fn resolved(names: &Names, host: &str, port: u16) -> Result<String, Error> {
        let host = Host::parse(host).unwrap();
        let found = names.resolve(&host, port, LONG).await?;
        Ok(found.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    }

    #[tokio::test]
    async fn what_is_known_is_asked_of_nobody() {
        let ips = ["192.0.2.7", "2001:db8::7"].map(|ip| ip.parse().unwrap());
        let mut names = Names::default();
        names.known.push(("Name.invalid".to_owned(), 80, ips.to_vec()));
        names.known.push(("192.0.2.1".to_owned(), 80, ips[..1].to_vec()));
        let both = "192.0.2.7:80 [2001:db8::7]:80";
        assert_eq!(resolved(&names, "name.invalid", 80).await.unwrap(), both);
        assert_eq!(resolved(&names, "192.0.2.1", 80).await.unwrap(), "192.0.2.7:80");
        assert_eq!(resolved(&names, "192.0.2.1", 81).await.unwrap(), "192.0.2.1:81");
        assert!(resolved(&names, &"x".repeat(64), 80).await.unwrap_err().is_resolve());
        names.version = Some(IpVersion::V6);
        assert_eq!(resolved(&names, "name.invalid", 80).await.unwrap(), "[2001:db8::7]:80");
        let e = resolved(&names, "192.0.2.1", 80).await.unwrap_err();
        assert!(e.is_resolve() && e.to_string().contains("no IPv6 address"), "{e}");
    }
}
