//! What goes over the wire of a scripted peer.

use std::fmt;

use bytes::Bytes;
use provod_proto::raw::RawFrame;
use provod_proto::{Side, apply_mask};

use super::Place;

/// The masking key of every frame of a scripted client: the one of RFC 6455 section 5.7.
pub const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// What a [`Peer`](super::Peer) sends: frames, or bytes as they are.
///
/// Several frames in an array or a `Vec` leave in one write. To make a client send a frame
/// *without* a mask, send the bytes of it: `raw(1, "x").to_bytes()`.
pub trait Wire {
    /// Appends what `side` sends for this.
    fn append(&self, side: Side, out: &mut Vec<u8>);
}

pub(super) fn bytes(what: &impl Wire, side: Side) -> Vec<u8> {
    let mut out = Vec::new();
    what.append(side, &mut out);
    out
}

impl Wire for RawFrame {
    fn append(&self, side: Side, out: &mut Vec<u8>) {
        match (side, self.mask) {
            (Side::Client, None) => self.clone().masked(MASK).write(out),
            _ => self.write(out),
        }
    }
}

impl Wire for [RawFrame] {
    fn append(&self, side: Side, out: &mut Vec<u8>) {
        self.iter().for_each(|frame| frame.append(side, out));
    }
}

impl<const N: usize> Wire for [RawFrame; N] {
    fn append(&self, side: Side, out: &mut Vec<u8>) {
        self[..].append(side, out);
    }
}

impl Wire for Vec<RawFrame> {
    fn append(&self, side: Side, out: &mut Vec<u8>) {
        self[..].append(side, out);
    }
}

impl<T: Wire + ?Sized> Wire for &T {
    fn append(&self, side: Side, out: &mut Vec<u8>) {
        (**self).append(side, out);
    }
}

macro_rules! bytes_as_they_are {
    ($($type:ty),*) => {
        $(impl Wire for $type {
            fn append(&self, _: Side, out: &mut Vec<u8>) {
                out.extend_from_slice(self.as_ref());
            }
        })*
    };
}

bytes_as_they_are!([u8], Vec<u8>, str, String, Bytes);

impl<const N: usize> Wire for [u8; N] {
    fn append(&self, _: Side, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
}

/// A final frame with this opcode and payload. It can be made as illegal as needed:
/// `raw(9, "x").fin(false)`, `raw(1, "x").rsv1(true)`.
pub fn raw(opcode: u8, payload: impl Into<Vec<u8>>) -> RawFrame {
    RawFrame::new(opcode, payload)
}

/// A text message.
pub fn text(text: impl Into<String>) -> RawFrame {
    raw(1, text.into())
}

/// A binary message.
pub fn binary(bytes: impl Into<Vec<u8>>) -> RawFrame {
    raw(2, bytes)
}

/// A Ping.
pub fn ping(payload: impl Into<Vec<u8>>) -> RawFrame {
    raw(9, payload)
}

/// A Pong.
pub fn pong(payload: impl Into<Vec<u8>>) -> RawFrame {
    raw(10, payload)
}

/// A Close with this code and no reason.
#[must_use]
pub fn close(code: u16) -> RawFrame {
    raw(8, code.to_be_bytes())
}

/// A frame as it was received, unmasked.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Frame {
    /// The FIN bit.
    pub fin: bool,
    /// RSV1: the message is compressed (RFC 7692 section 6).
    pub rsv1: bool,
    /// The opcode.
    pub opcode: u8,
    /// The payload.
    pub payload: Vec<u8>,
}

/// As much of a payload as `{:?}` shows, in bytes.
const SHOWN: usize = 200;

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = self.payload.len();
        // min: the end lies in the payload.
        let shown = self.payload[..len.min(SHOWN)].escape_ascii();
        f.debug_struct("Frame")
            .field("fin", &self.fin)
            .field("rsv1", &self.rsv1)
            .field("opcode", &self.opcode)
            .field("len", &len)
            .field("payload", &format_args!("b\"{shown}\""))
            .finish()
    }
}

impl Frame {
    /// The text of a text message in one frame.
    ///
    /// # Panics
    ///
    /// When it is something else.
    #[must_use]
    #[track_caller]
    pub fn text(&self) -> &str {
        assert!(self.fin && !self.rsv1 && self.opcode == 1, "no plain text frame: {self:?}");
        str::from_utf8(&self.payload).unwrap_or_else(|e| panic!("text is UTF-8: {e}: {self:?}"))
    }

    /// Code and reason of a Close.
    pub(super) fn close(&self) -> (Option<u16>, String) {
        match self.payload.split_first_chunk() {
            Some((code, reason)) if self.opcode == 8 => {
                (Some(u16::from_be_bytes(*code)), String::from_utf8_lossy(reason).into_owned())
            }
            _ => (None, String::new()),
        }
    }
}

impl From<RawFrame> for Frame {
    fn from(raw: RawFrame) -> Self {
        let RawFrame { fin, rsv, opcode, payload, .. } = raw;
        Self { fin, rsv1: rsv[0], opcode, payload }
    }
}

/// The first frame of `buf`, as `sender` must write it, and its length on the wire; `None` while
/// it is not whole.
pub(super) fn parse(buf: &[u8], sender: Side, place: Place) -> Option<(Frame, usize)> {
    let (first, second) = (*buf.first()?, *buf.get(1)?);
    assert_eq!(first & 0x30, 0, "{place}: RSV2 and RSV3 mean nothing (RFC 6455 section 5.2)");
    let masked = second & 0x80 != 0;
    let must = sender == Side::Client;
    assert_eq!(masked, must, "{place}: a client masks, a server does not (RFC 6455 section 5.1)");
    let (len, least, mut at): (u64, u64, usize) = match second & 0x7F {
        126 => (u64::from(u16::from_be_bytes(*buf.get(2..)?.first_chunk()?)), 126, 4),
        127 => (u64::from_be_bytes(*buf.get(2..)?.first_chunk()?), 1 << 16, 10),
        n => (u64::from(n), 0, 2),
    };
    assert!(len >= least, "{place}: the length is not minimal (RFC 6455 section 5.2): {len}");
    let mut key = None;
    if masked {
        key = Some(*buf.get(at..)?.first_chunk()?);
        at += 4;
    }
    let len = usize::try_from(len).unwrap_or_else(|e| panic!("{place}: {e}: {len}"));
    let mut payload = buf.get(at..at.checked_add(len)?)?.to_vec();
    if let Some(key) = key {
        apply_mask(&mut payload, key, 0);
    }
    let (fin, rsv1, opcode) = (first & 0x80 != 0, first & 0x40 != 0, first & 0x0F);
    Some((Frame { fin, rsv1, opcode, payload }, at + len))
}
