//! Codes that are not good, and a WeChat that is not: who is told what, and who pays for it.

use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::json;
use wxgate::sim::wechat::{Api, Misbehaviour};

use crate::phone::is_number;
use crate::support::app::until;
use crate::support::{APPID, APPID2, Setup, World, appid, person};

impl World {
    fn next_number_fails(&self, how: Misbehaviour) {
        self.wechat.misbehave_at(Api::PhoneNumber, 1, how);
    }

    async fn is_no_number(&self, token: &str, code: &str) {
        let answer = self.phone(token, code).await;
        answer.is_refused(422, "phone_code_invalid", "reacquire");
        assert!(!answer.text().contains("1358000"), "{answer:?}");
    }
}

#[tokio::test]
async fn nobody_gets_the_number_of_another_by_their_code() {
    let world = World::start().await;
    let bob = world.login("bob").await;
    world.login("alice").await;
    world.is_no_number(&bob, &world.tap("alice")).await;
}

#[tokio::test]
async fn a_code_that_is_none_used_too_old_or_of_another_kind_is_not_good() {
    let world = World::start().await;
    let token = world.login("alice").await;
    world.is_no_number(&token, "never-made").await;
    world.is_no_number(&token, &world.code("alice")).await;
    let elsewhere = world
        .wechat
        .issue_phone_code(&appid(APPID2), &person("alice"));
    world.is_no_number(&token, &elsewhere).await;
    let code = world.tap("alice");
    is_number(&world.phone(&token, &code).await);
    world.is_no_number(&token, &code).await;
    let late = world.tap("alice");
    world.clock.advance(Duration::from_mins(5));
    world.is_no_number(&token, &late).await;
}

#[tokio::test]
async fn what_wechat_says_must_be_of_this_mini_program_and_have_just_been_given() {
    let world = World::start().await;
    let token = world.login("alice").await;
    let now = wxgate::domain::clock::Clock::Held(world.clock.clone());
    let now = now.now().as_secs();
    let says = |appid: &str, seconds: u64| {
        let mark = json!({ "timestamp": seconds, "appid": appid });
        let info = json!({ "phoneNumber": "13580006666", "watermark": mark });
        let answer = json!({ "errcode": 0, "errmsg": "ok", "phone_info": info });
        world.next_number_fails(Misbehaviour::Body(answer.to_string()));
    };
    says(APPID2, now);
    let answer = world.phone(&token, "code").await;
    answer.is_refused(502, "wechat_error", "retry");
    for seconds in [now - 3601, now + 61] {
        says(APPID, seconds);
        world.is_no_number(&token, "code").await;
    }
    for seconds in [now - 3600, now + 60] {
        says(APPID, seconds);
        is_number(&world.phone(&token, "code").await);
    }
}

#[tokio::test]
async fn any_age_will_do_where_the_limit_is_off() {
    let world = Setup::with("[decrypt]\nmax_age = \"0\"").start().await;
    let token = world.login("alice").await;
    let mark = json!({ "timestamp": 1_477_314_187, "appid": APPID });
    let info = json!({ "phoneNumber": "13580006666", "watermark": mark });
    let answer = json!({ "errcode": 0, "phone_info": info });
    world.next_number_fails(Misbehaviour::Body(answer.to_string()));
    is_number(&world.phone(&token, "code").await);
}

#[tokio::test]
async fn every_trouble_of_wechat_is_told_for_what_it_is() {
    for (trouble, status, code, action) in [
        (
            Misbehaviour::Errcode(-1),
            503,
            "wechat_unavailable",
            "retry",
        ),
        (
            Misbehaviour::Errcode(40029),
            422,
            "phone_code_invalid",
            "reacquire",
        ),
        (
            Misbehaviour::Errcode(40003),
            422,
            "phone_code_invalid",
            "reacquire",
        ),
        (Misbehaviour::Errcode(45011), 429, "rate_limited", "retry"),
        (
            Misbehaviour::Errcode(48001),
            502,
            "wechat_misconfigured",
            "none",
        ),
        (Misbehaviour::Errcode(45009), 502, "wechat_error", "retry"),
        (Misbehaviour::Errcode(99999), 502, "wechat_error", "retry"),
        (
            Misbehaviour::Body("{}".into()),
            502,
            "wechat_error",
            "retry",
        ),
        (Misbehaviour::Garbage, 502, "wechat_error", "retry"),
        (Misbehaviour::Huge(1 << 20), 502, "wechat_error", "retry"),
        (Misbehaviour::Reset, 503, "wechat_unavailable", "retry"),
        (
            Misbehaviour::Status(StatusCode::NOT_FOUND),
            502,
            "wechat_error",
            "retry",
        ),
        (
            Misbehaviour::Status(StatusCode::BAD_GATEWAY),
            503,
            "wechat_unavailable",
            "retry",
        ),
    ] {
        let world = World::start().await;
        let token = world.login("alice").await;
        world.next_number_fails(trouble.clone());
        let answer = world.phone(&token, &world.tap("alice")).await;
        answer.is_refused(status, code, action);
        let retries = answer.header("retry-after").is_some();
        assert_eq!(retries, action == "retry", "{trouble:?}: {answer:?}");
    }
}

#[tokio::test]
async fn without_an_access_token_there_is_no_number_and_it_is_nobodys_fault() {
    for (errcode, status, code, action) in [
        (-1, 503, "wechat_unavailable", "retry"),
        (45011, 503, "wechat_unavailable", "retry"),
        (40125, 502, "wechat_misconfigured", "none"),
        (45009, 502, "wechat_error", "retry"),
    ] {
        let world = World::start().await;
        let token = world.login("alice").await;
        let fails = Misbehaviour::Errcode(errcode);
        world.wechat.misbehave_at(Api::StableToken, 1, fails);
        let answer = world.phone(&token, &world.tap("alice")).await;
        answer.is_refused(status, code, action);
        assert_eq!(world.asked(), 0);
    }
}

#[tokio::test]
async fn an_access_token_that_somebody_ended_is_replaced_and_the_code_is_good_all_the_same() {
    let world = World::start().await;
    let token = world.login("alice").await;
    is_number(&world.phone(&token, &world.tap("alice")).await);
    world.wechat.invalidate_tokens(&appid(APPID));
    is_number(&world.phone(&token, &world.tap("alice")).await);
}

#[tokio::test]
async fn a_slow_wechat_is_given_up_in_time_and_keeps_nobody_else_waiting() {
    let setup = Setup {
        wechat: "timeout = \"300ms\"".to_owned(),
        ..Setup::default()
    };
    let world = setup.start().await;
    let token = world.login("alice").await;
    world.next_number_fails(Misbehaviour::Delay(Duration::from_mins(1)));
    let slow = world.phone_request(&token, &world.tap("alice")).begin();
    let mut slow = slow.await;
    until("WeChat is asked", || world.asked() == 1).await;
    let answer = world.get("/me").bearer(&token).send().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = slow.answer().await;
    answer.is_refused(503, "wechat_unavailable", "retry");
}

#[tokio::test]
async fn a_wechat_that_does_not_answer_is_left_alone_for_numbers_and_not_for_logins() {
    let world = World::start().await;
    let token = world.login("alice").await;
    let down = Misbehaviour::Status(StatusCode::BAD_GATEWAY);
    world.wechat.misbehave_at(Api::PhoneNumber, 5, down);
    for _ in 0..5 {
        let answer = world.phone(&token, &world.tap("alice")).await;
        answer.is_refused(503, "wechat_unavailable", "retry");
    }
    let code = world.tap("alice");
    let answer = world.phone(&token, &code).await;
    answer.is_refused(503, "wechat_unavailable", "retry");
    assert_eq!(answer.header("retry-after"), Some("5"));
    assert_eq!(world.asked(), 5);
    world.login("bob").await;
    world.clock.advance(Duration::from_secs(5));
    is_number(&world.phone(&token, &code).await);
}

#[tokio::test]
async fn a_session_that_makes_codes_up_is_stopped_and_no_other_is() {
    let limit = "[limits]\ndecrypt_failures_per_session = \"3/1m\"";
    let world = Setup::with(limit).start().await;
    let (alice, bob) = (world.login("alice").await, world.login("bob").await);
    // What is good uses nothing up, nor does what is no code, or a trouble of WeChat's.
    for _ in 0..5 {
        is_number(&world.phone(&alice, &world.tap("alice")).await);
        let answer = world.phone(&alice, "two words").await;
        answer.is_refused(400, "bad_request", "fix");
    }
    for _ in 0..4 {
        world.next_number_fails(Misbehaviour::Errcode(99999));
        let answer = world.phone(&alice, &world.tap("alice")).await;
        answer.is_refused(502, "wechat_error", "retry");
    }
    let asked = world.asked();
    let tries = (0..20).map(|n| {
        let world = &world;
        let alice = &alice;
        async move { world.phone(alice, &format!("junk-{n}")).await.status }
    });
    let statuses = join_all(tries).await;
    assert_eq!(statuses.iter().filter(|status| **status == 422).count(), 3);
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 17);
    assert_eq!(world.asked(), asked + 3);
    let answer = world.phone(&alice, &world.tap("alice")).await;
    answer.is_refused(429, "rate_limited", "retry");
    assert_eq!(answer.header("retry-after"), Some("20"));
    // Data that cannot be decrypted is counted together with them.
    let junk = json!({ "encryptedData": "AAAA", "iv": "AAAA" });
    let answer = world.post("/wx/decrypt").bearer(&alice).json(&junk);
    answer.send().await.is_refused(429, "rate_limited", "retry");
    is_number(&world.phone(&bob, &world.tap("bob")).await);
    world.clock.advance(Duration::from_secs(20));
    is_number(&world.phone(&alice, &world.tap("alice")).await);
}

#[tokio::test]
async fn who_hangs_up_before_the_answer_is_counted_and_leaves_nothing_behind() {
    let setup = Setup {
        wechat: "max_in_flight = 1".to_owned(),
        ..Setup::with("[limits]\ndecrypt_failures_per_session = \"1/1m\"")
    };
    let world = setup.start().await;
    let (alice, bob) = (world.login("alice").await, world.login("bob").await);
    // With the access token there already, the one call that may be under way is the number's.
    is_number(&world.phone(&alice, &world.tap("alice")).await);
    world.next_number_fails(Misbehaviour::Delay(Duration::from_millis(300)));
    let hung_up = world.phone_request(&alice, &world.tap("alice")).begin();
    let hung_up = hung_up.await;
    until("WeChat is asked", || world.asked() == 2).await;
    drop(hung_up);
    // Its place is free again when the call is over.
    loop {
        let answer = world.phone(&bob, &world.tap("bob")).await;
        if answer.status == 200 {
            break;
        }
        answer.is_refused(503, "overloaded", "retry");
    }
    let answer = world.phone(&alice, &world.tap("alice")).await;
    answer.is_refused(429, "rate_limited", "retry");
}
