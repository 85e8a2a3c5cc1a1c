//! What `serve` answers to a request: a room, a page, a counter, or a refusal.

use percent_encoding::percent_decode_str;
use provod::server::{Accept, Counters, Request, Response};

use super::metrics;
use super::protocol::SUBPROTOCOL;
use super::rooms::{Entry, Rooms};

const PAGE: &str = include_str!("page/index.html");

/// What the page is made of, below `/_provod/`.
const FILES: [(&str, &str); 8] = [
    ("page.css", include_str!("page/page.css")),
    ("page.js", include_str!("page/page.js")),
    ("log.js", include_str!("page/log.js")),
    ("people.js", include_str!("page/people.js")),
    ("share.js", include_str!("page/share.js")),
    ("words.js", include_str!("page/words.js")),
    ("provod-room.js", include_str!("page/provod-room.js")),
    ("provod-reconnect.js", include_str!("page/provod-reconnect.js")),
];

/// The longest name of a room, in bytes, percent-decoded.
const MAX_NAME: usize = 256;

/// Paths that are no rooms.
const RESERVED: &str = "_provod";

pub(super) fn decide(
    request: &Request,
    counters: &Counters,
    rooms: &Rooms,
) -> Result<Accept<Entry>, Response> {
    let name = room_name(request.path()).map_err(|why| Response::text(400, why))?;
    if let Some(path) = reserved(&name) {
        return Err(own(request, path, counters, rooms));
    }
    if request.is_upgrade() {
        let accept = Accept::new(Entry { room: name, echo: wants_echo(request.query()) });
        // A client that offers other subprotocols only is a plain one.
        let speaks = request.subprotocols().iter().any(|offered| offered == SUBPROTOCOL);
        return Ok(if speaks { accept.subprotocol(SUBPROTOCOL) } else { accept });
    }
    if accepts_html(request) {
        return Err(page(request.header("Host")));
    }
    // Plain HTTP that `Ok` answers with 426.
    Ok(Accept::new(Entry { room: name, echo: true }))
}

/// The room of a path: percent-decoded once, so that `/a%2Fb` and `/a/b` are the same room and
/// `/a%252Fb` is another.
fn room_name(path: &str) -> Result<String, &'static str> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let name = percent_decode_str(path)
        .decode_utf8()
        .map_err(|_| "the name of a room must be UTF-8, percent-encoded")?;
    if name.len() > MAX_NAME {
        return Err("the name of a room has at most 256 bytes");
    }
    Ok(name.into_owned())
}

/// The part behind `_provod/`, where the path is not a room.
fn reserved(name: &str) -> Option<&str> {
    let rest = name.strip_prefix(RESERVED)?;
    if rest.is_empty() { Some("") } else { rest.strip_prefix('/') }
}

fn wants_echo(query: Option<&str>) -> bool {
    !query.is_some_and(|q| q.split('&').any(|pair| pair == "echo=0"))
}

/// Whether the request's `Accept` names HTML, which a browser does that opens a page.
fn accepts_html(request: &Request) -> bool {
    let accept = request.header("Accept").unwrap_or_default();
    accept.split(|b| *b == b',').any(|entry| {
        let mut parts = entry.split(|b| *b == b';').map(<[u8]>::trim_ascii);
        let html = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/html"));
        html && !parts.any(|p| matches!(p, b"q=0" | b"q=0.0" | b"q=0.00" | b"q=0.000"))
    })
}

/// The server's own paths.
fn own(request: &Request, path: &str, counters: &Counters, rooms: &Rooms) -> Response {
    if request.is_upgrade() {
        return Response::text(404, "paths below /_provod/ are not rooms");
    }
    if let Some((name, body)) = FILES.iter().find(|(name, _)| *name == path) {
        let kind = if name.ends_with(".css") { "text/css" } else { "text/javascript" };
        return content(&format!("{kind}; charset=utf-8"), *body);
    }
    match path {
        "counters" => content("application/json", counters_json(counters)),
        "metrics" => {
            content(metrics::CONTENT_TYPE, metrics::text(&counters.read(), rooms.census()))
        }
        _ => Response::text(
            404,
            "there is nothing here; try /_provod/health, /_provod/metrics or /_provod/counters",
        ),
    }
}

fn content(kind: &str, body: impl Into<Vec<u8>>) -> Response {
    with_headers(
        Response::new(200).body(body.into()),
        &[
            ("Content-Type", kind),
            ("Cache-Control", "no-cache"),
            ("X-Content-Type-Options", "nosniff"),
        ],
    )
}

/// The page, which may connect to the server it came from and to nothing else.
fn page(host: Option<&[u8]>) -> Response {
    // Browsers of before 2023 do not count its WebSockets as of its own origin. A host that would
    // end the directive is none, whoever sends it.
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b".-:[]_".contains(b);
    let sockets = match host.map(std::str::from_utf8) {
        Some(Ok(host)) if host.bytes().all(|b| plain(&b)) => format!(" ws://{host} wss://{host}"),
        _ => String::new(),
    };
    with_headers(
        content("text/html; charset=utf-8", PAGE),
        &[
            (
                "Content-Security-Policy",
                &format!(
                    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; \
                     connect-src 'self'{sockets}; base-uri 'none'; form-action 'none'; \
                     frame-ancestors 'none'; require-trusted-types-for 'script'; \
                     trusted-types 'none'"
                ),
            ),
            ("Referrer-Policy", "no-referrer"),
            ("Vary", "Accept"),
        ],
    )
}

fn with_headers(response: Response, headers: &[(&str, &str)]) -> Response {
    headers.iter().fold(response, |response, (name, value)| {
        // The headers above are valid; a mistake in one is found by the test that fetches the page.
        response.clone().header(name, value.as_bytes()).unwrap_or(response)
    })
}

fn counters_json(counters: &Counters) -> String {
    let stats = counters.read();
    let mut json = serde_json::json!({
        "accepted": stats.accepted,
        "accept_errors": stats.accept_errors,
        "turned_away": stats.turned_away,
        "opened": stats.opened,
        "opened_http2": stats.opened_http2,
        "open": stats.open,
        "messages_in": stats.messages_in,
        "messages_out": stats.messages_out,
        "bytes_in": stats.bytes_in,
        "bytes_out": stats.bytes_out,
        "messages_dropped": stats.messages_dropped,
        "shed": stats.shed,
        "handler_panics": stats.handler_panics,
        "plain_requests": stats.plain_requests,
        "health_checks": stats.health_checks,
        "refusals": stats.refusals,
        "close_codes": stats.close_codes,
        "close_codes_sent": stats.close_codes_sent,
    })
    .to_string();
    json.push('\n');
    json
}

#[cfg(test)]
mod tests {
    use super::{reserved, room_name, wants_echo};

    #[test]
    fn names_are_decoded_once_and_bounded() {
        assert_eq!(room_name("/chat").as_deref(), Ok("chat"));
        assert_eq!(room_name("/").as_deref(), Ok(""));
        assert_eq!(room_name("/%D0%BC%D0%B8%D1%80").as_deref(), Ok("мир"));
        assert_eq!(room_name("/a%252Fb").as_deref(), Ok("a%2Fb"));
        assert_eq!(room_name("/50%").as_deref(), Ok("50%"));
        assert!(room_name("/%FF").is_err());
        assert!(room_name(&format!("/{}", "a".repeat(256))).is_ok());
        assert!(room_name(&format!("/{}", "a".repeat(257))).is_err());
        assert!(room_name(&format!("/{}", "%41".repeat(256))).is_ok());
    }

    #[test]
    fn the_servers_own_paths_are_no_rooms() {
        assert_eq!(reserved("_provod/health"), Some("health"));
        assert_eq!(reserved("_provod"), Some(""));
        assert_eq!(reserved("_provodx"), None);
        assert_eq!(reserved("chat/_provod"), None);
    }

    #[test]
    fn echo_is_on_unless_it_is_switched_off() {
        assert!(wants_echo(None));
        assert!(wants_echo(Some("echo=1")));
        assert!(wants_echo(Some("xecho=0")));
        assert!(!wants_echo(Some("a=b&echo=0")));
    }
}
