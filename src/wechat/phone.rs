//! The phone number for a code of the phone button (`wxa/business/getuserphonenumber`). Knows
//! nothing of sessions, and keeps nothing of the number.

use std::fmt;
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::domain::clock::Timestamp;
use crate::domain::id::{AppId, OpenId};
use crate::domain::secret::PhoneCode;
use crate::wechat::access_token::Keeper;
use crate::wechat::client::Client;
use crate::wechat::error::{Malformed, Refused};
use crate::wechat::open_api::OpenApiError;

/// 40029: no such code, too old, used, or one of `wx.login`. 40003: another user's. 40013: another
/// mini program's, since the appid of the token is the keeper's own.
const CODE_INVALID: [i64; 3] = [40_029, 40_003, 40_013];

/// Where phone numbers are.
pub(super) const PHONE_NUMBER: &str = "/wxa/business/getuserphonenumber";

/// A phone number as WeChat gives it.
#[derive(Clone)]
pub struct Phone {
    /// `phone_info`, with all its fields.
    pub info: Map<String, Value>,
    /// When the user gave it, by its watermark, which names this mini program.
    pub given: Timestamp,
}

/// Why there is no phone number.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PhoneError {
    /// The client's: the code is invalid, too old, used, or another user's or mini program's.
    #[error("WeChat does not take the code of the phone button (errcode {})", .0.errcode)]
    CodeInvalid(Refused),
    /// Anybody else's.
    #[error(transparent)]
    Call(#[from] OpenApiError),
}

#[derive(Serialize)]
struct Asked<'a> {
    code: &'a str,
    openid: &'a str,
}

#[derive(Deserialize)]
struct Answered {
    phone_info: Map<String, Value>,
}

impl Client {
    /// Asks for the phone number that a code stands for. With the user's openid, so that no user
    /// can take another's number for their own by taking their code.
    pub async fn phone_number(
        &self,
        keeper: &Keeper,
        openid: &OpenId,
        code: &PhoneCode,
    ) -> Result<Phone, PhoneError> {
        let asked = Asked {
            // Exposed to WeChat: this is what it is for.
            code: code.expose(),
            openid: openid.as_str(),
        };
        let body = serde_json::to_vec(&asked).map_err(|_cause| from(Malformed::Json))?;
        let body = Zeroizing::new(body);
        let answered: Answered = self
            .with_token(keeper, PHONE_NUMBER, |url, token| {
                self.http
                    .post(url)
                    // As above.
                    .query(&[("access_token", token.expose())])
                    .header(CONTENT_TYPE, "application/json")
                    .body(body.to_vec())
            })
            .await
            .map_err(about_code)?;
        let info = answered.phone_info;
        let given = watermark(&info, keeper.app()).ok_or_else(|| from(Malformed::Watermark))?;
        Ok(Phone { info, given })
    }
}

/// The time of the watermark, if that is of this mini program.
fn watermark(info: &Map<String, Value>, app: &AppId) -> Option<Timestamp> {
    let watermark = info.get("watermark")?;
    let seconds = watermark.get("timestamp")?.as_u64()?;
    let is_ours = watermark.get("appid")?.as_str()? == app.as_str();
    let given = Timestamp::EPOCH.plus(Duration::from_secs(seconds));
    is_ours.then_some(given)
}

fn about_code(error: OpenApiError) -> PhoneError {
    match error {
        OpenApiError::Refused(refused) if CODE_INVALID.contains(&refused.errcode.number()) => {
            PhoneError::CodeInvalid(refused)
        }
        error => PhoneError::Call(error),
    }
}

fn from(malformed: Malformed) -> PhoneError {
    PhoneError::Call(malformed.into())
}

impl fmt::Debug for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Phone")
            .field("given", &self.given)
            .finish_non_exhaustive()
    }
}
