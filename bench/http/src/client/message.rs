//! What is sent: eight digits that count, and letters up to the size.

use std::io::Write as _;

use crate::Error;

#[derive(Default)]
pub(super) struct Message(Vec<u8>);

impl Message {
    pub(super) fn new(size: usize) -> Self {
        Self((0..size).map(|i| b'a' + (i % 26) as u8).collect())
    }

    pub(super) fn numbered(&mut self, number: u64) -> &[u8] {
        // Eight bytes are there; above 99,999,999 the start of a longer number would do, too.
        let _ = write!(&mut self.0[..8], "{number:08}");
        &self.0
    }

    /// Whether this is the message of this number, to the last byte.
    pub(super) fn check(&mut self, number: u64, text: &[u8]) -> Result<(), Error> {
        if self.numbered(number) == text {
            return Ok(());
        }
        Err(format!("message {number} came as {}", String::from_utf8_lossy(text)).into())
    }
}
