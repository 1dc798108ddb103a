//! The answer to a login as it is kept for a repeat of its code: sealed under the code. Who has the code
//! can have the answer; who has what is kept cannot.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::crypto::code::SealedAnswer;
use crate::domain::clock::Timestamp;
use crate::domain::id::{AppId, OpenId, UnionId};
use crate::domain::secret::LoginCode;
use crate::domain::session::Holder;
use crate::domain::token::SessionToken;
use crate::gateway::desk::LoggedIn;
use crate::gateway::hook::HookData;

/// What is sealed under a code.
#[derive(Serialize, Deserialize)]
struct KeptAnswer<'a> {
    token: &'a str,
    openid: &'a str,
    unionid: Option<&'a str>,
    since: u64,
    /// In a list, for it may be `null`.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    data: Option<[&'a RawValue; 1]>,
}

/// Seals an answer.
pub(in crate::gateway) fn seal(
    (app, code): (&AppId, &LoginCode),
    logged_in: &LoggedIn,
) -> Option<SealedAnswer> {
    let kept = KeptAnswer {
        // Exposed to be sealed at once.
        token: logged_in.token.expose(),
        openid: logged_in.holder.openid.as_str(),
        unionid: logged_in.holder.unionid.as_ref().map(UnionId::as_str),
        since: logged_in.since.as_millis(),
        data: logged_in.data.as_ref().map(|data| [data.as_raw()]),
    };
    let plain = serde_json::to_vec(&kept)
        .map(zeroize::Zeroizing::new)
        .ok()?;
    Some(SealedAnswer::seal(app, code, &plain))
}

/// Opens an answer.
pub(in crate::gateway) fn open(
    (app, code): (&AppId, &LoginCode),
    answer: &SealedAnswer,
) -> Option<LoggedIn> {
    let plain = answer.open(app, code)?;
    let kept: KeptAnswer<'_> = serde_json::from_slice(&plain).ok()?;
    let unionid = kept.unionid.map(UnionId::parse).transpose().ok()?;
    let openid = OpenId::parse(kept.openid).ok()?;
    Some(LoggedIn {
        token: SessionToken::parse(kept.token)?,
        holder: Holder {
            app: app.clone(),
            openid,
            unionid,
        },
        since: Timestamp::from_millis(kept.since),
        data: kept.data.map(|[data]| HookData::from_raw(data)),
    })
}
