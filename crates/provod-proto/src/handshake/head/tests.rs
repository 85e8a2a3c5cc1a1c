use super::*;
use crate::handshake::testing::{REQUEST, RESPONSE, Random, feed, request, response};

fn read(text: &[u8]) -> Result<Option<RequestHead>, HeadError> {
    Ok(feed(HeadLimits::default(), &[text])?.map(|(head, _)| head))
}

/// Fed byte by byte: the error and how many bytes it took to see it.
fn refused<H: Head>(text: &[u8]) -> Option<(HeadError, usize)> {
    let mut reader = HeadReader::<H>::new(HeadLimits::default());
    text.iter().enumerate().find_map(|(i, b)| Some((reader.push(&[*b]).err()?, i + 1)))
}

type Content = (String, String, Version, Vec<(String, Vec<u8>)>);

fn content(head: &RequestHead) -> Content {
    let headers = head.headers().map(|(n, v)| (n.to_owned(), v.to_vec())).collect();
    (head.method().to_owned(), head.target().to_owned(), head.version(), headers)
}

#[test]
fn a_request_head_has_its_parts() {
    let head = request("GET /a%20b//c?x=1&y=? HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(head.method(), "GET");
    assert_eq!(head.target(), "/a%20b//c?x=1&y=?");
    assert_eq!(head.path(), "/a%20b//c");
    assert_eq!(head.query(), Some("x=1&y=?"));
    assert_eq!(head.version(), Version::Http11);
    assert_eq!(head.target_authority(), None);
}

#[test]
fn headers_are_found_without_case_and_trimmed() {
    let text = "GET / HTTP/1.0\r\nA:1\r\nb: \t two words \t\r\nEmpty:\r\nBlank: \t \r\n\
                a: 2\r\nNote: caf\u{e9}\r\n\r\n";
    let head = request(text);
    assert_eq!(head.version(), Version::Http10);
    assert_eq!(head.header("a"), Some(&b"1"[..]));
    assert_eq!(head.header_all("A").collect::<Vec<_>>(), [b"1", b"2"]);
    assert_eq!(head.count("a"), 2);
    assert_eq!(head.header_str("B"), Some("two words"));
    assert_eq!(head.header("empty"), Some(&b""[..]));
    assert_eq!(head.header("blank"), Some(&b""[..]));
    assert_eq!(head.header("none"), None);
    let two = head.header(&["B".to_owned()].concat());
    assert_eq!(two, Some(&b"two words"[..]), "a value outlives the name it was asked by");
    assert_eq!(head.header_str("note"), Some("caf\u{e9}"));
    assert_eq!(head.headers().count(), 6);
    assert_eq!(head.as_bytes(), text.as_bytes());
}

#[test]
fn a_header_value_that_is_not_utf8_is_bytes() {
    let head = read(b"GET / HTTP/1.1\r\nHost: h\r\nX: \xff\xfe\r\n\r\n").unwrap().unwrap();
    assert_eq!(head.header("x"), Some(&b"\xff\xfe"[..]));
    assert_eq!(head.header_str("x"), None);
}

#[test]
fn a_response_head_has_its_parts() {
    let head = response(RESPONSE);
    assert_eq!((head.status(), head.reason()), (101, "Switching Protocols"));
    assert_eq!(head.header_str("upgrade"), Some("websocket"));
    for (line, reason) in [("HTTP/1.1 404 ", ""), ("HTTP/1.1 404", ""), ("HTTP/1.0 404 No", "No")] {
        let head = response(&format!("{line}\r\n\r\n"));
        assert_eq!((head.status(), head.reason()), (404, reason), "{line:?}");
    }
    let odd = response("HTTP/1.1 404 \u{43d}\u{435}\u{442}\r\n\r\n");
    assert_eq!((odd.status(), odd.reason()), (404, ""));
}

#[test]
fn frames_behind_a_head_stay_with_the_caller() {
    let mut text = REQUEST.as_bytes().to_vec();
    text.extend_from_slice(b"\x81\x85\r\n\r\n");
    let (head, consumed) = feed::<RequestHead>(HeadLimits::default(), &[&text]).unwrap().unwrap();
    assert_eq!((head.as_bytes(), consumed), (REQUEST.as_bytes(), REQUEST.len()));

    let mut text = RESPONSE.as_bytes().to_vec();
    text.extend_from_slice(b"\x81\x05Hello");
    let (head, consumed) = feed::<ResponseHead>(HeadLimits::default(), &[&text]).unwrap().unwrap();
    assert_eq!((head.as_bytes(), consumed), (RESPONSE.as_bytes(), RESPONSE.len()));
}

#[test]
fn pieces_make_no_difference() {
    // Short ones: the number of splits grows with the square of the length.
    let texts = [
        "GET /a?b HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nX:\r\n\r\n\x01\r\n\r\n",
        "\r\nGET WS://[::1]:80?q HTTP/1.0\r\nA: \t b \r\n\r\nGET",
        "GET / HTTP/1.1\r\nHost: h\r\nUpgrade : websocket\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\n",
        "GET * HTTP/1.1\r\nHost: h\r\n\r\n",
        "\r\n\r\nGET",
        "GET / HTTP/2.0\r\n\r\n",
    ];
    for text in texts {
        let bytes = text.as_bytes();
        let whole = feed::<RequestHead>(HeadLimits::default(), &[bytes]);
        let whole = whole.map(|head| head.map(|(head, n)| (content(&head), n)));
        let same = |pieces: &[&[u8]]| {
            let split = feed::<RequestHead>(HeadLimits::default(), pieces);
            assert_eq!(split.map(|head| head.map(|(head, n)| (content(&head), n))), whole);
        };
        same(&bytes.chunks(1).collect::<Vec<_>>());
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                same(&[&bytes[..first], &bytes[first..second], &bytes[second..]]);
            }
        }
    }
}

#[test]
fn a_request_that_drips_in_byte_by_byte_is_the_same_request() {
    let pieces = REQUEST.as_bytes().chunks(1).collect::<Vec<_>>();
    let (head, consumed) = feed::<RequestHead>(HeadLimits::default(), &pieces).unwrap().unwrap();
    assert_eq!((content(&head), consumed), (content(&request(REQUEST)), REQUEST.len()));
}

#[test]
fn what_cannot_become_a_request_is_refused_at_its_first_odd_byte() {
    use HeadError::*;
    // The text up to and including the byte that shows it; more follows in none of the cases.
    let cases: &[(&[u8], HeadError)] = &[
        (b"\x16", Tls),
        (b"\x81", NotHttp),
        (b"\0", NotHttp),
        (b" ", NotHttp),
        (b"\n", BareLf),
        (b"\r\n\r", EmptyLine),
        (b"\r\n\n", BareLf),
        (b"\rG", BareCr),
        (b"SSH-2.0-OpenSSH_9.2\r", NotHttp),
        (b"GET\r", NotHttp),
        (b"GET\t", NotHttp),
        (b"GET  ", RequestLine),
        (b"GET / \r", RequestLine),
        (b"GET /\r", RequestLine),
        (b"GET /\n", RequestLine),
        (b"GET /\t", RequestLine),
        (b"GET /\0", RequestLine),
        (b"GET /a\x7f", RequestLine),
        (b"GET /\xd1", Target),
        (b"GET /a b", RequestLine),
        (b"GET / h", RequestLine),
        (b"GET / HTTP/2", UnsupportedVersion),
        (b"PRI * HTTP/2", UnsupportedVersion),
        (b"GET / HTTP/0", UnsupportedVersion),
        (b"GET / HTTP/1.2", UnsupportedVersion),
        (b"GET / HTTP/1.1 ", RequestLine),
        (b"GET / HTTP/1.11", RequestLine),
        (b"GET / HTTP/1.1\n", BareLf),
        (b"GET / HTTP/1.1\rX", BareCr),
        (b"GET / HTTP/1.1\r\n ", ObsFold),
        (b"GET / HTTP/1.1\r\n\n", BareLf),
        (b"GET / HTTP/1.1\r\n\rX", BareCr),
        (b"GET / HTTP/1.1\r\n:", HeaderName),
        (b"GET / HTTP/1.1\r\nA ", SpaceBeforeColon),
        (b"GET / HTTP/1.1\r\nA\t", SpaceBeforeColon),
        (b"GET / HTTP/1.1\r\nA\r", HeaderName),
        (b"GET / HTTP/1.1\r\nA(", HeaderName),
        (b"GET / HTTP/1.1\r\n\xc3", HeaderName),
        (b"GET / HTTP/1.1\r\nA: b\n", BareLf),
        (b"GET / HTTP/1.1\r\nA: b\rc", BareCr),
        (b"GET / HTTP/1.1\r\nA: b\0", HeaderValue),
        (b"GET / HTTP/1.1\r\nA: b\x1b", HeaderValue),
        (b"GET / HTTP/1.1\r\nA: b\x7f", HeaderValue),
        (b"GET / HTTP/1.1\r\nA: b\r\n\t", ObsFold),
    ];
    for (text, error) in cases {
        let name = text.escape_ascii();
        assert_eq!(refused::<RequestHead>(text), Some((*error, text.len())), "{name}");
        assert_eq!(error.status(), 400, "{name}");
    }
}

#[test]
fn what_cannot_become_a_response_is_refused_at_its_first_odd_byte() {
    use HeadError::*;
    let cases: &[(&[u8], HeadError)] = &[
        (b"\x15", NotHttp),
        (b"\x16", Tls),
        (b"\r", EmptyLine),
        (b"G", NotHttp),
        (b"HTTQ", NotHttp),
        (b"HTTP/2", UnsupportedVersion),
        (b"HTTP/1.1\r", StatusLine),
        (b"HTTP/1.1  ", StatusLine),
        (b"HTTP/1.1 0", StatusLine),
        (b"HTTP/1.1 10 ", StatusLine),
        (b"HTTP/1.1 101\n", BareLf),
        (b"HTTP/1.1 1011", StatusLine),
        (b"HTTP/1.1 101 a\0", StatusLine),
        (b"HTTP/1.1 101 a\n", BareLf),
        (b"HTTP/1.1 101 a\r\n ", ObsFold),
    ];
    for (text, error) in cases {
        let name = text.escape_ascii();
        assert_eq!(refused::<ResponseHead>(text), Some((*error, text.len())), "{name}");
    }
}

#[test]
fn a_method_is_not_read_forever() {
    assert_eq!(refused::<RequestHead>(&[b'A'; 100]), Some((HeadError::NotHttp, 33)));
}

#[test]
fn one_empty_line_in_front_of_a_request_is_ignored() {
    // RFC 9112 section 2.2.
    let head = read(b"\r\nGET / HTTP/1.1\r\n\r\n").unwrap().unwrap();
    assert_eq!(head.as_bytes(), b"GET / HTTP/1.1\r\n\r\n");
}

#[test]
fn targets() {
    let good = [
        ("/", "/", None, None),
        ("//evil.com/x", "//evil.com/x", None, None),
        ("/?", "/", Some(""), None),
        ("http://example.com", "/", None, Some("example.com")),
        ("WSS://Example.com:8443/a?b", "/a", Some("b"), Some("example.com:8443")),
        ("ws://[::1]?q/r", "/", Some("q/r"), Some("[::1]")),
    ];
    for (target, path, query, authority) in good {
        let head = request(&format!("GET {target} HTTP/1.1\r\n\r\n"));
        assert_eq!((head.path(), head.query()), (path, query), "{target}");
        assert_eq!(head.target_authority().map(ToString::to_string).as_deref(), authority);
    }
    let bad = [
        "*",
        "example.com:80",
        "a/b",
        "?q",
        "/a#b",
        "ftp://example.com/",
        "http:/example.com",
        "http:///a",
        "http://user@example.com/",
        "http://example.com:99999/",
        "http://ex,ample.com/",
        "http://?a",
    ];
    for target in bad {
        let text = format!("GET {target} HTTP/1.1\r\n\r\n");
        assert_eq!(read(text.as_bytes()).unwrap_err(), HeadError::Target, "{target}");
    }
}

#[test]
fn a_head_may_be_as_long_as_the_limit_and_no_longer() {
    let limits = HeadLimits { max_bytes: REQUEST.len(), max_headers: 7 };
    assert!(feed::<RequestHead>(limits, &[REQUEST.as_bytes()]).unwrap().is_some());
    let limits = HeadLimits { max_bytes: REQUEST.len() - 1, max_headers: 7 };
    let error = feed::<RequestHead>(limits, &[REQUEST.as_bytes()]).unwrap_err();
    assert_eq!((error, error.status()), (HeadError::TooLong, 431));
    let limits = HeadLimits { max_bytes: 8192, max_headers: 6 };
    let error = feed::<RequestHead>(limits, &[REQUEST.as_bytes()]).unwrap_err();
    assert_eq!((error, error.status()), (HeadError::TooManyHeaders, 431));
    let limits = HeadLimits { max_bytes: 0, max_headers: 0 };
    assert_eq!(feed::<RequestHead>(limits, &[b"G"]).unwrap_err(), HeadError::TooLong);
}

#[test]
fn a_target_without_end_has_its_own_status() {
    // RFC 9112 section 3: 414.
    let text = [b"GET /".to_vec(), vec![b'a'; 9000]].concat();
    let (error, at) = refused::<RequestHead>(&text).unwrap();
    assert_eq!((error, error.status(), at), (HeadError::TargetTooLong, 414, 8193));
}

#[test]
fn memory_follows_what_arrived_and_leaves_with_the_head() {
    let mut reader = RequestReader::new(HeadLimits { max_bytes: 1 << 30, max_headers: 1 << 20 });
    assert_eq!((reader.memory(), reader.is_empty()), (0, true));
    for (i, b) in REQUEST.bytes().enumerate() {
        assert!(reader.memory() <= 2 * i.max(8), "{} bytes after {i}", reader.memory());
        reader.push(&[b]).unwrap();
        assert_eq!(reader.is_empty(), i + 1 == REQUEST.len());
    }
    assert_eq!((reader.memory(), reader.is_empty()), (0, true));
}

#[test]
fn a_reader_reads_one_head_after_another() {
    let mut reader = ResponseReader::new(HeadLimits::default());
    let text = format!("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n{RESPONSE}");
    let first = reader.push(text.as_bytes()).unwrap();
    assert_eq!(first.head.unwrap().status(), 103);
    let second = reader.push(&text.as_bytes()[first.consumed..]).unwrap();
    assert_eq!(second.head.unwrap().status(), 101);
}

#[test]
fn an_error_stays() {
    let mut reader = RequestReader::new(HeadLimits::default());
    reader.push(b"GET / HTTP/1.1\r\n").unwrap();
    assert_eq!(reader.push(b"\n").unwrap_err(), HeadError::BareLf);
    assert_eq!(reader.push(b"Host: a\r\n\r\n").unwrap_err(), HeadError::BareLf);
    assert_eq!((reader.memory(), reader.is_empty()), (0, false));
}

#[test]
fn debug_output_holds_no_secrets() {
    let head = request("GET /?token=s3cret HTTP/1.1\r\nCookie: s3cret\r\n\r\n");
    assert!(!format!("{head:?}").contains("s3cret"));
    let head = response("HTTP/1.1 200 OK\r\nSet-Cookie: s3cret\r\n\r\n");
    assert!(!format!("{head:?}").contains("s3cret"));
}

#[test]
fn mutated_requests_never_panic_nor_depend_on_pieces() {
    let mut random = Random(0x5eed_0001);
    for _ in 0..20_000 {
        let mut text = REQUEST.as_bytes().to_vec();
        random.mutate(&mut text);
        let whole = feed::<RequestHead>(HeadLimits::default(), &[&text]);
        let cut = random.below(text.len() + 1);
        let split = feed::<RequestHead>(HeadLimits::default(), &[&text[..cut], &text[cut..]]);
        let whole = whole.map(|head| head.map(|(head, n)| (content(&head), n)));
        let split = split.map(|head| head.map(|(head, n)| (content(&head), n)));
        assert_eq!(whole, split, "{} cut at {cut}", text.escape_ascii());
        // Our scan and the parser never disagree, as far as this search sees.
        assert_ne!(whole, Err(HeadError::Ambiguous), "{}", text.escape_ascii());
    }
}

#[test]
fn mutated_responses_never_panic() {
    let mut random = Random(0x5eed_0002);
    for _ in 0..20_000 {
        let mut text = RESPONSE.as_bytes().to_vec();
        random.mutate(&mut text);
        let head = feed::<ResponseHead>(HeadLimits::default(), &[&text]);
        assert!(!matches!(head, Err(HeadError::Ambiguous)), "{}", text.escape_ascii());
    }
}
