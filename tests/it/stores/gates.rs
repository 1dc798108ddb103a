//! Several gates that share a Redis: a session of one is a session of all, and so is its end.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::stores::{STALE, gate_at, gate_with, until_listeners};
use crate::support::World;
use crate::support::events::Events;
use crate::support::redis::{RedisServer, table};

/// How long an ending may take to every gate: a message, and time for a busy machine.
const SOON: Duration = Duration::from_millis(100);

/// Three gates at one Redis.
struct Three {
    _redis: RedisServer,
    gates: [World; 3],
}

impl Three {
    async fn start(toml: &str) -> Self {
        let redis = RedisServer::start().await;
        let table = format!("{}{toml}", redis.table());
        let first = crate::support::Setup::with(&table).start().await;
        let (second, third) = (first.beside(&table).await, first.beside(&table).await);
        let gates = [first, second, third];
        Self {
            _redis: redis,
            gates,
        }
    }

    async fn taken(&self, token: &str) -> [u16; 3] {
        let [first, second, third] = &self.gates;
        [
            first.taken(token).await,
            second.taken(token).await,
            third.taken(token).await,
        ]
    }

    /// Logs a user in at one of the gates; the first knows WeChat.
    async fn login(&self, at: usize, user: &str) -> String {
        let code = self.gates[0].code(user);
        self.gates[at].redeem(&code).await.token()
    }

    fn advance(&self, duration: Duration) {
        for gate in &self.gates {
            gate.clock.advance(duration);
        }
    }

    /// Waits until no gate takes this token any more: soon, and not when copies get old.
    async fn refused_everywhere(&self, token: &str) {
        let begun = Instant::now();
        while self.taken(token).await != [401; 3] {
            assert!(begun.elapsed() < SOON, "{:?}", self.taken(token).await);
        }
    }
}

#[tokio::test]
async fn who_has_logged_in_at_one_gate_is_logged_in_at_all() {
    let three = Three::start("").await;
    let token = three.login(0, "alice").await;
    assert_eq!(three.taken(&token).await, [200; 3]);
    for gate in &three.gates {
        let openid = three.gates[0].openid("alice");
        assert_eq!(gate.app.last().header("x-wx-openid"), [openid]);
    }
}

#[tokio::test]
async fn a_logout_at_one_gate_is_one_at_all_within_a_tenth_of_a_second() {
    let three = Three::start("").await;
    for (at, target) in [
        (0, "/wx/logout"),
        (1, "/wx/logout"),
        (2, "/wx/logout?all=true"),
    ] {
        let [mine, bobs] = [three.login(0, "alice").await, three.login(1, "bob").await];
        assert_eq!(three.taken(&mine).await, [200; 3]);
        assert_eq!(three.taken(&bobs).await, [200; 3]);
        let answer = three.gates[at].log_out(target, &mine).await;
        assert_eq!(answer.status, 204, "{answer:?}");
        three.refused_everywhere(&mine).await;
        assert_eq!(three.taken(&bobs).await, [200; 3]);
    }
}

#[tokio::test]
async fn a_login_over_the_cap_ends_the_oldest_session_at_every_gate() {
    let three = Three::start("[session]\nmax_per_user = 2").await;
    let first = three.login(0, "alice").await;
    let second = three.login(1, "alice").await;
    assert_eq!(three.taken(&first).await, [200; 3]);
    let third = three.login(2, "alice").await;
    three.refused_everywhere(&first).await;
    assert_eq!(three.taken(&second).await, [200; 3]);
    assert_eq!(three.taken(&third).await, [200; 3]);
}

#[tokio::test]
async fn a_session_that_is_replaced_at_one_gate_has_its_minute_at_all() {
    let three = Three::start("").await;
    let old = three.login(0, "alice").await;
    assert_eq!(three.taken(&old).await, [200; 3]);
    let code = json!({ "code": three.gates[0].code("alice") });
    let request = three.gates[1].post("/wx/login").bearer(&old).json(&code);
    let new = request.send().await.token();
    // Their clocks differ by as long as it took to start them.
    three.advance(Duration::from_secs(50));
    assert_eq!(three.taken(&old).await, [200; 3]);
    three.advance(Duration::from_secs(20));
    assert_eq!(three.taken(&old).await, [401; 3]);
    assert_eq!(three.taken(&new).await, [200; 3]);
}

#[tokio::test]
async fn a_stream_at_one_gate_breaks_when_its_session_ends_at_another() {
    let three = Three::start("").await;
    let [first, second, _] = &three.gates;
    let (alice, bob) = (first.login("alice").await, first.login("bob").await);
    let of_alice = Events::open(second.get("/events").bearer(&alice)).await;
    let mut of_bob = Events::open(second.get("/events").bearer(&bob)).await;
    assert_eq!(first.log_out("/wx/logout", &alice).await.status, 204);
    of_alice.broken_within_a_second().await;
    until_listeners(second, 1).await;
    second.app.emit("still there");
    assert_eq!(of_bob.next().await, "still there");
}

#[tokio::test]
async fn a_session_in_use_at_one_gate_is_not_idle_at_another() {
    let three = Three::start("[session]\nttl = \"1d\"\nidle_ttl = \"10m\"").await;
    let [first, second, third] = &three.gates;
    let token = first.login("alice").await;
    assert_eq!(three.taken(&token).await, [200; 3]);
    for _ in 0..4 {
        three.advance(Duration::from_mins(4));
        assert_eq!(first.taken(&token).await, 200);
    }
    assert_eq!(second.taken(&token).await, 200);
    three.advance(Duration::from_mins(10));
    assert_eq!(third.taken(&token).await, 401);
}

#[tokio::test]
async fn a_session_of_another_seal_key_is_no_session() {
    let redis = RedisServer::start().await;
    let first = gate_at(&redis).await;
    let token = first.login("alice").await;
    let other_key = redis.table().replace(
        crate::support::redis::SEAL_KEY,
        crate::support::redis::OTHER_SEAL_KEY,
    );
    let other = first.beside(&other_key).await;
    assert_eq!(other.taken(&token).await, 401);
    // What is sealed under the key before is not lost with it.
    let both = format!(
        "previous_seal_key = \"{}\"\n[store.redis]",
        crate::support::redis::SEAL_KEY
    );
    let both = first
        .beside(&other_key.replace("[store.redis]", &both))
        .await;
    assert_eq!(both.taken(&token).await, 200);
}

#[tokio::test]
async fn a_session_that_is_known_costs_no_question_until_its_copy_is_old() {
    let (_redis, world) = gate_with("").await;
    let token = world.login("alice").await;
    let looked = async || {
        let labels = [("operation", "look"), ("result", "ok")];
        let scrape = world.scrape().await;
        scrape.sum("wxgate_redis_requests_total", &labels).unwrap()
    };
    for _ in 0..10 {
        assert_eq!(world.taken(&token).await, 200);
    }
    assert!(looked().await < 0.5);
    world.clock.advance(STALE);
    for _ in 0..10 {
        assert_eq!(world.taken(&token).await, 200);
    }
    assert!((looked().await - 1.0).abs() < 0.5);
}

#[tokio::test]
async fn first_sights_of_one_token_at_once_are_one_question() {
    let redis = RedisServer::start().await;
    let first = gate_at(&redis).await;
    let token = first.login("alice").await;
    let second = first
        .beside(&table(&redis.url(), "timeout = \"10s\""))
        .await;
    // While Redis is stopped they come, and wait. Who comes later finds a copy.
    redis.freeze();
    let mut waiting = Vec::new();
    for _ in 0..8 {
        let request = second.get("/me").bearer(&token);
        waiting.push(request.begin().await);
    }
    redis.thaw();
    for mut connection in waiting {
        assert_eq!(connection.answer().await.status, 200);
    }
    let labels = [("operation", "look"), ("result", "ok")];
    let scrape = second.scrape().await;
    let asked = scrape.sum("wxgate_redis_requests_total", &labels);
    assert_eq!(asked, Some(1.0));
}
