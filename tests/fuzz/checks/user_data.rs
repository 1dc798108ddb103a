//! Whatever is handed over as `encryptedData`, it opens only when it is what WeChat would have made of the
//! text under this key, and the text says for whom it is.
//!
//! Input: a byte that says what the rest is (0 a text to be encrypted, 1 the same with one byte changed
//! afterwards, 2 a ciphertext, else `encryptedData` itself), 16 of the iv, where it is changed, and the rest.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use wxgate::crypto::user_data::{self, Expected, UserDataError};
use wxgate::domain::clock::Timestamp;
use wxgate::domain::id::{AppId, OpenId};
use wxgate::domain::secret::SessionKey;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

pub(crate) fn check(input: &[u8]) {
    let Some(([what, iv @ .., at], rest)) = input.split_first_chunk::<18>() else {
        return;
    };
    let key = SessionKey::new([7; 16]);
    let text = String::from_utf8_lossy(rest);
    let data = match what {
        0 => user_data::seal(&key, iv, &text),
        1 => changed(&user_data::seal(&key, iv, &text), *at),
        2 => STANDARD.encode(rest),
        _ => text.into_owned(),
    };
    let (app, openid) = (
        AppId::parse("wx0123456789abcdef").unwrap(),
        OpenId::parse("oUser").unwrap(),
    );
    let expected = Expected {
        app: &app,
        openid: Some(&openid),
        now: NOW,
        max_age: Some(Duration::from_mins(5)),
    };
    let opened = user_data::open(&key, &STANDARD.encode(iv), &data, &expected);
    match &opened {
        Ok(text) => {
            assert!(says_for_whom(text), "{text}");
            assert_eq!(user_data::seal(&key, iv, text), data);
        }
        Err(error) => assert!(!error.name().is_empty()),
    }
    if *what == 0 {
        // What was encrypted is what is judged.
        let text = String::from_utf8_lossy(rest);
        match opened {
            Ok(opened) => assert_eq!(opened, text),
            Err(UserDataError::DuplicateKey) => assert!(text.matches('"').count() >= 4),
            Err(why) => {
                assert!(!says_for_whom(&text), "{why}: {text}");
                let of_the_text = !matches!(
                    why,
                    UserDataError::BadBase64
                        | UserDataError::BadCiphertextLength
                        | UserDataError::BadIvLength
                        | UserDataError::BadPadding
                        | UserDataError::BadUtf8
                );
                assert!(of_the_text, "{why}: {text}");
            }
        }
    }
}

/// Another key, iv or length gives another text; so does another byte.
fn changed(data: &str, at: u8) -> String {
    let mut bytes = STANDARD.decode(data).unwrap();
    let at = usize::from(at) % bytes.len();
    bytes[at] ^= 1;
    STANDARD.encode(bytes)
}

fn says_for_whom(text: &str) -> bool {
    let Ok(Value::Object(object)) = serde_json::from_str(text) else {
        return false;
    };
    let watermark = &object.get("watermark").unwrap_or(&Value::Null);
    let made = match &watermark["timestamp"] {
        Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        other => other.as_u64(),
    };
    let now = NOW.as_secs();
    let in_time = |made: u64| made <= now + 60 && made.saturating_add(300) >= now;
    watermark.is_object()
        && watermark["appid"] == "wx0123456789abcdef"
        && made.is_some_and(in_time)
        && object.get("openId").is_none_or(|openid| openid == "oUser")
}
