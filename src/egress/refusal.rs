//! What the app server is told when a call is not relayed or gets no answer. SDKs look at `errcode`
//! and `errmsg`, so the gate speaks as WeChat does; it tells neither tokens nor what was asked.

use http::{HeaderValue, Response, StatusCode};
use serde_json::json;

use crate::server::plain::{self, PlainBody};

/// WeChat's number for a path that is not on the list of a cloud environment.
const NOT_ALLOWED: i32 = 85_107;
/// WeChat's number for an appid that is none.
const INVALID_APPID: i32 = 40_013;
/// WeChat's number for a caller without the right to call.
const UNAUTHORIZED: i32 = 48_001;
/// WeChat's number for "busy, try again".
const BUSY: i32 = -1;

/// Why a call is not relayed, or has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The caller's: another mini program than the configured ones, or several at once.
    #[error("wxgate: the mini program named in from_appid or X-WX-APPID is not configured")]
    App,
    /// The caller's: no token of this listener, or an address that may not call.
    #[error("wxgate: show the token of [egress], from an address in egress.allow_from")]
    Auth,
    /// The caller's: the body broke off.
    #[error("wxgate: the body of the request broke off or took too long")]
    Body,
    /// A page in a browser.
    #[error("wxgate: browsers may not call this listener")]
    Browser,
    /// The caller's: meant for another host.
    #[error("wxgate: only api.weixin.qq.com is relayed, and this Host is not a name of the gate")]
    Host,
    /// The operator's: the name of WeChat leads to the gate.
    #[error("wxgate: the call came back to the gate; set [wechat] resolve")]
    Loop,
    /// The caller's.
    #[error("wxgate: only GET and POST are relayed")]
    Method,
    /// WeChat's or the network's: no answer, or none that can be passed on.
    #[error("wxgate: WeChat cannot be reached or did not answer properly")]
    NoAnswer,
    /// WeChat's, the network's or the operator's: see the log.
    #[error("wxgate: there is no access token at the moment; the log says why")]
    NoToken,
    /// The caller's: a path that is not in `egress.allow`.
    #[error("wxgate: this path is not in egress.allow")]
    Path,
    /// WeChat's or the network's.
    #[error("wxgate: WeChat did not answer in time")]
    TimedOut,
}

impl Refusal {
    fn status(self) -> StatusCode {
        match self {
            Self::App | Self::Browser | Self::Host | Self::Method | Self::Path => {
                StatusCode::FORBIDDEN
            }
            Self::Auth => StatusCode::UNAUTHORIZED,
            Self::Body => StatusCode::BAD_REQUEST,
            Self::Loop => StatusCode::LOOP_DETECTED,
            Self::NoAnswer | Self::NoToken => StatusCode::BAD_GATEWAY,
            Self::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    fn errcode(self) -> i32 {
        match self {
            Self::App => INVALID_APPID,
            Self::Auth | Self::Browser => UNAUTHORIZED,
            Self::Host | Self::Loop | Self::Method | Self::Path => NOT_ALLOWED,
            Self::Body | Self::NoAnswer | Self::NoToken | Self::TimedOut => BUSY,
        }
    }

    /// The answer that says it.
    pub(super) fn into_response(self) -> Response<PlainBody> {
        let body = json!({"errcode": self.errcode(), "errmsg": self.to_string()});
        let mut response = plain::json(self.status(), &body);
        if self == Self::Auth {
            let bearer = HeaderValue::from_static("Bearer");
            response
                .headers_mut()
                .insert(http::header::WWW_AUTHENTICATE, bearer);
        }
        response
    }
}
