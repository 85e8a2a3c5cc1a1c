//! Messages on standard output.

use std::io::{self, IsTerminal as _};

use provod::{Error, Message, WebSocket};
use tokio::io::{AsyncWriteExt as _, Stdout, stdout};

use crate::escape;

/// Messages are written together up to this many bytes.
const BATCH: usize = 64 << 10;

/// Standard output. While it takes nothing, no message is taken from the connection either.
pub(super) struct Output {
    stdout: Stdout,
    batch: Vec<u8>,
    /// A terminal would obey what the peer sends.
    terminal: bool,
}

impl Output {
    pub(super) fn new() -> Self {
        let terminal = io::stdout().is_terminal();
        Self { stdout: stdout(), batch: Vec::new(), terminal }
    }

    /// Prints all messages until the connection ends; returns how it ended. Those that are at hand
    /// together are written together, and a lone one at once.
    pub(super) async fn print_all(&mut self, ws: &mut WebSocket) -> io::Result<Result<(), Error>> {
        loop {
            let mut next = ws.recv().await;
            let end = loop {
                match next {
                    Ok(Some(message)) => self.push(&message).await?,
                    Ok(None) => break Some(Ok(())),
                    Err(e) => break Some(Err(e)),
                }
                if self.batch.len() >= BATCH {
                    break None;
                }
                next = tokio::select! {
                    biased;
                    next = ws.recv() => next,
                    () = std::future::ready(()) => break None,
                };
            };
            self.flush().await?;
            if let Some(end) = end {
                return Ok(end);
            }
        }
    }

    /// Prints one message.
    pub(super) async fn print(&mut self, message: &Message) -> io::Result<()> {
        self.push(message).await?;
        self.flush().await
    }

    async fn push(&mut self, message: &Message) -> io::Result<()> {
        let bytes = message.as_bytes();
        if self.terminal {
            self.push_escaped(bytes).await?;
        } else if bytes.len() < BATCH {
            self.batch.extend_from_slice(bytes);
        } else {
            self.write_batch().await?;
            self.stdout.write_all(bytes).await?;
        }
        // Binary data stays as it is, but on a terminal each message has a line of its own.
        if self.terminal || matches!(message, Message::Text(_)) {
            self.batch.push(b'\n');
        }
        Ok(())
    }

    async fn push_escaped(&mut self, bytes: &[u8]) -> io::Result<()> {
        for chunk in bytes.utf8_chunks() {
            for c in chunk.valid().chars() {
                escape::push_char(&mut self.batch, c);
                if self.batch.len() >= BATCH {
                    self.write_batch().await?;
                }
            }
            escape::push_invalid(&mut self.batch, chunk.invalid());
        }
        Ok(())
    }

    async fn write_batch(&mut self) -> io::Result<()> {
        self.stdout.write_all(&self.batch).await?;
        self.batch.clear();
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.write_batch().await?;
        self.stdout.flush().await
    }
}
