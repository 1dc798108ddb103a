//! Calls that carry an access token: with the token that is kept, and once more with another when
//! WeChat refuses that one. Knows nothing of what the calls are for.

use reqwest::{RequestBuilder, Url};
use serde::de::DeserializeOwned;

use crate::domain::secret::AccessToken;
use crate::wechat::access_token::Keeper;
use crate::wechat::client::{Answer, Client};
use crate::wechat::count::{self, Asking};
use crate::wechat::errcode::Errcode;
use crate::wechat::error::{ApiError, CallError, Malformed, Refused};
use crate::wechat::guard::{Closed, Judged, Verdict};
use crate::wechat::reply;
use crate::wechat::token_error::TokenError;

/// Why a call with an access token came to nothing. Holds no token, no code and no URL.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OpenApiError {
    /// The network's or WeChat's: no answer of the API; or ours, too many calls at once.
    #[error(transparent)]
    Call(#[from] CallError),
    /// WeChat's refusal; its errcode knows whose fault it is.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// There was no token to make the call with.
    #[error("no access token for the call")]
    Token(#[from] TokenError),
}

impl OpenApiError {
    /// What WeChat refused with, if it did, the call or the token for it.
    pub const fn refused(&self) -> Option<&Refused> {
        match self {
            Self::Refused(refused) => Some(refused),
            Self::Token(error) => error.refused(),
            Self::Call(_) => None,
        }
    }

    /// Whether it stays like this until the operator has put the configuration or the account right.
    pub fn is_misconfigured(&self) -> bool {
        match self {
            Self::Call(_) => false,
            Self::Refused(refused) => is_misconfigured(refused),
            Self::Token(error) => matches!(error, TokenError::Misconfigured(_)),
        }
    }
}

impl Judged for OpenApiError {
    /// The keeper of tokens looks after its own troubles.
    fn verdict(&self) -> Verdict {
        match self {
            Self::Call(error) => error.verdict(),
            Self::Refused(refused) if refused.errcode == Errcode::SystemBusy => Verdict::Silent,
            // What may be the doing of a client's code tells nothing about the configuration.
            Self::Refused(refused) if refused.errcode == Errcode::BadAppId => Verdict::Answers,
            Self::Refused(refused) if is_misconfigured(refused) => {
                Verdict::Misconfigured(refused.clone())
            }
            Self::Refused(_) => Verdict::Answers,
            Self::Token(_) => Verdict::Nothing,
        }
    }
}

impl From<Closed> for OpenApiError {
    fn from(closed: Closed) -> Self {
        match closed {
            Closed::Misconfigured(refused) => Self::Refused(refused),
            Closed::Paused(retry_after) => CallError::Paused { retry_after }.into(),
        }
    }
}

impl From<ApiError> for OpenApiError {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Call(error) => Self::Call(error),
            ApiError::Refused(refused) => Self::Refused(refused),
        }
    }
}

impl From<Malformed> for OpenApiError {
    fn from(malformed: Malformed) -> Self {
        Self::Call(malformed.into())
    }
}

/// Of 40001 the token is to blame here, though at login it is the AppSecret.
fn is_misconfigured(refused: &Refused) -> bool {
    refused.errcode.is_configuration() && !refused.errcode.is_about_token()
}

impl Client {
    /// Makes a call of the API at this path, twice at most, within the time that one may take.
    /// `request` puts the token in.
    pub(super) async fn with_token<T: DeserializeOwned>(
        &self,
        keeper: &Keeper,
        api: &'static str,
        request: impl Fn(Url, &AccessToken) -> RequestBuilder,
    ) -> Result<T, OpenApiError> {
        self.guarded(keeper.app(), api, async |asking, _guard| {
            let token = keeper.token().await?;
            let first = request(self.endpoint(api), &token);
            match self.ask(asking, first).await {
                Err(ApiError::Refused(refused)) if refused.errcode.is_about_token() => {
                    let token = keeper.after_refusal(&token).await?;
                    let second = request(self.endpoint(api), &token);
                    Ok(self.ask(asking, second).await?)
                }
                first => Ok(first?),
            }
        })
        .await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        asking: &mut Asking,
        request: RequestBuilder,
    ) -> Result<T, ApiError> {
        let Answer { status, body } = self.send(asking, request).await?;
        let outcome = reply::read(status, &body);
        asking.answered(status, count::of_answer(&outcome));
        outcome
    }
}
