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
    /// A few words for people.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What a client should do.
    pub action: Action,
}

macro_rules! problems {
    ($($name:ident = $status:literal $code:literal $title:literal $action:ident;)*) => {
        $(
            #[doc = concat!("`", $code, "`")]
            pub const $name: Kind =
                Kind { code: $code, title: $title, status: $status, action: Action::$action };
        )*

        /// All rows.
        pub const ALL: &[Kind] = &[$($name),*];
    };
}

problems! {
    AMBIGUOUS_PATH = 400 "ambiguous_path" "Ambiguous path" Fix;
    BAD_REQUEST = 400 "bad_request" "Bad request" Fix;
    BODY_TOO_LARGE = 413 "body_too_large" "Body too large" Fix;
    DECRYPT_FAILED = 422 "decrypt_failed" "Decryption failed" Reacquire;
    HEADERS_TOO_LARGE = 431 "headers_too_large" "Headers too large" Fix;
    INTERNAL = 500 "internal" "Internal error" Retry;
    LOGIN_CODE_INVALID = 400 "login_code_invalid" "Login code invalid" Relogin;
    LOGIN_CODE_USED = 400 "login_code_used" "Login code used" Relogin;
    METHOD_NOT_ALLOWED = 405 "method_not_allowed" "Method not allowed" Fix;
    OVERLOADED = 503 "overloaded" "Overloaded" Retry;
    RATE_LIMITED = 429 "rate_limited" "Too many requests" Retry;
    SESSION_EXPIRED = 401 "session_expired" "Session expired" Relogin;
    SESSION_REQUIRED = 401 "session_required" "Session required" Relogin;
    UNKNOWN_APP = 400 "unknown_app" "Unknown mini program" Fix;
    UNSUPPORTED_MEDIA_TYPE = 415 "unsupported_media_type" "Unsupported media type" Fix;
    UPSTREAM_FAILED = 502 "upstream_failed" "App server failed" Retry;
    UPSTREAM_TIMEOUT = 504 "upstream_timeout" "App server timed out" Retry;
    UPSTREAM_UNREACHABLE = 502 "upstream_unreachable" "App server unreachable" Retry;
    URI_TOO_LONG = 414 "uri_too_long" "URI too long" Fix;
    USER_BLOCKED = 403 "user_blocked" "User blocked" None;
    WECHAT_ERROR = 502 "wechat_error" "Unexpected answer from WeChat" Retry;
    WECHAT_MISCONFIGURED = 502 "wechat_misconfigured" "WeChat refuses this gate" None;
    WECHAT_UNAVAILABLE = 503 "wechat_unavailable" "WeChat is unavailable" Retry;
}
