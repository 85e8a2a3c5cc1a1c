//! Heads that something else has parsed: a server of HTTP, or HTTP/2, where a head is no text.

use super::{HeadError, HeadLimits, HeadReader, RequestHead, ResponseHead};
use crate::handshake::grammar::{is_field_byte, is_token, trim_ows, write_field};

impl RequestHead {
    /// The head of a request that was parsed elsewhere. `target` is a path with a query, or an
    /// absolute URI. It is checked as if it had come as text, so that a name or value which would
    /// read as another line is refused.
    ///
    /// # Errors
    /// It is no valid head, or one above the limits.
    pub fn from_fields<'a>(
        method: &str,
        target: &str,
        fields: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        limits: HeadLimits,
    ) -> Result<Self, HeadError> {
        let printable = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        if !is_token(method.as_bytes()) || !printable(target) {
            return Err(HeadError::RequestLine);
        }
        read(format!("{method} {target} HTTP/1.1\r\n"), fields, limits)
    }
}

impl ResponseHead {
    /// The head of a response that was parsed elsewhere, checked as
    /// [`RequestHead::from_fields`] does.
    ///
    /// # Errors
    /// It is no valid head, or one above the limits.
    pub fn from_fields<'a>(
        status: u16,
        fields: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        limits: HeadLimits,
    ) -> Result<Self, HeadError> {
        if !(100..=999).contains(&status) {
            return Err(HeadError::StatusLine);
        }
        read(format!("HTTP/1.1 {status} \r\n"), fields, limits)
    }
}

fn read<'a, H: super::Head>(
    start: String,
    fields: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    limits: HeadLimits,
) -> Result<H, HeadError> {
    let mut text = start.into_bytes();
    for (name, value) in fields {
        if !is_token(name.as_bytes()) {
            return Err(HeadError::HeaderName);
        }
        let value = trim_ows(value);
        if !value.iter().copied().all(is_field_byte) {
            return Err(HeadError::HeaderValue);
        }
        write_field(&mut text, name, value);
        // What is never written out need not be copied to its end to be refused.
        if text.len() > limits.max_bytes {
            return Err(HeadError::TooLong);
        }
    }
    text.extend_from_slice(b"\r\n");
    HeadReader::new(limits).push(&text)?.head.ok_or(HeadError::Ambiguous)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { max_bytes: 200, max_headers: 3 };

    #[test]
    fn a_head_of_fields_is_one_of_text() {
        let fields: [(&str, &[u8]); 3] = [("host", b"a.b"), ("x", b" y\xff "), ("x", b"")];
        let head = RequestHead::from_fields("GET", "/p?q", fields, LIMITS).expect("it is valid");
        assert_eq!((head.method(), head.path(), head.query()), ("GET", "/p", Some("q")));
        assert_eq!(head.header("Host"), Some(&b"a.b"[..]));
        assert_eq!(head.header_all("X").collect::<Vec<_>>(), [&b"y\xff"[..], b""]);
        let head = ResponseHead::from_fields(200, fields, LIMITS).expect("it is valid");
        assert_eq!((head.status(), head.reason(), head.count("x")), (200, "", 2));
    }

    #[test]
    fn nothing_in_it_begins_another_line() {
        let none: [(&str, &[u8]); 0] = [];
        for (method, target) in [
            ("GET", "/ HTTP/1.1\r\nX: y"),
            ("GET", ""),
            ("GET", "/a b"),
            ("GET", "/\u{e9}"),
            ("GET /", "/"),
            ("", "/"),
        ] {
            let e = RequestHead::from_fields(method, target, none, LIMITS).expect_err(target);
            assert_eq!(e, HeadError::RequestLine);
        }
        for (name, value, wrong) in [
            ("a\r\nb", &b"c"[..], HeadError::HeaderName),
            ("", b"c", HeadError::HeaderName),
            ("a b", b"c", HeadError::HeaderName),
            ("a", b"b\r\nc: d", HeadError::HeaderValue),
            ("a", b"b\nc", HeadError::HeaderValue),
            ("a", b"b\0", HeadError::HeaderValue),
        ] {
            let e = RequestHead::from_fields("GET", "/", [(name, value)], LIMITS);
            assert_eq!(e.expect_err(name), wrong);
            let e = ResponseHead::from_fields(200, [(name, value)], LIMITS);
            assert_eq!(e.expect_err(name), wrong);
        }
        assert_eq!(
            ResponseHead::from_fields(99, none, LIMITS).expect_err("below 100"),
            HeadError::StatusLine
        );
    }

    #[test]
    fn limits_hold() {
        let long = [b'a'; 200];
        let e = RequestHead::from_fields("GET", "/", [("a", &long[..])], LIMITS);
        assert_eq!(e.expect_err("it is too long"), HeadError::TooLong);
        let many: [(&str, &[u8]); 4] = [("a", b""); 4];
        let e = RequestHead::from_fields("GET", "/", many, LIMITS);
        assert_eq!(e.expect_err("there are too many"), HeadError::TooManyHeaders);
    }
}
