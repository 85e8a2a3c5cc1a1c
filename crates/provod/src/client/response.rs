//! The server's answer to the request.

use std::fmt;

use bytes::Bytes;
use provod_proto::handshake::ResponseHead;

/// A server's answer of HTTP: what a refused upgrade was refused with, or what came with the 101.
///
/// ```no_run
/// # async fn example() -> Result<(), provod::Error> {
/// match provod::connect("ws://example.com/chat").await {
///     Ok(ws) => {
///         let cookie = ws.response().and_then(|response| response.header("Set-Cookie"));
///         println!("connected, with the cookie {:?}", cookie.map(|c| c.escape_ascii()));
///     }
///     Err(e) => match e.http_response() {
///         Some(answer) if answer.status() == 401 => println!("log in first"),
///         Some(answer) => println!("{}: {}", answer.status(), answer.body().escape_ascii()),
///         None => return Err(e),
///     },
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct HttpResponse {
    head: ResponseHead,
    body: Bytes,
}

impl HttpResponse {
    pub(crate) fn new(head: ResponseHead, body: Bytes) -> Self {
        Self { head, body }
    }

    /// The status code (RFC 9110 section 15).
    #[must_use]
    pub fn status(&self) -> u16 {
        self.head.status()
    }

    /// The reason phrase, perhaps empty. It comes from the peer: print it with care.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.head.reason()
    }

    /// The headers in their order; a name may come several times.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.head.headers()
    }

    /// The first header of this name, in whatever case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.head.header(name)
    }

    /// The first 4 KiB of the body, or what of them came before the server fell silent; without its
    /// transfer coding. Empty for a 101. It comes from the peer: print it with care.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }
}

impl fmt::Debug for HttpResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpResponse")
            .field("status", &self.status())
            .field("body", &String::from_utf8_lossy(&self.body))
            .finish_non_exhaustive()
    }
}
