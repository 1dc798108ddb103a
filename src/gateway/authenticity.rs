//! `decrypt.authenticate_phone`: what was decrypted is taken for a phone number only if WeChat itself
//! encrypted it. The encryption does not show that: whoever knows a key, or learns from failures, can
//! make data that opens (AES-CBC without a MAC).
//!
//! WeChat knows data by a hash of `encryptedData`, which leaves the iv out: who sends another iv can
//! change the first block of the text, 16 bytes, as he likes. Of two numbers he reaches one at most,
//! so both must be there and agree.

use serde_json::{Map, Value};

use crate::domain::session::Live;
use crate::gateway::Gateway;
use crate::gateway::member::is_taken_for;
use crate::gateway::refusal::Refusal;
use crate::wechat::session_key::Authenticity;

/// The number with its area code, when that is a foreign one, and without.
const FULL: &str = "phoneNumber";
const PURE: &str = "purePhoneNumber";

/// Why data is not taken for a phone number. For the log.
pub(in crate::gateway) type Forged = &'static str;

impl Gateway {
    /// Lets everything pass but phone numbers that are not WeChat's. A WeChat that cannot be asked
    /// lets none pass. How long this takes tells that the data opened, as the data itself would.
    pub(in crate::gateway) async fn authenticate_phone(
        &self,
        live: &Live,
        encrypted_data: &str,
        text: &str,
    ) -> Result<Result<(), Forged>, Refusal> {
        let data: Map<String, Value> =
            serde_json::from_str(text).map_err(|_was_parsed_before| Refusal::Internal)?;
        match numbers(&data) {
            Numbers::None => return Ok(Ok(())),
            Numbers::Disagree => return Ok(Err("phone_numbers_disagree")),
            Numbers::Agree => {}
        }
        let app = &live.holder().app;
        let asked = self
            .shared
            .inquiries
            .is_encrypted_by_wechat(app, encrypted_data);
        match asked.await? {
            Ok(Authenticity::Authentic { .. }) => Ok(Ok(())),
            Ok(Authenticity::Unknown) => Ok(Err("unknown_to_wechat")),
            Err(error) => Err(Refusal::WeChat {
                error: Box::new(error),
                app: app.clone(),
            }),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Numbers {
    None,
    Agree,
    Disagree,
}

/// What data says of phone numbers. Whatever an app server may take for one of WeChat's names counts as
/// it; but only WeChat's own is right.
fn numbers(data: &Map<String, Value>) -> Numbers {
    let named = |name: &&String| [FULL, PURE].iter().any(|own| is_taken_for(name, own));
    let text = |name| data.get(name).and_then(Value::as_str);
    match (data.keys().filter(named).count(), text(FULL), text(PURE)) {
        (0, ..) => Numbers::None,
        (2, Some(full), Some(pure)) if !pure.is_empty() && full.ends_with(pure) => Numbers::Agree,
        _ => Numbers::Disagree,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(data: &Value) -> Numbers {
        numbers(data.as_object().unwrap())
    }

    #[test]
    fn data_without_a_number_is_none_of_its_business() {
        assert_eq!(of(&json!({})), Numbers::None);
        let profile = json!({ "openId": "o", "phone": "110", "data": { "phoneNumber": "110" } });
        assert_eq!(of(&profile), Numbers::None);
    }

    #[test]
    fn numbers_as_wechat_writes_them_agree() {
        for (full, pure) in [("13580006666", "13580006666"), ("+85291234567", "91234567")] {
            let data = json!({ "phoneNumber": full, "purePhoneNumber": pure, "countryCode": "86" });
            assert_eq!(of(&data), Numbers::Agree, "{data}");
        }
    }

    #[test]
    fn whatever_an_app_server_may_take_for_a_number_must_be_told_twice_and_alike() {
        for data in [
            json!({ "phoneNumber": "110" }),
            json!({ "purePhoneNumber": "110" }),
            json!({ "PhoneNumber": "110", "purePhoneNumber": "110" }),
            json!({ "PHONENUMBER": "110" }),
            json!({ "phone_number": "110", "pure_phone_number": "110" }),
            json!({ "phone-number": "110" }),
            json!({ "phoneNumber\u{0}": "110" }),
            json!({ "phoneNumber": "120", "purePhoneNumber": "120", "phone_number": "110" }),
            json!({ "phoneNumber": "110", "purePhoneNumber": "120" }),
            json!({ "phoneNumber": "110", "purePhoneNumber": "" }),
            json!({ "phoneNumber": 110, "purePhoneNumber": 110 }),
            json!({ "phoneNumber": null, "purePhoneNumber": null }),
            json!({ "phoneNumber": "120", "purePhoneNumber": "120", "phonenumber": "110" }),
        ] {
            assert_eq!(of(&data), Numbers::Disagree, "{data}");
        }
    }
}
