//! A server that obeys no rule: it reads a request and answers with whatever bytes it is told.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use provod_proto::handshake::accept_key;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::net::{TcpListener, TcpStream};

use crate::peer::soon;

/// A frame of a client: its first byte, its masking key, its payload unmasked.
type Frame = (u8, [u8; 4], Vec<u8>);

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// One connection of a client.
pub(crate) struct Scripted {
    io: Pin<Box<dyn Stream>>,
    buf: Vec<u8>,
}

impl Scripted {
    pub(crate) fn new(io: impl Stream + 'static) -> Self {
        Self { io: Box::pin(io), buf: Vec::new() }
    }

    /// Both ends of a pipe: one for a client.
    pub(crate) fn pipe() -> (DuplexStream, Self) {
        let (near, far) = tokio::io::duplex(64 << 10);
        (near, Self::new(far))
    }

    /// The request head, with the empty line at its end.
    pub(crate) async fn request(&mut self) -> String {
        let end = loop {
            if let Some(at) = self.buf.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.fill().await, "no request: {:?}", String::from_utf8_lossy(&self.buf));
        };
        String::from_utf8(self.buf.drain(..end).collect()).expect("a request is ASCII")
    }

    /// Reads the request and answers; `{accept}` in the answer becomes the right accept key.
    pub(crate) async fn answer(&mut self, answer: &str) {
        let request = self.request().await;
        self.send(filled(&request, answer)).await;
    }

    /// Sends; a client that has hung up already is no failure here.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = soon(self.io.write_all(bytes.as_ref())).await;
    }

    async fn fill(&mut self) -> bool {
        soon(self.io.read_buf(&mut self.buf)).await.is_ok_and(|n| n > 0)
    }

    /// Ends this half of the connection.
    pub(crate) async fn finish(&mut self) {
        let _ = soon(self.io.shutdown()).await;
    }

    /// The next frame.
    pub(crate) async fn frame(&mut self) -> Frame {
        loop {
            if let Some((frame, n)) = masked(&self.buf) {
                self.buf.drain(..n);
                return frame;
            }
            assert!(self.fill().await, "the end instead of a frame");
        }
    }

    /// Whether the client ends its half.
    pub(crate) async fn ended(&mut self) -> bool {
        !self.fill().await
    }
}

/// A good answer, with more header lines.
pub(crate) fn good(lines: &[&str]) -> String {
    let mut answer = String::from(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n",
    );
    for line in lines {
        answer.push_str(line);
        answer.push_str("\r\n");
    }
    answer + "\r\n"
}

/// The answer with the accept key that this request wants.
pub(crate) fn filled(request: &str, answer: &str) -> String {
    let key = header(request, "Sec-WebSocket-Key").expect("a key");
    answer.replace("{accept}", &accept_key(key))
}

/// The value of a header in a request.
pub(crate) fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    request.lines().skip(1).find_map(|line| {
        let (n, value) = line.split_once(':')?;
        n.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

/// A small masked frame.
fn masked(buf: &[u8]) -> Option<(Frame, usize)> {
    let (first, second) = (*buf.first()?, *buf.get(1)?);
    assert!(second & 0x80 != 0, "a client masks (RFC 6455 section 5.1)");
    let len = usize::from(second & 0x7F);
    assert!(len < 126, "these tests send small frames");
    let key: [u8; 4] = *buf.get(2..)?.first_chunk()?;
    let payload = buf.get(6..6 + len)?;
    let payload = payload.iter().zip(key.iter().cycle()).map(|(b, k)| b ^ k).collect();
    Some(((first, key, payload), 6 + len))
}

/// Listens on a port of the system's choice and gives the first connection to `script`.
pub(crate) async fn listen<F>(script: impl FnOnce(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a client");
        script(stream).await;
    });
    address
}
