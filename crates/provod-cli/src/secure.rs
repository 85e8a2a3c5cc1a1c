//! The options of the servers that say who is at the other end: TLS, and proxies.

mod own;

use std::error::Error;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use provod::Server;
use provod::tls::ServerTls;

use own::Own;

/// Where a certificate would be named: one is made.
const AUTO: &str = "auto";

/// TLS and proxies.
#[derive(Debug, Args)]
pub(crate) struct Secure {
    /// Speak TLS, with the certificate in this PEM file, and behind it those that lead to its
    /// authority; or auto: a certificate is made that nobody trusts, for trials on this machine.
    /// Files that change are read again
    #[arg(long, value_name = "FILE", help_heading = "TLS and proxies")]
    cert: Option<PathBuf>,

    /// The private key of the certificate, in PEM [default: it is in the file of the certificate]
    #[arg(long, value_name = "FILE", requires = "cert", help_heading = "TLS and proxies")]
    key: Option<PathBuf>,

    /// Take only clients that show a certificate of an authority in this PEM file
    #[arg(long, value_name = "FILE", requires = "cert", help_heading = "TLS and proxies")]
    client_ca: Option<PathBuf>,

    /// Append the secrets of TLS to this file, for Wireshark: whoever can read it can read all
    /// traffic
    #[arg(long, value_name = "FILE", requires = "cert", help_heading = "TLS and proxies")]
    keylog: Option<PathBuf>,

    /// Expect the header of PROXY protocol version 2 from these addresses, such as 10.0.0.7 or
    /// 10.0.0.0/8, and nobody else: it says who connects; may be given several times
    #[arg(long, value_name = "CIDR", value_parser = network,
          help_heading = "TLS and proxies")]
    proxy_protocol: Vec<String>,
}

/// What a server is told, and what people are.
pub(crate) struct Prepared {
    tls: Option<ServerTls>,
    own: Option<Own>,
    proxies: Vec<String>,
}

impl Secure {
    /// Whether clients must speak TLS to a TCP address.
    pub(crate) fn is_on(&self) -> bool {
        self.cert.is_some()
    }

    /// Reads what must be read, for a server that listens on `address`.
    pub(crate) fn prepare(&self, address: &str) -> Result<Prepared, Box<dyn Error>> {
        // Both would be left out without a word.
        if address.starts_with("unix:") && (self.is_on() || !self.proxy_protocol.is_empty()) {
            let what = if self.is_on() { "--cert" } else { "--proxy-protocol" };
            return Err(format!("{what} is for TCP addresses: a Unix socket stays plain").into());
        }
        let mut prepared = Prepared { tls: None, own: None, proxies: self.proxy_protocol.clone() };
        let Some(cert) = &self.cert else { return Ok(prepared) };
        let mut tls = if cert.as_os_str() == AUTO {
            if self.key.is_some() {
                return Err("--key does not go with --cert auto, which makes a key, too".into());
            }
            let own = Own::new(address)?;
            let tls = ServerTls::from_pem(own.certificate.as_bytes(), own.key.as_bytes());
            prepared.own = Some(own);
            tls
        } else {
            ServerTls::from_pem_files(cert, self.key.as_ref().unwrap_or(cert))
        };
        if let Some(path) = &self.client_ca {
            tls = tls.require_client_certificate(read(path)?);
        }
        if let Some(path) = &self.keylog {
            tls = tls.key_log(path);
        }
        prepared.tls = Some(tls);
        Ok(prepared)
    }
}

impl Prepared {
    pub(crate) fn apply<S: Send + 'static>(&self, mut server: Server<S>) -> Server<S> {
        if let Some(tls) = &self.tls {
            server = server.tls(tls.clone());
        }
        if !self.proxies.is_empty() {
            server = server.proxy_protocol(&self.proxies);
        }
        server
    }

    /// What must be said of a certificate that was made.
    pub(crate) fn notice(&self) -> Option<String> {
        self.own.as_ref().map(Own::notice)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))
}

/// Whether these are digits, without a sign.
fn is_number(text: &str, most: u8) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u8>().is_ok_and(|n| n <= most)
}

fn network(text: &str) -> Result<String, String> {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
    let is_known = address.parse::<IpAddr>().is_ok_and(|address| {
        let most = if address.is_ipv4() { 32 } else { 128 };
        prefix.is_none_or(|prefix| is_number(prefix, most))
    });
    if is_known {
        return Ok(text.to_owned());
    }
    Err("expected an address such as 10.0.0.7, or a range such as 10.0.0.0/8".to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{Secure, network};

    #[test]
    fn what_does_not_hold_for_a_unix_socket_is_not_passed_over() {
        let none = || Secure {
            cert: None,
            key: None,
            client_ca: None,
            keylog: None,
            proxy_protocol: Vec::new(),
        };
        let tls = Secure { cert: Some(PathBuf::from("auto")), ..none() };
        let proxied = Secure { proxy_protocol: vec!["10.0.0.7".to_owned()], ..none() };
        for secure in [&tls, &proxied] {
            assert!(secure.prepare("unix:/run/provod.sock").is_err());
            assert!(secure.prepare("127.0.0.1:0").is_ok());
        }
        assert!(none().prepare("unix:/run/provod.sock").is_ok());
    }

    #[test]
    fn a_proxy_is_an_address_or_a_range() {
        for good in ["10.0.0.7", "10.0.0.0/8", "0.0.0.0/0", "::1", "fd00::/8"] {
            assert_eq!(network(good).as_deref(), Ok(good));
        }
        for bad in
            ["", "proxy.example", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "fd00::/129", "*"]
        {
            assert!(network(bad).is_err(), "{bad}");
        }
    }
}
