//! The lock of a connection, and those who are woken once it is given back.

use std::ops::{Deref, DerefMut};
use std::sync::MutexGuard;
use std::task::Waker;

use super::state::State;

/// Tasks to wake. What a waker does is not ours: it may lock what its owner holds while it uses the
/// connection, so none is called under the connection's lock.
#[derive(Debug, Default)]
pub(crate) struct Calls(Option<Box<Called>>);

#[derive(Debug)]
struct Called {
    /// Mostly there is one.
    first: Waker,
    more: Vec<Waker>,
}

impl Calls {
    pub(crate) fn add(&mut self, waker: Waker) {
        match &mut self.0 {
            None => self.0 = Some(Box::new(Called { first: waker, more: Vec::new() })),
            Some(called) => called.more.push(waker),
        }
    }

    /// Takes all of them out.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = Waker> + use<> {
        let called = self.0.take().into_iter();
        called.flat_map(|called| std::iter::once(called.first).chain(called.more))
    }
}

impl Extend<Waker> for Calls {
    fn extend<I: IntoIterator<Item = Waker>>(&mut self, wakers: I) {
        wakers.into_iter().for_each(|waker| self.add(waker));
    }
}

/// The state of a connection, locked.
pub(crate) struct Locked<'a>(Option<MutexGuard<'a, State>>);

impl<'a> Locked<'a> {
    pub(super) fn new(guard: MutexGuard<'a, State>) -> Self {
        Self(Some(guard))
    }
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        self.0.as_deref().expect("the guard is here until this is dropped")
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        self.0.as_deref_mut().expect("the guard is here until this is dropped")
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let Some(mut guard) = self.0.take() else { return };
        let calls = guard.calls.take();
        guard.waits.take_if(|waits| waits.is_empty());
        drop(guard);
        calls.for_each(Waker::wake);
    }
}
