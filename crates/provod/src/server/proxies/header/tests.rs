use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Bad, MOST, Named, SIGNATURE, read};

/// A header of this command and family, with `body` behind the fixed part.
fn header(version_command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut out = SIGNATURE.to_vec();
    out.extend([version_command, family]);
    out.extend(u16::try_from(body.len()).expect("it is short").to_be_bytes());
    out.extend(body);
    out
}

fn v4() -> Vec<u8> {
    header(0x21, 0x11, &[203, 0, 113, 9, 10, 0, 0, 1, 0xC0, 0x01, 0, 80])
}

fn v6() -> Vec<u8> {
    let mut body = [0; 36];
    body[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    body[15] = 7;
    body[32..34].copy_from_slice(&[0x12, 0x34]);
    header(0x21, 0x21, &body)
}

fn address(text: &str) -> Named {
    Named::Address(text.parse::<SocketAddr>().expect("an address"))
}

/// What a header says that comes in two parts, and what is left behind it.
async fn parts(bytes: &[u8], cut: usize) -> (Result<Named, Bad>, Vec<u8>) {
    let (mut near, mut far) = tokio::io::duplex(1 << 20);
    let (first, second) = bytes.split_at(cut);
    let write = async {
        far.write_all(first).await.expect("there is room");
        tokio::task::yield_now().await;
        far.write_all(second).await.expect("there is room");
        drop(far);
    };
    let (read, ()) = tokio::join!(read(&mut near), write);
    let mut rest = Vec::new();
    near.read_to_end(&mut rest).await.expect("it ends");
    (read, rest)
}

#[tokio::test]
async fn a_header_may_come_cut_anywhere_and_nothing_behind_it_is_read() {
    let with_more = {
        // Two values behind the addresses: 1 KiB of one kind, and an empty one.
        let mut body = v4()[16..].to_vec();
        body.extend([0xE0, 4, 0]);
        body.extend([7; 1024]);
        body.extend([0x04, 0, 0]);
        header(0x21, 0x11, &body)
    };
    for (bytes, named) in [
        (v4(), address("203.0.113.9:49153")),
        (v6(), address("[2001:db8::7]:4660")),
        (with_more, address("203.0.113.9:49153")),
        (header(0x21, 0x31, &[b'x'; 216]), Named::Unix),
        // A proxy that speaks for itself, with addresses and without; an unknown client.
        (header(0x20, 0x00, &[]), Named::Nobody),
        (header(0x20, 0x11, &[1; 12]), Named::Nobody),
        (header(0x20, 0x11, &[1; 5]), Named::Nobody),
        (header(0x21, 0x00, &[]), Named::Nobody),
        (header(0x21, 0x41, &[1; 99]), Named::Nobody),
    ] {
        let mut all = bytes.clone();
        all.extend(b"GET / HTTP/1.1");
        for cut in 0..=all.len() {
            let (read, rest) = parts(&all, cut).await;
            assert_eq!(read.expect("a good header"), named);
            assert_eq!(rest, b"GET / HTTP/1.1");
        }
    }
}

#[tokio::test]
async fn a_header_that_ends_early_is_none() {
    for whole in [v4(), v6()] {
        for end in 0..whole.len() {
            let (read, _) = parts(&whole[..end], end / 2).await;
            assert!(matches!(read, Err(Bad::Stream(_))), "{end}: {read:?}");
        }
    }
}

#[tokio::test]
async fn what_is_no_header_of_version_2_is_told_apart() {
    let mut other = v4();
    other[11] = b'?';
    let line = b"PROXY TCP4 203.0.113.9 10.0.0.1 49153 80\r\n".to_vec();
    let long = header(0x21, 0x11, &[0; MOST + 1]);
    for (bytes, line) in [
        (other, "this is no header of PROXY protocol version 2"),
        (line, "this is no header of PROXY protocol version 2"),
        // One byte is enough to know.
        (b"G".to_vec(), "this is no header of PROXY protocol version 2"),
        (header(0x11, 0x11, &[0; 12]), "version 1 of the PROXY protocol is not known"),
        (header(0x31, 0x11, &[0; 12]), "version 3 of the PROXY protocol is not known"),
        (header(0x22, 0x11, &[0; 12]), "command 2 of the PROXY protocol is not known"),
        (header(0x21, 0x11, &[0; 11]), "the PROXY header is too short for its addresses"),
        (header(0x21, 0x21, &[0; 35]), "the PROXY header is too short for its addresses"),
        (long, "a PROXY header of 16385 bytes is too long"),
    ] {
        let (read, _) = parts(&bytes, 0).await;
        assert_eq!(read.expect_err("a bad header").to_string(), line);
    }
}
