//! The heads of requests: as Chromium sends them, and as short as HTTP allows.

use std::net::SocketAddr;

use crate::options::{Options, Push, Work};

const POST: &str = include_str!("../../testdata/post.http");
const POLL: &str = include_str!("../../testdata/poll.http");
const EVENTS: &str = include_str!("../../testdata/events.http");
const WEBSOCKET: &str = include_str!("../../testdata/websocket.http");

pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    /// In the order in which they are sent, `Host` among them.
    pub(super) fields: Vec<(String, String)>,
}

impl Request {
    /// What a measurement over HTTP asks for, again and again or once.
    pub(super) fn new(options: &Options, host: SocketAddr) -> Self {
        let (sample, needed): (_, &[&str]) = match (options.work, options.push) {
            (Work::Echo, _) => (POST, &["Content-Length"]),
            (_, Push::LongPoll) => (POLL, &[]),
            (_, Push::Events) => (EVENTS, &[]),
        };
        let mut request = Self::sample(sample, host, options.browser, needed);
        if options.work == Work::Echo {
            request.set("Content-Length", &options.size.to_string());
        }
        request
    }

    pub(super) fn websocket(browser: bool, host: SocketAddr) -> Self {
        let needed = ["Connection", "Upgrade", "Sec-WebSocket-Version", "Sec-WebSocket-Key"];
        Self::sample(WEBSOCKET, host, browser, &needed)
    }

    fn sample(text: &str, host: SocketAddr, browser: bool, needed: &[&str]) -> Self {
        let text = text.replace("HOST", &host.to_string());
        let mut lines = text.lines();
        let mut first = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
        let fields = lines.filter_map(|line| line.split_once(": "));
        let fields = fields.filter(|(name, _)| browser || *name == "Host" || needed.contains(name));
        Self {
            method: first.next().unwrap_or_default(),
            path: first.next().unwrap_or_default(),
            fields: fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        }
    }

    /// Gives a field that is there another value.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        for field in self.fields.iter_mut().filter(|field| field.0 == name) {
            value.clone_into(&mut field.1);
        }
    }

    pub(super) fn write_http1(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("{} {} HTTP/1.1\r\n", self.method, self.path).as_bytes());
        for (name, value) in &self.fields {
            out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
}
