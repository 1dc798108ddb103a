//! Making session tokens and hashing them. Knows nothing of the sessions behind them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::crypto::random;
use crate::domain::token::{PREFIX, SessionToken, TokenDigest};

/// Tokens that are drawn for one that fits. Where one in 256 does, none among these would be rarer than
/// a token that is guessed.
const MAX_DRAWS: u32 = 1 << 16;

/// A new token: 256 random bits.
///
/// # Panics
///
/// When the operating system has no randomness to give.
#[expect(
    clippy::expect_used,
    reason = "32 bytes in base64url without padding are 43 characters: always a token's shape"
)]
pub fn issue() -> SessionToken {
    let secret = Zeroizing::new(random::bytes::<32>());
    let mut text = Zeroizing::new(String::with_capacity(64));
    text.push_str(PREFIX);
    URL_SAFE_NO_PAD.encode_string(secret.as_slice(), &mut text);
    SessionToken::parse(&text).expect("a new token has a token's shape")
}

/// Draws tokens until one has a digest that fits. Of a digest that one in 256 has, that takes a tenth
/// of a millisecond, and costs the token 8 of its 256 bits.
pub fn issue_fitting(fits: impl Fn(&TokenDigest) -> bool) -> (SessionToken, TokenDigest) {
    let mut drawn = 0;
    loop {
        let token = issue();
        let digest = digest(&token);
        drawn += 1;
        if fits(&digest) || drawn == MAX_DRAWS {
            return (token, digest);
        }
    }
}

/// The hash under which a token's session is stored. Plain SHA-256 is enough: there is nothing to
/// guess among 256 random bits, so nothing that salt or slowness would protect.
///
/// # Panics
///
/// Never: SHA-256 has 32 bytes.
#[expect(
    clippy::expect_used,
    reason = "SHA-256 has 32 bytes; any default would be a digest"
)]
pub fn digest(token: &SessionToken) -> TokenDigest {
    // Exposed to be hashed. By the library that also does TLS: it is quick on every processor, and
    // this is done for every request.
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.expose_bytes());
    TokenDigest::new(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"))
}

/// Says what the hash below is for, so that it is never the hash of anything else.
const SESSION_ID: &[u8] = b"wxgate session id v1";

/// A name for the session behind a digest that may be told to others: it opens nothing, and leads back
/// neither to the token nor to the digest. 128 bits are enough for no two sessions to share one.
pub fn session_id(digest: &TokenDigest) -> [u8; 16] {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    context.update(SESSION_ID);
    context.update(digest.as_bytes());
    let hash = context.finish();
    let mut id = [0; 16];
    for (byte, hashed) in id.iter_mut().zip(hash.as_ref()) {
        *byte = *hashed;
    }
    id
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    #[test]
    fn two_tokens_differ_and_so_do_their_digests() {
        let (one, other) = (issue(), issue());
        assert_ne!(one.expose(), other.expose());
        assert_ne!(digest(&one), digest(&other));
        assert_eq!(digest(&one), digest(&one));
    }

    #[test]
    fn a_token_is_drawn_until_it_fits() {
        let (token, drawn) = issue_fitting(|digest| digest.as_bytes()[0] == 7);
        assert_eq!(digest(&token), drawn);
        assert_eq!(drawn.as_bytes()[0], 7);
    }

    #[test]
    fn where_nothing_fits_drawing_comes_to_an_end() {
        let (token, drawn) = issue_fitting(|_| false);
        assert_eq!(digest(&token), drawn);
    }

    #[test]
    fn a_digest_is_the_sha256_of_the_whole_text() {
        let token = SessionToken::parse(&format!("wxg_{}", "A".repeat(43))).unwrap();
        let expected: [u8; 32] = Sha256::digest(format!("wxg_{}", "A".repeat(43))).into();
        assert_eq!(digest(&token).as_bytes(), &expected);
    }
}
