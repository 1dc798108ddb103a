//! `POST /wx/login`: what it takes, what it answers, and which codes never reach WeChat.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::raw::Answer;
use crate::support::{APPID, APPID2, Setup, World, appid, person};

/// The names of the fields of an answer.
#[track_caller]
fn fields(answer: &Answer) -> Vec<String> {
    let answer = answer.json();
    answer.as_object().unwrap().keys().cloned().collect()
}

#[tokio::test]
async fn a_login_answers_a_token_and_nothing_that_wechat_said() {
    let world = World::start().await;
    let answer = world.redeem(&world.code("alice")).await;
    let token = answer.token();
    let random = token.strip_prefix("wxg_").unwrap();
    assert_eq!(random.len(), 43, "{token}");
    let base64url = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    assert!(random.bytes().all(base64url), "{token}");
    let expected = json!({
        "token": token,
        "token_type": "Bearer",
        "expires_in": 7 * 24 * 3600,
        "appid": APPID,
    });
    assert_eq!(answer.json(), expected);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let key = world
        .wechat
        .session_key_text_of(&appid(APPID), &person("alice"));
    let openid = world.openid("alice");
    for text in [answer.text(), format!("{:?}", answer.headers)] {
        for hidden in ["session_key", "openid", "unionid", &openid, key.as_str()] {
            assert!(!text.contains(hidden), "{hidden}: {text}");
        }
    }
}

#[tokio::test]
async fn two_logins_of_one_user_have_tokens_of_their_own() {
    let world = World::start().await;
    let (first, second) = (world.login("alice").await, world.login("alice").await);
    assert_ne!(first, second);
    for token in [first, second] {
        let answer = world.get("/me").bearer(&token).send().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let seen = world.app.last();
        assert_eq!(seen.header("x-wx-openid"), [world.openid("alice")]);
    }
}

#[tokio::test]
async fn a_form_is_as_good_as_json() {
    let world = World::start().await;
    for content_type in [
        "application/x-www-form-urlencoded",
        "Application/X-WWW-Form-Urlencoded; charset=UTF-8",
    ] {
        let body = format!("appid={APPID}&code={}&more=%E5%BC%A0", world.code("alice"));
        let request = world.post("/wx/login").header("Content-Type", content_type);
        request.body(body).send().await.token();
    }
}

#[tokio::test]
async fn json_needs_no_content_type_and_may_name_its_charset() {
    let world = World::start().await;
    let body = || json!({ "code": world.code("alice"), "extra": [1, null] }).to_string();
    world.post("/wx/login").body(body()).send().await.token();
    let request = world
        .post("/wx/login")
        .header("Content-Type", "application/json; charset=utf-8");
    request.body(body()).send().await.token();
}

#[tokio::test]
async fn ids_are_told_only_as_far_as_they_are_exposed() {
    for (expose, openid, unionid) in [
        (r#"["openid"]"#, true, false),
        (r#"["unionid"]"#, false, true),
        (r#"["openid", "unionid"]"#, true, true),
    ] {
        let world = Setup::with(&format!("[login]\nexpose = {expose}"));
        let world = world.start().await;
        let answer = world.redeem(&world.code("alice")).await;
        let told = answer.json();
        let expected = openid.then(|| Value::from(world.openid("alice")));
        assert_eq!(told.get("openid"), expected.as_ref(), "{expose}");
        assert_eq!(told.get("unionid").is_some(), unionid, "{expose}");
        assert!(told.get("session_key").is_none(), "{expose}");
    }
}

#[tokio::test]
async fn an_idle_limit_is_told_when_there_is_one() {
    let world = Setup::with("[session]\nttl = \"2d\"\nidle_ttl = \"30m\"");
    let world = world.start().await;
    let answer = world.redeem(&world.code("alice")).await;
    assert_eq!(answer.json()["idle_expires_in"], 1800);
    assert_eq!(answer.json()["expires_in"], 2 * 24 * 3600);
    assert_eq!(
        fields(&answer),
        [
            "appid",
            "expires_in",
            "idle_expires_in",
            "token",
            "token_type"
        ]
    );
}

#[tokio::test]
async fn a_code_that_wechat_does_not_know_is_invalid() {
    let world = World::start().await;
    let answer = world.redeem("0716AVll20uHk94SLDml27etM946AVlq").await;
    answer.is_refused(400, "login_code_invalid", "relogin");
    let detail = answer.detail();
    for told in ["5 minutes", "used", APPID, "wx.login"] {
        assert!(detail.contains(told), "{told}: {detail}");
    }
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn a_code_is_too_old_after_five_minutes() {
    let world = World::start().await;
    let code = world.code("alice");
    world.clock.advance(Duration::from_secs(301));
    let answer = world.redeem(&code).await;
    answer.is_refused(400, "login_code_invalid", "relogin");
}

#[tokio::test]
async fn a_code_of_another_mini_program_is_invalid() {
    let world = World::start().await;
    let answer = world.redeem(&world.code_of(APPID2, "alice")).await;
    answer.is_refused(400, "login_code_invalid", "relogin");
}

#[tokio::test]
async fn a_code_that_somebody_else_used_is_used() {
    let world = World::start().await;
    let code = world.code("alice");
    // Another gate, with another memory, at the same WeChat.
    let elsewhere = Setup {
        wechat_url: Some(world.wechat_url()),
        ..Setup::default()
    };
    elsewhere.start().await.redeem(&code).await.token();
    let answer = world.redeem(&code).await;
    answer.is_refused(400, "login_code_used", "relogin");
}

#[tokio::test]
async fn a_code_of_impossible_shape_never_reaches_wechat() {
    let world = World::start().await;
    for code in [
        json!(""),
        json!("a".repeat(129)),
        json!("with space"),
        json!("line\nbreak"),
        json!("nul\0"),
        json!("代码"),
        json!(12345),
        json!(true),
        json!(["code"]),
        json!({ "code": "code" }),
        json!(null),
    ] {
        let body = json!({ "code": code });
        let answer = world.post("/wx/login").json(&body).send().await;
        answer.is_refused(400, "bad_request", "fix");
    }
    assert_eq!(world.wechat.calls(), 0);
    let longest = world.redeem(&"a".repeat(128)).await;
    longest.is_refused(400, "login_code_invalid", "relogin");
    assert_eq!(world.wechat.calls(), 1);
}

#[tokio::test]
async fn a_code_cannot_add_parameters_to_the_call() {
    let world = World::start().await;
    let code = format!("x&js_code={}", world.code("alice"));
    let answer = world.redeem(&code).await;
    answer.is_refused(400, "login_code_invalid", "relogin");
}

#[tokio::test]
async fn a_refused_code_is_remembered_for_five_minutes() {
    let world = World::start().await;
    for _ in 0..3 {
        let answer = world.redeem("never-issued").await;
        answer.is_refused(400, "login_code_invalid", "relogin");
    }
    assert_eq!(world.wechat.calls(), 1);
    world.redeem("another").await;
    assert_eq!(world.wechat.calls(), 2, "only that code is remembered");
    world.clock.advance(Duration::from_secs(299));
    world.redeem("never-issued").await;
    assert_eq!(world.wechat.calls(), 2);
    world.clock.advance(Duration::from_secs(2));
    world.redeem("never-issued").await;
    assert_eq!(world.wechat.calls(), 3);
}

#[tokio::test]
async fn a_code_refused_for_one_mini_program_is_still_good_for_its_own() {
    let setup = Setup {
        two_apps: true,
        ..Setup::default()
    };
    let world = setup.start().await;
    let body = |app| json!({ "code": "mock-alice", "appid": app });
    let code = world.code_of(APPID2, "alice");
    let redeem = |app| {
        let request = world.post("/wx/login");
        request.json(&json!({ "code": code, "appid": app })).send()
    };
    redeem(APPID)
        .await
        .is_refused(400, "login_code_invalid", "relogin");
    assert_eq!(redeem(APPID2).await.json()["appid"], APPID2);
    // The kept answer is that mini program's as well.
    world.post("/wx/login").json(&body(APPID)).send().await;
    let other = world.post("/wx/login").json(&body(APPID2)).send().await;
    assert_eq!(other.json()["appid"], APPID2);
}

#[tokio::test]
async fn another_method_is_told_the_right_one() {
    let world = World::start().await;
    for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
        let target = format!("/wx/login?code={}", world.code("alice"));
        let answer = world.request(method, &target).send().await;
        answer.is_refused(405, "method_not_allowed", "fix");
        assert!(answer.detail().contains("POST"), "{answer:?}");
        assert_eq!(answer.header("allow"), Some("POST"));
    }
    assert_eq!(world.wechat.calls(), 0);
    assert_eq!(world.app.count(), 0, "the route is the gate's own");
}

#[tokio::test]
async fn a_body_of_another_type_is_not_read() {
    let world = World::start().await;
    for content_type in ["text/plain", "multipart/form-data; boundary=x", "json", ""] {
        let body = json!({ "code": world.code("alice") }).to_string();
        let request = world.post("/wx/login").header("Content-Type", content_type);
        let answer = request.body(body).send().await;
        answer.is_refused(415, "unsupported_media_type", "fix");
        assert!(answer.detail().contains("application/json"), "{answer:?}");
    }
    assert_eq!(world.wechat.calls(), 0);
}

#[tokio::test]
async fn a_body_over_16_kib_is_too_large_and_one_of_16_kib_is_not() {
    let world = World::start().await;
    let body = |length: usize| {
        let frame = json!({ "code": "never-issued", "pad": "" }).to_string();
        let pad = "x".repeat(length - frame.len());
        json!({ "code": "never-issued", "pad": pad }).to_string()
    };
    let send = |length| world.post("/wx/login").body(body(length)).send();
    for length in [16 * 1024 + 1, 17 * 1024] {
        send(length).await.is_refused(413, "body_too_large", "fix");
    }
    let chunked = world
        .post("/wx/login")
        .header("Transfer-Encoding", "chunked");
    let body_in_chunks = format!("4400\r\n{}\r\n0\r\n\r\n", body(17 * 1024));
    let answer = chunked.body(body_in_chunks).send().await;
    answer.is_refused(413, "body_too_large", "fix");
    assert_eq!(world.wechat.calls(), 0);
    send(16 * 1024)
        .await
        .is_refused(400, "login_code_invalid", "relogin");
}

#[tokio::test]
async fn a_body_that_makes_no_sense_is_a_bad_request() {
    let world = World::start().await;
    let form = "application/x-www-form-urlencoded";
    for (content_type, body) in [
        ("application/json", ""),
        ("application/json", "{"),
        ("application/json", "code=x"),
        ("application/json", "[\"code\"]"),
        ("application/json", "\"code\""),
        ("application/json", "{}"),
        ("application/json", r#"{"Code":"x"}"#),
        ("application/json", r#"{"code":"x"} {}"#),
        ("application/json", "{\"code\":\"\u{0}\"}"),
        (form, ""),
        (form, "code="),
        (form, "kode=x"),
        (form, "code=x&code=y"),
        (form, r#"{"code":"x"}"#),
    ] {
        let request = world.post("/wx/login").header("Content-Type", content_type);
        let answer = request.body(body).send().await;
        answer.is_refused(400, "bad_request", "fix");
    }
    assert_eq!(world.wechat.calls(), 0);
    let nothing = world.post("/wx/login").body("{}").send().await;
    assert!(nothing.detail().contains("code"), "{nothing:?}");
}

#[tokio::test]
async fn a_dead_token_does_not_keep_its_owner_from_logging_in() {
    let world = World::start().await;
    let token = world.login("alice").await;
    let ended = world.request("DELETE", "/wx/session").bearer(&token);
    assert_eq!(ended.send().await.status, 204);
    for dead in [token, format!("wxg_{}", "A".repeat(43)), "junk".to_owned()] {
        let body = json!({ "code": world.code("alice") });
        let request = world.post("/wx/login").bearer(&dead).json(&body);
        request.send().await.token();
    }
}
