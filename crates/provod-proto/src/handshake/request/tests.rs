use super::*;
use crate::handshake::FieldError;
use crate::handshake::head::{HeadError, HeadLimits};
use crate::handshake::negotiate::ExtensionError;
use crate::handshake::origin::OriginRefused;
use crate::handshake::response::Response;
use crate::handshake::testing::{REQUEST, Random, feed, replace, request, with};

fn check(text: &str) -> Result<Upgrade, Refusal> {
    validate(&request(text))
}

fn refusal(text: &str) -> Refusal {
    check(text).expect_err(text)
}

#[test]
fn rfc6455_1_2_the_request_of_the_example_is_good() {
    let upgrade = check(REQUEST).unwrap();
    assert_eq!(upgrade.host().to_string(), "server.example.com");
    assert_eq!(upgrade.accept(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(upgrade.subprotocols(), ["chat", "superchat"]);
    assert_eq!(upgrade.extensions(), []);
    assert_eq!(upgrade.choose_subprotocol(&["superchat", "chat"]), Some("chat"));
    assert_eq!(upgrade.choose_subprotocol(&["Chat"]), None);
}

#[test]
fn tokens_are_compared_without_case_and_in_lists_over_several_lines() {
    for line in
        ["connection: keep-alive, Upgrade", "CONNECTION: ,UPGRADE,, x", "Connection:upgrade"]
    {
        assert!(check(&replace(REQUEST, "Connection: Upgrade", line)).is_ok(), "{line}");
    }
    let lines = "Connection: keep-alive\r\nConnection: upgrade";
    assert!(check(&replace(REQUEST, "Connection: Upgrade", lines)).is_ok());
    for line in
        ["upgrade: WebSocket", "Upgrade: h2c, websocket", "Upgrade: h2c\r\nUpgrade: WEBSOCKET"]
    {
        assert!(check(&replace(REQUEST, "Upgrade: websocket", line)).is_ok(), "{line}");
    }
    let lines = "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b, A";
    let text = replace(REQUEST, "Sec-WebSocket-Protocol: chat, superchat", lines);
    assert_eq!(check(&text).unwrap().subprotocols(), ["a", "b", "A"]);
}

#[test]
fn plain_http_is_not_a_broken_upgrade() {
    for line in ["", "Upgrade: h2c", "Upgrade: websocket/13", "Upgrade: websockets", "Upgrade:"] {
        let text = replace(REQUEST, "Upgrade: websocket", line);
        assert!(!is_upgrade(&request(&text)), "{line}");
        assert_eq!(refusal(&text), Refusal::NotUpgrade, "{line}");
    }
    assert_eq!(
        refusal("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"),
        Refusal::NotUpgrade
    );
    assert_eq!(refusal("GET /health HTTP/1.0\r\n\r\n"), Refusal::NotUpgrade);
    assert_eq!(refusal("GET / HTTP/1.1\r\n\r\n"), Refusal::Host);
}

#[test]
fn rfc6455_4_1_only_get_of_http_1_1_upgrades() {
    for method in ["POST", "HEAD", "get", "OPTIONS"] {
        let text = REQUEST.replacen("GET", method, 1);
        assert_eq!(refusal(&text), Refusal::Method, "{method}");
    }
    assert_eq!(refusal(&REQUEST.replacen("HTTP/1.1", "HTTP/1.0", 1)), Refusal::Http10);
}

#[test]
fn rfc9112_3_2_there_is_exactly_one_host() {
    let bad = [
        "",
        "Host:",
        "Host: a b",
        "Host: user@example.com",
        "Host: example.com/",
        "Host: example.com:http",
        "Host: example.com:65536",
        "Host: example.com:+80",
        "Host: example.com:80:80",
        "Host: a,b",
        "Host: [::1",
        "Host: ::1",
        "Host: [localhost]",
        "Host: [::1]x",
        "Host: \u{e9}.com",
    ];
    for line in bad {
        assert_eq!(refusal(&replace(REQUEST, "Host: server.example.com", line)), Refusal::Host);
    }
    let text = with(REQUEST, "host: server.example.com");
    assert_eq!(refusal(&text), Refusal::Duplicate("Host"));
    let good = [
        ("Host: EXAMPLE.com", "example.com"),
        ("Host: a_b.example.", "a_b.example."),
        ("Host: a:8080", "a:8080"),
        ("Host: a:", "a"),
        ("Host: 127.0.0.1:1", "127.0.0.1:1"),
        ("Host: [0:0::1]:443", "[::1]:443"),
    ];
    for (line, host) in good {
        let text = replace(REQUEST, "Host: server.example.com", line);
        assert_eq!(check(&text).unwrap().host().to_string(), host);
    }
}

#[test]
fn rfc9112_3_2_2_the_authority_of_an_absolute_target_wins() {
    let text = REQUEST.replacen("/chat", "http://other.example:81/chat", 1);
    assert_eq!(check(&text).unwrap().host().to_string(), "other.example:81");
    let text = replace(&text, "Host: server.example.com", "");
    assert_eq!(refusal(&text), Refusal::Host);
}

#[test]
fn single_valued_headers_may_not_be_repeated() {
    let lines = [
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
        ("Origin", "http://example.com"),
    ];
    for (name, value) in lines {
        let text = with(REQUEST, &format!("{}: {value}", name.to_lowercase()));
        assert_eq!(refusal(&text), Refusal::Duplicate(name));
    }
    for line in ["Content-Length: 0", "Transfer-Encoding: chunked", "Authorization: Basic eA=="] {
        let name = refusal(&with(&with(REQUEST, line), line));
        assert!(matches!(name, Refusal::Duplicate(name) if line.starts_with(name)), "{line}");
    }
}

#[test]
fn an_upgrade_with_a_body_is_a_smuggled_request() {
    let bad = [
        "Content-Length: 1",
        "Content-Length:",
        "Content-Length: -0",
        "Content-Length: 0, 0",
        "Content-Length: 18446744073709551616",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: identity",
    ];
    for line in bad {
        assert_eq!(refusal(&with(REQUEST, line)), Refusal::Body, "{line}");
    }
    assert!(check(&with(REQUEST, "Content-Length: 0")).is_ok());
}

#[test]
fn rfc6455_4_2_1_connection_lists_upgrade() {
    for line in ["", "Connection: keep-alive", "Connection: upgraded", "Connection: \"upgrade\""] {
        let text = replace(REQUEST, "Connection: Upgrade", line);
        assert_eq!(refusal(&text), Refusal::Connection, "{line}");
    }
}

#[test]
fn rfc6455_4_2_2_another_version_is_told_ours() {
    for line in ["", "8", "14", "013", "13, 8", "", "+13", "13;"] {
        let line =
            if line.is_empty() { String::new() } else { format!("Sec-WebSocket-Version: {line}") };
        let refusal = refusal(&replace(REQUEST, "Sec-WebSocket-Version: 13", &line));
        assert_eq!((refusal, refusal.status()), (Refusal::Version, 426), "{line}");
        assert!(refusal.headers().contains(&("Sec-WebSocket-Version", "13")));
    }
}

#[test]
fn rfc6455_4_2_1_the_key_is_the_base64_of_16_bytes() {
    let bad = [
        "",
        " ",
        " dGhlIHNhbXBsZSBub25jZQ",      // no padding
        " dGhlIHNhbXBsZSBub25jZR==",    // bits behind the last byte
        " dGhlIHNhbXBsZSBub25j",        // 15 bytes
        " dGhlIHNhbXBsZSBub25jZWE=",    // 17 bytes
        " dGhlIHNhbXBsZSBub25jZQ== x",  // more
        " dGhl IHNhbXBsZSBub25jZQ==",   // whitespace inside
        " dGhlIHNhbXBsZSBub25jZQ==, a", // a list
        " -_hlIHNhbXBsZSBub25jZQ==",    // another alphabet
        " \u{e9}GhlIHNhbXBsZSBub25jZQ==",
    ];
    for value in bad {
        let line = format!("Sec-WebSocket-Key:{value}");
        let text = replace(REQUEST, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", &line);
        assert_eq!(refusal(&text), Refusal::Key, "{line}");
    }
    let text = replace(REQUEST, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "");
    assert_eq!(refusal(&text), Refusal::Key);
}

#[test]
fn rfc6455_4_1_subprotocols_are_unique_tokens() {
    let many = (0..65).map(|i| i.to_string()).collect::<Vec<_>>().join(",");
    for value in ["a, a", "a b", "a;b", "\"a\"", "a=b", "\u{e9}", "", ",", &many] {
        let line = format!("Sec-WebSocket-Protocol: {value}");
        let text = replace(REQUEST, "Sec-WebSocket-Protocol: chat, superchat", &line);
        assert_eq!(refusal(&text), Refusal::Subprotocol, "{line}");
    }
    let text = with(REQUEST, "Sec-WebSocket-Protocol: chat");
    assert_eq!(refusal(&text), Refusal::Subprotocol);
}

#[test]
fn rfc6455_9_1_malformed_extensions_fail_the_handshake() {
    let text = with(REQUEST, "Sec-WebSocket-Extensions: a; b=");
    assert_eq!(refusal(&text), Refusal::Extensions(ExtensionError::Value));
    let text = with(REQUEST, "Sec-WebSocket-Extensions: a; b=\"c\\d\"");
    let text = with(&text, "Sec-WebSocket-Extensions: e");
    let names: Vec<_> = check(&text).unwrap().extensions().iter().map(|e| e.name.clone()).collect();
    assert_eq!(names, ["a", "e"]);
}

#[test]
fn the_same_extension_offered_twice_is_a_choice() {
    let text = with(
        REQUEST,
        "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=8, \
         permessage-deflate",
    );
    let answer = check(&text).unwrap().accept_deflate(&DeflateConfig::default()).unwrap();
    assert_eq!(answer.header(), "permessage-deflate");
}

fn answer(refusal: &Refusal) -> String {
    let mut out = Vec::new();
    Response::from(refusal).write(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_refusal_becomes_an_answer_that_says_what_was_wrong() {
    assert_eq!(
        answer(&Refusal::NotUpgrade),
        "HTTP/1.1 426 Upgrade Required\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\
         Upgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\n\
         Connection: Upgrade, close\r\n\
         Content-Length: 65\r\n\r\n\
         this is a WebSocket server: the request lacks Upgrade: websocket\n"
    );
    assert!(answer(&Refusal::Method).contains("405 Method Not Allowed\r\n"));
    assert!(answer(&Refusal::Method).contains("\r\nAllow: GET\r\n"));
    assert!(answer(&Refusal::Method).contains("\r\nConnection: close\r\n"));
    assert!(answer(&OriginRefused::CrossSite.into()).starts_with("HTTP/1.1 403 Forbidden\r\n"));
    assert!(answer(&HeadError::TooLong.into()).starts_with("HTTP/1.1 431 Request Header"));
    assert!(answer(&HeadError::TargetTooLong.into()).starts_with("HTTP/1.1 414 URI"));
    assert!(answer(&HeadError::BareLf.into()).starts_with("HTTP/1.1 400 Bad Request\r\n"));
}

#[test]
fn each_kind_of_refusal_has_its_own_label() {
    for (i, kind) in RefusalKind::ALL.iter().enumerate() {
        assert_eq!(*kind as usize, i);
        let same = RefusalKind::ALL.iter().filter(|k| k.as_str() == kind.as_str()).count();
        assert_eq!(same, 1, "{kind}");
    }
    assert_eq!(Refusal::Head(HeadError::Tls).kind(), RefusalKind::Tls);
    assert_eq!(Refusal::Head(HeadError::TooManyHeaders).kind(), RefusalKind::HeadTooLarge);
    assert_eq!(Refusal::Duplicate("Host").kind().as_str(), "duplicate_header");
}

#[test]
fn mutated_requests_never_panic_and_what_is_accepted_is_whole() {
    let text = with(
        REQUEST,
        "Sec-WebSocket-Extensions: a; b=\"\\c\", permessage-deflate; client_max_window_bits=8",
    );
    let mut random = Random(0x5eed_0003);
    let mut accepted = 0;
    for _ in 0..20_000 {
        let mut bytes = text.as_bytes().to_vec();
        random.mutate(&mut bytes);
        let Ok(Some((head, _))) = feed::<RequestHead>(HeadLimits::default(), &[&bytes]) else {
            continue;
        };
        match validate(&head) {
            Ok(upgrade) => {
                accepted += 1;
                assert_eq!((head.method(), head.count("host")), ("GET", 1));
                assert_eq!(upgrade.accept().len(), 28);
                let _ = upgrade.accept_deflate(&DeflateConfig::default());
            }
            Err(refusal) => assert!((400..=431).contains(&refusal.status())),
        }
    }
    assert!(accepted > 100, "the search sees good requests too: {accepted}");
}

const NONCE: [u8; 16] = *b"the sample nonce";

fn written(request: &ClientRequest) -> String {
    let mut out = Vec::new();
    request.write(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_client_writes_what_a_server_accepts() {
    let client = ClientRequest::new("Example.com:8080", "/a?b=c", NONCE)
        .and_then(|c| c.subprotocol("chat"))
        .and_then(|c| c.subprotocol("superchat"))
        .and_then(|c| c.origin("http://example.com"))
        .and_then(|c| c.header("Cookie", b"a=b"))
        .unwrap()
        .deflate(DeflateConfig::default());
    let text = written(&client);
    assert_eq!(
        text,
        "GET /a?b=c HTTP/1.1\r\n\
         Host: example.com:8080\r\n\
         Upgrade: websocket\r\n\
         Connection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\n\
         Origin: http://example.com\r\n\
         Sec-WebSocket-Protocol: chat, superchat\r\n\
         Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\
         Cookie: a=b\r\n\r\n"
    );
    let upgrade = check(&text).unwrap();
    assert_eq!(upgrade.subprotocols(), ["chat", "superchat"]);
    assert_eq!(upgrade.extensions().len(), 1);
}

#[test]
fn a_client_writes_nothing_that_breaks_the_head() {
    for host in ["", "a b", "a\r\nX: y", "user@a", "a/", "::1"] {
        assert_eq!(ClientRequest::new(host, "/", NONCE).unwrap_err(), FieldError::Host);
    }
    for target in ["", "a", "/a b", "/\r\nX: y", "/\0", "/\u{e9}", "/a#b", "http://a/"] {
        assert_eq!(ClientRequest::new("a", target, NONCE).unwrap_err(), FieldError::Target);
    }
    let new = || ClientRequest::new("a", "/", NONCE).unwrap();
    for name in ["", "a b", "a:", "a\r\nb", "\u{e9}"] {
        assert_eq!(new().header(name, b"x").unwrap_err(), FieldError::Name(name.to_owned()));
    }
    for value in [&b"x\r\ny: z"[..], b"x\ny", b"x\r", b"x\0", b"\x1b[2J", b"\x7f"] {
        assert_eq!(new().header("x", value).unwrap_err(), FieldError::Value("x".to_owned()));
    }
    let reserved = [
        "host",
        "UPGRADE",
        "Connection",
        "Sec-WebSocket-Key",
        "sec-websocket-anything",
        "Content-Length",
        "Transfer-Encoding",
        "Trailer",
        "Origin",
    ];
    for name in reserved {
        assert_eq!(new().header(name, b"x").unwrap_err(), FieldError::Reserved(name.to_owned()));
    }
    for name in ["", "a b", "a,b", "a\r\nb"] {
        let error = FieldError::Subprotocol(name.to_owned());
        assert_eq!(new().subprotocol(name).unwrap_err(), error);
    }
    let twice = new().subprotocol("a").and_then(|c| c.subprotocol("a"));
    assert_eq!(twice.unwrap_err(), FieldError::Subprotocol("a".to_owned()));
    for origin in ["", "a", "http://a/", "http://a\r\nX: y"] {
        assert!(new().origin(origin).is_err(), "{origin:?}");
    }
}
