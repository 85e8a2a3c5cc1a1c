use super::*;
use crate::handshake::negotiate::{DeflateConfig, DeflateError, DeflateParams, ExtensionError};
use crate::handshake::request::{ClientRequest, validate};
use crate::handshake::testing::{
    REQUEST, RESPONSE, Random, feed, replace, request, response, with,
};
use crate::handshake::{HeadLimits, ResponseHead};

const NONCE: [u8; 16] = *b"the sample nonce";
const ACCEPT: &str = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

fn client() -> ClientRequest {
    let client = ClientRequest::new("server.example.com", "/chat", NONCE);
    client.and_then(|c| c.subprotocol("superchat")).and_then(|c| c.subprotocol("chat")).unwrap()
}

fn verified(text: &str) -> Result<Accepted, ResponseError> {
    client().deflate(DeflateConfig::default()).verify(&response(text))
}

#[test]
fn rfc6455_4_2_2_the_accept_key_of_the_example() {
    assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

#[test]
fn rfc6455_1_2_the_answer_of_the_example_is_written_and_verified() {
    let upgrade = validate(&request(REQUEST)).unwrap();
    let mut out = Vec::new();
    Accept::new(&upgrade).subprotocol("chat").unwrap().write(&mut out);
    assert_eq!(String::from_utf8(out).unwrap(), RESPONSE);
    let accepted = verified(RESPONSE).unwrap();
    assert_eq!(accepted, Accepted { subprotocol: Some("chat".to_owned()), deflate: None });
}

#[test]
fn an_answer_holds_nothing_that_breaks_the_head() {
    let upgrade = validate(&request(REQUEST)).unwrap();
    let new = || Accept::new(&upgrade);
    for name in ["other", "chat\r\nX: y", "Chat", ""] {
        let error = FieldError::SubprotocolNotOffered(name.to_owned());
        assert_eq!(new().subprotocol(name).unwrap_err(), error);
    }
    let value = new().header("Set-Cookie", b"a=b\r\nX: y").unwrap_err();
    assert_eq!(value, FieldError::Value("Set-Cookie".to_owned()));
    let name = new().header("Set Cookie", b"a=b").unwrap_err();
    assert_eq!(name, FieldError::Name("Set Cookie".to_owned()));
    for name in ["Upgrade", "connection", "Sec-WebSocket-Extensions", "Content-Length"] {
        let error = new().header(name, b"0").unwrap_err();
        assert_eq!(error, FieldError::Reserved(name.to_owned()));
    }
    let mut out = Vec::new();
    new().header("Set-Cookie", b" a=b ").unwrap().write(&mut out);
    assert!(out.ends_with(b"\r\nSet-Cookie: a=b\r\n\r\n"));
}

#[test]
fn rfc6455_4_1_a_client_checks_the_answer() {
    use ResponseError::*;
    let cases = [
        ("HTTP/1.1 101 Switching Protocols", "HTTP/1.1 200 OK", Status(200)),
        ("HTTP/1.1 101 Switching Protocols", "HTTP/1.1 302 Found", Status(302)),
        ("HTTP/1.1 101 Switching Protocols", "HTTP/1.0 101 x", Http10),
        ("Upgrade: websocket", "", Upgrade),
        ("Upgrade: websocket", "Upgrade: websocket, h2c", Upgrade),
        ("Upgrade: websocket", "Upgrade: h2c", Upgrade),
        ("Connection: Upgrade", "", Connection),
        ("Connection: Upgrade", "Connection: close", Connection),
        (ACCEPT, "", MissingAccept),
        (ACCEPT, "Sec-WebSocket-Accept:", WrongAccept),
        (ACCEPT, "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=", WrongAccept),
        (ACCEPT, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo", WrongAccept),
        (ACCEPT, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=, x", WrongAccept),
        ("Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Protocol: other", Subprotocol),
        ("Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Protocol: Chat", Subprotocol),
        ("Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Protocol:", Subprotocol),
        ("Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Protocol: chat, superchat", Subprotocol),
    ];
    for (line, new, error) in cases {
        assert_eq!(verified(&replace(RESPONSE, line, new)), Err(error), "{new}");
    }
    for line in [ACCEPT, "Sec-WebSocket-Protocol: chat", "Upgrade: websocket"] {
        let error = verified(&with(RESPONSE, line)).unwrap_err();
        assert!(matches!(error, Duplicate(name) if line.starts_with(name)), "{line}");
    }
    let text = replace(RESPONSE, "Upgrade: websocket", "upgrade: WebSocket");
    let text = replace(&text, "Connection: Upgrade", "connection: keep-alive, upgrade");
    assert!(verified(&text).is_ok());
    let text = replace(RESPONSE, "Sec-WebSocket-Protocol: chat", "");
    assert_eq!(verified(&text).unwrap().subprotocol, None);
}

#[test]
fn a_subprotocol_that_was_not_asked_for_is_refused() {
    let client = ClientRequest::new("a", "/", NONCE).unwrap();
    assert_eq!(client.verify(&response(RESPONSE)), Err(ResponseError::Subprotocol));
}

fn answered(extensions: &str) -> Result<Option<AgreedDeflate>, ResponseError> {
    let line = format!("Sec-WebSocket-Extensions: {extensions}");
    verified(&with(RESPONSE, &line)).map(|accepted| accepted.deflate)
}

#[test]
fn an_extension_that_was_not_offered_is_refused() {
    let text = with(RESPONSE, "Sec-WebSocket-Extensions: permessage-deflate");
    let error = ResponseError::ExtensionNotOffered("permessage-deflate".to_owned());
    assert_eq!(client().verify(&response(&text)), Err(error));
    let error = ResponseError::ExtensionNotOffered("x-webkit-deflate-frame".to_owned());
    assert_eq!(answered("permessage-deflate, x-webkit-deflate-frame"), Err(error));
    let twice = answered("permessage-deflate, permessage-deflate");
    assert_eq!(twice, Err(ResponseError::ExtensionRepeated));
    let error = ResponseError::Extensions(ExtensionError::Name);
    assert_eq!(answered("permessage-deflate;"), Err(error));
}

#[test]
fn rfc7692_7_1_a_client_checks_the_parameters() {
    use DeflateError::*;
    let cases = [
        ("foo", UnknownParameter("foo".to_owned())),
        ("server_no_context_takeover=1", InvalidValue("server_no_context_takeover")),
        ("client_no_context_takeover=true", InvalidValue("client_no_context_takeover")),
        ("server_max_window_bits", InvalidValue("server_max_window_bits")),
        ("server_max_window_bits=7", InvalidValue("server_max_window_bits")),
        ("server_max_window_bits=16", InvalidValue("server_max_window_bits")),
        ("server_max_window_bits=010", InvalidValue("server_max_window_bits")),
        ("client_max_window_bits", InvalidValue("client_max_window_bits")),
        ("client_max_window_bits=0", InvalidValue("client_max_window_bits")),
        (
            "server_no_context_takeover; server_no_context_takeover",
            RepeatedParameter("server_no_context_takeover"),
        ),
        (
            "client_max_window_bits=9; client_max_window_bits=9",
            RepeatedParameter("client_max_window_bits"),
        ),
    ];
    for (parameters, error) in cases {
        let result = answered(&format!("permessage-deflate; {parameters}"));
        assert_eq!(result, Err(ResponseError::Deflate(error)), "{parameters}");
    }
}

#[test]
fn rfc7692_7_1_2_an_answer_may_narrow_the_windows() {
    let agreed = answered(
        "permessage-deflate; server_max_window_bits=10; client_max_window_bits=\"9\"; \
         server_no_context_takeover; client_no_context_takeover",
    );
    let params = DeflateParams {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        server_max_window_bits: 10,
        client_max_window_bits: 9,
    };
    assert_eq!(agreed, Ok(Some(AgreedDeflate { params, compress: true })));
}

#[test]
fn rfc7692_7_1_2_2_told_a_window_of_8_a_client_sends_uncompressed() {
    let agreed = answered("permessage-deflate; client_max_window_bits=8; server_max_window_bits=8");
    let agreed = agreed.unwrap().unwrap();
    assert!(!agreed.compress);
    // A larger window inflates what a smaller one made.
    assert_eq!(agreed.params.server_max_window_bits, 9);
}

#[test]
fn rfc7692_7_1_2_1_what_a_client_asked_for_must_be_answered() {
    let config = DeflateConfig {
        server_no_context_takeover: true,
        server_max_window_bits: 10,
        client_max_window_bits: 11,
        ..DeflateConfig::default()
    };
    let verify = |parameters: &str| {
        let line = format!("Sec-WebSocket-Extensions: permessage-deflate{parameters}");
        client().deflate(config).verify(&response(&with(RESPONSE, &line)))
    };
    let cases = [
        ("; server_max_window_bits=10", DeflateError::NotHonoured("server_no_context_takeover")),
        ("; server_no_context_takeover", DeflateError::NotHonoured("server_max_window_bits")),
        (
            "; server_no_context_takeover; server_max_window_bits=11",
            DeflateError::WindowTooLarge("server_max_window_bits"),
        ),
        (
            "; server_no_context_takeover; server_max_window_bits=9; client_max_window_bits=12",
            DeflateError::WindowTooLarge("client_max_window_bits"),
        ),
    ];
    for (parameters, error) in cases {
        assert_eq!(verify(parameters), Err(ResponseError::Deflate(error)), "{parameters}");
    }
    let agreed = verify("; server_no_context_takeover; server_max_window_bits=9").unwrap().deflate;
    let params = DeflateParams {
        server_no_context_takeover: true,
        client_no_context_takeover: false,
        server_max_window_bits: 9,
        client_max_window_bits: 11,
    };
    assert_eq!(agreed, Some(AgreedDeflate { params, compress: true }));
}

#[test]
fn both_roles_agree_on_the_same_parameters() {
    let mut configs = Vec::new();
    for flags in 0..4 {
        for server_max_window_bits in [0, 12, 200] {
            for client_max_window_bits in [9, 13, 15] {
                configs.push(DeflateConfig {
                    server_no_context_takeover: flags & 1 != 0,
                    client_no_context_takeover: flags & 2 != 0,
                    server_max_window_bits,
                    client_max_window_bits,
                });
            }
        }
    }
    for ours in &configs {
        for theirs in &configs {
            let client = ClientRequest::new("a", "/", NONCE).unwrap().deflate(*ours);
            let mut out = Vec::new();
            client.write(&mut out);
            let upgrade = validate(&request(str::from_utf8(&out).unwrap())).unwrap();
            let answer = upgrade.accept_deflate(theirs).expect("every offer of ours is acceptable");
            out.clear();
            Accept::new(&upgrade).deflate(&answer).write(&mut out);
            let agreed = client.verify(&response(str::from_utf8(&out).unwrap())).unwrap().deflate;
            let expected = AgreedDeflate { params: answer.params(), compress: true };
            assert_eq!(agreed, Some(expected), "client {ours:?}, server {theirs:?}");
        }
    }
}

#[test]
fn mutated_answers_never_panic_and_the_accept_key_is_always_checked() {
    let text =
        with(RESPONSE, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=9");
    let client = client().deflate(DeflateConfig::default());
    let mut random = Random(0x5eed_0004);
    let mut accepted = 0;
    for _ in 0..20_000 {
        let mut bytes = text.as_bytes().to_vec();
        random.mutate(&mut bytes);
        if let Ok(Some((head, _))) = feed::<ResponseHead>(HeadLimits::default(), &[&bytes])
            && client.verify(&head).is_ok()
        {
            accepted += 1;
            let accept = Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
            assert_eq!((head.status(), head.header_str("sec-websocket-accept")), (101, accept));
        }
    }
    assert!(accepted > 100, "the search sees good answers too: {accepted}");
}

fn written(response: &Response) -> String {
    let mut out = Vec::new();
    response.write(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_plain_answer_is_framed_and_closes() {
    let page = Response::new(200).header("Content-Type", b"text/html").unwrap().body("<p>hi");
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\
                Content-Length: 5\r\n\r\n";
    assert_eq!(written(&page), format!("{head}<p>hi"));
    let to_head = page.clone().answering(&request("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_eq!(written(&to_head), head);
    let to_get = page.answering(&request("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_eq!(written(&to_get), format!("{head}<p>hi"));
    assert_eq!(
        written(&Response::text(503, "full")),
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Connection: close\r\nContent-Length: 5\r\n\r\nfull\n"
    );
}

#[test]
fn rfc9110_8_6_204_and_304_have_neither_length_nor_body() {
    let answer = written(&Response::new(204).body("x"));
    assert_eq!(answer, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    assert!(!written(&Response::new(304).body("x")).contains("Content-Length"));
}

#[test]
fn a_plain_answer_holds_nothing_that_breaks_the_head() {
    let new = || Response::new(302);
    assert!(new().header("Location", b"/a\r\nX: y").is_err());
    assert!(new().header("Location:", b"/a").is_err());
    for name in ["Connection", "content-length", "Transfer-Encoding", "Trailer"] {
        let error = new().header(name, b"x").unwrap_err();
        assert_eq!(error, FieldError::Reserved(name.to_owned()));
    }
    for status in [0, 99, 101, 199, 600, u16::MAX] {
        assert_eq!(Response::new(status).status(), 500);
    }
    // RFC 9110 section 7.8.
    let upgrade = new().header("upgrade", b"websocket").unwrap();
    assert!(written(&upgrade).contains("\r\nConnection: Upgrade, close\r\n"));
    assert!(written(&Response::new(299)).starts_with("HTTP/1.1 299 \r\n"));
}
