//! What is known of each user beside single sessions: which sessions are theirs, and WeChat's keys
//! for them. This index is the truth about whose sessions exist; it lives and dies with them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use parking_lot::Mutex;

use crate::domain::clock::Timestamp;
use crate::domain::id::{AppId, OpenId, UserKey};
use crate::domain::limits;
use crate::domain::secret::SessionKey;
use crate::domain::session::{Lifetimes, Session};
use crate::domain::token::TokenDigest;
use crate::store::Login;

/// Locks of the index: logins of different users seldom wait for each other.
const SHARDS: usize = 256;

/// Shards that one sweep goes through.
const SWEPT_AT_ONCE: usize = 4;

/// All users with a session.
#[derive(Debug)]
pub(in crate::store) struct Users {
    shards: Box<[Shard]>,
}

/// An entry is named by the holder of its session, so that no name is kept twice.
type Shard = Mutex<HashTable<Box<Kept>>>;

/// One user of one mini program, as they are kept: most have one session and one key, and those
/// have their place here.
#[derive(Debug)]
struct Kept {
    session: Arc<Session>,
    key: SessionKey,
    redeemed: Timestamp,
    more: Option<Box<More>>,
}

/// What a user has beyond one session and one key.
#[derive(Debug)]
struct More {
    sessions: Box<[Arc<Session>]>,
    keys: Box<[Key]>,
}

/// One user of one mini program, taken out to be changed.
#[derive(Debug, Default)]
pub(in crate::store) struct User {
    /// In order of login.
    pub(in crate::store) sessions: Vec<Arc<Session>>,
    /// Newest first; never more than [`limits::MAX_SESSION_KEYS`].
    pub(in crate::store) keys: Vec<Key>,
}

/// WeChat's key for a user.
#[derive(Clone, Debug)]
pub(in crate::store) struct Key {
    pub(in crate::store) secret: SessionKey,
    /// The moment at which it was asked for.
    pub(in crate::store) redeemed: Timestamp,
    /// When a newer key took its place.
    pub(in crate::store) replaced: Option<Timestamp>,
}

/// What a login did to the user's other sessions. The index has let go of those that ended.
#[derive(Debug, Default)]
pub(in crate::store) struct Displaced {
    /// Run out.
    pub(in crate::store) ran_out: Vec<Arc<Session>>,
    /// Over the cap.
    pub(in crate::store) over_cap: Vec<Arc<Session>>,
    /// Replaced: works for its grace.
    pub(in crate::store) replaced: Option<Arc<Session>>,
}

impl Users {
    pub(in crate::store) fn new() -> Self {
        Self {
            shards: std::iter::repeat_with(Shard::default)
                .take(SHARDS)
                .collect(),
        }
    }

    /// Adds a session and its key; replaces and caps the user's other sessions.
    pub(in crate::store) fn add(
        &self,
        login: Login,
        now: Timestamp,
        lifetimes: &Lifetimes,
    ) -> Displaced {
        let holder = login.session.holder();
        let key = UserKey::new(&holder.app, &holder.openid);
        self.change(&key, |user| {
            let mut displaced = Displaced {
                ran_out: user.take_dead(now, lifetimes),
                ..Displaced::default()
            };
            if user.sessions.is_empty() {
                // Whoever comes now is a new user, as if the sweep had been here already.
                user.keys.clear();
            }
            displaced.replaced = login.replaces.and_then(|digest| user.replace(&digest, now));
            user.sessions.push(login.session);
            displaced.over_cap = user.take_over_cap(login.max_per_user);
            user.add_key(login.key, login.redeemed, now);
            displaced
        })
    }

    /// Lets go of one session, and of the user with the last one.
    pub(in crate::store) fn remove(&self, session: &Arc<Session>) {
        let holder = session.holder();
        let key = UserKey::new(&holder.app, &holder.openid);
        self.change(&key, |user| {
            user.sessions.retain(|other| !Arc::ptr_eq(other, session));
        });
    }

    /// Lets go of a user, and gives the sessions.
    pub(in crate::store) fn remove_user(&self, key: &UserKey) -> Vec<Arc<Session>> {
        self.change(key, |user| std::mem::take(&mut user.sessions))
    }

    /// The user's keys that may still be tried, newest first.
    pub(in crate::store) fn keys(
        &self,
        key: &UserKey,
        now: Timestamp,
        grace: Duration,
    ) -> Vec<SessionKey> {
        let fresh = |key: &Key| {
            key.replaced
                .is_none_or(|replaced| now.since(replaced) <= grace)
        };
        let hash = hash(key.app(), key.openid());
        let user = self.shard(hash).and_then(|shard| {
            let users = shard.lock();
            users
                .find(hash, |kept| kept.is_of(key))
                .map(|kept| kept.open())
        });
        let keys = user.map(|user| user.keys).unwrap_or_default();
        keys.into_iter()
            .filter(fresh)
            .map(|key| key.secret)
            .collect()
    }

    /// Copies of all users, a part at a time: as they are when their part comes.
    pub(in crate::store) fn parts(&self) -> impl Iterator<Item = Vec<User>> {
        let shards = self.shards.iter();
        shards.map(|shard| shard.lock().iter().map(|kept| kept.open()).collect())
    }

    /// Adds what was written down of a user, in one part or several.
    pub(in crate::store) fn restore(&self, part: User) {
        let Some(first) = part.sessions.first() else {
            return;
        };
        let holder = first.holder();
        let key = UserKey::new(&holder.app, &holder.openid);
        self.change(&key, |user| {
            user.sessions.extend(part.sessions);
            if user.keys.is_empty() {
                user.keys = part.keys;
            }
        });
    }

    /// Lets go of the dead sessions of some users, and gives them. `part` counts up: all users come
    /// in turn.
    pub(in crate::store) fn sweep(
        &self,
        part: usize,
        now: Timestamp,
        lifetimes: &Lifetimes,
    ) -> Vec<Arc<Session>> {
        let parts = SHARDS / SWEPT_AT_ONCE;
        let shards = self.shards.iter().skip(part % parts).step_by(parts);
        let mut dead = Vec::new();
        for shard in shards {
            shard
                .lock()
                .retain(|kept| kept.keep_live(&mut dead, now, lifetimes));
        }
        dead
    }

    /// Takes a user out, or a new one, and puts back what is left.
    fn change<R: Default>(&self, key: &UserKey, act: impl FnOnce(&mut User) -> R) -> R {
        let hash = hash(key.app(), key.openid());
        let Some(shard) = self.shard(hash) else {
            return R::default();
        };
        let mut users = shard.lock();
        match users.entry(hash, |kept| kept.is_of(key), |kept| kept.hash()) {
            Entry::Occupied(mut place) => {
                let mut user = place.get().open();
                let done = act(&mut user);
                match Kept::of(user) {
                    Some(kept) => **place.get_mut() = kept,
                    None => drop(place.remove()),
                }
                done
            }
            Entry::Vacant(place) => {
                let mut user = User::default();
                let done = act(&mut user);
                if let Some(kept) = Kept::of(user) {
                    place.insert(Box::new(kept));
                }
                done
            }
        }
    }

    /// The shard of a user, by bits of the hash that place nothing within a shard.
    fn shard(&self, hash: u64) -> Option<&Shard> {
        let [_, _, _, byte, ..] = hash.to_ne_bytes();
        self.shards.get(usize::from(byte))
    }
}

fn hash(app: &AppId, openid: &OpenId) -> u64 {
    let mut hasher = DefaultHasher::new();
    (app, openid).hash(&mut hasher);
    hasher.finish()
}

impl Kept {
    /// How a user is kept; nothing without a session.
    fn of(user: User) -> Option<Self> {
        let mut sessions = user.sessions.into_iter();
        let mut keys = user.keys.into_iter();
        let session = sessions.next()?;
        let key = keys.next()?;
        let (sessions, keys): (Box<[_]>, Box<[_]>) = (sessions.collect(), keys.collect());
        let more = !(sessions.is_empty() && keys.is_empty());
        Some(Self {
            session,
            key: key.secret,
            redeemed: key.redeemed,
            more: more.then(|| Box::new(More { sessions, keys })),
        })
    }

    fn open(&self) -> User {
        let mut user = User {
            sessions: vec![Arc::clone(&self.session)],
            keys: vec![Key {
                secret: self.key.clone(),
                redeemed: self.redeemed,
                replaced: None,
            }],
        };
        if let Some(more) = &self.more {
            user.sessions.extend(more.sessions.iter().cloned());
            user.keys.extend(more.keys.iter().cloned());
        }
        user
    }

    fn is_of(&self, key: &UserKey) -> bool {
        let holder = self.session.holder();
        holder.openid == *key.openid() && holder.app == *key.app()
    }

    fn hash(&self) -> u64 {
        let holder = self.session.holder();
        hash(&holder.app, &holder.openid)
    }

    /// Moves dead sessions over to `dead`. Whether one is left.
    fn keep_live(
        &mut self,
        dead: &mut Vec<Arc<Session>>,
        now: Timestamp,
        lifetimes: &Lifetimes,
    ) -> bool {
        if self.all_live(now, lifetimes) {
            return true;
        }
        let mut user = self.open();
        dead.extend(user.take_dead(now, lifetimes));
        let left = Self::of(user);
        let some_left = left.is_some();
        if let Some(left) = left {
            *self = left;
        }
        some_left
    }

    fn all_live(&self, now: Timestamp, lifetimes: &Lifetimes) -> bool {
        let more = self.more.iter().flat_map(|more| more.sessions.iter());
        std::iter::once(&self.session)
            .chain(more)
            .all(|session| session.is_live(now, lifetimes))
    }
}

impl User {
    fn take_dead(&mut self, now: Timestamp, lifetimes: &Lifetimes) -> Vec<Arc<Session>> {
        self.sessions
            .extract_if(.., |session| !session.is_live(now, lifetimes))
            .collect()
    }

    fn replace(&self, digest: &TokenDigest, now: Timestamp) -> Option<Arc<Session>> {
        let replaced = self
            .sessions
            .iter()
            .find(|session| session.digest() == digest)?;
        replaced.replace(now);
        Some(Arc::clone(replaced))
    }

    /// The oldest sessions over the cap. A replaced one is on its way out and does not count.
    fn take_over_cap(&mut self, cap: Option<usize>) -> Vec<Arc<Session>> {
        let Some(cap) = cap else { return Vec::new() };
        let counted = self
            .sessions
            .iter()
            .filter(|session| !session.is_cut())
            .count();
        let mut over = counted.saturating_sub(cap.max(1));
        self.sessions
            .extract_if(.., |session| {
                let goes = over > 0 && !session.is_cut();
                over -= usize::from(goes);
                goes
            })
            .collect()
    }

    /// Puts a key in its place by the moment at which it was redeemed: an answer that was long
    /// under way is not the newest key. The same key again is the same key, in use once more.
    fn add_key(&mut self, key: SessionKey, redeemed: Timestamp, now: Timestamp) {
        let same = self.keys.iter().position(|known| known.secret.is(&key));
        let redeemed = match same.map(|index| self.keys.remove(index)) {
            Some(known) => redeemed.max(known.redeemed),
            None => redeemed,
        };
        let place = self
            .keys
            .iter()
            .position(|known| known.redeemed <= redeemed);
        self.keys.insert(
            place.unwrap_or(self.keys.len()),
            Key {
                secret: key,
                redeemed,
                replaced: None,
            },
        );
        self.keys.truncate(limits::MAX_SESSION_KEYS);
        for (index, known) in self.keys.iter_mut().enumerate() {
            known.replaced = if index == 0 {
                None
            } else {
                known.replaced.or(Some(now))
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_with_one_session_takes_no_more_than_one_small_allocation() {
        // 48 bytes, of which the allocator needs 8.
        assert!(size_of::<Kept>() <= 40, "{}", size_of::<Kept>());
    }
}
