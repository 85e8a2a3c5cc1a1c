//! Proxies in front of the server that say for whom they connect: the PROXY protocol, version 2.
//!
//! Version 1, a line of text, is not taken: every proxy that speaks it speaks version 2.

mod header;

use std::net::IpAddr;

pub(super) use header::{Named, read};

/// The addresses from which a header is believed.
pub(super) struct Proxies(Vec<Result<Network, String>>);

/// The addresses that begin with the same bits.
#[derive(Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    prefix: u32,
}

impl Proxies {
    pub(super) fn new<I: IntoIterator<Item: AsRef<str>>>(trusted: I) -> Self {
        let parse = |text: &str| Network::parse(text).ok_or_else(|| text.to_owned());
        Self(trusted.into_iter().map(|text| parse(text.as_ref().trim())).collect())
    }

    /// What stands where an address should.
    pub(super) fn check(&self) -> Result<(), &str> {
        if self.0.is_empty() {
            return Err("");
        }
        self.0.iter().try_for_each(|entry| entry.as_ref().map(drop).map_err(String::as_str))
    }

    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        // A socket that takes both families shows IPv4 as a part of IPv6.
        let address = address.to_canonical();
        self.0.iter().flatten().any(|network| network.contains(address))
    }
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            // `u32` would take a sign.
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok()?,
            Some(_) => return None,
            None => most,
        };
        if let IpAddr::V6(v6) = address
            && let Some(v4) = v6.to_ipv4_mapped()
            && (96..=most).contains(&prefix)
        {
            // Whom it means is known by his IPv4 address.
            return Some(Self { address: v4.into(), prefix: prefix - 96 });
        }
        (prefix <= most).then_some(Self { address, prefix })
    }

    fn contains(&self, address: IpAddr) -> bool {
        // The bits that need not be equal; all of them are a shift too far.
        match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                (a.to_bits() ^ b.to_bits()).checked_shr(32 - self.prefix).unwrap_or(0) == 0
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                (a.to_bits() ^ b.to_bits()).checked_shr(128 - self.prefix).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Network, Proxies};

    #[test]
    fn a_network_is_an_address_or_a_range() {
        for bad in
            ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.1/", "10.0.0.1/+8", "host", "*"]
        {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
        for (range, inside, outside) in [
            ("10.0.0.7", "10.0.0.7", "10.0.0.8"),
            ("10.0.0.0/8", "10.255.1.2", "11.0.0.1"),
            ("192.168.4.0/22", "192.168.7.255", "192.168.8.0"),
            ("0.0.0.0/0", "255.1.2.3", "::1"),
            ("::/0", "2001:db8::1", "10.0.0.1"),
            ("fd00::/8", "fd12::1", "fe80::1"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:11.1.2.3"),
            ("::ffff:10.0.0.7", "10.0.0.7", "10.0.0.8"),
            ("::ffff:10.0.0.0/104", "::ffff:10.1.2.3", "11.1.2.3"),
        ] {
            let proxies = Proxies::new([range]);
            assert_eq!(proxies.check(), Ok(()));
            assert!(proxies.trusts(inside.parse().expect("an address")), "{range} {inside}");
            assert!(!proxies.trusts(outside.parse().expect("an address")), "{range} {outside}");
        }
        assert_eq!(Proxies::new(["10.0.0.1", " lb "]).check(), Err("lb"));
        assert_eq!(Proxies::new([""; 0]).check(), Err(""));
    }
}
