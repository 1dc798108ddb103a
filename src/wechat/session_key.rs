//! What WeChat says about session keys and about what was encrypted with them. Knows nothing of
//! sessions, and decides nothing about how often a user may make the gate ask.

use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::crypto::signature;
use crate::domain::clock::Timestamp;
use crate::domain::hex::hex;
use crate::domain::id::OpenId;
use crate::domain::secret::SessionKey;
use crate::wechat::access_token::Keeper;
use crate::wechat::client::Client;
use crate::wechat::open_api::OpenApiError;

/// 87009, 87007: not the user's key of this moment, or no key at all any more.
const STALE: [i64; 2] = [87_009, 87_007];

/// 1: no such data in the last three days, or another mini program's.
const DATA_UNKNOWN: i64 = 1;

/// Where keys are checked.
pub(super) const CHECK_SESSION: &str = "/wxa/checksession";

/// Where encrypted data is.
pub(super) const CHECK_ENCRYPTED: &str = "/wxa/business/checkencryptedmsg";

/// Whether a key is the one that the user's client encrypts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// It is.
    Current,
    /// It is not, or it is not this user's.
    Stale,
}

/// Whether WeChat itself encrypted some data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authenticity {
    /// It did, for this mini program, in the last three days.
    Authentic {
        /// When, if WeChat says so.
        created: Option<Timestamp>,
    },
    /// It does not know the data.
    Unknown,
}

#[derive(Deserialize)]
struct Checked {
    /// WeChat's spelling.
    #[serde(alias = "valid")]
    vaild: bool,
    create_time: Option<u64>,
}

impl Client {
    /// Asks whether a session key is still the user's (`wxa/checksession`).
    pub async fn check_session(
        &self,
        keeper: &Keeper,
        openid: &OpenId,
        key: &SessionKey,
    ) -> Result<KeyState, OpenApiError> {
        // Of a GET the message is empty. All is in the query, whatever the table of the page says.
        let signature = signature::session(key, b"");
        let checked: Result<IgnoredAny, _> = self
            .with_token(keeper, CHECK_SESSION, |url, token| {
                self.http.get(url).query(&[
                    // Exposed to WeChat: this is what it is for.
                    ("access_token", token.expose()),
                    ("openid", openid.as_str()),
                    ("signature", signature.as_str()),
                    ("sig_method", "hmac_sha256"),
                ])
            })
            .await;
        match checked {
            Ok(_fields) => Ok(KeyState::Current),
            Err(error) if is_refused_with(&error, &STALE) => Ok(KeyState::Stale),
            Err(error) => Err(error),
        }
    }

    /// Asks whether WeChat itself encrypted this `encryptedData` (`wxa/business/checkencryptedmsg`).
    /// The encryption alone does not show it: whoever has the key can make such data.
    pub async fn check_encrypted(
        &self,
        keeper: &Keeper,
        encrypted_data: &str,
    ) -> Result<Authenticity, OpenApiError> {
        let body = json!({ "encrypted_msg_hash": encrypted_hash(encrypted_data) }).to_string();
        let checked: Result<Checked, _> = self
            .with_token(keeper, CHECK_ENCRYPTED, |url, token| {
                self.http
                    .post(url)
                    // Exposed to WeChat: this is what it is for.
                    .query(&[("access_token", token.expose())])
                    .header(CONTENT_TYPE, "application/json")
                    .body(body.clone())
            })
            .await;
        match checked {
            Ok(checked) if checked.vaild => Ok(Authenticity::Authentic {
                created: checked.create_time.map(seconds),
            }),
            Ok(_not_valid) => Ok(Authenticity::Unknown),
            Err(error) if is_refused_with(&error, &[DATA_UNKNOWN]) => Ok(Authenticity::Unknown),
            Err(error) => Err(error),
        }
    }
}

/// What WeChat knows encrypted data by: SHA-256 in lower-case hex. The page of the API does not say
/// whether over the base64 text or over the bytes; this is the one place that decides, for the text,
/// which is "the encrypted data" as a client gets it.
pub(super) fn encrypted_hash(encrypted_data: &str) -> String {
    hex(&Sha256::digest(encrypted_data))
}

fn is_refused_with(error: &OpenApiError, errcodes: &[i64]) -> bool {
    matches!(error, OpenApiError::Refused(refused) if errcodes.contains(&refused.errcode.number()))
}

fn seconds(seconds: u64) -> Timestamp {
    Timestamp::EPOCH.plus(Duration::from_secs(seconds))
}
