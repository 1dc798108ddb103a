//! Secrets as types that cannot be printed, compared in variable time or left behind in memory.
//! The only way out is `expose`, and each caller says why it needs it.

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize, Zeroizing};

use crate::domain::limits;

/// The AppSecret of a mini program (小程序密钥): proves the operator to WeChat.
#[derive(Clone)]
pub struct AppSecret(Zeroizing<String>);

impl AppSecret {
    /// Takes a secret text over.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The secret text.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether this is its text.
    pub fn is(&self, text: &str) -> bool {
        self.0.as_bytes().ct_eq(text.as_bytes()).into()
    }
}

impl fmt::Debug for AppSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AppSecret(..)")
    }
}

/// The Token of a message push (消息推送): whoever holds it can sign as WeChat does.
#[derive(Clone)]
pub struct PushToken(Zeroizing<String>);

impl PushToken {
    /// Takes a token of plausible shape: printable ASCII without spaces, at most
    /// [`limits::MAX_PUSH_TOKEN_BYTES`]. WeChat's console takes 3 to 32 letters and digits.
    pub fn parse(text: &str) -> Option<Self> {
        let plausible = !text.is_empty()
            && text.len() <= limits::MAX_PUSH_TOKEN_BYTES
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        plausible.then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// The token as text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PushToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PushToken(..)")
    }
}

/// The EncodingAESKey of a message push has this many characters.
const AES_KEY_CHARS: usize = 43;

/// 43 characters carry 258 bits and the key has 256: the last two are whatever WeChat's console drew,
/// and are zero in few keys. For this key alone are they not looked at.
const AES_KEY_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The EncodingAESKey of a message push (消息加解密密钥): encrypts what WeChat pushes.
#[derive(Clone)]
pub struct EncodingAesKey([u8; 32]);

impl EncodingAesKey {
    /// Takes the 43 characters that WeChat's console shows.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != AES_KEY_CHARS {
            return None;
        }
        let bytes = AES_KEY_BASE64.decode(text).map(Zeroizing::new).ok()?;
        bytes.as_slice().try_into().ok().map(Self)
    }

    /// The key's 32 bytes.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for EncodingAesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncodingAesKey(..)")
    }
}

impl Drop for EncodingAesKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Fewer bytes could be guessed by who holds what is sealed. 32 are the strength of the cipher.
const MIN_SEAL_KEY_BYTES: usize = 32;

/// Base64 as programs write it: either alphabet's padding may be missing.
const SEAL_KEY_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// An operator's key under which the gate seals what it keeps outside its process.
#[derive(Clone)]
pub struct SealKey(Zeroizing<Vec<u8>>);

impl SealKey {
    /// Takes at least 32 random bytes in base64. 32 bytes in hexadecimal are also 48 in base64, and
    /// no worse a key.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = SEAL_KEY_BASE64.decode(text).map(Zeroizing::new).ok()?;
        (bytes.len() >= MIN_SEAL_KEY_BYTES).then_some(Self(bytes))
    }

    /// Takes random bytes for a key.
    pub fn of(random: [u8; MIN_SEAL_KEY_BYTES]) -> Self {
        Self(Zeroizing::new(random.to_vec()))
    }

    /// Takes the key's bytes over.
    #[cfg(test)]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The key's bytes: not yet a key of any cipher.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(..)")
    }
}

/// The operator's keys: what is sealed, is under the current one.
#[derive(Clone, Debug)]
pub struct SealKeys {
    /// Seals and opens.
    pub current: SealKey,
    /// Opens what was sealed before the keys were changed.
    pub previous: Option<SealKey>,
}

/// A code from `wx.login`: whoever holds it can become the user until it is redeemed.
#[derive(Clone)]
pub struct LoginCode(Zeroizing<String>);

impl LoginCode {
    /// Takes a code of plausible shape: 1 to 128 characters of printable ASCII. WeChat promises no
    /// more about it.
    pub fn parse(text: &str) -> Option<Self> {
        let plausible = !text.is_empty()
            && text.len() <= limits::MAX_CODE_BYTES
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        plausible.then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// The code as text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for LoginCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoginCode(..)")
    }
}

/// A code of the phone button: whoever holds it can learn the user's phone number until it is used.
#[derive(Clone)]
pub struct PhoneCode(Zeroizing<String>);

impl PhoneCode {
    /// Takes a code of the shape of a [`LoginCode`], which it is not.
    pub fn parse(text: &str) -> Option<Self> {
        LoginCode::parse(text).map(|LoginCode(text)| Self(text))
    }

    /// The code as text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PhoneCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PhoneCode(..)")
    }
}

/// An access_token: whoever holds it can call WeChat in the mini program's name.
#[derive(Clone)]
pub struct AccessToken(Zeroizing<String>);

impl AccessToken {
    /// Takes a token of plausible shape over: 1 to 1024 characters of printable ASCII.
    pub fn parse(text: String) -> Option<Self> {
        let text = Zeroizing::new(text);
        let plausible = !text.is_empty()
            && text.len() <= limits::MAX_ACCESS_TOKEN_BYTES
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        plausible.then_some(Self(text))
    }

    /// The token as text.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether the other is the same token.
    pub fn is(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(..)")
    }
}

/// WeChat's session_key: 16 bytes that encrypt what `wx.getUserInfo` and its kin hand over.
#[derive(Clone)]
pub struct SessionKey([u8; 16]);

impl SessionKey {
    /// Takes the key's 16 bytes over.
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The key's 16 bytes.
    pub fn expose(&self) -> &[u8; 16] {
        &self.0
    }

    /// Whether the other is the same key.
    pub fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(..)")
    }
}

impl Drop for SessionKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_print() {
        let secret = AppSecret::new("planted".to_owned());
        let code = LoginCode::parse("planted").unwrap();
        let key = SessionKey::new(*b"planted-planted-");
        let token = AccessToken::parse("planted".to_owned()).unwrap();
        let phone = PhoneCode::parse("planted").unwrap();
        let printed = format!("{secret:?} {code:?} {key:?} {token:?} {phone:?}");
        assert!(!printed.contains("planted"), "{printed}");
        assert!(!printed.contains("112, 108"), "{printed}");
    }

    #[test]
    fn secrets_of_a_push_do_not_print() {
        let token = PushToken::parse("planted").unwrap();
        let key = EncodingAesKey::parse(&"A".repeat(43)).unwrap();
        assert_eq!(
            format!("{token:?} {key:?}"),
            "PushToken(..) EncodingAesKey(..)"
        );
    }

    #[test]
    fn a_seal_key_is_32_bytes_of_base64_or_more_and_does_not_print() {
        let hex = "0123456789abcdef".repeat(4);
        for right in [
            "JVPZFZKcXCuF3YeNFV+mm5cMLMYuhhwwyUFx3Gd/R0Q=",
            "JVPZFZKcXCuF3YeNFV+mm5cMLMYuhhwwyUFx3Gd/R0Q",
            &hex,
        ] {
            let key = SealKey::parse(right).unwrap();
            assert_eq!(format!("{key:?}"), "SealKey(..)");
        }
        for wrong in [
            "",
            "correct horse battery staple correct horse",
            "JVPZFZKcXCuF3YeNFV+mm5cMLMYuhhwwyUFx3Gd/Rw==",
            "JVPZFZKcXCuF3YeNFV+mm5cMLMYuhhwwyUFx3Gd/R0Q=\n",
        ] {
            assert!(SealKey::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_push_token_is_short_printable_ascii() {
        for wrong in ["", "a b", "a\nb", "密", &"a".repeat(129)] {
            assert!(PushToken::parse(wrong).is_none(), "{wrong}");
        }
        assert!(PushToken::parse("AAAAA").is_some());
    }

    #[test]
    fn a_login_code_is_short_printable_ascii() {
        assert!(LoginCode::parse("").is_none());
        assert!(LoginCode::parse("a b").is_none());
        assert!(LoginCode::parse("a\nb").is_none());
        assert!(LoginCode::parse(&"a".repeat(129)).is_none());
        assert!(LoginCode::parse("0716AVll20uHk94SLDml27etM946AVlq").is_some());
    }

    #[test]
    fn an_access_token_cannot_break_out_of_a_line() {
        for text in ["", "a b", "a\r\nb", &"a".repeat(1025)] {
            assert!(AccessToken::parse(text.to_owned()).is_none(), "{text:?}");
        }
        let token = |text: &str| AccessToken::parse(text.to_owned()).unwrap();
        assert!(token("a").is(&token("a")));
        assert!(!token("a").is(&token("ab")));
    }

    #[test]
    fn a_secret_is_another_when_one_byte_is() {
        let mut other = [1; 16];
        other[15] = 2;
        let key = SessionKey::new([1; 16]);
        assert!(key.is(&key.clone()) && !key.is(&SessionKey::new(other)));
        let secret = AppSecret::new("a secret".to_owned());
        assert!(secret.is("a secret") && !secret.is("a secreT") && !secret.is("a"));
    }
}
