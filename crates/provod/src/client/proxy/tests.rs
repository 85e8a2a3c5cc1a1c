use super::*;

fn refused(text: &str) -> String {
    let e = Proxy::parse(text).map(|_| ()).expect_err(text);
    assert!(e.is_usage(), "{e}");
    e.to_string()
}

fn address(url: &str) -> Address {
    Address::parse(url).unwrap_or_else(|e| panic!("{url}: {e}"))
}

#[test]
fn a_proxy_has_a_scheme_a_host_and_a_port() {
    for (text, shown) in [
        ("http://proxy.example:3128", "http://proxy.example:3128"),
        ("http://proxy.example:3128/", "http://proxy.example:3128"),
        ("proxy.example:3128", "http://proxy.example:3128"),
        ("proxy.example", "http://proxy.example:80"),
        ("10.0.0.1:8080", "http://10.0.0.1:8080"),
        ("https://proxy.example", "https://proxy.example:443"),
        ("HTTPS://proxy.example:80", "https://proxy.example:80"),
        ("https://[::1]:21", "https://[::1]:21"),
        ("socks5://127.0.0.1", "socks5://127.0.0.1:1080"),
        ("socks5h://u:p@Proxy.example:80", "socks5h://proxy.example:80"),
        ("socks5://[::1]:9", "socks5://[::1]:9"),
    ] {
        let hop = Hop::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(hop.to_string(), shown);
    }
}

#[test]
fn what_is_no_proxy_is_refused_with_a_way_out() {
    for (text, word) in [
        ("", "host"),
        ("http://", "host"),
        ("socks4://hunter2@a", "socks5://"),
        ("socks://hunter2@a", "socks5://"),
        ("ftp://hunter2@a", "socks5h://"),
        ("http://a:0", "port 0"),
        ("http://u:hunter2@a:99999", "port"),
        ("http://a/hunter2", "nothing more"),
        ("http://a?hunter2", "nothing more"),
        ("http://a\r\nX: hunter2", "control"),
        ("http://u%3A:hunter2@a", "colon"),
        ("http://u:hunter2%0D@a", "control"),
        ("socks5://:hunter2@a", "255"),
    ] {
        let line = refused(text);
        assert!(line.contains(word) && !line.contains("hunter2"), "{text}: {line}");
    }
    refused(&format!("socks5://{}:x@a", "u".repeat(256)));
    refused(&format!("socks5://u:{}@a", "x".repeat(256)));
}

#[test]
fn passwords_are_not_shown() {
    let proxy = Proxy::parse("http://user:hunter2@proxy.example:3128").expect("a proxy");
    let shown = format!("{proxy:?}");
    assert!(shown.contains("proxy.example:3128"), "{shown}");
    assert!(!shown.contains("hunter2") && !shown.contains("user"), "{shown}");
}

/// The proxy in front of `url` with these variables.
fn chosen(variables: &[(&str, &str)], url: &str) -> Option<String> {
    let get = |name: &str| {
        let found = variables.iter().find(|(n, _)| *n == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let proxy = Proxy::from_variables(get).unwrap_or_else(|e| panic!("{variables:?}: {e}"));
    proxy.hop(&address(url)).map(|hop| hop.host.to_string())
}

#[test]
fn the_environment_is_read_as_curl_reads_it() {
    let (ws, wss) = ("ws://example.com/", "wss://example.com/");
    for (variables, plain, secure) in [
        (&[][..], None, None),
        (&[("http_proxy", "a")], Some("a"), None),
        (&[("HTTP_PROXY", "a")], None, None),
        (&[("https_proxy", "a")], None, Some("a")),
        (&[("HTTPS_PROXY", "a")], None, Some("a")),
        (&[("HTTPS_PROXY", "a"), ("https_proxy", "b")], None, Some("b")),
        (&[("ALL_PROXY", "socks5://a")], Some("a"), Some("a")),
        (&[("all_proxy", "a"), ("ALL_PROXY", "b")], Some("a"), Some("a")),
        (&[("ALL_PROXY", "a"), ("http_proxy", "b")], Some("b"), Some("a")),
        (&[("ALL_PROXY", "a"), ("https_proxy", "")], Some("a"), Some("a")),
        (&[("ALL_PROXY", "a"), ("no_proxy", "example.com")], None, None),
        (&[("ALL_PROXY", "a"), ("NO_PROXY", "*")], None, None),
        (&[("ALL_PROXY", "a"), ("NO_PROXY", "*"), ("no_proxy", "")], None, None),
        (&[("ALL_PROXY", " ")], None, None),
    ] {
        let got = (chosen(variables, ws), chosen(variables, wss));
        assert_eq!((got.0.as_deref(), got.1.as_deref()), (plain, secure), "{variables:?}");
    }
    let bad = |name: &str| (name == "ALL_PROXY").then(|| "gopher://u:hunter2@a".to_owned());
    let line = Proxy::from_variables(bad).expect_err("no proxy").to_string();
    assert!(line.contains("ALL_PROXY") && !line.contains("hunter2"), "{line}");
}

#[test]
fn no_proxy_has_the_usual_forms() {
    for (list, url, direct) in [
        ("example.com", "ws://example.com/", true),
        ("example.com", "ws://EXAMPLE.com./", true),
        ("example.com", "ws://www.example.com/", true),
        ("example.com", "ws://badexample.com/", false),
        ("example.com", "ws://example.com.evil/", false),
        (".example.com", "ws://www.example.com/", true),
        (".example.com", "ws://example.com/", true),
        ("*.example.com", "ws://www.example.com/", true),
        ("EXAMPLE.COM.", "ws://www.example.com/", true),
        ("пример.рф", "ws://чат.пример.рф/", true),
        ("a, example.com\tb", "ws://example.com/", true),
        ("a example.com", "ws://example.com/", true),
        ("example.com:80", "ws://example.com/", true),
        ("example.com:80", "wss://example.com/", false),
        ("example.com:443", "wss://example.com/", true),
        ("example.com:x", "ws://example.com/", false),
        ("*", "wss://[::1]/", true),
        ("10.0.0.1", "ws://10.0.0.1/", true),
        ("10.0.0.1", "ws://10.0.0.10/", false),
        ("10.0.0.1:81", "ws://10.0.0.1:81/", true),
        ("10.0.0.1:81", "ws://10.0.0.1/", false),
        ("10.0.0.0/8", "ws://10.200.3.4/", true),
        ("10.0.0.0/8", "ws://11.0.0.1/", false),
        ("0.0.0.0/0", "ws://11.0.0.1/", true),
        ("0.0.0.0/0", "ws://[::1]/", false),
        ("10.0.0.0/33", "ws://10.0.0.1/", false),
        ("::1", "ws://[::1]/", true),
        ("[::1]", "ws://[::1]/", true),
        ("[::1]:80", "ws://[::1]/", true),
        ("[::1]:80", "ws://[::1]:81/", false),
        ("fd00::/8", "ws://[fdff::1]/", true),
        ("fd00::/8", "ws://[fe80::1]/", false),
        ("::/0", "ws://[fe80::1]/", true),
        ("10.0.0.0/8", "ws://localhost/", false),
        (",, /8 :80 [ ] .", "ws://example.com/", false),
        ("", "ws://example.com/", false),
    ] {
        let proxy = Proxy::parse("a").expect("a proxy").bypass(list);
        assert_eq!(proxy.hop(&address(url)).is_none(), direct, "{list} {url}");
    }
}
