//! How logs name a user without telling who it is.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::domain::session::Holder;
use crate::telemetry::{LogKey, UserField};

/// Bytes of the hash that are shown: enough to tell users apart, with room to spare.
const SHOWN: usize = 8;

/// What the `user` field of a log line says, if anything.
pub(in crate::telemetry) fn name(holder: &Holder, field: &UserField) -> Option<String> {
    match field {
        UserField::Hash(key) => Some(hash(holder, key)),
        UserField::OpenId => Some(holder.openid.as_str().to_owned()),
        UserField::Off => None,
    }
}

fn hash(holder: &Holder, key: &LogKey) -> String {
    // Any length is a key to HMAC.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.expose()) else {
        return String::new();
    };
    mac.update(holder.app.as_str().as_bytes());
    mac.update(b" ");
    mac.update(holder.openid.as_str().as_bytes());
    let hash = mac.finalize().into_bytes();
    hash.iter()
        .take(SHOWN)
        .fold(String::new(), |mut text, byte| {
            // Writing to a string cannot fail.
            let _written = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{AppId, OpenId};

    #[test]
    fn a_user_is_named_by_a_hash_that_depends_on_app_user_and_key() {
        let holder = |app, openid| Holder {
            app: AppId::parse(app).unwrap(),
            openid: OpenId::parse(openid).unwrap(),
            unionid: None,
        };
        let key = |text: &str| UserField::Hash(LogKey::new(text.as_bytes().to_vec()));
        let base = name(&holder("wx1", "oUser"), &key("k")).unwrap();
        assert_eq!(base.len(), 16);
        assert_eq!(name(&holder("wx1", "oUser"), &key("k")).unwrap(), base);
        for (other, key) in [
            (holder("wx2", "oUser"), key("k")),
            (holder("wx1", "oUser2"), key("k")),
            (holder("wx1", "oUser"), key("l")),
        ] {
            assert_ne!(name(&other, &key).unwrap(), base);
        }
        assert_eq!(name(&holder("wx1", "oUser"), &UserField::Off), None);
    }
}
