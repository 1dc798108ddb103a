//! What a phone hands over in a user's name: encrypted data with its watermark, and signed raw
//! data. Made here as WeChat makes it; knows nothing of requests.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::crypto::{random, signature, user_data};
use crate::domain::clock::Timestamp;
use crate::domain::id::{AppId, OpenId};
use crate::sim::wechat::users::{User, UserName};

/// The fields of user data that stand in `rawData` too. It has no openid.
const RAW_FIELDS: [&str; 7] = [
    "nickName",
    "avatarUrl",
    "gender",
    "language",
    "country",
    "province",
    "city",
];

/// What a mini program gets from `wx.getUserInfo` or a phone button, made with the session_key that
/// the user had at that moment.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// Base64 of the encrypted JSON text.
    pub encrypted_data: String,
    /// Base64 of the 16 bytes that the encryption began with.
    pub iv: String,
    /// Whose data it is. A mini program does not get this from these calls; a test wants it.
    pub openid: OpenId,
    /// The part that is handed over in the clear, where there is one: a phone button has none.
    pub raw: Option<Raw>,
}

/// Data in the clear with its signature.
#[derive(Clone, Debug)]
pub struct Raw {
    /// `rawData`: a JSON text, of which every byte counts.
    pub data: String,
    /// `signature`: proves that whoever signed it knew the session_key.
    pub signature: String,
}

impl Sealed {
    /// The fields under the names that the client APIs give them.
    pub fn to_json(&self) -> Value {
        let mut fields = json!({
            "encryptedData": self.encrypted_data,
            "iv": self.iv,
            "openid": self.openid.as_str(),
        });
        if let (Some(raw), Some(fields)) = (&self.raw, fields.as_object_mut()) {
            fields.insert("rawData".to_owned(), json!(raw.data));
            fields.insert("signature".to_owned(), json!(raw.signature));
        }
        fields
    }
}

/// The data of `wx.getUserInfo`, without its watermark.
pub(super) fn profile(user: &User, name: &UserName) -> Map<String, Value> {
    fields([
        ("openId", json!(user.openid.as_str())),
        ("nickName", json!(name.as_str())),
        ("gender", json!(0)),
        ("language", json!("zh_CN")),
        ("city", json!("")),
        ("province", json!("")),
        ("country", json!("")),
        (
            "avatarUrl",
            json!("https://thirdwx.qlogo.cn/mmopen/vi_32/simulated/132"),
        ),
        ("unionId", json!(user.unionid.as_str())),
    ])
}

/// The data of a phone button, without its watermark.
pub(super) fn phone() -> Map<String, Value> {
    fields([
        ("phoneNumber", json!("13580006666")),
        ("purePhoneNumber", json!("13580006666")),
        ("countryCode", json!("86")),
    ])
}

fn fields<const N: usize>(pairs: [(&str, Value); N]) -> Map<String, Value> {
    pairs
        .into_iter()
        .map(|(field, value)| (field.to_owned(), value))
        .collect()
}

/// Adds the watermark, unless the data has one already: a test may want a wrong one.
pub(super) fn watermark(data: &mut Map<String, Value>, app: &AppId, at: Timestamp) {
    data.entry("watermark")
        .or_insert_with(|| json!({"timestamp": at.as_secs(), "appid": app.as_str()}));
}

/// The part of the data that stands in `rawData`, signed.
pub(super) fn sign(data: &Map<String, Value>, user: &User) -> Raw {
    let raw: Map<String, Value> = data
        .iter()
        .filter(|(field, _value)| RAW_FIELDS.contains(&field.as_str()))
        .map(|(field, value)| (field.clone(), value.clone()))
        .collect();
    let data = Value::Object(raw).to_string();
    let signature = signature::raw_data(&data, &user.key);
    Raw { data, signature }
}

/// Encrypts the data for this user.
pub(super) fn seal(data: Map<String, Value>, user: &User, raw: Option<Raw>) -> Sealed {
    let iv = random::bytes();
    Sealed {
        encrypted_data: user_data::seal(&user.key, &iv, &Value::Object(data).to_string()),
        iv: STANDARD.encode(iv),
        openid: user.openid.clone(),
        raw,
    }
}
