//! The WebSockets and event streams that are open, by session, so that each ends with its session.
//! Knows nothing of what flows in them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::domain::clock::Clock;
use crate::domain::session::{Lifetimes, Session};
use crate::domain::token::TokenDigest;

/// How long a stream at most goes without looking at its session: a wake-up that costs nothing,
/// and short of any sensible idle limit.
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// All open streams that hang on a session.
#[derive(Clone, Debug, Default)]
pub struct Streams(Arc<Mutex<HashMap<TokenDigest, Hanging>>>);

#[derive(Debug)]
struct Hanging {
    session: Arc<Session>,
    /// Whether it is known that the session has ended, however the session looks.
    changed: watch::Sender<bool>,
    count: usize,
}

impl Streams {
    /// Registers a stream of this session.
    pub fn open(&self, session: &Arc<Session>) -> Stream {
        let mut all = self.0.lock();
        let hanging = all.entry(*session.digest()).or_insert_with(|| Hanging {
            session: Arc::clone(session),
            changed: watch::Sender::new(false),
            count: 0,
        });
        hanging.count += 1;
        let changed = hanging.changed.subscribe();
        Stream {
            session: Arc::clone(session),
            changed,
            streams: self.clone(),
        }
    }

    /// Makes the streams of this session look at it again: it was ended, or ends earlier now.
    pub fn look_again(&self, session: &Session) {
        if let Some(hanging) = self.0.lock().get(session.digest()) {
            hanging.changed.send_modify(|_| {});
        }
    }

    /// Ends the streams of this session, of which nothing else may be known here.
    pub fn end(&self, digest: &TokenDigest) {
        if let Some(hanging) = self.0.lock().get(digest) {
            hanging.changed.send_replace(true);
        }
    }

    /// Ends all streams.
    pub fn end_all(&self) {
        for hanging in self.0.lock().values() {
            hanging.changed.send_replace(true);
        }
    }

    /// The sessions that have open streams.
    pub fn sessions(&self) -> Vec<Arc<Session>> {
        let all = self.0.lock();
        let sessions = all.values().map(|hanging| &hanging.session);
        sessions.cloned().collect()
    }

    /// The session of this token, if it has open streams.
    pub fn session(&self, digest: &TokenDigest) -> Option<Arc<Session>> {
        let all = self.0.lock();
        all.get(digest).map(|hanging| Arc::clone(&hanging.session))
    }

    /// The number of open streams.
    pub fn count(&self) -> usize {
        self.0.lock().values().map(|hanging| hanging.count).sum()
    }

    fn close(&self, session: &Session) {
        let mut all = self.0.lock();
        let Some(hanging) = all.get_mut(session.digest()) else {
            return;
        };
        hanging.count -= 1;
        if hanging.count == 0 {
            all.remove(session.digest());
        }
    }
}

/// One open stream. Dropping it takes it off the register.
#[derive(Debug)]
pub struct Stream {
    session: Arc<Session>,
    changed: watch::Receiver<bool>,
    streams: Streams,
}

impl Stream {
    /// Waits until the session has ended. An open stream is use: the session does not run out of
    /// its idle time meanwhile, only of its absolute life.
    pub async fn ended(&mut self, clock: &Clock, lifetimes: &Lifetimes) {
        loop {
            let now = clock.now();
            let ends_at = self.session.ends_at(lifetimes);
            if now >= ends_at || *self.changed.borrow_and_update() {
                return;
            }
            self.session.touch(now, lifetimes);
            let idle = lifetimes
                .idle_ttl
                .map_or(LOOK_EVERY, |idle_ttl| idle_ttl / 4);
            let look_in = ends_at.since(now).min(LOOK_EVERY).min(idle);
            // The register outlives its streams, so the channel cannot be closed; and if it were,
            // looking again is right.
            let _elapsed = tokio::time::timeout(look_in, self.changed.changed()).await;
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.streams.close(&self.session);
    }
}
