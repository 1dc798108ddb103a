//! The session token: what a client shows to be taken for its user. Only its shape is known here;
//! making and hashing tokens is the business of `crypto::token`.

use std::fmt;

use zeroize::Zeroizing;

/// What every token begins with, so that people and secret scanners recognise it.
pub const PREFIX: &str = "wxg_";

/// Characters after the prefix: 256 bits in base64url without padding.
pub const BODY_CHARS: usize = 43;

/// An opaque session token of exact shape: `wxg_` and 43 base64url characters. That it has the
/// shape says nothing about a session behind it.
#[derive(Clone)]
pub struct SessionToken(Zeroizing<String>);

impl SessionToken {
    /// Takes a text of exact shape.
    pub fn parse(text: &str) -> Option<Self> {
        let body = text.strip_prefix(PREFIX)?;
        let exact = body.len() == BODY_CHARS
            && body
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        exact.then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// The token as text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken(..)")
    }
}

/// The hash of a token, under which a session is stored: a stolen copy of the store opens nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// Takes a SHA-256 over.
    pub fn new(sha256: [u8; 32]) -> Self {
        Self(sha256)
    }

    /// The 32 bytes of the hash.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_shape_is_a_token() {
        let body = "A".repeat(BODY_CHARS);
        assert!(SessionToken::parse(&format!("wxg_{body}")).is_some());
        for wrong in [
            String::new(),
            "wxg_".to_owned(),
            body.clone(),
            format!("WXG_{body}"),
            format!("wxg_{body}A"),
            format!("wxg_{}", "A".repeat(BODY_CHARS - 1)),
            format!("wxg_{}=", "A".repeat(BODY_CHARS - 1)),
            format!("wxg_{}+", "A".repeat(BODY_CHARS - 1)),
            format!(" wxg_{body}"),
        ] {
            assert!(SessionToken::parse(&wrong).is_none(), "{wrong}");
        }
    }
}
