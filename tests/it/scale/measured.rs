//! What gates cost a real Redis, by its own account: commands, bytes, memory. The gates are stores in
//! this process, as the gate has them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::runtime::Handle;
use wxgate::config;
use wxgate::crypto::code::{CodeDigest, SealedAnswer};
use wxgate::crypto::token;
use wxgate::domain::clock::Clock;
use wxgate::domain::id::{AppId, OpenId, UnionId, UserKey};
use wxgate::domain::secret::{LoginCode, SessionKey};
use wxgate::domain::session::{Holder, Lifetimes, Session};
use wxgate::domain::token::TokenDigest;
use wxgate::store::ending::Ended;
use wxgate::store::redis::{RedisStore, Surroundings};
use wxgate::store::{Claim, Found, Login, Store};
use wxgate::telemetry::metrics::{Metrics, Plan};

use crate::scale::page::number;
use crate::support::app::until;
use crate::support::redis::{RedisServer, table};
use crate::support::{APPID, SECRET};

const LIFETIMES: Lifetimes = Lifetimes {
    ttl: Duration::from_hours(7 * 24),
    idle_ttl: None,
};

/// An answer to a login, about.
const ANSWER_BYTES: usize = 200;

/// Questions that are under way at once.
const AT_ONCE: usize = 64;

/// Decrypting with a key that was replaced is no part of this.
const KEY_GRACE: Duration = Duration::ZERO;

/// A Redis, and gates at it.
pub(super) struct Measured {
    redis: RedisServer,
    gates: Vec<Store>,
    logged_in: u32,
}

/// A user, and one of their sessions.
pub(super) struct User {
    key: UserKey,
    session: Arc<Session>,
}

/// What was done in Redis.
#[derive(Clone, Debug, Default)]
pub(super) struct Done {
    /// Calls of each command.
    calls: BTreeMap<String, f64>,
    pub(super) received: f64,
    pub(super) sent: f64,
    /// Microseconds of processor time.
    pub(super) busy: f64,
}

impl Measured {
    pub(super) async fn start(gates: usize) -> Self {
        let redis = RedisServer::start().await;
        let gates: Vec<_> = (0..gates).map(|_| open(&redis)).collect();
        until("the gates are connected", || {
            gates.iter().all(|gate| gate.takes_logins().is_ok())
        })
        .await;
        let logged_in = 0;
        Self {
            redis,
            gates,
            logged_in,
        }
    }

    /// Claims as many login codes, and settles each with an answer.
    pub(super) async fn redeem(&self, codes: usize) {
        let app = AppId::parse(APPID).unwrap();
        for number in 0..codes {
            let code = LoginCode::parse(&format!("{number:032}")).unwrap();
            let digest = CodeDigest::of(&app, &code);
            let claim = self.gates[0].claim(&digest).await.unwrap();
            let Claim::Mine(Some(lease)) = claim else {
                panic!("{claim:?}")
            };
            let answer = SealedAnswer::seal(&app, &code, &[b'a'; ANSWER_BYTES]);
            let kept_for = Some((&answer, Duration::from_secs(10)));
            self.gates[0].settle(lease, kept_for).await;
        }
    }

    /// Logs new users in at the first gate.
    pub(super) async fn log_in(&mut self, users: u32, unionid: bool) -> Vec<User> {
        let mut all = Vec::new();
        for _ in 0..users {
            self.logged_in += 1;
            let number = self.logged_in;
            let app = AppId::parse(APPID).unwrap();
            let openid = OpenId::parse(&format!("oS14{number:024}")).unwrap();
            let user = UserKey::new(&app, &openid);
            let unionid = unionid.then(|| UnionId::parse(&format!("oU14{number:024}")).unwrap());
            all.push(self.begin(user, unionid).await);
        }
        all
    }

    /// Logs them in once more.
    pub(super) async fn log_in_again(&self, users: &[User]) -> Vec<User> {
        let mut all = Vec::new();
        for user in users {
            let unionid = user.session.holder().unionid.clone();
            all.push(self.begin(user.key.clone(), unionid).await);
        }
        all
    }

    async fn begin(&self, user: UserKey, unionid: Option<UnionId>) -> User {
        let [gate, ..] = &self.gates[..] else {
            panic!("no gate")
        };
        let now = Clock::System.now();
        let (_, digest) = token::issue_fitting(gate.fitting(&user));
        let holder = Holder {
            app: user.app().clone(),
            openid: user.openid().clone(),
            unionid,
        };
        let session = Arc::new(Session::begin(digest, holder, now));
        let login = Login {
            session: Arc::clone(&session),
            key: SessionKey::new([7; 16]),
            redeemed: now,
            replaces: None,
            max_per_user: Some(10),
        };
        gate.begin(login, now, &LIFETIMES).await.unwrap();
        User { key: user, session }
    }

    /// Shows each of the sessions to the last gate, which has not seen it.
    pub(super) async fn see(&self, users: &[User]) {
        let gate = self.gates.last().unwrap();
        for user in users {
            let digest = user.session.digest();
            let seen = gate.first_sight(digest, &LIFETIMES).await.unwrap();
            assert!(seen.is_some());
        }
    }

    /// The same, many at a time.
    pub(super) async fn see_at_once(&self, users: &[User]) {
        let gate = self.gates.last().unwrap();
        let seen = stream::iter(users).map(async |user| {
            let digest = user.session.digest();
            gate.first_sight(digest, &LIFETIMES).await
        });
        let seen: Vec<_> = seen.buffer_unordered(AT_ONCE).collect().await;
        assert!(seen.iter().all(|seen| matches!(seen, Ok(Some(_)))));
    }

    /// Finds each of the sessions at the first gate, which knows it.
    pub(super) fn find(&self, users: &[User]) {
        for user in users {
            let digest: &TokenDigest = user.session.digest();
            let found = self.gates[0].find(digest, Clock::System.now(), &LIFETIMES);
            assert!(matches!(found, Found::Live(_)), "{found:?}");
        }
    }

    /// Gets the session keys of each.
    pub(super) async fn keys(&self, users: &[User]) {
        for user in users {
            let keys = self.gates[0].keys(&user.key, Clock::System.now(), KEY_GRACE);
            assert_eq!(keys.await.unwrap().len(), 1);
        }
    }

    pub(super) async fn end(&self, users: &[User]) {
        for user in users {
            let ended = self.gates[0].end(&user.session).await;
            assert_eq!(ended, Ended::Everywhere);
        }
    }

    pub(super) async fn end_all(&self, users: &[User]) {
        for user in users {
            let (_, ended) = self.gates[0].end_all(&user.key).await;
            assert_eq!(ended, Ended::Everywhere);
        }
    }

    /// What was done since then, for each of so many.
    pub(super) fn since(&self, before: &Done, each_of: usize) -> Done {
        let after = self.done();
        let each = |after: f64, before: f64| (after - before) / number(each_of);
        let calls = after.calls.iter().map(|(command, calls)| {
            let before = before.calls.get(command).copied().unwrap_or_default();
            (command.clone(), each(*calls, before))
        });
        Done {
            calls: calls.collect(),
            received: each(after.received, before.received),
            sent: each(after.sent, before.sent),
            busy: each(after.busy, before.busy),
        }
    }

    pub(super) fn done(&self) -> Done {
        let stats: String = self.redis.ask("INFO commandstats");
        let calls = stats.lines().filter_map(|line| {
            let (command, figures) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            let (calls, _) = figures.split_once(',')?;
            Some((command.to_owned(), calls.parse().ok()?))
        });
        let seconds = self.figure("cpu", "used_cpu_user:") + self.figure("cpu", "used_cpu_sys:");
        Done {
            calls: calls.collect(),
            received: self.figure("stats", "total_net_input_bytes:"),
            sent: self.figure("stats", "total_net_output_bytes:"),
            busy: seconds * 1e6,
        }
    }

    fn figure(&self, section: &str, name: &str) -> f64 {
        let info: String = self.redis.ask(&format!("INFO {section}"));
        let line = info.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().parse().unwrap()
    }

    /// Bytes that Redis uses, but for what comes and goes with connections.
    pub(super) fn memory(&self) -> f64 {
        self.figure("memory", "used_memory:") - self.figure("memory", "mem_clients_normal:")
    }

    /// Bytes of a key of this kind, on the average, as Redis says.
    pub(super) fn usage(&self, kind: &str) -> f64 {
        let keys: Vec<String> = self.redis.ask(&format!("KEYS *}}{kind}:*"));
        let usage = |key: &String| self.redis.ask::<f64>(&format!("MEMORY USAGE {key}"));
        keys.iter().map(usage).sum::<f64>() / number(keys.len())
    }
}

impl Done {
    /// The commands, those of a script after it. What gates at rest do each second is not enough to count.
    pub(super) fn commands(&self) -> String {
        let often = self.calls.iter().filter(|(_, calls)| **calls >= 0.5);
        let mut told: Vec<_> = often
            .map(|(command, calls)| match calls.round() {
                1.0 => command.to_uppercase(),
                calls => format!("{calls} {}", command.to_uppercase()),
            })
            .collect();
        match told.iter().position(|command| command == "EVALSHA") {
            Some(at) => {
                let script = told.remove(at);
                format!("{script}: {}", told.join(", "))
            }
            None if told.is_empty() => "nothing".to_owned(),
            None => told.join(", "),
        }
    }
}

fn open(redis: &RedisServer) -> Store {
    let shortest = format!(
        "[upstream]\nurl = \"http://127.0.0.1:1\"\n[[apps]]\nappid = \"{APPID}\"\nsecret = \"{SECRET}\"\n"
    );
    let text = shortest + &table(&redis.url(), "timeout = \"10s\"\nlocal_cache_ttl = \"1h\"");
    let loaded = config::parse(&text, std::path::Path::new("test.toml"), []).unwrap();
    let settings = loaded.config.store;
    let around = Surroundings {
        runtime: Handle::current(),
        clock: Clock::System,
        counts: Metrics::new(Plan::default()).redis(),
    };
    let (attempt, _attempted) = sync_channel(1);
    let redis = (settings.redis.unwrap(), settings.max_sessions);
    let seal_keys = settings.seal_keys.unwrap();
    Store::Redis(RedisStore::open(redis, &seal_keys, around, attempt))
}
