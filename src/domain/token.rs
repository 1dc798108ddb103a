//! The session token: what a client shows to be taken for its user. Only its shape is known here;
//! making and hashing tokens is the business of `crypto::token`.

use std::borrow::Cow;
use std::fmt;

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::domain::bytes::ByteSet;

/// What every token begins with, so that people and secret scanners recognise it.
pub const PREFIX: &str = "wxg_";

/// Characters after the prefix: 256 bits in base64url without padding.
pub const BODY_CHARS: usize = 43;

/// The characters of base64url (RFC 4648 §5).
static BODY: ByteSet = ByteSet::ALPHANUMERIC.with(b"-_");

/// The whole token, in bytes.
pub const TOKEN_BYTES: usize = PREFIX.len() + BODY_CHARS;

/// Characters after the prefix from which on a text is taken for a token or much of one.
const TELLING_CHARS: usize = 16;

/// An opaque session token of exact shape: `wxg_` and 43 base64url characters. That it has the
/// shape says nothing about a session behind it.
///
/// In a box: it is passed from hand to hand, and would leave a copy behind wherever it had been.
#[derive(Clone)]
pub struct SessionToken(Box<Zeroizing<[u8; TOKEN_BYTES]>>);

impl SessionToken {
    /// Takes a text of exact shape.
    pub fn parse(text: &str) -> Option<Self> {
        Self::from_bytes(text.as_bytes())
    }

    /// Takes bytes of exact shape.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; TOKEN_BYTES] = bytes.try_into().ok()?;
        // The prefix is of the same alphabet.
        let exact = bytes.starts_with(PREFIX.as_bytes()) && BODY.has_all(bytes);
        exact.then(|| Self(Box::new(Zeroizing::new(*bytes))))
    }

    /// The token as bytes.
    pub fn expose_bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// Whether the other is the same token.
    pub fn is(&self, other: &Self) -> bool {
        self.expose_bytes().ct_eq(other.expose_bytes()).into()
    }

    /// The token as text.
    pub fn expose(&self) -> &str {
        // Invariant of the type: ASCII and nothing else.
        std::str::from_utf8(self.expose_bytes()).unwrap_or_default()
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken(..)")
    }
}

/// The text without the tokens in it, whole or in large part. For what is written down of a
/// request: a client can put its token anywhere, also into a path.
pub fn mask(text: &str) -> Cow<'_, str> {
    let has_one = |text: &str| text.as_bytes().windows(4).any(|four| four == b"wxg_");
    if !has_one(text) {
        return Cow::Borrowed(text);
    }
    let mut masked = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(PREFIX) {
        rest = after.trim_start_matches(|char| u8::try_from(char).is_ok_and(|byte| BODY.has(byte)));
        let body = after.strip_suffix(rest).unwrap_or(after);
        let told = if body.len() < TELLING_CHARS {
            body
        } else {
            "***"
        };
        for part in [before, PREFIX, told] {
            masked.push_str(part);
        }
    }
    masked.push_str(rest);
    Cow::Owned(masked)
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

    #[test]
    fn a_token_is_another_when_one_character_is() {
        let token = |last: &str| {
            let text = format!("wxg_{}{last}", "A".repeat(BODY_CHARS - 1));
            SessionToken::parse(&text).unwrap()
        };
        assert!(token("A").is(&token("A")));
        assert!(!token("A").is(&token("B")));
    }

    #[test]
    fn a_token_is_masked_wherever_it_stands_and_nothing_else_is() {
        let token = format!("wxg_{}", "A".repeat(BODY_CHARS));
        let check = |text: &str, expect: &str| assert_eq!(mask(text), expect, "{text}");
        check("/me", "/me");
        check("/wxg_docs/wxg_", "/wxg_docs/wxg_");
        check(&token, "wxg_***");
        check(&format!("/ws/{token}/x"), "/ws/wxg_***/x");
        check(&format!("/{token},{token}"), "/wxg_***,wxg_***");
        check(&format!("/wxg_{token}你"), "/wxg_***你");
        check(token.get(..30).unwrap(), "wxg_***");
    }
}
