//! Faults of the calls themselves: the n-th one fails, some say "not yet".

use std::io::ErrorKind;

use crate::random::Random;

/// The calls that are counted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Operation {
    Read,
    Write,
    Shutdown,
}

/// What a call must do before anything else.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Go,
    Fail(ErrorKind),
    /// Wake the task and let it come again.
    ComeAgain,
}

/// The calls of one end of a stream. One that is pending and polled again is the same operation.
#[derive(Debug)]
pub(super) struct Operations {
    begun: u64,
    under_way: [bool; 3],
    fail: Option<(u64, ErrorKind)>,
    /// A kind of operation that failed once fails for ever, as with a socket.
    failed: [Option<ErrorKind>; 3],
    pend_one_in: u64,
    pended: [bool; 3],
    random: Random,
}

impl Operations {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            begun: 0,
            under_way: [false; 3],
            fail: None,
            failed: [None; 3],
            pend_one_in: 0,
            pended: [false; 3],
            random: Random(seed),
        }
    }

    pub(super) fn begun(&self) -> u64 {
        self.begun
    }

    pub(super) fn fail(&mut self, n: u64, kind: ErrorKind) {
        self.fail = Some((n, kind));
    }

    pub(super) fn pend(&mut self, one_in: u64) {
        self.pend_one_in = one_in;
    }

    /// A poll of an operation begins.
    pub(super) fn poll(&mut self, operation: Operation) -> Verdict {
        // Each array has one place for each operation.
        let i = operation as usize;
        if let Some(kind) = self.failed[i] {
            return Verdict::Fail(kind);
        }
        if !self.under_way[i] {
            self.begun += 1;
            if let Some((n, kind)) = self.fail
                && n == self.begun
            {
                self.failed[i] = Some(kind);
                return Verdict::Fail(kind);
            }
            self.under_way[i] = true;
        }
        self.pended[i] = !self.pended[i] && self.random.one_in(self.pend_one_in);
        if self.pended[i] { Verdict::ComeAgain } else { Verdict::Go }
    }

    /// The operation has ended.
    pub(super) fn done(&mut self, operation: Operation) {
        self.under_way[operation as usize] = false;
    }
}
