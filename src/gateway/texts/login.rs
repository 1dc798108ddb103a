//! What is said to a developer whose login was refused.

use std::borrow::Cow;

use crate::domain::id::AppId;
use crate::gateway::language::Language;
use crate::gateway::refusal::UnknownApp;
use crate::gateway::texts::Text;
use crate::wechat::error::{CallError, RedeemError};

/// Why WeChat gave no user for a code.
pub(super) fn redeem(error: &RedeemError, app: &AppId, language: Language) -> Cow<'static, str> {
    let fixed = |en: &'static str, zh: &'static str| Text::new(en, zh).told(language);
    match error {
        RedeemError::CodeInvalid(_) => {
            let en = format!(
                "WeChat does not know this code: it has expired (5 minutes), was already used, or \
                 was made by another mini program than {app}; call wx.login again"
            );
            let zh = format!(
                "微信不认识这个 code：可能已过期（有效期 5 分钟）、已被使用，或不是由小程序 {app} \
                 生成的；请重新调用 wx.login，并核对项目的 appid"
            );
            language.pick(en, zh).into()
        }
        RedeemError::CodeUsed(_) => fixed(
            "this code was already used, and a code works once; call wx.login again",
            "这个 code 已经用过，每个 code 只能用一次；请重新调用 wx.login",
        ),
        RedeemError::UserBlocked(_) => fixed(
            "WeChat holds this user for a risk and does not let them log in; trying again does not \
             help",
            "微信判定该用户有风险，不允许其登录；重试没有用",
        ),
        RedeemError::RateLimited(_) => fixed(
            "WeChat allows a user only so many logins a minute; wait, then log in with a new code",
            "微信限制每个用户每分钟的登录次数；请等待 Retry-After 所示的秒数，再用新的 code 登录",
        ),
        RedeemError::Misconfigured(_) => fixed(
            "WeChat refuses this gate's configuration; its operator finds the reason in the log",
            "微信拒绝了网关的配置（如 AppSecret 或 IP 白名单）；小程序端无需处理，请运维查看网关日志",
        ),
        RedeemError::Call(CallError::Paused { .. }) => fixed(
            "WeChat has not answered for a while and is not asked for a moment; wait as long as \
             Retry-After says, then log in",
            "微信接口暂时没有响应，网关正在等待其恢复；请等待 Retry-After 所示的秒数后再登录",
        ),
        RedeemError::Call(CallError::TooManyCalls) => fixed(
            "too many logins at once; try again shortly",
            "同时登录的人太多，请稍后重试",
        ),
        RedeemError::Busy(_) | RedeemError::Call(_) | RedeemError::Unknown(_) => fixed(
            "no usable answer from WeChat; try again shortly with a new code",
            "微信没有给出可用的答复；请稍后重新调用 wx.login，用新的 code 重试",
        ),
    }
}

/// Why a login is for no mini program of this gate.
pub(super) fn unknown_app(why: &UnknownApp, language: Language) -> Cow<'static, str> {
    let fixed = |en: &'static str, zh: &'static str| Text::new(en, zh).told(language);
    match why {
        UnknownApp::Caller { from, expected } => {
            let en = format!(
                "the request comes from the mini program {from}, but this gate is configured for \
                 {expected}; check the appid of the project and the gate's [[apps]]"
            );
            let zh = format!(
                "请求来自小程序 {from}，而网关配置的是 {expected}；请核对项目的 appid 和网关的 [[apps]]"
            );
            language.pick(en, zh).into()
        }
        UnknownApp::Named => fixed(
            "the appid in the body is not configured here",
            "请求体里的 appid 没有在网关配置；请核对 appid 和网关的 [[apps]]",
        ),
        UnknownApp::Unnamed => fixed(
            "this gate serves several mini programs; send the field appid",
            "网关服务多个小程序，请用字段 appid 说明是哪一个",
        ),
    }
}
