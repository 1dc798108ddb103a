//! The sessions by the hash of their token: what every request looks into. Says which session goes
//! when there is no room. Knows nothing of users, and does not ask whether a session is live.
//!
//! A table of its own instead of a cache from a library, for three reasons: the session carries its
//! own key, so an entry takes 8 bytes beside it, where moka takes several hundred; a find takes a
//! shared lock for the time of one look and writes nothing that others read, where moka writes every
//! find down in a queue of all threads; and the newest session never goes, which caches that weigh
//! how often something is used do not promise.
//!
//! Which session was used longest ago is told by stamps. The count of stamps goes up with every
//! login, and a session takes the count when it is found: between two logins nothing has to be
//! written twice, and nothing has to be put in order. When there is no room, the next few sessions
//! of the table are looked at and the one of the lowest stamp goes. Their order in the table is that
//! of hashes, so they are a fair sample: of a thousand sessions that go, all but one are among the
//! tenth that was used longest ago. A table of no more sessions than that is looked at whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use hashbrown::HashTable;
use parking_lot::{Mutex, RwLock};

use crate::domain::id::AppId;
use crate::domain::session::Session;
use crate::domain::token::TokenDigest;
use crate::store::memory::census::Census;

/// Parts of the table with a lock each, by one byte of the digest. So many that two threads are
/// seldom in the same one, and that growing one, which keeps finds waiting, is over at once.
const SHARDS: usize = 256;

/// Parts in which all of the table is gone through.
const PARTS: usize = 64;

/// Sessions that are looked at to find the one that goes.
const LOOKED_AT: usize = 64;

/// All sessions, by the hash of their token.
#[derive(Debug)]
pub(in crate::store) struct Table {
    shards: Box<[Shard]>,
    sessions: AtomicUsize,
    census: Census,
    /// See [`Session::stamp`].
    stamps: AtomicU64,
    hand: Mutex<Hand>,
}

/// On a cache line of its own: readers of one shard leave those of the next alone.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard(RwLock<HashTable<Arc<Session>>>);

/// How far the table has been looked through for sessions to go.
#[derive(Debug, Default)]
struct Hand {
    shard: usize,
    bucket: usize,
}

impl Table {
    pub(in crate::store) fn new() -> Self {
        Self {
            shards: std::iter::repeat_with(Shard::default)
                .take(SHARDS)
                .collect(),
            sessions: AtomicUsize::new(0),
            census: Census::default(),
            stamps: AtomicU64::new(0),
            hand: Mutex::default(),
        }
    }

    /// The number of sessions.
    pub(in crate::store) fn len(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }

    /// The number of sessions of each mini program.
    pub(in crate::store) fn census(&self) -> Vec<(AppId, u64)> {
        self.census.take()
    }

    /// The session of this token, with its use noted.
    pub(in crate::store) fn find(&self, digest: &TokenDigest) -> Option<Arc<Session>> {
        let shard = self.shard(digest)?.0.read();
        // A digest is compared in variable time: who can choose it cannot choose the token.
        let session = shard.find(hash(digest), |session| session.digest() == digest)?;
        session.set_stamp(self.stamps.load(Ordering::Relaxed));
        Some(Arc::clone(session))
    }

    /// The session of this token, of which no use is noted.
    pub(in crate::store) fn peek(&self, digest: &TokenDigest) -> Option<Arc<Session>> {
        let shard = self.shard(digest)?.0.read();
        let session = shard.find(hash(digest), |session| session.digest() == digest);
        session.map(Arc::clone)
    }

    /// Adds a session. No other has its token.
    pub(in crate::store) fn add(&self, session: Arc<Session>) {
        session.set_stamp(self.stamps.fetch_add(1, Ordering::Relaxed) + 1);
        self.insert(session);
    }

    /// Adds a session that another process has used. No other has its token.
    pub(in crate::store) fn restore(&self, session: Arc<Session>) {
        self.count_from(session.stamp());
        self.insert(session);
    }

    /// The last stamp that was given to a login.
    pub(in crate::store) fn stamp(&self) -> u64 {
        self.stamps.load(Ordering::Relaxed)
    }

    /// Gives higher stamps than this one from here on.
    pub(in crate::store) fn count_from(&self, stamp: u64) {
        self.stamps.fetch_max(stamp, Ordering::Relaxed);
    }

    /// Adds a session that has its stamp already. No other has its token.
    pub(in crate::store) fn insert(&self, session: Arc<Session>) {
        let digest = *session.digest();
        let Some(shard) = self.shard(&digest) else {
            return;
        };
        self.census.came(&session.holder().app);
        let mut shard = shard.0.write();
        shard.insert_unique(hash(&digest), session, |session| hash(session.digest()));
        self.sessions.fetch_add(1, Ordering::Relaxed);
    }

    /// Lets go of a session, if it is there.
    pub(in crate::store) fn remove(&self, digest: &TokenDigest) {
        let Some(shard) = self.shard(digest) else {
            return;
        };
        let mut shard = shard.0.write();
        let found = shard.find_entry(hash(digest), |session| session.digest() == digest);
        let removed = found.ok().map(|found| found.remove().0);
        drop(shard);
        if let Some(session) = removed {
            self.census.went(&session.holder().app);
            self.sessions.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The sessions of one of [`PARTS`] parts of the table of which this is true. `part` counts up: all
    /// come in turn.
    pub(in crate::store) fn those_of_part(
        &self,
        part: usize,
        is_one: impl Fn(&Session) -> bool,
    ) -> Vec<Arc<Session>> {
        let shards = self.shards.iter().skip(part % PARTS).step_by(PARTS);
        let mut found = Vec::new();
        for shard in shards {
            let shard = shard.0.read();
            let those = shard.iter().filter(|session| is_one(session));
            found.extend(those.cloned());
        }
        found
    }

    /// The sessions of which this is true: looks at all.
    pub(in crate::store) fn those(&self, is_one: impl Fn(&Session) -> bool) -> Vec<Arc<Session>> {
        let parts = 0..PARTS;
        parts
            .flat_map(|part| self.those_of_part(part, &is_one))
            .collect()
    }

    /// Hands sessions to `end`, which must remove them, until there are no more than `max`. The
    /// newest is not among them.
    pub(in crate::store) fn make_room(
        &self,
        max: usize,
        newest: &Session,
        end: impl Fn(&Arc<Session>),
    ) {
        let mut hand = self.hand.lock();
        while self.len() > max {
            let Some(session) = self.used_longest_ago(&mut hand, newest) else {
                return;
            };
            end(&session);
        }
    }

    /// Of the next few sessions, the one that was used longest ago.
    fn used_longest_ago(&self, hand: &mut Hand, newest: &Session) -> Option<Arc<Session>> {
        let mut oldest: Option<Arc<Session>> = None;
        let mut looked_at = 0;
        // Once round, and to where it began: the whole table when it is small.
        for _ in 0..=self.shards.len() {
            let shard = self.shards.get(hand.shard)?.0.read();
            while looked_at < LOOKED_AT
                && let Some(session) = hand.next_in(&shard, newest)
            {
                looked_at += 1;
                oldest = Some(used_longer_ago(oldest, session));
            }
            if looked_at == LOOKED_AT {
                break;
            }
            *hand = Hand {
                shard: (hand.shard + 1) % SHARDS,
                bucket: 0,
            };
        }
        oldest
    }

    fn shard(&self, digest: &TokenDigest) -> Option<&Shard> {
        let [.., last] = digest.as_bytes();
        self.shards.get(usize::from(*last))
    }
}

impl Hand {
    /// The next session of this shard other than the newest.
    fn next_in<'a>(
        &mut self,
        shard: &'a HashTable<Arc<Session>>,
        newest: &Session,
    ) -> Option<&'a Arc<Session>> {
        while self.bucket < shard.num_buckets() {
            let found = shard.get_bucket(self.bucket);
            self.bucket += 1;
            if found.is_some_and(|session| session.digest() != newest.digest()) {
                return found;
            }
        }
        None
    }
}

fn used_longer_ago(one: Option<Arc<Session>>, other: &Arc<Session>) -> Arc<Session> {
    match one {
        Some(one) if one.stamp() <= other.stamp() => one,
        _ => Arc::clone(other),
    }
}

/// A digest is a SHA-256 already: eight of its bytes are as good a hash as any.
fn hash(digest: &TokenDigest) -> u64 {
    let first = digest.as_bytes().first_chunk().copied();
    u64::from_ne_bytes(first.unwrap_or_default())
}
