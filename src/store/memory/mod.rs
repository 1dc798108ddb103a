//! Sessions in this process: a bounded table by token, beside the index by user.
//!
//! The table bounds memory and decides nothing. Whether a session is live is asked of the session,
//! so one that a race left in the table after it was ended is still dead.

mod census;
pub(in crate::store) mod table;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::domain::clock::Timestamp;
use crate::domain::id::{AppId, UserKey};
use crate::domain::secret::SessionKey;
use crate::domain::session::{Lifetimes, Live, Session};
use crate::domain::token::TokenDigest;
use crate::store::Login;
use crate::store::ending::Ending;
use crate::store::memory::table::Table;
use crate::store::snapshot::{NotSaved, Snapshots};
use crate::store::streams::{Stream, Streams};
use crate::store::users::{Displaced, User, Users};

/// Sessions in this process. A cheap handle.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    table: Arc<Table>,
    max_sessions: usize,
    users: Arc<Users>,
    streams: Streams,
    next_sweep: Arc<AtomicUsize>,
    evicted: Arc<AtomicU64>,
    /// When sessions outlive the process.
    snapshots: Option<Arc<Snapshots>>,
}

impl MemoryStore {
    /// An empty store. Beyond so many sessions the least recently used goes.
    pub fn new(max_sessions: u64) -> Self {
        Self {
            table: Arc::new(Table::new()),
            max_sessions: usize::try_from(max_sessions).unwrap_or(usize::MAX),
            users: Arc::new(Users::new()),
            streams: Streams::default(),
            next_sweep: Arc::default(),
            evicted: Arc::default(),
            snapshots: None,
        }
    }

    /// Has its sessions outlive the process.
    pub(in crate::store) fn with_snapshots(self, snapshots: Snapshots) -> Self {
        Self {
            snapshots: Some(Arc::new(snapshots)),
            ..self
        }
    }

    /// Where its sessions are written down.
    pub(in crate::store) fn snapshots(&self) -> Option<&Snapshots> {
        self.snapshots.as_deref()
    }

    /// The number of sessions.
    pub(in crate::store) fn len(&self) -> usize {
        self.table.len()
    }

    /// Writes down what has changed. Takes as long as the disk needs.
    pub(in crate::store) fn save(&self, now: Timestamp, lifetimes: &Lifetimes) {
        if let Some(snapshots) = &self.snapshots {
            // The log has said so, and the next one takes along what this one has not written.
            let _not_saved = snapshots.write_changes(&self.users, (now, lifetimes));
        }
    }

    /// Writes down what has changed for the last time.
    pub(in crate::store) fn close(
        &self,
        now: Timestamp,
        lifetimes: &Lifetimes,
    ) -> Result<(), NotSaved> {
        match &self.snapshots {
            Some(snapshots) => snapshots.close(&self.users, (now, lifetimes)),
            None => Ok(()),
        }
    }

    /// Adds sessions of a user that were written down.
    pub(in crate::store) fn restore(&self, user: User) {
        for session in &user.sessions {
            self.table.restore(Arc::clone(session));
        }
        self.users.restore(user);
    }

    /// Has the stamps of logins from here on be higher than this one.
    pub(in crate::store) fn count_from(&self, stamp: u64) {
        self.table.count_from(stamp);
    }

    pub(in crate::store) fn find(
        &self,
        digest: &TokenDigest,
        now: Timestamp,
        lifetimes: &Lifetimes,
    ) -> Option<Live> {
        let session = self.table.find(digest)?;
        match Live::of(session, now, lifetimes) {
            Ok(live) => {
                if lifetimes.idle_ttl.is_some() {
                    // The moment of use is written down as well.
                    self.note_change();
                }
                Some(live)
            }
            Err(dead) => {
                self.forget(&dead);
                None
            }
        }
    }

    pub(in crate::store) fn begin(
        &self,
        login: Login,
        now: Timestamp,
        lifetimes: &Lifetimes,
    ) -> Ending {
        let session = Arc::clone(&login.session);
        // The index first: an ending that comes in between finds the session there and ends it.
        let displaced = self.users.add(login, now, lifetimes);
        self.note_change();
        let Displaced {
            over_cap, replaced, ..
        } = &displaced;
        let ended: Vec<_> = over_cap.iter().chain(replaced).map(Arc::clone).collect();
        self.enter(&session, displaced);
        self.write_down(&ended)
    }

    fn note_change(&self) {
        if let Some(snapshots) = &self.snapshots {
            snapshots.note_change();
        }
    }

    /// Writes down that these have ended, or will.
    fn write_down(&self, ended: &[Arc<Session>]) -> Ending {
        match &self.snapshots {
            Some(snapshots) => snapshots.end(ended.iter().map(AsRef::as_ref)),
            None => Ending::done(),
        }
    }

    /// Puts a session into the table that the index has already, and lets go of what it displaced.
    fn enter(&self, session: &Arc<Session>, displaced: Displaced) {
        self.table.add(Arc::clone(session));
        if session.is_ended() {
            // By an ending that came in between, and did not find it in the table.
            self.table.remove(session.digest());
        }
        for gone in displaced.ran_out.iter().chain(&displaced.over_cap) {
            self.drop_ended(gone);
        }
        if let Some(replaced) = displaced.replaced {
            self.streams.look_again(&replaced);
        }
        self.make_room(session);
    }

    /// Lets go of the least recently used where there are too many.
    pub(in crate::store) fn make_room(&self, newest: &Session) {
        self.table.make_room(self.max_sessions, newest, |oldest| {
            self.evicted.fetch_add(1, Ordering::Relaxed);
            self.forget(oldest);
        });
    }

    pub(in crate::store) fn end(&self, session: &Arc<Session>) -> Ending {
        self.forget(session);
        self.write_down(std::slice::from_ref(session))
    }

    pub(in crate::store) fn end_all(&self, user: &UserKey) -> (usize, Ending) {
        let ended = self.users.remove_user(user);
        for session in &ended {
            self.drop_ended(session);
        }
        let Some(snapshots) = &self.snapshots else {
            return (ended.len(), Ending::done());
        };
        // Also of what was let go of for want of room, and when another is ending the rest just now.
        let whose = (user, self.table.stamp());
        let ending = snapshots.end_user(whose, ended.iter().map(AsRef::as_ref));
        (ended.len(), ending)
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
        let part = self.next_sweep.fetch_add(1, Ordering::Relaxed);
        for dead in self.users.sweep(part, now, lifetimes) {
            self.drop_ended(&dead);
        }
    }

    pub(in crate::store) fn census(&self) -> Vec<(AppId, u64)> {
        self.table.census()
    }

    pub(in crate::store) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Ends a session, and lets go of it everywhere.
    fn forget(&self, session: &Arc<Session>) {
        // First: who does not find it in the index any more may count on its having ended.
        session.end();
        self.users.remove(session);
        self.drop_ended(session);
    }

    /// Ends a session that the index has let go of.
    fn drop_ended(&self, session: &Session) {
        session.end();
        self.table.remove(session.digest());
        self.streams.look_again(session);
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
