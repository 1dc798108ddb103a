//! WeChat's `session_key` as text: how it arrives, and what WeChat's signatures are keyed with.
//! Knows nothing of which key belongs to whom, or which is current.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::domain::secret::SessionKey;

/// Why a text is not a `session_key`. Does not repeat the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionKeyError {
    /// Not base64 of the standard alphabet with padding.
    #[error("the session_key is not standard base64")]
    BadBase64,
    /// Not 16 bytes. 24 and 32 would be AES keys too, but WeChat never gives them.
    #[error("the session_key is not 16 bytes")]
    BadLength,
}

/// Takes the text that `sns/jscode2session` calls `session_key`.
pub fn parse(text: &str) -> Result<SessionKey, SessionKeyError> {
    let bytes = STANDARD
        .decode(text)
        .map(Zeroizing::new)
        // The cause would name a byte of the secret.
        .map_err(|_cause| SessionKeyError::BadBase64)?;
    let key = <[u8; 16]>::try_from(bytes.as_slice())
        .map(Zeroizing::new)
        .map_err(|_length| SessionKeyError::BadLength)?;
    Ok(SessionKey::new(*key))
}

/// The key as WeChat wrote it. Strict base64 has one text per key, so this is the text that
/// [`parse`] took.
pub fn text(key: &SessionKey) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(24));
    // Exposed to be written in the other form; the result is wiped as well.
    STANDARD.encode_string(key.expose(), &mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_key_is_the_text_it_came_from() {
        let wire = "o0q0otL8aEzpcZL/FT9WsQ==";
        assert_eq!(text(&parse(wire).unwrap()).as_str(), wire);
    }

    #[test]
    fn only_strict_base64_of_16_bytes_is_a_key() {
        for (wrong, error) in [
            ("", SessionKeyError::BadLength),
            ("o0q0otL8aEzpcZL/FT9WsQ", SessionKeyError::BadBase64),
            ("o0q0otL8aEzpcZL_FT9WsQ==", SessionKeyError::BadBase64),
            ("o0q0otL8aEzpcZL/FT9WsR==", SessionKeyError::BadBase64),
            ("o0q0otL8aEzpcZL/FT9WsQ==\n", SessionKeyError::BadBase64),
            ("o0q0otL8aEzpcZL/FT9W", SessionKeyError::BadLength),
        ] {
            assert_eq!(parse(wrong).unwrap_err(), error, "{wrong}");
        }
    }
}
