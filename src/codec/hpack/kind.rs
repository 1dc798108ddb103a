//! What a field is, as far as HTTP/2 wants to know it (RFC 9113 §8.2). Looked at once, when a
//! field is written out; one that comes from a table is known already.

/// What a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Its name or value has a character that none may have, or white space around the value.
    Illegal,
    /// Nothing more to be said.
    Plain,
    /// Its name begins with a colon.
    Pseudo,
    /// It says something of the message or the connection, and has to be looked at.
    Special,
}

/// Which bytes a name may have: those of a token, without the capital letters.
const NAME_BYTES: [bool; 256] = name_bytes();

#[expect(
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "the compiler runs this, and would stop"
)]
const fn name_bytes() -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(
            byte as u8,
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'!' | b'#' | b'$' | b'%' | b'&'
                | b'\'' | b'*' | b'+' | b'^' | b'`' | b'|' | b'~'
        );
        byte += 1;
    }
    table
}

impl Kind {
    /// Of a field.
    pub fn of(name: &[u8], value: &[u8]) -> Self {
        if !is_value(value) {
            return Self::Illegal;
        }
        let (is_pseudo, name) = match name.strip_prefix(b":") {
            Some(rest) => (true, rest),
            None => (false, name),
        };
        if !is_name(name) {
            return Self::Illegal;
        }
        match name {
            _ if is_pseudo => Self::Pseudo,
            b"connection" | b"content-length" | b"host" | b"keep-alive" | b"proxy-connection"
            | b"te" | b"transfer-encoding" | b"upgrade" => Self::Special,
            _ => Self::Plain,
        }
    }
}

// Both look at every byte, without a branch for each: the compiler takes many at once.

fn is_name(name: &[u8]) -> bool {
    let allowed = |&byte: &u8| NAME_BYTES.get(usize::from(byte)).copied().unwrap_or(false);
    !name.is_empty() && name.iter().fold(true, |good, byte| good & allowed(byte))
}

fn is_value(value: &[u8]) -> bool {
    let around = [value.first(), value.last()];
    let blank = around.iter().any(|end| matches!(end, Some(b' ' | b'\t')));
    let bad = |byte: u8| byte != b'\t' && (byte < b' ' || byte == 0x7f);
    !blank && !value.iter().fold(false, |found, &byte| found | bad(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_have_no_characters_that_none_may_have() {
        for byte in 0..=255_u8 {
            let name = [b'x', byte];
            let token = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            let legal = token && !byte.is_ascii_uppercase();
            assert_eq!(Kind::of(&name, b"1") == Kind::Plain, legal, "{byte}");
            let legal = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
            let value = [b'1', byte, b'2'];
            assert_eq!(Kind::of(b"x", &value) == Kind::Plain, legal, "{byte}");
        }
        for value in [" 1", "1 ", "\t1", "1\t", " "] {
            assert_eq!(Kind::of(b"x", value.as_bytes()), Kind::Illegal);
        }
        assert_eq!(Kind::of(b"", b""), Kind::Illegal);
        assert_eq!(Kind::of(b":", b""), Kind::Illegal);
        assert_eq!(Kind::of(b":path", b""), Kind::Pseudo);
        assert_eq!(Kind::of(b"x", b""), Kind::Plain);
    }
}
