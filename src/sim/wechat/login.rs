//! `GET /sns/jscode2session` as the real one answers it: always with status 200, as `text/plain`,
//! with an `errcode` when it refuses. Knows nothing of misbehaviour.

use crate::crypto::session_key;
use crate::domain::id::AppId;
use crate::sim::wechat::call::{Answer, Call, Refusal};
use crate::sim::wechat::codes::Redeemed;
use crate::sim::wechat::users::{User, UserName};
use crate::sim::wechat::{Apps, Codes, MockWechat};

/// Codes with this beginning log the user in whose name follows, as often as wanted.
const NAMED_CODE: &str = "mock-";

impl MockWechat {
    /// Answers a call.
    pub(super) fn jscode2session(&self, call: &Call) -> Answer {
        match self.log_in(call) {
            Ok(user) => Answer::text(success(&user)),
            Err(refusal) => Answer::text(refusal.to_json().to_string()),
        }
    }

    fn log_in(&self, call: &Call) -> Result<User, Refusal> {
        call.require_get()?;
        let appid = call.parameter("appid").ok_or(Refusal::APPID_MISSING)?;
        let secret = call.parameter("secret").ok_or(Refusal::SECRET_MISSING)?;
        let code = call.parameter("js_code").ok_or(Refusal::CODE_MISSING)?;
        if call.parameter("grant_type").as_deref() != Some("authorization_code") {
            return Err(Refusal::GRANT_TYPE);
        }
        let app = self.check_app(&appid, &secret)?;
        let name = self.redeem(&app, &code)?;
        Ok(self.find(&app, &name))
    }

    /// The mini program that proves itself with this secret.
    pub(super) fn check_app(&self, appid: &str, secret: &str) -> Result<AppId, Refusal> {
        let app = AppId::parse(appid).map_err(|_shape| Refusal::APPID)?;
        let Apps::Only(apps) = &self.options().apps else {
            return Ok(app);
        };
        let known = apps.iter().find(|(known, _secret)| *known == app);
        let (_app, known_secret) = known.ok_or(Refusal::APPID)?;
        if known_secret.is(secret) {
            Ok(app)
        } else {
            Err(Refusal::SECRET)
        }
    }

    fn redeem(&self, app: &AppId, code: &str) -> Result<UserName, Refusal> {
        if let Some(name) = code.strip_prefix(NAMED_CODE).and_then(UserName::parse) {
            return Ok(name);
        }
        match (self.redeem_issued(app, code), self.options().codes) {
            (Redeemed::By(name), _) => Ok(name),
            (Redeemed::Used, _) => Err(Refusal::CODE_USED),
            (Redeemed::Unknown, Codes::Lenient) => Ok(UserName::devtools()),
            (Redeemed::Unknown, Codes::Strict) | (Redeemed::Elsewhere | Redeemed::Expired, _) => {
                Err(Refusal::CODE)
            }
        }
    }
}

/// Written by hand for the `\/`, which is how the real one writes a slash. The three values are of
/// alphabets that need no other escape.
fn success(user: &User) -> String {
    let key = session_key::text(&user.key).replace('/', r"\/");
    format!(
        r#"{{"session_key":"{key}","openid":"{}","unionid":"{}"}}"#,
        user.openid.as_str(),
        user.unionid.as_str(),
    )
}
