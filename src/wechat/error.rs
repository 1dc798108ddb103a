//! Why a call came to nothing, and whose fault that is. Knows no secret, no code and no URL, so
//! that any of it may be logged; knows nothing of what a client is told about it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::wechat::errcode::Errcode;
use crate::wechat::guard::{Closed, Verdict};

/// Why there is no answer of the API. Can be given to everybody who waited for one call.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    /// Something before WeChat's API: a status that the API does not use.
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

impl CallError {
    /// What this says about the API that was called.
    pub(super) const fn verdict(&self) -> Verdict {
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

impl From<Closed> for RedeemError {
    fn from(closed: Closed) -> Self {
        match closed {
            Closed::Misconfigured(Refused {
                errcode,
                rid,
                seen_ip,
            }) => Self::Misconfigured {
                errcode,
                rid,
                seen_ip,
            },
            Closed::Paused(retry_after) => Self::Paused { retry_after },
        }
    }
}

impl From<CallError> for RedeemError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::HttpStatus { status } => Self::HttpStatus { status },
            CallError::Interrupted { source } => Self::Interrupted { source },
            CallError::Malformed(malformed) => Self::Malformed(malformed),
            CallError::Paused { retry_after } => Self::Paused { retry_after },
            CallError::TimedOut => Self::TimedOut,
            CallError::TooManyCalls => Self::TooManyCalls,
            CallError::Unreachable { source } => Self::Unreachable { source },
        }
    }
}

/// Why a code was not redeemed, and whose fault that is. Holds no secret, no code and no URL.
#[derive(Debug, thiserror::Error)]
pub enum RedeemError {
    /// WeChat's: it is busy, or it took our second attempt for a repetition.
    #[error("WeChat is busy (errcode {errcode})")]
    Busy {
        /// -1, or 40163 after an attempt of ours that may have used the code up.
        errcode: i64,
        /// WeChat's id of the request.
        rid: Option<String>,
    },
    /// The client's: the code is invalid, too old, or another mini program's.
    #[error("WeChat does not take the code (errcode {errcode})")]
    CodeInvalid {
        /// What WeChat answered.
        errcode: i64,
        /// WeChat's id of the request.
        rid: Option<String>,
    },
    /// The client's: the code was redeemed before.
    #[error("the code was already used (errcode {errcode})")]
    CodeUsed {
        /// What WeChat answered.
        errcode: i64,
        /// WeChat's id of the request.
        rid: Option<String>,
    },
    /// Something before WeChat's API: a status that the API does not use. Redirects are among them,
    /// for following one would hand over the secret.
    #[error("WeChat answered with HTTP status {status}")]
    HttpStatus {
        /// The status.
        status: u16,
    },
    /// The network's or WeChat's: the connection broke when the code may have been used up.
    #[error("the connection to WeChat broke off")]
    Interrupted {
        /// What broke, without the URL.
        source: Arc<reqwest::Error>,
    },
    /// WeChat's, or something before it: an answer that is none.
    #[error("WeChat's answer cannot be understood")]
    Malformed(#[from] Malformed),
    /// The operator's: it stays like this until the configuration or the account is put right.
    #[error("WeChat refuses the gate: {} (errcode {errcode})", .errcode.meaning_en())]
    Misconfigured {
        /// What WeChat answered; knows its meaning and the fix.
        errcode: Errcode,
        /// WeChat's id of the request.
        rid: Option<String>,
        /// The gate's address as WeChat saw it, when it is the address that WeChat refuses.
        seen_ip: Option<IpAddr>,
    },
    /// WeChat's or the network's: it failed to answer several times in a row, and is not asked for a
    /// moment. Nothing was sent.
    #[error("WeChat is not asked while it does not answer")]
    Paused {
        /// Until when.
        retry_after: Duration,
    },
    /// The client's: too many logins of one user within a minute.
    #[error("WeChat limits the user's logins (errcode {errcode})")]
    RateLimited {
        /// What WeChat answered.
        errcode: i64,
        /// WeChat's id of the request.
        rid: Option<String>,
    },
    /// The network's or WeChat's: no answer in time. The code may have been used up.
    #[error("WeChat did not answer in time")]
    TimedOut,
    /// Ours: as many calls are under way as are allowed. Nothing was sent.
    #[error("too many calls to WeChat are under way")]
    TooManyCalls,
    /// WeChat's: an errcode that means nothing here.
    #[error("WeChat answered with the unknown errcode {errcode}")]
    Unknown {
        /// What WeChat answered.
        errcode: i64,
        /// WeChat's id of the request.
        rid: Option<String>,
    },
    /// The network's or the operator's: no connection came about. Nothing was sent.
    #[error("WeChat cannot be reached")]
    Unreachable {
        /// Why not, without the URL.
        source: Arc<reqwest::Error>,
    },
    /// The user's: WeChat holds them for a risk.
    #[error("WeChat blocks the user (errcode {errcode})")]
    UserBlocked {
        /// What WeChat answered.
        errcode: i64,
        /// WeChat's id of the request.
        rid: Option<String>,
    },
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

/// The kinds of failure that need different answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The code is not, or no longer, good: log in again.
    CodeInvalid,
    /// The code was used: log in again.
    CodeUsed,
    /// The operator must act.
    ConfigError,
    /// The user must wait.
    RateLimited,
    /// Wait a little.
    UpstreamBusy,
    /// WeChat or the way to it is out of order.
    UpstreamError,
    /// WeChat's answer makes no sense.
    UpstreamMalformed,
    /// The user may not log in.
    UserBlocked,
}

impl Kind {
    /// A stable name, for counting.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CodeInvalid => "code_invalid",
            Self::CodeUsed => "code_used",
            Self::ConfigError => "config_error",
            Self::RateLimited => "rate_limited",
            Self::UpstreamBusy => "upstream_busy",
            Self::UpstreamError => "upstream_error",
            Self::UpstreamMalformed => "upstream_malformed",
            Self::UserBlocked => "user_blocked",
        }
    }
}

impl RedeemError {
    /// Whether WeChat does not take the AppSecret.
    pub(super) const fn is_about_secret(&self) -> bool {
        matches!(
            self,
            Self::Misconfigured {
                errcode: Errcode::BadSecret(_),
                ..
            }
        )
    }

    /// What this says about `sns/jscode2session`. 45011 counts for nothing: it is about one user.
    pub(super) fn verdict(&self) -> Verdict {
        match self {
            Self::Paused { .. } | Self::TooManyCalls => Verdict::Nothing,
            Self::Misconfigured {
                errcode,
                rid,
                seen_ip,
            } => Verdict::Misconfigured(Refused {
                errcode: *errcode,
                rid: rid.clone(),
                seen_ip: *seen_ip,
            }),
            error if error.is_unavailable() => Verdict::Silent,
            _ => Verdict::Answers,
        }
    }

    /// Which kind of failure it is.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Busy { .. } | Self::Paused { .. } | Self::TooManyCalls => Kind::UpstreamBusy,
            Self::CodeInvalid { .. } => Kind::CodeInvalid,
            Self::CodeUsed { .. } => Kind::CodeUsed,
            Self::HttpStatus { .. }
            | Self::Interrupted { .. }
            | Self::TimedOut
            | Self::Unknown { .. }
            | Self::Unreachable { .. } => Kind::UpstreamError,
            Self::Malformed(_) => Kind::UpstreamMalformed,
            Self::Misconfigured { .. } => Kind::ConfigError,
            Self::RateLimited { .. } => Kind::RateLimited,
            Self::UserBlocked { .. } => Kind::UserBlocked,
        }
    }

    /// Whether WeChat, or the way to it, is out of reach for now, so that waiting may help; as
    /// opposed to an answer that was given.
    pub const fn is_unavailable(&self) -> bool {
        match self {
            Self::Busy { .. }
            | Self::Interrupted { .. }
            | Self::Paused { .. }
            | Self::TimedOut
            | Self::TooManyCalls
            | Self::Unreachable { .. } => true,
            Self::HttpStatus { status } => *status >= 500,
            Self::CodeInvalid { .. }
            | Self::CodeUsed { .. }
            | Self::Malformed(_)
            | Self::Misconfigured { .. }
            | Self::RateLimited { .. }
            | Self::Unknown { .. }
            | Self::UserBlocked { .. } => false,
        }
    }

    /// Whether WeChat refused the code for what it is: whoever sent it is to blame.
    pub const fn blames_code(&self) -> bool {
        matches!(self, Self::CodeInvalid { .. } | Self::CodeUsed { .. })
    }

    /// Whether the same code may still be good after this.
    pub const fn retry_same_code(&self) -> bool {
        match self {
            Self::Busy { errcode, .. } => *errcode == Errcode::SystemBusy.number(),
            Self::Paused { .. } | Self::TooManyCalls | Self::Unreachable { .. } => true,
            Self::CodeInvalid { .. }
            | Self::CodeUsed { .. }
            | Self::HttpStatus { .. }
            | Self::Interrupted { .. }
            | Self::Malformed(_)
            | Self::Misconfigured { .. }
            | Self::RateLimited { .. }
            | Self::TimedOut
            | Self::Unknown { .. }
            | Self::UserBlocked { .. } => false,
        }
    }

    /// The errcode that WeChat answered with, if it did.
    pub const fn errcode(&self) -> Option<i64> {
        match self {
            Self::Busy { errcode, .. }
            | Self::CodeInvalid { errcode, .. }
            | Self::CodeUsed { errcode, .. }
            | Self::RateLimited { errcode, .. }
            | Self::Unknown { errcode, .. }
            | Self::UserBlocked { errcode, .. } => Some(*errcode),
            Self::Misconfigured { errcode, .. } => Some(errcode.number()),
            Self::HttpStatus { .. }
            | Self::Interrupted { .. }
            | Self::Malformed(_)
            | Self::Paused { .. }
            | Self::TimedOut
            | Self::TooManyCalls
            | Self::Unreachable { .. } => None,
        }
    }

    /// WeChat's id of the request, by which the operator can look it up.
    pub fn rid(&self) -> Option<&str> {
        match self {
            Self::Busy { rid, .. }
            | Self::CodeInvalid { rid, .. }
            | Self::CodeUsed { rid, .. }
            | Self::Misconfigured { rid, .. }
            | Self::RateLimited { rid, .. }
            | Self::Unknown { rid, .. }
            | Self::UserBlocked { rid, .. } => rid.as_deref(),
            Self::HttpStatus { .. }
            | Self::Interrupted { .. }
            | Self::Malformed(_)
            | Self::Paused { .. }
            | Self::TimedOut
            | Self::TooManyCalls
            | Self::Unreachable { .. } => None,
        }
    }
}
