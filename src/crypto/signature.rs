//! The two signatures that WeChat keys with a `session_key`. Both use its base64 text, not its 16
//! bytes: WeChat's published examples come out in no other way. Knows nothing of which key is
//! current.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::crypto::session_key;
use crate::domain::hex::hex;
use crate::domain::secret::SessionKey;

/// The `signature` that goes with `rawData`: SHA-1 over the text as received and the key, in
/// lower-case hex. A text that was parsed and written again has another one.
pub fn raw_data(raw: &str, key: &SessionKey) -> String {
    let mut sha1 = Sha1::new();
    sha1.update(raw);
    sha1.update(session_key::text(key).as_bytes());
    hex(&sha1.finalize())
}

/// Whether this is the `signature` of `rawData`: exactly 40 lower-case hex digits, compared in
/// constant time.
pub fn verify_raw_data(raw: &str, key: &SessionKey, signature: &str) -> bool {
    raw_data(raw, key)
        .as_bytes()
        .ct_eq(signature.as_bytes())
        .into()
}

/// The `signature` of calls in a user's name (`wxa/checksession` and its kin): HMAC-SHA256 over the
/// body, or over nothing when the call is a GET, in lower-case hex.
#[expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "HMAC takes keys of any length (RFC 2104 §2)"
)]
pub fn session(key: &SessionKey, message: &[u8]) -> String {
    let text = session_key::text(key);
    let mut mac = Hmac::<Sha256>::new_from_slice(text.as_bytes()).expect("a key of any length");
    mac.update(message);
    hex(&mac.finalize().into_bytes())
}
