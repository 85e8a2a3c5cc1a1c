use bytes::Bytes;

use super::*;
use crate::handshake::testing::response;
use crate::handshake::{
    Accept, ClientRequest, DeflateConfig, RefusalKind, Response, ResponseError, Version,
};

/// The request of RFC 8441 section 5.1.
const REQUEST: Http2Request<'_> = Http2Request {
    method: "CONNECT",
    protocol: Some("websocket"),
    authority: Some("server.example.com"),
    path: Some("/chat"),
};

type Field = (&'static str, &'static [u8]);

const FIELDS: [Field; 4] = [
    ("sec-websocket-protocol", b"chat, superchat"),
    ("sec-websocket-extensions", b"permessage-deflate"),
    ("sec-websocket-version", b"13"),
    ("origin", b"http://www.example.com"),
];

fn check(request: Http2Request<'_>, fields: &[Field]) -> Result<Upgrade, Refusal> {
    let head = request.head(fields.iter().copied(), HeadLimits::default())?;
    validate_extended(&head)
}

fn with(field: Field) -> Vec<Field> {
    FIELDS.into_iter().chain([field]).collect()
}

#[test]
fn rfc8441_5_1_the_example_is_accepted() {
    let head = REQUEST.head(FIELDS, HeadLimits::default()).unwrap();
    assert_eq!((head.method(), head.path(), head.version()), ("GET", "/chat", Version::Http11));
    assert_eq!(head.header("Host"), Some(&b"server.example.com"[..]));
    let upgrade = validate_extended(&head).unwrap();
    assert_eq!(upgrade.host().to_string(), "server.example.com");
    assert_eq!((upgrade.subprotocols().len(), upgrade.extensions().len()), (2, 1));
    assert_eq!(upgrade.accept(), "");
    let answer = Accept::new(&upgrade).subprotocol("chat").unwrap();
    let answer = answer.header("Set-Cookie", b"a=b: c").unwrap();
    let deflate = upgrade.accept_deflate(&DeflateConfig::default()).unwrap();
    let fields = answer.deflate(&deflate).http2_fields();
    let names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["sec-websocket-protocol", "sec-websocket-extensions", "Set-Cookie"]);
    assert_eq!((fields[0].1.as_slice(), fields[2].1.as_slice()), (&b"chat"[..], &b"a=b: c"[..]));
}

#[test]
fn each_broken_rule_has_its_refusal() {
    let kind = |request, fields: &[Field]| check(request, fields).unwrap_err().kind();
    let version = kind(REQUEST, &with(("sec-websocket-version", b"12")));
    assert_eq!(version, RefusalKind::Duplicate);
    assert_eq!(kind(REQUEST, &[("origin", b"http://a")]), RefusalKind::Version);
    for hop in ["upgrade", "connection"] {
        assert_eq!(kind(REQUEST, &with((hop, b"websocket"))), RefusalKind::Connection, "{hop}");
    }
    assert_eq!(kind(REQUEST, &with(("content-length", b"5"))), RefusalKind::Body);
    assert_eq!(kind(REQUEST, &with(("host", b"other.example.com"))), RefusalKind::Host);
    assert_eq!(kind(Http2Request { authority: None, ..REQUEST }, &FIELDS), RefusalKind::Host);
    assert_eq!(kind(Http2Request { path: None, ..REQUEST }, &FIELDS), RefusalKind::Head);
    let long = Http2Request { path: Some(&"/".repeat(9000)), ..REQUEST };
    assert_eq!(check(long, &FIELDS).unwrap_err().kind(), RefusalKind::HeadTooLarge);
    for protocol in [None, Some("connect-udp"), Some("websocket/13")] {
        let refusal = check(Http2Request { protocol, ..REQUEST }, &FIELDS).unwrap_err();
        assert_eq!((refusal, refusal.status()), (Refusal::Protocol, 501));
    }
    let split = Http2Request { authority: Some("a\r\nX: y"), ..REQUEST };
    assert_eq!(kind(split, &FIELDS), RefusalKind::Head);
    let offered_twice: Vec<_> = with(("sec-websocket-protocol", b"chat"));
    assert_eq!(kind(REQUEST, &offered_twice), RefusalKind::Subprotocol);
}

#[test]
fn what_does_no_harm_is_let_through() {
    let key = ("sec-websocket-key", &b"dGhlIHNhbXBsZSBub25jZQ=="[..]);
    check(REQUEST, &with(key)).unwrap();
    check(REQUEST, &with(("host", b"SERVER.example.com"))).unwrap();
    check(REQUEST, &with(("content-length", b"0"))).unwrap();
    let by_host = Http2Request { authority: None, ..REQUEST };
    check(by_host, &with(("host", b"server.example.com"))).unwrap();
    let fields = with(("cookie", b"a=b")).into_iter().chain([("cookie", &b"c=d"[..])]);
    let head = REQUEST.head(fields, HeadLimits::default()).unwrap();
    assert_eq!((head.header("Cookie"), head.count("Cookie")), (Some(&b"a=b; c=d"[..]), 1));
    check(Http2Request { protocol: Some("WebSocket"), ..REQUEST }, &FIELDS).unwrap();
}

#[test]
fn an_answer_of_plain_http_has_nothing_of_a_connection() {
    let response = Response::text(426, "no").header("Upgrade", b"websocket").unwrap();
    let (fields, body) = response.http2();
    let names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((names, &body[..]), (vec!["Content-Type", "content-length"], &b"no\n"[..]));
    let head = Http2Request { method: "HEAD", protocol: None, ..REQUEST };
    let head = head.head(FIELDS, HeadLimits::default()).unwrap();
    let (fields, body) = Response::text(200, "ok").answering(&head).http2();
    assert_eq!((fields[1].1.as_slice(), body.len()), (&b"3"[..], 0));
    assert_eq!(Response::new(204).body("x").http2(), (Vec::new(), Bytes::new()));
}

#[test]
fn a_client_checks_the_answer() {
    let request = ClientRequest::new("example.com", "/chat?a", [0; 16]).unwrap();
    let request = request.subprotocol("chat").unwrap().header("Cookie", b"id=7").unwrap();
    let fields = request.http2_fields();
    let names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["Sec-WebSocket-Version", "Sec-WebSocket-Protocol", "Cookie"]);
    assert_eq!((request.host().to_string(), request.target()), ("example.com".into(), "/chat?a"));
    let answer = |text: &str| request.verify_extended(&response(text));
    let ok = "HTTP/1.1 200 \r\nSec-WebSocket-Protocol: chat\r\n\r\n";
    assert_eq!(answer(ok).unwrap().subprotocol.as_deref(), Some("chat"));
    assert_eq!(answer("HTTP/1.1 204 \r\n\r\n").unwrap().subprotocol, None);
    for status in [101, 302, 404] {
        let refused = answer(&format!("HTTP/1.1 {status} \r\n\r\n"));
        assert_eq!(refused, Err(ResponseError::Status(status)));
    }
    for (line, wrong) in [
        ("Sec-WebSocket-Protocol: mail", ResponseError::Subprotocol),
        (
            "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: chat",
            ResponseError::Duplicate("Sec-WebSocket-Protocol"),
        ),
        (
            "Sec-WebSocket-Extensions: permessage-deflate",
            ResponseError::ExtensionNotOffered("permessage-deflate".into()),
        ),
    ] {
        assert_eq!(answer(&format!("HTTP/1.1 200 \r\n{line}\r\n\r\n")), Err(wrong));
    }
}
