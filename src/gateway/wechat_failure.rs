//! What it means for a client that a call to WeChat with an access token came to nothing, and what
//! the operator is told of it. Knows nothing of what the call was for.

use std::time::Duration;

use crate::domain::id::AppId;
use crate::gateway::problems::{self, Kind};
use crate::gateway::refusal::causes;
use crate::telemetry::event;
use crate::wechat::errcode::Errcode;
use crate::wechat::error::CallError;
use crate::wechat::open_api::OpenApiError;
use crate::wechat::token_error::TokenError;

/// Which row of the table tells it.
pub(in crate::gateway) fn kind(error: &OpenApiError) -> Kind {
    match error {
        OpenApiError::Call(error) | OpenApiError::Token(TokenError::NoAnswer(error)) => {
            call_kind(error)
        }
        error if error.is_misconfigured() => problems::WECHAT_MISCONFIGURED,
        OpenApiError::Refused(refused) => match refused.errcode {
            Errcode::RateLimited => problems::RATE_LIMITED,
            Errcode::SystemBusy => problems::WECHAT_UNAVAILABLE,
            _ => problems::WECHAT_ERROR,
        },
        // A limit on tokens is no client's doing.
        OpenApiError::Token(error) => match error.refused().map(|refused| refused.errcode) {
            Some(Errcode::RateLimited | Errcode::SystemBusy) => problems::WECHAT_UNAVAILABLE,
            _ => problems::WECHAT_ERROR,
        },
    }
}

/// The same of a call that had no answer of the API.
pub(in crate::gateway) fn call_kind(error: &CallError) -> Kind {
    match error {
        CallError::HttpStatus { status } if *status >= 500 => problems::WECHAT_UNAVAILABLE,
        CallError::HttpStatus { .. } | CallError::Malformed(_) => problems::WECHAT_ERROR,
        CallError::TooManyCalls => problems::OVERLOADED,
        CallError::Interrupted { .. }
        | CallError::Paused { .. }
        | CallError::TimedOut
        | CallError::Unreachable { .. } => problems::WECHAT_UNAVAILABLE,
    }
}

/// For how long WeChat is not asked, if that is why.
pub(in crate::gateway) fn pause(error: &OpenApiError) -> Option<Duration> {
    match error {
        OpenApiError::Call(CallError::Paused { retry_after }) => Some(*retry_after),
        _ => None,
    }
}

/// Writes down what the client is not told. Misconfigurations, pauses and missing tokens are told by
/// the client for WeChat, which counts them, and not once for each call.
pub(in crate::gateway) fn log(error: &OpenApiError, app: &AppId, request_id: &str) {
    let is_told = error.is_misconfigured() || matches!(error, OpenApiError::Token(_));
    if is_told || pause(error).is_some() {
        return;
    }
    let refused = error.refused();
    let errcode = refused.map(|refused| refused.errcode.number());
    let rid = refused.and_then(|refused| refused.rid.as_deref());
    let cause = causes(error);
    tracing::warn!(message = event::WECHAT_FAILED, %error, cause, errcode, rid, appid = %app, request_id);
}
