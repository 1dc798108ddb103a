//! The values of labels. All of them are known before the first request: what a client sends never
//! becomes one, and a value that is not listed here does not compile.

/// The values of one label.
pub(super) trait Label: Copy + Eq + 'static {
    /// All of them.
    const ALL: &'static [Self];

    /// As a scrape shows it.
    fn name(self) -> &'static str;

    /// Its place in the list.
    fn place(self) -> usize;
}

/// Declares a label with its values and their names.
macro_rules! label {
    ($(#[$about:meta])* $label:ident { $($(#[$meaning:meta])* $value:ident => $name:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $label {
            $($(#[$meaning])* $value,)+
        }

        impl Label for $label {
            const ALL: &'static [Self] = &[$(Self::$value,)+];

            fn name(self) -> &'static str {
                match self {
                    $(Self::$value => $name,)+
                }
            }

            #[expect(clippy::as_conversions, reason = "values without fields are numbered from 0")]
            fn place(self) -> usize {
                self as usize
            }
        }
    };
}

label! {
    /// `http_request_method`: the methods that OpenTelemetry knows.
    Method {
        /// GET
        Get => "GET",
        /// POST
        Post => "POST",
        /// PUT
        Put => "PUT",
        /// DELETE
        Delete => "DELETE",
        /// OPTIONS
        Options => "OPTIONS",
        /// HEAD
        Head => "HEAD",
        /// PATCH
        Patch => "PATCH",
        /// CONNECT
        Connect => "CONNECT",
        /// TRACE
        Trace => "TRACE",
        /// Any other.
        Other => "_OTHER",
    }
}

impl From<&http::Method> for Method {
    fn from(method: &http::Method) -> Self {
        match *method {
            http::Method::GET => Self::Get,
            http::Method::POST => Self::Post,
            http::Method::PUT => Self::Put,
            http::Method::DELETE => Self::Delete,
            http::Method::OPTIONS => Self::Options,
            http::Method::HEAD => Self::Head,
            http::Method::PATCH => Self::Patch,
            http::Method::CONNECT => Self::Connect,
            http::Method::TRACE => Self::Trace,
            _ => Self::Other,
        }
    }
}

label! {
    /// Why a request that the gate made has no good answer: `error_type`, and beside numbers
    /// `errcode`.
    Failure {
        /// Nobody waited for the answer any more.
        Cancelled => "cancelled",
        /// The status is none of the API's.
        HttpStatus => "http_status",
        /// The connection or the protocol broke.
        Interrupted => "interrupted",
        /// The answer cannot be understood.
        Malformed => "malformed",
        /// Too many requests at once; it was not sent.
        Overloaded => "overloaded",
        /// What was to be sent broke off, or cannot be sent.
        Request => "request",
        /// No answer in time.
        Timeout => "timeout",
        /// No connection came about.
        Unreachable => "unreachable",
    }
}

label! {
    /// `result` of a login: what the client is told, by the code of the problem.
    LoginResult {
        /// A session began, or the answer of one that had begun was given again.
        Ok => "ok",
        /// The client did not wait for what became of it.
        Cancelled => "cancelled",
        /// A bug.
        Internal => "internal",
        /// WeChat does not take the code.
        LoginCodeInvalid => "login_code_invalid",
        /// The code was redeemed before.
        LoginCodeUsed => "login_code_used",
        /// The app server did not agree.
        LoginRefused => "login_refused",
        /// Too many at once.
        Overloaded => "overloaded",
        /// `[limits]`, or WeChat's own.
        RateLimited => "rate_limited",
        /// WeChat blocks the user.
        UserBlocked => "user_blocked",
        /// WeChat's answer makes no sense.
        WechatError => "wechat_error",
        /// WeChat refuses the app as it is configured.
        WechatMisconfigured => "wechat_misconfigured",
        /// WeChat does not answer.
        WechatUnavailable => "wechat_unavailable",
    }
}

label! {
    /// `result` of a decryption.
    DecryptResult {
        /// It opened.
        Ok => "ok",
        /// No key opened it.
        Failed => "failed",
        /// It opened, and WeChat did not encrypt it (`decrypt.authenticate_phone`).
        NotAuthentic => "not_authentic",
        /// Too many failures of the session before it: no key was tried.
        RateLimited => "rate_limited",
        /// It opened, and WeChat could not be asked about it.
        Unavailable => "unavailable",
    }
}

label! {
    /// `key_age` of a decryption: which of the user's keys opened it.
    KeyAge {
        /// The newest.
        Current => "current",
        /// One that was replaced, within `decrypt.key_grace`.
        Replaced => "replaced",
        /// None.
        None => "none",
    }
}

label! {
    /// `result` of a look at a session_key after a failed decryption.
    KeyCheck {
        /// It is the user's of this moment: the data is to blame.
        Current => "current",
        /// It is an older one: data of a newer key came.
        Stale => "stale",
        /// WeChat did not say.
        Unknown => "unknown",
    }
}

label! {
    /// `result` of a message that WeChat pushed.
    PushResult {
        /// The app server took it.
        Delivered => "delivered",
        /// The app server did not take it; WeChat repeats it.
        Failed => "failed",
        /// WeChat was told that it was taken, and the app server never took it.
        Lost => "lost",
        /// Too many wait for the app server; WeChat repeats it.
        Overloaded => "overloaded",
        /// Nothing shows that it is WeChat's.
        Refused => "refused",
        /// It was taken before, or is being handed over at this moment.
        Repeated => "repeated",
    }
}

label! {
    /// `operation`: what Redis is asked for.
    RedisOperation {
        /// To write a login down.
        Begin => "begin",
        /// A login code: whether another gate has it, and the answer for a repeat.
        Code => "code",
        /// To end a session.
        End => "end",
        /// To end all sessions of a user.
        EndAll => "end_all",
        /// The session keys of a user.
        Keys => "keys",
        /// A session.
        Look => "look",
        /// Whether it is there.
        Probe => "probe",
        /// A push: whether another gate has it, and what became of it.
        Push => "push",
        /// A ticket: whether another gate has exchanged it.
        Ticket => "ticket",
    }
}

label! {
    /// `result` of what Redis is asked for.
    RedisResult {
        /// It was done.
        Ok => "ok",
        /// There is no connection, or it was lost over this, or no answer came in time.
        Away => "away",
        /// Redis refused.
        Failed => "failed",
        /// Redis writes nothing at this moment.
        NoWrites => "no_writes",
        /// Too much was asked already.
        Overloaded => "overloaded",
    }
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// This status; 0 for a request whose client was gone before there was one.
    Status(u16),
    /// No answer.
    Failure(Failure),
    /// More kinds than are kept apart.
    Other,
}

/// What WeChat said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Said {
    /// An errcode that the gate knows; 0 for success.
    Errcode(i64),
    /// Nothing, or nothing of use.
    Failure(Failure),
    /// An errcode that the gate does not know.
    Other,
}
