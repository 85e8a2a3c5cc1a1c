//! What rustls says, at the end of a buffer.

use std::io::IoSlice;

use bytes::BytesMut;
use rustls::server::ServerConnectionData;
use rustls::unbuffered::{
    EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError, WriteTraffic,
};

/// Plaintext of one record (RFC 8446 section 5.1).
const RECORD: usize = 16 << 10;
/// What encryption adds to a record, at most: its header, a type, and 32 bytes.
const EXTRA: usize = 5 + 1 + 32;
/// Plaintext that is encrypted at once.
const WRITE: usize = 64 << 10;

/// Encrypts the beginning of `slices`; returns how much of it.
pub(super) fn seal(
    traffic: &mut WriteTraffic<'_, ServerConnectionData>,
    slices: &[IoSlice<'_>],
    out: &mut BytesMut,
) -> usize {
    if let [one] = slices {
        let plain = &one[..one.len().min(WRITE)];
        return if encrypt(traffic, plain, out) { plain.len() } else { 0 };
    }
    let mut taken = 0;
    let mut gathered = Vec::new();
    for slice in slices {
        let slice = &slice[..slice.len().min(WRITE - taken - gathered.len())];
        // Short ones share a record, long ones are encrypted where they lie.
        if gathered.len() + slice.len() <= RECORD && slice.len() < RECORD {
            gathered.extend_from_slice(slice);
            continue;
        }
        if !gathered.is_empty() {
            if !encrypt(traffic, &gathered, out) {
                return taken;
            }
            taken += gathered.len();
            gathered.clear();
        }
        if !encrypt(traffic, slice, out) {
            return taken;
        }
        taken += slice.len();
    }
    if !gathered.is_empty() && encrypt(traffic, &gathered, out) {
        taken += gathered.len();
    }
    taken
}

/// Says that this end says no more.
pub(super) fn seal_end(traffic: &mut WriteTraffic<'_, ServerConnectionData>, out: &mut BytesMut) {
    encode(out, |room| traffic.queue_close_notify(room).map_err(needed));
}

/// Appends what `f` writes, which says how much room it needs where there is not enough.
fn encode(
    out: &mut BytesMut,
    mut f: impl FnMut(&mut [u8]) -> Result<usize, Option<InsufficientSizeError>>,
) {
    let start = out.len();
    let mut room = 0;
    loop {
        out.resize(start + room, 0);
        match f(&mut out[start..]) {
            Ok(n) => return out.truncate(start + n),
            Err(Some(size)) if size.required_size > room => room = size.required_size,
            // Nothing can be said any more: the key is used up.
            Err(_) => return out.truncate(start),
        }
    }
}

/// Appends a part of the handshake, or an alert.
pub(super) fn encode_handshake(
    data: &mut EncodeTlsData<'_, ServerConnectionData>,
    out: &mut BytesMut,
) {
    encode(out, |room| {
        data.encode(room).map_err(|e| match e {
            EncodeError::InsufficientSize(size) => Some(size),
            EncodeError::AlreadyEncoded => None,
        })
    });
}

/// How much room it needs; `None` where the key is used up.
fn needed(e: EncryptError) -> Option<InsufficientSizeError> {
    match e {
        EncryptError::InsufficientSize(size) => Some(size),
        EncryptError::EncryptExhausted => None,
    }
}

fn encrypt(
    traffic: &mut WriteTraffic<'_, ServerConnectionData>,
    plain: &[u8],
    out: &mut BytesMut,
) -> bool {
    let before = out.len();
    out.reserve(plain.len() + (plain.len() / RECORD + 1) * EXTRA);
    encode(out, |room| traffic.encrypt(plain, room).map_err(needed));
    out.len() > before
}
