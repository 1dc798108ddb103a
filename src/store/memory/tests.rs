//! Promises of the memory store.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::clock::Timestamp;
use crate::domain::id::{AppId, OpenId, UserKey};
use crate::domain::secret::SessionKey;
use crate::domain::session::{Holder, Lifetimes, Session};
use crate::domain::token::TokenDigest;
use crate::store::Login;
use crate::store::memory::MemoryStore;
use crate::store::memory::table::Table;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const LIFETIMES: Lifetimes = Lifetimes {
    ttl: Duration::from_hours(1),
    idle_ttl: None,
};
const GRACE: Duration = Duration::from_mins(10);

struct World {
    store: MemoryStore,
    now: Timestamp,
    logins: u8,
    cap: Option<usize>,
}

impl World {
    fn new(max_sessions: u64) -> Self {
        let store = MemoryStore::new(max_sessions);
        Self {
            store,
            now: NOW,
            logins: 0,
            cap: None,
        }
    }

    fn login(&mut self, openid: &str, key: u8, replaces: Option<TokenDigest>) -> TokenDigest {
        let login = self.login_of(openid, key, replaces);
        let digest = *login.session.digest();
        drop(self.store.begin(login, self.now, &LIFETIMES));
        digest
    }

    fn login_of(&mut self, openid: &str, key: u8, replaces: Option<TokenDigest>) -> Login {
        self.logins += 1;
        let digest = TokenDigest::new([self.logins; 32]);
        let holder = Holder {
            app: app(),
            openid: OpenId::parse(openid).unwrap(),
            unionid: None,
        };
        Login {
            session: Arc::new(Session::begin(digest, holder, self.now)),
            key: SessionKey::new([key; 16]),
            redeemed: self.now,
            replaces,
            max_per_user: self.cap,
        }
    }

    fn lives(&self, digest: &TokenDigest) -> bool {
        self.store.find(digest, self.now, &LIFETIMES).is_some()
    }

    fn keys(&self, openid: &str) -> Vec<u8> {
        let keys = self.store.keys(&user(openid), self.now, GRACE);
        keys.iter().map(|key| key.expose()[0]).collect()
    }
}

fn app() -> AppId {
    AppId::parse("wx0123456789abcdef").unwrap()
}

fn user(openid: &str) -> UserKey {
    UserKey::new(&app(), &OpenId::parse(openid).unwrap())
}

#[test]
fn an_unknown_token_finds_nothing() {
    let mut world = World::new(10);
    world.login("a", 1, None);
    assert!(!world.lives(&TokenDigest::new([99; 32])));
}

#[test]
fn ending_all_of_a_user_spares_the_others() {
    let mut world = World::new(10);
    let (a1, a2, b) = (
        world.login("a", 1, None),
        world.login("a", 1, None),
        world.login("b", 2, None),
    );
    assert_eq!(world.store.end_all(&user("a")).0, 2);
    assert_eq!(
        [a1, a2, b].map(|digest| world.lives(&digest)),
        [false, false, true]
    );
    assert_eq!(
        world.keys("a"),
        [0; 0],
        "keys die with the user's last session"
    );
    assert_eq!(world.keys("b"), [2]);
}

#[test]
fn over_the_cap_the_oldest_goes_and_a_replaced_one_does_not_count() {
    let mut world = World::new(10);
    world.cap = Some(2);
    let first = world.login("a", 1, None);
    let second = world.login("a", 1, None);
    let renewed = world.login("a", 1, Some(second));
    assert_eq!(
        [first, second, renewed].map(|digest| world.lives(&digest)),
        [true; 3]
    );
    let fourth = world.login("a", 1, None);
    assert_eq!(
        [first, second, renewed, fourth].map(|d| world.lives(&d)),
        [false, true, true, true]
    );
}

#[test]
fn a_login_replaces_only_a_session_of_the_same_user() {
    let mut world = World::new(10);
    let other = world.login("b", 1, None);
    let mine = world.login("a", 1, None);
    world.login("a", 1, Some(other));
    world.login("a", 1, Some(mine));
    world.now = world.now.plus(Duration::from_mins(2));
    assert!(world.lives(&other));
    assert!(!world.lives(&mine));
}

#[test]
fn ending_all_ends_a_replaced_session_in_its_grace_too() {
    let mut world = World::new(10);
    let old = world.login("a", 1, None);
    let new = world.login("a", 1, Some(old));
    assert_eq!(world.store.end_all(&user("a")).0, 2);
    assert!(!world.lives(&old) && !world.lives(&new));
}

#[test]
fn a_session_that_is_ended_while_it_begins_is_not_kept() {
    let mut world = World::new(10);
    let login = world.login_of("a", 1, None);
    let session = Arc::clone(&login.session);
    let displaced = world.store.users.add(login, NOW, &LIFETIMES);
    assert_eq!(world.store.end_all(&user("a")).0, 1);
    world.store.enter(&session, displaced);
    assert_eq!(world.store.table.len(), 0);
    assert!(!world.lives(session.digest()));
}

#[test]
fn even_where_there_is_room_for_one_only_a_login_is_not_refused_for_it() {
    let mut world = World::new(1);
    let first = world.login("a", 1, None);
    assert!(world.lives(&first));
    let second = world.login("b", 1, None);
    assert_eq!(
        [first, second].map(|digest| world.lives(&digest)),
        [false, true]
    );
}

#[test]
fn the_newest_stays_though_the_other_was_found_since() {
    let mut world = World::new(10);
    let (one, two) = (world.login_of("a", 1, None), world.login_of("b", 1, None));
    // Whichever of the two comes first in the table.
    for (older, newest) in [(&one, &two), (&two, &one)] {
        let table = Table::new();
        table.add(Arc::clone(&older.session));
        table.add(Arc::clone(&newest.session));
        assert!(table.find(older.session.digest()).is_some());
        table.make_room(1, &newest.session, |gone| table.remove(gone.digest()));
        assert!(table.find(newest.session.digest()).is_some());
        assert_eq!(table.len(), 1);
    }
}

#[test]
fn the_census_knows_every_session_and_those_that_went_for_want_of_room() {
    let mut world = World::new(3);
    assert_eq!(world.store.census(), []);
    for openid in ["a", "b", "b"] {
        world.login(openid, 1, None);
    }
    assert_eq!(world.store.census(), [(app(), 3)]);
    assert_eq!(world.store.evicted(), 0);
    world.login("c", 1, None);
    assert_eq!(world.store.census(), [(app(), 3)]);
    assert_eq!(world.store.evicted(), 1);
    for openid in ["a", "b"] {
        drop(world.store.end_all(&user(openid)));
    }
    assert_eq!(world.store.census(), [(app(), 1)]);
    assert_eq!(world.store.evicted(), 1);
}

#[test]
fn over_the_whole_bound_the_least_recently_used_goes_and_never_the_newest() {
    let mut world = World::new(3);
    let digests = ["a", "b", "c"].map(|openid| world.login(openid, 1, None));
    assert!(
        world.lives(&digests[0]),
        "used, so no longer the least recent"
    );
    let newest = world.login("d", 1, None);
    assert!(world.lives(&newest));
    assert_eq!(
        digests.map(|digest| world.lives(&digest)),
        [true, false, true]
    );
    assert_eq!(
        world.keys("b"),
        [0; 0],
        "the index lets go of what the cache evicts"
    );
}

#[test]
fn replaced_keys_are_tried_for_their_grace_newest_first_and_three_at_most() {
    let mut world = World::new(10);
    for key in 1..=4 {
        world.login("a", key, None);
        world.now = world.now.plus(Duration::from_mins(4));
    }
    assert_eq!(world.keys("a"), [4, 3, 2]);
    world.now = world.now.plus(Duration::from_mins(4));
    assert_eq!(world.keys("a"), [4, 3], "key 2 was replaced 12 minutes ago");
    world.now = world.now.plus(Duration::from_mins(30));
    assert_eq!(
        world.keys("a"),
        [4],
        "the current key is not replaced, however old"
    );
}

#[test]
fn an_older_key_coming_back_is_current_again() {
    let mut world = World::new(10);
    for key in [1, 2, 1] {
        world.login("a", key, None);
        world.now = world.now.plus(Duration::from_mins(1));
    }
    assert_eq!(world.keys("a"), [1, 2]);
}

#[test]
fn the_answer_to_an_earlier_redemption_is_not_the_newest_key() {
    let mut world = World::new(10);
    world.login("a", 2, None);
    world.now = Timestamp::from_millis(NOW.as_millis() - 5000);
    world.login("a", 1, None);
    world.now = NOW;
    assert_eq!(world.keys("a"), [2, 1]);
}

#[test]
fn sweeping_forgets_what_has_run_out() {
    let mut world = World::new(10);
    world.login("a", 1, None);
    world.now = world.now.plus(Duration::from_hours(2));
    for _ in 0..64 {
        world.store.sweep(world.now, &LIFETIMES);
    }
    assert_eq!(world.store.table.len(), 0);
    assert_eq!(world.keys("a"), [0; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_when_its_session_is_ended_and_not_when_another_is() {
    let clock = crate::domain::clock::Clock::Held(crate::domain::clock::HeldClock::at(NOW));
    let mut world = World::new(10);
    let (mine, other) = (world.login("a", 1, None), world.login("b", 1, None));
    let open = |digest| {
        let live = world.store.find(&digest, NOW, &LIFETIMES).unwrap();
        world.store.open_stream(&live)
    };
    let (mut stream, mut second, mut spared) = (open(mine), open(mine), open(other));
    assert_eq!(world.store.streams.count(), 3);
    drop(world.store.end_all(&user("a")));
    stream.ended(&clock, &LIFETIMES).await;
    second.ended(&clock, &LIFETIMES).await;
    let waiting = spared.ended(&clock, &LIFETIMES);
    let waited = tokio::time::timeout(Duration::from_mins(30), waiting).await;
    assert!(waited.is_err(), "the other user's stream goes on");
    drop((stream, second, spared));
    assert_eq!(world.store.streams.count(), 0);
}
