//! A push that comes to several gates: one delivers it, and the others know. None is lost because a gate
//! or Redis is.

use tokio::time::Instant;
use wxgate::domain::clock::Clock;

use crate::push::app::{App, Then, setup};
use crate::push::wechat::{OPENID, Wechat, message};
use crate::support::app::until;
use crate::support::process::Gate;
use crate::support::raw::Answer;
use crate::support::redis::RedisServer;
use crate::support::{STUCK, World};

const FAILS: &str = "HTTP/1.1 500 Failed\r\nContent-Length: 0\r\n\r\n";

/// What is asked of Redis about pushes.
const ASKED: &str = "wxgate_redis_requests_total";

/// Two gates at one Redis and one app server.
struct Two {
    redis: RedisServer,
    app: App,
    gates: [World; 2],
}

impl Two {
    async fn start(push: &str) -> Self {
        let (redis, app) = (RedisServer::start().await, App::start().await);
        let toml = format!("{push}\n{}", redis.table());
        let first = setup(&app, "safe", &toml).start().await;
        let second = setup(&app, "safe", &toml).start().await;
        let gates = [first, second];
        Self { redis, app, gates }
    }

    /// The key of the only push that Redis knows of.
    fn key(&self) -> String {
        let keys: Vec<String> = self.redis.ask("KEYS wxgate:p:*");
        assert_eq!(keys.len(), 1);
        keys.into_iter().next().unwrap()
    }

    async fn lose_redis(&self) {
        self.redis.kill();
        for gate in &self.gates {
            gate.sees_redis(false).await;
        }
    }
}

async fn push(world: &World, id: u64) -> Answer {
    let pushed = Wechat::of(world).sealed(&message(false, id), "");
    pushed.to(world).send().await
}

async fn pushed_well(world: &World, id: u64) {
    let answer = push(world, id).await;
    assert_eq!((answer.status, &*answer.text()), (200, "success"));
}

/// Repeats it until it is taken, as WeChat does where another gate has it.
async fn pushed_in_the_end(world: &World, id: u64) {
    let begun = Instant::now();
    loop {
        let answer = push(world, id).await;
        if answer.status == 200 {
            return assert_eq!(answer.text(), "success");
        }
        answer.is_refused(503, "overloaded", "retry");
        assert!(begun.elapsed() < STUCK);
    }
}

#[tokio::test]
async fn a_push_that_is_repeated_at_another_gate_is_delivered_once() {
    for ack in ["upstream", "immediate"] {
        let two = Two::start(&format!("ack = \"{ack}\"")).await;
        let [first, second] = &two.gates;
        pushed_well(first, 1).await;
        for gate in [second, first, second] {
            pushed_in_the_end(gate, 1).await;
        }
        // What comes after them has come: had they been delivered again, they would have come first.
        pushed_well(second, 2).await;
        until("both are there", || two.app.count() >= 2).await;
        let arrived: Vec<_> = two.app.arrived().into_iter().map(|it| it.body).collect();
        assert_eq!(arrived.len(), 2, "{ack}");
        assert!(arrived.contains(&message(false, 1)) && arrived.contains(&message(false, 2)));
    }
}

#[tokio::test]
async fn a_repeat_while_another_gate_delivers_is_neither_delivered_nor_taken() {
    let two = Two::start("").await;
    let [first, second] = &two.gates;
    two.app.next([Then::Waits]);
    let begun = Wechat::of(first).sealed(&message(false, 1), "");
    let mut begun = begun.to(first).begin().await;
    until("it has arrived", || two.app.count() == 1).await;
    for _ in 0..2 {
        push(second, 1).await.is_refused(503, "overloaded", "retry");
    }
    // Others are not in each other's way.
    pushed_well(second, 2).await;
    two.app.go_on();
    assert_eq!(begun.answer().await.text(), "success");
    pushed_in_the_end(second, 1).await;
    assert_eq!(two.app.count(), 2);
}

#[tokio::test]
async fn a_push_that_was_not_taken_is_delivered_when_it_is_repeated_at_another_gate() {
    let two = Two::start("").await;
    let [first, second] = &two.gates;
    two.app.next([Then::Says(FAILS)]);
    push(first, 1)
        .await
        .is_refused(502, "upstream_failed", "retry");
    pushed_in_the_end(second, 1).await;
    assert_eq!(two.app.count(), 2);
    // From now on it is taken.
    pushed_in_the_end(first, 1).await;
    assert_eq!(two.app.count(), 2);
}

#[tokio::test]
async fn what_a_gate_was_delivering_when_it_was_killed_is_delivered_by_another() {
    let two = Two::start("").await;
    let [_, second] = &two.gates;
    let toml = two.redis.table();
    let mut killed = Gate::start(setup(&two.app, "safe", &toml)).await;
    two.app.next([Then::Waits]);
    let pushed = Wechat::at(&Clock::System).sealed(&message(false, 1), "");
    let begun = pushed.to_address(killed.address).begin().await;
    until("it has arrived", || two.app.count() == 1).await;
    killed.program.kill().await;
    push(second, 1).await.is_refused(503, "overloaded", "retry");
    // The claim ends by itself, before WeChat's third try; not before a delivery is over.
    let key = two.key();
    let left: u64 = two.redis.ask(&format!("PTTL {key}"));
    assert!((1..10_000).contains(&left), "{left}");
    two.redis.ask::<()>(&format!("PEXPIRE {key} 1"));
    pushed_in_the_end(second, 1).await;
    assert_eq!(two.app.count(), 2);
    drop(begun);
}

#[tokio::test]
async fn a_gate_that_has_lost_its_claim_gives_back_nobody_elses() {
    let two = Two::start("").await;
    let [first, second] = &two.gates;
    two.app.next([Then::Waits, Then::Waits]);
    let mut begun = Vec::new();
    for (gate, arrived) in [(first, 1), (second, 2)] {
        let pushed = Wechat::of(gate).sealed(&message(false, 1), "");
        begun.push(pushed.to(gate).begin().await);
        until("it has arrived", || two.app.count() == arrived).await;
        if arrived == 1 {
            // As if it had taken too long.
            let gone: u64 = two.redis.ask(&format!("DEL {}", two.key()));
            assert_eq!(gone, 1);
        }
    }
    let claim: String = two.redis.ask(&format!("GET {}", two.key()));
    // The sender hangs up: it is not delivered.
    drop(begun.remove(0));
    let labels = [("operation", "push"), ("result", "ok")];
    first.counts(ASKED, &labels, 2.0).await;
    let still: String = two.redis.ask(&format!("GET {}", two.key()));
    assert_eq!(still, claim);
    push(first, 1).await.is_refused(503, "overloaded", "retry");
}

#[tokio::test]
async fn while_redis_is_away_pushes_are_delivered_and_each_gate_knows_its_own() {
    let two = Two::start("").await;
    let [first, second] = &two.gates;
    two.lose_redis().await;
    for _ in 0..2 {
        pushed_well(first, 1).await;
        assert_eq!(two.app.count(), 1);
    }
    for _ in 0..2 {
        pushed_well(second, 1).await;
        assert_eq!(two.app.count(), 2);
    }
    two.app.next([Then::Says(FAILS)]);
    push(first, 2)
        .await
        .is_refused(502, "upstream_failed", "retry");
    pushed_well(first, 2).await;
    assert_eq!(two.app.count(), 4);
}

#[tokio::test]
async fn a_redis_that_answers_nothing_or_goes_away_meanwhile_stops_no_push() {
    let two = Two::start("").await;
    let [first, _] = &two.gates;
    two.redis.freeze();
    pushed_well(first, 1).await;
    pushed_well(first, 1).await;
    assert_eq!(two.app.count(), 1);
    two.redis.thaw();
    first.sees_redis(true).await;
    two.app.next([Then::Waits]);
    let begun = Wechat::of(first).sealed(&message(false, 2), "");
    let mut begun = begun.to(first).begin().await;
    until("it has arrived", || two.app.count() == 2).await;
    two.lose_redis().await;
    two.app.go_on();
    assert_eq!(begun.answer().await.text(), "success");
    pushed_well(first, 2).await;
    assert_eq!(two.app.count(), 2);
}

#[tokio::test]
async fn what_a_gate_delivered_while_redis_was_away_others_know_if_it_is_back_by_then() {
    let two = Two::start("").await;
    let [first, second] = &two.gates;
    two.lose_redis().await;
    two.app.next([Then::Waits]);
    let begun = Wechat::of(first).sealed(&message(false, 1), "");
    let mut begun = begun.to(first).begin().await;
    until("it has arrived", || two.app.count() == 1).await;
    two.redis.run().await;
    for gate in &two.gates {
        gate.sees_redis(true).await;
    }
    two.app.go_on();
    assert_eq!(begun.answer().await.text(), "success");
    pushed_in_the_end(second, 1).await;
    assert_eq!(two.app.count(), 1);
}

#[tokio::test]
async fn nothing_that_a_push_says_is_in_redis_and_it_stays_for_as_long_as_its_stamp_could_pass() {
    let two = Two::start("").await;
    let [first, _] = &two.gates;
    pushed_well(first, 1).await;
    let labels = [("operation", "push"), ("result", "ok")];
    first.counts(ASKED, &labels, 2.0).await;
    let left: u64 = two.redis.ask(&format!("PTTL {}", two.key()));
    assert!(left > 6 * 60 * 1000, "{left}");
    for said in [OPENID, "gh_1", "你好", "MsgId"] {
        let said = said.as_bytes();
        for entry in two.redis.dump() {
            assert!(!entry.windows(said.len()).any(|it| it == said));
        }
    }
}
