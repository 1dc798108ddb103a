//! Keys that sign what a request says, for whoever shares them: HMAC-SHA256 (RFC 2104) over lines of
//! text. Knows nothing of what the lines say.

use std::fmt;

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};

use crate::domain::hex::write_hex;

/// A key that is shared with the app server. Does not print; the library wipes it.
///
/// By the library that also does TLS: it is quick on every processor, and keeps the key digested.
pub struct ProofKey(Key);

impl ProofKey {
    /// From a secret text, as it is.
    pub fn new(secret: &[u8]) -> Self {
        Self(Key::new(HMAC_SHA256, secret))
    }

    /// The signature of these lines, joined by line feeds, in lower-case hex. No line may hold one.
    pub fn sign(&self, lines: &[&[u8]]) -> [u8; 64] {
        let signature = sign(&self.0, &lines.join(&b'\n'));
        let mut digits = [0; 64];
        write_hex(&mut digits, signature.as_ref());
        digits
    }
}

impl fmt::Debug for ProofKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProofKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    use sha2::Sha256;

    use super::*;
    use crate::domain::hex::hex;

    #[test]
    fn a_signature_is_the_hmac_of_all_lines() {
        let lines = ["v1", "", "GET", "/a?b", ""].map(str::as_bytes);
        let mut mac = Hmac::<Sha256>::new_from_slice(b"planted").unwrap();
        mac.update(b"v1\n\nGET\n/a?b\n");
        let expected = hex(&mac.finalize().into_bytes());
        let signed = ProofKey::new(b"planted").sign(&lines);
        assert_eq!(signed, expected.as_bytes());
    }

    #[test]
    fn a_key_does_not_print() {
        let printed = format!("{:?}", ProofKey::new(b"planted"));
        assert_eq!(printed, "ProofKey(..)");
    }
}
