//! What is known of a connection from its opening handshake, in little room.

use std::fmt;

use provod_proto::handshake::DeflateParams;

use crate::client::HttpResponse;

/// What is known of a connection from its opening handshake.
#[derive(Debug)]
pub(crate) struct Info {
    peer: Name,
    pub(crate) deflate: Option<DeflateParams>,
    /// None where the target is `/` and there is nothing else.
    more: Option<Box<More>>,
}

#[derive(Debug)]
struct More {
    /// The target and the subprotocol behind it.
    text: Box<str>,
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
        let plain = target == "/" && subprotocol.is_none() && response.is_none();
        let more = (!plain).then(|| {
            Box::new(More {
                text: [target, subprotocol.unwrap_or_default()].concat().into(),
                target: target.len(),
                has_subprotocol: subprotocol.is_some(),
                response,
            })
        });
        Self { peer: Name::new(peer), deflate, more }
    }

    pub(crate) fn peer(&self) -> &str {
        self.peer.as_str()
    }

    fn target(&self) -> &str {
        self.more.as_ref().map_or("/", |more| &more.text[..more.target])
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
        Some(&more.text[more.target..])
    }

    /// The 101 that a client got.
    pub(crate) fn response(&self) -> Option<&HttpResponse> {
        self.more.as_ref()?.response.as_ref()
    }
}

/// As long as an IPv4 address with a port, and one more.
const INLINE: usize = 22;

/// A text that lies in its place if it is short.
enum Name {
    Short { len: u8, bytes: [u8; INLINE] },
    Long(Box<str>),
}

impl Name {
    fn new(name: &str) -> Self {
        let mut bytes = [0; INLINE];
        match bytes.get_mut(..name.len()) {
            Some(place) => {
                place.copy_from_slice(name.as_bytes());
                // At most `INLINE`.
                Self::Short { len: name.len() as u8, bytes }
            }
            None => Self::Long(name.into()),
        }
    }

    fn as_str(&self) -> &str {
        match self {
            Self::Short { len, bytes } => {
                let text = std::str::from_utf8(&bytes[..usize::from(*len)]);
                text.expect("these are the bytes of a text")
            }
            Self::Long(text) => text,
        }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

#[cfg(test)]
mod tests {
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
        assert!(size_of::<Info>() <= 40);
    }
}
