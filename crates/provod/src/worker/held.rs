//! What a connection of a worker keeps between turns: messages while its handler waits for
//! something, and input for which there was no time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use provod_proto::{MessageKind, Payload};

use crate::driver::Shared;
use crate::handler::{Received, Wait};

/// Nothing is kept of it for a connection that waits for its peer.
#[derive(Default)]
pub(super) struct Held {
    /// What waits for the handler: until what it waits for is over, and the send queue has run low.
    messages: VecDeque<(MessageKind, Bytes)>,
    /// Memory that they take, about.
    pub(super) cost: usize,
    /// What the handler waits for, all of it.
    waits: Vec<Waiting>,
    /// Reading has stopped: so much waits.
    pub(super) paused: bool,
    /// A turn ended before it had handled all that was read: the next ones go on with the rest.
    pub(super) cut: bool,
    rest: Rest,
}

/// Input that was read and not decoded, from `at` on.
#[derive(Default)]
pub(super) struct Rest {
    bytes: Vec<u8>,
    at: usize,
}

impl Rest {
    pub(super) fn copy(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), at: 0 }
    }

    pub(super) fn input(&mut self) -> &mut [u8] {
        &mut self.bytes[self.at..]
    }

    /// Leaves out the first `n` bytes.
    pub(super) fn without(self, n: usize) -> Self {
        Self { at: self.at + n, ..self }
    }
}

impl Held {
    pub(super) fn push(&mut self, kind: MessageKind, payload: Payload, input: &[u8]) {
        let bytes = Received::new(kind, payload, input).into_message().into_bytes();
        self.cost += MESSAGE_COST + bytes.len();
        self.messages.push_back((kind, bytes));
    }

    pub(super) fn memory(&self) -> usize {
        self.cost + self.rest.bytes.capacity()
    }

    /// The reading or the turn has stopped in front of `rest`.
    pub(super) fn keep(&mut self, rest: Rest) {
        self.rest = rest;
    }

    pub(super) fn take_rest(&mut self) -> Rest {
        self.cut = false;
        std::mem::take(&mut self.rest)
    }

    /// Memory is short, or nobody wants it any more: forgets what waits.
    pub(super) fn give_up(&mut self) {
        (self.messages, self.rest, self.cost) = (VecDeque::new(), Rest::default(), 0);
    }

    /// The handler waits for one thing more.
    pub(super) fn wait_for(&mut self, wait: Waiting) {
        self.waits.retain(|wait| !wait.is_over());
        self.waits.push(wait);
    }

    /// The handler waits for what `newer` says.
    pub(super) fn take_waits(&mut self, newer: Self) {
        self.waits = newer.waits;
    }

    /// What the handler waited for is over.
    pub(super) fn end_waits(&mut self) {
        self.waits.clear();
    }

    /// Whether what the handler waits for is not over.
    fn waits(&self) -> bool {
        self.waits.iter().any(|wait| !wait.is_over())
    }

    pub(super) fn has_messages(&self) -> bool {
        !self.messages.is_empty()
    }

    /// Whether the next message must wait, too.
    pub(super) fn blocks(&self) -> bool {
        self.has_messages() || !self.waits.is_empty() || self.paused
    }

    /// Whether it can be looked at again.
    pub(super) fn is_due(&self) -> bool {
        self.blocks() && !self.waits()
    }

    pub(super) fn may_go_on(&self) -> bool {
        !self.waits() && (self.has_messages() || !self.waits.is_empty())
    }

    pub(super) fn is_unused(&self) -> bool {
        !self.blocks() && !self.cut
    }

    pub(super) fn pop(&mut self) -> Option<(MessageKind, Payload)> {
        let (kind, bytes) = self.messages.pop_front()?;
        self.cost -= MESSAGE_COST + bytes.len();
        Some((kind, Payload::Owned(bytes)))
    }
}

/// What a message that waits costs beside its bytes.
const MESSAGE_COST: usize = 64;

/// A future of the handler that runs.
pub(super) struct Waiting {
    over: Arc<AtomicBool>,
    task: tokio::task::AbortHandle,
}

impl Waiting {
    pub(super) fn begin(wait: Wait, shared: Arc<Shared>) -> Self {
        let over = Arc::<AtomicBool>::default();
        let tell = Tell { over: over.clone(), shared };
        let task = tokio::spawn(async move {
            let _tell = tell;
            wait.await;
        });
        Self { over, task: task.abort_handle() }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Says that the wait is over when it is dropped, by a panic too.
struct Tell {
    over: Arc<AtomicBool>,
    shared: Arc<Shared>,
}

impl Drop for Tell {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        self.shared.change(|_| ());
    }
}
