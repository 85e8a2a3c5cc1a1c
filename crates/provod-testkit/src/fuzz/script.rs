//! Bytes as a script: what they configure, and what they say next.

use std::time::Duration;

use provod_proto::deflate::{Level, Pool};
use provod_proto::handshake::DeflateParams;
use provod_proto::{
    Cause, Config, Connection, DeflateSetup, Error, Keepalive, LimitError, Message, MessageKind,
};

/// The bytes one after the other, then zeros.
pub(super) struct Script<'a>(pub(super) &'a [u8]);

impl Script<'_> {
    pub(super) fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }

    pub(super) fn len(&mut self) -> usize {
        let b = usize::from(self.byte());
        // Small, around the borders of the length encodings, and rarely above 64 KiB, which costs
        // time.
        match b {
            0..=127 => b,
            128..=199 => 100 + (b - 128),
            200..=249 => (b - 199) * 60,
            250..=254 => (b - 249) * 2000,
            _ => 66_000,
        }
    }

    pub(super) fn payload(&mut self, kind: MessageKind) -> Vec<u8> {
        let len = self.len();
        let byte = self.byte();
        (0..len)
            .map(|i| {
                let b = if byte & 1 == 0 { byte } else { ((i * i * 31) >> 3) as u8 ^ byte };
                if kind == MessageKind::Text { b & 0x7F } else { b }
            })
            .collect()
    }
}

pub(super) fn config(byte: u8) -> Config {
    let mut config = Config::default();
    config.fragment_size = [1 << 18, 1000, 126, 7][usize::from(byte & 3)];
    config.compression.threshold = [0, 100][usize::from(byte >> 2 & 1)];
    config.compression.level = Level::new(1 + (byte >> 3 & 7)).unwrap_or_default();
    let seconds = Duration::from_secs;
    config.keepalive = (byte & 0x40 != 0).then(|| Keepalive::new(seconds(5), seconds(4)));
    config.trace = byte & 0x80 != 0;
    config.close_extends = byte & 0xC3 == 0xC3;
    config
}

/// Compression as the bits say, or none.
pub(super) fn deflate(flags: u8) -> Option<DeflateSetup> {
    (flags & 1 != 0).then(|| DeflateSetup {
        params: DeflateParams {
            server_no_context_takeover: flags & 2 != 0,
            client_no_context_takeover: flags & 4 != 0,
            server_max_window_bits: 9 + (flags >> 3 & 3) * 2,
            client_max_window_bits: 9 + (flags >> 5 & 3) * 2,
        },
        compress: true,
        pool: Pool::new(2),
    })
}

pub(super) fn message(kind: MessageKind, bytes: &[u8]) -> Message {
    match kind {
        MessageKind::Binary => Message::binary(bytes.to_vec()),
        MessageKind::Text => Message::text(str::from_utf8(bytes).expect("it was made of ASCII")),
    }
}

/// What holds whatever the application and the peer do.
pub(super) fn invariants(c: &Connection) {
    assert!(!c.is_done() || (c.closed().is_some() && !c.has_output()));
    assert!(!c.is_done() || c.poll_timeout().is_none());
    assert!(!(c.is_close_held() && c.is_receiving()));
    assert!(c.buffered() <= c.held());
    if let Some(closed) = c.closed() {
        assert!(!c.can_send());
        let shed = Error::from(LimitError::MemoryBudget);
        let failed = matches!(&closed.cause, Cause::Failed(e) if *e != shed);
        assert!(!failed, "neither end breaks a rule");
    }
}
