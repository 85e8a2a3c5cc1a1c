//! What the body of a response says, whatever version of HTTP carried it.

use super::wire::Heard;
use crate::Error;
use crate::options::{Options, Push, Work};

pub(super) enum Answer {
    Echo,
    /// Events up to this number have come.
    Poll(u64),
    Events,
}

impl Answer {
    pub(super) fn new(options: &Options) -> Self {
        match (options.work, options.push) {
            (Work::Echo, _) => Self::Echo,
            (_, Push::LongPoll) => Self::Poll(0),
            (_, Push::Events) => Self::Events,
        }
    }

    /// Takes what there is of a body, as far as it is whole; says how much that was.
    pub(super) fn part(
        &self,
        body: &[u8],
        heard: &mut dyn FnMut(Heard<'_>),
    ) -> Result<usize, Error> {
        let mut at = 0;
        if matches!(self, Self::Events) {
            while let Some(len) = body[at..].windows(2).position(|end| end == b"\n\n") {
                let event = &body[at..at + len];
                let text = event.strip_prefix(b"data: ").ok_or("this is no event")?;
                heard(Heard::Message(text));
                at += len + 2;
            }
        }
        Ok(at)
    }

    /// Takes the whole body of a response, but for what [`part`](Self::part) took.
    pub(super) fn whole(
        &mut self,
        body: &[u8],
        heard: &mut dyn FnMut(Heard<'_>),
    ) -> Result<(), Error> {
        match self {
            Self::Echo => heard(Heard::Message(body)),
            Self::Poll(number) => {
                let mut lines = body.split(|&byte| byte == b'\n');
                let last = std::str::from_utf8(lines.next().unwrap_or_default())?;
                *number = last.parse()?;
                lines.for_each(|line| heard(Heard::Message(line)));
            }
            Self::Events => return Err("the stream of events has ended".into()),
        }
        Ok(())
    }
}
