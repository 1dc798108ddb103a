//! Bytes in lower-case hex.

/// Two digits for each byte.
pub fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|&byte| pair(byte));
    digits.map(char::from).collect()
}

/// The same, written over the first of these digits.
pub fn write_hex(digits: &mut [u8], bytes: &[u8]) {
    for (place, &byte) in digits.chunks_exact_mut(2).zip(bytes) {
        place.copy_from_slice(&pair(byte));
    }
}

fn pair(byte: u8) -> [u8; 2] {
    // Without a branch, as random digits take each half of the time.
    const TO_LETTERS: u8 = b'a' - b'0' - 10;
    [byte >> 4, byte & 15].map(|nibble| b'0' + nibble + TO_LETTERS * u8::from(nibble > 9))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_the_digits_that_the_standard_library_gives_it() {
        let bytes: Vec<u8> = (0..=u8::MAX).collect();
        let right = hex(&bytes);
        for (digits, byte) in right.as_bytes().chunks(2).zip(&bytes) {
            assert_eq!(digits, format!("{byte:02x}").as_bytes());
        }
        let mut written = [b'.'; 513];
        write_hex(&mut written, &bytes);
        assert_eq!(written[..512], *right.as_bytes());
        assert_eq!(written[512], b'.');
    }
}
