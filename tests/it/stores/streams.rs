//! A stream ends with its session also at a gate that has missed the end.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use wxgate::crypto::token;
use wxgate::domain::clock::{Clock, HeldClock};
use wxgate::domain::secret::SessionKey;
use wxgate::domain::session::{Holder, Live, Session};
use wxgate::store::streams::Stream;
use wxgate::store::{Login, Store};

use crate::stores::model::{LIFETIMES, open, user_key};
use crate::support::STUCK;
use crate::support::app::until;
use crate::support::redis::RedisServer;

struct World {
    redis: RedisServer,
    store: Store,
    clock: HeldClock,
}

impl World {
    async fn start() -> Self {
        let redis = RedisServer::start().await;
        let clock = HeldClock::at(Clock::System.now());
        let world = Self {
            store: open(&redis, &clock),
            redis,
            clock,
        };
        world.connected(true).await;
        world
    }

    async fn connected(&self, expected: bool) {
        let is_so = || self.store.takes_logins().is_ok() == expected;
        until("the gate has noticed Redis", is_so).await;
    }

    fn clock(&self) -> Clock {
        Clock::Held(self.clock.clone())
    }

    async fn login(&self) -> Live {
        let (user, now) = (user_key(1), self.clock().now());
        let (_, digest) = token::issue_fitting(self.store.fitting(&user));
        let holder = Holder {
            app: user.app().clone(),
            openid: user.openid().clone(),
            unionid: None,
        };
        let login = Login {
            session: Arc::new(Session::begin(digest, holder, now)),
            key: SessionKey::new([1; 16]),
            redeemed: now,
            replaces: None,
            max_per_user: None,
        };
        self.store.begin(login, now, &LIFETIMES).await.unwrap();
        let found = self.store.first_sight(&digest, &LIFETIMES).await;
        found.unwrap().unwrap()
    }

    /// Ends all sessions, and tells nobody.
    fn end_unheard(&self) {
        let keys: Vec<String> = self.redis.ask("KEYS *}*");
        for key in keys {
            self.redis.ask::<()>(&format!("DEL {key}"));
        }
    }

    async fn ends(&self, mut stream: Stream) {
        let clock = self.clock();
        let ended = stream.ended(&clock, &LIFETIMES);
        timeout(STUCK, ended).await.expect("the stream goes on");
    }
}

#[tokio::test]
async fn a_stream_that_opens_after_its_session_ended_unheard_ends_at_once() {
    let world = World::start().await;
    let live = world.login().await;
    world.redis.ask::<u64>("CLIENT KILL TYPE pubsub");
    world.end_unheard();
    world.connected(false).await;
    world.connected(true).await;
    world.ends(world.store.open_stream(&live)).await;
}

#[tokio::test]
async fn an_end_that_was_missed_is_found_within_a_minute_by_open_streams() {
    let world = World::start().await;
    let live = world.login().await;
    let stream = world.store.open_stream(&live);
    world.store.sweep(world.clock().now(), &LIFETIMES);
    world.end_unheard();
    world.clock.advance(Duration::from_mins(1));
    world.store.sweep(world.clock().now(), &LIFETIMES);
    world.ends(stream).await;
}
