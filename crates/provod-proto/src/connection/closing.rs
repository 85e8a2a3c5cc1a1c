//! The closing handshake of a connection: the table in [`close`](crate::close), carried out.

use super::Connection;
use crate::close::{Action, Cause, CloseCode, CloseFrame, Closed, Input, State, transition};
use crate::config::Side;
use crate::error::Error;
use crate::message::Utf8Bytes;
use crate::time::Timestamp;
use crate::timer::{TimerKind, Timers};

impl Connection {
    /// Fails the connection (RFC 6455 section 7.1.7).
    pub(super) fn fail(&mut self, error: Error, now: Timestamp) -> Error {
        // A violation after our own Close is the peer's all the same.
        self.rare().cause = Some(Cause::Failed(error.clone()));
        self.turn(Input::Violation, now);
        error
    }

    /// Moves the closing handshake.
    pub(super) fn turn(&mut self, input: Input, now: Timestamp) {
        let before = self.state;
        let (state, action) = transition(before, input);
        self.state = state;
        if before == State::Open && state != State::Open {
            self.timers.stop(TimerKind::Ping);
            self.timers.stop(TimerKind::PongDeadline);
        }
        if before == State::Asked && state == State::Flushing && self.config.close_extends {
            // Its timer may have been stopped while the driver did not read.
            self.close_timer(now);
        }
        if !self.is_receiving() {
            // What is not whole by now never will be.
            self.incoming.abandon();
        }
        match action {
            Action::None => {}
            Action::Timer | Action::Restart => self.close_timer(now),
            Action::Close => {
                let answer = self.answer();
                self.outgoing.close(answer);
                self.close_timer(now);
            }
            Action::HalfClose => {
                let failed = matches!(self.cause(), Some(Cause::Failed(_) | Cause::Lost));
                self.half_close = self.side() == Side::Server || failed;
                self.close_timer(now);
                self.settle(self.outgoing.close_sent().cloned(), 0);
            }
            Action::End => {
                let sent = self.outgoing.close_sent().cloned();
                let lost = self.outgoing.abandon();
                if lost.marks > 0 {
                    self.rare().marks_given_up += lost.marks;
                }
                self.settle(sent, lost.bytes);
                self.half_close = false;
                self.timers = Timers::default();
            }
        }
        if self.is_output_lost() && !matches!(state, State::Open | State::Asked | State::Done) {
            // Nothing can be answered any more.
            self.turn(Input::Lost, now);
        } else if state == State::Draining && self.eof {
            self.turn(Input::Eof, now);
        } else if state == State::Flushing && before != State::Flushing {
            self.flushed(now);
        }
    }

    /// Whether the time for the closing handshake starts anew with each progress.
    pub(super) fn close_extends(&self) -> bool {
        self.config.close_extends && self.state == State::Asked
    }

    /// A frame came, output left, or the driver reads again.
    pub(super) fn close_progress(&mut self, now: Timestamp) {
        if self.close_extends() {
            self.close_timer(now);
        }
    }

    pub(super) fn close_timer(&mut self, now: Timestamp) {
        if self.close_extends() && self.keepalive.is_paused() {
            // What the peer says meanwhile lies unread, and its time does not run.
            return;
        }
        self.timers.set(TimerKind::Close, now.after(self.config.close_timeout));
    }

    /// The Close that answers what the peer did: its own code, or the code of its violation.
    pub(super) fn answer(&self) -> Option<CloseFrame> {
        match self.cause() {
            Some(Cause::Failed(e)) => {
                let code = e.close_code().unwrap_or(CloseCode::PROTOCOL_ERROR);
                let reason = match e {
                    Error::Protocol(e) => Utf8Bytes::from_static(e.message()),
                    e => Utf8Bytes::from(e.to_string()),
                };
                CloseFrame::new(code, reason).ok()
            }
            _ => {
                let code = self.rare.as_ref()?.received.as_ref()?.as_ref()?.code;
                Some(CloseFrame { code, reason: Utf8Bytes::default() })
            }
        }
    }

    pub(super) fn flushed(&mut self, now: Timestamp) {
        if self.state == State::Flushing && self.outgoing.is_flushed() {
            self.turn(Input::Flushed, now);
        }
    }

    /// Writes down the outcome, once.
    fn settle(&mut self, sent: Option<Option<CloseFrame>>, unsent: usize) {
        let rare = self.rare();
        if rare.closed.is_none() {
            rare.closed = Some(Closed {
                cause: rare.cause.clone().unwrap_or(Cause::Lost),
                received: rare.received.clone(),
                sent,
                unsent: unsent + rare.output_lost.unwrap_or_default() + rare.given_up,
            });
        }
    }

    pub(super) fn cause(&self) -> Option<&Cause> {
        self.rare.as_ref()?.cause.as_ref()
    }
}
