//! Proxies: which one stands in front of a server, and the tunnel through it.

mod bypass;
mod http;
mod socks;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tokio::time::timeout_at;
use url::{Host, Url};

use super::Client;
use super::address::Address;
use super::dial;
#[cfg(feature = "tls")]
use super::sealed::Sealed;
use super::stream::Stream;
use crate::error::{Error, Kind, Step};
use crate::runtime::deadline;
use bypass::Bypass;

/// Which proxies connections go through; for [`Client::proxy`](crate::Client::proxy).
///
/// A proxy of HTTP is asked for a tunnel with CONNECT (RFC 9110 section 9.3.6), for `ws` too (RFC
/// 6455 section 4.1); one of SOCKS5 as RFC 1928 and RFC 1929 say. TLS with the server is made inside
/// the tunnel, so the proxy sees no more than host and port.
///
/// ```no_run
/// # async fn example() -> Result<(), provod::Error> {
/// use provod::Client;
/// use provod::client::Proxy;
///
/// let proxy = Proxy::parse("http://me:secret@proxy.example:3128")?.bypass("localhost,.intern");
/// let ws = Client::new("wss://example.com/chat").proxy(proxy).connect().await?;
///
/// // As curl and most programs do it:
/// let ws = Client::new("wss://example.com/chat").proxy(Proxy::from_env()?).connect().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Proxy {
    plain: Option<Arc<Hop>>,
    secure: Option<Arc<Hop>>,
    bypass: Bypass,
}

impl Proxy {
    /// One proxy for all connections: `http://`, `https://` (TLS with the proxy itself, which is
    /// checked with the CAs of [`ClientTls`](crate::tls::ClientTls)), `socks5://` (names are
    /// resolved here) or `socks5h://` (names are resolved by the proxy). `user:password@` in front
    /// of the host logs in. Without a scheme it is one of HTTP; the default ports are 80, 443 and
    /// 1080.
    ///
    /// # Errors
    ///
    /// [`Error::is_usage`] where it is none of these. The error does not repeat the text.
    pub fn parse(url: &str) -> Result<Self, Error> {
        let hop = Arc::new(Hop::parse(url)?);
        Ok(Self { plain: Some(hop.clone()), secure: Some(hop), bypass: Bypass::default() })
    }

    /// What the environment says, read now: `https_proxy` for `wss`, `http_proxy` for `ws`,
    /// `all_proxy` for both where these are not set, and `no_proxy` as for
    /// [`bypass`](Self::bypass). The names in capitals count where those in small letters are not
    /// set, except for `HTTP_PROXY`, which a request can set in a program that runs under CGI. One
    /// that is empty counts as not set.
    ///
    /// # Errors
    ///
    /// [`Error::is_usage`] with the name of the variable that has no proxy in it.
    pub fn from_env() -> Result<Self, Error> {
        Self::from_variables(|name| {
            std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
        })
    }

    fn from_variables(get: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let first = |names: &[&'static str]| {
            let filled = |name: &&'static str| {
                let value = get(name).filter(|value| !value.trim().is_empty());
                value.map(|value| (*name, value))
            };
            names.iter().find_map(filled)
        };
        let hop = |names: &[&'static str]| match first(names) {
            Some((name, value)) => match Hop::parse(value.trim()) {
                Ok(hop) => Ok(Some(Arc::new(hop))),
                Err(e) => Err(wrong(format!("in the environment variable {name}: {e}"))),
            },
            None => Ok(None),
        };
        let plain = hop(&["http_proxy", "all_proxy", "ALL_PROXY"])?;
        let secure = hop(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])?;
        let bypass = first(&["no_proxy", "NO_PROXY"]).map(|(_, value)| Bypass::parse(&value));
        Ok(Self { plain, secure, bypass: bypass.unwrap_or_default() })
    }

    /// Goes directly to the servers in this list, with commas or spaces between them; it replaces
    /// one that was set before. `example.com` and `.example.com` are that name and all below it;
    /// `example.com:8080` that port alone; an address, `10.0.0.0/8` and `fd00::/8` are servers whose
    /// URL has such an address; `*` is all. What no server can be is passed over.
    #[must_use]
    pub fn bypass(mut self, list: &str) -> Self {
        self.bypass = Bypass::parse(list);
        self
    }

    /// The proxy in front of `address`, if there is one.
    pub(super) fn hop(&self, address: &Address) -> Option<&Hop> {
        let hop = if address.is_secure() { &self.secure } else { &self.plain };
        hop.as_deref().filter(|_| !self.bypass.has(address.host(), address.port()))
    }
}

impl fmt::Debug for Proxy {
    /// User and password stay out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |hop: &Option<Arc<Hop>>| hop.as_ref().map(|hop| hop.to_string());
        f.debug_struct("Proxy")
            .field("ws", &shown(&self.plain))
            .field("wss", &shown(&self.secure))
            .field("bypass", &self.bypass)
            .finish()
    }
}

fn wrong(what: String) -> Error {
    Error::new(Kind::Setting(what))
}

/// One proxy. It holds a password, so it has no `Debug`.
pub(super) struct Hop {
    kind: Protocol,
    host: Host,
    port: u16,
    /// User and password.
    login: Option<(Vec<u8>, Vec<u8>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http,
    Https,
    Socks5,
    Socks5Remote,
}

impl Hop {
    fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |why: &str| wrong(format!("the proxy's address is not valid: {why}"));
        if text.chars().any(char::is_control) {
            return Err(wrong("it holds a control character, such as the end of a line"));
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let kind = match scheme.to_ascii_lowercase().as_str() {
            "http" => Protocol::Http,
            "https" => Protocol::Https,
            "socks5" => Protocol::Socks5,
            "socks5h" => Protocol::Socks5Remote,
            "socks" | "socks4" | "socks4a" => {
                return Err(wrong("SOCKS4 is not spoken here, socks5:// and socks5h:// are"));
            }
            _ => return Err(wrong("it begins with http://, https://, socks5:// or socks5h://")),
        };
        // Hosts are read as in other addresses, which the schemes of the web alone ask for.
        let read = |scheme: &str| Url::parse(&format!("{scheme}://{rest}"));
        let url = read("http").map_err(|e| wrong(&e.to_string()))?;
        let Some(host) = url.host().map(|host| host.to_owned()) else {
            return Err(wrong("the host is missing"));
        };
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("behind the port comes nothing more"));
        }
        // A scheme's own port is taken for none: two schemes show whether there is one.
        let given = url.port().or_else(|| read("ftp").ok().and_then(|url| url.port()));
        let port = given.unwrap_or(match kind {
            Protocol::Http => 80,
            Protocol::Https => 443,
            Protocol::Socks5 | Protocol::Socks5Remote => 1080,
        });
        if port == 0 {
            return Err(wrong("nobody listens on port 0"));
        }
        let decode = |text: &str| percent_encoding::percent_decode_str(text).collect::<Vec<u8>>();
        let login = (!url.username().is_empty() || url.password().is_some())
            .then(|| (decode(url.username()), decode(url.password().unwrap_or_default())));
        let hop = Self { kind, host, port, login };
        hop.check().map_err(wrong)?;
        Ok(hop)
    }

    /// Whether user and password can be sent at all.
    fn check(&self) -> Result<(), &'static str> {
        let Some((user, password)) = &self.login else { return Ok(()) };
        match self.kind {
            Protocol::Http | Protocol::Https => {
                if user.contains(&b':') {
                    return Err("a user name with a colon cannot be sent (RFC 7617 section 2)");
                }
                if user.iter().chain(password).any(u8::is_ascii_control) {
                    return Err("a user name or password with a control character cannot be sent");
                }
            }
            Protocol::Socks5 | Protocol::Socks5Remote => {
                if user.is_empty() || user.len() > 255 || password.len() > 255 {
                    return Err("user and password have 1 to 255 bytes each (RFC 1929 section 2)");
                }
            }
        }
        Ok(())
    }

    /// The value of `Proxy-Authorization`.
    fn basic(&self) -> Option<String> {
        let (user, password) = self.login.as_ref()?;
        let pair = [user.as_slice(), b":", password.as_slice()].concat();
        Some(format!("Basic {}", BASE64_STANDARD.encode(pair)))
    }

    fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            Protocol::Http => "http",
            Protocol::Https => "https",
            Protocol::Socks5 => "socks5",
            Protocol::Socks5Remote => "socks5h",
        };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

/// Connects to the proxy and has it connect to the server.
pub(super) async fn tunnel(client: &Client, hop: &Hop, address: &Address) -> Result<Stream, Error> {
    let resolved = if hop.kind == Protocol::Socks5 {
        let (host, port) = (address.host(), address.port());
        let found = client.names.resolve(host, port, client.timeouts.resolve).await?;
        found.first().map(SocketAddr::ip)
    } else {
        None
    };
    let mut io = enter(client, hop).await.map_err(|e| Error::new(Kind::AtProxy(e)))?;
    let limit = client.timeouts.proxy;
    let until = deadline(limit);
    let asked = async {
        match hop.kind {
            Protocol::Http | Protocol::Https => http::connect(&mut io, hop, address, until).await,
            Protocol::Socks5 | Protocol::Socks5Remote => {
                socks::connect(&mut io, hop, address, resolved).await
            }
        }
    };
    match timeout_at(until, asked).await {
        Ok(asked) => asked.map(|()| io),
        Err(_) => Err(Error::late(Step::Proxy, limit, hop.place())),
    }
}

/// The stream on which the proxy is spoken to.
async fn enter(client: &Client, hop: &Hop) -> Result<Stream, Error> {
    #[cfg(feature = "tls")]
    let tls = if hop.kind == Protocol::Https {
        use crate::tls::With;
        let name = client.tls.name(With::Proxy, &hop.host)?;
        Some((client.tls.config(With::Proxy).await?, name))
    } else {
        None
    };
    #[cfg(not(feature = "tls"))]
    if hop.kind == Protocol::Https {
        return Err(Error::new(Kind::NoTls));
    }
    let (io, _) = dial::tcp(&hop.host, hop.port, &client.names, &client.timeouts).await?;
    let io = Stream::Tcp(io);
    #[cfg(feature = "tls")]
    if let Some((config, name)) = tls {
        let limit = client.timeouts.tls;
        let made = crate::tls::handshake(config, name, Vec::new(), io);
        return match tokio::time::timeout(limit, made).await {
            Ok(Ok(io)) => Ok(Stream::Tls(Box::new(Sealed::new(io)))),
            Ok(Err(e)) => Err(crate::tls::failed(e, &hop.place())),
            Err(_) => Err(Error::late(Step::Tls, limit, hop.place())),
        };
    }
    Ok(io)
}

/// The proxy refused or did wrong.
fn fault(hop: &Hop, what: impl Into<String>) -> Error {
    Error::new(Kind::Proxy { place: hop.place(), what: what.into(), response: None })
}
