//! What groups have published to connections of this worker.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

use super::Desk;
use super::entry::{Entry, write};
use super::table::Table;
use crate::driver::Cork;
use crate::group::{Edition, Part};
use crate::handler::Handler;

/// Members that are written to in one turn.
const MEMBERS: usize = 512;

#[derive(Default)]
pub(super) struct FanOut {
    /// Where something was published, in this order.
    pub(super) parts: VecDeque<Arc<Part>>,
    /// What is being given out.
    edition: Option<Edition>,
}

impl FanOut {
    /// Gives out what there is, as far as one turn goes; returns whether there was anything.
    pub(super) fn turn<H: Handler<S, Peer = P>, S, P>(
        &mut self,
        entries: &mut Table<Entry<P>>,
        desk: &mut Desk<H>,
    ) -> bool {
        let any = self.edition.is_some() || !self.parts.is_empty();
        let mut left = MEMBERS;
        while left > 0 {
            let Some(edition) = &mut self.edition else {
                let Some(part) = self.parts.pop_front() else { break };
                self.edition = Edition::new(part);
                continue;
            };
            desk.at = None;
            let Some(key) = edition.next_key() else {
                edition.finish();
                self.edition = None;
                continue;
            };
            left -= 1;
            desk.at = Some(key);
            if let Some(entry) = entries.get_mut(key) {
                entry.publish(desk, key, edition);
            }
        }
        desk.at = None;
        any
    }
}

impl<P> Entry<P> {
    /// A group has something for it.
    fn publish<H: Handler<S, Peer = P>, S>(
        &mut self,
        desk: &mut Desk<H>,
        key: u32,
        edition: &mut Edition,
    ) {
        let stream = &mut self.stream;
        let mut state = self.shared.lock_as_is();
        let hard_limit = self.shared.config.hard_limit;
        let look =
            state.publish(edition, hard_limit, |frames| write(stream, &[IoSlice::new(frames)]));
        let Some(id) = look else { return };
        state.begin_worker_turn();
        drop(state);
        self.turn(desk, key, Cork::default());
        if !self.shared.lock_as_is().may_be_put_off() {
            edition.slow(id);
        }
    }
}
