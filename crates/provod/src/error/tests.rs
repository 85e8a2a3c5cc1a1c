use std::error::Error as _;

use bytes::Bytes;
use provod_proto::handshake::{HeadLimits, ResponseReader};

use super::*;

fn refusal(head: &str) -> Error {
    let mut reader = ResponseReader::new(HeadLimits::default());
    let head = reader.push(format!("{head}\r\n\r\n").as_bytes()).unwrap().head.unwrap();
    Error::new(Kind::Refused(HttpResponse::new(head, Bytes::from_static(b"why"))))
}

fn broken() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

/// One error of each kind, and the questions that are answered with yes.
fn all() -> Vec<(Error, &'static str)> {
    let timeout = |step| Kind::Timeout {
        step,
        limit: Duration::from_secs(3),
        place: "example.com:80".to_owned(),
    };
    let timeout_at = |step| Error::new(timeout(step));
    let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
    let masked = proto::Error::Protocol(proto::ProtocolError::MaskedServerFrame);
    let (host, address) = (|| "example.com".to_owned(), || "example.com:80".to_owned());
    let kinds = vec![
        (Kind::Peer(masked), "protocol"),
        (Kind::Closed, "closed"),
        (Kind::Ended, "lost"),
        (Kind::Transport(broken()), "lost"),
        (Kind::Silent, "timeout lost"),
        (Kind::CloseTimeout, "timeout lost"),
        (Kind::Aborted, "lost"),
        (Kind::Listen { address: address(), source: broken() }, ""),
        (Kind::Url("it has a fragment".to_owned()), "usage"),
        (Kind::Tls { what: "no".to_owned(), source: None, lost: false }, "tls"),
        (Kind::Tls { what: "no".to_owned(), source: Some(broken()), lost: true }, "lost tls"),
        (Kind::Proxy { place: address(), what: "hung up".to_owned(), response: None }, "proxy"),
        (
            Kind::AtProxy(Error::new(Kind::Connect { address: address(), source: refused() })),
            "connect proxy",
        ),
        (Kind::AtProxy(timeout_at(Step::Tls)), "timeout tls proxy"),
        (Kind::Resolve { host: host(), source: broken() }, "resolve"),
        (Kind::Connect { address: address(), source: refused() }, "connect"),
        (Kind::NoAnswer, "lost"),
        (Kind::NoRequest, "lost"),
        (Kind::Answer("it ends".to_owned()), "handshake"),
        (Kind::TurnedAway { status: 403, why: "no".into() }, "handshake"),
        (timeout(Step::Resolve), "timeout"),
        (timeout(Step::Connect), "timeout"),
        (timeout(Step::Tls), "timeout tls"),
        (timeout(Step::Proxy), "timeout proxy"),
        (timeout(Step::Handshake), "timeout"),
        (timeout(Step::Request), "timeout"),
        (Kind::Setting("no".to_owned()), "usage"),
        (Kind::Random("no".to_owned()), ""),
        (Kind::Start(broken()), ""),
    ];
    let mut all: Vec<_> = kinds.into_iter().map(|(kind, yes)| (Error::new(kind), yes)).collect();
    all.push((refusal("HTTP/1.1 403 Forbidden"), "http"));
    all
}

#[test]
fn each_error_answers_its_questions_and_no_others() {
    for (e, expected) in all() {
        let answers = [
            ("timeout", e.is_timeout()),
            ("lost", e.is_lost()),
            ("closed", e.is_closed()),
            ("protocol", e.is_protocol()),
            ("limit", e.is_limit()),
            ("usage", e.is_usage()),
            ("resolve", e.is_resolve()),
            ("connect", e.is_connect()),
            ("tls", e.is_tls()),
            ("proxy", e.is_proxy()),
            ("handshake", e.is_handshake()),
            ("http", e.http_response().is_some()),
        ];
        let yes: Vec<_> = answers.iter().filter(|(_, yes)| *yes).map(|(name, _)| *name).collect();
        assert_eq!(yes.join(" "), expected, "{e:?}");
    }
}

#[test]
fn each_error_is_one_line() {
    for (e, _) in all() {
        let text = e.to_string();
        assert!(!text.is_empty() && !text.chars().any(char::is_control), "{text:?}");
    }
}

#[test]
fn a_line_says_cause_place_and_way_out() {
    let shown = |kind| Error::new(kind).to_string();
    let source = io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused");
    assert_eq!(
        shown(Kind::Connect { address: "example.com:80".to_owned(), source }),
        "cannot connect to example.com:80: connection refused; is the server running?"
    );
    let limit = Duration::from_secs(3);
    let place = "example.com:80".to_owned();
    assert_eq!(
        shown(Kind::Timeout { step: Step::Handshake, limit, place }),
        "the answer of example.com:80 took longer than 3s"
    );
    assert_eq!(
        refusal("HTTP/1.1 404 Not Found").to_string(),
        "the server refused the WebSocket with status 404 (Not Found); is there a WebSocket at \
         this path?"
    );
    assert_eq!(
        refusal("HTTP/1.1 302\r\nLocation: /there").to_string(),
        "the server refused the WebSocket with status 302: it redirects to /there, which is not \
         followed"
    );
}

#[test]
fn what_a_peer_sent_cannot_steer_a_terminal() {
    let hostile = "a\u{1b}[2J\r\nb\u{202e}c\u{7}\u{9b}31m\u{200b}";
    for kind in [
        Kind::Answer(hostile.to_owned()),
        Kind::Resolve { host: hostile.to_owned(), source: io::Error::other(hostile.to_owned()) },
        Kind::TurnedAway { status: 400, why: hostile.to_owned().into() },
    ] {
        let text = Error::new(kind).to_string();
        let bad = |c: char| c.is_control() || matches!(c, '\u{202e}' | '\u{200b}');
        assert!(!text.chars().any(bad), "{text:?}");
        assert!(text.contains(r"\u{1b}[2J\r\nb\u{202e}c\u{7}\u{9b}31m\u{200b}"), "{text}");
    }
    assert_eq!(Error::new(Kind::Setting("Привет \"a\\b\"".into())).to_string(), "Привет \"a\\b\"");
}

#[test]
fn a_line_has_a_bounded_length() {
    for text in ["x".repeat(100_000), "\u{1b}".repeat(100_000)] {
        let shown = Error::new(Kind::Answer(text)).to_string();
        assert!(shown.chars().count() <= 401 && shown.ends_with('…'), "{shown}");
    }
}

#[test]
fn the_source_is_the_systems_error() {
    for kind in [
        Kind::Transport(broken()),
        Kind::Start(broken()),
        Kind::Connect { address: String::new(), source: broken() },
        Kind::Resolve { host: String::new(), source: broken() },
        Kind::Listen { address: String::new(), source: broken() },
    ] {
        let e = Error::new(kind);
        let source = e.source().and_then(|s| s.downcast_ref::<io::Error>());
        assert_eq!(source.map(io::Error::kind), Some(io::ErrorKind::ConnectionReset), "{e}");
    }
    assert!(Error::new(Kind::Ended).source().is_none());
}
