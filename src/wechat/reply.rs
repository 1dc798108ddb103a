//! What an answer means: that of `sns/jscode2session` in full, and of the other APIs whether it is
//! a refusal. Pure: it knows nothing of connections, and what a client is told about a failure is
//! decided elsewhere.

use std::net::IpAddr;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::crypto::session_key;
use crate::domain::id::{OpenId, UnionId};
use crate::domain::limits;
use crate::domain::secret::SessionKey;
use crate::wechat::errcode::Errcode;
use crate::wechat::error::{ApiError, CallError, Malformed, Refused};

/// Who a code stands for.
#[derive(Clone, Debug)]
pub struct Redeemed {
    /// The user within the mini program.
    pub openid: OpenId,
    /// The person across mini programs, when WeChat knows.
    pub unionid: Option<UnionId>,
    /// The key of what the user's client encrypts from now on.
    pub session_key: SessionKey,
}

/// Says what the answer to a code means.
pub(super) fn redeemed(http_status: u16, body: &[u8]) -> Result<Redeemed, ApiError> {
    let answer: Answer = read(http_status, body)?;
    let openid = answer.openid.unwrap_or_default();
    let session_key = Zeroizing::new(answer.session_key.unwrap_or_default());
    let unionid = answer.unionid.filter(|unionid| !unionid.is_empty());
    // The causes are dropped: which of the fields it is says enough, without their content.
    Ok(Redeemed {
        openid: OpenId::parse(&openid).map_err(|_cause| Malformed::OpenId)?,
        unionid: unionid
            .map(|unionid| UnionId::parse(&unionid))
            .transpose()
            .map_err(|_cause| Malformed::UnionId)?,
        session_key: session_key::parse(&session_key).map_err(|_cause| Malformed::SessionKey)?,
    })
}

/// Reads the answer of an API that tells success by its errcode alone: `errmsg` may be there too,
/// saying "ok". The content type is not asked: WeChat is known to send this JSON as `text/plain`.
pub(super) fn read<T: DeserializeOwned>(http_status: u16, body: &[u8]) -> Result<T, ApiError> {
    if !(200..300).contains(&http_status) {
        let status = http_status;
        return Err(CallError::HttpStatus { status }.into());
    }
    // serde would take an array of the right length for the object.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(Malformed::Json.into());
    }
    // The causes would hold a piece of the answer.
    let fields: ErrorFields = serde_json::from_slice(body).map_err(|_cause| Malformed::Json)?;
    match errcode(fields.errcode.as_ref())? {
        0 => serde_json::from_slice(body).map_err(|_cause| Malformed::Json.into()),
        number => {
            let errmsg = fields.errmsg.as_ref().and_then(Value::as_str);
            let errmsg = errmsg.unwrap_or_default();
            let errcode = Errcode::from_number(number);
            Err(ApiError::Refused(Refused {
                errcode,
                rid: rid(errmsg),
                seen_ip: errcode.is_about_ip().then(|| first_ip(errmsg)).flatten(),
            }))
        }
    }
}

/// The fields by which every API tells success.
#[derive(Deserialize)]
struct ErrorFields {
    errcode: Option<Value>,
    errmsg: Option<Value>,
}

/// The fields of the answer to a code that matter. Others are ignored: WeChat adds to them.
#[derive(Deserialize)]
struct Answer {
    openid: Option<String>,
    session_key: Option<String>,
    unionid: Option<String>,
}

/// The errcode as a number: absent on success, and in one documented example a string.
fn errcode(value: Option<&Value>) -> Result<i64, Malformed> {
    match value {
        None | Some(Value::Null) => Some(0),
        Some(Value::Number(number)) => number.as_i64(),
        Some(Value::String(text)) => text.parse().ok(),
        Some(_) => None,
    }
    .ok_or(Malformed::Errcode)
}

/// The errcode of an answer that is passed on, if it has one that can be read.
pub(super) fn errcode_of(body: &[u8]) -> Option<Errcode> {
    let fields: ErrorFields = serde_json::from_slice(body).ok()?;
    errcode(fields.errcode.as_ref())
        .ok()
        .map(Errcode::from_number)
}

/// WeChat's id of the request, as in `invalid code, rid: 67403233-1109bf03-213acb4d`. The message
/// is looked at for nothing else, since its text changes.
fn rid(errmsg: &str) -> Option<String> {
    let (_, after) = errmsg.split_once("rid:")?;
    let rid: String = after
        .strip_prefix(' ')
        .unwrap_or(after)
        .chars()
        .take_while(|char| char.is_ascii_alphanumeric() || *char == '-')
        .take(limits::MAX_RID_BYTES)
        .collect();
    (!rid.is_empty()).then_some(rid)
}

/// The address in `invalid ip 1.2.3.4 ipv6 ::ffff:1.2.3.4, not in whitelist`.
fn first_ip(errmsg: &str) -> Option<IpAddr> {
    errmsg
        .split([' ', ',', ';'])
        .find_map(|word| word.parse().ok())
}
