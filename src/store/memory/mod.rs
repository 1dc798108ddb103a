//! Sessions in this process: a bounded cache by token, beside the index by user.
//!
//! The cache bounds memory and nothing else. Whether a session is live is asked of the session, so
//! one that a race left in the cache after it was ended is still dead.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use moka::notification::RemovalCause;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::domain::clock::Timestamp;
use crate::domain::id::UserKey;
use crate::domain::secret::SessionKey;
use crate::domain::session::{Lifetimes, Live, Session};
use crate::domain::token::TokenDigest;
use crate::store::streams::{Stream, Streams};
use crate::store::users::Users;
use crate::store::{Login, Settings};

type Sessions = Cache<TokenDigest, Arc<Session>, BuildHasherDefault<DigestHasher>>;

/// Sessions in this process. A cheap handle.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    sessions: Sessions,
    users: Arc<Users>,
    streams: Streams,
    next_shard: Arc<AtomicUsize>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(settings: Settings) -> Self {
        let users = Arc::new(Users::new());
        let streams = Streams::default();
        let (index, register) = (Arc::clone(&users), streams.clone());
        let evicted = move |_: Arc<TokenDigest>, session: Arc<Session>, cause| {
            if cause == RemovalCause::Size {
                session.end();
                index.remove(&session);
                register.look_again(&session);
            }
        };
        let sessions = Cache::builder()
            .max_capacity(settings.max_sessions)
            // The default policy may refuse the newest entry: a client that just logged in.
            .eviction_policy(EvictionPolicy::lru())
            .eviction_listener(evicted)
            .build_with_hasher(BuildHasherDefault::default());
        Self {
            sessions,
            users,
            streams,
            next_shard: Arc::default(),
        }
    }

    pub(in crate::store) fn find(
        &self,
        digest: &TokenDigest,
        now: Timestamp,
        lifetimes: &Lifetimes,
    ) -> Option<Live> {
        let session = self.sessions.get(digest)?;
        let live = Live::of(Arc::clone(&session), now, lifetimes);
        if live.is_none() {
            self.end(&session);
        }
        live
    }

    pub(in crate::store) fn begin(&self, login: Login, now: Timestamp, lifetimes: &Lifetimes) {
        let session = Arc::clone(&login.session);
        // The index first: an ending that comes in between finds the session there and ends it.
        // No lock of the index is held while the cache works, which may evict and lock it.
        let displaced = self.users.add(login, now, lifetimes);
        self.sessions.insert(*session.digest(), session);
        for ended in &displaced.ended {
            self.drop_ended(ended);
        }
        if let Some(replaced) = &displaced.replaced {
            self.streams.look_again(replaced);
        }
    }

    pub(in crate::store) fn end(&self, session: &Arc<Session>) {
        self.users.remove(session);
        self.drop_ended(session);
    }

    pub(in crate::store) fn end_all(&self, user: &UserKey) -> usize {
        let ended = self.users.remove_user(user);
        for session in &ended {
            self.drop_ended(session);
        }
        ended.len()
    }

    pub(in crate::store) fn keys(
        &self,
        user: &UserKey,
        now: Timestamp,
        grace: Duration,
    ) -> Vec<SessionKey> {
        self.users.keys(user, now, grace)
    }

    pub(in crate::store) fn open_stream(&self, live: &Live) -> Stream {
        self.streams.open(live.session())
    }

    pub(in crate::store) fn sweep(&self, now: Timestamp, lifetimes: &Lifetimes) {
        let shard = self.next_shard.fetch_add(1, Ordering::Relaxed) % self.users.shards().max(1);
        for dead in self.users.sweep(shard, now, lifetimes) {
            self.drop_ended(&dead);
        }
    }

    /// Ends a session that the index has let go of.
    fn drop_ended(&self, session: &Session) {
        session.end();
        self.sessions.invalidate(session.digest());
        self.streams.look_again(session);
    }
}

/// A token digest is a SHA-256 already: eight of its bytes are as good a hash as any.
#[derive(Debug, Default)]
struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn write(&mut self, bytes: &[u8]) {
        let mut word = [0; 8];
        for (to, from) in word.iter_mut().zip(bytes) {
            *to = *from;
        }
        self.0 = u64::from_ne_bytes(word);
    }

    // What `Hash` for arrays writes first says nothing: all digests have the same length.
    fn write_usize(&mut self, _length: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests;
