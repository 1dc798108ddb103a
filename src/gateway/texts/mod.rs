//! What is said to a developer who was refused, English and Chinese side by side: what happened and
//! what to do. Every case is named, so that a new refusal does not compile before it has both.

mod login;
mod store;

use std::borrow::Cow;

use crate::domain::identity::Unclean;
use crate::domain::readings::Unreadable;
use crate::domain::websocket::BadHandshake;
use crate::gateway::budgets::Budget;
use crate::gateway::language::Language;
use crate::gateway::problems;
use crate::gateway::refusal::Refusal;
use crate::gateway::route::Ambiguous;
use crate::gateway::wechat_failure;
use crate::server::body::BodyFault;
use crate::upstream;
use crate::wechat::open_api::OpenApiError;

/// A text that is always the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway) struct Text {
    en: &'static str,
    zh: &'static str,
}

impl Text {
    /// In English and in Chinese.
    pub(in crate::gateway) const fn new(en: &'static str, zh: &'static str) -> Self {
        Self { en, zh }
    }

    fn told(self, language: Language) -> Cow<'static, str> {
        language.pick(self.en, self.zh).into()
    }
}

macro_rules! texts {
    ($($name:ident = $en:literal $zh:literal;)*) => {
        $(pub(in crate::gateway) const $name: Text = Text::new($en, $zh);)*

        /// All of them.
        #[cfg(test)]
        const ALL: &[&Text] = &[$(&$name),*];
    };
}

// What may be wrong with a request that the gate reads itself: for `Refusal::BadRequest` and
// `Refusal::UnsupportedMediaType`.
texts! {
    APPID_NOT_TEXT =
        "the field appid is not text; send it in quotes, or not at all"
        "字段 appid 必须是字符串；请改为字符串，或不发送它";
    CODE_MALFORMED =
        "the field code is not a code of wx.login"
        "字段 code 不是 wx.login 返回的 code，请原样发送 wx.login 的 res.code";
    CODE_MISSING =
        "send the code of wx.login as the field code"
        "请先调用 wx.login，再把得到的 code 作为字段 code（字符串）发送";
    DECRYPT_FIELDS =
        "send encryptedData and iv, and rawData only together with signature"
        "请以字符串发送 encryptedData 和 iv；rawData 与 signature 要么都发送，要么都不发送";
    FIELD_TWICE =
        "a field stands in the form twice"
        "表单中有重复的字段，每个字段只能出现一次";
    FIELD_UNDER_TWO_NAMES =
        "a field stands in the body under two of its names; send it under one"
        "同一字段以两个名字同时出现，请只保留其中一个";
    NOT_AN_OBJECT =
        "the body is not a JSON object"
        "请求体不是 JSON 对象；请发送 {\"code\":\"…\"} 这样的对象，或改用表单并写明 Content-Type";
    NOT_JSON =
        "the body is not JSON"
        "请求体不是有效的 JSON";
    OPEN_DATA_FIELDS =
        "encryptedData and iv must be text"
        "encryptedData 和 iv 必须是字符串";
    OPEN_DATA_FORGED =
        "the field openData is what the gate says; send encryptedData and iv"
        "字段 openData 由网关填写；请发送 encryptedData 和 iv";
    OPEN_DATA_TWICE =
        "encryptedData and iv may be there once"
        "encryptedData 和 iv 只能各出现一次";
    OVERRIDE_MALFORMED =
        "the method override header has no method in it"
        "方法覆盖请求头（如 X-HTTP-Method-Override）里不是有效的请求方法，请改正或去掉它";
    PHONE_CODE_MALFORMED =
        "the field code is not a code of the phone button"
        "字段 code 不是手机号按钮返回的 code，请原样发送 bindgetphonenumber 事件的 e.detail.code";
    PHONE_CODE_MISSING =
        "send the code of the phone button (e.detail.code of bindgetphonenumber) as the field code"
        "请把手机号按钮 bindgetphonenumber 事件的 e.detail.code 作为字段 code（字符串）发送";
    SEND_JSON =
        "send application/json, in UTF-8 and without content coding"
        "请求体须为 UTF-8 编码且未压缩的 JSON；请把 Content-Type 设为 application/json";
    TICKET_NOT_FOR_ALL =
        "a session is handed over by a ticket for everything; ask for one with the path /**"
        "会话只能用对全部路径有效的票据交接；请以 path 为 /** 重新申请票据";
    TICKET_PATH =
        "send as the field path what the ticket is to open, such as /files/**, of at most 256 \
         characters"
        "请以字段 path（字符串，最多 256 个字符）说明票据可访问的路径，例如 /files/**";
    TICKET_TO =
        "send as the parameter to one path of this host, such as /h5/home, percent-encoded"
        "请用参数 to 给出本站的一个路径（如 /h5/home，需做 URL 编码），且只给一次";
    SEND_JSON_OR_FORM =
        "send application/json or application/x-www-form-urlencoded"
        "请求体只接受 JSON 或表单；请把 Content-Type 设为 application/json 或 \
         application/x-www-form-urlencoded";
}

const CROSS_SITE: Text = Text::new(
    "a page of another site may have made this request, and its session came in a cookie; call from a \
     page of the gate's own origin, add yours to cors.allowed_origins, or send the token in \
     Authorization: Bearer",
    "该请求的会话来自 Cookie，而发起请求的页面不属于本站；请从同源页面发起，或让运维把该来源加入 \
     cors.allowed_origins，或改用请求头 Authorization: Bearer 发送 token",
);
const DECRYPT_FAILED: Text = Text::new(
    "the data could not be decrypted; call wx.login, log in, and obtain the data from \
     WeChat again; do not send the same data again",
    "数据无法解密；请先调用 wx.login 并重新登录，再重新向微信获取数据；不要重发同一份数据",
);
const ENDED_HERE_ONLY: Text = Text::new(
    "the session has ended at this gate, but the store could not take it down: it may come back after \
     a crash, or live on at another gate for a while; forget the token",
    "本网关已退出登录，但未能写入会话存储：网关异常重启后该会话可能恢复，或在其他网关上短时间内仍然有效；\
     请在小程序端删除 token",
);
const PHONE_CODE_INVALID: Text = Text::new(
    "this code of the phone button is not good: it works once, for five minutes, for the user \
     of this session, and is not the code of wx.login; let the user tap the button again",
    "手机号按钮的 code 无效：有效期 5 分钟，只能使用一次，且须属于当前登录的用户，\
     也不能用 wx.login 的 code 代替；请让用户重新点击按钮",
);
const SESSION_EXPIRED: Text = Text::new(
    "the session is unknown, has ended or has run out; call wx.login, log in, and retry once with \
     the new token in Authorization: Bearer",
    "登录状态不存在、已退出或已过期；请调用 wx.login 重新登录，再用新的 token（Authorization: \
     Bearer）重试一次",
);
const SESSION_REQUIRED: Text = Text::new(
    "log in first: send the code of wx.login to the login route, then send the whole token it \
     gives, as Authorization: Bearer wxg_...",
    "请先登录：把 wx.login 的 code 发给登录接口，之后的请求都带上它返回的完整 token，即请求头 \
     Authorization: Bearer wxg_...",
);

/// What happened and what to do.
pub(in crate::gateway) fn detail(refusal: &Refusal, language: Language) -> Cow<'static, str> {
    let fixed = |en: &'static str, zh: &'static str| Text::new(en, zh).told(language);
    let made = |en: String, zh: String| language.pick(en, zh).into();
    match refusal {
        Refusal::AmbiguousPath(why) => ambiguous(*why, language),
        Refusal::BadRequest(text) | Refusal::UnsupportedMediaType(text) => text.told(language),
        Refusal::BodyBroken(fault) => body(fault, language),
        Refusal::BodyTooLarge(max) => made(
            format!("the body may have at most {max} bytes; send less, or in parts"),
            format!("请求体最多 {max} 字节，请压缩或分次发送"),
        ),
        Refusal::CrossSite => CROSS_SITE.told(language),
        Refusal::DecryptFailed => DECRYPT_FAILED.told(language),
        Refusal::EndedHereOnly => ENDED_HERE_ONLY.told(language),
        Refusal::HeadersTooLarge => fixed(
            "the request head is larger than allowed; send fewer or shorter headers, most often it is \
             the cookies",
            "请求头过大或过多，请减少请求头（常见原因：Cookie 过大）",
        ),
        Refusal::Internal => fixed(
            "a fault of the gate itself; its log knows this request_id",
            "网关自身出错；请稍后重试，并凭 request_id 在网关日志中查找原因",
        ),
        Refusal::Login { error, app } => login::redeem(error, app, language),
        Refusal::MethodNotAllowed { allowed } => {
            made(format!("use {allowed}"), format!("请改用 {allowed} 方法"))
        }
        Refusal::Overloaded => fixed(
            "too much at once; try again shortly",
            "当前请求过多，请稍后重试",
        ),
        Refusal::LoginNotKept => store::LOGIN_NOT_KEPT.told(language),
        Refusal::NoLogins => store::NO_LOGINS.told(language),
        Refusal::StoreUnusable => store::UNUSABLE.told(language),
        Refusal::LoginRefused => fixed(
            "the app server did not agree to this login; the code is used up, so another attempt \
             needs a new one",
            "业务服务拒绝了本次登录；该 code 已用掉，再次尝试需重新调用 wx.login",
        ),
        Refusal::NotFound => fixed(
            "there is nothing for clients at this path",
            "小程序不能访问该路径；请核对请求地址",
        ),
        Refusal::PhoneCode { .. } => PHONE_CODE_INVALID.told(language),
        Refusal::PushNotTaken(_) => fixed(
            "the app server did not take the message",
            "业务服务没有接收该消息",
        ),
        Refusal::PushRefused { .. } => fixed(
            "nothing shows that this is from WeChat; the gate's log says why",
            "无法证明该请求来自微信；原因见网关日志",
        ),
        Refusal::RateLimited { budget, .. } => used_up(*budget).told(language),
        Refusal::SessionExpired => SESSION_EXPIRED.told(language),
        Refusal::SessionRequired => SESSION_REQUIRED.told(language),
        Refusal::Unclean(why) => unclean(*why, language),
        Refusal::UnknownApp(why) => login::unknown_app(why, language),
        Refusal::Upstream(error) => app_server(error, language),
        Refusal::UriTooLong(max) => made(
            format!("the target may have at most {max} bytes; send data in the body"),
            format!("请求地址（含查询参数）最多 {max} 字节，请把数据放进请求体"),
        ),
        Refusal::WeChat { error, .. } => wechat(error).told(language),
    }
}

fn ambiguous(why: Ambiguous, language: Language) -> Cow<'static, str> {
    let zh = match why {
        Ambiguous::OtherRule => "服务器可能把该请求理解成另一条路径或方法，从而适用另一条规则",
        Ambiguous::Alias => "某些服务器会把该请求当作另一条要求更高的路径来处理",
        Ambiguous::Path(Unreadable::Control) => "请求路径中含有控制字符",
        Ambiguous::Path(Unreadable::NotAbsolute) => "请求路径不是以 / 开头",
        Ambiguous::Path(Unreadable::TooMany) => "请求路径有太多种理解方式",
    };
    let en = format!("{why}; write the path in its plain form");
    let zh = format!("{zh}；请使用最简单的路径写法（不要多余的编码、//、../ 或 ;）");
    language.pick(en, zh).into()
}

fn body(fault: &BodyFault, language: Language) -> Cow<'static, str> {
    let zh = match fault {
        BodyFault::Broken => "请求体没有发送完整就中断了，请检查网络后重试".to_owned(),
        BodyFault::Idle => "请求体在发送途中长时间没有新数据，请检查网络后重试".to_owned(),
        BodyFault::TooLarge(max) => format!("请求体最多 {max} 字节，请压缩或分次发送"),
    };
    language.pick(fault.to_string(), zh).into()
}

/// Of a call that was no login.
fn wechat(error: &OpenApiError) -> Text {
    match wechat_failure::kind(error) {
        _ if wechat_failure::pause(error).is_some() => Text::new(
            "WeChat has not answered for a while and is not asked for a moment; wait as long as \
             Retry-After says, then try again",
            "微信接口暂时没有响应，网关正在等待其恢复；请等待 Retry-After 所示的秒数后再试",
        ),
        problems::OVERLOADED => Text::new(
            "too many calls to WeChat at once; try again shortly",
            "同时调用微信接口的请求过多，请稍后重试",
        ),
        problems::RATE_LIMITED => Text::new(
            "WeChat allows only so many of these calls a minute; wait as long as Retry-After says, then \
             obtain the data from WeChat again",
            "微信限制每分钟的调用次数；请等待 Retry-After 所示的秒数，再向微信重新获取数据",
        ),
        problems::WECHAT_MISCONFIGURED => Text::new(
            "WeChat refuses this gate's configuration; its operator finds the reason in the log",
            "微信拒绝了网关的配置（如 AppSecret、IP 白名单或接口权限）；小程序端无需处理，\
             请运维查看网关日志",
        ),
        _ => Text::new(
            "no usable answer from WeChat; try again shortly; a code of the phone button may be used up, \
             so let the user tap it again",
            "微信没有给出可用的答复，请稍后重试；手机号按钮的 code 可能已被用掉，请让用户重新点击按钮",
        ),
    }
}

fn used_up(budget: Budget) -> Text {
    match budget {
        Budget::DecryptFailures => Text::new(
            "too much of what this session sent could not be decrypted; wait, call wx.login, log in, \
             and obtain the data from WeChat again",
            "该会话解密失败次数过多；请稍后重新调用 wx.login 登录，再向微信重新获取数据",
        ),
        Budget::LoginsOfApp => Text::new(
            "this mini program has more logins than its gate is set to allow; wait, then log in with \
             a new code",
            "该小程序的登录次数超过网关设定的上限；请稍后用新的 code 登录",
        ),
        Budget::PhoneCodes => Text::new(
            "too many phone codes of this session were not good, or too much of its data could not be \
             decrypted; wait, then let the user tap the button again",
            "该会话的手机号 code 无效或解密失败次数过多；请稍后让用户重新点击按钮",
        ),
        Budget::RefusedLogins => Text::new(
            "WeChat refused too many login codes from this address; wait, then log in with a new code",
            "该地址被微信拒绝的 code 过多；请稍后重新调用 wx.login，用新的 code 登录",
        ),
    }
}

fn unclean(why: Unclean, language: Language) -> Cow<'static, str> {
    let zh = match why {
        Unclean::AmbiguousToken(_) => "请求带了不止一个 token，请只在一处带一个 token",
        Unclean::Connection => "Connection 请求头列出的名称过多，请去掉多余的",
        Unclean::Framing => {
            "有请求头的写法会被某些服务器当作 Content-Length 或 Transfer-Encoding，请去掉"
        }
        Unclean::Handshake(BadHandshake::Body) => "WebSocket 握手请求不能带请求体",
        Unclean::Handshake(BadHandshake::Key) => {
            "WebSocket 握手有误：Sec-WebSocket-Key 不是 16 字节的 base64"
        }
        Unclean::Handshake(BadHandshake::Method) => "WebSocket 握手必须是 GET 请求",
        Unclean::Handshake(BadHandshake::Version) => {
            "WebSocket 握手有误：Sec-WebSocket-Version 必须是 13"
        }
        Unclean::Host => "请求必须有且只有一个 Host，并与请求地址一致",
        Unclean::Target => "请求地址不是路径，请使用 /a/b 这样的路径",
    };
    language.pick(why.to_string().into(), zh.into())
}

fn app_server(error: &upstream::Error, language: Language) -> Cow<'static, str> {
    let (advice, zh) = match error {
        upstream::Error::Broken(_) => (
            "try again; the gate's log says why",
            "业务服务没有给出合法完整的 HTTP 响应；请稍后重试，原因见网关日志",
        ),
        upstream::Error::Connect(_) => (
            "see that it runs, and check upstream.url of the gate",
            "无法连接业务服务；请确认它已启动，并核对网关的 upstream.url",
        ),
        upstream::Error::ConnectTimeout => (
            "see that it runs and can be reached",
            "连接业务服务超时；请确认它已启动且网络可达，稍后重试",
        ),
        upstream::Error::Http2(_) => (
            "check its headers and its target",
            "该请求无法以 HTTP/2 转发，请检查请求头和地址",
        ),
        upstream::Error::Overloaded => ("try again shortly", "业务服务的请求过多，请稍后重试"),
        upstream::Error::Request(_) => (
            "check the network and try again",
            "请求体没有发送完整就中断了，请检查网络后重试",
        ),
        upstream::Error::ResponseTimeout => (
            "try again, and look what keeps it",
            "业务服务没有在规定时间内响应；请稍后重试，并检查业务服务为何变慢",
        ),
        upstream::Error::UnaskedUpgrade => (
            "the gate's log says more",
            "业务服务擅自切换了协议，或切换成了别的协议；原因见网关日志",
        ),
    };
    let en = format!("{error}; {advice}");
    language.pick(en.into(), zh.into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::domain::id::AppId;
    use crate::gateway::phone::BadCode;
    use crate::gateway::push::{BadAnswer, Unproven};
    use crate::gateway::refusal::UnknownApp;
    use crate::wechat::errcode::Errcode;
    use crate::wechat::error::{CallError, RedeemError, Refused};

    fn limited(budget: Budget) -> Refusal {
        Refusal::RateLimited {
            budget,
            retry_after: 1,
        }
    }

    fn is_chinese(text: &str) -> bool {
        text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c))
    }

    #[track_caller]
    fn check(refusal: &Refusal) {
        let [en, zh] = [Language::English, Language::Chinese].map(|l| detail(refusal, l));
        assert!(!en.is_empty() && en.is_ascii(), "{en}");
        assert!(is_chinese(&zh), "{zh}");
        // No gap where a long text was broken into lines.
        assert!(!en.contains("  ") && !zh.contains("  "), "{en} {zh}");
    }

    #[test]
    fn a_refusal_is_told_in_both_languages() {
        for text in ALL {
            check(&Refusal::BadRequest(text));
            check(&Refusal::UnsupportedMediaType(text));
        }
        for why in [
            Unreadable::Control,
            Unreadable::NotAbsolute,
            Unreadable::TooMany,
        ] {
            check(&Refusal::AmbiguousPath(why.into()));
        }
        for why in [
            BadHandshake::Body,
            BadHandshake::Key,
            BadHandshake::Method,
            BadHandshake::Version,
        ] {
            check(&Refusal::Unclean(why.into()));
        }
        for refusal in [
            Refusal::AmbiguousPath(Ambiguous::OtherRule),
            Refusal::AmbiguousPath(Ambiguous::Alias),
            Refusal::BodyBroken(BodyFault::Broken),
            Refusal::BodyBroken(BodyFault::Idle),
            Refusal::BodyTooLarge(1),
            Refusal::CrossSite,
            Refusal::DecryptFailed,
            Refusal::EndedHereOnly,
            Refusal::HeadersTooLarge,
            Refusal::Internal,
            Refusal::MethodNotAllowed { allowed: "POST" },
            Refusal::Overloaded,
            Refusal::LoginNotKept,
            Refusal::NoLogins,
            Refusal::StoreUnusable,
            Refusal::LoginRefused,
            Refusal::NotFound,
            Refusal::PushNotTaken(BadAnswer::NotText),
            Refusal::PushRefused {
                why: Unproven::Signature,
                app: AppId::parse("wx0123456789abcdef").unwrap(),
            },
            limited(Budget::DecryptFailures),
            limited(Budget::LoginsOfApp),
            limited(Budget::PhoneCodes),
            limited(Budget::RefusedLogins),
            Refusal::SessionExpired,
            Refusal::SessionRequired,
            Refusal::Unclean(Unclean::Connection),
            Refusal::Unclean(Unclean::Framing),
            Refusal::Unclean(Unclean::Host),
            Refusal::Unclean(Unclean::Target),
            Refusal::UnknownApp(UnknownApp::Named),
            Refusal::UnknownApp(UnknownApp::Unnamed),
            Refusal::Upstream(upstream::Error::Connect(std::io::ErrorKind::Other.into())),
            Refusal::Upstream(upstream::Error::ConnectTimeout),
            Refusal::Upstream(upstream::Error::Overloaded),
            Refusal::Upstream(upstream::Error::ResponseTimeout),
            Refusal::Upstream(upstream::Error::UnaskedUpgrade),
            Refusal::UriTooLong(1),
        ] {
            check(&refusal);
        }
    }

    fn refused(errcode: i64) -> Refused {
        Refused {
            errcode: Errcode::from_number(errcode),
            rid: None,
            seen_ip: None,
        }
    }

    #[test]
    fn what_wechat_said_of_a_phone_code_is_told_in_both_languages() {
        let app = AppId::parse("wx0123456789abcdef").unwrap();
        check(&Refusal::PhoneCode {
            why: Box::new(BadCode::Refused(refused(40_029))),
            app: app.clone(),
        });
        let paused = CallError::Paused {
            retry_after: Duration::from_secs(5),
        };
        for error in [
            refused(40_125).into(),
            refused(45_011).into(),
            refused(-1).into(),
            CallError::TooManyCalls.into(),
            paused.into(),
        ] {
            let (error, app) = (Box::<OpenApiError>::new(error), app.clone());
            check(&Refusal::WeChat { error, app });
        }
    }

    #[test]
    fn what_wechat_said_of_a_login_is_told_in_both_languages() {
        let app = AppId::parse("wx0123456789abcdef").unwrap();
        // One of each kind: busy, a code, a used one, a limit, the configuration, a user, any other.
        let refused = [-1, 40_029, 40_163, 45_011, 40_125, 40_226, 99_999].map(refused);
        let not_answered = [
            CallError::TimedOut,
            CallError::TooManyCalls,
            CallError::Paused {
                retry_after: Duration::from_secs(5),
            },
        ];
        let refused = refused.into_iter().map(RedeemError::from);
        let not_answered = not_answered.into_iter().map(RedeemError::from);
        for error in refused.chain(not_answered) {
            let error = Arc::new(error);
            let app = app.clone();
            check(&Refusal::Login { error, app });
        }
        check(&Refusal::UnknownApp(UnknownApp::Caller {
            from: app.clone(),
            expected: app.to_string(),
        }));
    }
}
