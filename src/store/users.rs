//! What is known of each user beside single sessions: which sessions are theirs, and WeChat's keys
//! for them. This index is the truth about whose sessions exist; it lives and dies with them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::domain::clock::Timestamp;
use crate::domain::id::UserKey;
use crate::domain::limits;
use crate::domain::secret::SessionKey;
use crate::domain::session::{Lifetimes, Session};
use crate::domain::token::TokenDigest;
use crate::store::Login;

/// Locks of the index: logins of different users seldom wait for each other.
const SHARDS: usize = 64;

/// All users with a session.
#[derive(Debug)]
pub(in crate::store) struct Users {
    shards: Vec<Mutex<HashMap<UserKey, User>>>,
}

/// One user of one mini program.
#[derive(Debug, Default)]
struct User {
    /// In order of login.
    sessions: Vec<Arc<Session>>,
    /// Newest first; never more than [`limits::MAX_SESSION_KEYS`].
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Key {
    secret: SessionKey,
    redeemed: Timestamp,
    /// When a newer key took its place.
    replaced: Option<Timestamp>,
}

/// What a login did to the user's other sessions. The index has let go of those that ended.
#[derive(Debug, Default)]
pub(in crate::store) struct Displaced {
    /// Over the cap, or run out.
    pub(in crate::store) ended: Vec<Arc<Session>>,
    /// Replaced: works for its grace.
    pub(in crate::store) replaced: Option<Arc<Session>>,
}

impl Users {
    pub(in crate::store) fn new() -> Self {
        Self {
            shards: std::iter::repeat_with(Mutex::default)
                .take(SHARDS)
                .collect(),
        }
    }

    /// The number of shards, for going round them.
    pub(in crate::store) fn shards(&self) -> usize {
        self.shards.len()
    }

    fn with<R>(&self, user: &UserKey, act: impl FnOnce(&mut HashMap<UserKey, User>) -> R) -> R {
        use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(user);
        let index = usize::try_from(hash).unwrap_or_default() % self.shards.len().max(1);
        match self.shards.get(index) {
            Some(shard) => act(&mut shard.lock()),
            None => act(&mut HashMap::new()),
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
        self.with(&key, |users| {
            let user = users.entry(key.clone()).or_default();
            let mut displaced = Displaced {
                ended: user.take_dead(now, lifetimes),
                replaced: None,
            };
            if user.sessions.is_empty() {
                // Whoever comes now is a new user, as if the sweep had been here already.
                user.keys.clear();
            }
            displaced.replaced = login.replaces.and_then(|digest| user.replace(&digest, now));
            user.sessions.push(login.session);
            displaced
                .ended
                .extend(user.take_over_cap(login.max_per_user));
            user.add_key(login.key, login.redeemed, now);
            displaced
        })
    }

    /// Lets go of one session, and of the user with the last one.
    pub(in crate::store) fn remove(&self, session: &Arc<Session>) {
        let holder = session.holder();
        let key = UserKey::new(&holder.app, &holder.openid);
        self.with(&key, |users| {
            let Some(user) = users.get_mut(&key) else {
                return;
            };
            user.sessions.retain(|other| !Arc::ptr_eq(other, session));
            if user.sessions.is_empty() {
                users.remove(&key);
            }
        });
    }

    /// Lets go of a user, and gives the sessions.
    pub(in crate::store) fn remove_user(&self, key: &UserKey) -> Vec<Arc<Session>> {
        self.with(key, |users| users.remove(key))
            .map(|user| user.sessions)
            .unwrap_or_default()
    }

    /// The user's keys that may still be tried, newest first.
    pub(in crate::store) fn keys(
        &self,
        key: &UserKey,
        now: Timestamp,
        grace: Duration,
    ) -> Vec<SessionKey> {
        let fresh = |key: &&Key| {
            key.replaced
                .is_none_or(|replaced| now.since(replaced) <= grace)
        };
        self.with(key, |users| {
            let keys = users
                .get(key)
                .map(|user| user.keys.iter())
                .unwrap_or_default();
            keys.filter(fresh).map(|key| key.secret.clone()).collect()
        })
    }

    /// Lets go of the dead sessions of one shard, and gives them.
    pub(in crate::store) fn sweep(
        &self,
        shard: usize,
        now: Timestamp,
        lifetimes: &Lifetimes,
    ) -> Vec<Arc<Session>> {
        let Some(shard) = self.shards.get(shard) else {
            return Vec::new();
        };
        let mut dead = Vec::new();
        shard.lock().retain(|_, user| {
            dead.extend(user.take_dead(now, lifetimes));
            !user.sessions.is_empty()
        });
        dead
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
        // Both keys come from WeChat, none from the client: a comparison in variable time tells
        // nobody anything.
        let same = self
            .keys
            .iter()
            .position(|known| known.secret.expose() == key.expose());
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
