//! A WeChat that goes on failing is left alone for a while, and nobody is shut out by somebody else.

use std::time::Duration;

use http::StatusCode;
use wxgate::domain::clock::HeldClock;
use wxgate::sim::wechat::Misbehaviour;

use crate::support::raw::Answer;
use crate::support::{APPID2, SECRET, Setup, World};

/// Failures in a row that pause the calls.
const FAILURES: u64 = 5;

fn bad_gateway() -> Misbehaviour {
    Misbehaviour::Status(StatusCode::BAD_GATEWAY)
}

fn pass(clock: &HeldClock, seconds: u64) {
    clock.advance(Duration::from_secs(seconds));
}

async fn try_login(world: &World, user: &str) -> Answer {
    world.redeem(&world.code(user)).await
}

#[track_caller]
fn is_paused(answer: &Answer, seconds: &str) {
    answer.is_refused(503, "wechat_unavailable", "retry");
    assert_eq!(answer.header("retry-after"), Some(seconds));
}

/// Lets so many logins in a row find a WeChat out of order, each in both of its attempts.
async fn break_down(world: &World, logins: u64) {
    world.wechat.misbehave(u32::MAX, bad_gateway());
    for _ in 0..logins {
        let answer = try_login(world, "alice").await;
        answer.is_refused(503, "wechat_unavailable", "retry");
    }
}

#[tokio::test]
async fn a_wechat_that_is_out_of_order_is_left_alone_until_one_call_finds_it_back() {
    let world = World::start().await;
    break_down(&world, FAILURES).await;
    let calls = world.wechat.calls();
    assert_eq!(calls, FAILURES * 2);
    is_paused(&try_login(&world, "alice").await, "5");
    pass(&world.clock, 3);
    is_paused(&try_login(&world, "bob").await, "2");
    assert_eq!(world.wechat.calls(), calls);
    // One call finds it still out of order: twice as long.
    pass(&world.clock, 2);
    try_login(&world, "alice").await;
    assert_eq!(world.wechat.calls(), calls + 2);
    is_paused(&try_login(&world, "alice").await, "10");
    // The next one finds it back, for everybody.
    world.wechat.behave();
    pass(&world.clock, 10);
    world.login("alice").await;
    world.login("bob").await;
}

#[tokio::test]
async fn a_code_is_still_good_after_a_pause() {
    let world = World::start().await;
    break_down(&world, FAILURES).await;
    let code = world.code("alice");
    is_paused(&world.redeem(&code).await, "5");
    world.wechat.behave();
    pass(&world.clock, 5);
    world.redeem(&code).await.token();
}

#[tokio::test]
async fn four_failures_and_an_answer_pause_nothing() {
    let world = World::start().await;
    break_down(&world, FAILURES - 1).await;
    world.wechat.behave();
    let answer = world.redeem("a-code-that-is-none").await;
    answer.is_refused(400, "login_code_invalid", "relogin");
    break_down(&world, FAILURES - 1).await;
    world.wechat.behave();
    world.login("alice").await;
}

#[tokio::test]
async fn a_user_who_logs_in_too_often_shuts_nobody_else_out() {
    let world = World::start().await;
    let times = 20;
    world.wechat.misbehave(times, Misbehaviour::Errcode(45011));
    for _ in 0..times {
        let answer = try_login(&world, "mallory").await;
        answer.is_refused(429, "rate_limited", "retry");
    }
    assert_eq!(world.wechat.calls(), u64::from(times));
    world.login("alice").await;
}

#[tokio::test]
async fn one_mini_program_that_is_paused_pauses_no_other() {
    let setup = Setup {
        two_apps: true,
        ..Setup::default()
    };
    let world = setup.start().await;
    let log_in = async |code: String, app: &str| {
        let body = serde_json::json!({ "code": code, "appid": app });
        world.post("/wx/login").json(&body).send().await
    };
    world.wechat.misbehave(1, Misbehaviour::Errcode(40125));
    let code = world.code("alice");
    let answer = log_in(code, crate::support::APPID).await;
    answer.is_refused(502, "wechat_misconfigured", "none");
    let answer = log_in(world.code_of(APPID2, "alice"), APPID2).await;
    answer.token();
}

#[tokio::test]
async fn a_wrong_configuration_is_not_asked_about_again_and_again() {
    let world = World::start().await;
    world.wechat.misbehave(2, Misbehaviour::Errcode(40164));
    for _ in 0..5 {
        let answer = try_login(&world, "alice").await;
        answer.is_refused(502, "wechat_misconfigured", "none");
    }
    assert_eq!(world.wechat.calls(), 1);
    pass(&world.clock, 10);
    for _ in 0..5 {
        let answer = try_login(&world, "alice").await;
        answer.is_refused(502, "wechat_misconfigured", "none");
    }
    assert_eq!(world.wechat.calls(), 2);
    // Put right by now: noticed after the second, longer pause.
    pass(&world.clock, 20);
    world.login("alice").await;
}

#[tokio::test]
async fn what_may_be_one_users_trouble_is_asked_about_every_time() {
    let world = World::start().await;
    for errcode in [50001, 50002] {
        world.wechat.misbehave(1, Misbehaviour::Errcode(errcode));
        let answer = try_login(&world, "mallory").await;
        answer.is_refused(502, "wechat_misconfigured", "none");
        world.login("alice").await;
    }
}

#[tokio::test]
async fn an_app_that_works_is_not_paused_by_a_code_that_wechat_takes_for_another_apps() {
    let world = World::start().await;
    world.login("alice").await;
    world.wechat.misbehave(1, Misbehaviour::Errcode(40013));
    try_login(&world, "mallory").await;
    world.login("bob").await;
}

#[tokio::test]
async fn the_previous_secret_serves_while_the_new_one_is_not_yet_known() {
    let peer = World::start().await;
    let gate = rotating("secret-to-come", SECRET, &peer).await;
    let log_in = async |user: &str| gate.redeem(&peer.code(user)).await.token();
    log_in("alice").await;
    assert_eq!(peer.wechat.calls(), 2);
    // Which of them works is remembered for a while …
    log_in("alice").await;
    assert_eq!(peer.wechat.calls(), 3);
    // … and not for ever.
    pass(&gate.clock, 600);
    log_in("alice").await;
    assert_eq!(peer.wechat.calls(), 5);
}

#[tokio::test]
async fn a_new_secret_that_works_needs_no_previous_one() {
    let peer = World::start().await;
    let gate = rotating(SECRET, "secret-of-yesterday", &peer).await;
    gate.redeem(&peer.code("alice")).await.token();
    assert_eq!(peer.wechat.calls(), 1);
}

#[tokio::test]
async fn two_wrong_secrets_are_two_calls_and_then_a_pause() {
    let peer = World::start().await;
    let gate = rotating("wrong", "wrong-too", &peer).await;
    for _ in 0..3 {
        let answer = gate.redeem(&peer.code("alice")).await;
        answer.is_refused(502, "wechat_misconfigured", "none");
    }
    assert_eq!(peer.wechat.calls(), 2);
}

/// A gate with two secrets for a mini program, at the WeChat of its peer.
async fn rotating(secret: &str, previous: &str, peer: &World) -> World {
    let setup = Setup {
        secret: format!("secret = \"{secret}\"\nprevious_secret = \"{previous}\""),
        wechat_url: Some(peer.wechat_url()),
        ..Setup::default()
    };
    setup.start().await
}
