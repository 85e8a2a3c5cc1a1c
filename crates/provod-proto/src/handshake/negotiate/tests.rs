use super::*;
use crate::handshake::testing::Random;

fn parse(lines: &[&str]) -> Result<Vec<Extension>, ExtensionError> {
    parse_extensions(lines.iter().map(|line| line.as_bytes()))
}

/// `name; parameter; parameter=value` for each extension, normal form of the grammar.
fn shown(lines: &[&str]) -> String {
    let one = |extension: &Extension| {
        let mut text = extension.name.clone();
        for Parameter { name, value } in &extension.parameters {
            text += &match value {
                Some(value) => format!("; {name}={value}"),
                None => format!("; {name}"),
            };
        }
        text
    };
    parse(lines).unwrap().iter().map(one).collect::<Vec<_>>().join(", ")
}

#[test]
fn rfc6455_9_1_lists_and_parameters() {
    assert_eq!(shown(&[]), "");
    assert_eq!(shown(&["foo"]), "foo");
    assert_eq!(shown(&["foo, bar; baz=2"]), "foo, bar; baz=2");
    assert_eq!(shown(&["foo", "bar; baz=2"]), "foo, bar; baz=2");
    assert_eq!(shown(&[" a\t;b ; c = d ,, e ,"]), "a; b; c=d, e");
    assert_eq!(shown(&[",", "a"]), "a");
    assert_eq!(shown(&["a;b;b=1;b=1"]), "a; b; b=1; b=1");
}

#[test]
fn rfc6455_9_1_quoted_values_are_tokens_in_disguise() {
    assert_eq!(shown(&["a; b=\"10\""]), "a; b=10");
    assert_eq!(shown(&["a; b=\"1\\0\"; c=\"\\d\", e"]), "a; b=10; c=d, e");
    for bad in ["a; b=\"\"", "a; b=\"1 0\"", "a; b=\"1,0\"", "a; b=\"\\\"\"", "a; b=\"\u{e9}\""] {
        assert_eq!(parse(&[bad]), Err(ExtensionError::Value), "{bad}");
    }
    for bad in ["a; b=\"1", "a; b=\"", "a; b=\"1\\\"", "a; b=\"1\\"] {
        assert_eq!(parse(&[bad]), Err(ExtensionError::Quote), "{bad}");
    }
    // A quote does not reach from one line to the next.
    assert_eq!(parse(&["a; b=\"1", "0\""]), Err(ExtensionError::Quote));
}

#[test]
fn rfc6455_9_1_malformed_headers() {
    use ExtensionError::*;
    let cases = [
        ("", Empty),
        (" , ,", Empty),
        (";", Name),
        ("=a", Name),
        ("\"a\"", Name),
        ("a;", Name),
        ("a;;b", Name),
        ("a; b;", Name),
        ("a; =b", Name),
        ("a; \"b\"", Name),
        ("a; b=", Value),
        ("a; b=;c", Value),
        ("a; b==c", Value),
        ("a b", Separator),
        ("a=b", Separator),
        ("a; b c", Separator),
        ("a; b=c d", Separator),
        ("a; b=\"c\"d", Separator),
        ("a/b", Separator),
        ("\u{e9}", Name),
    ];
    for (text, error) in cases {
        assert_eq!(parse(&[text]), Err(error), "{text}");
    }
}

#[test]
fn a_head_full_of_tiny_extensions_is_refused() {
    assert_eq!(parse(&[&"a,".repeat(32)]).map(|e| e.len()), Ok(32));
    assert_eq!(parse(&[&"a,".repeat(33)]), Err(ExtensionError::TooMany));
    assert_eq!(parse(&["a"; 33]), Err(ExtensionError::TooMany));
    assert!(parse(&[&format!("a{}", ";b".repeat(32))]).is_ok());
    assert_eq!(parse(&[&format!("a{}", ";b".repeat(33))]), Err(ExtensionError::TooMany));
}

fn accept(config: DeflateConfig, offer: &str) -> Option<String> {
    config.accept(&parse(&[offer]).unwrap()).map(|answer| answer.header().to_owned())
}

/// What a server with defaults answers to an offer of permessage-deflate with these parameters.
fn answer(parameters: &str) -> Option<String> {
    accept(DeflateConfig::default(), &format!("permessage-deflate{parameters}"))
}

#[test]
fn rfc7692_7_a_server_answers_what_it_accepts() {
    let cases = [
        ("", ""),
        ("; client_max_window_bits", ""),
        ("; client_max_window_bits=15", ""),
        ("; client_max_window_bits=10", "; client_max_window_bits=10"),
        ("; client_max_window_bits=\"10\"", "; client_max_window_bits=10"),
        ("; server_max_window_bits=15", "; server_max_window_bits=15"),
        ("; server_max_window_bits=9", "; server_max_window_bits=9"),
        ("; server_no_context_takeover", "; server_no_context_takeover"),
        ("; client_no_context_takeover", "; client_no_context_takeover"),
        (
            "; client_max_window_bits; server_max_window_bits=12; client_no_context_takeover; \
             server_no_context_takeover",
            "; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12",
        ),
    ];
    for (offer, expected) in cases {
        assert_eq!(answer(offer), Some(format!("permessage-deflate{expected}")), "{offer}");
    }
}

#[test]
fn rfc7692_7_1_an_offer_with_a_bad_parameter_is_declined() {
    for value in
        ["", "=0", "=7", "=8", "=16", "=1000", "=09", "=\"16\"", "=-9", "=+9", "=9.0", "=x"]
    {
        assert_eq!(answer(&format!("; server_max_window_bits{value}")), None, "{value}");
    }
    let declined = [
        "; server_max_window_bits=10; server_max_window_bits=10",
        "; client_max_window_bits; client_max_window_bits=10",
        "; client_max_window_bits=7",
        "; client_max_window_bits=16",
        "; client_max_window_bits=010",
        "; client_max_window_bits=99999999999999999999",
        "; server_no_context_takeover=1",
        "; server_no_context_takeover; server_no_context_takeover",
        "; client_no_context_takeover=\"true\"",
        "; foo",
        "; Server_No_Context_Takeover",
    ];
    for offer in declined {
        assert_eq!(answer(offer), None, "{offer}");
    }
}

#[test]
fn rfc7692_7_1_the_first_acceptable_offer_wins() {
    assert_eq!(
        answer("; server_max_window_bits=8, permessage-deflate; server_max_window_bits=10")
            .unwrap(),
        "permessage-deflate; server_max_window_bits=10"
    );
    assert_eq!(
        answer("; foo, bar; baz, permessage-deflate, permessage-deflate; client_max_window_bits=9"),
        Some("permessage-deflate".to_owned())
    );
    assert_eq!(accept(DeflateConfig::default(), "x-webkit-deflate-frame, permessage-bzip2"), None);
    assert_eq!(DeflateConfig::default().accept(&[]), None);
}

#[test]
fn rfc7692_7_1_a_server_says_what_it_wants() {
    let config = DeflateConfig {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        server_max_window_bits: 12,
        client_max_window_bits: 11,
    };
    let both = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    let cases = [
        // Without client_max_window_bits in the offer the client cannot be told.
        ("", "; server_max_window_bits=12"),
        ("; client_max_window_bits", "; server_max_window_bits=12; client_max_window_bits=11"),
        (
            "; client_max_window_bits=10; server_max_window_bits=14",
            "; server_max_window_bits=12; client_max_window_bits=10",
        ),
        (
            "; client_max_window_bits=12; server_max_window_bits=9",
            "; server_max_window_bits=9; client_max_window_bits=11",
        ),
    ];
    for (offer, expected) in cases {
        let answer = accept(config, &format!("permessage-deflate{offer}"));
        assert_eq!(answer, Some(format!("{both}{expected}")), "{offer}");
    }
    let offers = parse(&["permessage-deflate"]).unwrap();
    assert_eq!(config.accept(&offers).unwrap().params().client_max_window_bits, 15);
}

#[test]
fn rfc7692_7_1_2_2_a_client_that_keeps_to_8_bits_is_accepted() {
    let offers = parse(&["permessage-deflate; client_max_window_bits=8"]).unwrap();
    let answer = DeflateConfig::default().accept(&offers).unwrap();
    assert_eq!(answer.header(), "permessage-deflate; client_max_window_bits=8");
    assert_eq!(answer.params().client_max_window_bits, 9);
}

#[test]
fn a_client_offers_what_it_wants() {
    assert_eq!(DeflateConfig::default().offer(), "permessage-deflate; client_max_window_bits");
    let config = DeflateConfig {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        server_max_window_bits: 3,
        client_max_window_bits: 14,
    };
    assert_eq!(
        config.offer(),
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
         server_max_window_bits=9; client_max_window_bits=14"
    );
}

#[test]
fn mutated_offers_never_panic_and_agree_on_windows_that_exist() {
    let text = "foo; a=\"\\b\", permessage-deflate; server_max_window_bits=10, permessage-deflate; \
                client_max_window_bits=8; server_no_context_takeover";
    let mut random = Random(0x5eed_0005);
    for _ in 0..20_000 {
        let mut bytes = text.as_bytes().to_vec();
        random.mutate(&mut bytes);
        let Ok(offers) = parse_extensions([&bytes[..]].into_iter()) else { continue };
        if let Some(answer) = DeflateConfig::default().accept(&offers) {
            assert!((9..=15).contains(&answer.params().server_max_window_bits));
            assert!((9..=15).contains(&answer.params().client_max_window_bits));
            assert_eq!(parse(&[answer.header()]).unwrap().len(), 1);
        }
    }
}
