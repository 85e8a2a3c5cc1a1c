//! What was published lately, numbered, for those who ask for what they have not seen.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, broadcast};

/// So many are kept: who comes later than that has lost some.
const KEPT: usize = 1024;

pub(super) struct Feed {
    recent: Mutex<Recent>,
    changed: Notify,
    live: broadcast::Sender<Arc<str>>,
}

struct Recent {
    /// The number of the last one.
    last: u64,
    texts: VecDeque<Arc<str>>,
}

impl Feed {
    pub(super) fn new() -> Self {
        let recent = Mutex::new(Recent { last: 0, texts: VecDeque::with_capacity(KEPT) });
        Self { recent, changed: Notify::new(), live: broadcast::Sender::new(KEPT) }
    }

    pub(super) fn publish(&self, text: String) {
        let text: Arc<str> = text.into();
        {
            let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            if recent.texts.len() == KEPT {
                recent.texts.pop_front();
            }
            recent.texts.push_back(text.clone());
            recent.last += 1;
        }
        self.changed.notify_waiters();
        // An error says that nobody listens.
        let _ = self.live.send(text);
    }

    pub(super) fn listen(&self) -> broadcast::Receiver<Arc<str>> {
        self.live.subscribe()
    }

    /// Waits until there are some after the one with this number: one a line, the number of the
    /// last one in front.
    pub(super) async fn after(&self, number: u64) -> String {
        loop {
            // From here on no publishing goes unnoticed.
            let changed = self.changed.notified();
            if let Some(lines) = self.lines(number) {
                return lines;
            }
            changed.await;
        }
    }

    fn lines(&self, number: u64) -> Option<String> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let new = usize::try_from(recent.last.checked_sub(number)?).ok()?;
        if new == 0 {
            return None;
        }
        let mut lines = format!("{:08}", recent.last);
        for text in recent.texts.iter().skip(recent.texts.len().saturating_sub(new)) {
            lines.push('\n');
            lines.push_str(text);
        }
        Some(lines)
    }
}
