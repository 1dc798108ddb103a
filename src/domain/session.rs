//! A session: who holds it, and when it ends. The rules of its life are here and nowhere else; the
//! store only keeps it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::domain::clock::Timestamp;
use crate::domain::id::{AppId, OpenId, UnionId};
use crate::domain::limits;
use crate::domain::token::TokenDigest;

/// How often at most the time of last use is written down: a cache line that every request of a
/// user writes is a cache line that every core waits for.
const SEEN_RESOLUTION: Duration = Duration::from_mins(1);

/// How long sessions live. Applies to live sessions too: a change takes effect at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// Absolute life from the login on.
    pub ttl: Duration,
    /// Life from the last use on, when that is limited.
    pub idle_ttl: Option<Duration>,
}

/// Who a session belongs to, as WeChat said at login.
#[derive(Clone, Debug)]
pub struct Holder {
    /// The mini program.
    pub app: AppId,
    /// The user within the mini program.
    pub openid: OpenId,
    /// The person across mini programs, when WeChat knows.
    pub unionid: Option<UnionId>,
}

/// One login of one user. Shared by the store and by all requests that carry its token.
#[derive(Debug)]
pub struct Session {
    digest: TokenDigest,
    holder: Holder,
    created: Timestamp,
    /// The moment at which it ends in any case: `NEVER` until it is ended or replaced, and from
    /// then on only ever moved earlier. Milliseconds.
    cut: AtomicU64,
    /// The last use, known to within [`SEEN_RESOLUTION`]. Milliseconds.
    seen: AtomicU64,
    /// The last use again, as the store counts: see [`Session::stamp`].
    stamp: AtomicU64,
}

/// What is written down of a session beside who holds it, when it has to outlive its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// When it began.
    pub created: Timestamp,
    /// The moment at which it ends in any case; [`Timestamp::NEVER`] when it was neither ended nor
    /// replaced.
    pub cut: Timestamp,
    /// The last use.
    pub seen: Timestamp,
    /// See [`Session::stamp`].
    pub stamp: u64,
}

impl Session {
    /// A session that was written down.
    pub fn restore(digest: TokenDigest, holder: Holder, written: Written) -> Self {
        Self {
            digest,
            holder,
            created: written.created,
            cut: AtomicU64::new(written.cut.as_millis()),
            seen: AtomicU64::new(written.seen.as_millis()),
            stamp: AtomicU64::new(written.stamp),
        }
    }

    /// What has to be written down of it.
    pub fn written(&self) -> Written {
        Written {
            created: self.created,
            cut: Timestamp::from_millis(self.cut.load(Ordering::Acquire)),
            seen: Timestamp::from_millis(self.seen.load(Ordering::Relaxed)),
            stamp: self.stamp(),
        }
    }

    /// Ends it at this moment at the latest.
    pub fn cut(&self, at: Timestamp) {
        self.cut.fetch_min(at.as_millis(), Ordering::AcqRel);
    }

    /// A session that begins now.
    pub fn begin(digest: TokenDigest, holder: Holder, now: Timestamp) -> Self {
        Self {
            digest,
            holder,
            created: now,
            cut: AtomicU64::new(Timestamp::NEVER.as_millis()),
            seen: AtomicU64::new(now.as_millis()),
            stamp: AtomicU64::new(0),
        }
    }

    /// Takes over what somebody else has written down of it since: a later use, an earlier end.
    pub fn heard_of(&self, written: Written) {
        self.seen
            .fetch_max(written.seen.as_millis(), Ordering::Relaxed);
        self.cut(written.cut);
    }

    /// The hash of its token.
    pub fn digest(&self) -> &TokenDigest {
        &self.digest
    }

    /// Who holds it.
    pub fn holder(&self) -> &Holder {
        &self.holder
    }

    /// When it began.
    pub fn created(&self) -> Timestamp {
        self.created
    }

    /// The moment at which it ends at the latest, whatever its use.
    pub fn ends_at(&self, lifetimes: &Lifetimes) -> Timestamp {
        let cut = Timestamp::from_millis(self.cut.load(Ordering::Acquire));
        cut.min(self.created.plus(lifetimes.ttl))
    }

    /// Whether it was ended or replaced, as opposed to having run out.
    pub fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire) != Timestamp::NEVER.as_millis()
    }

    /// Whether it was ended, as opposed to having been replaced or having run out.
    pub fn is_ended(&self) -> bool {
        self.cut.load(Ordering::Acquire) == Timestamp::EPOCH.as_millis()
    }

    /// Whether a token for it would still be taken at this moment.
    pub fn is_live(&self, now: Timestamp, lifetimes: &Lifetimes) -> bool {
        let idle = now.since(Timestamp::from_millis(self.seen.load(Ordering::Relaxed)));
        now < self.ends_at(lifetimes) && lifetimes.idle_ttl.is_none_or(|limit| idle < limit)
    }

    /// Ends it at once.
    pub fn end(&self) {
        self.cut
            .store(Timestamp::EPOCH.as_millis(), Ordering::Release);
    }

    /// Ends it after the grace that a replaced session has.
    pub fn replace(&self, now: Timestamp) {
        self.cut(now.plus(limits::REPLACED_SESSION_GRACE));
    }

    /// Notes a use, so that an idle limit counts from now.
    pub fn touch(&self, now: Timestamp, lifetimes: &Lifetimes) {
        let Some(idle_ttl) = lifetimes.idle_ttl else {
            return;
        };
        let resolution = SEEN_RESOLUTION.min(idle_ttl / 4);
        let seen = Timestamp::from_millis(self.seen.load(Ordering::Relaxed));
        if now.since(seen) >= resolution {
            self.seen.fetch_max(now.as_millis(), Ordering::Relaxed);
        }
    }

    /// What the store counted when it last wrote the session down or found it. When there is no
    /// room, a session of lower stamp goes first. Says nothing about whether it is live.
    pub fn stamp(&self) -> u64 {
        self.stamp.load(Ordering::Relaxed)
    }

    /// Notes where the store's count is.
    pub fn set_stamp(&self, count: u64) {
        // A cache line that is only read can be in every core's cache.
        if self.stamp() != count {
            self.stamp.store(count, Ordering::Relaxed);
        }
    }
}

/// A session that was live when it was looked at: the proof that a request may be identified. It
/// can be had from [`Live::of`] only.
#[derive(Clone, Debug)]
pub struct Live(Arc<Session>);

impl Live {
    /// Looks whether the session is live, and notes the use. Gives back one that is not.
    pub fn of(
        session: Arc<Session>,
        now: Timestamp,
        lifetimes: &Lifetimes,
    ) -> Result<Self, Arc<Session>> {
        if !session.is_live(now, lifetimes) {
            return Err(session);
        }
        session.touch(now, lifetimes);
        Ok(Self(session))
    }

    /// The session.
    pub fn session(&self) -> &Arc<Session> {
        &self.0
    }

    /// Who holds it.
    pub fn holder(&self) -> &Holder {
        self.0.holder()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
    const DAY: Duration = Duration::from_hours(24);

    fn session() -> Arc<Session> {
        let holder = Holder {
            app: AppId::parse("wx0123456789abcdef").unwrap(),
            openid: OpenId::parse("oUser").unwrap(),
            unionid: None,
        };
        Arc::new(Session::begin(TokenDigest::new([7; 32]), holder, NOW))
    }

    fn live(session: &Arc<Session>, after: Duration, lifetimes: Lifetimes) -> bool {
        Live::of(Arc::clone(session), NOW.plus(after), &lifetimes).is_ok()
    }

    #[test]
    fn a_session_is_small_for_there_are_a_million_of_them() {
        // With two counts of references and what the allocator needs, 144 bytes.
        assert!(size_of::<Session>() <= 120, "{}", size_of::<Session>());
    }

    #[test]
    fn a_session_ends_with_its_absolute_life_however_much_it_is_used() {
        let lifetimes = Lifetimes {
            ttl: DAY,
            idle_ttl: Some(DAY),
        };
        let session = session();
        assert!(live(&session, Duration::from_hours(23), lifetimes));
        assert!(!live(&session, DAY, lifetimes));
    }

    #[test]
    fn an_idle_session_ends_and_a_used_one_goes_on() {
        let idle = Duration::from_mins(10);
        let lifetimes = Lifetimes {
            ttl: DAY,
            idle_ttl: Some(idle),
        };
        let used = session();
        assert!(live(&used, idle / 2, lifetimes));
        assert!(live(&used, idle + idle / 4, lifetimes));
        assert!(!live(&session(), idle, lifetimes));
    }

    #[test]
    fn an_idle_limit_shorter_than_the_write_interval_still_slides() {
        let lifetimes = Lifetimes {
            ttl: DAY,
            idle_ttl: Some(Duration::from_secs(2)),
        };
        let session = session();
        for tenths in 1..100 {
            assert!(live(
                &session,
                Duration::from_millis(tenths * 1000),
                lifetimes
            ));
        }
    }

    #[test]
    fn a_shorter_life_applies_to_sessions_that_are_already_live() {
        let session = session();
        let shorter = Lifetimes {
            ttl: Duration::from_hours(1),
            idle_ttl: None,
        };
        assert!(!live(&session, Duration::from_hours(2), shorter));
    }

    #[test]
    fn a_replaced_session_lasts_for_its_grace_and_an_ended_one_not_at_all() {
        let lifetimes = Lifetimes {
            ttl: DAY,
            idle_ttl: None,
        };
        let session = session();
        session.replace(NOW);
        assert!(live(&session, Duration::from_secs(59), lifetimes));
        assert!(!live(&session, Duration::from_mins(1), lifetimes));
        session.end();
        assert!(!live(&session, Duration::ZERO, lifetimes));
    }

    #[test]
    fn replacing_never_prolongs() {
        let lifetimes = Lifetimes {
            ttl: DAY,
            idle_ttl: None,
        };
        let session = session();
        session.end();
        session.replace(NOW);
        assert!(!live(&session, Duration::ZERO, lifetimes));
    }
}
