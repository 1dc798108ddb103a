//! The Huffman code of HPACK (RFC 7541 §5.2, appendix B). Read by a table of its short codes, and
//! by the order of the long ones: the code is canonical, so the lengths say everything.

use crate::codec::hpack::HpackFault;

/// How many bits the code of each byte has, and last that of the end mark (RFC 7541 appendix B).
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

/// Bits of the longest code.
const LONGEST: usize = 30;

/// Bits by which short codes are looked up: those of everything usual.
const SHORT_BITS: u32 = 8;

/// For every beginning of eight bits the byte and the length of its code; length 0 for long codes.
const SHORT: [(u8, u8); 1 << SHORT_BITS] = short_codes();

/// The long codes of one length.
#[derive(Clone, Copy)]
struct Long {
    /// The first code, as the highest bits of 32.
    first: u32,
    /// How many there are.
    count: u32,
    /// Where their symbols begin in `ORDER`.
    at: usize,
}

/// The codes by their length.
const LONG: [Long; LONGEST + 1] = long_codes();

/// All symbols, ordered by length and then by value.
const ORDER: [u16; 257] = order();

#[expect(
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "the compiler runs this, and would stop"
)]
const fn order() -> [u16; 257] {
    let mut order = [0; 257];
    let (mut filled, mut length) = (0, 1);
    while length <= LONGEST {
        let mut symbol = 0;
        while symbol < 257 {
            if LENGTHS[symbol] as usize == length {
                order[filled] = symbol as u16;
                filled += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    order
}

#[expect(
    clippy::as_conversions,
    clippy::indexing_slicing,
    reason = "the compiler runs this, and would stop"
)]
const fn long_codes() -> [Long; LONGEST + 1] {
    let none = Long {
        first: 0,
        count: 0,
        at: 0,
    };
    let mut codes = [none; LONGEST + 1];
    let (mut code, mut at, mut length) = (0, 0, 1);
    while length <= LONGEST {
        let (mut count, mut symbol) = (0, 0);
        while symbol < 257 {
            if LENGTHS[symbol] as usize == length {
                count += 1;
            }
            symbol += 1;
        }
        codes[length] = Long {
            first: code << (32 - length),
            count,
            at,
        };
        code = (code + count) << 1;
        at += count as usize;
        length += 1;
    }
    codes
}

#[expect(
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "the compiler runs this, and would stop"
)]
const fn short_codes() -> [(u8, u8); 1 << SHORT_BITS] {
    let mut table = [(0, 0); 1 << SHORT_BITS];
    let (mut filled, mut next) = (0, 0);
    // Codes in their order fill the table from its beginning.
    while next < 257 {
        let symbol = ORDER[next];
        let length = LENGTHS[symbol as usize];
        if length as u32 > SHORT_BITS {
            break;
        }
        let end = filled + (1 << (SHORT_BITS - length as u32));
        while filled < end {
            table[filled] = (symbol as u8, length);
            filled += 1;
        }
        next += 1;
    }
    table
}

/// Adds what is coded to `out`.
pub(in crate::codec::hpack) fn decode(coded: &[u8], out: &mut Vec<u8>) -> Result<(), HpackFault> {
    // The bits that were read and not used, the next one highest; below them zeros.
    let (mut bits, mut have, mut rest) = (0_u64, 0_u32, coded);
    loop {
        while have <= 56
            && let Some((&byte, tail)) = rest.split_first()
        {
            bits |= u64::from(byte) << (56 - have);
            have += 8;
            rest = tail;
        }
        let (symbol, length) = next(bits);
        if length > have {
            // Only at the end: what is left must be the begin of the end mark, less than a byte of it.
            let is_padding = have < 8 && bits.leading_ones() >= have;
            return is_padding.then_some(()).ok_or(HpackFault::Huffman);
        }
        // The end mark is no byte.
        let byte = u8::try_from(symbol).map_err(|_end_mark| HpackFault::Huffman)?;
        out.push(byte);
        bits <<= length;
        have -= length;
    }
}

/// The symbol whose code comes first, and the length of the code.
fn next(bits: u64) -> (u16, u32) {
    let [first, ..] = bits.to_be_bytes();
    match SHORT.get(usize::from(first)) {
        Some(&(byte, length @ 1..)) => (u16::from(byte), u32::from(length)),
        _ => next_long(bits),
    }
}

fn next_long(bits: u64) -> (u16, u32) {
    let high = u32::try_from(bits >> 32).unwrap_or(u32::MAX);
    for (length, codes) in (0_u32..).zip(&LONG).skip(1) {
        let nth = (high.wrapping_sub(codes.first)) >> (32 - length);
        if high >= codes.first && nth < codes.count {
            let nth = usize::try_from(nth).unwrap_or(usize::MAX);
            let symbol = ORDER.get(codes.at.saturating_add(nth));
            return (symbol.copied().unwrap_or(u16::MAX), length);
        }
    }
    // There is no such: the code is complete.
    (u16::MAX, 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The code of a symbol, and its length.
    fn code(symbol: u16) -> (u64, u32) {
        let length = LENGTHS[usize::from(symbol)];
        let codes = LONG[usize::from(length)];
        let nth = ORDER[codes.at..].iter().position(|one| *one == symbol);
        let nth = u64::try_from(nth.unwrap()).unwrap();
        let length = u32::from(length);
        ((u64::from(codes.first) >> (32 - length)) + nth, length)
    }

    /// Codes one after the other, filled up with ones.
    fn coded(symbols: impl IntoIterator<Item = u16>) -> Vec<u8> {
        let mut bits = Vec::new();
        for symbol in symbols {
            let (code, length) = code(symbol);
            bits.extend((0..length).rev().map(|at| code >> at & 1 == 1));
        }
        while !bits.len().is_multiple_of(8) {
            bits.push(true);
        }
        let byte = |bits: &[bool]| bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
        bits.chunks(8).map(byte).collect()
    }

    fn decoded(coded: &[u8]) -> Result<Vec<u8>, HpackFault> {
        let mut out = Vec::new();
        decode(coded, &mut out).map(|()| out)
    }

    #[test]
    fn the_codes_are_those_of_the_rfc() {
        // Some of appendix B of every length, the first and the last of each among them.
        for (symbol, expected, length) in [
            (48, 0x0, 5),
            (116, 0x9, 5),
            (32, 0x14, 6),
            (117, 0x2d, 6),
            (58, 0x5c, 7),
            (122, 0x7b, 7),
            (38, 0xf8, 8),
            (90, 0xfd, 8),
            (33, 0x3f8, 10),
            (63, 0x3fc, 10),
            (39, 0x7fa, 11),
            (124, 0x7fc, 11),
            (35, 0xffa, 12),
            (62, 0xffb, 12),
            (0, 0x1ff8, 13),
            (126, 0x1ffd, 13),
            (94, 0x3ffc, 14),
            (125, 0x3ffd, 14),
            (60, 0x7ffc, 15),
            (123, 0x7ffe, 15),
            (92, 0x7fff0, 19),
            (208, 0x7fff2, 19),
            (128, 0xfffe6, 20),
            (226, 0xfffed, 20),
            (153, 0x1f_ffdc, 21),
            (230, 0x1f_ffe8, 21),
            (129, 0x3f_ffd2, 22),
            (233, 0x3f_ffeb, 22),
            (1, 0x7f_ffd8, 23),
            (239, 0x7f_fff4, 23),
            (9, 0xff_ffea, 24),
            (237, 0xff_fff5, 24),
            (199, 0x1ff_ffec, 25),
            (235, 0x1ff_ffef, 25),
            (192, 0x3ff_ffe0, 26),
            (255, 0x3ff_ffee, 26),
            (203, 0x7ff_ffde, 27),
            (254, 0x7ff_fff0, 27),
            (2, 0xfff_ffe2, 28),
            (249, 0xfff_fffe, 28),
            (10, 0x3fff_fffc, 30),
            (22, 0x3fff_fffe, 30),
            (256, 0x3fff_ffff, 30),
        ] {
            assert_eq!(code(symbol), (expected, length), "{symbol}");
        }
    }

    #[test]
    fn every_byte_is_read_alone_and_in_any_company() {
        for byte in 0..=255_u8 {
            assert_eq!(decoded(&coded([byte.into()])), Ok(vec![byte]));
            let three = [u16::from(byte), 97, u16::from(byte)];
            assert_eq!(decoded(&coded(three)), Ok(vec![byte, b'a', byte]));
        }
        assert_eq!(decoded(&[]), Ok(vec![]));
    }

    #[test]
    fn the_end_mark_and_wrong_padding_are_faults() {
        assert_eq!(decoded(&coded([256])), Err(HpackFault::Huffman));
        assert_eq!(decoded(&coded([97, 256])), Err(HpackFault::Huffman));
        for padding in [&[0xff][..], &[0x0f, 0xff], &[0x08], &[0x00], &[0xff; 4]] {
            assert_eq!(decoded(padding), Err(HpackFault::Huffman), "{padding:?}");
        }
        assert_eq!(decoded(&[0x0f]), Ok(vec![b'1']));
    }

    proptest! {
        #[test]
        fn what_is_coded_is_read_again(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let symbols = bytes.iter().copied().map(u16::from);
            prop_assert_eq!(decoded(&coded(symbols)), Ok(bytes));
        }

        #[test]
        fn anything_is_read_or_refused_and_grows_by_no_more_than_its_codes_say(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let length = bytes.len();
            if let Ok(out) = decoded(&bytes) {
                prop_assert!(out.len() * 5 <= length * 8);
            }
        }
    }
}
