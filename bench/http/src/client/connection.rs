use std::io::{ErrorKind, Read as _, Write as _};
use std::time::Instant;

use mio::net::TcpStream;

use super::wire::{Heard, Wire};
use crate::Error;

pub(super) struct Connection {
    pub(super) socket: TcpStream,
    wire: Box<dyn Wire>,
    /// The beginning of what is not whole yet.
    rest: Vec<u8>,
    out: Vec<u8>,
    pub(super) is_open: bool,
    /// Of the message that comes next.
    pub(super) number: u64,
    pub(super) asked: Instant,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

impl Connection {
    /// The socket is connected.
    pub(super) fn new(socket: TcpStream, wire: Box<dyn Wire>) -> Self {
        let (rest, out) = (Vec::new(), Vec::new());
        let (asked, number) = (Instant::now(), 1);
        let (bytes_in, bytes_out, is_open) = (0, 0, false);
        Self { socket, wire, rest, out, is_open, number, asked, bytes_in, bytes_out }
    }

    pub(super) fn begin(&mut self) -> Result<(), Error> {
        let is_open = &mut self.is_open;
        self.wire.begin(&mut self.out, &mut |_| *is_open = true);
        self.flush()
    }

    pub(super) fn say(&mut self, message: &[u8]) -> Result<(), Error> {
        self.asked = Instant::now();
        self.wire.say(message, &mut self.out);
        self.flush()
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.out.is_empty() {
            return Ok(());
        }
        // A few kilobytes in flight fit into any socket's buffer.
        if self.socket.write(&self.out)? < self.out.len() {
            return Err("the socket does not take a whole message".into());
        }
        self.bytes_out += self.out.len() as u64;
        self.out.clear();
        Ok(())
    }

    /// Reads what there is, and hands the messages in it to `message`.
    pub(super) fn receive(
        &mut self,
        buffer: &mut [u8],
        mut message: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let n = match self.socket.read(buffer) {
            Ok(0) => return Err("the server closed a connection".into()),
            Ok(n) if n == buffer.len() => return Err("more than fits was in flight".into()),
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        self.bytes_in += n as u64;
        let mut wrong = Ok(());
        let is_open = &mut self.is_open;
        let mut heard = |heard: Heard<'_>| match heard {
            Heard::Open => *is_open = true,
            Heard::Message(text) if wrong.is_ok() => wrong = message(text),
            Heard::Message(_) => {}
        };
        if self.rest.is_empty() {
            let taken = self.wire.hear(&buffer[..n], &mut self.out, &mut heard)?;
            self.rest.extend_from_slice(&buffer[taken..n]);
        } else {
            self.rest.extend_from_slice(&buffer[..n]);
            let taken = self.wire.hear(&self.rest, &mut self.out, &mut heard)?;
            self.rest.drain(..taken);
        }
        wrong?;
        self.flush()
    }
}
