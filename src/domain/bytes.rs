//! Sets of bytes, looked up in one step: what a text may be made of is asked for every byte of it. Knows
//! no text.

/// A set of bytes.
#[derive(Clone, Debug)]
pub struct ByteSet([bool; 256]);

impl ByteSet {
    /// No byte.
    pub const EMPTY: Self = Self([false; 256]);

    /// ASCII letters and digits.
    pub const ALPHANUMERIC: Self =
        Self::EMPTY.with(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");

    /// What is seen of ASCII, and the space.
    pub const PRINTABLE: Self = Self::ALPHANUMERIC.with(b" !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~");

    /// The same set with these added.
    #[must_use]
    pub const fn with(self, bytes: &[u8]) -> Self {
        self.set(bytes, true)
    }

    /// The same set without these.
    #[must_use]
    pub const fn without(self, bytes: &[u8]) -> Self {
        self.set(bytes, false)
    }

    #[expect(
        clippy::as_conversions,
        clippy::indexing_slicing,
        reason = "a byte is a place in a table of 256, which a constant function cannot say otherwise"
    )]
    const fn set(mut self, bytes: &[u8], is_in: bool) -> Self {
        let mut rest = bytes;
        while let [first, others @ ..] = rest {
            self.0[*first as usize] = is_in;
            rest = others;
        }
        self
    }

    /// Whether the byte is in the set.
    #[inline]
    pub fn has(&self, byte: u8) -> bool {
        self.0.get(usize::from(byte)).copied().unwrap_or_default()
    }

    /// Whether all of these are. No early exit: a loop without a branch is faster.
    #[inline]
    pub fn has_all(&self, bytes: &[u8]) -> bool {
        bytes.iter().fold(true, |all, &byte| all & self.has(byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sets_are_those_of_ascii() {
        for byte in u8::MIN..=u8::MAX {
            let is_alphanumeric = byte.is_ascii_alphanumeric();
            assert_eq!(ByteSet::ALPHANUMERIC.has(byte), is_alphanumeric, "{byte}");
            let is_printable = matches!(byte, b' '..=b'~');
            assert_eq!(ByteSet::PRINTABLE.has(byte), is_printable, "{byte}");
        }
    }

    #[test]
    fn one_byte_outside_the_set_is_enough() {
        static SET: ByteSet = ByteSet::ALPHANUMERIC.with(b"-").without(b"z");
        assert!(SET.has_all(b"") && SET.has_all(b"a-Z0"));
        for other in [&b"z"[..], b"a-Z0_", b"\0abc", b"ab\xffc"] {
            assert!(!SET.has_all(other), "{other:?}");
        }
    }
}
