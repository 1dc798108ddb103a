//! The table of problems: every way in which a client is told no. This is the contract; the same
//! table is in `docs/http.md`, and a test compares the two.

/// What a client should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The request is wrong.
    Fix,
    /// Nothing the client can do.
    None,
    /// Log in, then obtain the data from WeChat again.
    Reacquire,
    /// Log in, then retry once.
    Relogin,
    /// Try again after `Retry-After`.
    Retry,
}

impl Action {
    /// As a problem document says it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fix => "fix",
            Self::None => "none",
            Self::Reacquire => "reacquire",
            Self::Relogin => "relogin",
            Self::Retry => "retry",
        }
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// For programs. Stable.
    pub code: &'static str,
    /// A few words for people, in English.
    pub title: &'static str,
    /// The same in Chinese.
    pub title_zh: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What a client should do.
    pub action: Action,
}

macro_rules! problems {
    ($($name:ident = $status:literal $code:literal $title:literal $title_zh:literal $action:ident;)*) => {
        $(
            #[doc = concat!("`", $code, "`")]
            pub const $name: Kind =
                Kind {
                    code: $code,
                    title: $title,
                    title_zh: $title_zh,
                    status: $status,
                    action: Action::$action,
                };
        )*

        /// All rows.
        pub const ALL: &[Kind] = &[$($name),*];
    };
}

problems! {
    AMBIGUOUS_PATH = 400 "ambiguous_path" "Ambiguous path" "请求路径有歧义" Fix;
    BAD_REQUEST = 400 "bad_request" "Bad request" "请求有误" Fix;
    BODY_TOO_LARGE = 413 "body_too_large" "Body too large" "请求内容过大" Fix;
    CROSS_SITE = 403 "cross_site" "Cross-site request" "跨站请求被拒绝" Fix;
    DECRYPT_FAILED = 422 "decrypt_failed" "Decryption failed" "数据解密失败" Reacquire;
    HEADERS_TOO_LARGE = 431 "headers_too_large" "Headers too large" "请求头过大" Fix;
    INTERNAL = 500 "internal" "Internal error" "网关内部错误" Retry;
    LOGIN_CODE_INVALID = 400 "login_code_invalid" "Login code invalid" "登录凭证无效" Relogin;
    LOGIN_CODE_USED = 400 "login_code_used" "Login code used" "登录凭证已使用" Relogin;
    LOGIN_REFUSED = 403 "login_refused" "Login refused" "登录被拒绝" None;
    METHOD_NOT_ALLOWED = 405 "method_not_allowed" "Method not allowed" "请求方法不支持" Fix;
    NOT_FOUND = 404 "not_found" "Not found" "路径不存在" Fix;
    OVERLOADED = 503 "overloaded" "Overloaded" "服务繁忙" Retry;
    PHONE_CODE_INVALID = 422 "phone_code_invalid" "Phone code invalid" "手机号凭证无效" Reacquire;
    PUSH_REFUSED = 403 "push_refused" "Push refused" "推送被拒绝" None;
    RATE_LIMITED = 429 "rate_limited" "Too many requests" "请求过于频繁" Retry;
    SESSION_EXPIRED = 401 "session_expired" "Session expired" "登录已过期" Relogin;
    SESSION_REQUIRED = 401 "session_required" "Session required" "请先登录" Relogin;
    UNKNOWN_APP = 400 "unknown_app" "Unknown mini program" "未知的小程序" Fix;
    UNSUPPORTED_MEDIA_TYPE = 415 "unsupported_media_type" "Unsupported media type" "请求内容类型不支持" Fix;
    UPSTREAM_FAILED = 502 "upstream_failed" "App server failed" "业务服务出错" Retry;
    UPSTREAM_TIMEOUT = 504 "upstream_timeout" "App server timed out" "业务服务响应超时" Retry;
    UPSTREAM_UNREACHABLE = 502 "upstream_unreachable" "App server unreachable" "业务服务无法连接" Retry;
    URI_TOO_LONG = 414 "uri_too_long" "URI too long" "请求地址过长" Fix;
    USER_BLOCKED = 403 "user_blocked" "User blocked" "该用户登录受限" None;
    WECHAT_ERROR = 502 "wechat_error" "Unexpected answer from WeChat" "微信返回异常" Retry;
    WECHAT_MISCONFIGURED = 502 "wechat_misconfigured" "WeChat refuses this gate" "网关的微信配置有误" None;
    WECHAT_UNAVAILABLE = 503 "wechat_unavailable" "WeChat is unavailable" "微信服务暂不可用" Retry;
}
