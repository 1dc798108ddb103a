//! How a session, and a session key, are written down: sealed, and bound to the key in Redis under
//! which they stand. Who can write into Redis can take sessions away, and put an old record back where
//! it was, but can make none and change nobody's holder.

use std::cmp::Reverse;

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::crypto::seal::{OpenError, Place, Sealer};
use crate::domain::clock::Timestamp;
use crate::domain::hex::hex;
use crate::domain::id::{AppId, OpenId, UnionId, UserKey};
use crate::domain::secret::SessionKey;
use crate::domain::session::{Holder, Session, Written};
use crate::domain::token::TokenDigest;

const SESSION: &str = "wxgate redis session v1";
const SESSION_KEY: &str = "wxgate redis session_key v1";

/// Mini programs whose id is kept once for all their sessions; there are as many as are configured.
const MAX_APPS: usize = 256;

/// Why a record cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadRecord {
    /// It does not open.
    #[error(transparent)]
    Seal(#[from] OpenError),
    /// It is not of the form that this version writes.
    #[error("it is not of the form that this version writes")]
    Form,
}

/// Writes and reads records.
#[derive(Debug)]
pub(super) struct Records {
    sealer: Sealer,
    apps: Mutex<Vec<AppId>>,
}

/// One of a user's session keys, as it is written down.
#[derive(Debug)]
pub(super) struct WrittenKey {
    /// Tells keys of one user apart: 64 bits of a hash of 128 random ones.
    pub(super) fingerprint: String,
    pub(super) sealed: Vec<u8>,
}

impl Records {
    pub(super) fn new(sealer: Sealer) -> Self {
        Self {
            sealer,
            apps: Mutex::default(),
        }
    }

    /// What is written down of who holds the session, and when it began.
    pub(super) fn write(&self, key: &str, session: &Session) -> Vec<u8> {
        let holder = session.holder();
        let unionid = holder.unionid.as_ref().map_or("", UnionId::as_str);
        let mut text = Zeroizing::new(Vec::with_capacity(256));
        text.extend_from_slice(&session.created().as_millis().to_be_bytes());
        for part in [holder.app.as_str(), holder.openid.as_str(), unionid] {
            // Ids have 128 bytes at most.
            text.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
            text.extend_from_slice(part.as_bytes());
        }
        self.sealer.seal(session_place(&[key.as_bytes()]), &text)
    }

    /// Reads what stands under the key of a session: "cut seen ends record".
    pub(super) fn read(
        &self,
        (key, digest): (&str, &TokenDigest),
        kept: &[u8],
    ) -> Result<Session, BadRecord> {
        let mut parts = kept.splitn(4, |byte| *byte == b' ');
        let mut number = || whole(parts.next()?);
        let (cut, seen) = number().zip(number()).ok_or(BadRecord::Form)?;
        let (_ends, record) = parts.next().zip(parts.next()).ok_or(BadRecord::Form)?;
        let text = self.sealer.open(session_place(&[key.as_bytes()]), record)?;
        let (created, holder) = self.holder(&text).ok_or(BadRecord::Form)?;
        let cut = match cut {
            0 => Timestamp::NEVER,
            cut => Timestamp::from_millis(cut),
        };
        let written = Written {
            created,
            cut,
            seen: Timestamp::from_millis(seen),
            stamp: 0,
        };
        Ok(Session::restore(*digest, holder, written))
    }

    fn holder(&self, text: &[u8]) -> Option<(Timestamp, Holder)> {
        let (created, mut rest) = text.split_first_chunk::<8>()?;
        let mut part = || {
            let (&length, after) = rest.split_first()?;
            let (part, after) = after.split_at_checked(usize::from(length))?;
            rest = after;
            std::str::from_utf8(part).ok()
        };
        let (app, openid, unionid) = (part()?, part()?, part()?);
        let unionid = (!unionid.is_empty()).then(|| UnionId::parse(unionid));
        let holder = Holder {
            app: self.app(app)?,
            openid: OpenId::parse(openid).ok()?,
            unionid: unionid.transpose().ok()?,
        };
        let created = Timestamp::from_millis(u64::from_be_bytes(*created));
        rest.is_empty().then_some((created, holder))
    }

    /// Many sessions, few mini programs.
    fn app(&self, text: &str) -> Option<AppId> {
        let mut apps = self.apps.lock();
        if let Some(known) = apps.iter().find(|known| known.as_str() == text) {
            return Some(known.clone());
        }
        let app = AppId::parse(text).ok()?;
        if apps.len() < MAX_APPS {
            apps.push(app.clone());
        }
        Some(app)
    }

    /// What is written down of a session key of this user.
    pub(super) fn write_key(&self, name: &str, user: &UserKey, key: &SessionKey) -> WrittenKey {
        // Exposed to be hashed, with the user: nobody's keys can be compared with another's.
        let mut sha256 = Sha256::new();
        for part in [user.app().as_str(), user.openid().as_str()] {
            sha256.update(part.len().to_be_bytes());
            sha256.update(part);
        }
        sha256.update(key.expose());
        let hash: [u8; 32] = sha256.finalize().into();
        let fingerprint = hex(hash.first_chunk::<8>().map_or(&[][..], |first| first));
        let place = [name.as_bytes(), fingerprint.as_bytes()];
        // Exposed to be sealed at once.
        let sealed = self.sealer.seal(key_place(&place), key.expose());
        WrittenKey {
            fingerprint,
            sealed,
        }
    }

    /// The session keys of a user that may still be tried, newest first, of what stands under the
    /// name of their keys. Those that do not open are left out, and counted.
    pub(super) fn read_keys(
        &self,
        name: &str,
        kept: &[(Vec<u8>, Vec<u8>)],
        may_be_tried: impl Fn(Timestamp) -> bool,
    ) -> (Vec<SessionKey>, usize) {
        let mut keys = Vec::new();
        let mut broken = 0;
        for (fingerprint, field) in kept {
            match self.read_key(name, fingerprint, field) {
                Some(key) => keys.push(key),
                None => broken += 1,
            }
        }
        keys.retain(|key| key.replaced.is_none_or(&may_be_tried));
        keys.sort_by_key(|key| Reverse((key.redeemed, key.place)));
        (keys.into_iter().map(|key| key.secret).collect(), broken)
    }

    /// A field is "redeemed replaced place sealed".
    fn read_key(&self, name: &str, fingerprint: &[u8], field: &[u8]) -> Option<Key> {
        let mut parts = field.splitn(4, |byte| *byte == b' ');
        let mut number = || whole(parts.next()?);
        let (redeemed, replaced, place_of_login) = (number()?, number()?, number()?);
        let place = [name.as_bytes(), fingerprint];
        let text = self.sealer.open(key_place(&place), parts.next()?).ok()?;
        let bytes: [u8; 16] = text.as_slice().try_into().ok()?;
        Some(Key {
            secret: SessionKey::new(bytes),
            redeemed,
            place: place_of_login,
            replaced: (replaced != 0).then_some(Timestamp::from_millis(replaced)),
        })
    }
}

struct Key {
    secret: SessionKey,
    redeemed: u64,
    /// Of the login that brought it, among the user's.
    place: u64,
    replaced: Option<Timestamp>,
}

fn session_place<'a>(whereabouts: &'a [&'a [u8]]) -> Place<'a> {
    Place {
        what: SESSION,
        whereabouts,
    }
}

fn key_place<'a>(whereabouts: &'a [&'a [u8]]) -> Place<'a> {
    Place {
        what: SESSION_KEY,
        whereabouts,
    }
}

fn whole(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}
