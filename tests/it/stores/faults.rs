//! A Redis that is slow, away, full, empty or another: nothing is let through for it, nobody is logged
//! out for it, and nothing has to be restarted when it is back.

use serde_json::json;

use crate::stores::{GRACE, STALE, gate_at, gate_with, overloaded};
use crate::support::Setup;
use crate::support::events::Events;
use crate::support::redis::{RedisServer, table};

#[tokio::test]
async fn while_redis_is_away_known_sessions_go_on_and_nothing_is_said_of_others() {
    let redis = RedisServer::start().await;
    let world = gate_at(&redis).await;
    let (known, expected) = (world.login("alice").await, 200);
    let other = world.beside(&redis.table()).await;
    let unseen = other.redeem(&world.code("bob")).await.token();
    redis.kill();
    world.sees_redis(false).await;
    let unknown = format!("wxg_{}", "A".repeat(43));
    let tokens = [&*known, &unseen, &unknown];
    world.all_taken(&tokens, &[expected, 503, 503]).await;
    world.clock.advance(STALE);
    world.all_taken(&tokens, &[expected, 503, 503]).await;
    assert_eq!(world.readiness().await, 200);
    world.clock.advance(GRACE);
    world.all_taken(&tokens, &[503, 503, 503]).await;
    assert_eq!(world.readiness().await, 503);
}

#[tokio::test]
async fn a_session_does_not_outlive_itself_while_redis_is_away() {
    let redis = RedisServer::start().await;
    let toml = format!("{}[session]\nttl = \"1m\"", redis.table());
    let world = Setup::with(&toml).start().await;
    let token = world.login("alice").await;
    redis.kill();
    world.sees_redis(false).await;
    world.clock.advance(std::time::Duration::from_secs(59));
    assert_eq!(world.taken(&token).await, 200);
    world.clock.advance(std::time::Duration::from_secs(1));
    assert_eq!(world.taken(&token).await, 401);
}

#[tokio::test]
async fn without_a_grace_nobody_is_known_while_redis_is_away() {
    let (redis, world) = gate_with("outage_grace = \"0\"").await;
    let token = world.login("alice").await;
    redis.kill();
    world.sees_redis(false).await;
    assert_eq!(world.taken(&token).await, 503);
    assert_eq!(world.readiness().await, 503);
}

#[tokio::test]
async fn a_login_while_redis_is_away_uses_no_code_up() {
    let redis = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let world = gate_at(&redis).await;
    redis.kill();
    world.sees_redis(false).await;
    let code = world.code("alice");
    overloaded(&world.redeem(&code).await);
    assert_eq!(world.wechat.calls(), 0);
    redis.run().await;
    world.sees_redis(true).await;
    let token = world.redeem(&code).await.token();
    assert_eq!(world.taken(&token).await, 200);
}

#[tokio::test]
async fn when_redis_is_back_everything_goes_on_without_a_restart() {
    let redis = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let world = gate_at(&redis).await;
    let token = world.login("alice").await;
    let other = world.beside(&redis.table()).await;
    for _ in 0..2 {
        redis.kill();
        for gate in [&world, &other] {
            gate.sees_redis(false).await;
        }
        redis.run().await;
        for gate in [&world, &other] {
            gate.sees_redis(true).await;
            assert_eq!(gate.taken(&token).await, 200);
        }
    }
    let scrape = world.scrape().await;
    assert_eq!(scrape.sum("wxgate_redis_emptied_total", &[]), Some(0.0));
}

#[tokio::test]
async fn a_redis_that_came_back_empty_has_ended_all_sessions_and_that_is_told() {
    let redis = RedisServer::start().await;
    let world = gate_at(&redis).await;
    let token = world.login("alice").await;
    let events = Events::open(world.get("/events").bearer(&token)).await;
    redis.kill();
    world.sees_redis(false).await;
    assert_eq!(world.taken(&token).await, 200);
    redis.run().await;
    world.sees_redis(true).await;
    assert_eq!(world.taken(&token).await, 401);
    events.broken_within_a_second().await;
    world.counts("wxgate_redis_emptied_total", &[], 1.0).await;
    let anew = world.login("alice").await;
    assert_eq!(world.taken(&anew).await, 200);
}

#[tokio::test]
async fn a_redis_that_is_emptied_while_it_runs_has_ended_all_sessions() {
    let (redis, world) = gate_with("").await;
    let token = world.login("alice").await;
    redis.ask::<()>("FLUSHALL");
    world.becomes(&token, 401).await;
    world.counts("wxgate_redis_emptied_total", &[], 1.0).await;
}

#[tokio::test]
async fn a_redis_that_answers_nothing_is_away_and_nobody_waits_for_it() {
    let (redis, world) = gate_with("timeout = \"100ms\"").await;
    let token = world.login("alice").await;
    redis.freeze();
    world.sees_redis(false).await;
    assert_eq!(world.taken(&token).await, 200);
    let code = world.code("alice");
    overloaded(&world.redeem(&code).await);
    redis.thaw();
    world.sees_redis(true).await;
    assert_eq!(world.taken(&token).await, 200);
    let anew = world.redeem(&code).await.token();
    assert_eq!(world.taken(&anew).await, 200);
}

#[tokio::test]
async fn a_logout_while_redis_is_away_holds_here_at_once_and_everywhere_when_it_is_back() {
    // The session that asks for the end of all is told by itself too.
    for (target, endings) in [("/wx/logout", 1.0), ("/wx/logout?all=true", 2.0)] {
        let redis = RedisServer::start().await;
        let world = gate_at(&redis).await;
        let other = world.beside(&redis.table()).await;
        let (mine, bobs) = (world.login("alice").await, world.login("bob").await);
        other.all_taken(&[&mine, &bobs], &[200, 200]).await;
        let events = Events::open(world.get("/events").bearer(&mine)).await;
        redis.freeze();
        for gate in [&world, &other] {
            gate.sees_redis(false).await;
        }
        let ended = world.log_out(target, &mine).await;
        ended.is_refused(503, "overloaded", "retry");
        events.broken_within_a_second().await;
        // Unknown is what it is here now, and nothing is said of that.
        world.all_taken(&[&mine, &bobs], &[503, 200]).await;
        let unconfirmed = "wxgate_redis_unconfirmed_endings";
        world.counts(unconfirmed, &[], endings).await;
        redis.thaw();
        world.sees_redis(true).await;
        world.all_taken(&[&mine, &bobs], &[401, 200]).await;
        world.counts(unconfirmed, &[], 0.0).await;
        other.sees_redis(true).await;
        other.all_taken(&[&mine, &bobs], &[401, 200]).await;
    }
}

#[tokio::test]
async fn a_logout_that_redis_has_forgotten_is_told_again() {
    for target in ["/wx/logout", "/wx/logout?all=true"] {
        let redis = RedisServer::start().await;
        let world = gate_at(&redis).await;
        let other = world.beside(&redis.table()).await;
        let (mine, bobs) = (world.login("alice").await, world.login("bob").await);
        other.all_taken(&[&mine, &bobs], &[200, 200]).await;
        // What a replica may be like that takes its master's place: as it was a moment ago.
        redis.ask::<()>("SAVE");
        assert_eq!(world.log_out(target, &mine).await.status, 204);
        redis.kill();
        for gate in [&world, &other] {
            gate.sees_redis(false).await;
        }
        redis.run().await;
        for gate in [&world, &other] {
            gate.sees_redis(true).await;
        }
        world.all_taken(&[&mine, &bobs], &[401, 200]).await;
        other.becomes(&mine, 401).await;
        other.becomes(&bobs, 200).await;
    }
}

#[tokio::test]
async fn a_stream_breaks_when_its_session_can_no_longer_be_believed() {
    let redis = RedisServer::start().await;
    let world = gate_at(&redis).await;
    let token = world.login("alice").await;
    let mut events = Events::open(world.get("/events").bearer(&token)).await;
    redis.kill();
    world.sees_redis(false).await;
    world.app.emit("still there");
    assert_eq!(events.next().await, "still there");
    world.clock.advance(GRACE);
    world.app.emit("while nobody looks");
    // The next attempt to connect is two seconds away at the most.
    crate::stores::until_listeners(&world, 0).await;
}

#[tokio::test]
async fn a_session_that_ended_while_a_gate_did_not_listen_is_not_taken_there() {
    let redis = RedisServer::start().await;
    let world = gate_at(&redis).await;
    let other = world.beside(&redis.table()).await;
    let (mine, bobs) = (world.login("alice").await, world.login("bob").await);
    other.all_taken(&[&mine, &bobs], &[200, 200]).await;
    // Every connection of both is cut, and what is told before the other listens again is lost on it.
    redis.ask::<u64>("CLIENT KILL TYPE pubsub");
    redis.ask::<u64>("CLIENT KILL TYPE normal");
    let ended = world.log_out("/wx/logout", &mine).await.status;
    assert!([204, 503].contains(&ended), "{ended}");
    for gate in [&world, &other] {
        gate.becomes(&mine, 401).await;
        gate.becomes(&bobs, 200).await;
    }
}

#[tokio::test]
async fn a_full_redis_serves_who_is_logged_in_and_uses_no_code_up() {
    let (redis, world) = gate_with("").await;
    let (mine, bobs) = (world.login("alice").await, world.login("bob").await);
    let other = world.beside(&redis.table()).await;
    redis.ask::<()>("CONFIG SET maxmemory-policy noeviction");
    redis.ask::<()>("CONFIG SET maxmemory 1mb");
    let code = world.code("alice");
    let begun = tokio::time::Instant::now();
    // Until the gate has noticed, a code is lost to it.
    loop {
        let answer = world.redeem(&world.code("carol")).await;
        overloaded(&answer);
        if answer.detail().contains("has not been used") {
            break;
        }
        assert!(begun.elapsed() < crate::support::STUCK);
    }
    let asked = world.wechat.calls();
    overloaded(&world.redeem(&code).await);
    assert_eq!(world.wechat.calls(), asked);
    assert_eq!(other.taken(&bobs).await, 200);
    assert_eq!(world.log_out("/wx/logout", &mine).await.status, 204);
    other.becomes(&mine, 401).await;
    redis.ask::<()>("CONFIG SET maxmemory 0");
    let begun = tokio::time::Instant::now();
    while world.redeem(&code).await.status != 200 {
        assert!(begun.elapsed() < crate::support::STUCK);
    }
}

#[tokio::test]
async fn a_replica_that_is_read_only_is_no_store() {
    let primary = RedisServer::start().await;
    let world = gate_at(&primary).await;
    let token = world.login("alice").await;
    let port = primary.port().to_string();
    let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &port]).await;
    let at_replica = world.beside(&replica.table()).await;
    at_replica.sees_redis(false).await;
    assert_eq!(at_replica.taken(&token).await, 503);
    assert_eq!(at_replica.readiness().await, 503);
    overloaded(&at_replica.redeem(&world.code("alice")).await);
    // One that is made a replica while it is in use is none any more.
    let other = RedisServer::start().await;
    let port = other.port();
    primary.ask::<()>(&format!("REPLICAOF 127.0.0.1 {port}"));
    world.sees_redis(false).await;
    assert_eq!(world.taken(&token).await, 200);
    primary.ask::<()>("REPLICAOF NO ONE");
    world.sees_redis(true).await;
}

#[tokio::test]
async fn without_the_right_password_nothing_works_and_with_it_everything_does() {
    let redis = RedisServer::start_with(&["--requirepass", "planted"]).await;
    let world = Setup::with(&redis.table()).start().await;
    let refused = async |url: &str| {
        let gate = world.beside(&table(url, "")).await;
        gate.sees_redis(false).await;
        assert_eq!(gate.readiness().await, 503);
        overloaded(&gate.redeem(&world.code("alice")).await);
    };
    let port = redis.port();
    refused(&redis.url()).await;
    refused(&format!("redis://:wrong@127.0.0.1:{port}")).await;
    refused(&format!("redis://nobody:planted@127.0.0.1:{port}")).await;
    let url = format!("redis://:planted@127.0.0.1:{port}/2");
    let gate = world.beside(&table(&url, "")).await;
    let token = gate.redeem(&world.code("alice")).await.token();
    assert_eq!(gate.taken(&token).await, 200);
}

#[tokio::test]
async fn a_gate_starts_though_redis_is_away_and_needs_no_restart_when_it_comes() {
    let redis = RedisServer::prepared(&[]);
    let world = gate_at(&redis).await;
    assert_eq!(world.readiness().await, 503);
    let code = world.code("alice");
    overloaded(&world.redeem(&code).await);
    // Who needs no session is served.
    let missing = world.get("/me").send().await;
    missing.is_refused(401, "session_required", "relogin");
    redis.run().await;
    world.sees_redis(true).await;
    assert_eq!(world.readiness().await, 200);
    let token = world.redeem(&code).await.token();
    assert_eq!(world.taken(&token).await, 200);
}

#[tokio::test]
async fn what_is_of_a_wrong_type_is_a_fault_of_redis_and_not_of_the_client() {
    let (redis, world) = gate_with("").await;
    let token = world.login("alice").await;
    let keys: Vec<String> = redis.ask("KEYS *}s:*");
    redis.ask::<()>(&format!("DEL {}", keys[0]));
    redis.ask::<u64>(&format!("LPUSH {} x", keys[0]));
    world.clock.advance(STALE);
    assert_eq!(world.taken(&token).await, 503);
    // The others are served.
    let bobs = world.login("bob").await;
    assert_eq!(world.taken(&bobs).await, 200);
    let users: Vec<String> = redis.ask("KEYS *}u:*");
    for user in users {
        redis.ask::<()>(&format!("DEL {user}"));
        redis.ask::<u64>(&format!("LPUSH {user} x"));
    }
    let body = json!({ "code": world.code("bob") });
    let answer = world.post("/wx/login").json(&body).send().await;
    overloaded(&answer);
    assert!(
        answer.detail().contains("the code is used up"),
        "{answer:?}"
    );
}
