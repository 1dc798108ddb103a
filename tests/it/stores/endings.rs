//! An ending holds, whatever Redis makes of it, has forgotten or has lost; and one that it refuses is
//! nobody else's trouble.

use std::time::Duration;

use redis::Script;

use crate::stores::{GRACE, STALE, gate_at, gate_with};
use crate::support::Setup;
use crate::support::app::until;
use crate::support::process::Gate;
use crate::support::redis::RedisServer;

/// The one key of this kind.
fn only(redis: &RedisServer, kind: &str) -> String {
    let keys: Vec<String> = redis.ask(&format!("KEYS *}}{kind}:*"));
    let [key] = &keys[..] else { panic!("{keys:?}") };
    key.clone()
}

fn make_wrong(redis: &RedisServer, key: &str) {
    redis.ask::<()>(&format!("DEL {key}"));
    redis.ask::<u64>(&format!("LPUSH {key} x"));
}

#[tokio::test]
async fn an_ending_that_redis_refuses_keeps_no_gate_away() {
    for target in ["/wx/logout", "/wx/logout?all=true"] {
        let (redis, world) = gate_with("").await;
        let (mine, bobs) = (world.login("alice").await, world.login("bob").await);
        redis.ask::<()>("CONFIG SET min-replicas-to-write 1");
        let ended = world.log_out(target, &mine).await;
        ended.is_refused(503, "overloaded", "retry");
        redis.ask::<u64>("CLIENT KILL TYPE normal");
        // Which nobody says of it who has to ask Redis and cannot.
        world.becomes(&mine, 401).await;
        world.clock.advance(GRACE);
        world.becomes(&bobs, 200).await;
        redis.ask::<()>("CONFIG SET min-replicas-to-write 0");
        let unconfirmed = "wxgate_redis_unconfirmed_endings";
        world.counts(unconfirmed, &[], 0.0).await;
        let other = world.beside(&redis.table()).await;
        other.all_taken(&[&mine, &bobs], &[401, 200]).await;
    }
}

#[tokio::test]
async fn a_logout_needs_no_list_of_the_users_sessions() {
    let redis = RedisServer::start().await;
    let world = gate_at(&redis).await;
    let other = world.beside(&redis.table()).await;
    let mine = world.login("alice").await;
    assert_eq!(other.taken(&mine).await, 200);
    make_wrong(&redis, &only(&redis, "u"));
    assert_eq!(world.log_out("/wx/logout", &mine).await.status, 204);
    other.becomes(&mine, 401).await;
    world.becomes(&mine, 401).await;
}

#[tokio::test]
async fn a_logout_everywhere_ends_the_session_that_asks_though_no_list_has_it() {
    let redis = RedisServer::start().await;
    let world = gate_at(&redis).await;
    let other = world.beside(&redis.table()).await;
    let mine = world.login("alice").await;
    assert_eq!(other.taken(&mine).await, 200);
    redis.ask::<()>(&format!("DEL {}", only(&redis, "u")));
    let target = "/wx/logout?all=true";
    assert_eq!(world.log_out(target, &mine).await.status, 204);
    other.becomes(&mine, 401).await;
    world.all_taken(&[&mine], &[401]).await;
    assert_eq!(redis.ask::<Vec<String>>("KEYS *}*"), [""; 0]);
}

#[tokio::test]
async fn a_list_that_cannot_be_read_confirms_no_logout_everywhere_and_keeps_nobody_away() {
    let (redis, world) = gate_with("").await;
    let mine = world.login("alice").await;
    make_wrong(&redis, &only(&redis, "u"));
    let bob = world.login("bob").await;
    let ended = world.log_out("/wx/logout?all=true", &mine).await;
    ended.is_refused(503, "overloaded", "retry");
    redis.ask::<u64>("CLIENT KILL TYPE normal");
    world.becomes(&mine, 401).await;
    world.clock.advance(GRACE);
    world.becomes(&bob, 200).await;
}

#[tokio::test]
async fn an_ending_that_a_new_master_has_not_heard_of_is_told_again_by_the_same_connection() {
    for target in ["/wx/logout", "/wx/logout?all=true"] {
        let (redis, world) = gate_with("").await;
        let mine = world.login("alice").await;
        let session = only(&redis, "s");
        let copied = format!("{session}-copy");
        redis.ask::<bool>(&format!("COPY {session} {copied}"));
        assert_eq!(world.log_out(target, &mine).await.status, 204);
        for after in [2, 13, 45] {
            redis.ask::<bool>(&format!("COPY {copied} {session}"));
            world.clock.advance(Duration::from_secs(after));
            let exists = format!("EXISTS {session}");
            let has_ended = || redis.ask::<u64>(&exists) == 0;
            until("the session has ended again", has_ended).await;
            assert_eq!(world.taken(&mine).await, 401);
        }
    }
}

#[tokio::test]
async fn a_full_redis_logs_nobody_out_whose_session_depends_on_its_use() {
    let redis = RedisServer::start().await;
    let toml = format!("{}[session]\nidle_ttl = \"1h\"", redis.table());
    let world = Setup::with(&toml).start().await;
    let mine = world.login("alice").await;
    redis.ask::<()>("CONFIG SET maxmemory-policy noeviction");
    redis.ask::<()>("CONFIG SET maxmemory 1");
    for _ in 0..3 {
        world.clock.advance(STALE);
        assert_eq!(world.taken(&mine).await, 200);
    }
    assert_eq!(world.log_out("/wx/logout", &mine).await.status, 204);
    assert_eq!(world.taken(&mine).await, 401);
}

#[tokio::test]
async fn with_the_last_live_session_goes_what_is_known_of_the_user() {
    let (redis, world) = gate_with("").await;
    let _run_out = world.login("alice").await;
    // As one that has run out.
    redis.ask::<()>(&format!("DEL {}", only(&redis, "s")));
    let second = world.login("alice").await;
    let user = only(&redis, "u");
    redis.ask::<u64>(&format!("HSET {user} run-out 1"));
    let third = world.login("alice").await;
    assert_eq!(world.log_out("/wx/logout", &second).await.status, 204);
    assert_eq!(world.taken(&third).await, 200);
    assert_eq!(world.log_out("/wx/logout", &third).await.status, 204);
    assert_eq!(redis.ask::<Vec<String>>("KEYS *}*"), [""; 0]);
}

#[tokio::test]
async fn a_count_of_logins_that_is_no_number_keeps_nobody_from_logging_in() {
    let redis = RedisServer::start().await;
    let toml = format!("{}[session]\nmax_per_user = 2", redis.table());
    let world = Setup::with(&toml).start().await;
    let first = world.login("alice").await;
    let user = only(&redis, "u");
    redis.ask::<u64>(&format!("HSET {user} logins x"));
    let (second, third) = (world.login("alice").await, world.login("alice").await);
    let tokens = [&*first, &second, &third];
    world.all_taken(&tokens, &[401, 200, 200]).await;
}

/// As a Cluster's client does that loses the connection before the answer.
#[tokio::test]
async fn a_login_that_is_written_down_twice_is_one() {
    let redis = RedisServer::start().await;
    let begin = Script::new(include_str!("../../../src/store/redis/scripts/begin.lua"));
    let mut begin = begin.key("s:new");
    begin.key("u").key("k").arg("s:").arg("told");
    let (now, ttl) = (1_700_000_000_000_u64, 3_600_000);
    begin.arg(now).arg(ttl).arg(ttl).arg("new").arg("record");
    begin.arg(now).arg(1).arg("").arg(now);
    begin.arg("print").arg(now).arg("sealed").arg(3);
    for _ in 0..2 {
        let ended: (String, String) = redis.run_script(&begin);
        assert_eq!(ended, (String::new(), String::new()));
        assert_eq!(redis.ask::<u64>("EXISTS s:new"), 1);
        assert_eq!(redis.ask::<u64>("HLEN u"), 2);
        assert_eq!(redis.ask::<u64>("HLEN k"), 1);
    }
}

#[tokio::test]
async fn a_redis_that_has_forgotten_what_it_wrote_is_named_in_the_log() {
    let redis = RedisServer::start().await;
    let gate = Gate::start(Setup::with(&redis.table())).await;
    redis.ask::<()>("SAVE");
    let count = || redis.ask::<u64>("GET wxgate:probe");
    let saved = count();
    until("it has been looked at", || count() > saved + 1).await;
    let told = "redis has lost its last writes";
    assert!(!gate.program.said().contains(told));
    redis.kill();
    redis.run().await;
    gate.program.line(told).await;
}

#[tokio::test]
async fn a_redis_that_may_let_go_of_sessions_is_named_in_the_log() {
    let redis = RedisServer::start().await;
    let told = "set maxmemory-policy noeviction";
    let gate = Gate::start(Setup::with(&redis.table())).await;
    gate.program.line("connected to redis").await;
    assert!(!gate.program.said().contains(told));
    redis.ask::<()>("CONFIG SET maxmemory-policy allkeys-lru");
    let gate = Gate::start(Setup::with(&redis.table())).await;
    gate.program.line(told).await;
}
