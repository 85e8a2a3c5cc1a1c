//! `/_provod/metrics`: the counters as text for Prometheus and whoever reads its exposition format,
//! version 0.0.4.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

use provod::server::Stats;

use super::protocol::REPLACED;
use super::rooms::Census;

/// The format's media type.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics.
pub(super) fn text(stats: &Stats, census: Census) -> String {
    let mut page = Page::default();
    page.head("build_info", "gauge", "The version that runs; always 1.");
    page.sample("build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);

    page.gauge("connections_open", "WebSockets open now.", stats.open as usize);
    page.gauge(
        "rooms",
        "Rooms that somebody has opened or in which something was said.",
        census.rooms,
    );
    page.gauge("room_members", "Clients of the room protocol in rooms now.", census.members);
    page.gauge("room_plain_clients", "Plain clients in rooms now.", census.plain);
    page.gauge("history_bytes", "Memory of what was said in rooms.", census.history);

    page.counter("accepted", "TCP or Unix connections taken.", stats.accepted);
    page.counter(
        "accept_errors",
        "Connections that the system could not give.",
        stats.accept_errors,
    );
    page.counter("turned_away", "Connections answered 503: full, or draining.", stats.turned_away);
    page.counter("connections_opened", "WebSockets opened.", stats.opened);
    page.counter("connections_opened_http2", "WebSockets opened over HTTP/2.", stats.opened_http2);
    page.counter("messages_received", "Data messages received.", stats.messages_in);
    page.counter("messages_sent", "Data messages queued for sending.", stats.messages_out);
    page.counter("received_bytes", "Bytes received on WebSockets.", stats.bytes_in);
    page.counter("sent_bytes", "Bytes sent on WebSockets.", stats.bytes_out);
    page.counter(
        "messages_dropped",
        "Messages never taken, or left out because a queue was full.",
        stats.messages_dropped,
    );
    page.counter("shed", "WebSockets closed for the memory budget.", stats.shed);
    page.counter("handler_panics", "Handlers that panicked.", stats.handler_panics);
    page.counter("http_requests", "Requests of plain HTTP answered.", stats.plain_requests);
    page.counter("health_checks", "Those that asked for the health.", stats.health_checks);

    let refusals = stats.refusals.iter().map(|(reason, n)| (*reason, *n));
    page.by("handshakes_refused", "Handshakes refused, by reason.", "reason", refusals);
    page.by(
        "closes_received",
        "WebSockets ended, by the peer's close code.",
        "code",
        codes(&stats.close_codes),
    );
    page.by("closes_sent", "Close frames sent, by code.", "code", codes(&stats.close_codes_sent));
    page.0
}

/// Counts by close code; those that applications choose are one, or peers would choose how many
/// series there are (RFC 6455 section 7.4.2).
fn codes(codes: &BTreeMap<u16, u64>) -> impl Iterator<Item = (String, u64)> {
    let mut named = BTreeMap::new();
    for (code, n) in codes {
        let name = match code {
            3000.. if *code != REPLACED => "other".to_owned(),
            _ => code.to_string(),
        };
        *named.entry(name).or_default() += *n;
    }
    named.into_iter()
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP provod_{name} {help}\n# TYPE provod_{name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.0, "provod_{name}");
        // The labels are words and numbers of ours: nothing in them needs to be escaped.
        for (n, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"{text}\"", if n == 0 { '{' } else { ',' });
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {value}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: usize) {
        self.head(name, "gauge", help);
        self.sample(name, &[], value);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        let name = format!("{name}_total");
        self.head(&name, "counter", help);
        self.sample(&name, &[], value);
    }

    fn by<L: AsRef<str>>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl Iterator<Item = (L, u64)>,
    ) {
        let name = format!("{name}_total");
        self.head(&name, "counter", help);
        for (text, value) in values {
            self.sample(&name, &[(label, text.as_ref())], value);
        }
    }
}
