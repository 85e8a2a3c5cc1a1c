//! What a server sends, read frame by frame without keeping it.
//!
//! The core's `Connection` would inflate, check and assemble every message. A generator that does
//! all that costs as much as the server that it measures, so here each frame's header is checked,
//! and of the payload what the [`Receiver`] wants to look at.

use crate::bench::failure::Wrong;

/// The longest header of a server's frame: two bytes and eight of length.
const MAX_HEADER: usize = 10;
const MAX_CONTROL: u64 = 125;

const CONTINUATION: u8 = 0;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Takes the messages of one connection.
pub(super) trait Receiver {
    /// A message begins with a frame of this opcode.
    fn start(&mut self, opcode: u8, compressed: bool) -> Result<(), Wrong>;
    /// The next bytes of it; `at` of its payload came before.
    fn chunk(&mut self, bytes: &[u8], at: u64) -> Result<(), Wrong>;
    /// It has ended with this length, as it was on the wire.
    fn end(&mut self, len: u64) -> Result<(), Wrong>;
}

/// Where in the stream a connection stands.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    /// Payload bytes of the current frame that are still to come.
    rest: u64,
    /// Of the current message, the frames before included.
    len: u64,
    header: [u8; MAX_HEADER],
    held: u8,
    in_payload: bool,
    in_message: bool,
    fin: bool,
    /// The opcode of the current frame where it is a control frame, else 0.
    control: u8,
    control_payload: Vec<u8>,
    /// Payloads of Pings that wait for their Pong.
    pub(super) pings: Vec<Vec<u8>>,
}

/// A header: first byte, payload length, and how many bytes it took.
type Header = (u8, u64, usize);

/// Reads a header from the front of `bytes`, `None` where it is not whole.
fn header(bytes: &[u8]) -> Result<Option<Header>, Wrong> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    if second & 0x80 != 0 {
        return Err(Wrong::Protocol("a masked frame"));
    }
    let (len, size, least) = match second {
        126 => {
            let Some(len) = rest.first_chunk() else { return Ok(None) };
            (u64::from(u16::from_be_bytes(*len)), 4, 126)
        }
        127 => {
            let Some(len) = rest.first_chunk() else { return Ok(None) };
            (u64::from_be_bytes(*len), MAX_HEADER, 0x1_0000)
        }
        &short => (u64::from(short), 2, 0),
    };
    if len < least {
        return Err(Wrong::Protocol("a length in more bytes than it needs"));
    }
    Ok(Some((*first, len, size)))
}

impl Incoming {
    /// Takes all of `bytes`.
    pub(super) fn feed<R: Receiver>(
        &mut self,
        mut bytes: &[u8],
        receiver: &mut R,
    ) -> Result<(), Wrong> {
        while !bytes.is_empty() {
            if !self.in_payload {
                let Some(used) = self.read_header(bytes, receiver)? else { return Ok(()) };
                bytes = &bytes[used..];
            }
            let n = usize::try_from(self.rest).unwrap_or(usize::MAX).min(bytes.len());
            let (now, later) = bytes.split_at(n);
            bytes = later;
            if self.control != 0 {
                self.control_payload.extend_from_slice(now);
            } else if n > 0 {
                receiver.chunk(now, self.len)?;
                self.len = self.len.saturating_add(n as u64);
            }
            self.rest -= n as u64;
            if self.rest == 0 {
                self.in_payload = false;
                self.end_frame(receiver)?;
            }
        }
        Ok(())
    }

    /// Takes all of `bytes` from a server that returns frames as they are: `next` is the length of
    /// the one that comes next, its header included.
    pub(super) fn feed_raw<R: Receiver>(
        &mut self,
        mut bytes: &[u8],
        opcode: u8,
        receiver: &mut R,
        next: impl Fn(&R) -> usize,
    ) -> Result<(), Wrong> {
        while !bytes.is_empty() {
            if !self.in_payload {
                receiver.start(opcode, false)?;
                (self.rest, self.len, self.in_payload) = (next(receiver) as u64, 0, true);
            }
            let n = usize::try_from(self.rest).unwrap_or(usize::MAX).min(bytes.len());
            let (now, later) = bytes.split_at(n);
            bytes = later;
            receiver.chunk(now, self.len)?;
            self.len += n as u64;
            self.rest -= n as u64;
            if self.rest == 0 {
                self.in_payload = false;
                receiver.end(self.len)?;
            }
        }
        Ok(())
    }

    /// Reads a header that may have begun in earlier input; returns how many bytes of `bytes` it
    /// took, `None` when it is not whole yet and they were kept.
    fn read_header<R: Receiver>(
        &mut self,
        bytes: &[u8],
        receiver: &mut R,
    ) -> Result<Option<usize>, Wrong> {
        let held = usize::from(self.held);
        let (found, before) = if held == 0 {
            (header(bytes)?, 0)
        } else {
            let n = bytes.len().min(MAX_HEADER - held);
            self.header[held..held + n].copy_from_slice(&bytes[..n]);
            (header(&self.header[..held + n])?, held)
        };
        let Some((first, len, size)) = found else {
            let n = bytes.len().min(MAX_HEADER - held);
            self.header[held..held + n].copy_from_slice(&bytes[..n]);
            self.held += n as u8;
            return Ok(None);
        };
        self.held = 0;
        self.begin_frame(first, len, receiver)?;
        Ok(Some(size - before))
    }

    fn begin_frame<R: Receiver>(
        &mut self,
        first: u8,
        len: u64,
        receiver: &mut R,
    ) -> Result<(), Wrong> {
        let opcode = first & 0x0F;
        let compressed = first & 0x40 != 0;
        self.fin = first & 0x80 != 0;
        if first & 0x30 != 0 {
            return Err(Wrong::Protocol("a reserved bit"));
        }
        if opcode >= CLOSE {
            if opcode > PONG || !self.fin || compressed || len > MAX_CONTROL {
                return Err(Wrong::Protocol("a control frame that cannot be"));
            }
            self.control = opcode;
            self.control_payload.clear();
        } else {
            self.control = 0;
            if self.in_message != (opcode == CONTINUATION) || (self.in_message && compressed) {
                return Err(Wrong::Protocol("a fragment out of place"));
            }
            if !self.in_message {
                self.len = 0;
                self.in_message = true;
                receiver.start(opcode, compressed)?;
            }
        }
        self.rest = len;
        self.in_payload = true;
        Ok(())
    }

    fn end_frame<R: Receiver>(&mut self, receiver: &mut R) -> Result<(), Wrong> {
        match std::mem::take(&mut self.control) {
            0 if self.fin => {
                self.in_message = false;
                receiver.end(self.len)
            }
            CLOSE => Err(Wrong::close(&self.control_payload)),
            PING => {
                // One answer for all Pings of one read would do (RFC 6455 section 5.5.3).
                if self.pings.len() < 64 {
                    self.pings.push(std::mem::take(&mut self.control_payload));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Incoming, Receiver};
    use crate::bench::failure::Wrong;
    use provod::proto::{FrameHeader, OpCode};

    #[derive(Default)]
    struct Seen {
        messages: Vec<(u8, bool, Vec<u8>)>,
        lens: Vec<u64>,
    }

    impl Receiver for Seen {
        fn start(&mut self, opcode: u8, compressed: bool) -> Result<(), Wrong> {
            self.messages.push((opcode, compressed, Vec::new()));
            Ok(())
        }

        fn chunk(&mut self, bytes: &[u8], at: u64) -> Result<(), Wrong> {
            let (_, _, all) = self.messages.last_mut().unwrap();
            assert_eq!(at, all.len() as u64);
            all.extend_from_slice(bytes);
            Ok(())
        }

        fn end(&mut self, len: u64) -> Result<(), Wrong> {
            self.lens.push(len);
            Ok(())
        }
    }

    fn frame(fin: bool, rsv1: bool, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let len = payload.len() as u64;
        FrameHeader { fin, rsv1, opcode, mask: None, len }.encode(&mut out);
        out.extend_from_slice(payload);
        out
    }

    #[test]
    fn what_the_core_writes_is_read_however_it_is_cut() {
        let mut wire = Vec::new();
        let mut want = Vec::new();
        for (i, len) in [0, 1, 125, 126, 127, 65_535, 65_536].into_iter().enumerate() {
            let payload: Vec<u8> = (0..len).map(|k| (k * 31 + i) as u8).collect();
            let (first, last) = payload.split_at(len / 3);
            wire.extend(frame(false, i % 2 == 0, OpCode::Text, first));
            wire.extend(frame(true, false, OpCode::Ping, b"between"));
            wire.extend(frame(true, false, OpCode::Continuation, last));
            wire.extend(frame(true, false, OpCode::Binary, &payload));
            want.push((1, i % 2 == 0, payload.clone()));
            want.push((2, false, payload));
        }
        for size in [1, 2, 3, 7, 4096, wire.len()] {
            let (mut incoming, mut seen) = (Incoming::default(), Seen::default());
            for piece in wire.chunks(size) {
                incoming.feed(piece, &mut seen).unwrap();
            }
            assert!(seen.messages == want, "pieces of {size}");
            let lens: Vec<_> = want.iter().map(|(_, _, all)| all.len() as u64).collect();
            assert_eq!(seen.lens, lens);
            assert_eq!(incoming.pings.len(), 7);
        }
    }

    #[test]
    fn what_no_server_may_send_is_refused() {
        for bytes in [
            &[0x81, 0x80][..],      // masked
            &[0xA1, 0],             // a reserved bit
            &[0x80, 0],             // a continuation of nothing
            &[0x01, 0, 0x81, 0],    // a message inside a message
            &[0x83, 0],             // no opcode, and in no message
            &[0x8B, 0],             // no opcode
            &[0x09, 0],             // a control frame in pieces
            &[0x89, 126, 0, 126],   // one that is too long
            &[0x82, 126, 0, 5],     // a length that is too long
            &[0xC9, 0],             // a compressed Ping
            &[0x88, 2, 0x03, 0xE9], // a Close
        ] {
            let mut seen = Seen::default();
            let refused = Incoming::default().feed(bytes, &mut seen).is_err();
            // Whether an opcode of data is the right one is for the receiver to say.
            assert_eq!(refused, bytes != [0x83, 0], "{bytes:x?}");
        }
    }
}
