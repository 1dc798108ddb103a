//! `wxa/business/getuserphonenumber` and `wxa/business/checkencryptedmsg` as the real ones answer
//! them, and the memory of what was sealed here. What a phone does before them is not known here.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::domain::clock::Timestamp;
use crate::domain::id::AppId;
use crate::sim::recent::Recent;
use crate::sim::wechat::call::{Answer, Call, Refusal};
use crate::sim::wechat::codes::Redeemed;
use crate::sim::wechat::users::{self, UserName};
use crate::sim::wechat::{Codes, MockWechat, user_data};

/// Digests of sealed data that are remembered, two for each.
const MAX_DIGESTS: usize = 100_000;

/// How long WeChat remembers what it encrypted, by the documentation of `checkencryptedmsg`.
const REMEMBERED: Duration = Duration::from_hours(3 * 24);

type Sha256Digest = [u8; 32];

/// What was sealed here of late, for which mini program and when.
#[derive(Debug)]
pub(super) struct SealedLately(Recent<Sha256Digest, (AppId, Timestamp)>);

impl SealedLately {
    pub(super) fn new() -> Self {
        Self(Recent::new(MAX_DIGESTS))
    }

    /// Remembers data as it was handed over. The documentation does not say whether its base64 text
    /// is hashed or the bytes, so either hash is known.
    pub(super) fn remember(&mut self, encrypted_data: &str, app: &AppId, now: Timestamp) {
        let bytes = STANDARD.decode(encrypted_data).unwrap_or_default();
        for digest in [Sha256::digest(encrypted_data), Sha256::digest(bytes)] {
            self.0
                .get_or_insert_with(digest.into(), || (app.clone(), now));
        }
    }

    /// When this was sealed for this mini program, unless that is too long ago.
    fn find(&mut self, digest: &Sha256Digest, app: &AppId, now: Timestamp) -> Option<Timestamp> {
        let (of, at) = self.0.get(digest)?;
        (of == app && now.since(*at) < REMEMBERED).then_some(*at)
    }
}

#[derive(Deserialize)]
struct PhoneRequest {
    code: Option<String>,
    openid: Option<String>,
}

#[derive(Deserialize)]
struct CheckRequest {
    encrypted_msg_hash: Option<String>,
}

impl MockWechat {
    /// The phone number of the user whose button made the code.
    pub(super) fn phone_number(&self, call: &Call) -> Result<Answer, Refusal> {
        let app = self.authorized_post(call)?;
        let asked: PhoneRequest = call.posted()?;
        let code = asked.code.filter(|code| !code.is_empty());
        let name = self.redeem_phone(&app, &code.ok_or(Refusal::ARGUMENT)?)?;
        let fits = |openid: String| openid == users::openid(&app, &name).as_str();
        if !asked.openid.is_none_or(fits) {
            return Err(Refusal::OPENID);
        }
        let mut data = user_data::phone();
        user_data::watermark(&mut data, &app, self.now());
        Ok(Answer::json(
            &json!({"errcode": 0, "errmsg": "ok", "phone_info": data}),
        ))
    }

    fn redeem_phone(&self, app: &AppId, code: &str) -> Result<UserName, Refusal> {
        let now = self.now();
        let redeemed = self.0.state.lock().phone_codes.redeem(code, app, now);
        match (redeemed, self.options().codes) {
            (Redeemed::By(name), _) => Ok(name),
            (Redeemed::Unknown, Codes::Lenient) => Ok(UserName::devtools()),
            (Redeemed::Elsewhere, _) => Err(Refusal::APPID),
            (Redeemed::Unknown, Codes::Strict) | (Redeemed::Used | Redeemed::Expired, _) => {
                Err(Refusal::CODE)
            }
        }
    }

    /// Says whether data with this hash was encrypted here.
    pub(super) fn check_encrypted(&self, call: &Call) -> Result<Answer, Refusal> {
        let app = self.authorized_post(call)?;
        let asked: CheckRequest = call.posted()?;
        let digest = asked.encrypted_msg_hash.as_deref().and_then(from_hex);
        let digest = digest.ok_or(Refusal::ARGUMENT)?;
        let now = self.now();
        let found = self.0.state.lock().sealed.find(&digest, &app, now);
        let at = found.ok_or(Refusal::DATA_UNKNOWN)?;
        // The field is really spelled like this.
        Ok(Answer::json(&json!({
            "errcode": 0,
            "errmsg": "ok",
            "vaild": true,
            "create_time": at.as_secs(),
        })))
    }
}

/// A digest from its 64 hex digits.
fn from_hex(text: &str) -> Option<Sha256Digest> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|digit| {
            digit
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        })
        .collect();
    let (pairs, rest) = digits.as_deref()?.as_chunks::<2>();
    let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
    rest.is_empty().then_some(())?;
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_64_hex_digits() {
        let text = "00ff".repeat(16);
        assert_eq!(from_hex(&text).unwrap()[..3], [0, 255, 0]);
        for wrong in [
            "",
            "00",
            "0",
            &"0".repeat(63),
            &"g".repeat(64),
            &"0".repeat(66),
        ] {
            assert!(from_hex(wrong).is_none(), "{wrong}");
        }
    }
}
