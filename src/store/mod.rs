//! Where sessions are kept: looked up by the hash of their token, ended by user. Decides nothing
//! about how long a session lives; `domain::session` does.

pub mod ending;
pub mod memory;
pub mod snapshot;
pub mod streams;
mod users;

use std::sync::Arc;
use std::time::Duration;

use crate::domain::clock::{Clock, Timestamp};
use crate::domain::id::{AppId, UserKey};
use crate::domain::secret::{SealKeys, SessionKey};
use crate::domain::session::{Lifetimes, Live, Session};
use crate::domain::token::TokenDigest;
use crate::store::ending::Ending;
use crate::store::memory::MemoryStore;
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
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_sessions: 1_000_000,
            seal_keys: None,
            snapshot: None,
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

/// Keeps sessions.
#[derive(Clone, Debug)]
pub enum Store {
    /// In this process, for a gate that stands alone.
    Memory(MemoryStore),
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
        }
    }

    /// Writes down what has changed for the last time. For when nobody uses the store any more. Takes
    /// as long as the disk needs.
    pub fn close(&self, now: Timestamp, lifetimes: &Lifetimes) -> Result<(), NotSaved> {
        match self {
            Self::Memory(memory) => memory.close(now, lifetimes),
        }
    }

    fn snapshots(&self) -> Option<&Snapshots> {
        match self {
            Self::Memory(memory) => memory.snapshots(),
        }
    }

    /// What is counted of snapshots, where there are any.
    pub fn snapshot_figures(&self) -> Option<Figures> {
        self.snapshots().map(Snapshots::figures)
    }

    /// The live session of this token, with its use noted.
    pub fn find(
        &self,
        digest: &TokenDigest,
        now: Timestamp,
        lifetimes: &Lifetimes,
    ) -> Option<Live> {
        match self {
            Self::Memory(memory) => memory.find(digest, now, lifetimes),
        }
    }

    /// Writes a login down. Gives what comes of the endings of the sessions that it displaced.
    pub fn begin(&self, login: Login, now: Timestamp, lifetimes: &Lifetimes) -> Ending {
        match self {
            Self::Memory(memory) => memory.begin(login, now, lifetimes),
        }
    }

    /// Ends a session and the streams that hang on it.
    pub fn end(&self, session: &Arc<Session>) -> Ending {
        match self {
            Self::Memory(memory) => memory.end(session),
        }
    }

    /// Ends all sessions of a user, and forgets the user's keys. Gives how many were ended.
    pub fn end_all(&self, user: &UserKey) -> (usize, Ending) {
        match self {
            Self::Memory(memory) => memory.end_all(user),
        }
    }

    /// The user's session keys: the current one, then those replaced within the grace, newest
    /// first.
    pub fn keys(&self, user: &UserKey, now: Timestamp, key_grace: Duration) -> Vec<SessionKey> {
        match self {
            Self::Memory(memory) => memory.keys(user, now, key_grace),
        }
    }

    /// Registers a WebSocket or event stream, so that it ends with its session.
    pub fn open_stream(&self, live: &Live) -> Stream {
        match self {
            Self::Memory(memory) => memory.open_stream(live),
        }
    }

    /// How many sessions of each mini program are kept, such among them as have run out a moment ago.
    pub fn census(&self) -> Vec<(AppId, u64)> {
        match self {
            Self::Memory(memory) => memory.census(),
        }
    }

    /// How many sessions went before their time, for want of room.
    pub fn evicted(&self) -> u64 {
        match self {
            Self::Memory(memory) => memory.evicted(),
        }
    }

    /// Forgets a part of what has run out. Called again and again, it goes round the whole store.
    pub fn sweep(&self, now: Timestamp, lifetimes: &Lifetimes) {
        match self {
            Self::Memory(memory) => memory.sweep(now, lifetimes),
        }
    }
}
