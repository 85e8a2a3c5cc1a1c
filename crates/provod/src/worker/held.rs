//! What a connection of a worker keeps for its handler while that waits for something.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use provod_proto::{MessageKind, Payload};

use crate::driver::Shared;
use crate::handler::{Received, Wait};

/// What waits for the handler: until what it waits for is over, and the send queue has run low.
#[derive(Default)]
pub(super) struct Held {
    pub(super) messages: VecDeque<(MessageKind, Bytes)>,
    /// Memory that they take, about.
    pub(super) cost: usize,
    pub(super) wait: Option<Waiting>,
    /// Reading has stopped: so much waits.
    pub(super) paused: bool,
    /// Input that was read and not decoded before it stopped.
    pub(super) rest: Vec<u8>,
}

impl Held {
    pub(super) fn push(&mut self, kind: MessageKind, payload: Payload, input: &[u8]) {
        let bytes = Received::new(kind, payload, input).into_message().into_bytes();
        self.cost += MESSAGE_COST + bytes.len();
        self.messages.push_back((kind, bytes));
    }

    pub(super) fn memory(&self) -> usize {
        self.cost + self.rest.capacity()
    }

    /// Memory is short, or nobody wants it any more: forgets what waits.
    pub(super) fn give_up(&mut self) {
        (self.messages, self.rest, self.cost) = (VecDeque::new(), Vec::new(), 0);
    }

    /// Whether what the handler waits for is not over.
    pub(super) fn waits(&self) -> bool {
        self.wait.as_ref().is_some_and(|wait| !wait.is_over())
    }

    pub(super) fn may_go_on(&self) -> bool {
        !self.waits() && (!self.messages.is_empty() || self.wait.is_some())
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
