//! A login code that comes to several gates: WeChat is asked once, and who lost the answer gets it again
//! at whichever of them.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use wxgate::crypto::code::CodeDigest;
use wxgate::domain::secret::LoginCode;
use wxgate::sim::wechat::Misbehaviour;

use crate::stores::gate_at;
use crate::support::redis::RedisServer;
use crate::support::{APPID, STUCK, Setup, World, appid};

/// Late enough that another request comes meanwhile.
const LATE: Duration = Duration::from_millis(300);

async fn two_gates(toml: &str) -> (RedisServer, World, World) {
    let redis = RedisServer::start().await;
    let toml = format!("{}{toml}", redis.table());
    let world = Setup::with(&toml).start().await;
    let other = world.beside(&toml).await;
    (redis, world, other)
}

#[tokio::test]
async fn a_code_that_three_gates_have_at_once_is_redeemed_once() {
    let (redis, world, other) = two_gates("").await;
    let third = world.beside(&redis.table()).await;
    for _ in 0..3 {
        let before = world.wechat.calls();
        world.wechat.misbehave(1, Misbehaviour::Delay(LATE));
        let code = world.code("alice");
        let (one, two, three) = tokio::join!(
            world.redeem(&code),
            other.redeem(&code),
            third.redeem(&code)
        );
        assert_eq!(one.token(), two.token());
        assert_eq!(one.token(), three.token());
        assert_eq!(world.wechat.calls(), before + 1);
        assert_eq!(other.taken(&one.token()).await, 200);
    }
}

#[tokio::test]
async fn a_repeat_at_another_gate_gets_the_same_answer_within_the_window_and_not_after() {
    let (_redis, world, other) = two_gates("").await;
    let code = world.code("alice");
    let first = world.redeem(&code).await.token();
    assert_eq!(other.redeem(&code).await.token(), first);
    assert_eq!(world.wechat.calls(), 1);
    for gate in [&world, &other] {
        gate.clock.advance(Duration::from_secs(11));
    }
    let late = other.redeem(&code).await;
    late.is_refused(400, "login_code_used", "relogin");
    assert_eq!(other.taken(&first).await, 200);
}

#[tokio::test]
async fn without_a_retry_window_a_code_works_once_at_all_gates_together() {
    let (_redis, world, other) = two_gates("[login]\nretry_window = \"0\"").await;
    let code = world.code("alice");
    world.redeem(&code).await.token();
    let again = other.redeem(&code).await;
    again.is_refused(400, "login_code_used", "relogin");
}

#[tokio::test]
async fn a_code_that_came_to_nothing_at_one_gate_can_be_brought_to_another() {
    let (_redis, world, other) = two_gates("").await;
    world.wechat.misbehave(1, Misbehaviour::Garbage);
    let code = world.code("alice");
    let failed = world.redeem(&code).await;
    failed.is_refused(502, "wechat_error", "retry");
    let token = other.redeem(&code).await.token();
    assert_eq!(world.taken(&token).await, 200);
    let refused = other.redeem("never-issued").await;
    refused.is_refused(400, "login_code_invalid", "relogin");
    let refused = world.redeem("never-issued").await;
    refused.is_refused(400, "login_code_invalid", "relogin");
}

#[tokio::test]
async fn another_code_or_mini_program_has_no_part_in_an_answer() {
    let (_redis, world, other) = two_gates("").await;
    let codes = [world.code("alice"), world.code("alice"), world.code("bob")];
    let mut tokens = vec![world.redeem(&codes[0]).await.token()];
    for code in &codes[1..] {
        tokens.push(other.redeem(code).await.token());
    }
    assert!(tokens[0] != tokens[1] && tokens[1] != tokens[2]);
    assert_eq!(world.taken(&tokens[2]).await, 200);
    let seen = world.app.last();
    assert_eq!(seen.header("x-wx-openid"), [world.openid("bob")]);
}

/// How often the gate has asked Redis about a code.
async fn looked(world: &World) -> f64 {
    let labels = [("operation", "code"), ("result", "ok")];
    let scrape = world.scrape().await;
    let asked = scrape.sum("wxgate_redis_requests_total", &labels);
    asked.unwrap()
}

#[tokio::test]
async fn while_another_gate_has_a_code_wechat_is_not_asked_and_once_it_has_not_it_is() {
    let redis = RedisServer::start().await;
    let world = gate_at(&redis).await;
    let code = world.code("alice");
    let digest = CodeDigest::of(&appid(APPID), &LoginCode::parse(&code).unwrap());
    let key = format!("wxgate:c:{}", URL_SAFE_NO_PAD.encode(digest.as_bytes()));
    redis.ask::<()>(&format!("SET {key} c-of-a-gate-that-has-ended"));
    let body = serde_json::json!({ "code": code });
    let mut waiting = world.post("/wx/login").json(&body).begin().await;
    let begun = tokio::time::Instant::now();
    while looked(&world).await < 2.0 {
        assert!(begun.elapsed() < STUCK);
    }
    assert_eq!(world.wechat.calls(), 0);
    redis.ask::<()>(&format!("DEL {key}"));
    let token = waiting.answer_to("POST").await.token();
    assert_eq!(world.wechat.calls(), 1);
    assert_eq!(world.taken(&token).await, 200);
}
