//! The header of PROXY protocol version 2 (HAProxy's `proxy-protocol.txt`, section 2.2).

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::transport::Transport;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// What every header has: the signature, version and command, family, and length of the rest.
const FIXED: usize = 16;
/// The longest rest that is taken. All that a proxy may tell beside the addresses, a client's
/// certificate perhaps, is passed over.
const MOST: usize = 16 << 10;

/// Whom a proxy names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) enum Named {
    Address(SocketAddr),
    /// A client of a Unix socket.
    Unix,
    /// Nobody: the proxy speaks for itself, or does not know.
    Nobody,
}

/// What is wrong with a header.
#[derive(Debug)]
pub(in crate::server) enum Bad {
    /// The stream broke, or ended in the middle.
    Stream(io::Error),
    /// The client sent something else, version 1 perhaps.
    Signature,
    Version(u8),
    Command(u8),
    Long(usize),
    /// The addresses are shorter than their family needs.
    Short,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream(e) => write!(f, "the PROXY header did not come: {e}"),
            Self::Signature => f.write_str("this is no header of PROXY protocol version 2"),
            Self::Version(n) => write!(f, "version {n} of the PROXY protocol is not known"),
            Self::Command(n) => write!(f, "command {n} of the PROXY protocol is not known"),
            Self::Long(n) => write!(f, "a PROXY header of {n} bytes is too long"),
            Self::Short => f.write_str("the PROXY header is too short for its addresses"),
        }
    }
}

/// Reads the header, and nothing behind it.
pub(in crate::server) async fn read<T: Transport>(io: &mut T) -> Result<Named, Bad> {
    let mut fixed = [0; FIXED];
    // What is no header is known by its first byte, and may be shorter than one.
    for (at, end) in [(0, 1), (1, FIXED)] {
        fill(io, &mut fixed[at..end]).await?;
        let signature = &SIGNATURE[..end.min(SIGNATURE.len())];
        if !fixed.starts_with(signature) {
            return Err(Bad::Signature);
        }
    }
    let [.., version_command, family, high, low] = fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let (version, command) = (version_command >> 4, version_command & 15);
    if version != 2 {
        return Err(Bad::Version(version));
    }
    if command > 1 {
        return Err(Bad::Command(command));
    }
    if length > MOST {
        return Err(Bad::Long(length));
    }
    // Both addresses and both ports; a family that is not known is as good as none.
    let size = match family >> 4 {
        1 => 12,
        2 => 36,
        3 => 216,
        _ => 0,
    };
    let is_local = command == 0;
    if length < size && !is_local {
        return Err(Bad::Short);
    }
    let mut addresses = [0; 216];
    let size = size.min(length);
    fill(io, &mut addresses[..size]).await?;
    let mut rest = length - size;
    while rest > 0 {
        let mut skipped = [0; 512];
        let n = rest.min(skipped.len());
        fill(io, &mut skipped[..n]).await?;
        rest -= n;
    }
    Ok(if is_local { Named::Nobody } else { source(family >> 4, &addresses) })
}

/// The source among the addresses, which are whole.
fn source(family: u8, addresses: &[u8; 216]) -> Named {
    let port = |at: usize| u16::from_be_bytes([addresses[at], addresses[at + 1]]);
    match family {
        1 => {
            let [a, b, c, d, ..] = *addresses;
            Named::Address(SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), port(8)))
        }
        2 => {
            let mut bytes = [0; 16];
            bytes.copy_from_slice(&addresses[..16]);
            let ip = IpAddr::from(Ipv6Addr::from(bytes)).to_canonical();
            Named::Address(SocketAddr::new(ip, port(32)))
        }
        3 => Named::Unix,
        _ => Named::Nobody,
    }
}

/// Reads so many bytes, and no more.
async fn fill<T: Transport>(io: &mut T, mut room: &mut [u8]) -> Result<(), Bad> {
    while !room.is_empty() {
        let most = room.len();
        match poll_fn(|cx| io.poll_read(cx, &mut room, most)).await {
            Ok(0) => return Err(Bad::Stream(io::ErrorKind::UnexpectedEof.into())),
            // The buffer has moved on to what is still to be filled.
            Ok(_) => {}
            Err(e) => return Err(Bad::Stream(e)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
