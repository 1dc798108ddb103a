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
    changed: watch::Sender<()>,
    count: usize,
}

impl Streams {
    /// Registers a stream of this session.
    pub fn open(&self, session: &Arc<Session>) -> Stream {
        let mut all = self.0.lock();
        let hanging = all.entry(*session.digest()).or_insert_with(|| Hanging {
            changed: watch::Sender::new(()),
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
            hanging.changed.send_replace(());
        }
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
    changed: watch::Receiver<()>,
    streams: Streams,
}

impl Stream {
    /// Waits until the session has ended. An open stream is use: the session does not run out of
    /// its idle time meanwhile, only of its absolute life.
    pub async fn ended(&mut self, clock: &Clock, lifetimes: &Lifetimes) {
        loop {
            let now = clock.now();
            let ends_at = self.session.ends_at(lifetimes);
            if now >= ends_at {
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
