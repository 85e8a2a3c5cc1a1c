//! Received messages that wait for the application, and how the input ended.

use std::collections::VecDeque;

use provod_proto::{self as proto, Message};

use crate::error::{Error, Kind};

/// What a message costs beside its bytes: its place in the queue and its allocation.
const MESSAGE_COST: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Inbox {
    messages: VecDeque<Message>,
    cost: usize,
}

impl Inbox {
    pub(crate) fn push(&mut self, message: Message) {
        self.cost += message.len() + MESSAGE_COST;
        self.messages.push_back(message);
    }

    pub(crate) fn pop(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.cost -= message.len() + MESSAGE_COST;
        if self.messages.is_empty() && self.messages.capacity() > 64 {
            self.messages = VecDeque::new();
        }
        Some(message)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Memory that the messages take, about.
    pub(crate) fn cost(&self) -> usize {
        self.cost
    }

    /// Throws all away; returns how many messages that were.
    pub(crate) fn clear(&mut self) -> usize {
        let n = self.messages.len();
        *self = Self::default();
        n
    }
}

/// How the input ended.
#[derive(Debug, Clone)]
pub(crate) enum Ended {
    /// With the peer's Close frame.
    Close,
    /// With a violation or a limit.
    Failed(proto::Error),
    /// Without a Close frame.
    Lost(Error),
}

impl Ended {
    /// What `recv` returns from then on.
    pub(crate) fn result<T>(&self) -> Result<Option<T>, Error> {
        match self {
            Self::Close => Ok(None),
            Self::Failed(e) => Err(e.clone().into()),
            Self::Lost(e) => Err(e.clone()),
        }
    }

    pub(crate) fn lost(kind: Kind) -> Self {
        Self::Lost(Error::new(kind))
    }
}
