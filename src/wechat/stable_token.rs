//! The call that gives an access token, `cgi-bin/stable_token`. Keeps nothing: who keeps tokens, and when
//! to ask again, is `access_token`'s.

use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::domain::secret::{AccessToken, AppSecret};
use crate::wechat::Credential;
use crate::wechat::client::{Answer, Client};
use crate::wechat::count::{self, Asking};
use crate::wechat::error::{ApiError, CallError, Malformed};
use crate::wechat::token_error::TokenError;
use crate::wechat::{reply, report};

/// The path of the call.
pub(super) const STABLE_TOKEN: &str = "/cgi-bin/stable_token";

/// Longest life that is believed; WeChat's own is 7200 s.
pub(super) const MAX_LIFE: Duration = Duration::from_hours(2);

/// A token, and how long WeChat says it lives from now on.
pub(super) struct Granted {
    pub(super) token: AccessToken,
    pub(super) life: Duration,
}

#[derive(Serialize)]
struct Asked<'a> {
    grant_type: &'static str,
    appid: &'a str,
    secret: &'a str,
}

#[derive(Deserialize)]
struct Answered {
    access_token: String,
    expires_in: u64,
}

impl Client {
    /// Asks for the mini program's token: with the previous AppSecret too, when the new one is
    /// wrong. Takes none of the permits of other calls, as there is one of these per mini program.
    pub(super) async fn stable_token(
        &self,
        credential: &Credential,
    ) -> Result<Granted, TokenError> {
        let mut asking = Asking::new(&self.counts, STABLE_TOKEN);
        let asked = self.ask_with_either(&mut asking, credential);
        let asked = tokio::time::timeout(self.timeout, asked).await;
        asked
            .map_err(|_elapsed| {
                asking.timed_out();
                CallError::TimedOut
            })?
            .map_err(TokenError::from)
    }

    async fn ask_with_either(
        &self,
        asking: &mut Asking,
        credential: &Credential,
    ) -> Result<Granted, ApiError> {
        let secret = &credential.secret;
        let first = self.ask_for_token(asking, credential, secret).await;
        let Some(previous) = &credential.previous_secret else {
            return first;
        };
        let is_about_secret = matches!(
            &first,
            Err(ApiError::Refused(refused)) if refused.errcode.is_about_secret()
        );
        if !is_about_secret {
            return first;
        }
        let second = self.ask_for_token(asking, credential, previous).await;
        if second.is_ok() {
            report::previous_secret_works(&credential.app);
        }
        // What is wrong with the new one matters, not with the old.
        second.or(first)
    }

    async fn ask_for_token(
        &self,
        asking: &mut Asking,
        credential: &Credential,
        secret: &AppSecret,
    ) -> Result<Granted, ApiError> {
        let body = Zeroizing::new(
            serde_json::to_vec(&Asked {
                grant_type: "client_credential",
                appid: credential.app.as_str(),
                // Exposed to WeChat: this is what it is for.
                secret: secret.expose(),
            })
            .map_err(|_cause| Malformed::Json)?,
        );
        let request = self
            .http
            .post(self.endpoint(STABLE_TOKEN))
            .header(CONTENT_TYPE, "application/json")
            .body(body.to_vec());
        let Answer { status, body } = self.send(asking, request).await?;
        let answered: Result<Answered, _> = reply::read(status, &body);
        asking.answered(status, count::of_answer(&answered));
        let answered = answered?;
        let token = AccessToken::parse(answered.access_token);
        Ok(Granted {
            token: token.ok_or(Malformed::AccessToken)?,
            life: Duration::from_secs(answered.expires_in).min(MAX_LIFE),
        })
    }
}
