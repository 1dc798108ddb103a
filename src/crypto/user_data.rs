//! Opening what `wx.getUserInfo`, `wx.getWeRunData` and their kin hand over as `encryptedData`.
//!
//! The encryption carries no proof of origin: it is CBC without a MAC, so a client that holds a
//! ciphertext can change parts of it, and one that learns *which* check failed can write any text.
//! Therefore the identity of a user never comes from here, and the errors are for counting and for
//! the log: to a client they must all look the same. Which keys to try is the caller's business.

use std::time::Duration;

use aes::Aes128;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cbc::cipher::{Block, BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _};
use serde_json::{Map, Value};
use subtle::{Choice, ConstantTimeEq as _, ConstantTimeGreater as _};
use zeroize::Zeroizing;

use crate::crypto::json::{self, JsonError};
use crate::domain::clock::Timestamp;
use crate::domain::id::{AppId, OpenId};
use crate::domain::limits;
use crate::domain::secret::SessionKey;

/// What opened data must say about itself.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The mini program that the watermark must name.
    pub app: &'a AppId,
    /// The user that `openId` must name, where the data has one. `None` does not look.
    pub openid: Option<&'a OpenId>,
    /// The present moment.
    pub now: Timestamp,
    /// How old the data may be. `None` does not look at the time at all.
    pub max_age: Option<Duration>,
}

/// Why data was not opened: the client's doing, or a `session_key` that is no longer the one it was
/// made with. Not for the client, see the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserDataError {
    /// A field is not base64 of the standard alphabet with padding.
    #[error("a field is not standard base64")]
    BadBase64,
    /// The ciphertext is empty or not whole blocks.
    #[error("the ciphertext is not one or more whole blocks")]
    BadCiphertextLength,
    /// The iv is not 16 bytes.
    #[error("the iv is not 16 bytes")]
    BadIvLength,
    /// The text is not JSON: with odds of about 1 in 256, what a stale key leads to.
    #[error("the plaintext is not JSON")]
    BadJson,
    /// The padding is not PKCS#7 for blocks of 16: mostly what a stale key leads to.
    #[error("the padding is wrong")]
    BadPadding,
    /// The plaintext is not UTF-8.
    #[error("the plaintext is not UTF-8")]
    BadUtf8,
    /// An object names a key twice.
    #[error("the plaintext names a key twice")]
    DuplicateKey,
    /// The JSON is not an object.
    #[error("the plaintext is not a JSON object")]
    NotObject,
    /// `openId` names somebody else.
    #[error("the openId is not that of the session")]
    OpenidMismatch,
    /// The watermark names another mini program.
    #[error("the watermark names another appid")]
    WatermarkAppidMismatch,
    /// The watermark lies further in the future than clocks may differ.
    #[error("the watermark lies in the future")]
    WatermarkFuture,
    /// There is no watermark, or it lacks what is looked for.
    #[error("the watermark is missing or incomplete")]
    WatermarkMissing,
    /// The watermark is older than allowed.
    #[error("the watermark is too old")]
    WatermarkStale,
}

impl UserDataError {
    /// A stable name, for counting.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BadBase64 => "bad_base64",
            Self::BadCiphertextLength => "bad_ciphertext_length",
            Self::BadIvLength => "bad_iv_length",
            Self::BadJson => "bad_json",
            Self::BadPadding => "bad_padding",
            Self::BadUtf8 => "bad_utf8",
            Self::DuplicateKey => "duplicate_key",
            Self::NotObject => "not_object",
            Self::OpenidMismatch => "openid_mismatch",
            Self::WatermarkAppidMismatch => "watermark_appid_mismatch",
            Self::WatermarkFuture => "watermark_future",
            Self::WatermarkMissing => "watermark_missing",
            Self::WatermarkStale => "watermark_stale",
        }
    }
}

impl From<JsonError> for UserDataError {
    fn from(error: JsonError) -> Self {
        match error {
            JsonError::Invalid => Self::BadJson,
            JsonError::NotObject => Self::NotObject,
            JsonError::DuplicateKey => Self::DuplicateKey,
        }
    }
}

/// Opens `encryptedData` with its `iv`, and gives the JSON text exactly as it was encrypted.
///
/// The order of the checks is fixed, so that data with several faults has one name for them.
pub fn open(
    key: &SessionKey,
    iv: &str,
    encrypted_data: &str,
    expected: &Expected<'_>,
) -> Result<String, UserDataError> {
    let iv =
        <[u8; BLOCK_BYTES]>::try_from(decode(iv)?).map_err(|_length| UserDataError::BadIvLength)?;
    let text = decrypt(key, &iv, decode(encrypted_data)?)?;
    let object = json::object(&text)?;
    check_watermark(&object, expected)?;
    check_openid(&object, expected)?;
    Ok(text)
}

/// Encrypts as WeChat does, giving `encryptedData`: for the simulated WeChat and for tests.
pub fn seal(key: &SessionKey, iv: &[u8; 16], plaintext: &str) -> String {
    let mut data = Zeroizing::new(plaintext.as_bytes().to_vec());
    // PKCS#7 (RFC 5652 §6.3): as many bytes as are missing, each saying how many; never none.
    let length = data.len();
    let padding = BLOCK_BYTES - length % BLOCK_BYTES;
    // It is 16 at most.
    let pad_byte = u8::try_from(padding).unwrap_or_default();
    data.resize(length + padding, pad_byte);
    // Exposed to encrypt with it.
    let mut cipher = cbc::Encryptor::<Aes128>::new(key.expose().into(), iv.into());
    cipher.encrypt_blocks(Block::<Aes128>::slice_as_chunks_mut(&mut data).0);
    STANDARD.encode(data.as_slice())
}

fn decode(field: &str) -> Result<Vec<u8>, UserDataError> {
    STANDARD
        .decode(field)
        // The cause adds a position, which nobody can use.
        .map_err(|_cause| UserDataError::BadBase64)
}

fn decrypt(
    key: &SessionKey,
    iv: &[u8; BLOCK_BYTES],
    mut data: Vec<u8>,
) -> Result<String, UserDataError> {
    let (blocks, rest) = Block::<Aes128>::slice_as_chunks_mut(&mut data);
    if blocks.is_empty() || !rest.is_empty() {
        return Err(UserDataError::BadCiphertextLength);
    }
    // Exposed to decrypt with it.
    let mut cipher = cbc::Decryptor::<Aes128>::new(key.expose().into(), iv.into());
    cipher.decrypt_blocks(blocks);
    let length = unpadded_length(&data).ok_or(UserDataError::BadPadding)?;
    data.truncate(length);
    // The cause holds the plaintext.
    String::from_utf8(data).map_err(|_cause| UserDataError::BadUtf8)
}

/// How long the text before the padding is (PKCS#7 for blocks of 16). Looks at the whole last block
/// whatever it holds, so that the time it takes does not tell how much of the padding was right.
fn unpadded_length(plain: &[u8]) -> Option<usize> {
    let last = plain.last_chunk::<BLOCK_BYTES>()?;
    let count = last[BLOCK_BYTES - 1];
    let mut right: Choice = !count.ct_eq(&0) & !count.ct_gt(&PAD_BYTES[BLOCK_BYTES - 1]);
    for (from_end, byte) in PAD_BYTES.iter().zip(last.iter().rev()) {
        let belongs_to_text = from_end.ct_gt(&count);
        right &= belongs_to_text | byte.ct_eq(&count);
    }
    bool::from(right).then(|| plain.len().saturating_sub(usize::from(count)))
}

fn check_watermark(
    object: &Map<String, Value>,
    expected: &Expected<'_>,
) -> Result<(), UserDataError> {
    let watermark = object
        .get("watermark")
        .and_then(Value::as_object)
        .ok_or(UserDataError::WatermarkMissing)?;
    let appid = watermark
        .get("appid")
        .and_then(Value::as_str)
        .ok_or(UserDataError::WatermarkMissing)?;
    // An `AppId` is never empty, so an empty appid in the data matches none.
    if appid != expected.app.as_str() {
        return Err(UserDataError::WatermarkAppidMismatch);
    }
    let Some(max_age) = expected.max_age else {
        return Ok(());
    };
    let made = watermark
        .get("timestamp")
        .and_then(seconds)
        .ok_or(UserDataError::WatermarkMissing)?;
    check_age(made, expected.now, max_age)
}

/// Checks the time of a watermark, in seconds since 1970.
pub fn check_age(made: u64, now: Timestamp, max_age: Duration) -> Result<(), UserDataError> {
    let now = now.as_secs();
    if made > now.saturating_add(limits::WATERMARK_SKEW.as_secs()) {
        return Err(UserDataError::WatermarkFuture);
    }
    if made.saturating_add(max_age.as_secs()) < now {
        return Err(UserDataError::WatermarkStale);
    }
    Ok(())
}

/// Whole seconds since 1970: WeChat documents a number, and a number in a string is tolerated.
fn seconds(timestamp: &Value) -> Option<u64> {
    match timestamp {
        Value::Number(number) => number.as_u64(),
        // Digits only: `parse` alone would take a plus sign.
        Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    }
}

fn check_openid(object: &Map<String, Value>, expected: &Expected<'_>) -> Result<(), UserDataError> {
    match (expected.openid, object.get("openId")) {
        // Phone numbers, steps and group ids come without an openId.
        (None, _) | (Some(_), None) => Ok(()),
        (Some(openid), Some(Value::String(text))) if text == openid.as_str() => Ok(()),
        (Some(_), Some(_)) => Err(UserDataError::OpenidMismatch),
    }
}

/// The block of AES, which is also the length of the iv.
const BLOCK_BYTES: usize = 16;

/// The bytes that PKCS#7 may pad such a block with.
const PAD_BYTES: [u8; BLOCK_BYTES] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
