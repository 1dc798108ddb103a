//! Every reason to say no, and what a client is told of it. What a client may not know goes to the
//! log. Its words are in `texts`.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_LANGUAGE, RETRY_AFTER, VARY, WWW_AUTHENTICATE};
use http::{HeaderValue, Response};

use crate::domain::id::AppId;
use crate::domain::identity::Unclean;
use crate::gateway::answer_style::AnswerStyle;
use crate::gateway::budgets::Budget;
use crate::gateway::control::{Busy, NoOutcome};
use crate::gateway::phone::BadCode;
use crate::gateway::problems::{self, Action, Kind};
use crate::gateway::push::{BadAnswer, Unproven};
use crate::gateway::route::Ambiguous;
use crate::gateway::texts::{self, Text};
use crate::gateway::wechat_failure;
use crate::server::body::BodyFault;
use crate::server::problem::Problem;
use crate::store::Unusable;
use crate::telemetry::access::Flag;
use crate::telemetry::event;
use crate::upstream;
use crate::wechat::error::{CallError, RedeemError};
use crate::wechat::open_api::OpenApiError;

/// Seconds after which trying again makes sense when something was too busy.
const RETRY_SOON: u64 = 2;

/// Seconds after which WeChat counts a user's logins anew.
const RETRY_NEXT_MINUTE: u64 = 60;

/// Why a request is refused.
#[derive(Debug)]
pub(in crate::gateway) enum Refusal {
    AmbiguousPath(Ambiguous),
    BadRequest(&'static Text),
    BodyBroken(BodyFault),
    BodyTooLarge(u64),
    CrossSite,
    DecryptFailed,
    EndedHereOnly,
    HeadersTooLarge,
    Internal,
    Login {
        error: Arc<RedeemError>,
        app: AppId,
    },
    LoginNotKept,
    LoginRefused,
    MethodNotAllowed {
        allowed: &'static str,
    },
    NoLogins,
    NotFound,
    Overloaded,
    RateLimited {
        budget: Budget,
        retry_after: u64,
    },
    PhoneCode {
        why: Box<BadCode>,
        app: AppId,
    },
    PushNotTaken(BadAnswer),
    PushRefused {
        why: Unproven,
        app: AppId,
    },
    SessionExpired,
    SessionRequired,
    StoreUnusable,
    Unclean(Unclean),
    UnknownApp(UnknownApp),
    UnsupportedMediaType(&'static Text),
    Upstream(upstream::Error),
    UriTooLong(usize),
    WeChat {
        error: Box<OpenApiError>,
        app: AppId,
    },
}

/// Why a login is for no mini program of this gate.
#[derive(Debug)]
pub(in crate::gateway) enum UnknownApp {
    /// The `Referer` names another than `expected`.
    Caller { from: AppId, expected: String },
    /// The body names another.
    Named,
    /// Nothing says which of several.
    Unnamed,
}

impl Refusal {
    /// Which row of the table tells it.
    fn kind(&self) -> Kind {
        match self {
            Self::AmbiguousPath(_) => problems::AMBIGUOUS_PATH,
            Self::BadRequest(_) | Self::BodyBroken(_) | Self::Unclean(_) => problems::BAD_REQUEST,
            Self::BodyTooLarge(_) => problems::BODY_TOO_LARGE,
            Self::CrossSite => problems::CROSS_SITE,
            Self::DecryptFailed => problems::DECRYPT_FAILED,
            Self::HeadersTooLarge => problems::HEADERS_TOO_LARGE,
            Self::Internal => problems::INTERNAL,
            Self::Login { error, .. } => login_kind(error),
            Self::LoginRefused => problems::LOGIN_REFUSED,
            Self::MethodNotAllowed { .. } => problems::METHOD_NOT_ALLOWED,
            Self::NotFound => problems::NOT_FOUND,
            Self::EndedHereOnly
            | Self::LoginNotKept
            | Self::NoLogins
            | Self::Overloaded
            | Self::StoreUnusable => problems::OVERLOADED,
            Self::RateLimited { .. } => problems::RATE_LIMITED,
            Self::PhoneCode { .. } => problems::PHONE_CODE_INVALID,
            Self::PushNotTaken(_) => problems::UPSTREAM_FAILED,
            Self::PushRefused { .. } => problems::PUSH_REFUSED,
            Self::SessionExpired => problems::SESSION_EXPIRED,
            Self::SessionRequired => problems::SESSION_REQUIRED,
            Self::UnknownApp(_) => problems::UNKNOWN_APP,
            Self::UnsupportedMediaType(_) => problems::UNSUPPORTED_MEDIA_TYPE,
            Self::Upstream(error) => upstream_kind(error),
            Self::UriTooLong(_) => problems::URI_TOO_LONG,
            Self::WeChat { error, .. } => wechat_failure::kind(error),
        }
    }

    /// The answer that tells it.
    pub(in crate::gateway) fn into_response(
        self,
        request_id: &str,
        style: &AnswerStyle,
    ) -> Response<Bytes> {
        let (kind, language) = (self.kind(), style.language());
        let problem = Problem {
            r#type: format!("urn:wxgate:problem:{}", kind.code),
            title: language.pick(kind.title, kind.title_zh),
            status: kind.status,
            code: kind.code,
            detail: &texts::detail(&self, language),
            action: kind.action.name(),
            request_id,
        };
        let mut response = style.envelope.refusal(&problem);
        let headers = response.headers_mut();
        headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
        if style.is_negotiated() {
            headers.append(VARY, HeaderValue::from_static("Accept-Language"));
        }
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
        if let Some(pause) = self.pause() {
            let begun = pause.as_millis().div_ceil(1000).max(1);
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

    /// For how long WeChat is not asked, if that is why.
    fn pause(&self) -> Option<Duration> {
        match self {
            Self::Login { error, .. } => error.pause(),
            Self::WeChat { error, .. } => wechat_failure::pause(error),
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
    pub(in crate::gateway) fn log(&self, request_id: &str) {
        match self {
            Self::Upstream(error) => {
                let cause = causes(error);
                tracing::warn!(message = event::UPSTREAM_FAILED, %error, cause, request_id);
            }
            Self::Login { error, app } => log_login(error, app, request_id),
            Self::PhoneCode { why, app } => log_phone_code(why, app, request_id),
            Self::PushNotTaken(why) => {
                tracing::warn!(message = event::PUSH_NOT_TAKEN, %why, request_id);
            }
            Self::PushRefused { why, app } => {
                tracing::info!(message = event::PUSH_REFUSED, %why, appid = %app, request_id);
            }
            Self::Internal => tracing::error!(message = event::INTERNAL, request_id),
            Self::WeChat { error, app } => wechat_failure::log(error, app, request_id),
            _ => {}
        }
    }
}

fn login_kind(error: &RedeemError) -> Kind {
    match error {
        RedeemError::Busy(_) => problems::WECHAT_UNAVAILABLE,
        RedeemError::Call(error) => wechat_failure::call_kind(error),
        RedeemError::CodeInvalid(_) => problems::LOGIN_CODE_INVALID,
        RedeemError::CodeUsed(_) => problems::LOGIN_CODE_USED,
        RedeemError::Misconfigured(_) => problems::WECHAT_MISCONFIGURED,
        RedeemError::RateLimited(_) => problems::RATE_LIMITED,
        RedeemError::Unknown(_) => problems::WECHAT_ERROR,
        RedeemError::UserBlocked(_) => problems::USER_BLOCKED,
    }
}

fn log_login(error: &RedeemError, app: &AppId, request_id: &str) {
    let refused = error.refused();
    let errcode = refused.map(|refused| refused.errcode.number());
    let rid = refused.and_then(|refused| refused.rid.as_deref());
    match error {
        RedeemError::CodeInvalid(_)
        | RedeemError::CodeUsed(_)
        | RedeemError::RateLimited(_)
        | RedeemError::UserBlocked(_) => {
            tracing::info!(message = event::LOGIN_REFUSED, %error, errcode, rid, appid = %app, request_id);
        }
        // Told by the client for WeChat, which counts them, and not once for each login.
        RedeemError::Misconfigured(_) | RedeemError::Call(CallError::Paused { .. }) => {}
        RedeemError::Busy(_) | RedeemError::Call(_) | RedeemError::Unknown(_) => {
            let cause = causes(error);
            tracing::warn!(message = event::WECHAT_FAILED, %error, cause, errcode, rid, appid = %app, request_id);
        }
    }
}

fn log_phone_code(why: &BadCode, app: &AppId, request_id: &str) {
    let rid = match why {
        BadCode::Refused(refused) => refused.rid.as_deref(),
        BadCode::Age(_) => None,
    };
    tracing::info!(message = event::PHONE_CODE_REFUSED, %why, rid, appid = %app, request_id);
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

impl From<NoOutcome> for Refusal {
    fn from(why: NoOutcome) -> Self {
        match why {
            NoOutcome::Busy(_) => Self::Overloaded,
            NoOutcome::Lost => Self::Internal,
        }
    }
}

impl From<Unusable> for Refusal {
    fn from(why: Unusable) -> Self {
        match why {
            Unusable::Busy => Self::Overloaded,
            // Why, the store has told the log.
            Unusable::Away | Unusable::Failed | Unusable::NoWrites => Self::StoreUnusable,
        }
    }
}

impl From<http::method::InvalidMethod> for Refusal {
    fn from(_error: http::method::InvalidMethod) -> Self {
        Self::BadRequest(&texts::OVERRIDE_MALFORMED)
    }
}

/// Everything behind an error, from the nearest cause to the last: the last is what helps, such as
/// "connection refused".
pub(in crate::gateway) fn causes(error: &dyn Error) -> Option<String> {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    let told: Vec<_> = causes.map(ToString::to_string).collect();
    (!told.is_empty()).then(|| told.join(": "))
}
