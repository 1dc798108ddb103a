//! What was signed of sessions, to be sent again until it is too old. Bounded, and read and written
//! without a lock: workers share it, so that a session is not signed once for each of them. Two that
//! sign the same one at once both have a good one.

use std::fmt;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;

use crate::domain::clock::Timestamp;
use crate::domain::token::TokenDigest;

/// Places. Sessions that are in use within half of `identity.jwt.ttl` share them; one that finds none
/// is signed again, which costs tens of microseconds. Each assertion takes some 700 bytes: 23 MB when
/// every place is taken.
const PLACES: usize = 1 << 15;

/// What was signed of one session.
#[derive(Debug)]
pub(super) struct Assertion {
    pub(super) session: TokenDigest,
    pub(super) since: Timestamp,
    pub(super) text: Bytes,
}

/// All that is kept. A session has four places that it may be at.
pub(super) struct Kept(Box<[ArcSwapOption<Assertion>]>);

impl Default for Kept {
    fn default() -> Self {
        Self((0..PLACES).map(|_| ArcSwapOption::empty()).collect())
    }
}

impl Kept {
    /// What was signed of this session, if that was less than `fresh` ago. Of one that was signed in
    /// the future, before the clock was set back, nobody can say how old it is.
    pub(super) fn find(
        &self,
        session: &TokenDigest,
        now: Timestamp,
        fresh: Duration,
    ) -> Option<Bytes> {
        self.places(session)
            .into_iter()
            .flatten()
            .find_map(|place| {
                let kept = place.load();
                let kept = kept.as_ref().filter(|kept| kept.session == *session)?;
                let is_fresh = kept.since <= now && now.since(kept.since) < fresh;
                is_fresh.then(|| kept.text.clone())
            })
    }

    /// Keeps it in the place of what was signed of the same session, or else of the oldest.
    pub(super) fn put(&self, assertion: Assertion) {
        let age = |place: &&ArcSwapOption<Assertion>| {
            let kept = place.load();
            let other = kept
                .as_ref()
                .filter(|kept| kept.session != assertion.session);
            other.map_or(Timestamp::EPOCH, |kept| kept.since)
        };
        let places = self.places(&assertion.session).into_iter().flatten();
        if let Some(place) = places.min_by_key(age) {
            place.store(Some(assertion.into()));
        }
    }

    /// Two pairs, by bits of the digest: it is a SHA-256 of what the gate drew, so nobody can choose
    /// them. That two pairs are full is seldom also when a third of all places is taken.
    fn places(&self, session: &TokenDigest) -> [Option<&ArcSwapOption<Assertion>>; 4] {
        let [a, b, c, d, ..] = *session.as_bytes();
        let [one, other] =
            [[a, b], [c, d]].map(|bits| usize::from(u16::from_be_bytes(bits)) % PLACES);
        [one, one ^ 1, other, other ^ 1].map(|place| self.0.get(place))
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
    const FRESH: Duration = Duration::from_secs(30);

    fn session(place: u8, number: u8) -> TokenDigest {
        let mut bytes = [number; 32];
        bytes[..4].copy_from_slice(&[0, place, 1, place]);
        TokenDigest::new(bytes)
    }

    fn put(kept: &Kept, session: TokenDigest, since: Timestamp) {
        let text = Bytes::copy_from_slice(session.as_bytes());
        kept.put(Assertion {
            session,
            since,
            text,
        });
    }

    fn is_found(kept: &Kept, session: TokenDigest, now: Timestamp) -> bool {
        let found = kept.find(&session, now, FRESH);
        if let Some(text) = &found {
            assert_eq!(text, &session.as_bytes()[..], "another session's");
        }
        found.is_some()
    }

    #[test]
    fn nothing_is_found_of_a_session_that_shares_a_place_with_another() {
        let kept = Kept::default();
        assert!(!is_found(&kept, session(0, 1), NOW));
        put(&kept, session(0, 1), NOW);
        assert!(!is_found(&kept, session(0, 2), NOW));
        assert!(is_found(&kept, session(0, 1), NOW));
    }

    #[test]
    fn what_is_too_old_or_from_the_future_is_not_found() {
        let kept = Kept::default();
        let one = session(7, 1);
        put(&kept, one, NOW);
        assert!(is_found(
            &kept,
            one,
            NOW.plus(Duration::from_millis(29_999))
        ));
        assert!(!is_found(&kept, one, NOW.plus(FRESH)));
        assert!(!is_found(
            &kept,
            one,
            Timestamp::from_millis(NOW.as_millis() - 1)
        ));
    }

    #[test]
    fn however_many_there_are_only_so_many_are_kept() {
        let kept = Kept::default();
        let later = |number: u8| NOW.plus(Duration::from_millis(number.into()));
        for number in 0..100 {
            put(&kept, session(0, number), later(number));
        }
        let left: Vec<_> = (0..100)
            .filter(|number| is_found(&kept, session(0, *number), later(100)))
            .collect();
        assert_eq!(
            left,
            [96, 97, 98, 99],
            "four places, and the latest in them"
        );
    }

    #[test]
    fn a_session_that_is_signed_again_takes_no_second_place() {
        let kept = Kept::default();
        let (one, other) = (session(0, 1), session(0, 2));
        put(&kept, other, NOW);
        for second in 0..5 {
            put(&kept, one, NOW.plus(Duration::from_secs(second)));
        }
        assert!(is_found(&kept, other, NOW.plus(Duration::from_secs(5))));
    }
}
