//! Any frame, even an illegal one: for tests, and for tools that check how a peer takes it.

use crate::mask::apply_mask;

/// How the payload length is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RawLength {
    /// In as few bytes as its value needs, as RFC 6455 section 5.2 demands.
    #[default]
    Minimal,
    /// In 16 bits, whatever its value.
    Bits16(u16),
    /// In 64 bits, whatever its value.
    Bits64(u64),
}

/// A frame that obeys no rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawFrame {
    /// The FIN bit.
    pub fin: bool,
    /// RSV1, RSV2, RSV3.
    pub rsv: [bool; 3],
    /// The opcode; the low four bits count.
    pub opcode: u8,
    /// The masking key, which also sets the mask bit.
    pub mask: Option<[u8; 4]>,
    /// How the length is written, and which.
    pub length: RawLength,
    /// The payload, before masking.
    pub payload: Vec<u8>,
}

impl RawFrame {
    /// A final, unmasked frame with no reserved bits.
    #[must_use]
    pub fn new(opcode: u8, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            fin: true,
            rsv: [false; 3],
            opcode,
            mask: None,
            length: RawLength::Minimal,
            payload: payload.into(),
        }
    }

    /// The same, masked.
    #[must_use]
    pub fn masked(mut self, key: [u8; 4]) -> Self {
        self.mask = Some(key);
        self
    }

    /// The same, with or without FIN.
    #[must_use]
    pub fn fin(mut self, fin: bool) -> Self {
        self.fin = fin;
        self
    }

    /// The same, with or without RSV1.
    #[must_use]
    pub fn rsv1(mut self, rsv1: bool) -> Self {
        self.rsv[0] = rsv1;
        self
    }

    /// Appends the frame to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let bit = |set: bool, at: u8| u8::from(set) << at;
        out.push(
            bit(self.fin, 7)
                | bit(self.rsv[0], 6)
                | bit(self.rsv[1], 5)
                | bit(self.rsv[2], 4)
                | self.opcode & 0x0F,
        );
        let mask = bit(self.mask.is_some(), 7);
        let length = match self.length {
            RawLength::Minimal if self.payload.len() > 0xFFFF => {
                RawLength::Bits64(self.payload.len() as u64)
            }
            RawLength::Minimal if self.payload.len() > 125 => {
                RawLength::Bits16(self.payload.len() as u16)
            }
            other => other,
        };
        match length {
            RawLength::Minimal => out.push(mask | self.payload.len() as u8),
            RawLength::Bits16(len) => {
                out.push(mask | 126);
                out.extend_from_slice(&len.to_be_bytes());
            }
            RawLength::Bits64(len) => {
                out.push(mask | 127);
                out.extend_from_slice(&len.to_be_bytes());
            }
        }
        out.extend(self.mask.iter().flatten());
        let at = out.len();
        out.extend_from_slice(&self.payload);
        if let Some(key) = self.mask {
            apply_mask(&mut out[at..], key, 0);
        }
    }

    /// The frame's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }
}
