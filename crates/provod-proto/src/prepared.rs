//! A message that is encoded once and sent to many.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::deflate::{self, Level, Pool};
use crate::frame::{FrameHeader, MAX_HEADER};
use crate::message::{Message, MessageKind};

/// The window sizes that can be negotiated, 2^9 to 2^15 bytes (RFC 7692 section 7.1.2; 2^8 is
/// declined).
const WINDOWS: usize = 7;

/// A message whose frame, and whose compressed form, are made at most once, however many
/// connections it is sent on. Cloning shares it.
///
/// The compressed form is made without history, so it suits every connection: one that keeps its
/// history (context takeover) forgets it when it sends a prepared message.
#[derive(Debug, Clone)]
pub struct Prepared(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    kind: MessageKind,
    payload: Bytes,
    level: Level,
    pool: Pool,
    plain: OnceLock<Bytes>,
    compressed: [OnceLock<Option<Bytes>>; WINDOWS],
}

impl Prepared {
    /// Prepares `message`. It is compressed, when a connection asks for it, at `level` with a
    /// compressor from `pool`.
    #[must_use]
    pub fn new(message: Message, level: Level, pool: &Pool) -> Self {
        Self(Arc::new(Inner {
            kind: message.kind(),
            payload: message.into_bytes(),
            level,
            pool: pool.clone(),
            plain: OnceLock::new(),
            compressed: Default::default(),
        }))
    }

    /// Makes the compressed form for connections that compress with a window of 2^`window_bits`
    /// bytes, unless it is made already: so that the first of them need not do it, perhaps under a
    /// lock. See [`Connection::compresses_with`](crate::Connection::compresses_with).
    pub fn compress_for(&self, window_bits: u8) {
        let _ = self.compressed(window_bits);
    }

    /// Text or binary.
    #[must_use]
    pub fn kind(&self) -> MessageKind {
        self.0.kind
    }

    /// The message's bytes.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.0.payload
    }

    /// The whole message as one unmasked frame.
    pub(crate) fn frame(&self) -> &Bytes {
        self.0.plain.get_or_init(|| {
            let mut out = Vec::with_capacity(MAX_HEADER + self.0.payload.len());
            self.encode(false, &self.0.payload, &mut out);
            Bytes::from(out)
        })
    }

    fn encode(&self, rsv1: bool, payload: &[u8], out: &mut Vec<u8>) {
        let (opcode, len) = (self.0.kind.opcode(), payload.len() as u64);
        FrameHeader { fin: true, rsv1, opcode, mask: None, len }.encode(out);
        out.extend_from_slice(payload);
    }

    /// The compressed payload for a peer with a window of 2^`bits` bytes; `None` when compression
    /// does not make it smaller.
    pub(crate) fn compressed(&self, bits: u8) -> Option<&Bytes> {
        let slot = self.0.compressed.get(usize::from(bits.checked_sub(9)?))?;
        let made = slot.get_or_init(|| {
            let inner = &self.0;
            let out = deflate::compress_once(&inner.payload, bits, inner.level, &inner.pool);
            (out.len() < inner.payload.len()).then(|| Bytes::from(out))
        });
        made.as_ref()
    }
}

/// At the default level, with compressors that the whole process shares.
impl<M: Into<Message>> From<M> for Prepared {
    fn from(message: M) -> Self {
        static POOL: OnceLock<Pool> = OnceLock::new();
        Self::new(message.into(), Level::default(), POOL.get_or_init(Pool::default))
    }
}

impl From<&Self> for Prepared {
    fn from(prepared: &Self) -> Self {
        prepared.clone()
    }
}

/// How prepared messages leave on a connection that has nothing else to send: the same bytes on
/// all connections with the same form. See
/// [`Connection::takes_prepared`](crate::Connection::takes_prepared).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreparedForm {
    /// The window that messages of `threshold` bytes and more are compressed with, or 0.
    pub(crate) window_bits: u8,
    pub(crate) threshold: usize,
}

/// The frames of several prepared messages, in one form, one behind the other: made once for many
/// connections.
#[derive(Debug, Clone)]
pub struct PreparedFrames {
    bytes: Bytes,
    /// There is a compressed message among them.
    pub(crate) compressed: bool,
}

impl PreparedFrames {
    /// Encodes `messages`, and compresses those that were not yet.
    #[must_use]
    pub fn new<'a>(messages: impl Iterator<Item = &'a Prepared>, form: PreparedForm) -> Self {
        let (mut out, mut compressed) = (Vec::new(), false);
        for message in messages {
            let payload = message.payload();
            let deflated = (payload.len() >= form.threshold)
                .then(|| message.compressed(form.window_bits))
                .flatten();
            compressed |= deflated.is_some();
            message.encode(deflated.is_some(), deflated.unwrap_or(payload), &mut out);
        }
        Self { bytes: Bytes::from(out), compressed }
    }

    /// The frames, for the transport.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_compressed_once_for_each_window() {
        let prepared = Prepared::from(Message::text("to all, ".repeat(200)));
        prepared.compress_for(12);
        let first = prepared.compressed(12).unwrap().as_ptr();
        assert_eq!(prepared.clone().compressed(12).unwrap().as_ptr(), first);
        assert!(prepared.0.compressed.iter().filter(|slot| slot.get().is_some()).count() == 1);
        assert_ne!(prepared.compressed(15).unwrap().as_ptr(), first);
    }
}
