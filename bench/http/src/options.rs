//! What is measured: `work=echo wire=ws size=20 connections=64 ...`.

use std::net::SocketAddr;
use std::time::Duration;

use crate::Error;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// The client sends, the server sends it back; the next one after that.
    Echo,
    /// The server sends what a publisher gives it.
    Push,
    /// Connections are opened as for a push, and that is all.
    Idle,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    WebSocket,
    Http1,
    Http2,
}

/// How the server's word reaches a client that did not ask for this very word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Push {
    Events,
    LongPoll,
}

#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) work: Work,
    pub(crate) wire: Wire,
    /// Of HTTP only.
    pub(crate) push: Push,
    /// The fields that Chromium sends, or only those without which it does not work.
    pub(crate) browser: bool,
    /// Bytes of a message.
    pub(crate) size: usize,
    pub(crate) connections: usize,
    /// Not counted, in front.
    pub(crate) warm_up: Duration,
    pub(crate) time: Duration,
    /// Between two that are published; without, each waits for all before it to arrive.
    pub(crate) every: Option<Duration>,
    /// Of the server, or of a relay in front of it.
    pub(crate) address: SocketAddr,
    /// Where the server is told what to publish.
    pub(crate) publisher: SocketAddr,
    /// The server's process.
    pub(crate) pid: u32,
}

impl Options {
    pub(crate) fn parse(words: &[&str]) -> Result<Self, Error> {
        let value = |name: &str| {
            let found = words.iter().filter_map(|word| word.split_once('='));
            found.filter(|(key, _)| *key == name).map(|(_, value)| value).next_back()
        };
        let must = |name: &str| value(name).ok_or_else(|| format!("{name}= is missing"));
        let unknown = |name: &str, value: &str| Err(format!("{name}={value} is unknown").into());
        let work = match must("work")? {
            "echo" => Work::Echo,
            "push" => Work::Push,
            "idle" => Work::Idle,
            other => return unknown("work", other),
        };
        let (wire, push) = match must("wire")? {
            "websocket" => (Wire::WebSocket, Push::Events),
            "http1" | "http1-events" => (Wire::Http1, Push::Events),
            "http1-poll" => (Wire::Http1, Push::LongPoll),
            "http2" | "http2-events" => (Wire::Http2, Push::Events),
            "http2-poll" => (Wire::Http2, Push::LongPoll),
            other => return unknown("wire", other),
        };
        let millis =
            |name: &str| must(name)?.parse().map(Duration::from_millis).map_err(Error::from);
        let options = Self {
            work,
            wire,
            push,
            browser: must("fields")? == "browser",
            size: must("size")?.parse()?,
            connections: must("connections")?.parse()?,
            warm_up: millis("warm_up_ms")?,
            time: millis("time_ms")?,
            every: value("every_us").map(str::parse).transpose()?.map(Duration::from_micros),
            address: must("address")?.parse()?,
            publisher: must("publisher")?.parse()?,
            pid: must("pid")?.parse()?,
        };
        if options.size < 8 || options.connections == 0 {
            return Err("a message has at least 8 bytes, and a measurement a connection".into());
        }
        Ok(options)
    }
}
