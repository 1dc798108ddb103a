//! Endings that Redis has not confirmed: kept until it has, and heeded by this gate meanwhile. Those that
//! it has confirmed of late are told again, after a while and to whatever Redis comes next: a replica
//! that takes the place of its master may not have heard of them. Knows nothing of how Redis is told.

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

/// Sessions whose ending is told again, per gate; of more, those that ended first are not.
const MAX_RECENT: usize = 4096;

/// How long after Redis has confirmed an ending it is told again. A Cluster gets a new master without
/// this gate noticing: soon, or once the old one has been missed for some seconds, or by hand.
const TOLD_AGAIN_AFTER: [Duration; 3] = [
    Duration::from_secs(2),
    Duration::from_secs(15),
    Duration::from_mins(1),
];

/// An ending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Of one session.
    Session(TokenDigest, UserKey),
    /// Of all sessions of a user that began up to this moment. Told at once, it is of all that there
    /// are; told late, the moment is that of the logout, and a minute more for clocks that differ.
    User(UserKey, Timestamp),
}

/// The endings that are kept.
#[derive(Debug, Default)]
pub(super) struct Unsent(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    sessions: HashMap<TokenDigest, UserKey>,
    users: HashMap<UserKey, Timestamp>,
    /// In the order in which they were confirmed.
    recent: VecDeque<Recent>,
    /// Those of the recent ones that are to be told again, and are heeded until they are.
    doubted: HashMap<TokenDigest, UserKey>,
}

/// An ending of a session that Redis has confirmed. One of all of a user's is those that it ended: what
/// began since then is not meant, and the clocks of gates differ.
#[derive(Debug)]
struct Recent {
    digest: TokenDigest,
    user: UserKey,
    confirmed: Timestamp,
    told_again: usize,
}

impl Recent {
    /// Whether it is time to tell it again. Whatever was missed meanwhile is made up for by once.
    fn is_due(&mut self, now: Timestamp) -> bool {
        let age = now.since(self.confirmed);
        let due = TOLD_AGAIN_AFTER.iter().filter(|after| age >= **after);
        let due = due.count();
        let is_due = due > self.told_again;
        self.told_again = due.max(self.told_again);
        is_due
    }
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

    /// Redis has confirmed this ending, and with it no later one: these sessions it has ended.
    pub(super) fn confirmed(&self, ending: &Ending, ended: &[TokenDigest], now: Timestamp) {
        let mut kept = self.0.lock();
        let user = match ending {
            Ending::Session(digest, user) => {
                let first = kept.sessions.remove(digest).is_some();
                if kept.doubted.remove(digest).is_some() && !first {
                    return;
                }
                user
            }
            Ending::User(user, begun_by) => {
                if kept.users.get(user).is_some_and(|kept| kept <= begun_by) {
                    kept.users.remove(user);
                }
                user
            }
        };
        for digest in ended {
            if kept.recent.len() == MAX_RECENT {
                kept.recent.pop_front();
            }
            kept.recent.push_back(Recent {
                digest: *digest,
                user: user.clone(),
                confirmed: now,
                told_again: 0,
            });
        }
    }

    /// Whether the session is known to have ended, whatever Redis says.
    pub(super) fn has_ended(&self, session: &Session, user: impl FnOnce() -> UserKey) -> bool {
        let kept = self.0.lock();
        let digest = session.digest();
        let ended = kept.sessions.contains_key(digest) || kept.doubted.contains_key(digest);
        if ended || kept.users.is_empty() {
            return ended;
        }
        let begun_by = kept.users.get(&user());
        begun_by.is_some_and(|begun_by| session.created() <= *begun_by)
    }

    /// Redis is another one, perhaps: whatever was confirmed of late is told to it.
    pub(super) fn doubt_all(&self) {
        self.0.lock().doubt(|_| true);
    }

    /// What was confirmed some time ago is told again.
    pub(super) fn doubt_due(&self, now: Timestamp) {
        self.0.lock().doubt(|recent| recent.is_due(now));
    }

    /// What Redis is to be told.
    pub(super) fn to_tell(&self) -> Vec<Ending> {
        let kept = self.0.lock();
        let sessions = kept.sessions.iter().chain(&kept.doubted);
        let sessions = sessions.map(|(digest, user)| Ending::Session(*digest, user.clone()));
        let users = kept.users.iter();
        let users = users.map(|(user, begun_by)| Ending::User(user.clone(), *begun_by));
        sessions.chain(users).collect()
    }

    /// Whether this is still to be told. It may have been meanwhile, and what began since then is not
    /// meant by it.
    pub(super) fn is_to_tell(&self, ending: &Ending) -> bool {
        let kept = self.0.lock();
        match ending {
            Ending::Session(digest, _) => {
                kept.sessions.contains_key(digest) || kept.doubted.contains_key(digest)
            }
            Ending::User(user, _) => kept.users.contains_key(user),
        }
    }

    /// How many Redis has never confirmed.
    pub(super) fn count(&self) -> usize {
        let kept = self.0.lock();
        kept.sessions.len() + kept.users.len()
    }
}

impl Kept {
    fn doubt(&mut self, mut is_one: impl FnMut(&mut Recent) -> bool) {
        let doubted = &mut self.doubted;
        self.recent.retain_mut(|recent| {
            if is_one(recent) && doubted.len() < MAX_RECENT {
                doubted.insert(recent.digest, recent.user.clone());
            }
            recent.told_again < TOLD_AGAIN_AFTER.len()
        });
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
        unsent.confirmed(&ending, &[*mine.digest()], NOW);
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
        unsent.confirmed(&Ending::User(user("a"), NOW), &[], NOW);
        assert_eq!(unsent.to_tell(), [Ending::User(user("a"), later)]);
        unsent.confirmed(&Ending::User(user("a"), later), &[], NOW);
        assert_eq!(unsent.count(), 0);
    }

    fn told(unsent: &Unsent, digest: u8) -> Ending {
        let ending = Ending::Session(TokenDigest::new([digest; 32]), user("a"));
        unsent.confirmed(&ending, &[TokenDigest::new([digest; 32])], NOW);
        ending
    }

    #[test]
    fn what_was_told_meanwhile_is_not_told_late_too() {
        let unsent = Unsent::default();
        for ending in [
            Ending::User(user("a"), NOW),
            Ending::Session(TokenDigest::new([1; 32]), user("a")),
        ] {
            unsent.keep(ending.clone());
            assert!(unsent.is_to_tell(&ending));
            unsent.confirmed(&ending, &[], NOW);
            assert!(!unsent.is_to_tell(&ending));
        }
    }

    #[test]
    fn what_was_confirmed_is_told_again_three_times_and_never_after_that() {
        let unsent = Unsent::default();
        let ending = told(&unsent, 1);
        let mut told_at = Vec::new();
        for second in 0..200 {
            let now = NOW.plus(Duration::from_secs(second));
            unsent.doubt_due(now);
            for again in unsent.to_tell() {
                assert_eq!(again, ending);
                told_at.push(second);
                unsent.confirmed(&again, &[TokenDigest::new([1; 32])], now);
            }
        }
        assert_eq!(told_at, [2, 15, 60]);
    }

    #[test]
    fn another_redis_is_told_of_what_was_confirmed_and_it_is_heeded_until_then() {
        let unsent = Unsent::default();
        let ending = told(&unsent, 1);
        let (ended, other) = (session("a", 1, NOW), session("a", 2, NOW));
        for _ in 0..2 {
            assert!(!unsent.has_ended(&ended, || user("a")));
            unsent.doubt_all();
            assert!(unsent.has_ended(&ended, || user("a")));
            assert!(!unsent.has_ended(&other, || user("a")));
            assert_eq!(unsent.count(), 0);
            assert_eq!(unsent.to_tell(), std::slice::from_ref(&ending));
            unsent.confirmed(&ending, &[*ended.digest()], NOW);
        }
    }

    #[test]
    fn an_ending_of_all_is_told_again_as_those_that_it_ended() {
        let unsent = Unsent::default();
        let all = Ending::User(user("a"), NOW.plus(Duration::from_mins(1)));
        unsent.keep(all.clone());
        unsent.confirmed(&all, &[TokenDigest::new([1; 32])], NOW);
        unsent.doubt_all();
        let one = Ending::Session(TokenDigest::new([1; 32]), user("a"));
        assert_eq!(unsent.to_tell(), [one]);
    }

    #[test]
    fn of_what_was_confirmed_no_more_is_kept_than_there_is_room_for() {
        let unsent = Unsent::default();
        let all = Ending::User(user("a"), NOW);
        for number in 0..=MAX_RECENT {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            unsent.confirmed(&all, &[TokenDigest::new(bytes)], NOW);
        }
        unsent.doubt_all();
        assert_eq!(unsent.to_tell().len(), MAX_RECENT);
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
