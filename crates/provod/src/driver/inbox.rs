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
/// only those of the last one may be incomplete. Nothing is kept while there is none.
#[derive(Debug, Default)]
pub(crate) struct Inbox(Option<Box<Letters>>);

impl Inbox {
    pub(crate) fn push(&mut self, message: Message) {
        self.0.get_or_insert_default().push_item(Item::Message(message));
    }

    pub(crate) fn push_piece(&mut self, piece: Piece) {
        self.change(|letters| {
            letters.push_item(Item::Piece(piece));
            // What nobody wants must not hold up what follows it.
            letters.skip();
        });
    }

    /// The next message, whole. Pieces are kept here until all have come.
    pub(crate) fn pop(&mut self) -> Option<Message> {
        self.0.as_ref()?;
        self.change(Letters::pop)
    }

    /// The next piece; a whole message is one.
    pub(crate) fn pop_piece(&mut self) -> Option<Piece> {
        self.0.as_ref()?;
        self.change(Letters::pop_piece)
    }

    /// The rest of a message, of which a piece was given out, is not wanted.
    pub(crate) fn skip_rest(&mut self) {
        if self.0.is_some() {
            self.change(Letters::skip_rest);
        }
    }

    fn change<R>(&mut self, change: impl FnOnce(&mut Letters) -> R) -> R {
        let result = change(self.0.get_or_insert_default());
        self.0.take_if(|letters| letters.is_unused());
        result
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|letters| letters.items.is_empty())
    }

    /// Memory that waits to be taken, about: what read-ahead is measured by.
    pub(crate) fn cost(&self) -> usize {
        self.0.as_ref().map_or(0, |letters| letters.cost)
    }

    /// Memory that is held, also for a message that was begun to be taken: what a budget counts.
    pub(crate) fn held(&self) -> usize {
        let joining = |letters: &Letters| letters.joining.as_ref().map_or(0, |j| j.1.capacity());
        self.0.as_ref().map_or(0, |letters| letters.cost + joining(letters))
    }

    /// Throws all away; returns how many messages that were.
    pub(crate) fn clear(&mut self) -> usize {
        let ends = |item: &&Item| !matches!(item, Item::Piece(Piece { last: false, .. }));
        self.0.take().map_or(0, |letters| letters.items.iter().filter(ends).count())
    }
}

#[derive(Debug, Default)]
struct Letters {
    items: VecDeque<Item>,
    cost: usize,
    /// Pieces that were taken for a message that is wanted whole.
    joining: Option<Box<(MessageKind, BytesMut)>>,
    /// Pieces of a message were given out, and its last one was not.
    begun: bool,
    /// The rest of the message at the front is not wanted.
    skipping: bool,
}

impl Letters {
    fn is_unused(&self) -> bool {
        self.items.is_empty() && self.joining.is_none() && !self.begun && !self.skipping
    }

    fn push_item(&mut self, item: Item) {
        self.cost += item.cost();
        self.items.push_back(item);
    }

    fn pop_item(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.cost -= item.cost();
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

    fn pop(&mut self) -> Option<Message> {
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

    fn pop_piece(&mut self) -> Option<Piece> {
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

    fn skip_rest(&mut self) {
        self.skipping |= std::mem::take(&mut self.begun);
        self.skip();
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
