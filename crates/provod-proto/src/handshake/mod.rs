//! The opening handshake (RFC 6455 section 4).

/// x
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeflateParams {
    /// x
    pub server_no_context_takeover: bool,
    /// x
    pub client_no_context_takeover: bool,
    /// x
    pub server_max_window_bits: u8,
    /// x
    pub client_max_window_bits: u8,
}
