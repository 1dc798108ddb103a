//! What the operator is told of WeChat's refusals. How often is its callers' business.

use crate::domain::id::AppId;
use crate::telemetry::event;
use crate::wechat::error::Refused;

/// WeChat refuses the app as it is configured: what that means and what to do, in both languages.
pub(super) fn misconfigured(app: &AppId, refused: &Refused) {
    let errcode = refused.errcode;
    let fix = errcode.fix();
    tracing::error!(
        message = event::WECHAT_MISCONFIGURED,
        errcode = errcode.number(),
        meaning = errcode.meaning_en(),
        meaning_zh = errcode.meaning_zh(),
        fix = fix.map(|fix| fix.en),
        fix_zh = fix.map(|fix| fix.zh),
        seen_ip = refused.seen_ip.map(|ip| ip.to_string()),
        rid = refused.rid,
        appid = %app,
    );
}

/// The new AppSecret is wrong, and the previous one works.
pub(super) fn previous_secret_works(app: &AppId) {
    tracing::warn!(message = event::PREVIOUS_SECRET_WORKS, appid = %app);
}
