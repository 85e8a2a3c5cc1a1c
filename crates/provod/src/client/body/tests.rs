use provod_proto::handshake::{HeadLimits, ResponseReader};

use super::*;

fn head(lines: &str) -> ResponseHead {
    let mut reader = ResponseReader::new(HeadLimits::default());
    reader.push(format!("{lines}\r\n\r\n").as_bytes()).unwrap().head.unwrap()
}

/// The body that comes of `input`, however it is cut in two; and whether it is known to end there.
fn body(framing: Framing, input: &[u8]) -> (Vec<u8>, bool) {
    let mut whole = Body::new(framing);
    let done = whole.push(input);
    let whole = whole.into_bytes().to_vec();
    for cut in 0..=input.len() {
        let mut parts = Body::new(framing);
        let cut_done = parts.push(&input[..cut]) || parts.push(&input[cut..]);
        assert_eq!((parts.into_bytes().to_vec(), cut_done), (whole.clone(), done), "cut at {cut}");
    }
    (whole, done)
}

#[test]
fn rfc9112_6_3_what_tells_where_a_body_ends() {
    for (lines, expected) in [
        ("HTTP/1.1 404 x", Framing::ToEnd),
        ("HTTP/1.1 204 x\r\nContent-Length: 7", Framing::Length(0)),
        ("HTTP/1.1 304 x\r\nContent-Length: 7", Framing::Length(0)),
        ("HTTP/1.1 404 x\r\nContent-Length: 7", Framing::Length(7)),
        ("HTTP/1.1 404 x\r\nContent-Length: 7, 7\r\ncontent-length: 7", Framing::Length(7)),
        ("HTTP/1.1 404 x\r\nContent-Length: 7\r\nContent-Length: 8", Framing::ToEnd),
        ("HTTP/1.1 404 x\r\nContent-Length: 7\r\nContent-Length: x", Framing::ToEnd),
        ("HTTP/1.1 404 x\r\nContent-Length: +7", Framing::ToEnd),
        ("HTTP/1.1 404 x\r\nContent-Length:", Framing::ToEnd),
        ("HTTP/1.1 404 x\r\nContent-Length: 99999999999999999999", Framing::ToEnd),
        ("HTTP/1.1 404 x\r\nTransfer-Encoding: Chunked", Framing::Chunked),
        ("HTTP/1.1 404 x\r\nTransfer-Encoding: gzip, chunked", Framing::Chunked),
        ("HTTP/1.1 404 x\r\nTransfer-Encoding: chunked, gzip", Framing::ToEnd),
        ("HTTP/1.1 404 x\r\nContent-Length: 7\r\nTransfer-Encoding: chunked", Framing::Chunked),
        ("HTTP/1.0 404 x\r\nTransfer-Encoding: chunked", Framing::ToEnd),
    ] {
        assert_eq!(framing(&head(lines)), expected, "{lines}");
    }
}

#[test]
fn a_length_ends_the_body() {
    assert_eq!(body(Framing::Length(3), b"abcdef"), (b"abc".to_vec(), true));
    assert_eq!(body(Framing::Length(9), b"abcdef"), (b"abcdef".to_vec(), false));
    assert_eq!(body(Framing::ToEnd, b"abcdef"), (b"abcdef".to_vec(), false));
    let mut none = Body::new(Framing::Length(0));
    assert!(none.push(b""));
}

#[test]
fn rfc9112_7_1_chunks_are_joined() {
    let chunked = |text: &str| body(Framing::Chunked, text.as_bytes());
    assert_eq!(chunked("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), (b"abcde".to_vec(), true));
    assert_eq!(chunked("00a;x=\"y\"\r\n0123456789\r\n"), (b"0123456789".to_vec(), false));
    assert_eq!(chunked("3 \r\nabc\r\n0\r\nTrailer: x\r\n\r\n"), (b"abc".to_vec(), true));
}

#[test]
fn chunks_that_make_no_sense_are_shown_as_they_came() {
    let chunked = |text: &str| body(Framing::Chunked, text.as_bytes());
    for bad in ["hello\r\n", "\r\nx", ";x\r\n", "3\nabc", "10000000000000000\r\n", "3\r\r"] {
        assert_eq!(chunked(bad), (bad.as_bytes().to_vec(), false), "{bad:?}");
    }
    // What was decoded before is kept.
    assert_eq!(chunked("3\r\nabcX"), (b"abc".to_vec(), true));
    let endless = format!("1;{}", "x".repeat(9999));
    assert_eq!(chunked(&endless), (endless.as_bytes()[..4096].to_vec(), true));
}

#[test]
fn no_more_than_4_kib_are_kept() {
    for (framing, start) in [
        (Framing::ToEnd, ""),
        (Framing::Length(1 << 40), ""),
        (Framing::Chunked, "FFFFFFFFFFFFFFFF\r\n"),
    ] {
        let mut endless = Body::new(framing);
        assert!(!endless.push(start.as_bytes()));
        assert!(!endless.push(&[b'x'; 4095]));
        assert!(endless.push(&[b'x'; 4095]));
        assert_eq!(endless.into_bytes().len(), 4096);
    }
}
