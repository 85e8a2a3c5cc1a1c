//! What the connections do: one plan for each kind of run.

mod room;
mod storm;
mod talk;

pub(super) use room::{Room, Rooms};
pub(super) use storm::Storm;
pub(super) use talk::{Talk, Talkers, Visits};
