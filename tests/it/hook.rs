//! `login.hook`: the app server is asked about every login once, and nothing but its clear yes makes
//! a session.

use serde_json::json;

use crate::support::app::until;
use crate::support::raw::Answer;
use crate::support::{APPID, Setup, World};

/// A world whose hook is at this path.
fn hooked(path: &str) -> Setup {
    Setup {
        upstream: "response_timeout = \"200ms\"".to_owned(),
        ..Setup::with(&format!(
            "[login]\nhook = \"{path}\"\n[session]\nmax_per_user = 1"
        ))
    }
}

/// How often the hook was called.
fn calls(world: &World) -> usize {
    let seen = world.app.seen();
    seen.iter().filter(|seen| seen.method == "POST").count()
}

#[tokio::test]
async fn whatever_is_not_a_clear_yes_refuses_the_login_for_good() {
    for path in [
        "/hook/refuses",
        "/hook/moved",
        "/hook/fails",
        "/hook/empty",
        "/hook/words",
        "/hook/two",
        "/hook/huge",
        "/status/204",
        "/garbage",
        "/break",
        "/break-chunked",
        "/hangup",
        "/slow",
        "/events",
    ] {
        let world = hooked(path).start().await;
        let code = world.code("alice");
        let answer = world.redeem(&code).await;
        answer.is_refused(403, "login_refused", "none");
        assert!(!answer.text().contains("wxg_"), "{path}: {answer:?}");
        let again = world.redeem(&code).await;
        again.is_refused(403, "login_refused", "none");
        assert_eq!((world.wechat.calls(), calls(&world)), (1, 1), "{path}");
    }
}

#[tokio::test]
async fn an_app_server_that_is_down_lets_nobody_in() {
    let setup = Setup {
        upstream_url: Some("http://127.0.0.1:1".to_owned()),
        ..hooked("/hook/welcome")
    };
    let world = setup.start().await;
    let answer = world.redeem(&world.code("alice")).await;
    answer.is_refused(403, "login_refused", "none");
}

#[tokio::test]
async fn a_refused_login_leaves_the_sessions_of_the_user_as_they_were() {
    let world = hooked("/hook/first").start().await;
    let token = world.login("alice").await;
    // A second session of the user would end the first.
    let refused = world.redeem(&world.code("alice")).await;
    refused.is_refused(403, "login_refused", "none");
    assert_eq!(world.get("/me").bearer(&token).send().await.status, 200);
    let forged = format!("wxg_{}", "A".repeat(43));
    let answer = world.get("/me").bearer(&forged).send().await;
    answer.is_refused(401, "session_expired", "relogin");
}

#[tokio::test]
async fn nobody_is_asked_about_a_login_that_wechat_does_not_accept() {
    let world = hooked("/hook/welcome").start().await;
    let answer = world.redeem("never-issued").await;
    answer.is_refused(400, "login_code_invalid", "relogin");
    assert_eq!(world.app.count(), 0);
}

#[tokio::test]
async fn the_hook_is_told_who_logs_in_and_what_else_the_client_said() {
    let world = hooked("/hook/welcome").start().await;
    let body = json!({
        "code": world.code("alice"), "appid": APPID, "invitedBy": "bob", "n": [1, { "a": null }],
    });
    let request = world.post("/wx/login").json(&body);
    let request = request
        .header("X-WX-OPENID", "oForged")
        .header("x_wx_unionid", "uForged")
        .header("X-Forwarded-For", "6.6.6.6")
        .header("X-HTTP-Method-Override", "DELETE")
        .header("Cookie", "a=b");
    request.send().await.token();
    let seen = world.app.last();
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("POST", "/hook/welcome")
    );
    let told: serde_json::Value = serde_json::from_slice(&seen.body).unwrap();
    let client = json!({ "invitedBy": "bob", "n": [1, { "a": null }] });
    assert_eq!(
        told,
        json!({ "event": "login", "appid": APPID, "client": client })
    );
    for (name, value) in [
        ("x-wx-openid", world.openid("alice").as_str()),
        ("x-wx-appid", APPID),
        ("x-wx-source", "wx_client"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-real-ip", "127.0.0.1"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(seen.header(name), [value], "{name}");
    }
    for name in ["x_wx_unionid", "x-http-method-override", "cookie"] {
        assert!(seen.header(name).is_empty(), "{name}: {seen:?}");
    }
    for name in ["x-request-id", "traceparent", "host"] {
        assert_eq!(seen.header(name).len(), 1, "{name}: {seen:?}");
    }
}

#[tokio::test]
async fn what_the_app_server_says_reaches_the_client_unchanged_and_again_for_a_repeat() {
    let world = hooked("/hook/welcome").start().await;
    let code = world.code("alice");
    let data = r#""data":{"name": "Alice", "big": 12345678901234567890123}"#;
    let first = world.redeem(&code).await;
    assert!(first.text().contains(data), "{first:?}");
    let repeated = world.redeem(&code).await;
    assert_eq!(repeated.token(), first.token());
    assert!(repeated.text().contains(data), "{repeated:?}");
    assert_eq!(calls(&world), 1);
    let nothing = hooked("/hook/created").start().await;
    let code = nothing.code("alice");
    for _ in 0..2 {
        let answer = nothing.redeem(&code).await;
        assert!(answer.text().contains(r#""data":null"#), "{answer:?}");
    }
}

#[tokio::test]
async fn racing_requests_with_one_code_ask_the_app_server_once() {
    let world = hooked("/wait/50").start().await;
    let code = world.code("alice");
    let redeemed: Vec<Answer> =
        futures_util::future::join_all((0..8).map(|_| world.redeem(&code))).await;
    // It waits long enough for all to come, and then says "ok", which is no JSON.
    for answer in redeemed {
        answer.is_refused(403, "login_refused", "none");
    }
    assert_eq!((world.wechat.calls(), calls(&world)), (1, 1));
}

#[tokio::test]
async fn a_client_that_hangs_up_while_the_app_server_is_asked_does_not_cancel_the_login() {
    let world = hooked("/hook/welcome").start().await;
    let code = world.code("alice");
    let late = std::time::Duration::from_millis(100);
    world
        .wechat
        .misbehave(1, wxgate::sim::wechat::Misbehaviour::Delay(late));
    let request = world.post("/wx/login").json(&json!({ "code": code }));
    let connection = request.begin().await;
    until("WeChat is asked", || world.wechat.calls() == 1).await;
    drop(connection);
    until("the app server is asked", || calls(&world) == 1).await;
    let answer = world.redeem(&code).await;
    assert_eq!(answer.json()["data"]["name"], "Alice");
    assert_eq!((world.wechat.calls(), calls(&world)), (1, 1));
}
