//! Calls that carry an access token: with the token that is kept, and once more with another when
//! WeChat refuses that one. Knows nothing of what the calls are for.

use reqwest::RequestBuilder;
use serde::de::DeserializeOwned;

use crate::domain::secret::AccessToken;
use crate::wechat::access_token::Keeper;
use crate::wechat::client::{Answer, Client};
use crate::wechat::error::{ApiError, CallError, Malformed, Refused};
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
    /// Makes a call, twice at most, within the time that one may take. `request` puts the token in.
    pub(super) async fn with_token<T: DeserializeOwned>(
        &self,
        keeper: &Keeper,
        request: impl Fn(&AccessToken) -> RequestBuilder,
    ) -> Result<T, OpenApiError> {
        let _permit = self
            .calls
            .try_acquire()
            .map_err(|_full| CallError::TooManyCalls)?;
        let calls = async {
            let token = keeper.token().await?;
            let first = self.ask(request(&token)).await;
            match first {
                Err(ApiError::Refused(refused)) if refused.errcode.is_about_token() => {
                    let token = keeper.after_refusal(&token).await?;
                    Ok(self.ask(request(&token)).await?)
                }
                first => Ok(first?),
            }
        };
        let outcome = tokio::time::timeout(self.timeout, calls)
            .await
            .map_err(|_elapsed| CallError::TimedOut)?;
        if let Err(OpenApiError::Refused(refused)) = &outcome
            && is_misconfigured(refused)
        {
            self.guards.of(keeper.app()).tell(refused, self.clock.now());
        }
        outcome
    }

    async fn ask<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ApiError> {
        let Answer { status, body } = self.send(request).await?;
        reply::read(status, &body)
    }
}
