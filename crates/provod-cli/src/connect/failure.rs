//! Why the command fails: its exit code and its one line.

use std::fmt::Write as _;
use std::process::ExitCode;

use provod::client::HttpResponse;
use provod::close::CloseFrame;

use crate::escape;
use crate::process::Signal;

/// Anything that has no code of its own.
const OTHER: u8 = 1;
const USAGE: u8 = 2;
const PROXY: u8 = 3;
const RESOLVE: u8 = 4;
const CONNECT: u8 = 5;
const TLS: u8 = 6;
const REFUSED: u8 = 7;
const ANSWER: u8 = 8;
const PROTOCOL: u8 = 9;
const CLOSED: u8 = 10;
const LOST: u8 = 11;
const TIMEOUT: u8 = 12;

/// As much of a body is printed, in bytes.
const BODY: usize = 1024;

/// An exit code that is not 0, and what is said about it.
#[derive(Debug)]
pub(super) struct Failure {
    code: u8,
    line: Option<String>,
}

impl Failure {
    pub(super) fn other(line: impl Into<String>) -> Self {
        Self { code: OTHER, line: Some(line.into()) }
    }

    pub(super) fn usage(line: impl Into<String>) -> Self {
        Self { code: USAGE, line: Some(line.into()) }
    }

    /// The peer's Close, where its code is not one of those that end things well.
    pub(super) fn closed(frame: &CloseFrame) -> Self {
        let mut line = format!("the peer closed with {}", frame.code);
        if !frame.reason.is_empty() {
            let _ = write!(line, ": {}", frame.reason);
        }
        Self { code: CLOSED, line: Some(line) }
    }

    pub(super) fn close_timeout() -> Self {
        let line = "the connection was lost: the closing handshake did not end in time";
        Self { code: TIMEOUT, line: Some(line.to_owned()) }
    }

    /// Whoever sent the signal knows why.
    pub(super) fn signal(signal: Signal) -> Self {
        Self { code: signal.exit_code(), line: None }
    }

    /// Says why, and returns the code to exit with.
    pub(super) fn report(self) -> ExitCode {
        if let Some(line) = self.line {
            crate::complain(&line);
        }
        ExitCode::from(self.code)
    }
}

impl From<provod::Error> for Failure {
    fn from(e: provod::Error) -> Self {
        if let Some(response) = e.http_response() {
            let code = if e.is_proxy() { PROXY } else { REFUSED };
            return Self { code, line: Some(refused(&e, response)) };
        }
        let code = if e.is_usage() {
            USAGE
        } else if e.is_timeout() {
            TIMEOUT
        } else if e.is_proxy() {
            PROXY
        } else if e.is_resolve() {
            RESOLVE
        } else if e.is_connect() {
            CONNECT
        } else if e.is_tls() {
            TLS
        } else if e.is_handshake() {
            ANSWER
        } else if e.is_protocol() {
            PROTOCOL
        } else if e.is_lost() {
            LOST
        } else {
            OTHER
        };
        Self { code, line: Some(e.to_string()) }
    }
}

/// An answer of HTTP in one line: what the library says about it, and how its body begins.
fn refused(e: &provod::Error, response: &HttpResponse) -> String {
    let mut line = e.to_string();
    let body = response.body();
    let start = body.get(..BODY).unwrap_or(body).trim_ascii();
    if !start.is_empty() {
        let more = if body.len() > BODY { "..." } else { "" };
        let _ = write!(line, "; it says: {}{more}", escape::line(start));
    }
    line
}
