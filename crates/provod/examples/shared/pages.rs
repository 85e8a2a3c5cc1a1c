//! A page's few files, answered on the WebSocket's own port.

use std::net::ToSocketAddrs;

use provod::server::{Address, OriginPolicy, Request, Response};

/// What both pages use.
pub(crate) const RECONNECT: &str = include_str!("reconnect.js");
pub(crate) const STYLE: &str = include_str!("shared.css");

/// Nothing from elsewhere and nothing inline. `ws:` and `wss:` are for browsers in which `'self'`
/// does not mean the WebSockets of the same host.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; \
     connect-src 'self' ws: wss:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Pages of the same host. On a loopback address the host must be this machine, too: otherwise a
/// page elsewhere could let its own name resolve to it.
pub(crate) fn origin(address: &str) -> OriginPolicy {
    let mut resolved = address.to_socket_addrs().into_iter().flatten().peekable();
    let loopback = resolved.peek().is_some() && resolved.all(|a| a.ip().is_loopback());
    OriginPolicy::same_host().on_loopback(loopback)
}

/// The file that was asked for, out of paths and their contents.
pub(crate) fn answer(request: &Request, files: &[(&str, &'static str)]) -> Response {
    let Some(&(path, content)) = files.iter().find(|(path, _)| *path == request.path()) else {
        return Response::text(404, "there is nothing here");
    };
    let kind = match path.rsplit_once('.') {
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        _ => "text/html; charset=utf-8",
    };
    let headers = [
        ("Content-Type", kind),
        ("Content-Security-Policy", POLICY),
        ("Cache-Control", "no-cache"),
        ("Referrer-Policy", "no-referrer"),
        ("X-Content-Type-Options", "nosniff"),
    ];
    headers
        .iter()
        .try_fold(Response::new(200).body(content), |response, (name, value)| {
            response.header(name, value.as_bytes())
        })
        .unwrap_or_else(|e| Response::text(500, &format!("a header is not valid: {e}")))
}

/// Where a browser on this machine finds the page.
pub(crate) fn link(address: &Address) -> String {
    match address.tcp() {
        Some(tcp) if tcp.ip().is_unspecified() => format!("http://localhost:{}/", tcp.port()),
        Some(tcp) => format!("http://{tcp}/"),
        None => address.to_string(),
    }
}
