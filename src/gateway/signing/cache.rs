//! The cache of what was signed of sessions, to be sent again until it is too old. Bounded, and read
//! and written without a lock: workers share it, so that a session is not signed once for each of
//! them. Two that sign the same one at once both have a good one.

use std::fmt;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;

use crate::domain::clock::Timestamp;
use crate::domain::token::TokenDigest;

/// Slots. Sessions that are in use within half of `identity.jwt.ttl` share them; one that finds none
/// is signed again, which costs tens of microseconds. Each assertion takes some 700 bytes: 23 MB when
/// every slot is taken.
const SLOTS: usize = 1 << 15;

/// What was signed of one session. Whoever has its text is that user for a while: only the session
/// prints.
pub(super) struct Assertion {
    pub(super) session: TokenDigest,
    pub(super) since: Timestamp,
    pub(super) text: Bytes,
}

/// All that was signed and may be sent again. A session has four slots that it may be in.
pub(super) struct AssertionCache(Box<[ArcSwapOption<Assertion>]>);

impl Default for AssertionCache {
    fn default() -> Self {
        Self((0..SLOTS).map(|_| ArcSwapOption::empty()).collect())
    }
}

impl AssertionCache {
    /// What was signed of this session, if that was less than `fresh` ago. Of one that was signed in
    /// the future, before the clock was set back, nobody can say how old it is.
    pub(super) fn get(
        &self,
        session: &TokenDigest,
        now: Timestamp,
        fresh: Duration,
    ) -> Option<Bytes> {
        self.slots(session).into_iter().flatten().find_map(|slot| {
            let cached = slot.load();
            let cached = cached.as_ref().filter(|it| it.session == *session)?;
            let is_fresh = cached.since <= now && now.since(cached.since) < fresh;
            is_fresh.then(|| cached.text.clone())
        })
    }

    /// Puts it into the slot of what was signed of the same session, or else of the oldest. What was
    /// signed after it, before the clock was set back, is as good as gone: nobody finds it.
    pub(super) fn insert(&self, assertion: Assertion) {
        let age = |slot: &&ArcSwapOption<Assertion>| {
            let cached = slot.load();
            let other = cached.as_ref().filter(|it| it.session != assertion.session);
            let found = other.filter(|it| it.since <= assertion.since);
            found.map_or(Timestamp::EPOCH, |it| it.since)
        };
        let slots = self.slots(&assertion.session).into_iter().flatten();
        if let Some(slot) = slots.min_by_key(age) {
            slot.store(Some(assertion.into()));
        }
    }

    /// Two pairs, by bits of the digest: it is a SHA-256 of what the gate drew, so nobody can choose
    /// them. That two pairs are full is seldom also when a third of all slots is taken.
    fn slots(&self, session: &TokenDigest) -> [Option<&ArcSwapOption<Assertion>>; 4] {
        let [a, b, c, d, ..] = *session.as_bytes();
        let [one, other] =
            [[a, b], [c, d]].map(|bits| usize::from(u16::from_be_bytes(bits)) % SLOTS);
        [one, one ^ 1, other, other ^ 1].map(|slot| self.0.get(slot))
    }
}

impl fmt::Debug for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Assertion({:?}, ..)", self.session)
    }
}

impl fmt::Debug for AssertionCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AssertionCache(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
    const FRESH: Duration = Duration::from_secs(30);

    fn session(slot: u8, number: u8) -> TokenDigest {
        let mut bytes = [number; 32];
        bytes[..4].copy_from_slice(&[0, slot, 1, slot]);
        TokenDigest::new(bytes)
    }

    fn insert(cache: &AssertionCache, session: TokenDigest, since: Timestamp) {
        let text = Bytes::copy_from_slice(session.as_bytes());
        cache.insert(Assertion {
            session,
            since,
            text,
        });
    }

    fn is_found(cache: &AssertionCache, session: TokenDigest, now: Timestamp) -> bool {
        let found = cache.get(&session, now, FRESH);
        if let Some(text) = &found {
            assert_eq!(text, &session.as_bytes()[..], "another session's");
        }
        found.is_some()
    }

    #[test]
    fn nothing_is_found_of_a_session_that_shares_a_slot_with_another() {
        let cache = AssertionCache::default();
        assert!(!is_found(&cache, session(0, 1), NOW));
        insert(&cache, session(0, 1), NOW);
        assert!(!is_found(&cache, session(0, 2), NOW));
        assert!(is_found(&cache, session(0, 1), NOW));
    }

    #[test]
    fn what_is_too_old_or_from_the_future_is_not_found() {
        let cache = AssertionCache::default();
        let one = session(7, 1);
        insert(&cache, one, NOW);
        assert!(is_found(
            &cache,
            one,
            NOW.plus(Duration::from_millis(29_999))
        ));
        assert!(!is_found(&cache, one, NOW.plus(FRESH)));
        assert!(!is_found(
            &cache,
            one,
            Timestamp::from_millis(NOW.as_millis() - 1)
        ));
    }

    #[test]
    fn however_many_there_are_only_so_many_are_cached() {
        let cache = AssertionCache::default();
        let later = |number: u8| NOW.plus(Duration::from_millis(number.into()));
        for number in 0..100 {
            insert(&cache, session(0, number), later(number));
        }
        let left: Vec<_> = (0..100)
            .filter(|number| is_found(&cache, session(0, *number), later(100)))
            .collect();
        assert_eq!(left, [96, 97, 98, 99], "four slots, and the latest in them");
    }

    #[test]
    fn what_was_signed_while_the_clock_ran_ahead_goes_first_when_it_is_set_back() {
        let cache = AssertionCache::default();
        let ahead = NOW.plus(Duration::from_hours(1));
        for number in 0..4 {
            insert(&cache, session(0, number), ahead);
        }
        let later = |number: u8| NOW.plus(Duration::from_millis(number.into()));
        for number in 4..8 {
            insert(&cache, session(0, number), later(number));
        }
        for number in 4..8 {
            assert!(is_found(&cache, session(0, number), later(8)), "{number}");
        }
    }

    #[test]
    fn what_was_signed_does_not_print() {
        let assertion = Assertion {
            session: session(0, 1),
            since: NOW,
            text: Bytes::from_static(b"planted"),
        };
        assert!(!format!("{assertion:?}").contains("planted"));
    }

    #[test]
    fn a_session_that_is_signed_again_takes_no_second_slot() {
        let cache = AssertionCache::default();
        let (one, other) = (session(0, 1), session(0, 2));
        insert(&cache, other, NOW);
        for second in 0..5 {
            insert(&cache, one, NOW.plus(Duration::from_secs(second)));
        }
        assert!(is_found(&cache, other, NOW.plus(Duration::from_secs(5))));
    }
}
