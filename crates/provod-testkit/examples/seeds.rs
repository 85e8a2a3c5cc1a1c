//! Writes the seeds of the fuzz corpora: `cargo run -p provod-testkit --example seeds`.

use std::fs;
use std::path::Path;

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for (target, seeds) in [
        ("head", head()),
        ("frames", frames()),
        ("inflate", inflate()),
        ("operations", operations()),
        ("conversation", conversation()),
    ] {
        let folder = corpus.join(target);
        fs::create_dir_all(&folder)?;
        for (name, bytes) in seeds {
            fs::write(folder.join(name), bytes)?;
        }
    }
    Ok(())
}

type Seeds = Vec<(String, Vec<u8>)>;

fn seed(seeds: &mut Seeds, name: &str, start: &[u8], rest: &[u8]) {
    seeds.push((name.to_owned(), [start, rest].concat()));
}

fn head() -> Seeds {
    const GOOD: &str = "GET /chat?x=1 HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n\
        Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Version: 13\r\n";
    let mut seeds = Seeds::new();
    let extra = [
        ("plain", ""),
        ("origin", "Origin: https://example.com\r\nSec-WebSocket-Protocol: chat, superchat\r\n"),
        ("deflate", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"),
        (
            "deflate-quoted",
            "Sec-WebSocket-Extensions: foo; a=\"b\\\"c\", permessage-deflate; \
             server_max_window_bits=\"10\"; server_no_context_takeover\r\n",
        ),
        ("bits-8", "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=8\r\n"),
        ("body", "Content-Length: 5\r\n"),
        ("smuggled", "Transfer-Encoding: chunked\r\n"),
        ("two-hosts", "Host: other\r\n"),
        ("fold", "X: a\r\n b\r\n"),
        ("bare-lf", "X: a\nY: b\r\n"),
        ("space", "X : a\r\n"),
    ];
    for (name, extra) in extra {
        for limits in [0, 2] {
            let text = format!("{GOOD}{extra}\r\n\x01\x02");
            seed(&mut seeds, &format!("request-{name}-{limits}"), &[limits, 7], text.as_bytes());
        }
    }
    for (name, text) in [
        ("get", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("http10", "GET /health HTTP/1.0\r\n\r\n"),
        ("absolute", "GET http://a.b:80/c HTTP/1.1\r\nHost: a.b\r\n\r\n"),
        ("empty-line", "\r\nGET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n"),
        ("http2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("tls", "\x16\x03\x01"),
    ] {
        seed(&mut seeds, &format!("request-{name}"), &[0, 3], text.as_bytes());
    }
    for (name, text) in [
        (
            "switching",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
             Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=8\r\n\
             Sec-WebSocket-Protocol: chat\r\n\r\n\u{1}",
        ),
        ("redirect", "HTTP/1.1 301 Moved\r\nLocation: wss://a/\r\n\r\nbody"),
        ("no-reason", "HTTP/1.1 400 \r\n\r\n"),
        ("not-http", "SSH-2.0-OpenSSH\r\n"),
    ] {
        seed(&mut seeds, &format!("response-{name}"), &[1, 5], text.as_bytes());
    }
    seeds
}

/// A frame for a server (masked with zeros, so that its payload can be read) or for a client.
fn frame(client: bool, first: u8, payload: &[u8]) -> Vec<u8> {
    let bit = if client { 0 } else { 0x80 };
    let mut out = match payload.len() {
        n @ 0..=125 => vec![first, bit | n as u8],
        n => [&[first, bit | 126], &(n as u16).to_be_bytes()[..]].concat(),
    };
    if !client {
        out.extend([0; 4]);
    }
    out.extend_from_slice(payload);
    out
}

/// Frames: the first byte and the payload of each.
type Script<'a> = &'a [(u8, &'a [u8])];

fn frames() -> Seeds {
    let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    let again = b"\xf2\x00\x11\x00\x00";
    let bomb = [miniz_oxide::deflate::compress_to_vec(&[0; 100_000], 6), vec![0]].concat();
    let scripts: [(&str, Script<'_>); 14] = [
        ("text", &[(0x81, b"Hello"), (0x81, "Привет 👋".as_bytes())]),
        ("fragments", &[(0x01, b"Hel"), (0x89, b"ping"), (0x00, b""), (0x80, b"lo")]),
        ("medium", &[(0x82, &[7; 300]), (0x82, &[])]),
        ("large", &[(0x82, &[0x61; 20_000])]),
        ("large-text", &[(0x01, &[0x61; 9000]), (0x80, &[0x62; 9000])]),
        ("close", &[(0x8a, b"pong"), (0x88, b"\x03\xe8bye"), (0x81, b"late")]),
        ("bad-close", &[(0x88, b"\x03\xed")]),
        ("bad-utf8", &[(0x81, b"\xce\xba\xe1\xbd\xf4\x90\x80\x80")]),
        ("reserved", &[(0x81, b"good"), (0x83, b"bad")]),
        ("compressed", &[(0xC1, hello), (0xC1, hello), (0x81, b"plain")]),
        ("takeover", &[(0xC1, hello), (0xC1, again)]),
        ("compressed-fragments", &[(0x41, &hello[..3]), (0x8a, b""), (0x80, &hello[3..])]),
        ("bomb", &[(0xC2, &bomb)]),
        ("rsv1-continuation", &[(0x41, &hello[..3]), (0xC0, &hello[3..])]),
    ];
    let mut seeds = Seeds::new();
    for (name, script) in scripts {
        for (role, client) in [("server", false), ("client", true)] {
            let bytes: Vec<u8> =
                script.iter().flat_map(|(first, payload)| frame(client, *first, payload)).collect();
            for mode in [0, 0b1000, 0b1101] {
                let flags = mode | if client { 16 } else { 0 };
                seed(&mut seeds, &format!("{role}-{name}-{mode}"), &[flags, 9], &bytes);
            }
        }
    }
    seeds
}

fn inflate() -> Seeds {
    let messages: [(&str, &[&[u8]]); 10] = [
        ("hello", &[b"\xf2\x48\xcd\xc9\xc9\x07\x00"]),
        ("shared", &[b"\xf2\x48\xcd\xc9\xc9\x07\x00", b"\xf2\x00\x11\x00\x00"]),
        ("stored", &[b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"]),
        ("final", &[b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", b"\xf2\x00\x11\x00\x00"]),
        ("two-blocks", &[b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"]),
        ("empty", &[b"\x00", b"", b"\x00"]),
        ("reserved", &[b"\x07"]),
        ("bad-length", &[b"\x00\x05\x00\xfa\xfe"]),
        ("cut", &[b"\xf2\x48\xcd\xc9"]),
        ("far", &[b"\xf2\x00\x11\x00\x00"]),
    ];
    let mut seeds = Seeds::new();
    for (name, messages) in messages {
        let bytes: Vec<u8> = messages
            .iter()
            .flat_map(|m| [&(m.len() as u16).to_be_bytes()[..], m].concat())
            .collect();
        for takeover in [0, 1] {
            seed(&mut seeds, &format!("{name}-{takeover}"), &[takeover, 3], &bytes);
        }
    }
    let text = b"the quick brown fox jumps over the lazy dog, the quick brown fox ".repeat(4);
    let valid = [&(0x8000 | text.len() as u16).to_be_bytes()[..], &text].concat();
    for takeover in [0, 1] {
        seed(&mut seeds, &format!("valid-{takeover}"), &[takeover, 5], &valid.repeat(3));
    }
    for (name, zeros) in [("dynamic", 3000), ("too-long", 400_000)] {
        let data: Vec<u8> = (0..zeros).map(|i: usize| (i % 7 * (i / 500 % 5)) as u8).collect();
        let m = [miniz_oxide::deflate::compress_to_vec(&data, 9), vec![0]].concat();
        seed(&mut seeds, name, &[1, 1], &[&(m.len() as u16).to_be_bytes()[..], &m].concat());
    }
    seeds
}

fn operations() -> Seeds {
    // An operation is a number, shifted by one; the lowest bit swaps the ends.
    let op = |n: u8| n << 1;
    let (say, carry, read) = (op(0), op(3), op(6));
    let (time, release, pause, resume) = (op(9), op(10), op(11), op(12));
    let (blocked, close, end) = (op(13), op(14), op(15));
    let exchange = [carry, 255, 1 | read, 255, read, 255, 1 | carry, 255];
    // Of what is said, the rarer commands.
    let (cancel, stream, whole, mark, shed, flush) = (0xC2, 0xC3, 0xC4, 0xC5, 0xFE, 0xC7);
    let part = [carry, 100, 1 | read, 90];
    let scripts: [(&str, Vec<u8>); 13] = [
        ("text", vec![say, 0, 20, 1, carry, 255, read, 255]),
        ("binary", vec![say, 1, 250, 3, say, 3, 10, 2, carry, 200, 1 | read, 90]),
        ("stream", vec![say, 25, say, 32, 40, 2, say, 48, 2, say, 40, 9, 4, carry, 255]),
        ("prepared", vec![say, 17, 0, say, 19, 1, say, 1, 150, 2, say, 17, 2, say, 21, 0]),
        ("ping", [vec![say, 48, 5, say, 48, 127, say, 48, 0], exchange.to_vec()].concat()),
        ("close", [vec![say, 0, 9, 2, close, 0, 3, 0xe8], exchange.to_vec()].concat()),
        ("release", [vec![close, 0, 0, 0], exchange.to_vec(), vec![release, 1 | release]].concat()),
        ("silence", vec![time, 50, carry, 255, time, 60, pause, time, 255, resume, time, 200]),
        ("lost", vec![say, 0, 255, 1, carry, 9, blocked, carry, 9, close, 0xFF, read, 255]),
        ("end", [vec![say, 0, 255, 0, end, 1 | end], exchange.to_vec()].concat()),
        (
            "flush",
            [
                &[say, 27, say, cancel, say, 27, say, 32, 40, 2, say, flush, say, 32, 200, 3][..],
                &[say, mark, say, flush, say, 40, 9, 4, carry, 255, read, 255],
            ]
            .concat(),
        ),
        (
            "switch",
            [
                &[say, 1, 252, 3, say, mark, say, 3, 252, 5][..],
                &part,
                &[1 | say, stream],
                &part,
                &[1 | say, whole],
                &part,
                &exchange,
            ]
            .concat(),
        ),
        (
            "shed",
            [&[say, 1, 252, 3, say, mark][..], &part, &[1 | say, shed, say, 0, 9, 2], &exchange]
                .concat(),
        ),
    ];
    let mut seeds = Seeds::new();
    for (name, script) in scripts {
        for flags in [[0, 0x40], [0x01, 0xC1], [0x7F, 0x42], [0xEB, 0x03]] {
            let file = format!("{name}-{:02x}{:02x}", flags[0], flags[1]);
            seed(&mut seeds, &file, &flags, &script.repeat(3));
        }
    }
    seeds
}

fn conversation() -> Seeds {
    // An operation is a number, shifted by one; the lowest bit says which end.
    let op = |n: u8| n << 1;
    let (say, step, settle, wait, jump) = (op(0), op(5), op(7), op(8), op(10));
    let (pause, close, stall, cut, end) = (op(11), op(12), op(13), op(14), op(15));
    let talk = [say, 0, 20, 1, 1 | say, 1, 150, 3, settle, say, 3, 230, 2, step, 50];
    let scripts: [(&str, Vec<u8>); 10] = [
        ("talk", talk.to_vec()),
        ("stream", vec![say, 49, say, 0, 90, 3, settle, say, 8, 9, 1, 1 | say, 40, step, 9]),
        ("large", vec![say, 1, 255, 3, step, 200, 1 | say, 0, 254, 2, settle, jump, jump]),
        ("pings", vec![say, 56, say, 57, 1 | say, 63, wait, 10, say, 0, 9, 1, wait, 200, jump]),
        ("pause", vec![1 | pause, say, 1, 251, 3, wait, 255, 1 | pause, settle, pause]),
        ("close", [&talk[..], &[close, 0, 1 | say, 0, 90, 3, settle]].concat()),
        ("both-close", [&talk[..8], &[close, 2, 1 | close, 3, step, 1]].concat()),
        ("stall", [&[stall, 0], &talk[..], &[wait, 200, stall, 255, settle]].concat()),
        ("cut", [&talk[..], &[say, 1, 210, 3, cut, 0, say, 0, 10, 1, settle]].concat()),
        ("end", [&talk[..10], &[1 | end, 0, say, 0, 90, 2, wait, 255, wait, 255]].concat()),
    ];
    let mut seeds = Seeds::new();
    for (name, script) in scripts {
        for (network, start) in [
            ("plain", vec![0, 0x40, 0, 0, 0, 0]),
            ("bytewise", vec![0x07, 0x04, 0x05, 0x0C, 0x1D, 0x08]),
            ("late", vec![0x81, 0xC1, 0x0A, 0, 0x1A, 4]),
            ("stalls", vec![0x7F, 0x42, 0xA0, 0, 90, 0xA2, 1, 7]),
            ("cuts", vec![0x0B, 0x03, 0xC1, 0, 200, 0x01, 0]),
            ("ends", vec![0, 0x00, 0x02, 0, 0xE9, 0, 33]),
        ] {
            seed(&mut seeds, &format!("{name}-{network}"), &start, &script);
        }
    }
    seeds
}
