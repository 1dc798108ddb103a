//! A user with the sessions and keys as bytes. Knows nothing of files, and takes what it reads for
//! truth: it was sealed.

use std::sync::Arc;

use crate::domain::clock::Timestamp;
use crate::domain::id::{AppId, OpenId, UnionId};
use crate::domain::secret::SessionKey;
use crate::domain::session::{Holder, Session, Written};
use crate::domain::token::TokenDigest;
use crate::store::users::{Key, User};

/// Sessions in one record. A user with more has several, so that no record is long.
const MAX_SESSIONS: usize = 256;

/// More than any record has: two ids, three keys, and the sessions with an id each.
pub(super) const MAX_RECORD_BYTES: usize = 64 * 1024;

/// A user's keys, with some of the sessions.
pub(super) struct Part<'a> {
    holder: &'a Holder,
    keys: &'a [Key],
    sessions: &'a [Arc<Session>],
}

/// The parts of a user that have a record each; none without a session.
pub(super) fn parts(user: &User) -> impl Iterator<Item = Part<'_>> {
    user.sessions.chunks(MAX_SESSIONS).filter_map(|sessions| {
        Some(Part {
            holder: sessions.first()?.holder(),
            keys: &user.keys,
            sessions,
        })
    })
}

/// Appends a record.
pub(super) fn put(out: &mut Vec<u8>, part: &Part<'_>) {
    put_text(out, part.holder.app.as_str());
    put_text(out, part.holder.openid.as_str());
    out.push(u8::try_from(part.keys.len()).unwrap_or_default());
    for key in part.keys {
        // Exposed to be sealed with the rest.
        out.extend_from_slice(key.secret.expose());
        put_time(out, key.redeemed);
        put_time(out, key.replaced.unwrap_or(Timestamp::NEVER));
    }
    let count = u16::try_from(part.sessions.len()).unwrap_or_default();
    out.extend_from_slice(&count.to_be_bytes());
    for session in part.sessions {
        put_session(out, session);
    }
}

fn put_session(out: &mut Vec<u8>, session: &Session) {
    let written = session.written();
    out.extend_from_slice(session.digest().as_bytes());
    for time in [written.created, written.cut, written.seen] {
        put_time(out, time);
    }
    out.extend_from_slice(&written.stamp.to_be_bytes());
    let unionid = session.holder().unionid.as_ref();
    put_text(out, unionid.map_or("", UnionId::as_str));
}

/// No identifier is longer than 128 bytes.
fn put_text(out: &mut Vec<u8>, text: &str) {
    out.push(u8::try_from(text.len()).unwrap_or_default());
    out.extend_from_slice(text.as_bytes());
}

fn put_time(out: &mut Vec<u8>, time: Timestamp) {
    out.extend_from_slice(&time.as_millis().to_be_bytes());
}

/// Reads records. Mini programs are few, and each is kept once.
#[derive(Debug, Default)]
pub(super) struct Records {
    apps: Vec<AppId>,
}

impl Records {
    /// Takes the next user off the bytes. `None` when that is no user.
    pub(super) fn take(&mut self, bytes: &mut &[u8]) -> Option<User> {
        let app = self.app(take_text(bytes)?)?;
        let openid = OpenId::parse(take_text(bytes)?).ok()?;
        let [keys] = take(bytes)?;
        if keys == 0 {
            // The index keeps nobody without a key.
            return None;
        }
        let keys: Option<Vec<_>> = (0..keys).map(|_| take_key(bytes)).collect();
        let sessions = u16::from_be_bytes(take(bytes)?);
        let sessions: Option<Vec<_>> = (0..sessions)
            .map(|_| take_session(bytes, &app, &openid).map(Arc::new))
            .collect();
        Some(User {
            sessions: sessions?,
            keys: keys?,
        })
    }

    fn app(&mut self, text: &str) -> Option<AppId> {
        if let Some(known) = self.apps.iter().find(|app| app.as_str() == text) {
            return Some(known.clone());
        }
        let app = AppId::parse(text).ok()?;
        self.apps.push(app.clone());
        Some(app)
    }
}

fn take_key(bytes: &mut &[u8]) -> Option<Key> {
    let secret = SessionKey::new(take(bytes)?);
    let redeemed = take_time(bytes)?;
    let replaced = take_time(bytes)?;
    Some(Key {
        secret,
        redeemed,
        replaced: (replaced != Timestamp::NEVER).then_some(replaced),
    })
}

fn take_session(bytes: &mut &[u8], app: &AppId, openid: &OpenId) -> Option<Session> {
    let digest = TokenDigest::new(take(bytes)?);
    let written = Written {
        created: take_time(bytes)?,
        cut: take_time(bytes)?,
        seen: take_time(bytes)?,
        stamp: u64::from_be_bytes(take(bytes)?),
    };
    let unionid = match take_text(bytes)? {
        "" => None,
        text => Some(UnionId::parse(text).ok()?),
    };
    let holder = Holder {
        app: app.clone(),
        openid: openid.clone(),
        unionid,
    };
    Some(Session::restore(digest, holder, written))
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

fn take_time(bytes: &mut &[u8]) -> Option<Timestamp> {
    take(bytes)
        .map(u64::from_be_bytes)
        .map(Timestamp::from_millis)
}

fn take_text<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
    let [length] = take(bytes)?;
    let (text, rest) = bytes.split_at_checked(usize::from(length))?;
    *bytes = rest;
    std::str::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_without_a_key_is_no_user() {
        let holder = Holder {
            app: AppId::parse("wx0123456789abcdef").unwrap(),
            openid: OpenId::parse("oUser").unwrap(),
            unionid: None,
        };
        let key = Key {
            secret: SessionKey::new([1; 16]),
            redeemed: Timestamp::EPOCH,
            replaced: None,
        };
        for keys in [0, 1] {
            let mut bytes = Vec::new();
            let part = Part {
                holder: &holder,
                keys: &[key.clone()][..keys],
                sessions: &[],
            };
            put(&mut bytes, &part);
            let user = Records::default().take(&mut bytes.as_slice());
            assert_eq!(user.map(|user| user.keys.len()), (keys > 0).then_some(keys));
        }
    }
}
