//! A Cluster of three: sessions of one user are on one of them, and of all users on all.

use crate::stores::{GRACE, STALE, overloaded};
use crate::support::app::until;
use crate::support::redis::{RedisServer, free_port, table};
use crate::support::{STUCK, Setup};

/// Slots are numbered below this.
const SLOTS: u16 = 16384;

pub(in crate::stores) struct Cluster(Vec<RedisServer>);

impl Cluster {
    pub(in crate::stores) async fn start() -> Self {
        let mut nodes = Vec::new();
        for _ in 0..3 {
            nodes.push(node().await);
        }
        let third = SLOTS / 3;
        let shares = [(0, third), (third, 2 * third), (2 * third, SLOTS)];
        for ((node, _), (from, to)) in nodes.iter().zip(shares) {
            node.ask::<()>(&format!("CLUSTER ADDSLOTSRANGE {from} {}", to - 1));
        }
        for (node, bus) in &nodes[1..] {
            nodes[0]
                .0
                .ask::<()>(&format!("CLUSTER MEET 127.0.0.1 {} {bus}", node.port()));
        }
        let cluster = Self(nodes.into_iter().map(|(node, _)| node).collect());
        until("the cluster is whole", || {
            cluster.0.iter().all(|node| {
                let info: String = node.ask("CLUSTER INFO");
                let whole = ["cluster_state:ok", "cluster_known_nodes:3"];
                whole.iter().all(|line| info.contains(line))
            })
        })
        .await;
        cluster
    }

    pub(in crate::stores) fn url(&self) -> String {
        let hosts = self
            .0
            .iter()
            .map(|node| format!("127.0.0.1:{}", node.port()));
        format!("redis-cluster://{}", hosts.collect::<Vec<_>>().join(","))
    }

    /// Gives the first a replica.
    async fn add_replica(&self) -> RedisServer {
        let (replica, bus) = node().await;
        let port = replica.port();
        self.0[0].ask::<()>(&format!("CLUSTER MEET 127.0.0.1 {port} {bus}"));
        let id: String = self.0[0].ask("CLUSTER MYID");
        let replicate = redis::cmd("CLUSTER").arg("REPLICATE").arg(&id).to_owned();
        until("it knows its master", || {
            replica.try_ask::<()>(&replicate).is_ok()
        })
        .await;
        until("all know the replica, and it has all", || {
            let told: String = replica.ask("INFO replication");
            let others = self.0[1..].iter();
            let mut known = others.map(|node| node.ask::<String>("CLUSTER NODES"));
            told.contains("master_link_status:up") && known.all(|nodes| nodes.contains("slave"))
        })
        .await;
        replica
    }

    /// How many keys of sessions each node has.
    fn sessions(&self) -> Vec<usize> {
        let count = |node: &RedisServer| node.ask::<Vec<String>>("KEYS *}s:*").len();
        self.0.iter().map(count).collect()
    }
}

/// One that is of no Cluster yet, and the port by which it speaks to others.
async fn node() -> (RedisServer, String) {
    let bus = free_port().to_string();
    let arguments = [
        "--cluster-enabled",
        "yes",
        "--cluster-node-timeout",
        "1000",
        "--cluster-port",
        &bus,
    ];
    (RedisServer::start_with(&arguments).await, bus)
}

#[tokio::test]
async fn sessions_begin_and_end_whichever_node_they_are_on() {
    let cluster = Cluster::start().await;
    let toml = table(&cluster.url(), "");
    let world = Setup::with(&toml).start().await;
    let other = world.beside(&toml).await;
    let mut tokens = Vec::new();
    for number in 0..24 {
        let user = format!("user-{number}");
        tokens.push([world.login(&user).await, world.login(&user).await]);
    }
    let sessions = cluster.sessions();
    assert_eq!(sessions.iter().sum::<usize>(), 48, "{sessions:?}");
    assert!(sessions.iter().all(|count| *count > 0), "{sessions:?}");
    for [one, two] in &tokens {
        other.all_taken(&[one, two], &[200, 200]).await;
    }
    for (number, [one, two]) in tokens.iter().enumerate() {
        let (target, left) = match number % 2 {
            0 => ("/wx/logout", 200),
            _ => ("/wx/logout?all=true", 401),
        };
        assert_eq!(world.log_out(target, one).await.status, 204);
        other.becomes(one, 401).await;
        other.becomes(two, left).await;
        world.all_taken(&[one, two], &[401, left]).await;
    }
    assert_eq!(cluster.sessions().iter().sum::<usize>(), 12);
}

#[tokio::test]
async fn a_user_of_a_cluster_has_a_cap_and_a_grace_as_any_other() {
    let cluster = Cluster::start().await;
    let toml = format!("{}[session]\nmax_per_user = 2", table(&cluster.url(), ""));
    let world = Setup::with(&toml).start().await;
    for number in 0..6 {
        let user = format!("user-{number}");
        let first = world.login(&user).await;
        let second = world.login(&user).await;
        let body = serde_json::json!({ "code": world.code(&user) });
        let renewed = world.post("/wx/login").bearer(&second).json(&body);
        let renewed = renewed.send().await.token();
        let third = world.login(&user).await;
        let tokens = [&*first, &second, &renewed, &third];
        world.all_taken(&tokens, &[401, 200, 200, 200]).await;
        world.clock.advance(std::time::Duration::from_mins(1));
        world.all_taken(&tokens, &[401, 401, 200, 200]).await;
    }
}

#[tokio::test]
async fn while_a_node_is_away_nothing_is_let_through_and_all_goes_on_when_it_is_back() {
    let cluster = Cluster::start().await;
    let world = Setup::with(&table(&cluster.url(), "")).start().await;
    let mut tokens = Vec::new();
    for number in 0..12 {
        tokens.push(world.login(&format!("user-{number}")).await);
    }
    let unknown = format!("wxg_{}", "A".repeat(43));
    cluster.0[1].freeze();
    // A Cluster that lacks some of its slots is down as a whole.
    world.sees_redis(false).await;
    for token in &tokens {
        assert_eq!(world.taken(token).await, 200);
    }
    assert_eq!(world.taken(&unknown).await, 503);
    overloaded(&world.redeem(&world.code("alice")).await);
    cluster.0[1].thaw();
    let begun = tokio::time::Instant::now();
    while world.redeem(&world.code("alice")).await.status != 200 {
        assert!(begun.elapsed() < STUCK);
    }
    world.clock.advance(STALE);
    for token in &tokens {
        world.becomes(token, 200).await;
    }
    world.becomes(&unknown, 401).await;
}

#[tokio::test]
async fn a_node_that_hangs_keeps_nobody_away_once_a_replica_has_its_place() {
    let cluster = Cluster::start().await;
    let replica = cluster.add_replica().await;
    let toml = table(&cluster.url(), "");
    let world = Setup::with(&toml).start().await;
    let mut tokens = Vec::new();
    for number in 0..12 {
        tokens.push(world.login(&format!("user-{number}")).await);
    }
    cluster.0[0].freeze();
    until("the replica has its place", || {
        replica
            .ask::<String>("INFO replication")
            .contains("role:master")
    })
    .await;
    world.clock.advance(GRACE);
    for token in &tokens {
        world.becomes(token, 200).await;
    }
    let begun = tokio::time::Instant::now();
    while world.redeem(&world.code("alice")).await.status != 200 {
        assert!(begun.elapsed() < STUCK);
    }
    // One that has not known the Cluster before.
    let other = world.beside(&toml).await;
    other.sees_redis(true).await;
    other.becomes(&tokens[0], 200).await;
}

#[tokio::test]
async fn a_node_that_is_of_no_cluster_is_passed_over() {
    let cluster = Cluster::start().await;
    let (stranger, _) = node().await;
    let hosts = cluster.url();
    let hosts = hosts.strip_prefix("redis-cluster://").unwrap();
    let url = format!("redis-cluster://127.0.0.1:{},{hosts}", stranger.port());
    let world = Setup::with(&table(&url, "")).start().await;
    world.sees_redis(true).await;
    let token = world.login("alice").await;
    assert_eq!(world.taken(&token).await, 200);
}
