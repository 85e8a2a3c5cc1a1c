//! One DEFLATE block and the header of the empty stored block that ends a message (RFC 1951
//! section 3.2, RFC 7692 section 7.2.1).

use super::LONGEST;
use super::huffman::{self, Code};

/// Literals, the end of the block, and lengths.
pub(super) const LITERALS: usize = 286;
pub(super) const DISTANCES: usize = 30;
const END: usize = 256;

/// The code lengths' own alphabet, in the order in which their lengths are sent (RFC 1951 section
/// 3.2.7).
const LENGTHS: usize = 19;
const ORDER: [usize; LENGTHS] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// A literal, or a match: [`Token::MATCH`], its length from bit 16 on, its distance below.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token(u32);

impl Token {
    const MATCH: u32 = 1 << 31;

    pub(super) fn literal(byte: u8) -> Self {
        Self(byte.into())
    }

    /// `len` is 3..=258, `distance` 1..=32768.
    pub(super) fn copy(len: usize, distance: usize) -> Self {
        Self(Self::MATCH | (len as u32) << 16 | distance as u32)
    }

    fn is_literal(self) -> bool {
        self.0 & Self::MATCH == 0
    }

    /// The symbol of the length, how many extra bits it has, and these.
    fn length(self) -> (usize, u32, u64) {
        let over = (self.0 >> 16 & 0x1FF).saturating_sub(3);
        match over {
            0..8 => (257 + over as usize, 0, 0),
            255.. => (285, 0, 0),
            _ => {
                let extra = over.ilog2() - 2;
                let symbol = 257 + 4 * (extra + 1) + (over >> extra & 3);
                (symbol as usize, extra, u64::from(over & ((1 << extra) - 1)))
            }
        }
    }

    /// The same of the distance.
    fn distance(self) -> (usize, u32, u64) {
        let over = (self.0 & 0xFFFF).saturating_sub(1);
        if over < 4 {
            return (over as usize, 0, 0);
        }
        let extra = over.ilog2() - 1;
        let symbol = 2 * (extra + 1) + (over >> extra & 1);
        (symbol as usize, extra, u64::from(over & ((1 << extra) - 1)))
    }
}

/// The tokens of a block and how often each symbol occurs.
pub(super) struct Block {
    tokens: Box<[Token; LONGEST]>,
    count: usize,
    literals: [u32; LITERALS],
    distances: [u32; DISTANCES],
    /// Extra bits of all lengths and distances.
    extra: usize,
}

impl Default for Block {
    fn default() -> Self {
        Self {
            tokens: Box::new([Token(0); LONGEST]),
            count: 0,
            literals: [0; LITERALS],
            distances: [0; DISTANCES],
            extra: 0,
        }
    }
}

impl Block {
    pub(super) fn clear(&mut self) {
        self.count = 0;
        self.literals.fill(0);
        self.distances.fill(0);
        self.extra = 0;
    }

    pub(super) fn literal(&mut self, byte: u8) {
        self.literals[usize::from(byte)] += 1;
        self.push(Token::literal(byte));
    }

    /// Takes back the last token, which was this literal.
    pub(super) fn unsay(&mut self, byte: u8) {
        self.literals[usize::from(byte)] -= 1;
        self.count -= 1;
    }

    pub(super) fn copy(&mut self, len: usize, distance: usize) {
        let token = Token::copy(len, distance);
        let (length, length_extra, _) = token.length();
        let (distance, distance_extra, _) = token.distance();
        self.literals[length] += 1;
        self.distances[distance] += 1;
        self.extra += (length_extra + distance_extra) as usize;
        self.push(token);
    }

    /// There are never more tokens than bytes.
    fn push(&mut self, token: Token) {
        self.tokens[self.count % LONGEST] = token;
        self.count += 1;
    }

    /// Appends the block in its shortest form, `plain` being what it says, and the header of the
    /// empty stored block.
    pub(super) fn write(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        self.literals[END] = 1;
        let mut literals = [Code::default(); LITERALS];
        let mut distances = [Code::default(); DISTANCES];
        huffman::build(&self.literals, 15, &mut literals);
        huffman::build(&self.distances, 15, &mut distances);
        let header = Header::new(&literals, &distances);
        let dynamic =
            header.bits() + cost(&self.literals, &literals) + cost(&self.distances, &distances);
        let (fixed_literals, fixed_distances) = (&FIXED.0, &FIXED.1);
        let fixed = cost(&self.literals, fixed_literals) + cost(&self.distances, fixed_distances);
        let coded = (3 + self.extra + dynamic.min(fixed) + 3).div_ceil(8);
        if plain.len() + STORED <= coded && plain.len() <= usize::from(u16::MAX) {
            return stored(plain, out);
        }
        let mut bits = Bits::new(out, coded);
        if dynamic < fixed {
            bits.put(0b100, 3);
            header.write(&mut bits);
            self.tokens(&literals, &distances, &mut bits);
        } else {
            bits.put(0b010, 3);
            self.tokens(fixed_literals, fixed_distances, &mut bits);
        }
        bits.put(0, 3);
        bits.end();
    }

    fn tokens(
        &self,
        literals: &[Code; LITERALS],
        distances: &[Code; DISTANCES],
        bits: &mut Bits<'_>,
    ) {
        for &token in self.tokens.iter().take(self.count) {
            if token.is_literal() {
                bits.code(literals[(token.0 & 0xFF) as usize]);
            } else {
                let (symbol, extra, value) = token.length();
                bits.add_code(literals[symbol]);
                bits.add(value, extra);
                let (symbol, extra, value) = token.distance();
                bits.add_code(distances[symbol]);
                bits.put(value, extra);
            }
        }
        bits.code(literals[END]);
    }
}

/// What a stored block adds to its bytes: two headers, and its length twice.
const STORED: usize = 6;

fn stored(plain: &[u8], out: &mut Vec<u8>) {
    let len = plain.len() as u16;
    out.reserve(plain.len() + STORED);
    out.push(0);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&(!len).to_le_bytes());
    out.extend_from_slice(plain);
    out.push(0);
}

fn cost(counts: &[u32], codes: &[Code]) -> usize {
    counts.iter().zip(codes).map(|(&count, code)| count * u32::from(code.len)).sum::<u32>() as usize
}

/// The codes of RFC 1951 section 3.2.6.
static FIXED: ([Code; LITERALS], [Code; DISTANCES]) = (fixed_literals(), fixed_distances());

const fn fixed_literals() -> [Code; LITERALS] {
    let mut codes = [Code { bits: 0, len: 0 }; LITERALS];
    let mut symbol = 0;
    while symbol < LITERALS {
        let n = symbol as u16;
        let (code, len) = match n {
            0..144 => (0x30 + n, 8),
            144..256 => (0x190 + n - 144, 9),
            256..280 => (n - 256, 7),
            _ => (0xC0 + n - 280, 8),
        };
        codes[symbol] = Code { bits: code.reverse_bits() >> (16 - len), len: len as u8 };
        symbol += 1;
    }
    codes
}

const fn fixed_distances() -> [Code; DISTANCES] {
    let mut codes = [Code { bits: 0, len: 5 }; DISTANCES];
    let mut symbol = 0;
    while symbol < DISTANCES {
        codes[symbol].bits = (symbol as u16).reverse_bits() >> 11;
        symbol += 1;
    }
    codes
}

/// The lengths of the codes of a dynamic block, run-length coded (RFC 1951 section 3.2.7).
struct Header {
    literals: usize,
    distances: usize,
    /// Symbols of the code lengths' alphabet, with the value of their extra bits above bit 8.
    symbols: [u16; LITERALS + DISTANCES],
    count: usize,
    counts: [u32; LENGTHS],
    codes: [Code; LENGTHS],
    /// How many of `ORDER` are sent.
    sent: usize,
}

impl Header {
    fn new(literals: &[Code; LITERALS], distances: &[Code; DISTANCES]) -> Self {
        let used =
            |codes: &[Code]| codes.iter().rposition(|code| code.len > 0).map_or(0, |i| i + 1);
        let mut header = Self {
            literals: used(literals).max(257),
            distances: used(distances).max(1),
            symbols: [0; LITERALS + DISTANCES],
            count: 0,
            counts: [0; LENGTHS],
            codes: [Code::default(); LENGTHS],
            sent: 0,
        };
        let lens = literals[..header.literals].iter().chain(&distances[..header.distances]);
        let mut run = (0, 0);
        for code in lens {
            if code.len == run.0 {
                run.1 += 1;
            } else {
                header.run(run.0, run.1);
                run = (code.len, 1);
            }
        }
        header.run(run.0, run.1);
        huffman::build(&header.counts, 7, &mut header.codes);
        let last = ORDER.iter().rposition(|&symbol| header.codes[symbol].len > 0);
        header.sent = last.map_or(4, |i| i + 1).max(4);
        header
    }

    /// `times` code lengths of `len` bits.
    fn run(&mut self, len: u8, mut times: usize) {
        if len != 0 && times > 0 {
            self.symbol(len.into(), 0);
            times -= 1;
        }
        while times > 0 {
            let taken = match (len, times) {
                (_, 1..3) => {
                    self.symbol(len.into(), 0);
                    1
                }
                (0, 3..11) => {
                    self.symbol(17, times - 3);
                    times
                }
                (0, _) => {
                    let taken = times.min(138);
                    self.symbol(18, taken - 11);
                    taken
                }
                (_, _) => {
                    let taken = times.min(6);
                    self.symbol(16, taken - 3);
                    taken
                }
            };
            times -= taken;
        }
    }

    fn symbol(&mut self, symbol: usize, extra: usize) {
        self.symbols[self.count] = (extra << 8 | symbol) as u16;
        self.count += 1;
        self.counts[symbol] += 1;
    }

    fn bits(&self) -> usize {
        let extra = 2 * self.counts[16] + 3 * self.counts[17] + 7 * self.counts[18];
        14 + 3 * self.sent + cost(&self.counts, &self.codes) + extra as usize
    }

    fn write(&self, bits: &mut Bits<'_>) {
        bits.add((self.literals - 257) as u64, 5);
        bits.add((self.distances - 1) as u64, 5);
        bits.put((self.sent - 4) as u64, 4);
        for &symbol in &ORDER[..self.sent] {
            bits.put(self.codes[symbol].len.into(), 3);
        }
        for &symbol in &self.symbols[..self.count] {
            let (symbol, extra) = (usize::from(symbol & 0xFF), u64::from(symbol >> 8));
            bits.add_code(self.codes[symbol]);
            bits.put(extra, [2, 3, 7].get(symbol.wrapping_sub(16)).copied().unwrap_or(0));
        }
    }
}

/// Writes bits, the first into the lowest of a byte (RFC 1951 section 3.1.1).
struct Bits<'a> {
    out: &'a mut Vec<u8>,
    /// Where the next whole byte goes.
    at: usize,
    held: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    /// For `len` bytes at the end of `out`.
    fn new(out: &'a mut Vec<u8>, len: usize) -> Self {
        let at = out.len();
        // The writer stores eight bytes at a time.
        out.resize(at + len + 8, 0);
        Self { out, at, held: 0, count: 0 }
    }

    /// Holds more bits back. Up to 7 may be held already, and there is room for 64.
    fn add(&mut self, bits: u64, count: u32) {
        self.held |= bits << self.count;
        self.count += count;
    }

    fn add_code(&mut self, code: Code) {
        self.add(code.bits.into(), code.len.into());
    }

    /// Adds bits and writes all whole bytes.
    fn put(&mut self, bits: u64, count: u32) {
        self.add(bits, count);
        if let Some(room) = self.out.get_mut(self.at..self.at + 8) {
            room.copy_from_slice(&self.held.to_le_bytes());
        }
        self.at += (self.count / 8) as usize;
        self.held >>= self.count & !7;
        self.count &= 7;
    }

    fn code(&mut self, code: Code) {
        self.put(code.bits.into(), code.len.into());
    }

    /// Fills the last byte with zeros.
    fn end(mut self) {
        let rest = self.count.wrapping_neg() & 7;
        self.put(0, rest);
        self.out.truncate(self.at);
    }
}
