//! A master, a replica of it, and three Sentinels that look after them.

use crate::stores::{STALE, overloaded};
use crate::support::app::until;
use crate::support::redis::{RedisServer, table};
use crate::support::{STUCK, Setup, World};

pub(in crate::stores) struct Watched {
    master: RedisServer,
    replica: RedisServer,
    sentinels: Vec<RedisServer>,
}

impl Watched {
    pub(in crate::stores) async fn start() -> Self {
        let master = RedisServer::start().await;
        let port = master.port().to_string();
        let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &port]).await;
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            sentinels.push(RedisServer::start_sentinel(&master).await);
        }
        let watched = Self {
            master,
            replica,
            sentinels,
        };
        until("the sentinels know each other and the replica", || {
            let counted = [("num-other-sentinels", "2"), ("num-slaves", "1")];
            let mut pairs = watched
                .sentinels
                .iter()
                .flat_map(|one| counted.map(|it| (one, it)));
            pairs.all(|(sentinel, (name, count))| says(sentinel, name) == count)
        })
        .await;
        until("the replica has all", || {
            let told: String = watched.replica.ask("INFO replication");
            told.contains("master_link_status:up")
        })
        .await;
        watched
    }

    pub(in crate::stores) fn url(&self, name: &str) -> String {
        let sentinels = self.sentinels.iter();
        let hosts = sentinels.map(|sentinel| format!("127.0.0.1:{}", sentinel.port()));
        format!(
            "redis+sentinel://{}/{name}",
            hosts.collect::<Vec<_>>().join(",")
        )
    }
}

/// What a Sentinel says of its master in a field.
fn says(sentinel: &RedisServer, name: &str) -> String {
    let told: Vec<String> = sentinel.ask("SENTINEL MASTER main");
    let at = told.iter().position(|field| field == name).unwrap();
    told[at + 1].clone()
}

#[tokio::test]
async fn after_a_failover_sessions_go_on_at_the_new_master_and_end_there() {
    let watched = Watched::start().await;
    let toml = table(&watched.url("main"), "");
    let world = Setup::with(&toml).start().await;
    let other = world.beside(&toml).await;
    let (mine, bobs) = (world.login("alice").await, world.login("bob").await);
    other.all_taken(&[&mine, &bobs], &[200, 200]).await;
    until("the replica has both", || {
        watched.replica.ask::<Vec<String>>("KEYS *}s:*").len() == 2
    })
    .await;
    // One Sentinel less is no reason to stop.
    watched.sentinels[0].kill();
    watched.master.kill();
    for gate in [&world, &other] {
        gate.sees_redis(false).await;
        gate.all_taken(&[&mine, &bobs], &[200, 200]).await;
    }
    let code = world.code("carol");
    overloaded(&world.redeem(&code).await);
    for gate in [&world, &other] {
        gate.sees_redis(true).await;
        gate.clock.advance(STALE);
        gate.all_taken(&[&mine, &bobs], &[200, 200]).await;
    }
    let carols = world.redeem(&code).await.token();
    assert_eq!(other.taken(&carols).await, 200);
    assert_eq!(world.log_out("/wx/logout", &mine).await.status, 204);
    other.becomes(&mine, 401).await;
    let emptied = world.scrape().await.sum("wxgate_redis_emptied_total", &[]);
    assert_eq!(emptied, Some(0.0));
}

#[tokio::test]
async fn a_master_that_becomes_a_replica_is_left_for_the_new_one() {
    let watched = Watched::start().await;
    let world = Setup::with(&table(&watched.url("main"), "")).start().await;
    let token = world.login("alice").await;
    until("the replica has it", || {
        watched.replica.ask::<Vec<String>>("KEYS *}s:*").len() == 1
    })
    .await;
    let begun = tokio::time::Instant::now();
    // It refuses while it has not made up its mind about the replica.
    let failover = &redis::cmd("SENTINEL")
        .arg("FAILOVER")
        .arg("main")
        .to_owned();
    while watched.sentinels[0].try_ask::<()>(failover).is_err() {
        assert!(begun.elapsed() < STUCK);
        tokio::task::yield_now().await;
    }
    until("the master is a replica", || {
        // Which cuts its connections.
        let told = watched
            .master
            .try_ask::<String>(redis::cmd("INFO").arg("replication"));
        told.is_ok_and(|told| told.contains("role:slave"))
    })
    .await;
    let begun = tokio::time::Instant::now();
    while world.redeem(&world.code("bob")).await.status != 200 {
        assert!(begun.elapsed() < STUCK);
    }
    world.clock.advance(STALE);
    world.becomes(&token, 200).await;
}

#[tokio::test]
async fn a_master_that_no_sentinel_knows_is_away() {
    let watched = Watched::start().await;
    let world = World::start().await;
    let gate = world.beside(&table(&watched.url("other"), "")).await;
    gate.sees_redis(false).await;
    overloaded(&gate.redeem(&world.code("alice")).await);
}
