//! A client of HTTP/2 that writes each frame itself (RFC 9113 section 4).

use std::collections::HashMap;
use std::net::SocketAddr;

use provod_testkit::peer::MASK;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::peer::soon;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const ACK: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const PADDED: u8 = 8;

pub(super) const CANCEL: u32 = 8;
pub(super) const ENHANCE_YOUR_CALM: u32 = 11;

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    /// A number of 32 bits in its payload.
    pub(super) fn number(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap();
    let mut out = len.to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// Literal fields without a table (RFC 7541 section 6.2.2).
pub(super) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            if text.len() < 127 {
                out.push(text.len() as u8);
            } else {
                // An integer of several bytes (RFC 7541 section 5.1).
                out.push(127);
                let mut rest = text.len() - 127;
                while rest >= 128 {
                    out.push(rest as u8 | 128);
                    rest >>= 7;
                }
                out.push(rest as u8);
            }
            out.extend(text.as_bytes());
        }
    }
    out
}

pub(super) fn connect_block(more: &[(&str, &str)]) -> Vec<u8> {
    let mut fields = vec![
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/raw"),
        (":authority", "localhost"),
        ("sec-websocket-version", "13"),
    ];
    fields.extend(more);
    block(&fields)
}

pub(super) struct Raw {
    io: TcpStream,
    /// What may still be sent on each stream.
    pub(super) windows: HashMap<u32, i64>,
}

impl Raw {
    /// A connection on which nothing was sent.
    pub(super) async fn silent(address: SocketAddr) -> Self {
        let io = TcpStream::connect(address).await.expect("the server listens");
        Self { io, windows: HashMap::new() }
    }

    /// A connection with its preface, `settings` being the payload of its SETTINGS, whose own
    /// SETTINGS have come.
    pub(super) async fn with(address: SocketAddr, settings: &[u8]) -> Self {
        let mut raw = Self::silent(address).await;
        raw.send(PREFACE).await;
        raw.send(&frame(SETTINGS, 0, 0, settings)).await;
        let first = raw.next().await.expect("SETTINGS");
        assert_eq!((first.kind, first.flags), (SETTINGS, 0));
        let entries = first.payload.chunks(6).map(|entry| {
            let number = u32::from_be_bytes(entry[2..].try_into().unwrap());
            (u16::from_be_bytes([entry[0], entry[1]]), number)
        });
        let entries: HashMap<_, _> = entries.collect();
        assert_eq!(entries[&8], 1, "SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441 section 3)");
        raw.windows.insert(0, i64::from(entries[&4]));
        raw.send(&frame(SETTINGS, ACK, 0, &[])).await;
        raw
    }

    pub(super) async fn open(address: SocketAddr) -> Self {
        Self::with(address, &[]).await
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        soon(self.io.write_all(bytes)).await.expect("the server reads");
    }

    /// As [`send`](Self::send); whether the server has taken it all.
    pub(super) async fn try_send(&mut self, bytes: &[u8]) -> bool {
        soon(self.io.write_all(bytes)).await.is_ok()
    }

    /// The next frame; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        soon(self.io.read_exact(&mut head)).await.ok()?;
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; len];
        soon(self.io.read_exact(&mut payload)).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let frame = Frame { kind: head[3], flags: head[4], stream, payload };
        if frame.kind == WINDOW_UPDATE
            && let Some(window) = self.windows.get_mut(&stream).filter(|_| stream != 0)
        {
            *window += i64::from(frame.number(0));
        }
        Some(frame)
    }

    /// The next frame of this kind on this stream.
    pub(super) async fn until(&mut self, kind: u8, stream: u32) -> Frame {
        loop {
            let frame = self.next().await.expect("more frames");
            if frame.kind == kind && frame.stream == stream {
                return frame;
            }
        }
    }

    /// The code of the GOAWAY with which the server ends the connection.
    pub(super) async fn goaway(&mut self) -> u32 {
        let mut code = None;
        while let Some(frame) = self.next().await {
            if frame.kind == GOAWAY {
                code = Some(frame.number(4));
            }
        }
        code.expect("a GOAWAY before the end")
    }

    /// Asks for a WebSocket on a stream.
    pub(super) async fn request(&mut self, stream: u32) {
        self.windows.insert(stream, self.windows[&0]);
        self.send(&frame(HEADERS, END_HEADERS, stream, &connect_block(&[]))).await;
    }

    /// Opens a WebSocket on a stream.
    pub(super) async fn websocket(&mut self, stream: u32) {
        self.request(stream).await;
        let answer = self.until(HEADERS, stream).await;
        // The field of the static table that is `:status: 200`.
        assert_eq!(answer.payload[0], 0x88, "{answer:?}");
    }

    /// Data on a stream.
    pub(super) async fn data(&mut self, stream: u32, flags: u8, payload: &[u8]) {
        *self.windows.get_mut(&stream).unwrap() -= payload.len() as i64;
        self.send(&frame(DATA, flags, stream, payload)).await;
    }

    /// A WebSocket on a stream echoes.
    pub(super) async fn echo(&mut self, stream: u32, text: &str) {
        self.data(stream, 0, &crate::peer::text(text)).await;
        let answer = self.until(DATA, stream).await;
        assert_eq!(&answer.payload[2..], text.as_bytes());
    }
}

/// A masked Close with a code.
pub(super) fn close(code: u16) -> Vec<u8> {
    let mut out = vec![0x88, 0x82];
    out.extend(MASK);
    out.extend(code.to_be_bytes().iter().zip(MASK).map(|(b, m)| b ^ m));
    out
}
