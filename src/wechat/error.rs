//! Why a call came to nothing, and whose fault that is. Knows no secret, no code and no URL, so
//! that any of it may be logged; knows nothing of what a client is told about it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::wechat::errcode::Errcode;
use crate::wechat::guard::{Closed, Judged, Verdict};

/// Why there is no answer of the API. Can be given to everybody who waited for one call.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    /// Something before WeChat's API: a status that the API does not use. Redirects are among them,
    /// for following one would hand over the secret.
    #[error("WeChat answered with HTTP status {status}")]
    HttpStatus {
        /// The status.
        status: u16,
    },
    /// The network's or WeChat's: the connection broke after the request may have been read.
    #[error("the connection to WeChat broke off")]
    Interrupted {
        /// What broke, without the URL.
        source: Arc<reqwest::Error>,
    },
    /// WeChat's, or something before it: an answer that is none.
    #[error("WeChat's answer cannot be understood")]
    Malformed(#[from] Malformed),
    /// WeChat's or the network's: the API failed to answer several times in a row, and is not asked
    /// for a moment. Nothing was sent.
    #[error("WeChat is not asked while it does not answer")]
    Paused {
        /// Until when.
        retry_after: Duration,
    },
    /// The network's or WeChat's: no answer in time.
    #[error("WeChat did not answer in time")]
    TimedOut,
    /// Ours: as many calls are under way as are allowed. Nothing was sent.
    #[error("too many calls to WeChat are under way")]
    TooManyCalls,
    /// The network's or the operator's: no connection came about. Nothing was sent.
    #[error("WeChat cannot be reached")]
    Unreachable {
        /// Why not, without the URL.
        source: Arc<reqwest::Error>,
    },
}

/// What an API refuses with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("WeChat refuses: {} (errcode {errcode})", .errcode.meaning_en())]
pub struct Refused {
    /// What WeChat answered; knows its meaning and the fix.
    pub errcode: Errcode,
    /// WeChat's id of the request.
    pub rid: Option<String>,
    /// The gate's address as WeChat saw it, when it is the address that WeChat refuses.
    pub seen_ip: Option<IpAddr>,
}

/// Why a call of an API came to nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// No answer of the API.
    #[error(transparent)]
    Call(#[from] CallError),
    /// An answer that is a refusal.
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl From<Malformed> for ApiError {
    fn from(malformed: Malformed) -> Self {
        Self::Call(malformed.into())
    }
}

impl Judged for CallError {
    fn verdict(&self) -> Verdict {
        match self {
            Self::HttpStatus { status } if *status < 500 => Verdict::Answers,
            Self::Malformed(_) => Verdict::Answers,
            Self::Paused { .. } | Self::TooManyCalls => Verdict::Nothing,
            Self::HttpStatus { .. }
            | Self::Interrupted { .. }
            | Self::TimedOut
            | Self::Unreachable { .. } => Verdict::Silent,
        }
    }
}

/// Why a code was not redeemed, and whose fault that is. Holds no secret, no code and no URL.
#[derive(Debug, thiserror::Error)]
pub enum RedeemError {
    /// No answer of the API. The code may have been used up, unless nothing was sent.
    #[error(transparent)]
    Call(#[from] CallError),
    /// WeChat's: it is busy (-1), or it took our second attempt for a repetition (40163).
    #[error("WeChat is busy (errcode {})", .0.errcode)]
    Busy(Refused),
    /// The client's: the code is invalid, too old, or another mini program's.
    #[error("WeChat does not take the code (errcode {})", .0.errcode)]
    CodeInvalid(Refused),
    /// The client's: the code was redeemed before.
    #[error("the code was already used (errcode {})", .0.errcode)]
    CodeUsed(Refused),
    /// The operator's: it stays like this until the configuration or the account is put right.
    #[error("WeChat refuses the gate: {} (errcode {})", .0.errcode.meaning_en(), .0.errcode)]
    Misconfigured(Refused),
    /// The client's: too many logins of one user within a minute.
    #[error("WeChat limits the user's logins (errcode {})", .0.errcode)]
    RateLimited(Refused),
    /// WeChat's: an errcode that means nothing here.
    #[error("WeChat answered with the unknown errcode {}", .0.errcode)]
    Unknown(Refused),
    /// The user's: WeChat holds them for a risk.
    #[error("WeChat blocks the user (errcode {})", .0.errcode)]
    UserBlocked(Refused),
}

/// What is wrong with an answer that is none. Does not repeat any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// No `access_token`, or none that can be one, or no `expires_in`.
    #[error("it has no proper access_token")]
    AccessToken,
    /// An `errcode` that is no number.
    #[error("its errcode is no number")]
    Errcode,
    /// Not HTTP.
    #[error("it is not HTTP")]
    Http,
    /// Not a JSON object with the fields of this API.
    #[error("it is not the JSON of this API")]
    Json,
    /// No `openid`, or none that can be one.
    #[error("it has no proper openid")]
    OpenId,
    /// No `session_key`, or not 16 bytes in base64.
    #[error("it has no proper session_key")]
    SessionKey,
    /// Longer than any answer of this API.
    #[error("it is too long")]
    TooLong,
    /// A `unionid` that cannot be one.
    #[error("its unionid is not proper")]
    UnionId,
    /// No watermark, or another mini program's.
    #[error("it has no proper watermark")]
    Watermark,
}

impl From<Closed> for RedeemError {
    fn from(closed: Closed) -> Self {
        match closed {
            Closed::Misconfigured(refused) => Self::Misconfigured(refused),
            Closed::Paused(retry_after) => CallError::Paused { retry_after }.into(),
        }
    }
}

impl From<ApiError> for RedeemError {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Call(error) => Self::Call(error),
            ApiError::Refused(refused) => refused.into(),
        }
    }
}

impl From<Refused> for RedeemError {
    fn from(refused: Refused) -> Self {
        match refused.errcode {
            Errcode::SystemBusy => Self::Busy(refused),
            Errcode::CodeExpired | Errcode::CodeInvalid | Errcode::CodeMissing => {
                Self::CodeInvalid(refused)
            }
            Errcode::CodeUsed => Self::CodeUsed(refused),
            Errcode::RateLimited => Self::RateLimited(refused),
            Errcode::UserBlocked => Self::UserBlocked(refused),
            Errcode::Other(_) | Errcode::QuotaUsedUp => Self::Unknown(refused),
            Errcode::AccountFrozen(_)
            | Errcode::AccountLimited
            | Errcode::ApiNotGranted(_)
            | Errcode::AppIdMissing
            | Errcode::BadAppId
            | Errcode::BadGrantType
            | Errcode::BadSecret(_)
            | Errcode::IpNotListed
            | Errcode::IpRefused(_)
            | Errcode::IpUnconfirmed(_)
            | Errcode::SecretFrozen
            | Errcode::SecretMissing
            | Errcode::Unauthorised => Self::Misconfigured(refused),
        }
    }
}

impl Judged for RedeemError {
    /// 45011 counts for nothing: it is about one user.
    fn verdict(&self) -> Verdict {
        match self {
            Self::Call(error) => error.verdict(),
            Self::Busy(_) => Verdict::Silent,
            Self::Misconfigured(refused) => Verdict::Misconfigured(refused.clone()),
            Self::CodeInvalid(_)
            | Self::CodeUsed(_)
            | Self::RateLimited(_)
            | Self::Unknown(_)
            | Self::UserBlocked(_) => Verdict::Answers,
        }
    }
}

impl RedeemError {
    /// What WeChat refused with, if it did.
    pub const fn refused(&self) -> Option<&Refused> {
        match self {
            Self::Call(_) => None,
            Self::Busy(refused)
            | Self::CodeInvalid(refused)
            | Self::CodeUsed(refused)
            | Self::Misconfigured(refused)
            | Self::RateLimited(refused)
            | Self::Unknown(refused)
            | Self::UserBlocked(refused) => Some(refused),
        }
    }

    /// Whether WeChat does not take the AppSecret.
    pub(super) fn is_about_secret(&self) -> bool {
        self.refused()
            .is_some_and(|refused| refused.errcode.is_about_secret())
    }

    /// Whether WeChat refused the code for what it is: whoever sent it is to blame.
    pub const fn blames_code(&self) -> bool {
        matches!(self, Self::CodeInvalid(_) | Self::CodeUsed(_))
    }

    /// For how long WeChat is not asked, if that is why.
    pub const fn pause(&self) -> Option<Duration> {
        match self {
            Self::Call(CallError::Paused { retry_after }) => Some(*retry_after),
            _ => None,
        }
    }
}
