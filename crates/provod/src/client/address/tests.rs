use super::*;

fn address(text: &str) -> Address {
    Address::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn refused(text: &str) -> String {
    let Err(e) = Address::parse(text) else { panic!("{text} is taken") };
    assert!(e.is_usage(), "{text}: {e}");
    e.to_string()
}

#[test]
fn rfc6455_3_host_port_path_and_query() {
    for (text, authority, port, target) in [
        ("ws://example.com", "example.com", 80, "/"),
        ("ws://example.com:80/", "example.com", 80, "/"),
        ("WS://EXAMPLE.com:8080/Chat?a=1&b=%20", "example.com:8080", 8080, "/Chat?a=1&b=%20"),
        ("ws://example.com?x", "example.com", 80, "/?x"),
        ("http://example.com/x", "example.com", 80, "/x"),
        ("wss://example.com/x", "example.com", 443, "/x"),
        ("https://example.com:443/x", "example.com", 443, "/x"),
        ("wss://example.com:80/x", "example.com:80", 80, "/x"),
        ("ws://[::1]:9/x", "[::1]:9", 9, "/x"),
        ("ws://127.1/x", "127.0.0.1", 80, "/x"),
        ("ws://example.com/a/../b/./c", "example.com", 80, "/b/c"),
        ("ws://пример.рф/чат", "xn--e1afmkfd.xn--p1ai", 80, "/%D1%87%D0%B0%D1%82"),
        ("ws://example.com/a b?c d\"<>", "example.com", 80, "/a%20b?c%20d%22%3C%3E"),
        ("ws://example.com/%23", "example.com", 80, "/%23"),
    ] {
        let got = address(text);
        assert_eq!(
            (got.authority(), got.port(), got.target()),
            (authority, port, target),
            "{text}"
        );
        assert_eq!(got.is_secure(), text.starts_with("wss") || text.starts_with("https"), "{text}");
    }
}

#[test]
fn what_is_no_address_is_refused_with_a_way_out() {
    for (text, word) in [
        ("", "ws://"),
        ("example.com/chat", "ws://"),
        ("localhost:8080", "ws://"),
        ("ftp://example.com", "ftp"),
        ("ws://", "host"),
        ("ws:///", "host"),
        ("ws://:80/", "host"),
        ("ws://example.com:0/", "port 0"),
        ("ws://example.com:65536/", "65535"),
        ("ws://example.com:x/", "65535"),
        ("ws://example.com/#top", "%23"),
        ("ws://example.com/#", "%23"),
        ("ws://[fe80::1%25eth0]/", "zone"),
        ("ws://[::1/", "IPv6"),
        ("ws://a b/", "domain"),
        ("ws://example.com/\r\nX: y", "control"),
        ("ws://example.com/\0", "control"),
        ("ws://exam\tple.com/", "control"),
        ("ws://a%3Ab:c@example.com/", "colon"),
        ("ws://a:%0D%0A@example.com/", "control"),
    ] {
        let e = refused(text);
        assert!(e.contains(word), "{text:?}: {e}");
    }
}

#[test]
fn rfc7617_user_and_password_become_credentials_and_are_not_shown() {
    let got = address("ws://Aladdin:open%20sesame@example.com/x?token=1");
    assert_eq!(got.authorization(), Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
    assert_eq!((got.authority(), got.target()), ("example.com", "/x?token=1"));
    assert_eq!(got.shown(), "ws://example.com/x");
    assert_eq!(address("ws://me@example.com").authorization(), Some("Basic bWU6"));
    assert_eq!(address("ws://:x@example.com").authorization(), Some("Basic Ong="));
    assert_eq!(address("ws://@example.com").authorization(), None);
    for bad in ["ws://u:hunter2@example.com:0/", "ws://u:hunter2@[::1/", "u:hunter2@example.com"] {
        assert!(!refused(bad).contains("hunter2"));
    }
}

#[test]
fn rfc9110_10_2_2_a_location_may_be_relative_and_never_brings_credentials() {
    let from = address("ws://u:hunter2@example.com/a/b?c");
    for (location, shown, keeps) in [
        ("d?e#f", "ws://example.com/a/d", true),
        ("/d", "ws://example.com/d", true),
        ("?x", "ws://example.com/a/b", true),
        ("http://example.com:80/", "ws://example.com/", true),
        ("//other.example/x", "ws://other.example/x", false),
        ("ws://example.com:81/", "ws://example.com:81/", false),
        ("https://example.com/", "wss://example.com/", false),
        ("ws://me:x@other.example/", "ws://other.example/", false),
        ("ws://me:x@example.com/", "ws://example.com/", true),
    ] {
        let to = from.redirected(location).unwrap_or_else(|e| panic!("{location}: {e}"));
        assert_eq!(to.shown(), shown, "{location}");
        assert_eq!(to.authorization().is_some(), keeps, "{location}");
        if keeps {
            assert_eq!(to.authorization(), from.authorization());
        }
    }
    for bad in ["ftp://example.com/", "mailto:a@b", "data:x", "ws://", "ws://a:0/", "/\u{1b}[2J"] {
        assert!(from.redirected(bad).is_err(), "{bad}");
    }
}
