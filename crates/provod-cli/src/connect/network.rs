//! The options of `provod connect` about the way to the server, with curl's names and forms.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use provod::Client;
use provod::client::{IpVersion, Proxy};
use provod::tls::ClientTls;
use url::Url;

use super::failure::Failure;

/// Redirects that are followed with `--location`.
const REDIRECTS: u32 = 10;

#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub(super) struct Network {
    /// Trust the CA certificates in this PEM file, and not the system's
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,

    /// Show the server this certificate of the client, PEM, with its chain; without --key the key
    /// is in the same file
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,

    /// The key of --cert, PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,

    /// Take any certificate of the server: whoever sits on the way can read and change everything.
    /// Does not hold for a proxy
    #[arg(short = 'k', long)]
    insecure: bool,

    /// Append the secrets of the TLS connection to this file, for a network sniffer
    #[arg(long, value_name = "FILE")]
    keylog: Option<PathBuf>,

    /// Log in with Basic authentication, instead of with what the URL says
    #[arg(short, long, value_name = "USER:PASSWORD")]
    user: Option<Secret>,

    /// Follow redirects, at most 10; user, password, headers and certificate do not go to another
    /// host, port or scheme
    #[arg(short = 'L', long)]
    location: bool,

    /// Go through this proxy: http://, https://, socks5:// or socks5h://, with USER:PASSWORD@ where
    /// it wants a login; '' for none [default: the environment's https_proxy, http_proxy or
    /// all_proxy]
    #[arg(short = 'x', long, value_name = "PROXY")]
    proxy: Option<Secret>,

    /// Go directly to these servers: example.com, HOST:PORT, 10.0.0.0/8, *; with commas between
    /// them [default: the environment's no_proxy]
    #[arg(long, value_name = "LIST")]
    noproxy: Option<String>,

    /// Take these addresses for HOST:PORT; may be given several times
    #[arg(long, value_name = "HOST:PORT:ADDRESS,...", value_parser = resolve)]
    resolve: Vec<Resolved>,

    /// Connect over IPv4 alone
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    ipv4: bool,

    /// Connect over IPv6 alone
    #[arg(short = '6', long)]
    ipv6: bool,
}

impl Network {
    /// The URL, with what --user says.
    pub(super) fn url(&self, url: String) -> Result<String, Failure> {
        let Some(Secret(login)) = &self.user else { return Ok(url) };
        let (user, password) = login
            .split_once(':')
            .ok_or_else(|| Failure::usage("--user takes USER:PASSWORD: there is no colon"))?;
        // What no user can be set for is no URL to connect to: the library says why.
        let Ok(mut parsed) = Url::parse(&url) else { return Ok(url) };
        // All else is encoded where it is set.
        let encoded = |text: &str| text.replace('%', "%25");
        let set = parsed.set_username(&encoded(user)).is_ok()
            && parsed.set_password(Some(&encoded(password))).is_ok();
        Ok(if set { parsed.into() } else { url })
    }

    /// The client with these options.
    pub(super) fn apply(&self, mut client: Client) -> Result<Client, Failure> {
        client = client.tls(self.tls()?);
        if let Some(proxy) = self.proxy()? {
            client = client.proxy(proxy);
        }
        if self.location {
            client = client.redirects(REDIRECTS);
        }
        for Resolved { host, port, addresses } in &self.resolve {
            client = client.resolve_to(host, *port, addresses.iter().copied());
        }
        Ok(match (self.ipv4, self.ipv6) {
            (true, _) => client.ip_version(IpVersion::V4),
            (_, true) => client.ip_version(IpVersion::V6),
            _ => client,
        })
    }

    fn tls(&self) -> Result<ClientTls, Failure> {
        let mut tls = ClientTls::default();
        if let Some(path) = &self.cacert {
            tls = tls.ca_pem(read(path)?);
        }
        if let Some(path) = &self.cert {
            tls = tls.client_certificate(read(path)?, read(self.key.as_ref().unwrap_or(path))?);
        }
        if self.insecure {
            tls = tls.danger_accept_any_certificate();
        }
        if let Some(path) = &self.keylog {
            tls = tls.key_log(path);
        }
        Ok(tls)
    }

    fn proxy(&self) -> Result<Option<Proxy>, Failure> {
        let proxy = match &self.proxy {
            Some(Secret(none)) if none.is_empty() => return Ok(None),
            Some(Secret(proxy)) => Proxy::parse(proxy)?,
            None => Proxy::from_env()?,
        };
        Ok(Some(match &self.noproxy {
            Some(list) => proxy.bypass(list),
            None => proxy,
        }))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|e| Failure::usage(format!("cannot read {}: {e}", path.display())))
}

/// What may hold a password, and is not shown. So it is not looked at before all options are
/// there: an error about one repeats it.
#[derive(Clone)]
struct Secret(String);

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The addresses of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Resolved {
    host: String,
    port: u16,
    addresses: Vec<IpAddr>,
}

fn resolve(text: &str) -> Result<Resolved, String> {
    let expected = || "expected HOST:PORT:ADDRESS, such as example.com:443:127.0.0.1".to_owned();
    // A host that is an IPv6 address has brackets.
    let start = if text.starts_with('[') { text.find(']').ok_or_else(expected)? } else { 0 };
    let (host, rest) = text.split_at(start + text[start..].find(':').ok_or_else(expected)?);
    let (port, addresses) = rest[1..].split_once(':').ok_or_else(expected)?;
    let bare = |text: &str| text.trim_start_matches('[').trim_end_matches(']').to_owned();
    let addresses: Result<Vec<IpAddr>, _> =
        addresses.split(',').map(|address| bare(address).parse()).collect();
    match (host, port.parse(), addresses) {
        ("", ..) => Err(expected()),
        (host, Ok(port), Ok(addresses)) => Ok(Resolved { host: host.to_owned(), port, addresses }),
        _ => Err(expected()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Resolved, resolve};

    #[test]
    fn addresses_of_a_host_have_curls_form() {
        let resolved = |host: &str, port, addresses: &[&str]| {
            let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
            Ok(Resolved { host: host.to_owned(), port, addresses })
        };
        assert_eq!(
            resolve("example.com:443:127.0.0.1"),
            resolved("example.com", 443, &["127.0.0.1"])
        );
        assert_eq!(resolve("a:1:::1,127.0.0.1"), resolved("a", 1, &["::1", "127.0.0.1"]));
        assert_eq!(resolve("a:1:[::1]"), resolved("a", 1, &["::1"]));
        assert_eq!(resolve("[::2]:1:[::1]"), resolved("[::2]", 1, &["::1"]));
        for bad in
            ["", ":", "a", "a:1", "a:1:", "a:x:127.0.0.1", ":1:127.0.0.1", "a:1:b", "]", "[:]"]
        {
            assert!(resolve(bad).is_err(), "{bad}");
        }
    }
}
