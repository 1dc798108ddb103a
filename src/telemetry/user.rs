//! How logs name a user without telling who it is.

use std::borrow::Cow;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::domain::hex::write_hex;
use crate::domain::session::Holder;
use crate::domain::token::TokenDigest;
use crate::telemetry::UserField;
use crate::telemetry::access::Who;

/// Bytes of the hash that are shown: enough to tell users apart, with room to spare.
const SHOWN: usize = 8;

/// A hash as it is shown, two digits for each byte.
type Shown = [u8; 2 * SHOWN];

/// Users whose name is at hand, as many as are busy at once. Making one takes some rounds of SHA-256,
/// which is more than all the rest of a line; keeping them takes 400 KiB.
const REMEMBERED: usize = 8 * 1024;

/// Names users in log lines.
pub(in crate::telemetry) enum Names {
    Hash {
        key: Hmac<Sha256>,
        /// By digest of the session token: a name is looked for in one place only.
        remembered: Vec<Option<(TokenDigest, Shown)>>,
    },
    OpenId,
    Off,
}

impl Names {
    pub(in crate::telemetry) fn new(field: UserField) -> Self {
        match field {
            UserField::Hash(key) => match Hmac::new_from_slice(key.expose()) {
                Ok(key) => Self::Hash {
                    key,
                    remembered: Vec::new(),
                },
                // Any length is a key to HMAC.
                Err(_never) => Self::Off,
            },
            UserField::OpenId => Self::OpenId,
            UserField::Off => Self::Off,
        }
    }

    /// What the `user` field of a log line says, if anything.
    pub(in crate::telemetry) fn of<'a>(&'a mut self, who: &'a Who) -> Option<Cow<'a, [u8]>> {
        let holder = who.holder()?;
        match self {
            Self::Off => None,
            Self::OpenId => Some(holder.openid.header().as_bytes().into()),
            Self::Hash { key, remembered } => match who {
                Who::Session(live) => {
                    let digest = live.session().digest();
                    let name = remember(remembered, digest, || hash(holder, key));
                    Some(name.into())
                }
                Who::App(_) | Who::LoggedIn(_) | Who::Nobody => {
                    Some(hash(holder, key).to_vec().into())
                }
            },
        }
    }
}

fn remember<'a>(
    remembered: &'a mut Vec<Option<(TokenDigest, Shown)>>,
    digest: &TokenDigest,
    name: impl FnOnce() -> Shown,
) -> &'a [u8] {
    remembered.resize(REMEMBERED, None);
    let [first, second, ..] = *digest.as_bytes();
    let place = usize::from(u16::from_ne_bytes([first, second])) % REMEMBERED;
    let Some(slot) = remembered.get_mut(place) else {
        return b"";
    };
    if slot.as_ref().is_some_and(|(known, _)| known != digest) {
        *slot = None;
    }
    &slot.get_or_insert_with(|| (*digest, name())).1
}

fn hash(holder: &Holder, key: &Hmac<Sha256>) -> Shown {
    let mut mac = key.clone();
    mac.update(holder.app.as_str().as_bytes());
    mac.update(b" ");
    mac.update(holder.openid.as_str().as_bytes());
    let hash = mac.finalize().into_bytes();
    let mut shown = Shown::default();
    write_hex(&mut shown, &hash);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{AppId, OpenId};
    use crate::telemetry::LogKey;

    fn name(holder: &Holder, field: &UserField) -> Option<Vec<u8>> {
        let who = Who::LoggedIn(Box::new(holder.clone()));
        let mut names = Names::new(field.clone());
        names.of(&who).map(Cow::into_owned)
    }

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
