//! The wire trace: each frame as a `tracing` event of the target `provod::wire`, at trace level.
//!
//! Payloads are left out unless [`Config::trace_payload`](crate::Config::trace_payload) asks for
//! them.

use provod_proto::TracedFrame;

const TARGET: &str = "provod::wire";

pub(crate) fn is_on() -> bool {
    tracing::enabled!(target: "provod::wire", tracing::Level::TRACE)
}

/// Writes out frames that the core has seen.
pub(crate) fn write(frames: Vec<TracedFrame>, peer: &str) {
    for TracedFrame { sent, header, payload, .. } in frames {
        let way = if sent { "out" } else { "in" };
        tracing::trace!(
            target: TARGET,
            peer,
            way,
            opcode = ?header.opcode,
            fin = header.fin,
            compressed = header.rsv1,
            masked = header.mask.is_some(),
            len = header.len,
            payload = (!payload.is_empty()).then(|| payload.escape_ascii().to_string()),
        );
    }
}
