//! Remembering what a login code led to without keeping the code: the answer to a repeated code
//! stands under the code's digest and is sealed with a key that only the code gives. Who holds the
//! memory of the gate but not the code can open nothing. Knows nothing of what the answer says, or
//! of how long it is kept.

use std::fmt;

use aes_gcm::aead::Aead as _;
use aes_gcm::{Aes256Gcm, KeyInit as _};
use hkdf::Hkdf;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::crypto::random;
use crate::domain::id::AppId;
use crate::domain::secret::LoginCode;

/// What the digest is for, hashed into it: the digest is not the key.
const DIGEST_LABEL: &[u8] = b"wxgate login code digest v1";

/// What the key is for, hashed into it: the key is not the digest.
const KEY_LABEL: &[u8] = b"wxgate login answer key v1";

/// The hash of a code of one mini program: a key for maps.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CodeDigest([u8; 32]);

impl CodeDigest {
    /// The digest of this code.
    pub fn of(app: &AppId, code: &LoginCode) -> Self {
        let mut sha256 = Sha256::new();
        // Lengths go first, so that no two sets of parts are hashed as the same bytes.
        // The code is exposed to be hashed.
        for part in [
            DIGEST_LABEL,
            app.as_str().as_bytes(),
            code.expose().as_bytes(),
        ] {
            sha256.update(part.len().to_be_bytes());
            sha256.update(part);
        }
        Self(sha256.finalize().into())
    }

    /// The 32 bytes of the hash.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for CodeDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CodeDigest(..)")
    }
}

/// An answer that opens only with the code that led to it.
#[derive(Clone)]
pub struct SealedAnswer {
    nonce: [u8; 12],
    ciphertext: Box<[u8]>,
}

impl SealedAnswer {
    /// Seals an answer under a code.
    pub fn seal(app: &AppId, code: &LoginCode, plaintext: &[u8]) -> Self {
        let nonce = random::bytes();
        let ciphertext = cipher(app, code)
            .encrypt(&nonce.into(), plaintext)
            // Only beyond 64 GiB (NIST SP 800-38D §5.2.1.1); such an answer is one that never opens.
            .unwrap_or_default();
        Self {
            nonce,
            ciphertext: ciphertext.into_boxed_slice(),
        }
    }

    /// The answer as bytes, no less sealed.
    pub fn to_bytes(&self) -> Vec<u8> {
        [&self.nonce[..], &self.ciphertext].concat()
    }

    /// An answer that was bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (nonce, ciphertext) = bytes.split_first_chunk()?;
        Some(Self {
            nonce: *nonce,
            ciphertext: ciphertext.into(),
        })
    }

    /// How much memory it takes, in bytes.
    pub fn size(&self) -> usize {
        self.ciphertext.len()
    }

    /// The answer, if this is the code it was sealed under.
    pub fn open(&self, app: &AppId, code: &LoginCode) -> Option<Zeroizing<Vec<u8>>> {
        cipher(app, code)
            .decrypt(&self.nonce.into(), self.ciphertext.as_ref())
            .map(Zeroizing::new)
            .ok()
    }
}

impl fmt::Debug for SealedAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedAnswer(..)")
    }
}

#[expect(
    clippy::expect_used,
    reason = "HKDF-SHA256 gives up to 8160 bytes (RFC 5869 §2.3), and 32 are asked for"
)]
fn cipher(app: &AppId, code: &LoginCode) -> Aes256Gcm {
    let mut key = Zeroizing::new([0; 32]);
    // The code is exposed to derive a key from it.
    Hkdf::<Sha256>::new(Some(KEY_LABEL), code.expose().as_bytes())
        .expand(app.as_str().as_bytes(), key.as_mut_slice())
        .expect("a key of 32 bytes");
    Aes256Gcm::new((&*key).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(text: &str) -> AppId {
        AppId::parse(text).unwrap()
    }

    fn code(text: &str) -> LoginCode {
        LoginCode::parse(text).unwrap()
    }

    #[test]
    fn an_answer_opens_with_its_own_code_and_mini_program_only() {
        let sealed = SealedAnswer::seal(&app("wx1"), &code("c1"), b"token");
        assert_eq!(
            sealed.open(&app("wx1"), &code("c1")).unwrap().as_slice(),
            b"token"
        );
        assert!(sealed.open(&app("wx2"), &code("c1")).is_none());
        assert!(sealed.open(&app("wx1"), &code("c2")).is_none());
    }

    #[test]
    fn an_answer_is_the_same_after_it_was_bytes() {
        let sealed = SealedAnswer::seal(&app("wx1"), &code("c1"), b"token");
        let again = SealedAnswer::from_bytes(&sealed.to_bytes()).unwrap();
        let opened = again.open(&app("wx1"), &code("c1")).unwrap();
        assert_eq!(opened.as_slice(), b"token");
        assert!(SealedAnswer::from_bytes(&[0; 11]).is_none());
    }

    #[test]
    fn a_changed_answer_does_not_open() {
        let sealed = SealedAnswer::seal(&app("wx1"), &code("c1"), b"token");
        for position in 0..sealed.ciphertext.len() {
            let mut changed = sealed.clone();
            changed.ciphertext[position] ^= 1;
            assert!(changed.open(&app("wx1"), &code("c1")).is_none());
        }
    }

    #[test]
    fn two_seals_of_one_answer_differ() {
        let seal = || SealedAnswer::seal(&app("wx1"), &code("c1"), b"token");
        assert_ne!(seal().ciphertext, seal().ciphertext);
    }

    #[test]
    fn a_digest_tells_mini_programs_and_codes_apart_wherever_the_border_lies() {
        let digest = |a, c| CodeDigest::of(&app(a), &code(c));
        assert_eq!(digest("wx1", "c1"), digest("wx1", "c1"));
        assert_ne!(digest("wx1", "c1"), digest("wx2", "c1"));
        assert_ne!(digest("wx1", "c1"), digest("wx1", "c2"));
        assert_ne!(digest("wx1", "1c1"), digest("wx11", "c1"));
    }

    #[test]
    fn the_digest_is_not_the_key() {
        let digest = CodeDigest::of(&app("wx1"), &code("c1"));
        let sealed = SealedAnswer::seal(&app("wx1"), &code("c1"), b"token");
        let with_digest = Aes256Gcm::new((&digest.0).into());
        let opened = with_digest.decrypt(&sealed.nonce.into(), sealed.ciphertext.as_ref());
        assert!(opened.is_err());
    }

    #[test]
    fn neither_prints_what_it_holds() {
        let digest = CodeDigest::of(&app("wx1"), &code("c1"));
        let sealed = SealedAnswer::seal(&app("wx1"), &code("c1"), b"token");
        assert_eq!(
            format!("{digest:?} {sealed:?}"),
            "CodeDigest(..) SealedAnswer(..)"
        );
    }
}
