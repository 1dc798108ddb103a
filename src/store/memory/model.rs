//! The memory store does what a simple model of it does, whatever happens in whatever order. The
//! model keeps lists and looks through all of them.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::clock::Timestamp;
use crate::domain::id::{AppId, OpenId, UserKey};
use crate::domain::limits;
use crate::domain::secret::SessionKey;
use crate::domain::session::{Holder, Lifetimes, Session};
use crate::domain::token::TokenDigest;
use crate::store::Login;
use crate::store::memory::MemoryStore;

const MAX_SESSIONS: u64 = 12;
const USERS: u64 = 6;
const CAP: usize = 3;
const GRACE: Duration = Duration::from_mins(10);
const IDLE: Duration = Duration::from_mins(20);
const LIFETIMES: Lifetimes = Lifetimes {
    ttl: Duration::from_hours(1),
    idle_ttl: Some(IDLE),
};
const STEPS: usize = 150;
/// Sequences of so many steps.
const SEQUENCES: u64 = 2000;

/// One session, as the model keeps it.
struct Kept {
    session: Arc<Session>,
    user: u64,
    created: Timestamp,
    cut: Option<Timestamp>,
    seen: Timestamp,
    used: u64,
}

#[derive(Clone, Debug)]
struct Key {
    secret: u8,
    redeemed: Timestamp,
    replaced: Option<Timestamp>,
}

struct World {
    store: MemoryStore,
    random: u64,
    now: Timestamp,
    /// In order of login.
    kept: Vec<Kept>,
    /// By user.
    keys: Vec<Vec<Key>>,
    all: Vec<Arc<Session>>,
    logins: u64,
}

fn digest(number: u64) -> TokenDigest {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes[31] = number.to_le_bytes()[0];
    TokenDigest::new(bytes)
}

fn user_key(user: u64) -> UserKey {
    let app = AppId::parse("wx0123456789abcdef").unwrap();
    UserKey::new(&app, &OpenId::parse(&format!("oUser{user}")).unwrap())
}

impl Kept {
    fn lives(&self, now: Timestamp) -> bool {
        now < self.created.plus(LIFETIMES.ttl)
            && self.cut.is_none_or(|cut| now < cut)
            && now.since(self.seen) < IDLE
    }
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            store: MemoryStore::new(MAX_SESSIONS),
            random: seed,
            now: Timestamp::from_millis(1_700_000_000_000),
            kept: Vec::new(),
            keys: (0..USERS).map(|_| Vec::new()).collect(),
            all: Vec::new(),
            logins: 0,
        }
    }

    /// A number below `bound`, from the seed.
    fn below(&mut self, bound: u64) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % bound
    }

    fn some_session(&mut self) -> Option<Arc<Session>> {
        let known = u64::try_from(self.all.len()).unwrap();
        // Of those of late: most are gone already.
        let back = self.below(30) + 1;
        let index = usize::try_from(known.checked_sub(back)?).unwrap();
        Some(Arc::clone(&self.all[index]))
    }

    fn step(&mut self) {
        match self.below(20) {
            0..6 => self.login(),
            6..12 => self.find(),
            12..14 => self.end(),
            14 => self.end_all(),
            15 => self.sweep(),
            _ => self.now = self.now.plus(Duration::from_secs(self.below(240))),
        }
        self.compare();
    }

    fn login(&mut self) {
        let user = self.below(USERS);
        let replaces = self.some_session().filter(|_| self.below(2) == 0);
        let key = Key {
            secret: u8::try_from(self.below(5)).unwrap(),
            redeemed: Timestamp::from_millis(self.now.as_millis() - self.below(5000)),
            replaced: None,
        };
        self.logins += 1;
        let holder = Holder {
            app: user_key(user).app().clone(),
            openid: user_key(user).openid().clone(),
            unionid: None,
        };
        let session = Arc::new(Session::begin(digest(self.logins), holder, self.now));
        let replaces = replaces.map(|session| *session.digest());
        let login = Login {
            session: Arc::clone(&session),
            key: SessionKey::new([key.secret; 16]),
            redeemed: key.redeemed,
            replaces,
            max_per_user: Some(CAP),
        };
        drop(self.store.begin(login, self.now, &LIFETIMES));
        self.all.push(Arc::clone(&session));
        self.logged_in(user, session, replaces);
        self.add_key(user, key);
        self.forget_users();
    }

    fn logged_in(&mut self, user: u64, session: Arc<Session>, replaces: Option<TokenDigest>) {
        let now = self.now;
        self.kept
            .retain(|kept| kept.user != user || kept.lives(now));
        self.forget_users();
        let mine = self.kept.iter_mut().filter(|kept| kept.user == user);
        for kept in mine.filter(|kept| Some(*kept.session.digest()) == replaces) {
            let over = now.plus(limits::REPLACED_SESSION_GRACE);
            kept.cut = Some(kept.cut.map_or(over, |cut| cut.min(over)));
        }
        self.kept.push(Kept {
            session,
            user,
            created: now,
            cut: None,
            seen: now,
            used: self.logins,
        });
        let counts = |kept: &Kept| kept.user == user && kept.cut.is_none();
        if self.kept.iter().filter(|kept| counts(kept)).count() > CAP {
            let oldest = self.kept.iter().position(counts).unwrap();
            self.kept.remove(oldest);
        }
        if self.kept.len() > usize::try_from(MAX_SESSIONS).unwrap() {
            self.evicted();
        }
    }

    /// One went for the others: one of those used longest ago, and never the newest.
    fn evicted(&mut self) {
        let others = self.kept.len() - 1;
        let least = self.kept[..others].iter().map(|kept| kept.used).min();
        let gone = |kept: &Kept| kept.session.is_ended();
        let index = self.kept.iter().position(gone).expect("none went");
        assert!(index < others, "the newest went");
        assert_eq!(
            Some(self.kept[index].used),
            least,
            "not the least recently used"
        );
        self.kept.remove(index);
    }

    fn add_key(&mut self, user: u64, mut key: Key) {
        let now = self.now;
        let keys = &mut self.keys[usize::try_from(user).unwrap()];
        if let Some(same) = keys.iter().position(|known| known.secret == key.secret) {
            key.redeemed = key.redeemed.max(keys.remove(same).redeemed);
        }
        keys.insert(0, key);
        keys.sort_by_key(|key| std::cmp::Reverse(key.redeemed));
        keys.truncate(limits::MAX_SESSION_KEYS);
        for key in &mut keys[1..] {
            key.replaced.get_or_insert(now);
        }
        keys[0].replaced = None;
    }

    fn find(&mut self) {
        let Some(session) = self.some_session() else {
            return;
        };
        let found = self
            .store
            .find(session.digest(), self.now, &LIFETIMES)
            .is_some();
        let now = self.now;
        let index = self
            .kept
            .iter()
            .position(|kept| Arc::ptr_eq(&kept.session, &session));
        let Some(index) = index else {
            assert!(!found, "a session that is gone was found");
            return;
        };
        assert_eq!(found, self.kept[index].lives(now));
        if !found {
            self.kept.remove(index);
            self.forget_users();
            return;
        }
        let kept = &mut self.kept[index];
        kept.used = self.logins;
        if now.since(kept.seen) >= Duration::from_mins(1) {
            kept.seen = now;
        }
    }

    fn end(&mut self) {
        if let Some(session) = self.some_session() {
            drop(self.store.end(&session));
            self.kept
                .retain(|kept| !Arc::ptr_eq(&kept.session, &session));
            self.forget_users();
        }
    }

    fn end_all(&mut self) {
        let user = self.below(USERS);
        let (ended, _ending) = self.store.end_all(&user_key(user));
        let before = self.kept.len();
        self.kept.retain(|kept| kept.user != user);
        assert_eq!(ended, before - self.kept.len());
        self.forget_users();
    }

    fn sweep(&mut self) {
        for _ in 0..64 {
            self.store.sweep(self.now, &LIFETIMES);
        }
        let now = self.now;
        self.kept.retain(|kept| kept.lives(now));
        self.forget_users();
    }

    /// Keys die with the user's last session.
    fn forget_users(&mut self) {
        for (user, keys) in (0..).zip(&mut self.keys) {
            if !self.kept.iter().any(|kept| kept.user == user) {
                keys.clear();
            }
        }
    }

    /// Looks at everything without using any of it.
    fn compare(&self) {
        assert_eq!(self.store.table.len(), self.kept.len());
        for kept in &self.kept {
            assert!(!kept.session.is_ended());
            let lives = kept.session.is_live(self.now, &LIFETIMES);
            assert_eq!(lives, kept.lives(self.now));
        }
        for (user, keys) in (0..).zip(&self.keys) {
            let fresh = |key: &&Key| key.replaced.is_none_or(|at| self.now.since(at) <= GRACE);
            let expected: Vec<_> = keys.iter().filter(fresh).map(|key| key.secret).collect();
            let found = self.store.keys(&user_key(user), self.now, GRACE);
            let found: Vec<_> = found.iter().map(|key| key.expose()[0]).collect();
            assert_eq!(found, expected, "keys of user {user}");
        }
    }
}

#[test]
fn the_store_does_what_a_simple_model_does() {
    let (mut gone_of_all, mut kept_of_all) = (0, 0);
    for seed in 0..SEQUENCES {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
        }
        let gone = |session: &&Arc<Session>| session.is_ended();
        let gone = world.all.iter().filter(gone).count();
        assert_eq!(gone, world.all.len() - world.kept.len());
        gone_of_all += gone;
        kept_of_all += world.kept.len();
    }
    // Of most stories something is left, and much went.
    assert!(
        gone_of_all > 10 * 2000 && kept_of_all > 2000,
        "{gone_of_all}, {kept_of_all}"
    );
}

#[test]
fn logins_and_endings_that_race_leave_nothing_behind() {
    for max_sessions in [8, 1_000_000] {
        let store = MemoryStore::new(max_sessions);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let store = &store;
                scope.spawn(move || log_in_and_end(store, thread));
            }
        });
        for user in 0..3 {
            drop(store.end_all(&user_key(user)));
        }
        assert_eq!(store.table.len(), 0);
    }
}

fn log_in_and_end(store: &MemoryStore, thread: u64) {
    let now = Timestamp::from_millis(1_700_000_000_000);
    for number in 0..3000 {
        let key = user_key(number % 3);
        let holder = Holder {
            app: key.app().clone(),
            openid: key.openid().clone(),
            unionid: None,
        };
        let digest = digest((thread << 32) | number);
        let login = Login {
            session: Arc::new(Session::begin(digest, holder, now)),
            key: SessionKey::new([1; 16]),
            redeemed: now,
            replaces: None,
            max_per_user: Some(CAP),
        };
        drop(store.begin(login, now, &LIFETIMES));
        store.find(&digest, now, &LIFETIMES);
        drop(store.end_all(&user_key(number % 2)));
    }
}
