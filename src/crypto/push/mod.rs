//! What WeChat pushes to a developer's server (消息推送): its signatures, and messages encrypted in
//! its own framing.
//!
//! The encryption alone proves nothing: it is CBC without a MAC. What proves that WeChat wrote a
//! message is `msg_signature`, which covers the ciphertext; so nothing is decrypted before that was
//! compared. `signature` covers no body at all. The errors are for the log: to whoever sent a push
//! they must all look the same. Knows nothing of requests, or of what a message says.

mod digest;

pub use digest::PushDigest;

use aes::Aes256;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cbc::cipher::{Block, BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _};
use serde::Serialize;
use sha1::{Digest as _, Sha1};
use subtle::ConstantTimeEq as _;

use crate::domain::hex::hex;
use crate::domain::id::AppId;
use crate::domain::secret::{EncodingAesKey, PushToken};

/// Messages are padded to blocks of 32 bytes, twice those of AES.
const PAD_BLOCK_BYTES: usize = 32;

/// What stands before a message, in bytes: random ones.
const RANDOM_BYTES: usize = 16;

/// Why a pushed message was not opened: whoever sent it is not WeChat, or the configuration is not
/// that of WeChat's console. Not for the sender, see the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// `Encrypt` is not base64 of the standard alphabet with padding.
    #[error("Encrypt is not standard base64")]
    BadBase64,
    /// The ciphertext is empty or not whole blocks of AES.
    #[error("the ciphertext is not one or more whole blocks")]
    BadCiphertextLength,
    /// The plaintext is shorter than it says itself.
    #[error("the length of the message does not fit")]
    BadMsgLen,
    /// The padding is not 1 to 32 bytes that say how many they are: mostly what another key leads to.
    #[error("the padding is wrong")]
    BadPadding,
    /// The message is not UTF-8.
    #[error("the message is not UTF-8")]
    BadUtf8,
    /// The message is for another mini program.
    #[error("the message is for another appid")]
    ReceiveIdMismatch,
    /// The signature is not that of this token.
    #[error("the signature is not right")]
    SignatureMismatch,
}

/// What a signature covers beside the token: parameters of the query, as they came.
#[derive(Clone, Copy, Debug)]
pub struct Stamp<'a> {
    /// Seconds since 1970, as text.
    pub timestamp: &'a str,
    /// Anything.
    pub nonce: &'a str,
}

/// What opens the pushes for one mini program.
#[derive(Clone, Copy, Debug)]
pub struct AppKeys<'a> {
    /// The mini program.
    pub app: &'a AppId,
    /// What WeChat signs with.
    pub token: &'a PushToken,
    /// What WeChat encrypts with.
    pub current: &'a EncodingAesKey,
    /// What it encrypted with before that.
    pub previous: Option<&'a EncodingAesKey>,
}

/// A pushed message in the clear.
#[derive(Debug)]
pub struct Opened<'a> {
    /// The message exactly as it was encrypted.
    pub message: String,
    /// The key that opened it, which is the one for the answer.
    pub key: &'a EncodingAesKey,
}

/// Whether this is the `signature` of a stamp: exactly 40 lower-case hex digits, compared in constant
/// time. It says that WeChat wrote the stamp, and nothing of the body that came with it.
pub fn verify_stamp(token: &PushToken, stamp: Stamp<'_>, signature: &str) -> bool {
    let right = sign(&mut [token.expose(), stamp.timestamp, stamp.nonce]);
    right.as_bytes().ct_eq(signature.as_bytes()).into()
}

/// The `msg_signature` of a ciphertext.
pub fn msg_signature(token: &PushToken, stamp: Stamp<'_>, encrypt: &str) -> String {
    // Exposed to sign with it.
    sign(&mut [token.expose(), stamp.timestamp, stamp.nonce, encrypt])
}

/// SHA-1 over the parts in the order of their bytes, with nothing between them, in lower-case hex.
fn sign(parts: &mut [&str]) -> String {
    parts.sort_unstable();
    let mut sha1 = Sha1::new();
    for part in parts {
        sha1.update(part);
    }
    hex(&sha1.finalize())
}

/// Opens `Encrypt`, the text exactly as it stood in the body. Both keys are tried.
///
/// The order of the checks is fixed, so that a push with several faults has one name for them: that
/// of the current key.
pub fn open<'a>(
    keys: AppKeys<'a>,
    stamp: Stamp<'_>,
    encrypt: &str,
    signature: &str,
) -> Result<Opened<'a>, PushError> {
    let right = msg_signature(keys.token, stamp, encrypt);
    if !bool::from(right.as_bytes().ct_eq(signature.as_bytes())) {
        return Err(PushError::SignatureMismatch);
    }
    let data = STANDARD
        .decode(encrypt)
        // The cause adds a position, which nobody can use.
        .map_err(|_cause| PushError::BadBase64)?;
    let with = |key, data| {
        let message = decrypt(key, data, keys.app)?;
        Ok(Opened { message, key })
    };
    match keys.previous {
        None => with(keys.current, data),
        Some(previous) => with(keys.current, data.clone())
            .or_else(|why| with(previous, data).map_err(|_of_previous| why)),
    }
}

fn decrypt(key: &EncodingAesKey, mut data: Vec<u8>, app: &AppId) -> Result<String, PushError> {
    let (blocks, rest) = Block::<Aes256>::slice_as_chunks_mut(&mut data);
    if blocks.is_empty() || !rest.is_empty() {
        return Err(PushError::BadCiphertextLength);
    }
    // Exposed to decrypt with it.
    cbc::Decryptor::<Aes256>::new(key.expose().into(), iv(key).into()).decrypt_blocks(blocks);
    unframe(unpad(&data)?, app)
}

/// The iv is the first half of the key.
fn iv(key: &EncodingAesKey) -> &[u8; 16] {
    // 32 bytes have 16 first ones.
    key.expose().first_chunk().unwrap_or(&[0; 16])
}

/// What is left without the padding: 1 to 32 bytes, each saying how many they are. Something must be
/// left.
fn unpad(plain: &[u8]) -> Result<&[u8], PushError> {
    let count = plain.last().map_or(0, |&last| usize::from(last));
    if !(1..=PAD_BLOCK_BYTES).contains(&count) {
        return Err(PushError::BadPadding);
    }
    let at = plain
        .len()
        .checked_sub(count)
        .filter(|&length| length > 0)
        .ok_or(PushError::BadPadding)?;
    let (text, padding) = plain.split_at(at);
    let right = padding.iter().all(|&byte| usize::from(byte) == count);
    right.then_some(text).ok_or(PushError::BadPadding)
}

/// `random | length of the message, 4 bytes, big endian | message | receive_id`.
fn unframe(framed: &[u8], app: &AppId) -> Result<String, PushError> {
    let after_random = framed.get(RANDOM_BYTES..).ok_or(PushError::BadMsgLen)?;
    let (length, rest) = after_random
        .split_first_chunk::<4>()
        .ok_or(PushError::BadMsgLen)?;
    let length = usize::try_from(u32::from_be_bytes(*length))
        // On machines of 16 bits.
        .map_err(|_too_long| PushError::BadMsgLen)?;
    let (message, receive_id) = rest.split_at_checked(length).ok_or(PushError::BadMsgLen)?;
    // An `AppId` is never empty, so a message for nobody is not for this one.
    if receive_id != app.as_str().as_bytes() {
        return Err(PushError::ReceiveIdMismatch);
    }
    let message = std::str::from_utf8(message).map_err(|_position| PushError::BadUtf8)?;
    Ok(message.to_owned())
}

/// Encrypts a message as WeChat does, giving `Encrypt`. The first 16 bytes must be ones that nobody
/// can guess. `None` for a message of 4 GiB or more, whose length cannot be written down.
pub fn seal(
    key: &EncodingAesKey,
    app: &AppId,
    random: &[u8; RANDOM_BYTES],
    message: &str,
) -> Option<String> {
    let length = u32::try_from(message.len()).ok()?;
    let mut data = random.to_vec();
    data.extend(length.to_be_bytes());
    data.extend(message.as_bytes());
    data.extend(app.as_str().as_bytes());
    let padding = PAD_BLOCK_BYTES - data.len() % PAD_BLOCK_BYTES;
    // It is 32 at most.
    let pad_byte = u8::try_from(padding).unwrap_or_default();
    data.resize(data.len() + padding, pad_byte);
    // Exposed to encrypt with it.
    let mut cipher = cbc::Encryptor::<Aes256>::new(key.expose().into(), iv(key).into());
    cipher.encrypt_blocks(Block::<Aes256>::slice_as_chunks_mut(&mut data).0);
    Some(STANDARD.encode(data))
}

/// What the nonces of the gate's own answers begin with. An answer is signed as a push is, and could be
/// sent back as one. Nobody can move the mark out of the nonce, though the signature covers its parts
/// without anything between them: it is no digits of a timestamp, and what a ciphertext would gain by
/// it is no whole block.
const ANSWER_MARK: &str = "wxgate";

impl Stamp<'_> {
    /// Whether the gate made it, for an answer of its own.
    pub fn is_of_an_answer(&self) -> bool {
        self.nonce.contains(ANSWER_MARK)
    }
}

/// A nonce for an answer of the gate's own.
pub fn answer_nonce(random: [u8; 4]) -> String {
    format!("{ANSWER_MARK}{}", u32::from_be_bytes(random))
}

/// An encrypted answer to a push.
#[derive(Clone, Debug, Serialize)]
pub struct Reply<'a> {
    #[serde(rename = "Encrypt")]
    encrypt: String,
    #[serde(rename = "MsgSignature")]
    msg_signature: String,
    #[serde(rename = "TimeStamp")]
    timestamp: u64,
    #[serde(rename = "Nonce")]
    nonce: &'a str,
}

impl<'a> Reply<'a> {
    /// Signs a ciphertext with a stamp of its own: a moment in seconds since 1970, and a
    /// [nonce](answer_nonce) that does not repeat.
    pub fn sign(token: &PushToken, timestamp: u64, nonce: &'a str, encrypt: String) -> Self {
        let stamp = Stamp {
            timestamp: &timestamp.to_string(),
            nonce,
        };
        Self {
            msg_signature: msg_signature(token, stamp, &encrypt),
            encrypt,
            timestamp,
            nonce,
        }
    }

    /// As the answer to a push in JSON.
    pub fn to_json(&self) -> String {
        // Texts and a number cannot fail to serialise.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// As the answer to a push in XML. Base64, hex and digits need no escaping.
    pub fn to_xml(&self) -> String {
        let Self {
            encrypt,
            msg_signature,
            timestamp,
            nonce,
        } = self;
        format!(
            "<xml><Encrypt><![CDATA[{encrypt}]]></Encrypt>\
             <MsgSignature><![CDATA[{msg_signature}]]></MsgSignature>\
             <TimeStamp>{timestamp}</TimeStamp><Nonce><![CDATA[{nonce}]]></Nonce></xml>"
        )
    }
}

#[cfg(test)]
mod tests;
