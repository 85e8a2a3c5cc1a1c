//! Masking keys from the system's random generator (RFC 6455 sections 5.3 and 10.3).

use std::cell::RefCell;

use provod_proto::MaskSource;

/// Keys that are fetched in one go.
const BATCH: usize = 64;

/// Keys that nobody can foresee; those that wait belong to the thread, not to the connection.
pub(crate) struct SystemMasks;

thread_local! {
    static KEYS: RefCell<Vec<[u8; 4]>> = const { RefCell::new(Vec::new()) };
}

impl MaskSource for SystemMasks {
    fn next_key(&mut self) -> [u8; 4] {
        KEYS.with_borrow_mut(|keys| {
            keys.pop().unwrap_or_else(|| {
                let mut fresh = [[0; 4]; BATCH];
                // The handshake's key came from the same generator, which does not fail once it
                // has worked; going on with keys that can be foreseen would be worse than a panic.
                getrandom::fill(fresh.as_flattened_mut()).expect("the system's generator works");
                keys.extend_from_slice(&fresh[1..]);
                fresh[0]
            })
        })
    }
}
