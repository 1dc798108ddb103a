//! What can happen to gates and their Redis, under load, with real processes: nobody who is logged in
//! notices, and no session is taken for longer than a copy is believed after its client was told that
//! it is over.

use std::time::Duration;

use tokio::time::Instant;

use crate::stores::load::{LOCAL_CACHE_TTL, Load, Tally};
use crate::support::Setup;
use crate::support::process::Gate;
use crate::support::redis::{RedisServer, table};

/// Logouts that are acknowledged before something happens, and after it.
const SOME: usize = 10;

/// With this in the environment, Redis is away for longer: `tests/run --long` sets it.
const LONG: &str = "WXGATE_TESTS_LONG";

/// For how long Redis is away. Longer than a copy is believed, so that it shows who believes an old one.
fn outage() -> Duration {
    let is_long = std::env::var_os(LONG).is_some();
    Duration::from_secs(if is_long { 10 } else { 3 })
}

/// How long Redis may take to answer.
const TIMEOUT: Duration = Duration::from_millis(300);

/// A Redis that has kept what it has confirmed.
const KEEPING: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

/// The configuration of gates at this Redis.
fn at(redis: &RedisServer) -> String {
    let timeout = TIMEOUT.as_millis();
    let ttl = LOCAL_CACHE_TTL.as_millis();
    let keys = format!("timeout = \"{timeout}ms\"\nlocal_cache_ttl = \"{ttl}ms\"");
    table(&redis.url(), &keys)
}

async fn three(redis: &RedisServer) -> [Gate; 3] {
    let gate = || Gate::start(Setup::with(&at(redis)));
    tokio::join!(gate(), gate(), gate()).into()
}

#[expect(
    clippy::print_stdout,
    reason = "how much was asked is for whoever looks, and no test"
)]
fn print(what: &str, tally: &Tally) {
    println!(
        "{what}: {} requests ({} taken, {} 503, {} cut), {} endings ({} acknowledged, {} 503), \
         latest use after an acknowledged end {} ms, slowest known session {} ms",
        tally.requests,
        tally.taken,
        tally.unavailable,
        tally.cut,
        tally.endings,
        tally.acknowledged,
        tally.unconfirmed,
        tally.latest_use.as_millis(),
        tally.slowest.as_millis(),
    );
}

/// After whatever has happened: logouts are acknowledged again, and none before has been forgotten.
async fn all_is_well_again(load: &mut Load) -> Tally {
    load.acknowledges(SOME).await;
    load.lasts(LOCAL_CACHE_TTL).await;
    let tally = load.finish().await;
    load.everything_is_as_it_should_be().await;
    tally
}

#[tokio::test]
async fn nobody_notices_that_redis_was_killed_and_no_ended_session_is_back() {
    let redis = RedisServer::start_with(&KEEPING).await;
    let gates = three(&redis).await;
    let mut load = Load::start(&gates.each_ref()).await;
    load.acknowledges(SOME).await;
    redis.kill();
    load.lasts(outage()).await;
    redis.run().await;
    let tally = all_is_well_again(&mut load).await;
    assert!(tally.unconfirmed > 0, "{tally:?}");
    print("redis killed", &tally);
}

#[tokio::test]
async fn nobody_is_logged_out_by_a_dead_redis_and_everybody_by_an_empty_one() {
    let redis = RedisServer::start().await;
    let gates = three(&redis).await;
    let mut load = Load::start(&gates.each_ref()).await;
    load.acknowledges(SOME).await;
    redis.kill();
    load.round().await;
    let tally = load.finish().await;
    print("redis killed, and then empty", &tally);
    redis.run().await;
    // Who comes first may come before the gate has noticed.
    for gate in &gates {
        gate.sees_redis(true).await;
    }
    load.all_are_over().await;
    let mut anew = Load::start(&gates.each_ref()).await;
    anew.acknowledges(SOME).await;
    anew.finish().await;
    anew.everything_is_as_it_should_be().await;
}

#[tokio::test]
async fn nobody_notices_that_redis_stands_still_and_no_ended_session_is_taken_for_it() {
    let redis = RedisServer::start().await;
    let gates = three(&redis).await;
    let mut load = Load::start(&gates.each_ref()).await;
    // A moment, as long as it takes to be noticed, again and again; and then for long.
    for _ in 0..3 {
        load.acknowledges(3).await;
        redis.freeze();
        load.goes_on_for(TIMEOUT + TIMEOUT / 3).await;
        redis.thaw();
    }
    load.acknowledges(3).await;
    redis.freeze();
    load.lasts(outage()).await;
    redis.thaw();
    let tally = all_is_well_again(&mut load).await;
    assert!(tally.unconfirmed > 0, "{tally:?}");
    print("redis stopped", &tally);
}

#[tokio::test]
async fn a_gate_that_is_killed_takes_nobody_with_it_and_neither_does_a_new_one() {
    let redis = RedisServer::start().await;
    let [first, second, third] = three(&redis).await;
    let mut load = Load::start(&[&first, &second, &third]).await;
    load.acknowledges(SOME).await;
    load.doom(&third);
    third.program.signal("KILL").await;
    load.until("somebody notices", |tally| tally.cut > 0).await;
    load.acknowledges(SOME).await;
    load.round().await;
    assert_eq!(load.gates(), 2);
    let fourth = Gate::start(Setup::with(&at(&redis))).await;
    load.add(&fourth);
    let tally = all_is_well_again(&mut load).await;
    assert_eq!((tally.unavailable, tally.unconfirmed), (0, 0), "{tally:?}");
    print("gate killed", &tally);
}

#[tokio::test]
async fn a_gate_that_hears_of_an_ending_and_of_the_end_of_redis_at_once_hears_both() {
    let redis = RedisServer::start().await;
    // Which of the two comes first is chance.
    for _ in 0..24 {
        let gate = || Gate::start(Setup::with(&at(&redis)));
        let (first, second) = tokio::join!(gate(), gate());
        let token = first.login("alice").await;
        let taken = async |gate: &Gate| gate.get("/me").bearer(&token).send().await.status;
        assert_eq!(taken(&second).await, 200);
        second.program.signal("STOP").await;
        let logout = first.request("POST", "/wx/logout").bearer(&token);
        assert_eq!(logout.send().await.status, 204);
        let over = Instant::now();
        redis.kill();
        second.program.signal("CONT").await;
        while taken(&second).await == 200 {
            assert!(over.elapsed() < LOCAL_CACHE_TTL, "taken though it is over");
        }
        redis.run().await;
    }
}
