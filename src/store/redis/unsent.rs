//! Endings that Redis has not confirmed: kept until it has, and heeded by this gate meanwhile. Those that
//! it has just confirmed are told once more to whatever Redis comes next: a replica that takes the
//! place of its master may not have heard of them. Knows nothing of how Redis is told.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use parking_lot::Mutex;

use crate::domain::clock::Timestamp;
use crate::domain::id::UserKey;
use crate::domain::session::Session;
use crate::domain::token::TokenDigest;

/// Endings that are kept, per gate: 20 MiB at the most. Beyond, a logout during an outage holds at this
/// gate for as long as the outage, and the log says so.
const MAX_UNSENT: usize = 65_536;

/// Endings that are told once more, per gate; of more, the oldest are not.
const MAX_RECENT: usize = 4096;

/// For how long an ending counts as one that a replica may not have heard of.
const RECENT_FOR: Duration = Duration::from_mins(1);

/// An ending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Of one session.
    Session(TokenDigest, UserKey),
    /// Of all sessions of a user that began up to this moment.
    User(UserKey, Timestamp),
}

/// The endings that are kept.
#[derive(Debug, Default)]
pub(super) struct Unsent(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    sessions: HashMap<TokenDigest, UserKey>,
    users: HashMap<UserKey, Timestamp>,
    /// Confirmed at these moments, in order.
    recent: VecDeque<(Timestamp, Ending)>,
}

impl Unsent {
    /// Keeps an ending. Whether there was room.
    pub(super) fn keep(&self, ending: Ending) -> bool {
        let mut kept = self.0.lock();
        if kept.sessions.len() + kept.users.len() >= MAX_UNSENT {
            return false;
        }
        match ending {
            Ending::Session(digest, user) => drop(kept.sessions.insert(digest, user)),
            Ending::User(user, begun_by) => {
                let known = kept.users.entry(user).or_insert(begun_by);
                *known = begun_by.max(*known);
            }
        }
        true
    }

    /// Redis has confirmed this ending, and with it no later one.
    pub(super) fn confirmed(&self, ending: &Ending, now: Timestamp) {
        let mut kept = self.0.lock();
        if kept.recent.len() == MAX_RECENT {
            kept.recent.pop_front();
        }
        kept.recent.push_back((now, ending.clone()));
        match ending {
            Ending::Session(digest, _) => drop(kept.sessions.remove(digest)),
            Ending::User(user, begun_by) => {
                if kept.users.get(user).is_some_and(|kept| kept <= begun_by) {
                    kept.users.remove(user);
                }
            }
        }
    }

    /// Whether the session is known to have ended, whatever Redis says.
    pub(super) fn has_ended(&self, session: &Session, user: impl FnOnce() -> UserKey) -> bool {
        let kept = self.0.lock();
        let ended = kept.sessions.contains_key(session.digest());
        if ended || kept.users.is_empty() {
            return ended;
        }
        let begun_by = kept.users.get(&user());
        begun_by.is_some_and(|begun_by| session.created() <= *begun_by)
    }

    /// What Redis has confirmed of late, and another one may not have heard of.
    pub(super) fn recent(&self, now: Timestamp) -> Vec<Ending> {
        let mut kept = self.0.lock();
        let is_recent = |confirmed: Timestamp| now.since(confirmed) < RECENT_FOR;
        kept.recent.retain(|(confirmed, _)| is_recent(*confirmed));
        // What began since then is not meant, though the clocks of gates differ.
        let endings = kept.recent.iter().map(|(confirmed, ending)| match ending {
            Ending::User(user, begun_by) => Ending::User(user.clone(), *begun_by.min(confirmed)),
            session @ Ending::Session(..) => session.clone(),
        });
        endings.collect()
    }

    /// What Redis has not confirmed.
    pub(super) fn unconfirmed(&self) -> Vec<Ending> {
        let kept = self.0.lock();
        let sessions = kept.sessions.iter();
        let sessions = sessions.map(|(digest, user)| Ending::Session(*digest, user.clone()));
        let users = kept.users.iter();
        let users = users.map(|(user, begun_by)| Ending::User(user.clone(), *begun_by));
        sessions.chain(users).collect()
    }

    /// How many are kept.
    pub(super) fn count(&self) -> usize {
        let kept = self.0.lock();
        kept.sessions.len() + kept.users.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{AppId, OpenId};
    use crate::domain::session::Holder;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn user(openid: &str) -> UserKey {
        let app = AppId::parse("wx0123456789abcdef").unwrap();
        UserKey::new(&app, &OpenId::parse(openid).unwrap())
    }

    fn session(openid: &str, digest: u8, created: Timestamp) -> Session {
        let user = user(openid);
        let holder = Holder {
            app: user.app().clone(),
            openid: user.openid().clone(),
            unionid: None,
        };
        Session::begin(TokenDigest::new([digest; 32]), holder, created)
    }

    #[test]
    fn an_ending_is_heeded_until_it_is_confirmed_and_no_other_session_is_touched() {
        let unsent = Unsent::default();
        let (mine, other) = (session("a", 1, NOW), session("a", 2, NOW));
        let ending = Ending::Session(*mine.digest(), user("a"));
        assert!(unsent.keep(ending.clone()));
        assert!(unsent.has_ended(&mine, || user("a")));
        assert!(!unsent.has_ended(&other, || user("a")));
        unsent.confirmed(&ending, NOW);
        assert!(!unsent.has_ended(&mine, || user("a")));
        assert_eq!(unsent.count(), 0);
    }

    #[test]
    fn an_ending_of_all_spares_what_began_after_it() {
        let unsent = Unsent::default();
        let later = Timestamp::from_millis(NOW.as_millis() + 1);
        unsent.keep(Ending::User(user("a"), NOW));
        assert!(unsent.has_ended(&session("a", 1, NOW), || user("a")));
        assert!(!unsent.has_ended(&session("a", 1, later), || user("a")));
        assert!(!unsent.has_ended(&session("b", 1, NOW), || user("b")));
    }

    #[test]
    fn the_later_of_two_endings_of_all_is_not_confirmed_by_the_earlier() {
        let unsent = Unsent::default();
        let later = Timestamp::from_millis(NOW.as_millis() + 1);
        unsent.keep(Ending::User(user("a"), later));
        unsent.keep(Ending::User(user("a"), NOW));
        unsent.confirmed(&Ending::User(user("a"), NOW), NOW);
        assert_eq!(unsent.unconfirmed(), [Ending::User(user("a"), later)]);
        unsent.confirmed(&Ending::User(user("a"), later), NOW);
        assert_eq!(unsent.count(), 0);
    }

    #[test]
    fn what_was_confirmed_a_moment_ago_is_told_anew_and_what_began_since_is_spared() {
        let unsent = Unsent::default();
        let (old, soon) = (NOW, NOW.plus(Duration::from_secs(30)));
        let session = Ending::Session(TokenDigest::new([1; 32]), user("a"));
        unsent.confirmed(&session, old);
        unsent.confirmed(&Ending::User(user("a"), soon.plus(RECENT_FOR)), soon);
        let now = NOW.plus(RECENT_FOR);
        for _ in 0..2 {
            assert_eq!(unsent.recent(now), [Ending::User(user("a"), soon)]);
        }
        assert_eq!(unsent.recent(now.plus(RECENT_FOR)), []);
        for _ in 0..=MAX_RECENT {
            unsent.confirmed(&session, now);
        }
        assert_eq!(unsent.recent(now).len(), MAX_RECENT);
        assert_eq!(unsent.count(), 0);
    }

    #[test]
    fn no_more_endings_are_kept_than_there_is_room_for() {
        let unsent = Unsent::default();
        for number in 0..MAX_UNSENT {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            assert!(unsent.keep(Ending::Session(TokenDigest::new(bytes), user("a"))));
        }
        assert!(!unsent.keep(Ending::User(user("a"), NOW)));
        assert_eq!(unsent.count(), MAX_UNSENT);
    }
}
