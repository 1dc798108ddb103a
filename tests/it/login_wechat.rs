//! A WeChat that is away, slow, odd or cross: what the client is told, and what it is not.

use std::time::Duration;

use http::{HeaderValue, StatusCode};
use serde_json::json;
use tokio::net::TcpSocket;
use wxgate::sim::wechat::Misbehaviour;

use crate::support::raw::Answer;
use crate::support::{APPID, SECRET, Setup, World, appid, person};

/// After which WeChat is asked again, whatever came before.
const PAUSE: Duration = Duration::from_mins(1);

/// What a refused login is told.
#[derive(Clone, Copy, Debug)]
struct Told {
    status: u16,
    code: &'static str,
    action: &'static str,
    retry_after: bool,
}

const UNAVAILABLE: Told = Told {
    status: 503,
    code: "wechat_unavailable",
    action: "retry",
    retry_after: true,
};

const ERROR: Told = Told {
    status: 502,
    code: "wechat_error",
    action: "retry",
    retry_after: true,
};

const MISCONFIGURED: Told = Told {
    status: 502,
    code: "wechat_misconfigured",
    action: "none",
    retry_after: false,
};

/// Checks a refusal, and that it says nothing that is not the client's.
#[track_caller]
fn check(world: &World, code: &str, answer: &Answer, told: Told) {
    answer.is_refused(told.status, told.code, told.action);
    let retry_after = answer.header("retry-after").map(str::parse::<u32>);
    assert_eq!(retry_after.is_some(), told.retry_after, "{answer:?}");
    assert!(retry_after.is_none_or(|seconds| seconds.unwrap() > 0));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("www-authenticate"), None);
    let key = world
        .wechat
        .session_key_text_of(&appid(APPID), &person("alice"));
    let openid = world.openid("alice");
    let address = world.wechat_url().replace("http://", "");
    let said = format!("{:?} {}", answer.headers, answer.text());
    for hidden in [SECRET, code, &key, &openid, &address, "jscode2session"] {
        assert!(!said.contains(hidden), "{hidden}: {said}");
    }
}

/// Orders a misbehaviour for a login and gives the answer after having checked it.
async fn refused(world: &World, times: u32, how: Misbehaviour, told: Told) -> Answer {
    world.clock.advance(PAUSE);
    world.wechat.behave();
    world.wechat.misbehave(times, how);
    let code = world.code("alice");
    let answer = world.redeem(&code).await;
    check(world, &code, &answer, told);
    answer
}

/// Checks that the gate is as good as new.
async fn recovered(world: &World) {
    world.clock.advance(PAUSE);
    world.wechat.behave();
    world.login("alice").await;
}

#[tokio::test]
async fn a_wechat_that_is_away_is_unavailable() {
    // Bound and not listening: nobody else gets the port, and nobody answers there.
    let closed = TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let setup = Setup {
        wechat_url: Some(format!("http://{}", closed.local_addr().unwrap())),
        ..Setup::default()
    };
    let world = setup.start().await;
    let code = world.code("alice");
    let answer = world.redeem(&code).await;
    check(&world, &code, &answer, UNAVAILABLE);
    assert!(answer.detail().contains("new code"), "{answer:?}");
}

#[tokio::test]
async fn a_slow_wechat_is_unavailable_and_a_new_code_works() {
    let setup = Setup {
        wechat: "timeout = \"100ms\"".to_owned(),
        ..Setup::default()
    };
    let world = setup.start().await;
    let hour = Duration::from_hours(1);
    let code = world.code("alice");
    world.wechat.misbehave(1, Misbehaviour::Delay(hour));
    check(&world, &code, &world.redeem(&code).await, UNAVAILABLE);
    let again = world.redeem(&code).await;
    again.is_refused(400, "login_code_used", "relogin");
    recovered(&world).await;
}

#[tokio::test]
async fn an_answer_that_is_none_is_an_error_and_is_not_asked_for_again() {
    let world = World::start().await;
    let key = "D1ZWEygStjuLCnZ9IN2l4Q==";
    let bodies = [
        String::new(),
        "null".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        "<html>login</html>".to_owned(),
        r#"{"errcode":0,"errmsg":"ok"}"#.to_owned(),
        r#"{"openid":"oUser"}"#.to_owned(),
        format!(r#"{{"session_key":"{key}"}}"#),
        format!(r#"{{"openid":"","session_key":"{key}"}}"#),
        format!(r#"{{"openid":"a\r\nX-WX-OPENID: b","session_key":"{key}"}}"#),
        r#"{"openid":"oUser","session_key":"c2hvcnQ="}"#.to_owned(),
        r#"{"errcode":true,"openid":"oUser"}"#.to_owned(),
    ];
    let mut calls = 0;
    for body in bodies {
        refused(&world, 1, Misbehaviour::Body(body.clone()), ERROR).await;
        calls += 1;
        assert_eq!(world.wechat.calls(), calls, "{body}");
    }
    refused(&world, 1, Misbehaviour::Garbage, ERROR).await;
    recovered(&world).await;
}

#[tokio::test]
async fn an_answer_of_10_mib_is_not_taken() {
    let world = World::start().await;
    let huge = Misbehaviour::Huge(10 * 1024 * 1024);
    refused(&world, 1, huge, ERROR).await;
    recovered(&world).await;
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let world = World::start().await;
    let elsewhere = format!("http://{}/sns/jscode2session", world.app.address);
    let elsewhere = HeaderValue::from_str(&elsewhere).unwrap();
    refused(&world, 1, Misbehaviour::Redirect(elsewhere), ERROR).await;
    assert_eq!(world.app.count(), 0, "the secret would have gone there");
    recovered(&world).await;
}

#[tokio::test]
async fn a_failing_gateway_in_front_of_wechat_is_unavailable() {
    let world = World::start().await;
    for status in [StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE] {
        refused(&world, 2, Misbehaviour::Status(status), UNAVAILABLE).await;
    }
    // One such answer is made good by asking again.
    world
        .wechat
        .misbehave(1, Misbehaviour::Status(StatusCode::BAD_GATEWAY));
    world.login("alice").await;
    let not_found = Misbehaviour::Status(StatusCode::NOT_FOUND);
    refused(&world, 1, not_found, ERROR).await;
    recovered(&world).await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_unavailable() {
    let world = World::start().await;
    refused(&world, 1, Misbehaviour::Reset, UNAVAILABLE).await;
    recovered(&world).await;
}

#[tokio::test]
async fn a_busy_wechat_is_asked_once_more_and_then_unavailable() {
    let world = World::start().await;
    world.wechat.misbehave(1, Misbehaviour::Errcode(-1));
    world.login("alice").await;
    assert_eq!(world.wechat.calls(), 2);
    refused(&world, 2, Misbehaviour::Errcode(-1), UNAVAILABLE).await;
    assert_eq!(world.wechat.calls(), 4);
    recovered(&world).await;
}

#[tokio::test]
async fn a_code_that_our_own_second_try_finds_used_is_not_called_used() {
    let world = World::start().await;
    world.wechat.misbehave(1, Misbehaviour::Errcode(-1));
    world.wechat.misbehave(1, Misbehaviour::Errcode(40163));
    let code = world.code("alice");
    check(&world, &code, &world.redeem(&code).await, UNAVAILABLE);
}

#[tokio::test]
async fn a_user_that_logs_in_too_often_is_told_to_wait() {
    let world = World::start().await;
    let told = Told {
        status: 429,
        code: "rate_limited",
        action: "retry",
        retry_after: true,
    };
    let answer = refused(&world, 1, Misbehaviour::Errcode(45011), told).await;
    assert_eq!(answer.header("retry-after"), Some("60"));
    recovered(&world).await;
}

#[tokio::test]
async fn a_user_whom_wechat_blocks_is_told_so() {
    let world = World::start().await;
    let told = Told {
        status: 403,
        code: "user_blocked",
        action: "none",
        retry_after: false,
    };
    refused(&world, 1, Misbehaviour::Errcode(40226), told).await;
    recovered(&world).await;
}

#[tokio::test]
async fn a_gate_that_wechat_refuses_does_not_tell_the_client_to_log_in() {
    let world = World::start().await;
    for errcode in [
        40002, 40013, 40125, 40164, 40243, 41002, 41004, 50001, 50002,
    ] {
        let answer = refused(&world, 1, Misbehaviour::Errcode(errcode), MISCONFIGURED).await;
        let said = answer.text();
        assert!(!said.contains(&errcode.to_string()), "{said}");
        assert!(!said.contains("wx.login"), "{said}");
    }
    recovered(&world).await;
}

#[tokio::test]
async fn a_wrong_secret_is_the_operators_business() {
    let world = World::start().await;
    let other = Setup {
        toml: "[[apps]]\nappid = \"wx00000000000000aa\"\nsecret = \"not-the-secret-of-it\""
            .to_owned(),
        wechat_url: Some(world.wechat_url()),
        ..Setup::default()
    };
    let other = other.start().await;
    let body = json!({ "code": "any", "appid": "wx00000000000000aa" });
    let answer = other.post("/wx/login").json(&body).send().await;
    check(&other, "not-the-secret-of-it", &answer, MISCONFIGURED);
}

#[tokio::test]
async fn an_errcode_in_a_string_means_the_same() {
    let world = World::start().await;
    let invalid = Told {
        status: 400,
        code: "login_code_invalid",
        action: "relogin",
        retry_after: false,
    };
    for (errcode, told) in [
        ("40029", invalid),
        ("42003", invalid),
        ("40125", MISCONFIGURED),
        ("99999", ERROR),
        ("none", ERROR),
    ] {
        let how = Misbehaviour::ErrcodeText(errcode.to_owned());
        refused(&world, 1, how, told).await;
    }
    recovered(&world).await;
}

#[tokio::test]
async fn an_unknown_errcode_is_an_error_whose_message_goes_no_further() {
    let world = World::start().await;
    refused(&world, 1, Misbehaviour::Errcode(99999), ERROR).await;
    let chatty = format!(r#"{{"errcode":61234,"errmsg":"no {SECRET} jscode2session"}}"#);
    refused(&world, 1, Misbehaviour::Body(chatty), ERROR).await;
    recovered(&world).await;
}
