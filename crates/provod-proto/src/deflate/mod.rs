//! permessage-deflate (RFC 7692): the DEFLATE side.
//!
//! A [`Compressor`] makes the payload of one direction's messages, an [`Inflater`] reads the other
//! direction's, and a [`Pool`] lends both of them their state: 380 KB (some 100 KB for short
//! messages) and 80 KB, which a
//! connection owns only while a message is on its way. With context takeover it keeps, between
//! messages, the bytes that the next message may refer to: the window and no more. Negotiation
//! (RFC 7692 section 7.1) belongs to the handshake; here its results are plain arguments.
//!
//! Neither side knows frames. A message is compressed as one run of bytes that may be cut into
//! fragments anywhere (RFC 7692 section 6.1), and is inflated in steps bounded by the caller.

mod compress;
mod history;
mod inflate;
mod pool;
mod short;

#[cfg(test)]
mod tests;

pub use compress::{Compressor, Level, compress_once};
pub use inflate::{Finish, Inflater, Step};
pub use pool::Pool;
