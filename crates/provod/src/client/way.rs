//! The way out: from a client's settings to a stream on which a server can be asked.

use super::Client;
use super::address::Address;
use super::dial;
use super::proxy;
#[cfg(feature = "tls")]
use super::sealed::Sealed;
use super::stream::Stream;
use crate::error::Error;
#[cfg(not(feature = "tls"))]
use crate::error::Kind;
#[cfg(feature = "tls")]
use crate::error::Step;

/// A server that is reached, and not asked for anything yet.
pub(super) struct Reached {
    pub(super) io: Stream,
    /// What the server chose of the protocols that were offered (ALPN, RFC 7301); `None` without
    /// TLS, and where it chose none.
    #[cfg_attr(not(feature = "http2"), expect(dead_code))]
    pub(super) alpn: Option<Vec<u8>>,
    /// The peer, for people and logs.
    pub(super) peer: String,
}

/// Reaches the server at `address`. `is_own` says that it is one of the origin that the
/// application named, and not one that a redirect led to. `offered` are the protocols that it may
/// choose from with TLS, the most wanted first.
pub(super) async fn reach(
    client: &Client,
    address: &Address,
    is_own: bool,
    offered: &[&[u8]],
) -> Result<Reached, Error> {
    // What is wrong with the settings of TLS is told before anybody is troubled.
    #[cfg(feature = "tls")]
    let tls = if address.is_secure() {
        use crate::tls::With;
        let with = if is_own { With::Own } else { With::Other };
        let name = client.tls.name(with, address.host())?;
        Some((client.tls.config(with).await?, name))
    } else {
        None
    };
    #[cfg(not(feature = "tls"))]
    if address.is_secure() {
        return Err(Error::new(Kind::NoTls));
    }
    let _ = (is_own, offered);
    let (io, peer) = raw(client, address).await?;
    #[cfg(feature = "tls")]
    if let Some((config, name)) = tls {
        let limit = client.timeouts.tls;
        let place = address.authority();
        let offered = offered.iter().map(|name| name.to_vec()).collect();
        let made = crate::tls::handshake(config, name, offered, io);
        let io = match tokio::time::timeout(limit, made).await {
            Ok(Ok(io)) => io,
            Ok(Err(e)) => return Err(crate::tls::failed(e, place)),
            Err(_) => return Err(Error::late(Step::Tls, limit, place)),
        };
        let alpn = io.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        return Ok(Reached { io: Stream::Tls(Box::new(Sealed::new(io))), alpn, peer });
    }
    Ok(Reached { io, alpn: None, peer })
}

/// How the versions of HTTP are called (RFC 7301 section 6, RFC 9113 section 3.2).
pub(super) const HTTP1: &[u8] = b"http/1.1";
#[cfg(feature = "http2")]
pub(super) const HTTP2: &[u8] = b"h2";

/// The stream below the server's own TLS: direct, or through a proxy.
async fn raw(client: &Client, address: &Address) -> Result<(Stream, String), Error> {
    #[cfg(unix)]
    if let Some(path) = &client.unix {
        let io = dial::unix(path, client.timeouts.connect).await?;
        return Ok((Stream::Unix(io), format!("unix:{}", path.display())));
    }
    if let Some(hop) = client.proxy.as_ref().and_then(|proxy| proxy.hop(address)) {
        let io = proxy::tunnel(client, hop, address).await?;
        return Ok((io, address.authority().to_owned()));
    }
    let timeouts = &client.timeouts;
    let (io, peer) = dial::tcp(address.host(), address.port(), &client.names, timeouts).await?;
    Ok((Stream::Tcp(io), peer.to_string()))
}
