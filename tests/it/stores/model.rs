//! Gates that share a Redis do what a simple model says, whatever happens in whatever order and at
//! whichever of them. The model keeps lists and looks through all of them.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use tokio::runtime::Handle;
use wxgate::config;
use wxgate::crypto::token;
use wxgate::domain::clock::{Clock, HeldClock, Timestamp};
use wxgate::domain::id::{AppId, OpenId, UserKey};
use wxgate::domain::secret::SessionKey;
use wxgate::domain::session::{Holder, Lifetimes, Session};
use wxgate::domain::token::TokenDigest;
use wxgate::store::ending::Ended;
use wxgate::store::redis::{RedisStore, Surroundings};
use wxgate::store::{Found, Login, Store};
use wxgate::telemetry::metrics::Metrics;

use crate::support::redis::{RedisServer, table};
use crate::support::{APPID, SECRET, STUCK};

const USERS: u64 = 4;
const CAP: usize = 3;
const TTL: Duration = Duration::from_hours(1);
const KEY_GRACE: Duration = Duration::from_mins(10);
const REPLACED_GRACE: Duration = Duration::from_mins(1);
const MAX_KEYS: usize = 3;
pub(super) const LIFETIMES: Lifetimes = Lifetimes {
    ttl: TTL,
    idle_ttl: None,
};
const STEPS: usize = 400;

/// One session, as the model keeps it.
struct Kept {
    digest: TokenDigest,
    user: u64,
    created: Timestamp,
    cut: Option<Timestamp>,
}

#[derive(Clone)]
struct Key {
    secret: u8,
    redeemed: Timestamp,
    replaced: Option<Timestamp>,
}

struct World {
    redis: RedisServer,
    gates: [Store; 2],
    clock: HeldClock,
    random: u64,
    /// In order of login.
    kept: Vec<Kept>,
    keys: Vec<Vec<Key>>,
    all: Vec<(TokenDigest, u64)>,
}

pub(super) fn user_key(user: u64) -> UserKey {
    let app = AppId::parse(APPID).unwrap();
    UserKey::new(&app, &OpenId::parse(&format!("oUser{user}")).unwrap())
}

pub(super) fn open(redis: &RedisServer, clock: &HeldClock) -> Store {
    let shortest = format!(
        "[upstream]\nurl = \"http://127.0.0.1:1\"\n[[apps]]\nappid = \"{APPID}\"\nsecret = \"{SECRET}\"\n"
    );
    // Whatever is found is asked for the next time too: what stands in Redis is looked at.
    let text = shortest + &table(&redis.url(), "local_cache_ttl = \"0\"\ntimeout = \"10s\"");
    let loaded = config::parse(&text, std::path::Path::new("test.toml"), []).unwrap();
    let settings = loaded.config.store;
    let around = Surroundings {
        runtime: Handle::current(),
        clock: Clock::Held(clock.clone()),
        counts: Metrics::new(wxgate::telemetry::metrics::Plan::default()).redis(),
    };
    let (attempt, _attempted) = sync_channel(1);
    let redis = (settings.redis.unwrap(), settings.max_sessions);
    Store::Redis(RedisStore::open(
        redis,
        &settings.seal_keys.unwrap(),
        around,
        attempt,
    ))
}

impl Kept {
    fn lives(&self, now: Timestamp) -> bool {
        now < self.created.plus(TTL) && self.cut.is_none_or(|cut| now < cut)
    }
}

impl World {
    async fn start(seed: u64) -> Self {
        let redis = RedisServer::start().await;
        let clock = HeldClock::at(Clock::System.now());
        let gates = [open(&redis, &clock), open(&redis, &clock)];
        let connected = async {
            while gates.iter().any(|gate| gate.takes_logins().is_err()) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(STUCK, connected).await.unwrap();
        Self {
            redis,
            gates,
            clock,
            random: seed,
            kept: Vec::new(),
            keys: (0..USERS).map(|_| Vec::new()).collect(),
            all: Vec::new(),
        }
    }

    fn now(&self) -> Timestamp {
        Clock::Held(self.clock.clone()).now()
    }

    /// A number below `bound`, from the seed.
    fn below(&mut self, bound: u64) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % bound
    }

    fn gate(&mut self) -> Store {
        let index = usize::try_from(self.below(2)).unwrap();
        self.gates[index].clone()
    }

    /// One of those of late: most are gone already.
    fn some_session(&mut self) -> Option<(TokenDigest, u64)> {
        let known = u64::try_from(self.all.len()).unwrap();
        let back = self.below(12) + 1;
        let index = usize::try_from(known.checked_sub(back)?).unwrap();
        Some(self.all[index])
    }

    async fn step(&mut self) {
        match self.below(12) {
            0..4 => self.login().await,
            4..7 => self.find().await,
            7 => self.end().await,
            8 => self.end_all().await,
            9 => self.keys().await,
            _ => {
                let seconds = self.below(300);
                self.clock.advance(Duration::from_secs(seconds));
            }
        }
    }

    async fn login(&mut self) {
        let (user, now) = (self.below(USERS), self.now());
        let replaces = self.some_session().filter(|_| self.below(2) == 0);
        let key = Key {
            secret: u8::try_from(self.below(5)).unwrap(),
            redeemed: Timestamp::from_millis(now.as_millis() - self.below(5000)),
            replaced: None,
        };
        let (gate, who) = (self.gate(), user_key(user));
        let (_, digest) = token::issue_fitting(gate.fitting(&who));
        let holder = Holder {
            app: who.app().clone(),
            openid: who.openid().clone(),
            unionid: None,
        };
        let login = Login {
            session: Arc::new(Session::begin(digest, holder, now)),
            key: SessionKey::new([key.secret; 16]),
            redeemed: key.redeemed,
            replaces: replaces.map(|(digest, _)| digest),
            max_per_user: Some(CAP),
        };
        gate.begin(login, now, &LIFETIMES).await.unwrap();
        self.all.push((digest, user));
        self.logged_in((digest, user), replaces);
        self.add_key(user, key);
    }

    fn logged_in(
        &mut self,
        (digest, user): (TokenDigest, u64),
        replaces: Option<(TokenDigest, u64)>,
    ) {
        let now = self.now();
        self.forget_dead();
        let mine = self.kept.iter_mut().filter(|kept| kept.user == user);
        for kept in mine.filter(|kept| Some(kept.digest) == replaces.map(|(digest, _)| digest)) {
            let over = now.plus(REPLACED_GRACE);
            kept.cut = Some(kept.cut.map_or(over, |cut| cut.min(over)));
        }
        self.kept.push(Kept {
            digest,
            user,
            created: now,
            cut: None,
        });
        let counts = |kept: &Kept| kept.user == user && kept.cut.is_none();
        if self.kept.iter().filter(|kept| counts(kept)).count() > CAP {
            let oldest = self.kept.iter().position(counts).unwrap();
            self.kept.remove(oldest);
        }
    }

    fn add_key(&mut self, user: u64, mut key: Key) {
        let now = self.now();
        let keys = &mut self.keys[usize::try_from(user).unwrap()];
        if let Some(same) = keys.iter().position(|known| known.secret == key.secret) {
            key.redeemed = key.redeemed.max(keys.remove(same).redeemed);
        }
        keys.insert(0, key);
        keys.sort_by_key(|key| std::cmp::Reverse(key.redeemed));
        keys.truncate(MAX_KEYS);
        for key in &mut keys[1..] {
            key.replaced.get_or_insert(now);
        }
        keys[0].replaced = None;
    }

    async fn find(&mut self) {
        let (Some((digest, user)), now) = (self.some_session(), self.now()) else {
            return;
        };
        let gate = self.gate();
        let found = match gate.find(&digest, now, &LIFETIMES) {
            Found::Live(live) => Some(live),
            Found::Unknown => None,
            Found::Unseen => gate.first_sight(&digest, &LIFETIMES).await.unwrap(),
            Found::Unusable(why) => panic!("{why}"),
        };
        let kept = self.kept.iter().find(|kept| kept.digest == digest);
        let expected = kept.is_some_and(|kept| kept.lives(now));
        assert_eq!(found.is_some(), expected);
        if let Some(live) = found {
            assert_eq!(live.holder().openid, *user_key(user).openid());
        }
    }

    async fn end(&mut self) {
        let Some((digest, _)) = self.some_session() else {
            return;
        };
        // Only who has a live session can end it.
        let gate = self.gate();
        let Some(live) = gate.first_sight(&digest, &LIFETIMES).await.unwrap() else {
            return;
        };
        assert_eq!(gate.end(live.session()).await, Ended::Everywhere);
        self.kept.retain(|kept| kept.digest != digest);
        self.forget_dead();
    }

    async fn end_all(&mut self) {
        let user = self.below(USERS);
        let (_, ended) = self.gate().end_all(&user_key(user)).await;
        assert_eq!(ended, Ended::Everywhere);
        self.kept.retain(|kept| kept.user != user);
        self.forget_dead();
    }

    async fn keys(&mut self) {
        let (user, now) = (self.below(USERS), self.now());
        // Only who has a live session can try them.
        if !self
            .kept
            .iter()
            .any(|kept| kept.user == user && kept.lives(now))
        {
            return;
        }
        let keys = self.gate().keys(&user_key(user), now, KEY_GRACE).await;
        let found: Vec<_> = keys.unwrap().iter().map(|key| key.expose()[0]).collect();
        let fresh = |key: &&Key| key.replaced.is_none_or(|at| now.since(at) <= KEY_GRACE);
        let known = self.keys[usize::try_from(user).unwrap()].iter();
        let expected: Vec<_> = known.filter(fresh).map(|key| key.secret).collect();
        assert_eq!(found, expected);
    }

    /// Keys die with the user's last session.
    fn forget_dead(&mut self) {
        let now = self.now();
        self.kept.retain(|kept| kept.lives(now));
        for (user, keys) in (0..).zip(&mut self.keys) {
            if !self.kept.iter().any(|kept| kept.user == user) {
                keys.clear();
            }
        }
    }
}

#[tokio::test]
async fn two_gates_and_a_redis_do_what_the_model_does() {
    for seed in 0..4 {
        let mut world = World::start(seed).await;
        for _ in 0..STEPS {
            world.step().await;
        }
        assert!(world.all.len() > 50, "{}", world.all.len());
        world.redis.kill();
    }
}
