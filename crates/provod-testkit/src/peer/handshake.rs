//! The opening handshake of a scripted peer.

use std::future::Future;
use std::panic::Location;

use provod_proto::handshake::{
    HeadLimits, RequestHead, RequestReader, ResponseReader, accept_key, validate,
};

use super::{Peer, Place};

/// The `Sec-WebSocket-Key` of every [`request`]: the one of RFC 6455 section 1.3.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// More than any test needs.
const LIMITS: HeadLimits = HeadLimits { max_bytes: 1 << 20, max_headers: 1000 };

/// A good request for a WebSocket, with more header lines.
#[must_use]
pub fn request(target: &str, lines: &[&str]) -> String {
    let mut head = format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
    );
    end(&mut head, lines);
    head
}

fn end(head: &mut String, lines: &[&str]) {
    for line in lines {
        head.push_str(line);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
}

/// An answer of HTTP.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The head as it came, bytes that are no UTF-8 replaced.
    pub head: String,
    /// The body, likewise; empty where no `Content-Length` announced one.
    pub body: String,
}

impl Answer {
    /// The value of the first header line of this name, compared without case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (n, value) = line.split_once(':')?;
            n.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

/// The opening handshake.
impl Peer {
    /// As a client, asks for a WebSocket at this target, with more header lines, and is answered
    /// with 101 and the right accept key (RFC 6455 section 4.1).
    #[track_caller]
    pub fn upgrade<'a>(
        &'a mut self,
        target: &'a str,
        lines: &'a [&str],
    ) -> impl Future<Output = Answer> + Send + 'a {
        self.open_websocket(target, lines, Location::caller())
    }

    pub(super) async fn open_websocket(
        &mut self,
        target: &str,
        lines: &[&str],
        place: Place,
    ) -> Answer {
        self.send(request(target, lines)).await;
        let answer = self.next_answer(place).await;
        assert_eq!(answer.status, 101, "{place}: {answer:?}");
        let accept = answer.header("Sec-WebSocket-Accept");
        assert_eq!(accept, Some(&*accept_key(KEY)), "{place}: {answer:?}");
        answer
    }

    /// As a client, reads an answer of HTTP, with its body where `Content-Length` announces one.
    #[track_caller]
    pub fn answer(&mut self) -> impl Future<Output = Answer> + Send + '_ {
        self.next_answer(Location::caller())
    }

    async fn next_answer(&mut self, place: Place) -> Answer {
        let head = loop {
            // All anew, so that a future that is dropped loses nothing.
            let pushed = ResponseReader::new(LIMITS).push(&self.buf);
            let pushed = pushed.unwrap_or_else(|e| panic!("{place}: {e}"));
            if let Some(head) = pushed.head {
                self.buf.drain(..pushed.consumed);
                break head;
            }
            assert!(self.fill(place).await, "{place}: the end instead of an answer");
        };
        let length = head.header_str("Content-Length").map_or(0, |n| {
            n.parse().unwrap_or_else(|e| panic!("{place}: Content-Length {n:?}: {e}"))
        });
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let head =
            Answer { status: head.status(), head: text(head.as_bytes()), body: String::new() };
        while self.buf.len() < length {
            assert!(self.fill(place).await, "{place}: the body ends early: {head:?}");
        }
        let body: Vec<u8> = self.buf.drain(..length).collect();
        Answer { body: text(&body), ..head }
    }

    /// As a server, reads a request.
    #[track_caller]
    pub fn request(&mut self) -> impl Future<Output = RequestHead> + Send + '_ {
        self.next_request(Location::caller())
    }

    pub(super) async fn next_request(&mut self, place: Place) -> RequestHead {
        loop {
            let pushed = RequestReader::new(LIMITS).push(&self.buf);
            let pushed = pushed.unwrap_or_else(|e| panic!("{place}: {e}"));
            if let Some(head) = pushed.head {
                self.buf.drain(..pushed.consumed);
                return head;
            }
            assert!(self.fill(place).await, "{place}: the end instead of a request");
        }
    }

    /// As a server, checks that the request is a good one for a WebSocket (RFC 6455 section 4.2.1)
    /// and answers it with 101 and more header lines. Any other answer is
    /// [sent](Self::send) as bytes.
    #[track_caller]
    pub fn accept<'a>(
        &'a mut self,
        request: &'a RequestHead,
        lines: &'a [&str],
    ) -> impl Future<Output = ()> + Send + 'a {
        let place = Location::caller();
        let upgrade = validate(request)
            .unwrap_or_else(|e| panic!("{place}: not a good request: {e}: {request:?}"));
        let mut head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n",
            upgrade.accept()
        );
        end(&mut head, lines);
        self.send(head)
    }
}
