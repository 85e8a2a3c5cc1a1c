//! The header codec over all that the first two bytes can say, and the borders of each length.

use super::*;

const KEY: [u8; 4] = [1, 2, 3, 4];
const OPCODES: [OpCode; 6] =
    [OpCode::Continuation, OpCode::Text, OpCode::Binary, OpCode::Close, OpCode::Ping, OpCode::Pong];
const BORDERS: [u64; 12] =
    [0, 1, 125, 126, 127, 255, 256, 0xFFFF, 0x1_0000, 1 << 40, (1 << 53) + 1, (1 << 63) - 1];

fn expects() -> impl Iterator<Item = Expect> {
    [Side::Client, Side::Server].into_iter().flat_map(|sender| {
        [false, true].into_iter().flat_map(move |deflate| {
            [false, true].map(|in_message| Expect { sender, deflate, in_message })
        })
    })
}

/// What a fresh reader makes of `bytes`, given in pieces of `size`: how many it took, and what came
/// out.
fn read(
    bytes: &[u8],
    size: usize,
    expect: Expect,
) -> (usize, Result<Option<FrameHeader>, ProtocolError>) {
    let mut reader = HeaderReader::default();
    let mut taken = 0;
    for piece in bytes.chunks(size) {
        match reader.read(piece, expect) {
            Ok((n, Some(header))) => {
                assert_eq!(reader.held(), 0);
                return (taken + n, Ok(Some(header)));
            }
            Ok((n, None)) => {
                assert_eq!(n, piece.len(), "an unfinished header takes all");
                taken += n;
                assert_eq!(reader.held(), taken);
            }
            // Counted up to the piece that shows it.
            Err(e) => return (taken + piece.len(), Err(e)),
        }
    }
    (taken, Ok(None))
}

#[test]
fn rfc6455_5_2_every_header_comes_back_in_as_many_bytes_as_it_needs() {
    for opcode in OPCODES {
        for fin in [false, true] {
            for rsv1 in [false, true] {
                for mask in [None, Some(KEY)] {
                    for len in BORDERS {
                        let header = FrameHeader { fin, rsv1, opcode, mask, len };
                        let mut bytes = Vec::new();
                        header.encode(&mut bytes);
                        let extended = if len < 126 {
                            0
                        } else if len < 0x1_0000 {
                            2
                        } else {
                            8
                        };
                        assert_eq!(bytes.len(), 2 + extended + if mask.is_some() { 4 } else { 0 });
                        assert_eq!(decode(&bytes, bytes.len()), Ok(header));
                    }
                }
            }
        }
    }
}

/// The rules of RFC 6455 section 5.2 and RFC 7692 section 6.1 for the first two bytes, said another
/// way.
fn two_bytes_are_legal(first: u8, second: u8, expect: Expect) -> bool {
    let (fin, rsv1, rsv23) = (first & 0x80 != 0, first & 0x40 != 0, first & 0x30 != 0);
    let (masked, len) = (second & 0x80 != 0, second & 0x7F);
    let kind_is_legal = match first & 0x0F {
        0 => expect.in_message && !rsv1,
        1 | 2 => !expect.in_message && (!rsv1 || expect.deflate),
        8..=10 => fin && !rsv1 && len <= 125,
        _ => false,
    };
    kind_is_legal && !rsv23 && masked == (expect.sender == Side::Client)
}

#[test]
fn rfc6455_5_2_every_first_two_bytes_are_taken_or_refused_at_once() {
    for expect in expects() {
        for first in 0..=255 {
            for second in 0..=255 {
                let mut reader = HeaderReader::default();
                let slow = reader.read(&[first, second], expect).err();
                let legal = two_bytes_are_legal(first, second, expect);
                assert_eq!(slow.is_none(), legal, "{first:#x} {second:#x} {expect:?}");
                // The same from the path that has the whole header before it; length 126 or
                // 65536 and a key.
                let mut bytes = [0; 20];
                bytes[..2].copy_from_slice(&[first, second]);
                let low = if second & 0x7F == 126 { 3 } else { 7 };
                bytes[low] = if low == 3 { 126 } else { 1 };
                let (taken, fast) = read(&bytes, bytes.len(), expect);
                assert_eq!(fast.err(), slow, "{first:#x} {second:#x} {expect:?}");
                if let Ok(Some(header)) = fast {
                    assert_eq!(taken, header_size(second));
                    assert_eq!(header.fin, first & 0x80 != 0);
                    assert_eq!(header.rsv1, first & 0x40 != 0);
                    assert_eq!(header.opcode as u8, first & 0x0F);
                    assert_eq!(header.mask.is_some(), second & 0x80 != 0);
                }
            }
        }
    }
}

#[test]
fn a_header_reads_the_same_however_it_is_cut() {
    for expect in expects() {
        let opcode = if expect.in_message { 0x80 } else { 0x82 };
        let mask = if expect.sender == Side::Client { 0x80 } else { 0 };
        for (code, bytes) in [(126, 2), (127, 8)] {
            for len in BORDERS.into_iter().chain([1 << 63, u64::MAX]) {
                let mut header = vec![opcode, mask | code];
                header.extend_from_slice(&len.to_be_bytes()[8 - bytes..]);
                if mask != 0 {
                    header.extend_from_slice(&KEY);
                }
                let size = header.len();
                header.extend_from_slice(&[9; 16]);
                let whole = read(&header, header.len(), expect);
                for piece in 1..size + 2 {
                    let (taken, got) = read(&header, piece, expect);
                    assert_eq!(got, whole.1, "{len} in {bytes} bytes, {piece} at a time");
                    if got.is_ok() {
                        assert_eq!(taken, size);
                    }
                }
                if let (_, Err(e)) = read(&header, 1, expect) {
                    assert_eq!(read(&header, 1, expect).0, 2 + bytes, "{e} shows with its length");
                }
            }
        }
    }
}

#[test]
fn a_reader_is_ready_for_the_next_header() {
    let expect = Expect { sender: Side::Server, deflate: false, in_message: false };
    let mut reader = HeaderReader::default();
    for piece in [&[0x81][..], &[0x05]] {
        assert!(reader.read(piece, expect).is_ok());
    }
    let (n, header) = reader.read(&[0x82, 0x00, 0x81], expect).expect("legal");
    assert_eq!((n, header.map(|h| h.opcode)), (2, Some(OpCode::Binary)));
}
