//! A tunnel through a proxy of SOCKS5 (RFC 1928), with user and password where they are set (RFC
//! 1929).

use std::io;
use std::net::IpAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use url::Host;

use super::{Hop, fault};
use crate::client::address::Address;
use crate::client::stream::Stream;
use crate::error::Error;

const VERSION: u8 = 5;
/// The version of the negotiation about user and password.
const LOGIN_VERSION: u8 = 1;
const NO_LOGIN: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const NO_METHOD: u8 = 0xFF;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Asks for the tunnel: to the address where the name was resolved here. No byte more than the
/// answers is read.
pub(super) async fn connect(
    io: &mut Stream,
    hop: &Hop,
    address: &Address,
    resolved: Option<IpAddr>,
) -> Result<(), Error> {
    let request = request(address, resolved).map_err(|why| fault(hop, why))?;
    log_in(io, hop).await?;
    say(io, hop, &request).await?;
    let [version, reply, _, kind] = hear(io, hop).await?;
    if version != VERSION {
        return Err(fault(hop, format!("answered with version {version} instead of 5")));
    }
    if reply != 0 {
        let what = format!("refused a tunnel to {}: {}", address.authority(), meaning(reply));
        return Err(fault(hop, what));
    }
    // The address from which the proxy has connected is of no interest.
    let rest = match kind {
        IPV4 => 4,
        IPV6 => 16,
        NAME => usize::from(u8::from_be_bytes(hear(io, hop).await?)),
        kind => return Err(fault(hop, format!("answered with an address of no kind ({kind})"))),
    };
    let mut bound = [0; 255 + 2];
    let place = bound.get_mut(..rest + 2).unwrap_or_default();
    io.read_exact(place).await.map_err(|e| gone(hop, &e))?;
    Ok(())
}

/// Agrees on how to log in, and does.
async fn log_in(io: &mut Stream, hop: &Hop) -> Result<(), Error> {
    let greeting: &[u8] = match &hop.login {
        None => &[VERSION, 1, NO_LOGIN],
        Some(_) => &[VERSION, 2, NO_LOGIN, USER_AND_PASSWORD],
    };
    say(io, hop, greeting).await?;
    let [version, method] = hear(io, hop).await?;
    if version != VERSION {
        // An H begins an answer of HTTP.
        let hint = if version == b'H' { ": is it a proxy of HTTP?" } else { "" };
        return Err(fault(hop, format!("does not speak SOCKS5{hint}")));
    }
    match (method, &hop.login) {
        (NO_LOGIN, _) => Ok(()),
        (USER_AND_PASSWORD, Some((user, password))) => {
            let mut login = vec![LOGIN_VERSION];
            for part in [user, password] {
                // That neither is longer than 255 was checked when it was set.
                login.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
                login.extend_from_slice(part);
            }
            say(io, hop, &login).await?;
            let [_, status] = hear(io, hop).await?;
            if status != 0 {
                return Err(fault(hop, "does not take this user and password"));
            }
            Ok(())
        }
        (NO_METHOD, None) => Err(fault(hop, "wants a user and a password, and none are set")),
        (NO_METHOD, Some(_)) => Err(fault(hop, "knows no login with user and password")),
        (method, _) => {
            Err(fault(hop, format!("chose a login that was not offered (method {method})")))
        }
    }
}

fn request(address: &Address, resolved: Option<IpAddr>) -> Result<Vec<u8>, String> {
    let mut request = vec![VERSION, CONNECT, 0];
    let ip = match (resolved, address.host()) {
        (Some(ip), _) => Some(ip),
        (None, Host::Ipv4(ip)) => Some(IpAddr::from(*ip)),
        (None, Host::Ipv6(ip)) => Some(IpAddr::from(*ip)),
        (None, Host::Domain(name)) => {
            let length = u8::try_from(name.len())
                .map_err(|_| "cannot be told a name of more than 255 bytes".to_owned())?;
            request.extend([NAME, length]);
            request.extend(name.as_bytes());
            None
        }
    };
    match ip {
        Some(IpAddr::V4(ip)) => {
            request.push(IPV4);
            request.extend(ip.octets());
        }
        Some(IpAddr::V6(ip)) => {
            request.push(IPV6);
            request.extend(ip.octets());
        }
        None => {}
    }
    request.extend(address.port().to_be_bytes());
    Ok(request)
}

/// What a reply means (RFC 1928 section 6).
fn meaning(reply: u8) -> String {
    match reply {
        1 => "general failure",
        2 => "its rules do not allow it",
        3 => "the network cannot be reached",
        4 => "the host cannot be reached",
        5 => "the connection was refused; is the server running?",
        6 => "the packets lived too long",
        7 => "it does not know CONNECT",
        8 => "it does not know this kind of address",
        reply => return format!("reply {reply}, which RFC 1928 does not have"),
    }
    .to_owned()
}

async fn say(io: &mut Stream, hop: &Hop, bytes: &[u8]) -> Result<(), Error> {
    let said = async {
        io.write_all(bytes).await?;
        io.flush().await
    };
    said.await.map_err(|e| gone(hop, &e))
}

async fn hear<const N: usize>(io: &mut Stream, hop: &Hop) -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    io.read_exact(&mut bytes).await.map_err(|e| gone(hop, &e))?;
    Ok(bytes)
}

fn gone(hop: &Hop, e: &io::Error) -> Error {
    if e.kind() == io::ErrorKind::UnexpectedEof {
        return fault(hop, "hung up before its answer was whole");
    }
    fault(hop, format!("hung up: {e}"))
}
