//! Why there is no access token, whose fault that is, and when asking again makes sense. Knows no
//! token.

use std::time::Duration;

use crate::wechat::errcode::Errcode;
use crate::wechat::error::{ApiError, CallError, Refused};

/// Longest pause between attempts when WeChat is busy or out of reach.
const MAX_BACK_OFF: Duration = Duration::from_mins(1);

/// Doublings of the first second until that.
const MAX_DOUBLINGS: u32 = 6;

/// After a fault of the configuration: an operator who mends it need not wait long, and WeChat is
/// not hammered.
const CONFIGURATION_PAUSE: Duration = Duration::from_mins(1);

/// While an administrator has yet to confirm the gate's address, which takes a person minutes.
const CONFIRMATION_PAUSE: Duration = Duration::from_mins(5);

/// When the calls of the day are used up: the day may end at any moment, or the count be cleared.
const QUOTA_PAUSE: Duration = Duration::from_mins(10);

/// 45011 counts by the minute.
const LIMIT_PAUSE: Duration = Duration::from_mins(1);

/// Why there is no access token. Can be given to everybody who waited for one.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TokenError {
    /// The operator's: it stays like this until the configuration or the account is put right.
    #[error(transparent)]
    Misconfigured(Refused),
    /// The network's or WeChat's: no answer.
    #[error(transparent)]
    NoAnswer(#[from] CallError),
    /// WeChat's: busy, a limit, or an errcode that means nothing here.
    #[error(transparent)]
    Refused(Refused),
    /// Another system's, or a leak: WeChat refuses the token that it gives.
    #[error("WeChat refuses an access token and gives the same one again")]
    SameAgain,
}

impl TokenError {
    /// What WeChat refused with, if it did.
    pub const fn refused(&self) -> Option<&Refused> {
        match self {
            Self::Misconfigured(refused) | Self::Refused(refused) => Some(refused),
            Self::NoAnswer(_) | Self::SameAgain => None,
        }
    }

    /// How long to ask for nothing after so many failures in a row.
    pub(super) fn pause(&self, failures: u32) -> Duration {
        match self.refused().map(|refused| refused.errcode) {
            Some(Errcode::IpRefused(89_507)) => Duration::from_hours(1),
            Some(Errcode::IpRefused(_)) => Duration::from_hours(24),
            Some(Errcode::IpUnconfirmed(_)) => CONFIRMATION_PAUSE,
            Some(Errcode::QuotaUsedUp) => QUOTA_PAUSE,
            Some(Errcode::RateLimited) => LIMIT_PAUSE,
            Some(errcode) if errcode.is_configuration() => CONFIGURATION_PAUSE,
            _ => {
                let doublings = failures.saturating_sub(1).min(MAX_DOUBLINGS);
                Duration::from_secs(1 << doublings).min(MAX_BACK_OFF)
            }
        }
    }
}

impl From<ApiError> for TokenError {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Call(error) => Self::NoAnswer(error),
            ApiError::Refused(refused) if refused.errcode.is_configuration() => {
                Self::Misconfigured(refused)
            }
            ApiError::Refused(refused) => Self::Refused(refused),
        }
    }
}
