//! `errors.envelope = "code-msg-data"`: every answer of the gate's own is `{code, msg, data}`, and the
//! status and headers stay as they are without.

use serde_json::{Value, json};
use wxgate::sim::wechat::Wanted;

use crate::support::raw::Answer;
use crate::support::{APPID, Setup, World, appid, person};

const ENVELOPE: &str = "[errors]\nenvelope = \"code-msg-data\"\n";

async fn start() -> World {
    Setup::with(ENVELOPE).start().await
}

fn login(world: &World, user: &str) -> crate::support::raw::Request {
    let body = json!({ "code": world.code(user) });
    world.post("/wx/login").json(&body)
}

/// Checks the envelope of a success, and gives what is in it.
#[track_caller]
fn data(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let body = answer.json();
    let members: Vec<_> = body.as_object().unwrap().keys().collect();
    assert_eq!(members, ["code", "data", "msg"]);
    assert_eq!((&body["code"], &body["msg"]), (&json!(0), &json!("ok")));
    body["data"].clone()
}

/// Checks the envelope of a refusal, with this status and code in it.
#[track_caller]
fn is_refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let body = answer.json();
    let members: Vec<_> = body.as_object().unwrap().keys().collect();
    assert_eq!(members, ["code", "data", "msg"]);
    assert_eq!(body["code"], status, "{answer:?}");
    let problem = &body["data"];
    assert_eq!(body["msg"], problem["title"], "{answer:?}");
    assert_eq!(problem["code"], code, "{answer:?}");
    assert_eq!(problem["status"], status, "{answer:?}");
    for member in ["type", "title", "detail", "action", "request_id"] {
        assert!(
            problem[member]
                .as_str()
                .is_some_and(|text| !text.is_empty())
        );
    }
    assert_eq!(
        problem["request_id"],
        answer.header("x-request-id").unwrap()
    );
}

#[tokio::test]
async fn without_it_answers_are_bare() {
    let world = World::start().await;
    let answer = login(&world, "alice").send().await;
    assert_eq!(answer.json()["code"], Value::Null);
    let token = answer.token();
    assert_eq!(world.get("/me").send().await.problem(), "session_required");
    let logout = world.post("/wx/logout").bearer(&token).send().await;
    assert_eq!((logout.status, logout.body.len()), (204, 0));
}

#[tokio::test]
async fn what_goes_well_has_code_0() {
    let world = start().await;
    let logged_in = data(&login(&world, "alice").send().await);
    assert_eq!(logged_in["appid"], APPID);
    let token = logged_in["token"].as_str().unwrap();

    let answer = world.get("/wx/session").bearer(token).send().await;
    assert_eq!(data(&answer)["appid"], APPID);

    let wanted = Wanted::default();
    let sealed = world
        .wechat
        .user_data(&appid(APPID), &person("alice"), wanted);
    let request = world.post("/wx/decrypt").bearer(token);
    let opened = data(&request.json(&sealed.to_json()).send().await);
    assert_eq!(opened["watermark"]["appid"], APPID);

    // Not 204: a front end looks for a code in every answer.
    let answer = world.post("/wx/logout").bearer(token).send().await;
    assert_eq!(data(&answer), Value::Null);
    let token = data(&login(&world, "alice").send().await)["token"].clone();
    let answer = world.request("DELETE", "/wx/session?all=true");
    let answer = answer.bearer(token.as_str().unwrap()).send().await;
    assert_eq!(data(&answer), Value::Null);
}

#[tokio::test]
async fn refusals_have_their_status_as_code_on_every_route_of_the_gate() {
    let world = start().await;
    let stale = "wxg_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for (request, status, code) in [
        (world.post("/wx/login").body("{}"), 400, "bad_request"),
        (
            world.post("/wx/login").body("{\"code\":\"no-such-code\"}"),
            400,
            "login_code_invalid",
        ),
        (world.get("/wx/login"), 405, "method_not_allowed"),
        (world.get("/wx/decrypt"), 405, "method_not_allowed"),
        (world.post("/wx/session"), 405, "method_not_allowed"),
        (world.get("/wx/logout"), 405, "method_not_allowed"),
        (world.post("/wx/decrypt"), 401, "session_required"),
        (
            world.get("/wx/session").bearer(stale),
            401,
            "session_expired",
        ),
        (world.post("/wx/logout"), 401, "session_required"),
        (world.get("/wx/Login"), 400, "ambiguous_path"),
        (world.get("/me"), 401, "session_required"),
        (world.get("/me").bearer(stale), 401, "session_expired"),
        (
            world.post("/wx/login").header("Content-Type", "image/png"),
            415,
            "unsupported_media_type",
        ),
        (
            world.get(&format!("/{}", "a".repeat(9000))),
            414,
            "uri_too_long",
        ),
    ] {
        let answer = request.send().await;
        is_refused(&answer, status, code);
        let challenged = answer.header("www-authenticate").is_some();
        assert_eq!(challenged, status == 401, "{answer:?}");
        assert_eq!(
            answer.header("allow").is_some(),
            status == 405,
            "{answer:?}"
        );
    }
    assert_eq!(world.app.count(), 0);
}

#[tokio::test]
async fn who_may_try_again_is_told_when_as_without_it() {
    let setup = Setup {
        upstream_url: Some("http://127.0.0.1:1".to_owned()),
        ..Setup::with(ENVELOPE)
    };
    let world = setup.start().await;
    let token = data(&login(&world, "alice").send().await)["token"].clone();
    let request = world.get("/me").bearer(token.as_str().unwrap());
    let answer = request.send().await;
    is_refused(&answer, 502, "upstream_unreachable");
    assert_eq!(answer.header("retry-after"), Some("2"));
}

#[tokio::test]
async fn what_front_ends_show_is_in_the_language_of_the_client() {
    let world = start().await;
    let request = world.get("/me").header("Accept-Language", "zh-CN,zh");
    let answer = request.send().await;
    is_refused(&answer, 401, "session_required");
    assert_eq!(answer.json()["msg"], "请先登录");
    assert_eq!(answer.header("content-language"), Some("zh-CN"));
}

#[tokio::test]
async fn answers_of_the_app_server_have_no_envelope() {
    let bare = World::start().await;
    let token = bare.login("alice").await;
    let expected = bare.get("/me").bearer(&token).send().await;
    let world = start().await;
    let token = data(&login(&world, "alice").send().await)["token"].clone();
    let token = token.as_str().unwrap();
    let answer = world.get("/me").bearer(token).send().await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.text(), expected.text());
    assert_eq!(
        answer.header("content-type"),
        expected.header("content-type")
    );
}
