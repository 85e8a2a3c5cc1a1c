//! Which servers are reached without the proxy: the forms of `NO_PROXY`.

use std::net::IpAddr;

use url::Host;

/// A list of servers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bypass {
    all: bool,
    entries: Vec<(Servers, Option<u16>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Servers {
    /// This name and all below it.
    Name(String),
    /// Addresses whose first bits, so many, are these.
    Net(IpAddr, u8),
}

impl Bypass {
    pub(super) fn parse(list: &str) -> Self {
        let mut bypass = Self::default();
        for entry in list.split([',', ' ', '\t', '\n']).filter(|entry| !entry.is_empty()) {
            if entry == "*" {
                bypass.all = true;
            } else {
                bypass.entries.extend(servers(entry));
            }
        }
        bypass
    }

    /// Whether the server is in the list. A name is never resolved for it.
    pub(super) fn has(&self, host: &Host, port: u16) -> bool {
        let ip = match host {
            Host::Ipv4(ip) => Some(IpAddr::from(*ip)),
            Host::Ipv6(ip) => Some(IpAddr::from(*ip)),
            Host::Domain(_) => None,
        };
        self.all
            || self.entries.iter().any(|(servers, only)| {
                only.is_none_or(|only| only == port)
                    && match (servers, ip, host) {
                        (Servers::Name(name), None, Host::Domain(host)) => is_below(host, name),
                        (Servers::Net(net, bits), Some(ip), _) => is_in(ip, *net, *bits),
                        _ => false,
                    }
            })
    }
}

/// One entry of the list; `None` for what is none.
fn servers(entry: &str) -> Option<(Servers, Option<u16>)> {
    if let Some((net, bits)) = entry.split_once('/') {
        let net: IpAddr = bare(net).parse().ok()?;
        let bits = bits.parse().ok().filter(|bits| *bits <= width(net))?;
        return Some((Servers::Net(net, bits), None));
    }
    if let Ok(ip) = bare(entry).parse::<IpAddr>() {
        return Some((Servers::Net(ip, width(ip)), None));
    }
    let (host, port) = match entry.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (entry, None),
    };
    if let Ok(ip) = bare(host).parse::<IpAddr>() {
        return Some((Servers::Net(ip, width(ip)), port));
    }
    let name = host.strip_prefix('*').unwrap_or(host).trim_start_matches('.');
    // As the host of a URL is written: in small letters, and other scripts encoded.
    match Host::parse(name.trim_end_matches('.')) {
        Ok(Host::Domain(name)) => Some((Servers::Name(name), port)),
        _ => None,
    }
}

/// Without the brackets of an IPv6 address.
fn bare(text: &str) -> &str {
    text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text)
}

fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

fn is_below(host: &str, name: &str) -> bool {
    let host = host.trim_end_matches('.');
    let Some(front) = host.strip_suffix(name) else { return false };
    front.is_empty() || front.ends_with('.')
}

fn is_in(ip: IpAddr, net: IpAddr, bits: u8) -> bool {
    let same = |a: u128, b: u128, width: u32| {
        let rest = width.saturating_sub(u32::from(bits));
        a.checked_shr(rest) == b.checked_shr(rest)
    };
    match (ip, net) {
        (IpAddr::V4(ip), IpAddr::V4(net)) => same(u32::from(ip).into(), u32::from(net).into(), 32),
        (IpAddr::V6(ip), IpAddr::V6(net)) => same(ip.into(), net.into(), 128),
        _ => false,
    }
}
