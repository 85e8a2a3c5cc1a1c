//! Received messages that wait for the application, and how the input ended.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use provod_proto::{self as proto, Message, MessageKind, Utf8Bytes};

use crate::error::{Error, Kind};

/// What a message costs beside its bytes: its place in the queue and its allocation.
const MESSAGE_COST: usize = 64;

/// A part of a message that is given out as it arrives.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) kind: MessageKind,
    pub(crate) bytes: Bytes,
    pub(crate) last: bool,
}

#[derive(Debug)]
enum Item {
    Message(Message),
    Piece(Piece),
}

impl Item {
    fn cost(&self) -> usize {
        MESSAGE_COST
            + match self {
                Self::Message(message) => message.len(),
                Self::Piece(piece) => piece.bytes.len(),
            }
    }
}

/// Messages in their order, some of them in pieces. All pieces of a message stand together, and
/// only those of the last one may be incomplete.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    items: VecDeque<Item>,
    cost: usize,
    /// Pieces that were taken for a message that is wanted whole.
    joining: Option<Box<(MessageKind, BytesMut)>>,
    /// Pieces of a message were given out, and its last one was not.
    begun: bool,
    /// The rest of the message at the front is not wanted.
    skipping: bool,
}

impl Inbox {
    pub(crate) fn push(&mut self, message: Message) {
        self.push_item(Item::Message(message));
    }

    pub(crate) fn push_piece(&mut self, piece: Piece) {
        self.push_item(Item::Piece(piece));
        // What nobody wants must not hold up what follows it.
        self.skip();
    }

    fn push_item(&mut self, item: Item) {
        self.cost += item.cost();
        self.items.push_back(item);
    }

    fn pop_item(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.cost -= item.cost();
        if self.items.is_empty() && self.items.capacity() > 64 {
            self.items = VecDeque::new();
        }
        Some(item)
    }

    /// Throws away what is here of a message that is not wanted.
    fn skip(&mut self) {
        while self.skipping {
            match self.items.front() {
                Some(Item::Piece(piece)) => self.skipping = !piece.last,
                // Its end never came.
                Some(Item::Message(_)) => {
                    self.skipping = false;
                    return;
                }
                None => return,
            }
            self.pop_item();
        }
    }

    /// The next message, whole. Pieces are kept here until all have come.
    pub(crate) fn pop(&mut self) -> Option<Message> {
        self.skip();
        loop {
            let piece = match self.pop_item()? {
                Item::Message(message) => return Some(message),
                Item::Piece(piece) => piece,
            };
            let Some(mut joining) = self.joining.take() else {
                if piece.last {
                    return Some(message(piece.kind, piece.bytes));
                }
                self.joining = Some(Box::new((piece.kind, BytesMut::from(piece.bytes))));
                continue;
            };
            joining.1.extend_from_slice(&piece.bytes);
            if piece.last {
                return Some(message(joining.0, joining.1.freeze()));
            }
            self.joining = Some(joining);
        }
    }

    /// The next piece; a whole message is one.
    pub(crate) fn pop_piece(&mut self) -> Option<Piece> {
        self.skip();
        let piece = match self.joining.take() {
            Some(joining) => {
                let (kind, bytes) = *joining;
                Piece { kind, bytes: bytes.freeze(), last: false }
            }
            None => match self.pop_item()? {
                Item::Piece(piece) => piece,
                Item::Message(message) => {
                    Piece { kind: message.kind(), bytes: message.into_bytes(), last: true }
                }
            },
        };
        self.begun = !piece.last;
        Some(piece)
    }

    /// The rest of a message, of which a piece was given out, is not wanted.
    pub(crate) fn skip_rest(&mut self) {
        self.skipping |= std::mem::take(&mut self.begun);
        self.skip();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Memory that waits to be taken, about: what read-ahead is measured by.
    pub(crate) fn cost(&self) -> usize {
        self.cost
    }

    /// Memory that is held, also for a message that was begun to be taken: what a budget counts.
    pub(crate) fn held(&self) -> usize {
        self.cost + self.joining.as_ref().map_or(0, |joining| joining.1.capacity())
    }

    /// Throws all away; returns how many messages that were.
    pub(crate) fn clear(&mut self) -> usize {
        let ends = |item: &&Item| !matches!(item, Item::Piece(Piece { last: false, .. }));
        let n = self.items.iter().filter(ends).count();
        *self = Self::default();
        n
    }
}

/// The core has checked that text is UTF-8.
pub(super) fn message(kind: MessageKind, bytes: Bytes) -> Message {
    match kind {
        MessageKind::Text => Message::Text(Utf8Bytes::from_checked(bytes)),
        MessageKind::Binary => Message::Binary(bytes),
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
