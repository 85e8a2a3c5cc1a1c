//! HTTP/2 without negotiation (RFC 9113 section 3.3): one connection, one request after the other.
//! Its fields are sent literally once, and by their index in the table afterwards (RFC 7541): the
//! best that a browser can do, too.

use std::net::SocketAddr;

use super::answer::Answer;
use super::request::Request;
use super::wire::{Heard, Wire};
use crate::Error;
use crate::options::Options;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;
const MAX_WINDOW: u32 = (1 << 31) - 1;

pub(super) struct Http2 {
    request: Request,
    answer: Answer,
    stream: u32,
    /// The fields of a request that come by index.
    indexed: Vec<u8>,
    /// What was received of the response's body, and not taken yet.
    body: Vec<u8>,
    is_open: bool,
}

impl Http2 {
    pub(super) fn new(options: &Options, host: SocketAddr) -> Self {
        let mut request = Request::new(options, host);
        // A connection is not a field any more (RFC 9113 section 8.2.2), and a cookie is a field of
        // its own (section 8.2.3).
        request.fields.retain(|(name, _)| name != "Connection");
        let split = |(name, value): (String, String)| -> Vec<_> {
            let name = if name == "Host" { ":authority".into() } else { name.to_ascii_lowercase() };
            let separator = if name == "cookie" { "; " } else { "\n" };
            value.split(separator).map(|value| (name.clone(), value.to_owned())).collect()
        };
        request.fields = request.fields.into_iter().flat_map(split).collect();
        let answer = Answer::new(options);
        Self { request, answer, stream: 1, indexed: Vec::new(), body: Vec::new(), is_open: false }
    }

    fn ask(&mut self, flags: u8, out: &mut Vec<u8>) {
        let mut block = Vec::new();
        // :method and :scheme are in the static table.
        block.push(if self.request.method == "POST" { 0x83 } else { 0x82 });
        block.push(0x86);
        match self.answer {
            // Literally and not kept: the next one is another.
            Answer::Poll(number) => {
                block.push(0x04);
                string(&format!("/poll?after={number:08}"), &mut block);
            }
            _ if self.indexed.is_empty() => {
                block.push(0x44);
                string(&self.request.path, &mut block);
            }
            _ => {}
        }
        if self.indexed.is_empty() {
            for (name, value) in &self.request.fields {
                block.push(0x40);
                string(name, &mut block);
                string(value, &mut block);
            }
            // The newest has the lowest number, 62, and the order is that of the first time.
            let path = usize::from(!matches!(self.answer, Answer::Poll(_)));
            let kept = self.request.fields.len() + path;
            self.indexed = (0..kept as u8).rev().map(|age| 0x80 | (62 + age)).collect();
        } else {
            block.extend_from_slice(&self.indexed);
        }
        frame(HEADERS, END_HEADERS | flags, self.stream, &block, out);
    }

    fn ask_for_more(&mut self, out: &mut Vec<u8>) {
        self.stream += 2;
        self.ask(END_STREAM, out);
    }

    fn end(&mut self, out: &mut Vec<u8>, heard: &mut dyn FnMut(Heard<'_>)) -> Result<(), Error> {
        let body = std::mem::take(&mut self.body);
        self.answer.whole(&body, heard)?;
        if matches!(self.answer, Answer::Poll(_)) {
            self.ask_for_more(out);
        }
        Ok(())
    }
}

/// A string literal without Huffman's code; those sent here have less than 16 KiB.
fn string(text: &str, out: &mut Vec<u8>) {
    match text.len() {
        len @ 0..127 => out.push(len as u8),
        len => {
            // RFC 7541 section 5.1, with a prefix of seven bits.
            let rest = len - 127;
            out.push(127);
            if rest >= 128 {
                out.push(0x80 | (rest % 128) as u8);
            }
            out.push(if rest >= 128 { (rest / 128) as u8 } else { rest as u8 });
        }
    }
    out.extend_from_slice(text.as_bytes());
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

impl Wire for Http2 {
    fn begin(&mut self, out: &mut Vec<u8>, heard: &mut dyn FnMut(Heard<'_>)) {
        out.extend_from_slice(PREFACE);
        // SETTINGS_INITIAL_WINDOW_SIZE: what is received here never waits.
        let [a, b, c, d] = MAX_WINDOW.to_be_bytes();
        frame(SETTINGS, 0, 0, &[0, 4, a, b, c, d], out);
        frame(WINDOW_UPDATE, 0, 0, &(MAX_WINDOW - 65_535).to_be_bytes(), out);
        match self.answer {
            Answer::Echo => self.stream = u32::MAX,
            Answer::Poll(_) | Answer::Events => self.ask(END_STREAM, out),
        }
        if !matches!(self.answer, Answer::Events) {
            heard(Heard::Open);
        }
    }

    fn say(&mut self, message: &[u8], out: &mut Vec<u8>) {
        // The first one is 1.
        self.stream = self.stream.wrapping_add(2);
        self.ask(0, out);
        frame(DATA, END_STREAM, self.stream, message, out);
    }

    fn hear(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        heard: &mut dyn FnMut(Heard<'_>),
    ) -> Result<usize, Error> {
        let mut at = 0;
        while let Some(&[l0, l1, l2, kind, flags, ..]) = input.get(at..at + 9) {
            let len = u32::from_be_bytes([0, l0, l1, l2]) as usize;
            let Some(payload) = input.get(at + 9..at + 9 + len) else { break };
            at += 9 + len;
            match (kind, flags & ACK != 0) {
                (DATA, last) => {
                    self.body.extend_from_slice(payload);
                    let taken = self.answer.part(&self.body, heard)?;
                    self.body.drain(..taken);
                    if last {
                        self.end(out, heard)?;
                    }
                }
                // Index 8 is ":status 200".
                (HEADERS, false) if payload.first() == Some(&0x88) => {
                    if matches!(self.answer, Answer::Events) && !self.is_open {
                        self.is_open = true;
                        heard(Heard::Open);
                    }
                }
                (SETTINGS, false) => frame(SETTINGS, ACK, 0, &[], out),
                (PING, false) => frame(PING, ACK, 0, payload, out),
                (SETTINGS | PING, true) | (WINDOW_UPDATE, _) => {}
                _ => return Err(format!("frame of type {kind}: {payload:x?}").into()),
            }
        }
        Ok(at)
    }
}
