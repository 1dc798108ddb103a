//! What this gate knows of sessions in Redis: copies, each with the moment at which it was last found
//! there. Says for how long a copy may be taken for the session. Knows nothing of how Redis is asked.
//!
//! The stamp of a copy is that moment, in milliseconds, and a bit that says whether everything told
//! since then has been heard. So copies take no more room than sessions of a gate that stands alone,
//! and the one that goes for want of room is the one that was asked about longest ago.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::domain::clock::Timestamp;
use crate::domain::id::{AppId, UserKey};
use crate::domain::session::{Lifetimes, Live, Session};
use crate::domain::token::TokenDigest;
use crate::store::memory::table::Table;
use crate::store::redis::Settings;
use crate::store::streams::{Stream, Streams};

/// The bit of a stamp that says that no ending can have been missed.
const HEARD: u64 = 1;

/// What is known of a token without asking.
#[derive(Debug)]
pub(super) enum Glance {
    /// Its session is live.
    Live(Live),
    /// Its session has come to the end of its life.
    Over,
    /// Redis has to be asked.
    Unseen,
    /// Redis would have to be asked, and is away.
    Away,
}

/// The copies of one gate.
#[derive(Debug)]
pub(super) struct Copies {
    table: Table,
    streams: Streams,
    max_sessions: usize,
    local_cache_ttl: Duration,
    outage_grace: Duration,
    /// Since when Redis is away, in milliseconds; [`Timestamp::NEVER`] when it is there.
    away_since: AtomicU64,
    /// The time of day when that was last found, in milliseconds.
    seen_away: AtomicU64,
    next_sweep: AtomicUsize,
}

impl Copies {
    /// None, and Redis has not been reached yet.
    pub(super) fn new(max_sessions: u64, settings: &Settings) -> Self {
        Self {
            table: Table::new(),
            streams: Streams::default(),
            max_sessions: usize::try_from(max_sessions).unwrap_or(usize::MAX),
            local_cache_ttl: settings.local_cache_ttl,
            outage_grace: settings.outage_grace,
            away_since: AtomicU64::new(Timestamp::EPOCH.as_millis()),
            seen_away: AtomicU64::new(0),
            next_sweep: AtomicUsize::new(0),
        }
    }

    /// What is known of this token. A use of a live session is noted.
    pub(super) fn glance(
        &self,
        digest: &TokenDigest,
        now: Timestamp,
        lifetimes: &Lifetimes,
    ) -> Glance {
        let away_since = self.away_since();
        let unknown = || away_since.map_or(Glance::Unseen, |_| Glance::Away);
        let Some(session) = self.table.peek(digest) else {
            return unknown();
        };
        if now >= session.ends_at(lifetimes) {
            self.let_go(&session);
            return Glance::Over;
        }
        let is_believed = match away_since {
            None => self.is_fresh(&session, now, lifetimes),
            Some(since) => self.is_within_grace(&session, since, now),
        };
        if !is_believed {
            return unknown();
        }
        // One that has been idle here may have been used at another gate.
        Live::of(session, now, lifetimes).map_or_else(|_idle| unknown(), Glance::Live)
    }

    fn is_fresh(&self, session: &Session, now: Timestamp, lifetimes: &Lifetimes) -> bool {
        let (found, heard) = read(session.stamp());
        // Others learn of its use when it is asked about.
        let often = lifetimes.idle_ttl.map_or(Duration::MAX, |idle| idle / 8);
        // A copy from the future is one from before the clock was set back.
        heard && found <= now && now.since(found) < self.local_cache_ttl.min(often)
    }

    /// A copy of which everything was heard until Redis went away is as good as it was then; any other
    /// is as old as it is.
    fn is_within_grace(&self, session: &Session, away_since: Timestamp, now: Timestamp) -> bool {
        let (found, heard) = read(session.stamp());
        let since = if heard { away_since } else { found };
        since <= now && now.since(since) < self.outage_grace
    }

    /// Takes over what Redis was asked for at this moment. Gives the one copy that there is of it.
    pub(super) fn take(&self, found: Session, asked: Timestamp) -> Arc<Session> {
        let digest = *found.digest();
        let stamp = write(asked, true);
        if let Some(known) = self.table.peek(&digest) {
            known.heard_of(found.written());
            known.set_stamp(stamp);
            return known;
        }
        let session = match self.streams.session(&digest) {
            Some(known) => {
                known.heard_of(found.written());
                known
            }
            None => Arc::new(found),
        };
        self.add(&session, asked);
        session
    }

    /// Adds a session that has just begun, or one of which there is no copy.
    pub(super) fn add(&self, session: &Arc<Session>, asked: Timestamp) {
        session.set_stamp(write(asked, true));
        self.table.insert(Arc::clone(session));
        self.table.make_room(self.max_sessions, session, |oldest| {
            self.table.remove(oldest.digest());
        });
    }

    /// A session has ended: the copy goes, and the streams that hang on it.
    pub(super) fn ended(&self, digest: &TokenDigest) {
        if let Some(session) = self.table.peek(digest) {
            session.end();
            self.table.remove(digest);
        }
        self.streams.end(digest);
    }

    /// A session was replaced, and ends at this moment.
    pub(super) fn cut(&self, digest: &TokenDigest, cut: Timestamp) {
        let known = self.table.peek(digest);
        if let Some(session) = known.or_else(|| self.streams.session(digest)) {
            session.cut(cut);
            self.streams.look_again(&session);
        }
    }

    /// The user's sessions that began up to this moment, of which there is a copy or a stream. Looks at
    /// all copies.
    pub(super) fn of_user(&self, user: &UserKey, begun_by: Timestamp) -> Vec<TokenDigest> {
        let is_one = |session: &Session| {
            let holder = session.holder();
            holder.openid == *user.openid()
                && holder.app == *user.app()
                && session.created() <= begun_by
        };
        let mut found = self.table.those(is_one);
        let streams = self.streams.sessions().into_iter();
        found.extend(streams.filter(|session| is_one(session)));
        found.iter().map(|session| *session.digest()).collect()
    }

    /// Redis is away from now on, if it was not.
    pub(super) fn went_away(&self, now: Timestamp) {
        let here = Timestamp::NEVER.as_millis();
        let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
        // Away already: since then.
        let _since = self
            .away_since
            .compare_exchange(here, now.as_millis(), success, failure);
        self.follow(now);
    }

    /// A clock that is set back while Redis is away does not lengthen that: it counts from as much
    /// earlier. Called again and again meanwhile.
    fn follow(&self, now: Timestamp) {
        let before = self.seen_away.swap(now.as_millis(), Ordering::Relaxed);
        let back = before.saturating_sub(now.as_millis());
        let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
        let here = Timestamp::NEVER.as_millis();
        // Nothing else changes it while Redis is away.
        let _moved = self.away_since.fetch_update(success, failure, |since| {
            (since != here).then(|| since.saturating_sub(back))
        });
    }

    /// Redis is there again, and what was told meanwhile was not heard: every copy has to be asked
    /// about before it is believed.
    pub(super) fn came_back(&self) {
        for session in self.table.those(|session| read(session.stamp()).1) {
            session.set_stamp(session.stamp() & !HEARD);
        }
        let here = Timestamp::NEVER.as_millis();
        self.away_since.store(here, Ordering::Release);
        self.seen_away.store(0, Ordering::Relaxed);
    }

    /// Since when Redis is away.
    pub(super) fn away_since(&self) -> Option<Timestamp> {
        let since = self.away_since.load(Ordering::Acquire);
        (since != Timestamp::NEVER.as_millis()).then_some(Timestamp::from_millis(since))
    }

    /// Whether anybody may still be believed at this moment.
    pub(super) fn is_usable(&self, now: Timestamp) -> bool {
        self.away_since()
            .is_none_or(|since| since <= now && now.since(since) < self.outage_grace)
    }

    /// Ends all streams: nobody is believed any more.
    pub(super) fn close_streams(&self) {
        self.streams.end_all();
    }

    /// The sessions that have open streams.
    pub(super) fn with_streams(&self) -> Vec<Arc<Session>> {
        self.streams.sessions()
    }

    /// Whether this is the copy, and no ending of it can have been missed.
    pub(super) fn has_heard_of(&self, session: &Arc<Session>) -> bool {
        let known = self.table.peek(session.digest());
        known.is_some_and(|known| Arc::ptr_eq(&known, session) && read(known.stamp()).1)
    }

    /// Registers a stream.
    pub(super) fn open_stream(&self, live: &Live) -> Stream {
        self.streams.open(live.session())
    }

    /// Lets go of a part of what has run out.
    pub(super) fn sweep(&self, now: Timestamp, lifetimes: &Lifetimes) {
        let part = self.next_sweep.fetch_add(1, Ordering::Relaxed);
        let over = |session: &Session| now >= session.ends_at(lifetimes);
        for session in self.table.those_of_part(part, over) {
            self.let_go(&session);
        }
    }

    /// How many copies there are of each mini program.
    pub(super) fn census(&self) -> Vec<(AppId, u64)> {
        self.table.census()
    }

    fn let_go(&self, session: &Session) {
        self.table.remove(session.digest());
        self.streams.look_again(session);
    }
}

fn write(found: Timestamp, heard: bool) -> u64 {
    (found.as_millis() << 1) | if heard { HEARD } else { 0 }
}

fn read(stamp: u64) -> (Timestamp, bool) {
    (Timestamp::from_millis(stamp >> 1), stamp & HEARD != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::redis::Server;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn at(minutes: u64) -> Timestamp {
        NOW.plus(Duration::from_mins(minutes))
    }

    #[test]
    fn a_clock_that_is_set_back_lengthens_no_outage() {
        let settings = Settings {
            server: Server::parse("redis://a", None).unwrap(),
            key_prefix: String::new(),
            timeout: Duration::from_secs(1),
            local_cache_ttl: Duration::from_secs(10),
            outage_grace: Duration::from_mins(5),
        };
        let copies = Copies::new(1, &settings);
        copies.came_back();
        copies.went_away(at(0));
        copies.went_away(at(4));
        assert!(copies.is_usable(at(4)));
        copies.went_away(at(1));
        assert!(copies.is_usable(at(1)));
        assert!(!copies.is_usable(at(2)));
        // The next one is no longer than that for it.
        copies.came_back();
        copies.went_away(at(0));
        assert!(copies.is_usable(at(4)));
        assert!(!copies.is_usable(at(5)));
    }
}
