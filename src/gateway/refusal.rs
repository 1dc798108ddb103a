//! Every reason to say no, and how a client is told. The codes are the contract; what a client may
//! not know goes to the log.

use std::sync::Arc;

use http::HeaderValue;
use http::header::InvalidHeaderValue;

use crate::domain::id::AppId;
use crate::domain::identity::Unclean;
use crate::gateway::control::Busy;
use crate::gateway::route::Ambiguous;
use crate::server::body::BodyFault;
use crate::server::problem::Problem;
use crate::telemetry::access::Flag;
use crate::telemetry::event;
use crate::upstream;
use crate::wechat::error::RedeemError;

/// Seconds after which trying again makes sense when something was too busy.
const RETRY_SOON: u32 = 2;

/// Seconds after which WeChat counts a user's logins anew.
const RETRY_NEXT_MINUTE: u32 = 60;

/// Why a request is refused.
#[derive(Debug)]
pub(in crate::gateway) enum Refusal {
    AmbiguousPath(Ambiguous),
    BadRequest(&'static str),
    BodyBroken(BodyFault),
    BodyTooLarge(u64),
    DecryptFailed,
    HeadersTooLarge,
    Internal,
    Login { error: Arc<RedeemError>, app: AppId },
    MethodNotAllowed { allowed: &'static str },
    Overloaded,
    SessionExpired,
    SessionRequired,
    Unclean(Unclean),
    UnknownApp(String),
    UnsupportedMediaType,
    Upstream(upstream::Error),
    UriTooLong(usize),
}

/// How a client is told: the columns of the contract's table.
struct Told {
    code: &'static str,
    title: &'static str,
    status: u16,
    action: &'static str,
}

const fn told(code: &'static str, title: &'static str, status: u16, action: &'static str) -> Told {
    Told {
        code,
        title,
        status,
        action,
    }
}

impl Refusal {
    fn told(&self) -> Told {
        match self {
            Self::AmbiguousPath(_) => told("ambiguous_path", "Ambiguous path", 400, "fix"),
            Self::BadRequest(_) | Self::BodyBroken(_) | Self::Unclean(_) => {
                told("bad_request", "Bad request", 400, "fix")
            }
            Self::BodyTooLarge(_) => told("body_too_large", "Body too large", 413, "fix"),
            Self::DecryptFailed => told("decrypt_failed", "Decryption failed", 422, "reacquire"),
            Self::HeadersTooLarge => told("headers_too_large", "Headers too large", 431, "fix"),
            Self::Internal => told("internal", "Internal error", 500, "retry"),
            Self::Login { error, .. } => login_told(error),
            Self::MethodNotAllowed { .. } => {
                told("method_not_allowed", "Method not allowed", 405, "fix")
            }
            Self::Overloaded => told("overloaded", "Overloaded", 503, "retry"),
            Self::SessionExpired => told("session_expired", "Session expired", 401, "relogin"),
            Self::SessionRequired => told("session_required", "Session required", 401, "relogin"),
            Self::UnknownApp(_) => told("unknown_app", "Unknown mini program", 400, "fix"),
            Self::UnsupportedMediaType => told(
                "unsupported_media_type",
                "Unsupported media type",
                415,
                "fix",
            ),
            Self::Upstream(error) => upstream_told(error),
            Self::UriTooLong(_) => told("uri_too_long", "URI too long", 414, "fix"),
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::AmbiguousPath(why) => format!("{why}; write the path in its plain form"),
            Self::BadRequest(what) => (*what).to_owned(),
            Self::BodyBroken(fault) => fault.to_string(),
            Self::BodyTooLarge(max) => format!("the body may have at most {max} bytes"),
            Self::DecryptFailed => "the data could not be decrypted; call wx.login, log in, and \
                obtain the data from WeChat again; do not send the same data again"
                .to_owned(),
            Self::HeadersTooLarge => "the request head is larger than allowed".to_owned(),
            Self::Internal => {
                "a fault of the gate itself; its log knows this request_id".to_owned()
            }
            Self::Login { error, app } => login_detail(error, app),
            Self::MethodNotAllowed { allowed } => format!("use {allowed}"),
            Self::Overloaded => "too much at once; try again shortly".to_owned(),
            Self::SessionExpired => "the session is unknown, has ended or has run out; call \
                wx.login, log in, and retry once with the new token in Authorization: Bearer"
                .to_owned(),
            Self::SessionRequired => "log in first: send the code of wx.login to the login route, \
                then send the whole token it gives, as Authorization: Bearer wxg_..."
                .to_owned(),
            Self::Unclean(why) => why.to_string(),
            Self::UnknownApp(detail) => detail.clone(),
            Self::UnsupportedMediaType => {
                "send application/json or application/x-www-form-urlencoded".to_owned()
            }
            Self::Upstream(error) => error.to_string(),
            Self::UriTooLong(max) => format!("the target may have at most {max} bytes"),
        }
    }

    /// The answer's body.
    pub(in crate::gateway) fn problem<'a>(&'a self, request_id: &'a str) -> OwnedProblem<'a> {
        OwnedProblem {
            told: self.told(),
            detail: self.detail(),
            request_id,
        }
    }

    /// Every 401 says how to do better (RFC 9110 §11.6.1, RFC 6750 §3).
    pub(in crate::gateway) fn challenge(&self) -> Option<&'static str> {
        match self {
            Self::SessionExpired => Some(r#"Bearer realm="wxgate", error="invalid_token""#),
            Self::SessionRequired => Some(r#"Bearer realm="wxgate""#),
            _ => None,
        }
    }

    /// Seconds after which trying again makes sense. Who is told to retry is told when.
    pub(in crate::gateway) fn retry_after(&self) -> Option<u32> {
        match self.told() {
            Told {
                code: "rate_limited",
                ..
            } => Some(RETRY_NEXT_MINUTE),
            Told {
                action: "retry", ..
            } => Some(RETRY_SOON),
            _ => None,
        }
    }

    /// The methods that would do.
    pub(in crate::gateway) fn allow(&self) -> Option<&'static str> {
        match self {
            Self::MethodNotAllowed { allowed } => Some(allowed),
            _ => None,
        }
    }

    /// How the access log marks it.
    pub(in crate::gateway) fn flag(&self) -> Flag {
        match self {
            Self::Upstream(upstream::Error::Connect(_) | upstream::Error::ConnectTimeout) => {
                Flag::UpstreamFailed
            }
            Self::Upstream(upstream::Error::ResponseTimeout) => Flag::UpstreamTimeout,
            Self::Upstream(upstream::Error::Broken(_) | upstream::Error::UnaskedUpgrade) => {
                Flag::UpstreamClosed
            }
            Self::BodyBroken(_) => Flag::ClientGone,
            _ => Flag::Refused,
        }
    }

    /// Writes down what the client is not told and the operator should know.
    pub(in crate::gateway) fn log(&self, request_id: &HeaderValue) {
        let request_id = request_id.to_str().unwrap_or_default();
        match self {
            Self::Upstream(error) => {
                let cause = std::error::Error::source(error).map(ToString::to_string);
                tracing::warn!(message = event::UPSTREAM_FAILED, %error, cause, request_id);
            }
            Self::Login { error, app } => log_login(error, app, request_id),
            Self::Internal => tracing::error!(message = event::INTERNAL, request_id),
            _ => {}
        }
    }
}

/// A problem with its own texts.
pub(in crate::gateway) struct OwnedProblem<'a> {
    told: Told,
    detail: String,
    request_id: &'a str,
}

impl OwnedProblem<'_> {
    pub(in crate::gateway) fn into_response(self) -> http::Response<bytes::Bytes> {
        let Told {
            code,
            title,
            status,
            action,
        } = self.told;
        let problem = Problem {
            r#type: format!("urn:wxgate:problem:{code}"),
            title,
            status,
            code,
            detail: &self.detail,
            action,
            request_id: self.request_id,
        };
        problem.into_response()
    }
}

fn login_told(error: &RedeemError) -> Told {
    let unavailable = told("wechat_unavailable", "WeChat is unavailable", 503, "retry");
    match error {
        RedeemError::CodeInvalid { .. } => {
            told("login_code_invalid", "Login code invalid", 400, "relogin")
        }
        RedeemError::CodeUsed { .. } => told("login_code_used", "Login code used", 400, "relogin"),
        RedeemError::UserBlocked { .. } => told("user_blocked", "User blocked", 403, "none"),
        RedeemError::RateLimited { .. } => told("rate_limited", "Too many logins", 429, "retry"),
        RedeemError::Misconfigured { .. } => told(
            "wechat_misconfigured",
            "WeChat refuses this gate",
            502,
            "none",
        ),
        RedeemError::TooManyCalls => told("overloaded", "Overloaded", 503, "retry"),
        _ if error.is_unavailable() => unavailable,
        RedeemError::Busy { .. }
        | RedeemError::Interrupted { .. }
        | RedeemError::TimedOut
        | RedeemError::Unreachable { .. } => unavailable,
        RedeemError::HttpStatus { .. }
        | RedeemError::Malformed(_)
        | RedeemError::Unknown { .. } => told(
            "wechat_error",
            "Unexpected answer from WeChat",
            502,
            "retry",
        ),
    }
}

fn login_detail(error: &RedeemError, app: &AppId) -> String {
    match error {
        RedeemError::CodeInvalid { .. } => format!(
            "WeChat does not know this code: it has expired (5 minutes), was already used, or was \
             made by another mini program than {app}; call wx.login again"
        ),
        RedeemError::CodeUsed { .. } => {
            "this code was already used, and a code works once; call wx.login again".to_owned()
        }
        RedeemError::UserBlocked { .. } => "WeChat does not let this user log in".to_owned(),
        RedeemError::RateLimited { .. } => {
            "WeChat allows a user only so many logins a minute; wait, then log in with a new code"
                .to_owned()
        }
        RedeemError::Misconfigured { .. } => {
            "WeChat refuses this gate's configuration; its operator finds the reason in the log"
                .to_owned()
        }
        RedeemError::TooManyCalls => "too many logins at once; try again shortly".to_owned(),
        _ => "no usable answer from WeChat; try again shortly with a new code".to_owned(),
    }
}

fn log_login(error: &RedeemError, app: &AppId, request_id: &str) {
    let (errcode, rid) = (error.errcode(), error.rid());
    match error {
        RedeemError::CodeInvalid { .. }
        | RedeemError::CodeUsed { .. }
        | RedeemError::RateLimited { .. }
        | RedeemError::UserBlocked { .. } => {
            tracing::info!(message = event::LOGIN_REFUSED, %error, errcode, rid, appid = %app, request_id);
        }
        RedeemError::Misconfigured {
            errcode: known,
            seen_ip,
            ..
        } => {
            let fix = known.fix();
            tracing::error!(
                message = event::WECHAT_MISCONFIGURED,
                errcode,
                meaning = known.meaning_en(),
                meaning_zh = known.meaning_zh(),
                fix = fix.map(|fix| fix.en),
                fix_zh = fix.map(|fix| fix.zh),
                seen_ip = seen_ip.map(|ip| ip.to_string()),
                rid,
                appid = %app,
                request_id,
            );
        }
        _ => {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::warn!(message = event::WECHAT_FAILED, %error, cause, errcode, rid, appid = %app, request_id);
        }
    }
}

fn upstream_told(error: &upstream::Error) -> Told {
    match error {
        upstream::Error::Connect(_) | upstream::Error::ConnectTimeout => told(
            "upstream_unreachable",
            "App server unreachable",
            502,
            "retry",
        ),
        upstream::Error::Broken(_) | upstream::Error::UnaskedUpgrade => {
            told("upstream_failed", "App server failed", 502, "retry")
        }
        upstream::Error::ResponseTimeout => {
            told("upstream_timeout", "App server timed out", 504, "retry")
        }
        upstream::Error::Overloaded => told("overloaded", "Overloaded", 503, "retry"),
    }
}

impl From<Ambiguous> for Refusal {
    fn from(why: Ambiguous) -> Self {
        Self::AmbiguousPath(why)
    }
}

impl From<Unclean> for Refusal {
    fn from(why: Unclean) -> Self {
        Self::Unclean(why)
    }
}

impl From<BodyFault> for Refusal {
    fn from(fault: BodyFault) -> Self {
        match fault {
            BodyFault::TooLarge(max) => Self::BodyTooLarge(max),
            BodyFault::Broken | BodyFault::Idle => Self::BodyBroken(fault),
        }
    }
}

impl From<Busy> for Refusal {
    fn from(_busy: Busy) -> Self {
        Self::Overloaded
    }
}

impl From<http::method::InvalidMethod> for Refusal {
    fn from(_error: http::method::InvalidMethod) -> Self {
        Self::BadRequest("the method override header has no method in it")
    }
}

impl From<InvalidHeaderValue> for Refusal {
    fn from(_error: InvalidHeaderValue) -> Self {
        Self::Internal
    }
}
