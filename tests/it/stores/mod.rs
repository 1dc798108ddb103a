//! Where sessions are kept: the same promises for every kind of store, and what a store that can go
//! away adds to them.

mod cluster;
mod codes;
mod contract;
mod endings;
mod faults;
mod gates;
mod load;
mod model;
mod pushes;
mod reached;
mod sealed;
mod sentinels;
mod streams;
mod under_load;

use std::time::Duration;

use crate::support::app::until;
use crate::support::raw::Answer;
use crate::support::redis::RedisServer;
use crate::support::{Setup, World};

/// Longer than a copy is believed.
const STALE: Duration = Duration::from_secs(11);

/// Longer than a gate goes on without Redis.
const GRACE: Duration = Duration::from_mins(6);

impl World {
    /// Whether this token is taken: 200, or why not.
    async fn taken(&self, token: &str) -> u16 {
        let answer = self.get("/me").bearer(token).send().await;
        match answer.status {
            200 => {}
            401 => answer.is_refused(401, "session_expired", "relogin"),
            _ => overloaded(&answer),
        }
        answer.status
    }

    async fn all_taken(&self, tokens: &[&str], expected: &[u16]) {
        let mut found = Vec::new();
        for token in tokens {
            found.push(self.taken(token).await);
        }
        assert_eq!(found, expected);
    }

    async fn log_out(&self, target: &str, token: &str) -> Answer {
        self.post(target).bearer(token).send().await
    }

    /// Another gate for the same mini program, its app server and its users apart.
    async fn beside(&self, toml: &str) -> Self {
        let setup = Setup {
            wechat_url: Some(self.wechat_url()),
            ..Setup::with(toml)
        };
        setup.start().await
    }

    /// Waits until this token is answered so. A clock that is held does not wait for itself.
    async fn becomes(&self, token: &str, expected: u16) {
        let begun = tokio::time::Instant::now();
        while self.taken(token).await != expected {
            assert!(begun.elapsed() < crate::support::STUCK, "never {expected}");
        }
    }

    /// Waits until the gate has noticed that Redis is away, or there again.
    async fn sees_redis(&self, connected: bool) {
        let expected = if connected { 1.0 } else { 0.0 };
        self.counts("wxgate_redis_connected", &[], expected).await;
    }

    async fn readiness(&self) -> u16 {
        self.ask_admin("GET", "/readyz").await.status
    }
}

/// A refusal for which the client is not to blame, and after which it does not log in again.
#[track_caller]
fn overloaded(answer: &Answer) {
    answer.is_refused(503, "overloaded", "retry");
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=5).contains(&seconds), "{answer:?}");
}

/// A gate with sessions in this Redis.
async fn gate_at(redis: &RedisServer) -> World {
    Setup::with(&redis.table()).start().await
}

/// A gate with sessions in a Redis of its own, and further keys of `[store.redis]`.
async fn gate_with(keys: &str) -> (RedisServer, World) {
    let redis = RedisServer::start().await;
    let table = crate::support::redis::table(&redis.url(), keys);
    let world = Setup::with(&table).start().await;
    (redis, world)
}

async fn until_listeners(world: &World, count: usize) {
    until("listeners", || world.app.listeners() == count).await;
}
