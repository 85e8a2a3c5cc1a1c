//! A certificate that nobody has signed but its own key: for trials on one's own machine.

use std::net::{IpAddr, ToSocketAddrs as _};
use std::time::{Duration, SystemTime};

use provod::tls::rustls::SupportedCipherSuite;
use provod::tls::rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rcgen::{CertificateParams, DnType, KeyPair};

use crate::serve::own_address;

const DAY: Duration = Duration::from_secs(86_400);

/// A certificate and its key, in PEM, that live as long as the process.
pub(super) struct Own {
    pub(super) certificate: String,
    pub(super) key: String,
    names: Vec<String>,
    fingerprint: String,
}

impl Own {
    /// For a server that listens on `address`.
    pub(super) fn new(address: &str) -> Result<Self, rcgen::Error> {
        let names = names(address);
        let mut params = CertificateParams::new(names.clone())?;
        params.distinguished_name.push(DnType::CommonName, "provod --cert auto");
        // A clock that is a little behind should not mind.
        let now = SystemTime::now();
        params.not_before = (now - DAY).into();
        params.not_after = (now + 365 * DAY).into();
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        Ok(Self {
            fingerprint: fingerprint(certificate.der()),
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            names,
        })
    }

    pub(super) fn notice(&self) -> String {
        format!(
            "the certificate is self-signed, for trials: browsers warn of it; it names {}; SHA-256 \
             {}",
            self.names.join(", "),
            self.fingerprint
        )
    }
}

/// What people may write to reach a server on `address`: this machine's names, and the address.
fn names(address: &str) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let mut add = |name: String| {
        if !names.contains(&name) {
            names.push(name);
        }
    };
    if let Some(host) = host_name() {
        add(host);
    }
    if let Some((host, _)) = address.rsplit_once(':')
        && is_name(host)
        && host.parse::<IpAddr>().is_err()
    {
        add(host.to_owned());
    }
    for listened in address.to_socket_addrs().into_iter().flatten() {
        let ip = listened.ip();
        let ip = if ip.is_unspecified() { own_address(ip.is_ipv6()) } else { Some(ip) };
        ip.into_iter().for_each(|ip| add(ip.to_string()));
    }
    names
}

/// Whether `name` can stand in a certificate.
fn is_name(name: &str) -> bool {
    let named = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    !name.is_empty() && name.bytes().all(named)
}

fn host_name() -> Option<String> {
    #[cfg(unix)]
    {
        let name = rustix::system::uname().nodename().to_str().ok()?.to_owned();
        is_name(&name).then_some(name)
    }
    #[cfg(not(unix))]
    {
        std::env::var("COMPUTERNAME").ok().filter(|name| is_name(name))
    }
}

/// As browsers show it: bytes in hexadecimal, with colons.
fn fingerprint(certificate: &[u8]) -> String {
    let SupportedCipherSuite::Tls13(suite) = TLS13_AES_128_GCM_SHA256 else {
        unreachable!("its name says that it is of TLS 1.3")
    };
    let hash = suite.common.hash_provider.hash(certificate);
    let bytes: Vec<_> = hash.as_ref().iter().map(|b| format!("{b:02X}")).collect();
    bytes.join(":")
}

#[cfg(test)]
mod tests {
    use super::{Own, fingerprint, is_name};

    #[test]
    fn it_names_what_is_listened_on() {
        for (address, name) in [
            ("127.0.0.1:0", "localhost"),
            ("127.0.0.2:443", "127.0.0.2"),
            ("[::1]:443", "::1"),
            ("localhost:443", "localhost"),
            ("unix:/tmp/x.sock", "localhost"),
        ] {
            let own = Own::new(address).expect("a certificate");
            assert!(own.names.iter().any(|n| n == name), "{address}: {:?}", own.names);
            assert!(own.notice().contains(&format!(" {name}")), "{}", own.notice());
        }
        assert!(!is_name("") && !is_name("[::1]") && !is_name("unix:/x") && is_name("a.example"));
    }

    #[test]
    fn a_fingerprint_is_that_of_sha_256() {
        // FIPS 180-4, of nothing.
        assert!(fingerprint(b"").starts_with("E3:B0:C4:42:98:FC:1C:14:"));
        assert_eq!(fingerprint(b"").len(), 32 * 3 - 1);
    }
}
