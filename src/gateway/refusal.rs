//! Every reason to say no, and what a client is told of it. What a client may not know goes to the
//! log.

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response};

use crate::domain::id::AppId;
use crate::domain::identity::Unclean;
use crate::gateway::budgets::UsedUp;
use crate::gateway::control::Busy;
use crate::gateway::problems::{self, Action, Kind};
use crate::gateway::route::Ambiguous;
use crate::server::body::BodyFault;
use crate::server::problem::Problem;
use crate::telemetry::access::Flag;
use crate::telemetry::event;
use crate::upstream;
use crate::wechat::error::RedeemError;

/// Seconds after which trying again makes sense when something was too busy.
const RETRY_SOON: u64 = 2;

/// Seconds after which WeChat counts a user's logins anew.
const RETRY_NEXT_MINUTE: u64 = 60;

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
    RateLimited { budget: Budget, retry_after: u64 },
    SessionExpired,
    SessionRequired,
    Unclean(Unclean),
    UnknownApp(String),
    UnsupportedMediaType,
    Upstream(upstream::Error),
    UriTooLong(usize),
}

/// Which of `[limits]` is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway) enum Budget {
    DecryptFailures,
    LoginsOfApp,
    RefusedLogins,
}

impl Budget {
    fn detail(self) -> &'static str {
        match self {
            Self::DecryptFailures => {
                "too much of what this session sent could not be decrypted; wait, call wx.login, log \
                 in, and obtain the data from WeChat again"
            }
            Self::LoginsOfApp => {
                "this mini program has more logins than its gate is set to allow; wait, then log in \
                 with a new code"
            }
            Self::RefusedLogins => {
                "WeChat refused too many login codes from this address; wait, then log in with a new \
                 code"
            }
        }
    }

    /// The refusal of who has used it up.
    pub(in crate::gateway) fn refusal(self, used_up: UsedUp) -> Refusal {
        Refusal::RateLimited {
            budget: self,
            retry_after: used_up.retry_after,
        }
    }
}

impl Refusal {
    /// Which row of the table tells it.
    fn kind(&self) -> Kind {
        match self {
            Self::AmbiguousPath(_) => problems::AMBIGUOUS_PATH,
            Self::BadRequest(_) | Self::BodyBroken(_) | Self::Unclean(_) => problems::BAD_REQUEST,
            Self::BodyTooLarge(_) => problems::BODY_TOO_LARGE,
            Self::DecryptFailed => problems::DECRYPT_FAILED,
            Self::HeadersTooLarge => problems::HEADERS_TOO_LARGE,
            Self::Internal => problems::INTERNAL,
            Self::Login { error, .. } => login_kind(error),
            Self::MethodNotAllowed { .. } => problems::METHOD_NOT_ALLOWED,
            Self::Overloaded => problems::OVERLOADED,
            Self::RateLimited { .. } => problems::RATE_LIMITED,
            Self::SessionExpired => problems::SESSION_EXPIRED,
            Self::SessionRequired => problems::SESSION_REQUIRED,
            Self::UnknownApp(_) => problems::UNKNOWN_APP,
            Self::UnsupportedMediaType => problems::UNSUPPORTED_MEDIA_TYPE,
            Self::Upstream(error) => upstream_kind(error),
            Self::UriTooLong(_) => problems::URI_TOO_LONG,
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
            Self::RateLimited { budget, .. } => budget.detail().to_owned(),
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

    /// The answer that tells it.
    pub(in crate::gateway) fn into_response(self, request_id: &str) -> Response<Bytes> {
        let Kind {
            code,
            title,
            status,
            action,
        } = self.kind();
        let problem = Problem {
            r#type: format!("urn:wxgate:problem:{code}"),
            title,
            status,
            code,
            detail: &self.detail(),
            action: action.name(),
            request_id,
        };
        let mut response = problem.into_response();
        let headers = response.headers_mut();
        if let Some(challenge) = self.challenge() {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(seconds) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Self::MethodNotAllowed { allowed } = self {
            headers.insert(ALLOW, HeaderValue::from_static(allowed));
        }
        response
    }

    /// Every 401 says how to do better (RFC 9110 §11.6.1, RFC 6750 §3).
    fn challenge(&self) -> Option<&'static str> {
        match self {
            Self::SessionExpired => Some(r#"Bearer realm="wxgate", error="invalid_token""#),
            Self::SessionRequired => Some(r#"Bearer realm="wxgate""#),
            _ => None,
        }
    }

    /// Seconds after which trying again makes sense. Who is told to retry is told when.
    fn retry_after(&self) -> Option<u64> {
        if let Self::RateLimited { retry_after, .. } = self {
            return Some(*retry_after);
        }
        if let Self::Login { error, .. } = self
            && let RedeemError::Paused { retry_after } = **error
        {
            let begun = retry_after.as_millis().div_ceil(1000).max(1);
            return Some(u64::try_from(begun).unwrap_or(u64::MAX));
        }
        match self.kind() {
            problems::RATE_LIMITED => Some(RETRY_NEXT_MINUTE),
            Kind {
                action: Action::Retry,
                ..
            } => Some(RETRY_SOON),
            _ => None,
        }
    }

    /// How the access log marks it.
    pub(in crate::gateway) fn flag(&self) -> Flag {
        match self {
            Self::Upstream(upstream::Error::Connect(_) | upstream::Error::ConnectTimeout) => {
                Flag::UpstreamUnreachable
            }
            Self::Upstream(upstream::Error::ResponseTimeout) => Flag::UpstreamTimeout,
            Self::Upstream(upstream::Error::Broken(_) | upstream::Error::UnaskedUpgrade) => {
                Flag::UpstreamBroken
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
                let cause = causes(error);
                tracing::warn!(message = event::UPSTREAM_FAILED, %error, cause, request_id);
            }
            Self::Login { error, app } => log_login(error, app, request_id),
            Self::Internal => tracing::error!(message = event::INTERNAL, request_id),
            _ => {}
        }
    }
}

fn login_kind(error: &RedeemError) -> Kind {
    match error {
        RedeemError::CodeInvalid { .. } => problems::LOGIN_CODE_INVALID,
        RedeemError::CodeUsed { .. } => problems::LOGIN_CODE_USED,
        RedeemError::HttpStatus { .. } if error.is_unavailable() => problems::WECHAT_UNAVAILABLE,
        RedeemError::HttpStatus { .. }
        | RedeemError::Malformed(_)
        | RedeemError::Unknown { .. } => problems::WECHAT_ERROR,
        RedeemError::Misconfigured { .. } => problems::WECHAT_MISCONFIGURED,
        RedeemError::RateLimited { .. } => problems::RATE_LIMITED,
        RedeemError::TooManyCalls => problems::OVERLOADED,
        RedeemError::UserBlocked { .. } => problems::USER_BLOCKED,
        RedeemError::Busy { .. }
        | RedeemError::Interrupted { .. }
        | RedeemError::Paused { .. }
        | RedeemError::TimedOut
        | RedeemError::Unreachable { .. } => problems::WECHAT_UNAVAILABLE,
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
        // Told by the client for WeChat, which counts them, and not once for each login.
        RedeemError::Misconfigured { .. } | RedeemError::Paused { .. } => {}
        _ => {
            let cause = causes(error);
            tracing::warn!(message = event::WECHAT_FAILED, %error, cause, errcode, rid, appid = %app, request_id);
        }
    }
}

fn upstream_kind(error: &upstream::Error) -> Kind {
    match error {
        upstream::Error::Broken(_) | upstream::Error::UnaskedUpgrade => problems::UPSTREAM_FAILED,
        upstream::Error::Connect(_) | upstream::Error::ConnectTimeout => {
            problems::UPSTREAM_UNREACHABLE
        }
        upstream::Error::Overloaded => problems::OVERLOADED,
        upstream::Error::Http2(_) | upstream::Error::Request(_) => problems::BAD_REQUEST,
        upstream::Error::ResponseTimeout => problems::UPSTREAM_TIMEOUT,
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

/// Everything behind an error, from the nearest cause to the last: the last is what helps, such as
/// "connection refused".
fn causes(error: &dyn Error) -> Option<String> {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    let told: Vec<_> = causes.map(ToString::to_string).collect();
    (!told.is_empty()).then(|| told.join(": "))
}
