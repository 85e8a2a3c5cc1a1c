//! Many short messages in one go.

use super::Incoming;
use crate::config::{Limits, Side};
use crate::event::Whole;
use crate::mask::apply_mask;
use crate::message::MessageKind;

/// FIN and the opcode of a message in one frame without extensions.
const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;

impl Incoming {
    /// Takes whole messages off the front of `input` as long as each is one uncompressed frame that
    /// lies in it and breaks no rule, at most `most` of them. What stops it is left for
    /// [`step`](Self::step), unchanged. Returns how many bytes were taken; the ranges count from
    /// the front of `input`.
    pub(crate) fn whole(
        &mut self,
        input: &mut [u8],
        limits: &Limits,
        most: usize,
        found: &mut Vec<Whole>,
    ) -> usize {
        if !self.at_border() || self.finishing || self.streamed {
            return 0;
        }
        let masked = self.sender == Side::Client;
        let most_len = usize::try_from(limits.max_message).unwrap_or(usize::MAX);
        // Places in it must fit into 32 bits.
        let within = input.len().min(u32::MAX as usize);
        let input = &mut input[..within];
        let mut at = 0;
        for _ in 0..most {
            let Some((head, rest)) = input[at..].split_first_chunk_mut::<2>() else { break };
            let kind = match head[0] {
                BINARY => MessageKind::Binary,
                TEXT => MessageKind::Text,
                _ => break,
            };
            if (head[1] & 0x80 != 0) != masked {
                break;
            }
            let (len, extended) = match head[1] & 0x7F {
                126 => match rest.first_chunk::<2>() {
                    // A length that is not minimal is refused by whoever looks closer.
                    Some(len) if u16::from_be_bytes(*len) > 125 => {
                        (usize::from(u16::from_be_bytes(*len)), 2)
                    }
                    _ => break,
                },
                127 => match rest.first_chunk::<8>().map(|len| u64::from_be_bytes(*len)) {
                    Some(len) if len > 0xFFFF => match usize::try_from(len) {
                        Ok(len) => (len, 8),
                        Err(_) => break,
                    },
                    _ => break,
                },
                short => (usize::from(short), 0),
            };
            if len > most_len {
                break;
            }
            let rest = &mut rest[extended..];
            let mut start = at + 2 + extended;
            let payload = if masked {
                let Some((key, rest)) = rest.split_first_chunk_mut::<4>() else { break };
                let Some(payload) = rest.get_mut(..len) else { break };
                apply_mask(payload, *key, 0);
                if kind == MessageKind::Text && simdutf8::basic::from_utf8(payload).is_err() {
                    // Masked again, it is as it came.
                    apply_mask(payload, *key, 0);
                    break;
                }
                start += 4;
                payload
            } else {
                let Some(payload) = rest.get_mut(..len) else { break };
                if kind == MessageKind::Text && simdutf8::basic::from_utf8(payload).is_err() {
                    break;
                }
                payload
            };
            at = start + payload.len();
            found.push(Whole { kind, start: start as u32, len: len as u32 });
        }
        at
    }
}
