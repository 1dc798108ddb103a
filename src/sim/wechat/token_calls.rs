//! `GET /cgi-bin/token` and `POST /cgi-bin/stable_token` as the real ones answer them, and the check
//! that every call with a token passes. Knows nothing of what the tokens are used for.

use serde::Deserialize;
use serde_json::json;

use crate::domain::id::AppId;
use crate::sim::wechat::MockWechat;
use crate::sim::wechat::call::{Answer, Call, Refusal};
use crate::sim::wechat::tokens::{Given, Standing};

/// The one `grant_type` of these APIs.
const GRANT_TYPE: &str = "client_credential";

#[derive(Deserialize)]
struct StableTokenRequest {
    grant_type: Option<String>,
    appid: Option<String>,
    secret: Option<String>,
    #[serde(default)]
    force_refresh: bool,
}

impl MockWechat {
    /// Makes a new token.
    pub(super) fn token(&self, call: &Call) -> Result<Answer, Refusal> {
        call.require_get()?;
        let app = self.asker(
            call.parameter("grant_type").as_deref(),
            call.parameter("appid").as_deref(),
            call.parameter("secret").as_deref(),
        )?;
        let now = self.now();
        Ok(given(&self.0.state.lock().tokens.plain(&app, now)))
    }

    /// Gives the token that there is, or a new one when it is time or by force.
    pub(super) fn stable_token(&self, call: &Call) -> Result<Answer, Refusal> {
        call.require_post()?;
        let asked: StableTokenRequest = call.posted()?;
        let app = self.asker(
            asked.grant_type.as_deref(),
            asked.appid.as_deref(),
            asked.secret.as_deref(),
        )?;
        let now = self.now();
        let tokens = &mut self.0.state.lock().tokens;
        if asked.force_refresh {
            let forced = tokens.forced(&app, now);
            return forced
                .map(|token| given(&token))
                .map_err(|_used| Refusal::QUOTA);
        }
        Ok(given(&tokens.stable(&app, now)))
    }

    /// The mini program that the token in the query is good for.
    pub(super) fn authorized(&self, call: &Call) -> Result<AppId, Refusal> {
        let token = call.parameter("access_token");
        let token = token.ok_or(Refusal::TOKEN_MISSING)?;
        let now = self.now();
        match self.0.state.lock().tokens.look_up(&token, now) {
            Standing::Good(app) => Ok(app),
            Standing::Expired => Err(Refusal::TOKEN_EXPIRED),
            Standing::Invalid => Err(Refusal::TOKEN_INVALID),
            Standing::Malformed => Err(Refusal::TOKEN_MALFORMED),
        }
    }

    /// The same for an API that takes nothing but POST.
    pub(super) fn authorized_post(&self, call: &Call) -> Result<AppId, Refusal> {
        call.require_post()?;
        self.authorized(call)
    }

    /// The mini program that asks for a token.
    fn asker(
        &self,
        grant_type: Option<&str>,
        appid: Option<&str>,
        secret: Option<&str>,
    ) -> Result<AppId, Refusal> {
        if grant_type != Some(GRANT_TYPE) {
            return Err(Refusal::GRANT_TYPE);
        }
        let there = |text: &&str| !text.is_empty();
        let appid = appid.filter(there).ok_or(Refusal::APPID_MISSING)?;
        let secret = secret.filter(there).ok_or(Refusal::SECRET_MISSING)?;
        self.check_app(appid, secret)
    }
}

fn given(given: &Given) -> Answer {
    Answer::json(&json!({
        "access_token": given.token,
        "expires_in": given.expires_in_secs,
    }))
}
