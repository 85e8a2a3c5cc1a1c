use std::net::SocketAddr;

use provod_proto::{FrameHeader, OpCode, apply_mask};

use super::request::Request;
use super::wire::{Heard, Wire};
use crate::Error;
use crate::options::{Options, Work};

/// The sample of RFC 6455 section 1.3: which one it is costs the same.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

pub(super) struct WebSocket {
    request: Vec<u8>,
    is_open: bool,
    /// Of the next masking key: a browser's are random, and cost the server the same.
    seed: u32,
}

impl WebSocket {
    pub(super) fn new(options: &Options, host: SocketAddr) -> Self {
        let path = if options.work == Work::Echo { "/echo" } else { "/events" };
        let mut request = Request::websocket(options.browser, host);
        request.path = path.to_owned();
        request.set("Sec-WebSocket-Key", KEY);
        let mut head = Vec::new();
        request.write_http1(&mut head);
        Self { request: head, is_open: false, seed: 0x9E37_79B9 }
    }

    fn frame(&mut self, opcode: OpCode, payload: &[u8], out: &mut Vec<u8>) {
        self.seed = self.seed.wrapping_mul(0x0019_660D).wrapping_add(0x3C6E_F35F);
        let key = self.seed.to_be_bytes();
        let len = payload.len() as u64;
        FrameHeader { fin: true, rsv1: false, opcode, mask: Some(key), len }.encode(out);
        let begin = out.len();
        out.extend_from_slice(payload);
        apply_mask(&mut out[begin..], key, 0);
    }

    /// The server's answer to the handshake, when it is whole.
    fn upgraded(&mut self, input: &[u8]) -> Result<Option<usize>, Error> {
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut response = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(len) = response.parse(input)? else {
            return Ok(None);
        };
        let accepts = |header: &httparse::Header<'_>| {
            header.name.eq_ignore_ascii_case("sec-websocket-accept")
                && header.value == ACCEPT.as_bytes()
        };
        if response.code != Some(101) || !response.headers.iter().any(accepts) {
            return Err(format!("no WebSocket: {}", String::from_utf8_lossy(&input[..len])).into());
        }
        self.is_open = true;
        Ok(Some(len))
    }
}

impl Wire for WebSocket {
    fn begin(&mut self, out: &mut Vec<u8>, _: &mut dyn FnMut(Heard<'_>)) {
        out.extend_from_slice(&self.request);
        self.request = Vec::new();
    }

    fn say(&mut self, message: &[u8], out: &mut Vec<u8>) {
        self.frame(OpCode::Text, message, out);
    }

    fn hear(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        heard: &mut dyn FnMut(Heard<'_>),
    ) -> Result<usize, Error> {
        let mut at = 0;
        if !self.is_open {
            let Some(len) = self.upgraded(input)? else { return Ok(0) };
            at = len;
            heard(Heard::Open);
        }
        while let Some((opcode, header, len)) = frame_at(&input[at..])? {
            let Some(payload) = input.get(at + header..at + header + len) else { break };
            match opcode {
                OpCode::Text => heard(Heard::Message(payload)),
                OpCode::Ping => self.frame(OpCode::Pong, payload, out),
                other => return Err(format!("the server sent a {other:?} frame").into()),
            }
            at += header + len;
        }
        Ok(at)
    }
}

/// Opcode, length of the header, length of the payload; `None` where the header is not whole. The
/// server under test sends messages whole, short, and without an extension.
fn frame_at(input: &[u8]) -> Result<Option<(OpCode, usize, usize)>, Error> {
    let &[first, second, ..] = input else { return Ok(None) };
    let opcode = match first {
        0x81 => OpCode::Text,
        0x88 => OpCode::Close,
        0x89 => OpCode::Ping,
        _ => return Err(format!("the server sent a frame that begins with {first:#x}").into()),
    };
    match (second, input) {
        (0..=125, _) => Ok(Some((opcode, 2, usize::from(second)))),
        (126, &[_, _, high, low, ..]) => {
            Ok(Some((opcode, 4, usize::from(u16::from_be_bytes([high, low])))))
        }
        (126, _) => Ok(None),
        _ => Err("the server sent a masked or a very long frame".into()),
    }
}
