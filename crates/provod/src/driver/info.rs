//! What is known of a connection from its opening handshake, in little room.

use std::fmt;

use provod_proto::handshake::DeflateParams;

use crate::client::HttpResponse;

/// What is known of a connection from its opening handshake.
pub(crate) struct Info {
    /// None where the target is `/`, the peer's name is short, and there is nothing else.
    more: Option<Box<More>>,
    /// The peer's name where `more` has none: so long, of these bytes.
    len: u8,
    name: [u8; INLINE],
    agreed: Agreed,
}

/// As long as an IPv4 address with a port.
const INLINE: usize = 21;

// Every idle connection has one.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Info>() <= 32);

#[derive(Debug)]
struct More {
    /// The peer's name, where it is long, the target and the subprotocol, one behind the other.
    text: Box<str>,
    name: usize,
    target: usize,
    has_subprotocol: bool,
    /// The 101 that a client got.
    response: Option<HttpResponse>,
}

impl Info {
    pub(crate) fn new(
        peer: &str,
        target: &str,
        subprotocol: Option<&str>,
        deflate: Option<DeflateParams>,
        response: Option<HttpResponse>,
    ) -> Self {
        let mut name = [0; INLINE];
        let mut long = peer;
        if let Some(place) = name.get_mut(..peer.len()) {
            place.copy_from_slice(peer.as_bytes());
            long = "";
        }
        let plain = target == "/" && subprotocol.is_none() && response.is_none() && long.is_empty();
        let more = (!plain).then(|| {
            Box::new(More {
                text: [long, target, subprotocol.unwrap_or_default()].concat().into(),
                name: long.len(),
                target: target.len(),
                has_subprotocol: subprotocol.is_some(),
                response,
            })
        });
        // Where it is long, this one is empty.
        let len = if long.is_empty() { peer.len() as u8 } else { 0 };
        Self { more, len, name, agreed: Agreed::new(deflate) }
    }

    pub(crate) fn peer(&self) -> &str {
        match &self.more {
            Some(more) if more.name > 0 => &more.text[..more.name],
            _ => {
                let text = std::str::from_utf8(&self.name[..usize::from(self.len)]);
                text.expect("these are the bytes of a text")
            }
        }
    }

    /// What was agreed about compression.
    pub(crate) fn deflate(&self) -> Option<DeflateParams> {
        self.agreed.params()
    }

    fn target(&self) -> &str {
        let more = self.more.as_ref();
        more.map_or("/", |more| &more.text[more.name..more.name + more.target])
    }

    /// The query of the request, without the question mark.
    pub(crate) fn query(&self) -> Option<&str> {
        self.target().split_once('?').map(|(_, query)| query)
    }

    /// The path of the request, without the query.
    pub(crate) fn path(&self) -> &str {
        self.target().split_once('?').map_or(self.target(), |(path, _)| path)
    }

    pub(crate) fn subprotocol(&self) -> Option<&str> {
        let more = self.more.as_ref().filter(|more| more.has_subprotocol)?;
        Some(&more.text[more.name + more.target..])
    }

    /// The 101 that a client got.
    pub(crate) fn response(&self) -> Option<&HttpResponse> {
        self.more.as_ref()?.response.as_ref()
    }
}

impl fmt::Debug for Info {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Info").field("peer", &self.peer()).finish_non_exhaustive()
    }
}

/// What was agreed about compression: the server's window and the client's, each with [`ALONE`]
/// where it compresses every message on its own; both 0 where nothing is compressed.
#[derive(Clone, Copy)]
struct Agreed([u8; 2]);

/// Without context takeover, beside the bits of the window, of which there are at most 15.
const ALONE: u8 = 0x80;

impl Agreed {
    fn new(deflate: Option<DeflateParams>) -> Self {
        let pack = |bits, alone| if alone { bits | ALONE } else { bits };
        Self(deflate.map_or([0; 2], |p| {
            [
                pack(p.server_max_window_bits, p.server_no_context_takeover),
                pack(p.client_max_window_bits, p.client_no_context_takeover),
            ]
        }))
    }

    fn params(self) -> Option<DeflateParams> {
        let [server, client] = self.0;
        (self.0 != [0; 2]).then_some(DeflateParams {
            server_no_context_takeover: server & ALONE != 0,
            client_no_context_takeover: client & ALONE != 0,
            server_max_window_bits: server & !ALONE,
            client_max_window_bits: client & !ALONE,
        })
    }
}

#[cfg(test)]
mod tests {
    use provod_proto::handshake::DeflateParams;

    use super::Info;

    #[test]
    fn each_part_is_given_back() {
        for peer in
            ["", "pipe", "255.255.255.255:65535", "[2001:db8::ffff:ffff:ffff:ffff]:65535", "ü"]
        {
            for (target, path, query) in
                [("/", "/", None), ("/?", "/", Some("")), ("/a/b?c=d?e", "/a/b", Some("c=d?e"))]
            {
                for subprotocol in [None, Some("chat")] {
                    let info = Info::new(peer, target, subprotocol, None, None);
                    assert_eq!((info.peer(), info.path(), info.query()), (peer, path, query));
                    assert_eq!(info.subprotocol(), subprotocol);
                }
            }
        }
    }

    #[test]
    fn what_was_agreed_about_compression_is_given_back() {
        for n in 0..4 {
            for (server, client) in [(9, 15), (15, 9), (12, 12)] {
                let deflate = DeflateParams {
                    server_no_context_takeover: n & 1 != 0,
                    client_no_context_takeover: n & 2 != 0,
                    server_max_window_bits: server,
                    client_max_window_bits: client,
                };
                let info = Info::new("peer", "/", None, Some(deflate), None);
                assert_eq!((info.deflate(), info.peer()), (Some(deflate), "peer"));
            }
        }
        assert_eq!(Info::new("peer", "/", None, None, None).deflate(), None);
    }
}
