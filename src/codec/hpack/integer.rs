//! Numbers as HPACK writes them (RFC 7541 §5.1).

use crate::codec::hpack::HpackFault;

/// Bytes after the first that a number may have: more than any length or index needs.
const MAX_MORE: u32 = 4;

/// Takes a number off the front of `input`, whose `first` byte has been taken and ends in so many
/// bits of it.
pub(in crate::codec::hpack) fn take(
    input: &mut &[u8],
    first: u8,
    bits: u32,
) -> Result<usize, HpackFault> {
    let most = (1_usize << bits) - 1;
    let mut number = usize::from(first) & most;
    if number < most {
        return Ok(number);
    }
    for place in 0..MAX_MORE {
        let (&byte, rest) = input.split_first().ok_or(HpackFault::Truncated)?;
        *input = rest;
        number += usize::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(HpackFault::Number)
}

/// Writes a number, the first byte with `pattern` before so many bits of it.
pub(in crate::codec::hpack) fn write(out: &mut Vec<u8>, pattern: u8, bits: u32, number: usize) {
    let most = (1_usize << bits) - 1;
    if number < most {
        out.push(pattern | low(number));
        return;
    }
    out.push(pattern | low(most));
    let mut left = number - most;
    while left >= 0x80 {
        out.push(0x80 | low(left & 0x7f));
        left >>= 7;
    }
    out.push(low(left));
}

fn low(number: usize) -> u8 {
    let [low, ..] = number.to_le_bytes();
    low
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn taken(bytes: &[u8], bits: u32) -> Result<usize, HpackFault> {
        let (first, mut rest) = bytes.split_first().unwrap();
        take(&mut rest, *first, bits)
    }

    #[test]
    fn the_numbers_of_appendix_c_1_are_read() {
        assert_eq!(taken(&[0b1110_1010], 5), Ok(10));
        assert_eq!(taken(&[0x1f, 0x9a, 0x0a], 5), Ok(1337));
        assert_eq!(taken(&[42], 8), Ok(42));
    }

    #[test]
    fn numbers_without_an_end_and_beyond_all_sizes_are_faults() {
        assert_eq!(taken(&[0x1f], 5), Err(HpackFault::Truncated));
        assert_eq!(taken(&[0x1f, 0x80], 5), Err(HpackFault::Truncated));
        assert_eq!(
            taken(&[0x1f, 0x80, 0x80, 0x80, 0x80, 0], 5),
            Err(HpackFault::Number)
        );
        assert_eq!(taken(&[0xff; 20], 7), Err(HpackFault::Number));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(number in 0_usize..1 << 28, bits in 4_u32..8) {
            let mut out = Vec::new();
            write(&mut out, 0, bits, number);
            prop_assert_eq!(taken(&out, bits), Ok(number));
        }
    }
}
