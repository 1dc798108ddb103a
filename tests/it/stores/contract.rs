//! What every store promises, whatever it is: each of these is run for all kinds.

use std::any::Any;
use std::time::Duration;

use serde_json::json;
use wxgate::sim::wechat::Wanted;

use crate::stores::cluster::Cluster;
use crate::stores::overloaded;
use crate::stores::reached::Encrypted;
use crate::stores::sentinels::Watched;
use crate::support::redis::{RedisServer, table};
use crate::support::{APPID, Setup, World, appid, person};

/// A kind of store, and of the ways to it.
#[derive(Clone, Copy)]
enum Kind {
    Memory,
    Redis,
    /// Over TLS, as the user of an ACL.
    GuardedRedis,
    /// Found by Sentinels.
    WatchedRedis,
    /// A Cluster of three.
    RedisCluster,
}

/// A gate with this kind of store, and what keeps it up.
struct Kept {
    world: World,
    _redis: Box<dyn Any>,
}

impl Kind {
    async fn gate(self, toml: &str) -> Kept {
        let (store, redis): (String, Box<dyn Any>) = match self {
            Self::Memory => (String::new(), Box::new(())),
            Self::Redis => {
                let redis = RedisServer::start().await;
                (redis.table(), Box::new(redis))
            }
            Self::GuardedRedis => {
                let redis = Encrypted::start().await;
                (redis.guarded_table(), Box::new(redis))
            }
            Self::WatchedRedis => {
                let redis = Watched::start().await;
                (table(&redis.url("main"), ""), Box::new(redis))
            }
            Self::RedisCluster => {
                let redis = Cluster::start().await;
                (table(&redis.url(), ""), Box::new(redis))
            }
        };
        let world = Setup::with(&format!("{store}{toml}")).start().await;
        Kept {
            world,
            _redis: redis,
        }
    }
}

/// Has each promise be a test for each kind of store.
macro_rules! promises {
    ($($promise:ident,)+) => {
        promises! { in_memory, Memory: $($promise,)+ }
        promises! { in_redis, Redis: $($promise,)+ }
        promises! { in_redis_over_tls_by_acl, GuardedRedis: $($promise,)+ }
        promises! { in_redis_by_sentinels, WatchedRedis: $($promise,)+ }
        promises! { in_a_redis_cluster, RedisCluster: $($promise,)+ }
    };
    ($kinds:ident, $kind:ident: $($promise:ident,)+) => {
        mod $kinds {
            $(
                #[tokio::test]
                async fn $promise() {
                    super::$promise(super::Kind::$kind).await;
                }
            )+
        }
    };
}

promises! {
    a_token_that_nobody_was_given_is_not_taken,
    a_session_ends_with_its_life_however_much_it_is_used,
    an_idle_session_ends_and_a_used_one_slides_on,
    a_logout_ends_this_session_and_no_other,
    a_logout_everywhere_ends_all_of_the_users_and_nobody_elses,
    a_replaced_session_has_its_minute,
    a_login_replaces_only_a_session_of_the_same_user,
    over_the_cap_the_oldest_goes_and_a_replaced_one_does_not_count,
    without_a_cap_no_session_goes,
    keys_that_were_replaced_open_data_for_their_grace,
    keys_die_with_the_users_last_session,
    the_unionid_of_a_session_is_known_on_every_request,
}

async fn a_token_that_nobody_was_given_is_not_taken(kind: Kind) {
    let Kept { world, .. } = &kind.gate("").await;
    world.login("alice").await;
    let unknown = format!("wxg_{}", "A".repeat(43));
    assert_eq!(world.taken(&unknown).await, 401);
    assert_eq!(world.app.count(), 0);
}

async fn a_session_ends_with_its_life_however_much_it_is_used(kind: Kind) {
    let Kept { world, .. } = &kind.gate("[session]\nttl = \"2h\"").await;
    let token = world.login("alice").await;
    for _ in 0..3 {
        world.clock.advance(Duration::from_mins(30));
        assert_eq!(world.taken(&token).await, 200);
    }
    world
        .clock
        .advance(Duration::from_millis(30 * 60 * 1000 - 1));
    assert_eq!(world.taken(&token).await, 200);
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(world.taken(&token).await, 401);
}

async fn an_idle_session_ends_and_a_used_one_slides_on(kind: Kind) {
    let toml = "[session]\nttl = \"1d\"\nidle_ttl = \"10m\"";
    let Kept { world, .. } = &kind.gate(toml).await;
    let (used, idle) = (world.login("alice").await, world.login("alice").await);
    world.clock.advance(Duration::from_mins(6));
    world.all_taken(&[&used], &[200]).await;
    world.clock.advance(Duration::from_mins(4));
    world.all_taken(&[&used, &idle], &[200, 401]).await;
    for _ in 0..10 {
        world.clock.advance(Duration::from_mins(9));
        world.all_taken(&[&used], &[200]).await;
    }
    world.clock.advance(Duration::from_mins(10));
    world.all_taken(&[&used], &[401]).await;
}

async fn a_logout_ends_this_session_and_no_other(kind: Kind) {
    let Kept { world, .. } = &kind.gate("").await;
    let mine = world.login("alice").await;
    let (other, bobs) = (world.login("alice").await, world.login("bob").await);
    assert_eq!(world.log_out("/wx/logout", &mine).await.status, 204);
    let expected = [401, 200, 200];
    world.all_taken(&[&mine, &other, &bobs], &expected).await;
    let again = world.log_out("/wx/logout", &mine).await;
    again.is_refused(401, "session_expired", "relogin");
}

async fn a_logout_everywhere_ends_all_of_the_users_and_nobody_elses(kind: Kind) {
    let Kept { world, .. } = &kind.gate("").await;
    let mine = world.login("alice").await;
    let (other, bobs) = (world.login("alice").await, world.login("bob").await);
    let replacing = login_with(world, "alice", &other).await;
    let everywhere = world.log_out("/wx/logout?all=true", &mine).await;
    assert_eq!(everywhere.status, 204);
    let tokens = [&*mine, &other, &replacing, &bobs];
    world.all_taken(&tokens, &[401, 401, 401, 200]).await;
    let anew = world.login("alice").await;
    assert_eq!(world.taken(&anew).await, 200);
}

async fn login_with(world: &World, user: &str, token: &str) -> String {
    let code = json!({ "code": world.code(user) });
    let request = world.post("/wx/login").bearer(token).json(&code);
    request.send().await.token()
}

async fn a_replaced_session_has_its_minute(kind: Kind) {
    let Kept { world, .. } = &kind.gate("").await;
    let old = world.login("alice").await;
    let new = login_with(world, "alice", &old).await;
    world.clock.advance(Duration::from_secs(59));
    world.all_taken(&[&old, &new], &[200, 200]).await;
    world.clock.advance(Duration::from_secs(1));
    world.all_taken(&[&old, &new], &[401, 200]).await;
}

async fn a_login_replaces_only_a_session_of_the_same_user(kind: Kind) {
    let Kept { world, .. } = &kind.gate("").await;
    let bobs = world.login("bob").await;
    let mine = login_with(world, "alice", &bobs).await;
    world.clock.advance(Duration::from_mins(2));
    world.all_taken(&[&bobs, &mine], &[200, 200]).await;
}

async fn over_the_cap_the_oldest_goes_and_a_replaced_one_does_not_count(kind: Kind) {
    let Kept { world, .. } = &kind.gate("[session]\nmax_per_user = 2").await;
    let bobs = world.login("bob").await;
    let (first, second) = (world.login("alice").await, world.login("alice").await);
    let renewed = login_with(world, "alice", &second).await;
    let tokens = [&*first, &second, &renewed];
    world.all_taken(&tokens, &[200, 200, 200]).await;
    let fourth = world.login("alice").await;
    let tokens = [&*first, &second, &renewed, &fourth, &bobs];
    world.all_taken(&tokens, &[401, 200, 200, 200, 200]).await;
}

async fn without_a_cap_no_session_goes(kind: Kind) {
    let Kept { world, .. } = &kind.gate("[session]\nmax_per_user = 0").await;
    let mut tokens = Vec::new();
    for _ in 0..12 {
        tokens.push(world.login("alice").await);
    }
    world
        .all_taken(&[&tokens[0], &tokens[11]], &[200, 200])
        .await;
}

async fn keys_that_were_replaced_open_data_for_their_grace(kind: Kind) {
    let toml = "[decrypt]\nkey_grace = \"10m\"\nmax_age = \"0\"";
    let Kept { world, .. } = &kind.gate(toml).await;
    let token = world.login("alice").await;
    let with_old_key = sealed(world, "alice");
    world.wechat.rotate(&appid(APPID), &person("alice"));
    world.login("alice").await;
    let with_new_key = sealed(world, "alice");
    assert_eq!(decrypted(world, &token, &with_old_key).await, 200);
    assert_eq!(decrypted(world, &token, &with_new_key).await, 200);
    world
        .clock
        .advance(Duration::from_millis(10 * 60 * 1000 + 1));
    assert_eq!(decrypted(world, &token, &with_old_key).await, 422);
    assert_eq!(decrypted(world, &token, &with_new_key).await, 200);
}

fn sealed(world: &World, user: &str) -> serde_json::Value {
    let wanted = Wanted::default();
    let sealed = world.wechat.user_data(&appid(APPID), &person(user), wanted);
    sealed.to_json()
}

async fn decrypted(world: &World, token: &str, body: &serde_json::Value) -> u16 {
    let request = world.post("/wx/decrypt").bearer(token).json(body);
    let answer = request.send().await;
    if answer.status == 503 {
        overloaded(&answer);
    }
    answer.status
}

async fn keys_die_with_the_users_last_session(kind: Kind) {
    let Kept { world, .. } = &kind.gate("").await;
    let first = world.login("alice").await;
    let with_old_key = sealed(world, "alice");
    assert_eq!(world.log_out("/wx/logout", &first).await.status, 204);
    world.wechat.rotate(&appid(APPID), &person("alice"));
    let second = world.login("alice").await;
    assert_eq!(decrypted(world, &second, &with_old_key).await, 422);
    let with_new_key = sealed(world, "alice");
    assert_eq!(decrypted(world, &second, &with_new_key).await, 200);
}

async fn the_unionid_of_a_session_is_known_on_every_request(kind: Kind) {
    let Kept { world, .. } = &kind.gate("").await;
    let token = world.login("alice").await;
    for _ in 0..2 {
        assert_eq!(world.taken(&token).await, 200);
        let seen = world.app.last();
        assert_eq!(seen.header("x-wx-openid"), [world.openid("alice")]);
        assert_eq!(seen.header("x-wx-unionid").len(), 1, "{seen:?}");
        world.clock.advance(Duration::from_mins(1));
    }
}
