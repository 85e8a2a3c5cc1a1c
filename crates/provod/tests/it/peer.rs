//! A client that obeys no rule: raw bytes out, frames in, a deadline on everything.

use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use provod_proto::raw::RawFrame;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// A hang is a failure after this long. Nothing is asserted about how long anything takes.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Waits for `future`, not for ever.
#[track_caller]
pub(crate) fn soon<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(PATIENCE, future).await {
            Ok(output) => output,
            Err(_) => panic!("nothing happened: {caller}"),
        }
    }
}

/// Lets other tasks run until `done`.
#[track_caller]
pub(crate) fn until(mut done: impl FnMut() -> bool) -> impl Future<Output = ()> {
    soon(async move {
        while !done() {
            tokio::task::yield_now().await;
            // On a runtime of one thread, only parking lets sockets make progress.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
}

/// A frame as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) fin: bool,
    pub(crate) rsv1: bool,
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn text(&self) -> &str {
        assert!(self.fin && !self.rsv1 && self.opcode == 1, "no plain text frame: {self:?}");
        std::str::from_utf8(&self.payload).expect("text is UTF-8")
    }
}

/// An answer of HTTP.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (n, value) = line.split_once(':')?;
            n.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(crate) struct Peer {
    io: Pin<Box<dyn Stream>>,
    buf: Vec<u8>,
}

impl Peer {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::new(soon(TcpStream::connect(address)).await.expect("the server accepts"))
    }

    /// With a small receive buffer, so that a peer that does not read is felt soon.
    pub(crate) async fn connect_narrow(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        Self::new(soon(socket.connect(address)).await.expect("the server accepts"))
    }

    pub(crate) fn new(io: impl Stream + 'static) -> Self {
        Self { io: Box::pin(io), buf: Vec::new() }
    }

    /// Connects and opens a WebSocket.
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self::open_with(address, "/", &[]).await.0
    }

    /// The same, at a path and with more header lines.
    pub(crate) async fn open_with(
        address: SocketAddr,
        target: &str,
        lines: &[&str],
    ) -> (Self, Answer) {
        Self::connect(address).await.upgrade(target, lines).await
    }

    /// Opens a WebSocket on this connection.
    pub(crate) async fn upgrade(mut self, target: &str, lines: &[&str]) -> (Self, Answer) {
        self.send(request(target, lines)).await;
        let answer = self.answer().await;
        assert_eq!(answer.status, 101, "{answer:?}");
        (self, answer)
    }

    /// Sends; a server that has hung up already is no failure of the peer.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = soon(self.io.write_all(bytes.as_ref())).await;
    }

    /// Sends; whether the server still takes it.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> bool {
        soon(self.io.write_all(bytes)).await.is_ok()
    }

    /// Sends; `None` when the server has not taken it all after `patience`.
    pub(crate) async fn try_send_for(&mut self, bytes: &[u8], patience: Duration) -> Option<bool> {
        let sent = tokio::time::timeout(patience, self.io.write_all(bytes)).await;
        Some(sent.ok()?.is_ok())
    }

    /// Ends this half of the connection.
    pub(crate) async fn finish(&mut self) {
        let _ = soon(self.io.shutdown()).await;
    }

    async fn fill(&mut self) -> bool {
        match soon(self.io.read_buf(&mut self.buf)).await {
            Ok(n) => n > 0,
            Err(e) => panic!("the server must end with FIN, so that its last words are read: {e}"),
        }
    }

    /// The next answer of HTTP, with its body where `Content-Length` announces one.
    pub(crate) async fn answer(&mut self) -> Answer {
        let end = loop {
            if let Some(at) = self.buf.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.fill().await, "no answer: {:?}", String::from_utf8_lossy(&self.buf));
        };
        let head: Vec<u8> = self.buf.drain(..end).collect();
        let head = String::from_utf8(head).expect("our heads are ASCII");
        let status = head[9..12].parse().expect("a status");
        let mut answer = Answer { status, head, body: String::new() };
        let length = answer.header("Content-Length").map_or(0, |n| n.parse().expect("a number"));
        while self.buf.len() < length {
            assert!(self.fill().await, "the body ends early: {answer:?}");
        }
        let body = self.buf.drain(..length).collect();
        answer.body = String::from_utf8(body).expect("our bodies are text");
        answer
    }

    /// The next byte; `None` at the end of the stream.
    pub(crate) async fn byte(&mut self) -> Option<u8> {
        if self.buf.is_empty() && !self.fill().await {
            return None;
        }
        Some(self.buf.remove(0))
    }

    /// The next frame; `None` at the end of the stream.
    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, n)) = parse(&self.buf) {
                self.buf.drain(..n);
                return Some(frame);
            }
            if !self.fill().await {
                assert!(self.buf.is_empty(), "the stream ends inside a frame: {:?}", self.buf);
                return None;
            }
        }
    }

    /// A whole message, from its fragments; control frames between them are skipped.
    pub(crate) async fn message(&mut self) -> Frame {
        let mut whole: Option<Frame> = None;
        loop {
            let frame = self.frame().await.expect("a message");
            match (&mut whole, frame.opcode) {
                (_, 8) => panic!("a Close instead of a message: {frame:?}"),
                (_, 9 | 10) => continue,
                (None, 1 | 2) => whole = Some(frame),
                (Some(message), 0) => {
                    message.payload.extend_from_slice(&frame.payload);
                    message.fin = frame.fin;
                }
                _ => panic!("a frame out of place: {frame:?}"),
            }
            if whole.as_ref().is_some_and(|m| m.fin) {
                return whole.expect("it was just set");
            }
        }
    }

    pub(crate) async fn expect_text(&mut self, text: &str) {
        let frame = self.frame().await.unwrap_or_else(|| panic!("the end instead of {text:?}"));
        assert_eq!(frame.text(), text);
    }

    /// A Close frame with this code; then nothing.
    #[track_caller]
    pub(crate) fn expect_close(&mut self, code: u16) -> impl Future<Output = String> + '_ {
        let caller = std::panic::Location::caller();
        async move {
            let frame = self.frame().await;
            let frame = frame.unwrap_or_else(|| panic!("the end instead of {code}: {caller}"));
            assert_eq!(frame.opcode, 8, "no Close: {frame:?}: {caller}");
            let got = frame.payload.first_chunk().map(|c| u16::from_be_bytes(*c));
            assert_eq!(got, Some(code), "{caller}: {:?}", String::from_utf8_lossy(&frame.payload));
            String::from_utf8(frame.payload[2..].to_vec()).expect("a reason is UTF-8")
        }
    }

    /// The end of the stream, orderly.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) -> impl Future<Output = ()> + '_ {
        let caller = std::panic::Location::caller();
        async move {
            let frame = self.frame().await;
            assert_eq!(frame, None, "{caller}");
        }
    }

    /// The end of the stream, however it comes.
    pub(crate) async fn gone(&mut self) {
        loop {
            match soon(self.io.read_buf(&mut self.buf)).await {
                Ok(0) => return,
                Ok(_) => self.buf.clear(),
                Err(e) if e.kind() == ErrorKind::ConnectionReset => return,
                Err(e) => panic!("{e}"),
            }
        }
    }

    /// Says that the connection is over and sees the server end it.
    pub(crate) async fn bye(mut self) {
        self.send(close(1000)).await;
        self.expect_close(1000).await;
        self.expect_end().await;
    }
}

fn parse(buf: &[u8]) -> Option<(Frame, usize)> {
    let (first, second) = (*buf.first()?, *buf.get(1)?);
    assert_eq!(second & 0x80, 0, "a server does not mask");
    assert_eq!(first & 0x30, 0, "RSV2 and RSV3 mean nothing");
    let (len, at): (u64, usize) = match second {
        126 => (u64::from(u16::from_be_bytes(*buf.get(2..)?.first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*buf.get(2..)?.first_chunk()?), 10),
        n => (u64::from(n), 2),
    };
    let len = usize::try_from(len).expect("a length that fits");
    let payload = buf.get(at..at.checked_add(len)?)?.to_vec();
    let (fin, rsv1, opcode) = (first & 0x80 != 0, first & 0x40 != 0, first & 0x0F);
    Some((Frame { fin, rsv1, opcode, payload }, at + len))
}

/// A good request, with more header lines.
pub(crate) fn request(target: &str, lines: &[&str]) -> String {
    let mut head = format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
    );
    for line in lines {
        head.push_str(line);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    head
}

pub(crate) fn raw(opcode: u8, payload: impl Into<Vec<u8>>) -> RawFrame {
    RawFrame::new(opcode, payload).masked(MASK)
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    raw(1, text).to_bytes()
}

pub(crate) fn binary(bytes: &[u8]) -> Vec<u8> {
    raw(2, bytes).to_bytes()
}

pub(crate) fn ping(payload: &str) -> Vec<u8> {
    raw(9, payload).to_bytes()
}

pub(crate) fn close(code: u16) -> Vec<u8> {
    raw(8, code.to_be_bytes()).to_bytes()
}

/// The header of a masked frame whose payload is said to have `len` bytes.
pub(crate) fn header(first: u8, len: u64) -> Vec<u8> {
    let mut out = vec![first];
    match len {
        0..=125 => out.push(0x80 | len as u8),
        126..=0xFFFF => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend_from_slice(&len.to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out
}
