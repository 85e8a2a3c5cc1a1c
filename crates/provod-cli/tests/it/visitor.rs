//! `provod connect` as a child process, and servers for it that obey no rule.

use std::process::{Output, Stdio};

use provod_proto::handshake::accept_key;
use provod_proto::raw::RawFrame;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use crate::peer::soon;
use crate::process::BINARY;

/// `provod connect`, not started yet; all three streams are pipes.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.arg("connect").args(arguments).kill_on_drop(true);
    // Tests that want a proxy say so.
    for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs `provod connect` with this input until it ends.
pub(crate) fn visit<I: AsRef<[u8]>>(
    arguments: &[&str],
    input: I,
) -> impl Future<Output = Visit> + use<I> {
    let child = command(arguments).spawn().unwrap();
    finish(child, input)
}

/// Gives it the rest of its input and waits for its end.
pub(crate) async fn finish(mut child: Child, input: impl AsRef<[u8]>) -> Visit {
    let stdin = child.stdin.take();
    let feed = async {
        if let Some(mut stdin) = stdin {
            // It may end before it has read all.
            let _ = stdin.write_all(input.as_ref()).await;
        }
    };
    let (_, output) = soon(async { tokio::join!(feed, child.wait_with_output()) }).await;
    Visit::new(output.unwrap())
}

/// Waits for its end while its input stays open.
pub(crate) async fn ended(mut child: Child) -> Visit {
    let stdin = child.stdin.take();
    let output = soon(child.wait_with_output()).await.unwrap();
    drop(stdin);
    Visit::new(output)
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Visit {
    fn new(output: Output) -> Self {
        let stderr = String::from_utf8(output.stderr).expect("it is escaped");
        Self { code: output.status.code(), stdout: output.stdout, stderr }
    }

    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("text")
    }

    /// It ended well and had nothing to complain about.
    #[track_caller]
    pub(crate) fn expect_ok(&self, stdout: impl AsRef<[u8]>) {
        assert_eq!((self.code, &*self.stderr), (Some(0), ""), "{self:?}");
        assert!(self.stdout == stdout.as_ref(), "{self:?}");
    }

    /// It failed with this code, and one line that holds all of `says`.
    #[track_caller]
    pub(crate) fn expect_failure(&self, code: i32, says: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        let line = self.stderr.strip_suffix('\n').unwrap_or_default();
        assert!(line.starts_with("provod: "), "{self:?}");
        assert!(!line.contains(char::is_control), "{self:?}");
        for part in says {
            assert!(line.contains(part), "no {part:?} in {self:?}");
        }
    }
}

/// A server that does as a test says.
pub(crate) struct Host {
    listener: TcpListener,
}

impl Host {
    pub(crate) async fn new() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/", self.listener.local_addr().unwrap())
    }

    /// The next guest, before its request.
    pub(crate) async fn guest(&self) -> Guest {
        let (io, _) = soon(self.listener.accept()).await.unwrap();
        Guest { io, buf: Vec::new() }
    }

    /// A guest whose WebSocket is open; and its request.
    pub(crate) async fn open(&self) -> (Guest, String) {
        self.open_with(&[]).await
    }

    pub(crate) async fn open_with(&self, lines: &[&str]) -> (Guest, String) {
        let mut guest = self.guest().await;
        let head = guest.head().await;
        guest.send(answer(&head, lines)).await;
        (guest, head)
    }
}

/// A good answer to this request, with more header lines.
pub(crate) fn answer(head: &str, lines: &[&str]) -> String {
    let key = field(head, "Sec-WebSocket-Key").expect("a key");
    let mut answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n",
        accept_key(key)
    );
    for line in lines {
        answer.push_str(line);
        answer.push_str("\r\n");
    }
    answer + "\r\n"
}

pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (n, value) = line.split_once(':')?;
        n.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

/// A connection of `provod connect`, seen from the server.
pub(crate) struct Guest {
    pub(crate) io: TcpStream,
    buf: Vec<u8>,
}

impl Guest {
    async fn fill(&mut self) -> bool {
        soon(self.io.read_buf(&mut self.buf)).await.is_ok_and(|n| n > 0)
    }

    pub(crate) async fn head(&mut self) -> String {
        loop {
            if let Some(at) = self.buf.windows(4).position(|w| w == b"\r\n\r\n") {
                let head = self.buf.drain(..at + 4).collect();
                return String::from_utf8(head).unwrap();
            }
            assert!(self.fill().await, "no request");
        }
    }

    /// Sends; a client that has gone is no failure.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = soon(self.io.write_all(bytes.as_ref())).await;
    }

    /// The next frame, as opcode and payload; `None` at the end of the stream.
    pub(crate) async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((frame, n)) = parse(&self.buf) {
                self.buf.drain(..n);
                return Some(frame);
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    #[track_caller]
    pub(crate) fn expect(&mut self, opcode: u8, payload: &[u8]) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let got = self.frame().await;
            assert!(got == Some((opcode, payload.to_vec())), "{got:?}: {caller}");
        }
    }

    pub(crate) async fn expect_close(&mut self, code: u16) {
        let (opcode, payload) = self.frame().await.expect("a Close");
        let got = payload.first_chunk().map(|c| u16::from_be_bytes(*c));
        assert_eq!((opcode, got), (8, Some(code)), "{payload:?}");
    }

    /// The end of the stream, however it comes.
    pub(crate) async fn gone(&mut self) {
        while self.fill().await {
            self.buf.clear();
        }
    }

    /// Answers the client's Close and hangs up.
    pub(crate) async fn bye(mut self) {
        self.expect_close(1000).await;
        self.send(close(1000, "")).await;
    }

    /// Ends with RST instead of FIN.
    pub(crate) fn reset(self) {
        self.io.set_zero_linger().unwrap();
    }
}

fn parse(buf: &[u8]) -> Option<((u8, Vec<u8>), usize)> {
    let (first, second) = (*buf.first()?, *buf.get(1)?);
    assert_eq!(second & 0x80, 0x80, "a client masks");
    let (len, at) = match second & 0x7F {
        126 => (u16::from_be_bytes(*buf.get(2..)?.first_chunk()?).into(), 4),
        127 => (usize::try_from(u64::from_be_bytes(*buf.get(2..)?.first_chunk()?)).unwrap(), 10),
        n => (n.into(), 2),
    };
    let mask: [u8; 4] = *buf.get(at..)?.first_chunk()?;
    let payload = buf.get(at + 4..at + 4 + len)?;
    let payload = payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m).collect();
    Some(((first & 0x0F, payload), at + 4 + len))
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    RawFrame::new(1, text).to_bytes()
}

pub(crate) fn binary(bytes: &[u8]) -> Vec<u8> {
    RawFrame::new(2, bytes).to_bytes()
}

pub(crate) fn close(code: u16, reason: &str) -> Vec<u8> {
    RawFrame::new(8, [&code.to_be_bytes()[..], reason.as_bytes()].concat()).to_bytes()
}
