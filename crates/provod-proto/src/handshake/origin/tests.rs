use super::*;
use crate::handshake::testing::Random;

fn host(text: &str) -> Authority {
    Authority::parse(text.as_bytes()).expect(text)
}

fn check(policy: &OriginPolicy, origin: &str, at: &str) -> Result<(), OriginRefused> {
    policy.check(Some(origin.as_bytes()), &host(at))
}

#[test]
fn rfc6454_7_origins() {
    let good = [
        ("null", "null"),
        ("http://example.com", "http://example.com"),
        ("HTTPS://Example.COM:443", "https://example.com"),
        ("http://example.com:8080", "http://example.com:8080"),
        ("https://[::1]:8443", "https://[::1]:8443"),
        ("chrome-extension://mhjfbmdgcfjbbpaeojofohoefgiehjai", ""),
        ("moz-extension://3f3d2c0a-5a4f-4a6b-8a53-6d8a1d1c1d11", ""),
        ("capacitor://localhost", ""),
        ("app://-", ""),
        ("file://", ""),
    ];
    for (text, normal) in good {
        let origin = Origin::parse(text.as_bytes()).expect(text).to_string();
        assert_eq!(origin, if normal.is_empty() { text } else { normal });
    }
    let bad = [
        "",
        "NULL",
        "example.com",
        "http:example.com",
        "http://",
        "http:///",
        "://example.com",
        "1http://example.com",
        "http://example.com/",
        "http://example.com/path",
        "http://example.com?x",
        "http://user@example.com",
        "http://example.com:",
        "http://example.com:0x50",
        "http://example.com:70000",
        "http://a.example http://b.example",
        "http://a.example, http://b.example",
        "null null",
        " http://example.com",
        "http://ex\u{e4}mple.com",
        "http://a%2eb",
    ];
    for text in bad {
        assert_eq!(Origin::parse(text.as_bytes()), Err(InvalidOrigin), "{text}");
    }
    assert_eq!(Origin::parse(b"http://\xff"), Err(InvalidOrigin));
}

#[test]
fn no_origin_is_no_page() {
    for policy in [OriginPolicy::any(), OriginPolicy::same_host(), OriginPolicy::listed()] {
        assert_eq!(policy.check(None, &host("example.com")), Ok(()));
    }
}

#[test]
fn rfc6455_10_2_same_host_is_host_and_port() {
    let policy = OriginPolicy::default();
    let good = [
        ("http://example.com", "example.com"),
        ("http://example.com", "EXAMPLE.com:80"),
        ("https://example.com", "example.com"),
        ("https://example.com", "example.com:443"),
        ("https://example.com:443", "example.com"),
        ("http://EXAMPLE.com:8080", "example.com:8080"),
        ("http://[::1]:81", "[0:0:0::1]:81"),
    ];
    for (origin, at) in good {
        assert_eq!(check(&policy, origin, at), Ok(()), "{origin} at {at}");
    }
    let bad = [
        ("http://evil.example", "example.com"),
        ("http://example.com.evil.example", "example.com"),
        ("http://evilexample.com", "example.com"),
        ("http://sub.example.com", "example.com"),
        ("http://example.com:8080", "example.com"),
        ("http://example.com", "example.com:8080"),
        ("https://example.com", "example.com:80"),
        ("chrome-extension://example.com", "example.com"),
        ("ftp://example.com:80", "example.com:80"),
        ("file://", "example.com"),
        ("http://localhost", "example.com"),
    ];
    for (origin, at) in bad {
        assert_eq!(check(&policy, origin, at), Err(OriginRefused::CrossSite), "{origin} at {at}");
    }
    assert_eq!(check(&policy, "null", "example.com"), Err(OriginRefused::Null));
    assert_eq!(check(&policy, "", "example.com"), Err(OriginRefused::Malformed));
    let list = check(&policy, "http://example.com http://evil.example", "example.com");
    assert_eq!(list, Err(OriginRefused::Malformed));
}

#[test]
fn a_list_allows_what_it_names() {
    let policy = OriginPolicy::listed()
        .allow("https://a.example")
        .and_then(|p| p.allow("http://b.example:8080"))
        .and_then(|p| p.allow("C.example"))
        .and_then(|p| p.allow("d.example:444"))
        .and_then(|p| p.allow("chrome-extension://abc"))
        .unwrap();
    let good = [
        "https://a.example",
        "https://A.example:443",
        "http://b.example:8080",
        "http://c.example",
        "https://c.example:8443",
        "https://d.example:444",
        "chrome-extension://abc",
    ];
    for origin in good {
        assert_eq!(check(&policy, origin, "h"), Ok(()), "{origin}");
    }
    let bad = [
        "http://a.example",
        "https://a.example:8443",
        "http://b.example",
        "https://d.example",
        "chrome-extension://c.example",
        "http://sub.c.example",
        "http://h",
    ];
    for origin in bad {
        assert_eq!(check(&policy, origin, "h"), Err(OriginRefused::CrossSite), "{origin}");
    }
}

#[test]
fn null_and_everything_must_be_asked_for() {
    let policy = OriginPolicy::listed().allow("null").unwrap();
    assert_eq!(check(&policy, "null", "h"), Ok(()));
    let policy = OriginPolicy::same_host().allow("*").unwrap();
    for origin in ["null", "http://evil.example", "what is this"] {
        assert_eq!(check(&policy, origin, "h"), Ok(()), "{origin}");
    }
    for entry in ["", "http://", "https://a.example/", "a b", "*.example.com", "https://*", "a,b"] {
        assert_eq!(OriginPolicy::listed().allow(entry), Err(InvalidOrigin), "{entry}");
    }
}

#[test]
fn loopback_hosts() {
    let yes = [
        "localhost",
        "LOCALHOST",
        "localhost.",
        "app.localhost",
        "127.0.0.1",
        "127.255.3.4",
        "::1",
        "[::1]",
        "[::ffff:127.0.0.1]",
    ];
    for host in yes {
        assert!(is_loopback_host(host), "{host}");
    }
    let no = [
        "",
        ".localhost",
        "localhost.evil.example",
        "evillocalhost",
        "127.0.0.1.evil.example",
        "128.0.0.1",
        "0.0.0.0",
        "127.1",
        "[::2]",
        "[::]",
        "[127.0.0.1",
        "10.0.0.1",
        "localhost:80",
    ];
    for host in no {
        assert!(!is_loopback_host(host), "{host}");
    }
}

#[test]
fn on_loopback_other_loopback_pages_may_connect() {
    let policy = OriginPolicy::same_host().on_loopback(true);
    for origin in ["http://localhost:3000", "https://127.0.0.1", "http://[::1]:5173"] {
        assert_eq!(check(&policy, origin, "127.0.0.1:8080"), Ok(()), "{origin}");
    }
    let evil = check(&policy, "http://evil.example", "localhost:8080");
    assert_eq!(evil, Err(OriginRefused::CrossSite));
    assert_eq!(check(&policy, "null", "localhost:8080"), Err(OriginRefused::Null));
    let extension = check(&policy, "chrome-extension://localhost", "localhost:8080");
    assert_eq!(extension, Err(OriginRefused::CrossSite));
}

#[test]
fn on_loopback_a_page_cannot_be_its_own_same_host() {
    // DNS rebinding: evil.example resolves to 127.0.0.1 when its page connects.
    let policy = OriginPolicy::same_host().on_loopback(true);
    let rebound = check(&policy, "http://evil.example:8080", "evil.example:8080");
    assert_eq!(rebound, Err(OriginRefused::Rebinding));
    assert_eq!(policy.check(None, &host("evil.example")), Err(OriginRefused::Rebinding));
    assert_eq!(policy.check_host(&host("evil.example")), Err(OriginRefused::Rebinding));
    assert_eq!(policy.check_host(&host("localhost:1")), Ok(()));
    // Behind a proxy that passes the public name on.
    let policy = policy.allow("https://chat.example").unwrap();
    assert_eq!(check(&policy, "https://chat.example", "chat.example"), Ok(()));
    assert_eq!(policy.check_host(&host("chat.example:8080")), Ok(()));
}

#[test]
fn mutated_origins_and_hosts_never_panic_and_normal_forms_stay() {
    let mut random = Random(0x5eed_0006);
    for text in ["https://example.com:8443", "http://[::ffff:1.2.3.4]:80", "null", "file://"] {
        for _ in 0..5_000 {
            let mut bytes = text.as_bytes().to_vec();
            random.mutate(&mut bytes);
            if let Ok(origin) = Origin::parse(&bytes) {
                assert_eq!(Origin::parse(origin.to_string().as_bytes()), Ok(origin));
            }
            if let Some(authority) = Authority::parse(&bytes) {
                assert_eq!(Authority::parse(authority.to_string().as_bytes()), Some(authority));
            }
            let _ = is_loopback_host(&String::from_utf8_lossy(&bytes));
        }
    }
}
