//! Heads of requests and responses: however they are cut, the same comes out; what a server answers
//! can be read back.

use provod_proto::handshake::{
    Accept, ClientRequest, DeflateConfig, Head, HeadError, HeadLimits, HeadReader, OriginPolicy,
    Refusal, RequestHead, Response, ResponseHead, ResponseReader, host, is_upgrade,
    parse_extensions, validate,
};

use crate::random::Random;

/// The first byte: a request or a response, wide or narrow limits. The second: how the rest is cut.
pub fn run(data: &[u8]) {
    let [flags, seed, input @ ..] = data else { return };
    let limits = if flags & 2 == 0 {
        HeadLimits::default()
    } else {
        HeadLimits { max_bytes: 200, max_headers: 4 }
    };
    if flags & 1 == 0 {
        let head = same(input, *seed, limits, |head: &RequestHead| head.as_bytes().to_vec());
        match head {
            Ok(Some(head)) => request(&head),
            Ok(None) => {}
            Err(e) => answer(&Response::from(&Refusal::from(e)), e.status()),
        }
    } else if let Ok(Some(head)) =
        same(input, *seed, limits, |head: &ResponseHead| head.as_bytes().to_vec())
    {
        response(&head);
    }
}

/// Reads `input` whole, byte by byte, and in pieces; all must agree.
fn same<H: Head>(
    input: &[u8],
    seed: u8,
    limits: HeadLimits,
    bytes: impl Fn(&H) -> Vec<u8>,
) -> Result<Option<H>, HeadError> {
    let whole = read(input, limits, |rest| rest);
    let mut random = Random(seed.into());
    for pieces in [read(input, limits, |_| 1), read(input, limits, |n| random.up_to(n.min(40)))] {
        match (&whole, &pieces) {
            (Ok((n, Some(a))), Ok((m, Some(b)))) => {
                assert_eq!((n, bytes(a)), (m, bytes(b)));
                assert!(*n <= limits.max_bytes + 2, "an empty line may stand in front");
            }
            (Ok((n, None)), Ok((m, None))) => assert_eq!((*n, *m), (input.len(), input.len())),
            (Err(a), Err(b)) => assert_eq!(a, b),
            (a, b) => panic!("whole: {:?}, in pieces: {:?}", a.is_ok(), b.is_ok()),
        }
    }
    whole.map(|(_, head)| head)
}

fn read<H: Head>(
    input: &[u8],
    limits: HeadLimits,
    mut size: impl FnMut(usize) -> usize,
) -> Result<(usize, Option<H>), HeadError> {
    let mut reader = HeadReader::new(limits);
    let mut at = 0;
    while at < input.len() {
        let piece = &input[at..at + size(input.len() - at)];
        let pushed = reader.push(piece);
        assert!(reader.memory() <= 2 * limits.max_bytes, "{} bytes held", reader.memory());
        match pushed {
            Ok(push) if push.head.is_some() => {
                assert!(push.consumed <= piece.len() && reader.is_empty());
                return Ok((at + push.consumed, push.head));
            }
            Ok(push) => assert_eq!(push.consumed, piece.len()),
            Err(e) => {
                assert_eq!(reader.push(b"GET").err(), Some(e), "the same again");
                return Err(e);
            }
        }
        at += piece.len();
    }
    Ok((at, None))
}

fn request(head: &RequestHead) {
    for (name, value) in head.headers() {
        assert!(!name.is_empty() && name.is_ascii());
        assert!(!value.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)));
        assert!(head.count(name) > 0 && head.header(name).is_some());
    }
    assert!(head.target().starts_with(head.path()) || head.target_authority().is_some());
    let _ = (head.method(), head.query(), is_upgrade(head));
    if let Ok(host) = host(head) {
        for policy in [OriginPolicy::same_host(), OriginPolicy::any().on_loopback(true)] {
            let _ = policy.check(head.header("Origin"), &host);
            let _ = policy.check_host(&host);
        }
    }
    match validate(head) {
        Ok(upgrade) => {
            let mut accept = Accept::new(&upgrade);
            let names = upgrade.subprotocols();
            if let Some(name) = upgrade.choose_subprotocol(names) {
                // A client's own token, so it can be said back.
                accept = accept.subprotocol(name).expect("a subprotocol that was parsed");
            }
            let deflate = upgrade.accept_deflate(&DeflateConfig::default());
            if let Some(deflate) = &deflate {
                let params = deflate.params();
                assert!((9..=15).contains(&params.server_max_window_bits));
                assert!((9..=15).contains(&params.client_max_window_bits));
                assert!(parse_extensions(std::iter::once(deflate.header().as_bytes())).is_ok());
                accept = accept.deflate(deflate);
            }
            let mut out = Vec::new();
            accept.write(&mut out);
            check_answer(&out, 101);
        }
        Err(refusal) => {
            let status = refusal.status();
            answer(&Response::from(&refusal).answering(head), status);
        }
    }
}

fn answer(response: &Response, status: u16) {
    let mut out = Vec::new();
    response.write(&mut out);
    check_answer(&out, status);
}

/// What a server writes, a client can read, and no input ends a header line early.
fn check_answer(out: &[u8], status: u16) {
    let read = ResponseReader::new(HeadLimits::default()).push(out).expect("a legal answer");
    let head = read.head.expect("a whole answer");
    assert_eq!(head.status(), status);
}

fn response(head: &ResponseHead) {
    let _ = head.reason();
    let request = ClientRequest::new("example.com", "/chat", *b"the sample nonce")
        .and_then(|r| r.subprotocol("chat"))
        .expect("a legal request")
        .deflate(DeflateConfig::default());
    if let Ok(accepted) = request.verify(head) {
        assert_eq!(head.status(), 101);
        assert!(accepted.subprotocol.is_none_or(|s| s == "chat"));
        if let Some(deflate) = accepted.deflate {
            assert!((8..=15).contains(&deflate.params.client_max_window_bits));
            assert!((8..=15).contains(&deflate.params.server_max_window_bits));
        }
    }
}
