//! What stands in Redis, for whoever breaks in there: nothing that opens anything, and nothing that
//! can be changed to somebody's advantage.

use crate::stores::{STALE, gate_at};
use crate::support::redis::RedisServer;
use crate::support::{APPID, appid, person};

#[tokio::test]
async fn neither_tokens_nor_keys_nor_users_can_be_read_in_redis() {
    let redis = RedisServer::start().await;
    let world = gate_at(&redis).await;
    let token = world.login("alice").await;
    assert_eq!(world.taken(&token).await, 200);
    let unionid = world.app.last().header("x-wx-unionid").join("");
    let key = world
        .wechat
        .session_key_text_of(&appid(APPID), &person("alice"));
    let raw_key = wxgate::crypto::session_key::parse(&key).unwrap();
    let openid = world.openid("alice");
    let dump = redis.dump();
    assert!(dump.len() >= 6, "{}", dump.len());
    for secret in [
        token.as_bytes(),
        &token.as_bytes()[4..],
        key.as_bytes(),
        raw_key.expose(),
        openid.as_bytes(),
        unionid.as_bytes(),
        APPID.as_bytes(),
    ] {
        let shown = dump
            .iter()
            .any(|text| text.windows(secret.len()).any(|window| window == secret));
        assert!(!shown, "{}", String::from_utf8_lossy(secret));
    }
}

#[tokio::test]
async fn a_record_in_the_place_of_another_is_no_session() {
    let redis = RedisServer::start().await;
    let world = gate_at(&redis).await;
    let (alice, bob) = (world.login("alice").await, world.login("bob").await);
    let keys: Vec<String> = redis.ask("KEYS *}s:*");
    let [one, other] = &keys[..] else {
        panic!("{keys:?}")
    };
    // Each gets the other's.
    redis.ask::<()>(&format!("RENAME {one} kept"));
    redis.ask::<()>(&format!("RENAME {other} {one}"));
    redis.ask::<()>(&format!("RENAME kept {other}"));
    world.clock.advance(STALE);
    world.all_taken(&[&alice, &bob], &[401, 401]).await;
    assert_eq!(world.app.count(), 0);
}

#[tokio::test]
async fn a_record_that_was_changed_anywhere_is_no_session() {
    let redis = RedisServer::start().await;
    let world = gate_at(&redis).await;
    let token = world.login("alice").await;
    let keys: Vec<String> = redis.ask("KEYS *}s:*");
    let kept: Vec<u8> = redis.ask(&format!("GET {}", keys[0]));
    // After the two moments at its beginning, which a later one cannot prolong.
    let sealed = kept
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b' ')
        .nth(2);
    let begins = sealed.unwrap().0 + 1;
    for at in (begins..kept.len()).step_by(7) {
        let mut changed = kept.clone();
        changed[at] ^= 1;
        let mut set = redis::cmd("SET");
        set.arg(&keys[0]).arg(&changed);
        redis.try_ask::<()>(&set).unwrap();
        world.clock.advance(STALE);
        assert_eq!(world.taken(&token).await, 401, "byte {at}");
    }
    let mut set = redis::cmd("SET");
    redis.try_ask::<()>(set.arg(&keys[0]).arg(&kept)).unwrap();
    world.clock.advance(STALE);
    assert_eq!(world.taken(&token).await, 200);
}

#[tokio::test]
async fn everything_in_redis_goes_by_itself_but_the_mark_and_the_count() {
    let redis = RedisServer::start().await;
    let world = gate_at(&redis).await;
    world.login("alice").await;
    let keys: Vec<String> = redis.ask("KEYS *");
    assert_eq!(keys.len(), 6, "{keys:?}");
    let stays = ["wxgate:marker", "wxgate:probe"];
    for key in keys.iter().filter(|key| !stays.contains(&key.as_str())) {
        let left: i64 = redis.ask(&format!("PTTL {key}"));
        assert!(left > 0 && left <= 7 * 24 * 3600 * 1000, "{key}: {left}");
    }
    for key in stays {
        assert_eq!(redis.ask::<i64>(&format!("PTTL {key}")), -1);
    }
}

#[tokio::test]
async fn a_user_without_sessions_leaves_nothing_in_redis() {
    let redis = RedisServer::start().await;
    let world = gate_at(&redis).await;
    let (one, other) = (world.login("alice").await, world.login("alice").await);
    for token in [&one, &other] {
        assert_eq!(world.log_out("/wx/logout", token).await.status, 204);
    }
    let token = world.login("bob").await;
    world.login("bob").await;
    let all = world.log_out("/wx/logout?all=true", &token).await;
    assert_eq!(all.status, 204);
    let mut keys: Vec<String> = redis.ask("KEYS *");
    // What is kept of the codes goes within seconds.
    keys.retain(|key| !key.starts_with("wxgate:c:"));
    keys.sort();
    assert_eq!(keys, ["wxgate:marker", "wxgate:probe"]);
}
