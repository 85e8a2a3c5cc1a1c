//! Standard input as messages: one for each line.

use bytes::{Bytes, BytesMut};
use provod::{Message, Utf8Bytes};
use tokio::io::{AsyncReadExt as _, Stdin, stdin};

use super::failure::Failure;

/// Bytes in one read.
const READ: usize = 64 << 10;

/// The lines of standard input. No more is read than one line needs.
pub(super) struct Input {
    stdin: Stdin,
    buf: BytesMut,
    /// So much of `buf` holds no line feed.
    scanned: usize,
    /// Lines until now, for errors.
    lines: u64,
    binary: bool,
    /// The longest line, without its ending.
    limit: usize,
}

impl Input {
    pub(super) fn new(binary: bool, limit: usize) -> Self {
        Self { stdin: stdin(), buf: BytesMut::new(), scanned: 0, lines: 0, binary, limit }
    }

    /// The next line; `None` at the end of input.
    ///
    /// Cancel safe: a line is either returned or still waits.
    pub(super) async fn next(&mut self) -> Result<Option<Message>, Failure> {
        loop {
            let fresh = self.buf.get(self.scanned..).unwrap_or_default();
            if let Some(at) = fresh.iter().position(|&b| b == b'\n') {
                let mut line = self.buf.split_to(self.scanned + at + 1);
                line.truncate(line.len() - 1);
                if !self.binary && line.last() == Some(&b'\r') {
                    line.truncate(line.len() - 1);
                }
                self.scanned = 0;
                return self.message(line.freeze()).map(Some);
            }
            self.scanned = self.buf.len();
            // The carriage return in front of a line feed does not count.
            if self.scanned > self.limit.saturating_add(1) {
                return Err(self.too_long());
            }
            self.buf.reserve(READ);
            let read = self.stdin.read_buf(&mut self.buf).await;
            let n = read.map_err(|e| Failure::other(format!("cannot read standard input: {e}")))?;
            if n == 0 {
                if self.buf.is_empty() {
                    return Ok(None);
                }
                self.scanned = 0;
                let line = self.buf.split().freeze();
                return self.message(line).map(Some);
            }
        }
    }

    fn message(&mut self, line: Bytes) -> Result<Message, Failure> {
        if line.len() > self.limit {
            return Err(self.too_long());
        }
        self.lines += 1;
        if self.binary {
            return Ok(Message::Binary(line));
        }
        let text = Utf8Bytes::try_from(line).map_err(|_| {
            let line = self.lines;
            Failure::other(format!("line {line} of the input is not UTF-8; -b sends any bytes"))
        })?;
        Ok(Message::Text(text))
    }

    fn too_long(&self) -> Failure {
        let (line, limit) = (self.lines + 1, self.limit);
        Failure::other(format!(
            "line {line} of the input is longer than {limit} bytes; --max-message allows more"
        ))
    }
}
