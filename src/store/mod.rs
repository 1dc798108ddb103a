//! Where sessions are kept: looked up by the hash of their token, ended by user. Decides nothing
//! about how long a session lives; `domain::session` does.

pub mod ending;
pub mod memory;
pub mod redis;
pub mod snapshot;
pub mod streams;
mod users;

pub use redis::PushLease;

use std::sync::Arc;
use std::time::Duration;

use crate::crypto::code::{CodeDigest, SealedAnswer};
use crate::crypto::push::PushDigest;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::id::{AppId, UserKey};
use crate::domain::secret::{SealKeys, SessionKey};
use crate::domain::session::{Lifetimes, Live, Session};
use crate::domain::ticket::TicketId;
use crate::domain::token::TokenDigest;
use crate::store::ending::Ended;
use crate::store::memory::MemoryStore;
use crate::store::redis::RedisStore;
use crate::store::snapshot::{Figures, NotSaved, OpenError, SnapshotFile, Snapshots};
use crate::store::streams::Stream;

/// `[store]`: where sessions are kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Sessions at once; beyond, the least recently used goes.
    pub max_sessions: u64,
    /// What is sealed under when sessions leave the process.
    pub seal_keys: Option<SealKeys>,
    /// Where sessions outlive the process, if they do.
    pub snapshot: Option<SnapshotFile>,
    /// `[store.redis]`, when sessions are kept there; it needs `seal_keys`.
    pub redis: Option<redis::Settings>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_sessions: 1_000_000,
            seal_keys: None,
            snapshot: None,
            redis: None,
        }
    }
}

/// A login that WeChat has accepted, to be written down.
#[derive(Debug)]
pub struct Login {
    /// The new session.
    pub session: Arc<Session>,
    /// WeChat's key for this user, with the moment at which it was asked for.
    pub key: SessionKey,
    /// See `key`. Decides which of two keys is the newer one.
    pub redeemed: Timestamp,
    /// The session whose token came with the login; replaced when it is of the same user.
    pub replaces: Option<TokenDigest>,
    /// Sessions of one user at once, when that is limited.
    pub max_per_user: Option<usize>,
}

/// Why the store did not do as it was asked. All of it passes by itself, or when the operator does
/// something; the client's doing is none of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It cannot be reached, or does not answer in time.
    #[error("the store is away")]
    Away,
    /// Too much is asked of it already.
    #[error("too much is asked of the store already")]
    Busy,
    /// It refused, for a reason that the log has.
    #[error("the store did not do as it was asked")]
    Failed,
    /// It can be read only.
    #[error("the store writes nothing")]
    NoWrites,
}

/// What is known of a token without waiting.
#[derive(Debug)]
pub enum Found {
    /// Its session is live.
    Live(Live),
    /// It has no live session.
    Unknown,
    /// It has to be asked about: [`Store::first_sight`].
    Unseen,
    /// It would have to be asked about, and that cannot be.
    Unusable(Unusable),
}

/// Who finds out what becomes of a login code.
#[derive(Debug)]
pub enum Claim {
    /// Whoever asked. What comes of it is settled by the lease, where others may be waiting for it.
    Mine(Option<Lease>),
    /// Somebody has, and this is the answer.
    Answered(SealedAnswer),
    /// Another gate, at this moment.
    Elsewhere,
}

/// The right to find out what becomes of a login code.
#[derive(Debug)]
pub struct Lease {
    code: CodeDigest,
    claim: Vec<u8>,
}

/// What there is of a push that several gates may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushFound {
    /// Nothing: it is claimed for whoever asked.
    Mine,
    /// Another gate delivers it at this moment.
    UnderWay,
    /// It was taken.
    Taken,
}

/// Keeps sessions.
#[derive(Clone, Debug)]
pub enum Store {
    /// In this process, for a gate that stands alone.
    Memory(MemoryStore),
    /// In Redis, for several.
    Redis(RedisStore),
}

impl Store {
    /// An empty store in this process.
    pub fn in_memory(settings: &Settings) -> Self {
        Self::Memory(MemoryStore::new(settings.max_sessions))
    }

    /// A store in this process, with the sessions that outlived the last one. Reads files, and takes
    /// them for this process.
    pub fn open(
        settings: &Settings,
        now: Timestamp,
        lifetimes: &Lifetimes,
    ) -> Result<Self, OpenError> {
        let Some(file) = &settings.snapshot else {
            return Ok(Self::in_memory(settings));
        };
        let memory = Snapshots::open(file, settings.max_sessions, (now, lifetimes))?;
        Ok(Self::Memory(memory))
    }

    /// Writes down what has changed, again and again, where sessions outlive the process. `lifetimes`
    /// are asked for every time.
    pub async fn keep_saved(self, clock: Clock, lifetimes: impl Fn() -> Lifetimes) {
        if self.snapshots().is_none() {
            return;
        }
        loop {
            tokio::time::sleep(snapshot::EVERY).await;
            let (store, now, lifetimes) = (self.clone(), clock.now(), lifetimes());
            let saved = tokio::task::spawn_blocking(move || store.save(now, &lifetimes));
            // What one that panicked has not written is for the next.
            drop(saved.await);
        }
    }

    fn save(&self, now: Timestamp, lifetimes: &Lifetimes) {
        match self {
            Self::Memory(memory) => memory.save(now, lifetimes),
            Self::Redis(_) => {}
        }
    }

    /// Writes down what has changed for the last time. For when nobody uses the store any more. Takes
    /// as long as the disk needs.
    pub fn close(&self, now: Timestamp, lifetimes: &Lifetimes) -> Result<(), NotSaved> {
        match self {
            Self::Memory(memory) => memory.close(now, lifetimes),
            Self::Redis(_) => Ok(()),
        }
    }

    fn snapshots(&self) -> Option<&Snapshots> {
        match self {
            Self::Memory(memory) => memory.snapshots(),
            Self::Redis(_) => None,
        }
    }

    /// What is counted of snapshots, where there are any.
    pub fn snapshot_figures(&self) -> Option<Figures> {
        self.snapshots().map(Snapshots::figures)
    }

    /// What is known of this token. A use of a live session is noted.
    pub fn find(&self, digest: &TokenDigest, now: Timestamp, lifetimes: &Lifetimes) -> Found {
        match self {
            Self::Memory(memory) => match memory.find(digest, now, lifetimes) {
                Some(live) => Found::Live(live),
                None => Found::Unknown,
            },
            Self::Redis(redis) => redis.find(digest, now, lifetimes),
        }
    }

    /// The live session of a token that is not known here, with its use noted.
    pub async fn first_sight(
        &self,
        digest: &TokenDigest,
        lifetimes: &Lifetimes,
    ) -> Result<Option<Live>, Unusable> {
        match self {
            // Whatever there is, is known.
            Self::Memory(_) => Ok(None),
            Self::Redis(redis) => redis.first_sight(digest, lifetimes).await,
        }
    }

    /// Whether a session could begin now, as far as is known: asked before a code is used up for it.
    pub fn takes_logins(&self) -> Result<(), Unusable> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Redis(redis) => redis.takes_logins(),
        }
    }

    /// Says whether a session of this user may have a token of a digest.
    pub fn fitting(&self, user: &UserKey) -> impl Fn(&TokenDigest) -> bool + use<> {
        let fits = match self {
            Self::Memory(_) => None,
            Self::Redis(_) => Some(RedisStore::fitting(user)),
        };
        move |digest| fits.as_ref().is_none_or(|fits| fits(digest))
    }

    /// Claims a login code, where several gates might have it redeemed. On the control thread.
    pub async fn claim(&self, code: &CodeDigest) -> Result<Claim, Unusable> {
        match self {
            Self::Memory(_) => Ok(Claim::Mine(None)),
            Self::Redis(redis) => redis.claim(code).await,
        }
    }

    /// Gives up a claim: with an answer that others may have for a while, or without. On the control
    /// thread.
    pub async fn settle(&self, lease: Lease, answer: Option<(&SealedAnswer, Duration)>) {
        match self {
            Self::Memory(_) => {}
            Self::Redis(redis) => redis.settle(lease, answer).await,
        }
    }

    /// The way to claim a push, where several gates might have it.
    pub fn push_lease(&self, push: &PushDigest) -> Option<PushLease> {
        match self {
            Self::Memory(_) => None,
            Self::Redis(redis) => Some(redis.push_lease(push)),
        }
    }

    /// Notes that a ticket is exchanged, for so long, where several gates might be shown it. Says whether
    /// it was not before, as far as is known here.
    pub async fn spend_ticket(
        &self,
        ticket: &TicketId,
        remember: Duration,
    ) -> Result<bool, Unusable> {
        match self {
            // Whoever asks knows those of this process.
            Self::Memory(_) => Ok(true),
            Self::Redis(redis) => redis.spend_ticket(ticket, remember).await,
        }
    }

    /// Writes a login down. Until it is, nobody may have the token.
    pub async fn begin(
        &self,
        login: Login,
        now: Timestamp,
        lifetimes: &Lifetimes,
    ) -> Result<(), Unusable> {
        match self {
            Self::Memory(memory) => {
                let displaced = memory.begin(login, now, lifetimes);
                // Nobody asked for these endings, so nobody is told when one is not safe: the store is.
                let _ended = displaced.landed_at_login().await;
                Ok(())
            }
            Self::Redis(redis) => redis.begin(login, now, lifetimes).await,
        }
    }

    /// Ends a session and the streams that hang on it. It has ended here when this is first polled, and
    /// wherever else is said.
    pub async fn end(&self, session: &Arc<Session>) -> Ended {
        match self {
            Self::Memory(memory) => memory.end(session).landed().await,
            Self::Redis(redis) => match redis.end(session).await {
                Ok(()) => Ended::Everywhere,
                Err(_unconfirmed) => Ended::HereOnly,
            },
        }
    }

    /// Ends a session, and all others of its user. Says where they have ended.
    pub async fn end_with_others(&self, session: &Arc<Session>) -> Ended {
        let holder = session.holder();
        let user = UserKey::new(&holder.app, &holder.openid);
        match self {
            Self::Memory(_) => self.end_all(&user).await.1,
            // This one by its name too: Redis may have lost its list of the user's sessions.
            Self::Redis(_) => match tokio::join!(self.end_all(&user), self.end(session)) {
                ((_sessions, Ended::Everywhere), Ended::Everywhere) => Ended::Everywhere,
                _ => Ended::HereOnly,
            },
        }
    }

    /// Ends all sessions of a user, and forgets the user's keys. Gives how many were ended, as far as
    /// that is known, and where.
    pub async fn end_all(&self, user: &UserKey) -> (usize, Ended) {
        match self {
            Self::Memory(memory) => {
                let (ended, ending) = memory.end_all(user);
                (ended, ending.landed().await)
            }
            Self::Redis(redis) => match redis.end_all(user).await {
                Ok(ended) => (ended, Ended::Everywhere),
                Err(_unconfirmed) => (0, Ended::HereOnly),
            },
        }
    }

    /// The user's session keys: the current one, then those replaced within the grace, newest
    /// first.
    pub async fn keys(
        &self,
        user: &UserKey,
        now: Timestamp,
        key_grace: Duration,
    ) -> Result<Vec<SessionKey>, Unusable> {
        match self {
            Self::Memory(memory) => Ok(memory.keys(user, now, key_grace)),
            Self::Redis(redis) => redis.keys(user, now, key_grace).await,
        }
    }

    /// Registers a WebSocket or event stream, so that it ends with its session.
    pub fn open_stream(&self, live: &Live) -> Stream {
        match self {
            Self::Memory(memory) => memory.open_stream(live),
            Self::Redis(redis) => redis.open_stream(live),
        }
    }

    /// How many sessions of each mini program are kept here, such among them as have run out a moment
    /// ago.
    pub fn census(&self) -> Vec<(AppId, u64)> {
        match self {
            Self::Memory(memory) => memory.census(),
            Self::Redis(redis) => redis.census(),
        }
    }

    /// How many sessions went before their time, for want of room. A copy of one is none.
    pub fn evicted(&self) -> u64 {
        match self {
            Self::Memory(memory) => memory.evicted(),
            Self::Redis(_) => 0,
        }
    }

    /// Forgets a part of what has run out. Called again and again on the control thread, it goes round
    /// the whole store.
    pub fn sweep(&self, now: Timestamp, lifetimes: &Lifetimes) {
        match self {
            Self::Memory(memory) => memory.sweep(now, lifetimes),
            Self::Redis(redis) => redis.sweep(now, lifetimes),
        }
    }

    /// Whether anybody who is logged in can be served.
    pub fn is_usable(&self) -> bool {
        match self {
            Self::Memory(_) => true,
            Self::Redis(redis) => redis.is_usable(),
        }
    }

    /// Whether there is a connection to Redis, and how many endings it has not confirmed. Nothing where
    /// sessions are in memory.
    pub fn redis(&self) -> Option<(bool, usize)> {
        match self {
            Self::Memory(_) => None,
            Self::Redis(redis) => Some((redis.is_connected(), redis.unsent())),
        }
    }
}
