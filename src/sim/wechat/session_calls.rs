//! `wxa/checksession` and `wxa/resetusersessionkey` as the real ones answer them: calls in a user's
//! name, signed with the session_key that the caller takes for the current one.

use serde_json::json;

use crate::crypto::{session_key, signature};
use crate::domain::id::AppId;
use crate::sim::wechat::MockWechat;
use crate::sim::wechat::call::{Answer, Call, Refusal};
use crate::sim::wechat::users::UserName;

/// The one `sig_method` of these APIs.
const SIG_METHOD: &str = "hmac_sha256";

impl MockWechat {
    /// Says whether a session_key is still the user's.
    pub(super) fn check_session(&self, call: &Call) -> Result<Answer, Refusal> {
        self.signed_user(call)?;
        Ok(Answer::ok())
    }

    /// Gives the user a new session_key, and tells it.
    pub(super) fn reset_session_key(&self, call: &Call) -> Result<Answer, Refusal> {
        let (app, name) = self.signed_user(call)?;
        self.rotate(&app, &name);
        let user = self.find(&app, &name);
        Ok(Answer::json(&json!({
            "errcode": 0,
            "errmsg": "ok",
            "openid": user.openid.as_str(),
            "session_key": session_key::text(&user.key).as_str(),
        })))
    }

    /// The user in whose name a call is made, proved by the session_key of this moment.
    fn signed_user(&self, call: &Call) -> Result<(AppId, UserName), Refusal> {
        call.require_get()?;
        let app = self.authorized(call)?;
        let openid = call.parameter("openid").ok_or(Refusal::OPENID)?;
        let signed = call.parameter("signature").ok_or(Refusal::SIGNATURE)?;
        if call.parameter("sig_method").as_deref() != Some(SIG_METHOD) {
            return Err(Refusal::SIG_METHOD);
        }
        let name = self.name_of(&app, &openid).ok_or(Refusal::OPENID)?;
        // A GET signs nothing but itself.
        if signature::session(&self.find(&app, &name).key, b"") == signed {
            Ok((app, name))
        } else {
            Err(Refusal::SIGNATURE)
        }
    }
}
