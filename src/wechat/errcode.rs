//! The errcodes that WeChat answers with at login, for access tokens and on the calls made with
//! them; what they mean, and what the operator can do about them. Knows nothing of HTTP, and never looks at `errmsg`: WeChat changes its texts.
//!
//! Source: the API's page and the global table of return codes, and what SDKs have met.

use std::fmt;

/// An errcode of an API that the gate calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errcode {
    /// 50004, 50007: the account may have no access tokens.
    AccountFrozen(i64),
    /// 50002: the account is limited or banned.
    AccountLimited,
    /// 48001, 48004: the account has not been given this API, or it was taken away.
    ApiNotGranted(i64),
    /// 41002: no appid in the request.
    AppIdMissing,
    /// 40013: no such appid, or not the one that the code is of.
    BadAppId,
    /// 40002: a wrong `grant_type`.
    BadGrantType,
    /// 40125, and 40001 in older answers: not the secret of this appid.
    BadSecret(i64),
    /// 42003: the code is too old.
    CodeExpired,
    /// 40029: no such code, or too old, or another mini program's.
    CodeInvalid,
    /// 41008: no code in the request.
    CodeMissing,
    /// 40163: the code was redeemed before.
    CodeUsed,
    /// 89506, 89507: the administrator refused the gate's address, for 24 hours or for one.
    IpRefused(i64),
    /// 89501 to 89505: the administrator has yet to confirm the gate's address.
    IpUnconfirmed(i64),
    /// 40164: the gate's address is not on the mini program's list.
    IpNotListed,
    /// Any other.
    Other(i64),
    /// 45009: the calls of the day are used up.
    QuotaUsedUp,
    /// 45011: too many calls for this user in a minute.
    RateLimited,
    /// 40243: the secret is frozen.
    SecretFrozen,
    /// 41004: no secret in the request.
    SecretMissing,
    /// -1: WeChat is busy.
    SystemBusy,
    /// 50001: the account may not use this API.
    Unauthorised,
    /// 40226: WeChat holds the user for a risk.
    UserBlocked,
}

/// What the operator can do, in both languages of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fix {
    /// In English.
    pub en: &'static str,
    /// In Chinese.
    pub zh: &'static str,
}

impl Errcode {
    /// The errcode with this number.
    pub const fn from_number(number: i64) -> Self {
        match number {
            -1 => Self::SystemBusy,
            40_001 | 40_125 => Self::BadSecret(number),
            40_002 => Self::BadGrantType,
            40_013 => Self::BadAppId,
            40_029 => Self::CodeInvalid,
            40_163 => Self::CodeUsed,
            40_164 => Self::IpNotListed,
            40_226 => Self::UserBlocked,
            40_243 => Self::SecretFrozen,
            41_002 => Self::AppIdMissing,
            41_004 => Self::SecretMissing,
            41_008 => Self::CodeMissing,
            42_003 => Self::CodeExpired,
            48_001 | 48_004 => Self::ApiNotGranted(number),
            45_009 => Self::QuotaUsedUp,
            45_011 => Self::RateLimited,
            50_004 | 50_007 => Self::AccountFrozen(number),
            89_501..=89_505 => Self::IpUnconfirmed(number),
            89_506 | 89_507 => Self::IpRefused(number),
            50_001 => Self::Unauthorised,
            50_002 => Self::AccountLimited,
            other => Self::Other(other),
        }
    }

    /// Its number.
    pub const fn number(self) -> i64 {
        match self {
            Self::AccountLimited => 50_002,
            Self::AppIdMissing => 41_002,
            Self::BadAppId => 40_013,
            Self::BadGrantType => 40_002,
            Self::AccountFrozen(number)
            | Self::ApiNotGranted(number)
            | Self::BadSecret(number)
            | Self::IpRefused(number)
            | Self::IpUnconfirmed(number)
            | Self::Other(number) => number,
            Self::CodeExpired => 42_003,
            Self::CodeInvalid => 40_029,
            Self::CodeMissing => 41_008,
            Self::CodeUsed => 40_163,
            Self::IpNotListed => 40_164,
            Self::QuotaUsedUp => 45_009,
            Self::RateLimited => 45_011,
            Self::SecretFrozen => 40_243,
            Self::SecretMissing => 41_004,
            Self::SystemBusy => -1,
            Self::Unauthorised => 50_001,
            Self::UserBlocked => 40_226,
        }
    }

    /// Whether it means something here.
    pub const fn is_known(self) -> bool {
        !matches!(self, Self::Other(_)) || self.is_about_token()
    }

    /// Whether it is the gate's address that WeChat refuses.
    pub const fn is_about_ip(self) -> bool {
        matches!(
            self,
            Self::IpNotListed | Self::IpRefused(_) | Self::IpUnconfirmed(_)
        )
    }

    /// Whether WeChat does not take the AppSecret, so that another one may do.
    pub const fn is_about_secret(self) -> bool {
        matches!(self, Self::BadSecret(_))
    }

    /// Whether it stays like this until the operator has put the configuration or the account right.
    pub const fn is_configuration(self) -> bool {
        matches!(
            self,
            Self::AccountFrozen(_)
                | Self::AccountLimited
                | Self::ApiNotGranted(_)
                | Self::AppIdMissing
                | Self::BadAppId
                | Self::BadGrantType
                | Self::BadSecret(_)
                | Self::IpNotListed
                | Self::IpRefused(_)
                | Self::IpUnconfirmed(_)
                | Self::SecretFrozen
                | Self::SecretMissing
                | Self::Unauthorised
        )
    }

    /// Whether it is about the access token of the call: of 40001, 40014 and 42001 the token is to
    /// blame, and another one may be taken.
    pub const fn is_about_token(self) -> bool {
        matches!(self.number(), 40_001 | 40_014 | 42_001)
    }

    /// What it means, in English.
    pub const fn meaning_en(self) -> &'static str {
        match self {
            Self::AccountFrozen(_) => "the account may have no access tokens",
            Self::AccountLimited => "the mini program's account is limited or banned",
            Self::ApiNotGranted(_) => "the mini program has not been given this API",
            Self::AppIdMissing => "the appid is missing",
            Self::BadAppId => "the appid is wrong, or the code is of another mini program",
            Self::BadGrantType => "the grant_type is wrong",
            Self::BadSecret(_) => "the AppSecret is wrong",
            Self::CodeExpired => "the code is too old",
            Self::CodeInvalid => "the code is invalid, too old, or of another mini program",
            Self::CodeMissing => "the code is missing",
            Self::CodeUsed => "the code was already used",
            Self::IpRefused(_) => "the administrator refused the gate's IP address",
            Self::IpUnconfirmed(_) => "the administrator has yet to confirm the gate's IP address",
            Self::IpNotListed => "the gate's IP address is not on the IP whitelist",
            Self::Other(_) => "WeChat has no documented meaning for it here",
            Self::QuotaUsedUp => "the calls of the day are used up",
            Self::RateLimited => "too many logins of one user within a minute",
            Self::SecretFrozen => "the AppSecret is frozen",
            Self::SecretMissing => "the AppSecret is missing",
            Self::SystemBusy => "WeChat is busy",
            Self::Unauthorised => "the mini program may not use this API",
            Self::UserBlocked => "WeChat blocks the login of a high-risk user",
        }
    }

    /// What it means, in Chinese.
    pub const fn meaning_zh(self) -> &'static str {
        match self {
            Self::AccountFrozen(_) => "账号被冻结，不能获取 access_token",
            Self::AccountLimited => "小程序账号被限制或封禁",
            Self::ApiNotGranted(_) => "小程序未开通该接口，或接口权限被收回",
            Self::AppIdMissing => "缺少 appid",
            Self::BadAppId => "appid 不正确，或 code 属于其他小程序",
            Self::BadGrantType => "grant_type 不正确",
            Self::BadSecret(_) => "AppSecret 不正确",
            Self::CodeExpired => "code 已过期",
            Self::CodeInvalid => "code 无效、已过期，或属于其他小程序",
            Self::CodeMissing => "缺少 code",
            Self::CodeUsed => "code 已被使用",
            Self::IpRefused(_) => "管理员拒绝了网关的 IP",
            Self::IpUnconfirmed(_) => "网关的 IP 有待管理员确认",
            Self::IpNotListed => "网关的 IP 不在 IP 白名单中",
            Self::Other(_) => "微信文档未说明该错误码",
            Self::QuotaUsedUp => "当日调用次数已用完",
            Self::RateLimited => "同一用户一分钟内登录过于频繁",
            Self::SecretFrozen => "AppSecret 已被冻结",
            Self::SecretMissing => "缺少 AppSecret",
            Self::SystemBusy => "微信系统繁忙",
            Self::Unauthorised => "小程序没有该接口的权限",
            Self::UserBlocked => "高风险用户，微信拦截了登录",
        }
    }

    /// What the operator can do about it, when it is the operator who can.
    pub const fn fix(self) -> Option<Fix> {
        let (en, zh) = match self {
            Self::AccountFrozen(_) | Self::AccountLimited => (
                "look for notices about the account at mp.weixin.qq.com",
                "登录 mp.weixin.qq.com 查看账号的违规或封禁通知",
            ),
            Self::AppIdMissing | Self::BadAppId => (
                "compare the configured appid with mp.weixin.qq.com, Development, Development \
                 settings; a project in the developer tools may carry another appid",
                "将配置的 appid 与 mp.weixin.qq.com「开发管理 - 开发设置」中的核对；\
                 也请检查开发者工具项目所用的 appid",
            ),
            Self::BadGrantType => (
                "this is a fault of the gate or of a proxy before WeChat: check base_url",
                "这是网关或其与微信之间代理的问题：请检查 base_url",
            ),
            Self::BadSecret(_) | Self::SecretMissing => (
                "copy the AppSecret again from mp.weixin.qq.com, Development, Development \
                 settings; a reset makes the old one invalid",
                "在 mp.weixin.qq.com「开发管理 - 开发设置」重新获取 AppSecret；重置后旧的立即失效",
            ),
            Self::IpNotListed => (
                "add the address that WeChat saw to the IP whitelist at mp.weixin.qq.com, \
                 Development, Development settings",
                "在 mp.weixin.qq.com「开发管理 - 开发设置」的 IP 白名单中加入微信看到的地址",
            ),
            Self::IpRefused(_) | Self::IpUnconfirmed(_) => (
                "let the administrator of the mini program confirm the address in the message that \
                 WeChat sent, or put it on the IP whitelist at mp.weixin.qq.com",
                "请小程序管理员在微信消息中确认该 IP，或在 mp.weixin.qq.com 将其加入 IP 白名单",
            ),
            Self::QuotaUsedUp => (
                "wait for the next day, or clear the count at mp.weixin.qq.com; see what else calls \
                 WeChat with this appid",
                "等待次日，或在 mp.weixin.qq.com 清零调用次数；并检查还有哪些系统在用此 appid 调用微信",
            ),
            Self::SecretFrozen => (
                "unfreeze the AppSecret at mp.weixin.qq.com, Development, Development settings",
                "在 mp.weixin.qq.com「开发管理 - 开发设置」解冻 AppSecret",
            ),
            Self::ApiNotGranted(_) | Self::Unauthorised => (
                "check at mp.weixin.qq.com that the account is verified and not limited",
                "在 mp.weixin.qq.com 检查账号是否已认证、接口权限是否受限",
            ),
            Self::CodeExpired
            | Self::CodeInvalid
            | Self::CodeMissing
            | Self::CodeUsed
            | Self::Other(_)
            | Self::RateLimited
            | Self::SystemBusy
            | Self::UserBlocked => return None,
        };
        Some(Fix { en, zh })
    }
}

impl fmt::Display for Errcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_back_as_itself() {
        for number in (-10..60_000).chain([i64::MIN, i64::MAX]) {
            assert_eq!(Errcode::from_number(number).number(), number);
        }
    }
}
