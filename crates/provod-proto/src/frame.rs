//! The frame codec (RFC 6455 section 5.2): headers in, headers out.

use crate::config::Side;
use crate::error::ProtocolError;
use crate::message::MessageKind;

/// What a frame is (RFC 6455 section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum OpCode {
    /// The next fragment of a message.
    Continuation = 0x0,
    /// The first fragment, or the whole, of a text message.
    Text = 0x1,
    /// The first fragment, or the whole, of a binary message.
    Binary = 0x2,
    /// The closing handshake.
    Close = 0x8,
    /// A question that a Pong answers.
    Ping = 0x9,
    /// The answer to a Ping, or an unasked sign of life.
    Pong = 0xA,
}

impl OpCode {
    fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }

    /// Close, Ping or Pong (RFC 6455 section 5.5).
    #[must_use]
    pub fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// The longest header: two bytes, eight of length, four of masking key.
pub(crate) const MAX_HEADER: usize = 14;
/// The longest payload of a control frame (RFC 6455 section 5.5).
pub(crate) const MAX_CONTROL: usize = 125;

/// The header of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// Last fragment of its message.
    pub fin: bool,
    /// First frame of a compressed message (RFC 7692 section 6).
    pub rsv1: bool,
    /// What the frame is.
    pub opcode: OpCode,
    /// The masking key; `Some` from clients, `None` from servers.
    pub mask: Option<[u8; 4]>,
    /// Length of the payload in bytes, at most 2^63-1.
    pub len: u64,
}

impl FrameHeader {
    /// Appends the header to `out`, its length minimally encoded.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) {
        let first = u8::from(self.fin) << 7 | u8::from(self.rsv1) << 6 | self.opcode as u8;
        match (self.len, self.mask) {
            // The usual case: a short message of a server.
            (len @ 0..=125, None) => out.extend_from_slice(&[first, len as u8]),
            _ => self.encode_long(first, out),
        }
    }

    fn encode_long(&self, first: u8, out: &mut Vec<u8>) {
        let mask_bit = if self.mask.is_some() { 0x80 } else { 0 };
        let mut head = [0u8; MAX_HEADER];
        head[0] = first;
        let mut n = match self.len {
            0..=125 => {
                head[1] = mask_bit | self.len as u8;
                2
            }
            126..=0xFFFF => {
                head[1] = mask_bit | 126;
                head[2..4].copy_from_slice(&(self.len as u16).to_be_bytes());
                4
            }
            _ => {
                head[1] = mask_bit | 127;
                head[2..10].copy_from_slice(&self.len.to_be_bytes());
                10
            }
        };
        if let Some(key) = self.mask {
            head[n..n + 4].copy_from_slice(&key);
            n += 4;
        }
        out.extend_from_slice(&head[..n]);
    }
}

/// Appends a whole message to `out`, as the one unmasked frame that a server sends.
#[inline]
pub fn message_frame(kind: MessageKind, payload: &[u8], out: &mut Vec<u8>) {
    out.reserve(MAX_HEADER + payload.len());
    message_header(kind, payload.len(), out);
    out.extend_from_slice(payload);
}

/// Appends the header of [`message_frame`] for a payload of `len` bytes.
#[inline]
pub fn message_header(kind: MessageKind, len: usize, out: &mut Vec<u8>) {
    if len <= 125 {
        out.extend_from_slice(&[0x80 | kind.opcode() as u8, len as u8]);
    } else {
        let len = len as u64;
        FrameHeader { fin: true, rsv1: false, opcode: kind.opcode(), mask: None, len }.encode(out);
    }
}

/// What the next header must obey, beside the rules that always hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expect {
    /// Whose frames these are: a client's are masked, a server's are not.
    pub(crate) sender: Side,
    /// permessage-deflate was negotiated, so RSV1 may open a message.
    pub(crate) deflate: bool,
    /// A fragmented message is open, so a data frame must continue it.
    pub(crate) in_message: bool,
}

/// Reads headers from a stream that may stop at any byte, and refuses a bad one at the first byte
/// that shows it.
#[derive(Debug, Default)]
pub(crate) struct HeaderReader {
    bytes: [u8; MAX_HEADER],
    filled: u8,
}

impl HeaderReader {
    /// Takes what belongs to a header from the front of `input`; returns how many bytes it took,
    /// and the header once it is whole.
    pub(crate) fn read(
        &mut self,
        input: &[u8],
        expect: Expect,
    ) -> Result<(usize, Option<FrameHeader>), ProtocolError> {
        if self.filled == 0 && input.len() >= MAX_HEADER {
            // The usual case: the header lies in the input, nothing has to be kept.
            check_first(input[0], expect)?;
            check_second(input[0], input[1], expect)?;
            let size = header_size(input[1]);
            return Ok((size, Some(decode(input, size)?)));
        }
        let mut taken = 0;
        loop {
            let filled = usize::from(self.filled);
            let size = if filled < 2 { 2 } else { header_size(self.bytes[1]) };
            if filled >= 2 && filled == size {
                self.filled = 0;
                return Ok((taken, Some(decode(&self.bytes, size)?)));
            }
            let Some(&byte) = input.get(taken) else { return Ok((taken, None)) };
            // `filled < size <= MAX_HEADER` here.
            self.bytes[filled] = byte;
            self.filled += 1;
            taken += 1;
            match filled {
                0 => check_first(byte, expect)?,
                1 => check_second(self.bytes[0], byte, expect)?,
                _ if filled + 1 == 2 + extended_len(self.bytes[1]) => {
                    decode_len(&self.bytes)?;
                }
                _ => {}
            }
        }
    }

    /// Bytes of an unfinished header that are held.
    pub(crate) fn held(&self) -> usize {
        usize::from(self.filled)
    }
}

fn extended_len(second: u8) -> usize {
    match second & 0x7F {
        126 => 2,
        127 => 8,
        _ => 0,
    }
}

fn header_size(second: u8) -> usize {
    2 + extended_len(second) + if second & 0x80 != 0 { 4 } else { 0 }
}

fn check_first(first: u8, expect: Expect) -> Result<(), ProtocolError> {
    let opcode = OpCode::from_bits(first & 0x0F);
    let control = opcode.is_some_and(OpCode::is_control);
    if first & 0x40 != 0 {
        // RFC 7692 section 6: only the first frame of a message may carry RSV1.
        match opcode {
            _ if !expect.deflate => return Err(ProtocolError::ReservedBits),
            Some(OpCode::Continuation) => return Err(ProtocolError::CompressedContinuation),
            _ if control => return Err(ProtocolError::CompressedControl),
            _ => {}
        }
    }
    if first & 0x30 != 0 {
        return Err(ProtocolError::ReservedBits);
    }
    match opcode {
        None => Err(ProtocolError::ReservedOpcode),
        Some(_) if control && first & 0x80 == 0 => Err(ProtocolError::FragmentedControl),
        Some(_) if control => Ok(()),
        Some(OpCode::Continuation) if !expect.in_message => {
            Err(ProtocolError::UnexpectedContinuation)
        }
        Some(OpCode::Text | OpCode::Binary) if expect.in_message => {
            Err(ProtocolError::ExpectedContinuation)
        }
        Some(_) => Ok(()),
    }
}

fn check_second(first: u8, second: u8, expect: Expect) -> Result<(), ProtocolError> {
    match (expect.sender, second & 0x80 != 0) {
        (Side::Client, false) => return Err(ProtocolError::UnmaskedClientFrame),
        (Side::Server, true) => return Err(ProtocolError::MaskedServerFrame),
        _ => {}
    }
    if first & 0x08 != 0 && second & 0x7F > MAX_CONTROL as u8 {
        return Err(ProtocolError::ControlTooLong);
    }
    Ok(())
}

/// The payload length of a header whose length bytes are complete.
fn decode_len(header: &[u8]) -> Result<u64, ProtocolError> {
    let (len, least) = match header[1] & 0x7F {
        126 => (u64::from(u16::from_be_bytes([header[2], header[3]])), 126),
        127 => {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&header[2..10]);
            (u64::from_be_bytes(bytes), 0x1_0000)
        }
        short => (u64::from(short), 0),
    };
    if len > i64::MAX as u64 {
        return Err(ProtocolError::LengthTooLarge);
    }
    if len < least {
        return Err(ProtocolError::LengthNotMinimal);
    }
    Ok(len)
}

/// Decodes a complete header of `size` bytes whose first two bytes were checked.
fn decode(header: &[u8], size: usize) -> Result<FrameHeader, ProtocolError> {
    let len = decode_len(header)?;
    let mask = (header[1] & 0x80 != 0).then(|| {
        let mut key = [0; 4];
        key.copy_from_slice(&header[size - 4..size]);
        key
    });
    let opcode = OpCode::from_bits(header[0] & 0x0F).ok_or(ProtocolError::ReservedOpcode)?;
    Ok(FrameHeader { fin: header[0] & 0x80 != 0, rsv1: header[0] & 0x40 != 0, opcode, mask, len })
}

#[cfg(test)]
mod tests;
