use std::io::Write as _;
use std::net::SocketAddr;

use super::answer::Answer;
use super::request::Request;
use super::wire::{Heard, Wire};
use crate::Error;
use crate::options::Options;

pub(super) struct Http1 {
    /// The head, but for the number that a long poll asks for.
    request: Vec<u8>,
    /// Where that number is.
    number_at: usize,
    answer: Answer,
    /// What was received of a response without an end, and not taken yet.
    body: Vec<u8>,
    /// The head of a response without an end has come.
    in_chunks: bool,
}

impl Http1 {
    pub(super) fn new(options: &Options, host: SocketAddr) -> Self {
        let request = Request::new(options, host);
        let number_at = request.method.len() + " /poll?after=".len();
        let mut head = Vec::new();
        request.write_http1(&mut head);
        let answer = Answer::new(options);
        Self { request: head, number_at, answer, body: Vec::new(), in_chunks: false }
    }

    fn ask(&mut self, out: &mut Vec<u8>) {
        if let Answer::Poll(number) = self.answer {
            let at = self.number_at;
            // Eight digits replace eight; a vector takes whatever is written.
            let _ = write!(&mut self.request[at..at + 8], "{number:08}");
        }
        out.extend_from_slice(&self.request);
    }

    /// The chunks that are whole (RFC 9112 section 7.1); says how long they are.
    fn chunks(&mut self, input: &[u8], heard: &mut dyn FnMut(Heard<'_>)) -> Result<usize, Error> {
        let mut at = 0;
        while let httparse::Status::Complete((line, len)) = chunk_size(&input[at..])? {
            let begin = at + line;
            let end = begin + usize::try_from(len)?;
            if len == 0 || input.len() < end + 2 {
                break;
            }
            self.body.extend_from_slice(&input[begin..end]);
            at = end + 2;
        }
        let taken = self.answer.part(&self.body, heard)?;
        self.body.drain(..taken);
        Ok(at)
    }
}

fn chunk_size(input: &[u8]) -> Result<httparse::Status<(usize, u64)>, Error> {
    httparse::parse_chunk_size(input).map_err(|_| "this is no chunk".into())
}

impl Wire for Http1 {
    fn begin(&mut self, out: &mut Vec<u8>, heard: &mut dyn FnMut(Heard<'_>)) {
        match self.answer {
            Answer::Echo => heard(Heard::Open),
            Answer::Poll(_) => {
                heard(Heard::Open);
                self.ask(out);
            }
            Answer::Events => self.ask(out),
        }
    }

    fn say(&mut self, message: &[u8], out: &mut Vec<u8>) {
        self.ask(out);
        out.extend_from_slice(message);
    }

    fn hear(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        heard: &mut dyn FnMut(Heard<'_>),
    ) -> Result<usize, Error> {
        if self.in_chunks {
            return self.chunks(input, heard);
        }
        let mut at = 0;
        while at < input.len() {
            let mut headers = [httparse::EMPTY_HEADER; 16];
            let mut response = httparse::Response::new(&mut headers);
            let httparse::Status::Complete(head) = response.parse(&input[at..])? else { break };
            if response.code != Some(200) {
                return Err(format!("the server answered {:?}", response.code).into());
            }
            let length = response.headers.iter().find(|h| h.name == "content-length");
            let Some(length) = length else {
                self.in_chunks = true;
                heard(Heard::Open);
                at += head;
                return Ok(at + self.chunks(&input[at..], heard)?);
            };
            let length: usize = std::str::from_utf8(length.value)?.parse()?;
            let Some(body) = input.get(at + head..at + head + length) else { break };
            self.answer.whole(body, heard)?;
            if matches!(self.answer, Answer::Poll(_)) {
                self.ask(out);
            }
            at += head + length;
        }
        Ok(at)
    }
}
