//! `[phone] deliver = "upstream"`: the number goes to the app server as the gate's word, and no client
//! can say it itself.

use serde_json::{Value, json};
use wxgate::sim::wechat::{Api, Misbehaviour};

use crate::support::{APPID, Setup};

const DELIVERING: &str = "[phone]\ndeliver = \"upstream\"\ndeliver_to = \"/internal/phone\"";

#[tokio::test]
async fn no_client_reaches_the_path_that_numbers_are_delivered_to() {
    let open = format!("{DELIVERING}\n[access]\ndefault = \"public\"");
    let world = Setup::with(&open).start().await;
    let token = world.login("alice").await;
    let forged = json!({ "phoneNumber": "110" });
    for path in [
        "/internal/phone",
        "/Internal/Phone/",
        "//internal/phone",
        "/internal/%70hone",
        "/x/../internal/phone",
        "/internal/phone;v=1",
        "/internal/phone?a=b",
    ] {
        let answer = world.post(path).bearer(&token).json(&forged).send().await;
        answer.is_refused(404, "not_found", "fix");
    }
    assert_eq!(world.app.count(), 0);
}

#[tokio::test]
async fn what_wechat_does_not_give_is_not_delivered() {
    let world = Setup::with(DELIVERING).start().await;
    let token = world.login("alice").await;
    let answer = world.phone(&token, &world.tap("bob")).await;
    answer.is_refused(422, "phone_code_invalid", "reacquire");
    let answer = world.phone(&token, "never-made").await;
    answer.is_refused(422, "phone_code_invalid", "reacquire");
    let down = Misbehaviour::Errcode(-1);
    world.wechat.misbehave_at(Api::PhoneNumber, 1, down);
    let answer = world.phone(&token, &world.tap("alice")).await;
    answer.is_refused(503, "wechat_unavailable", "retry");
    let forged = json!({ "phoneNumber": "110", "purePhoneNumber": "110" });
    let request = world.post("/wx/phone").bearer(&token).json(&forged);
    request.send().await.is_refused(400, "bad_request", "fix");
    assert_eq!(world.app.count(), 0);
}

#[tokio::test]
async fn a_number_goes_to_the_app_server_and_its_answer_to_the_client() {
    let world = Setup::with(DELIVERING).start().await;
    let token = world.login("alice").await;
    let body = json!({ "code": world.tap("alice"), "phoneNumber": "110" });
    let request = world.post("/wx/phone?a=b").bearer(&token).json(&body);
    let request = request
        .header("X-WX-OPENID", "oForged")
        .header("x_wx_openid", "oForged")
        .header("X-WX-UNIONID", "uForged")
        .header("X-HTTP-Method-Override", "DELETE")
        .header("Cookie", "a=b");
    let answer = request.send().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let seen = world.app.last();
    let expected = format!("POST /internal/phone {} bytes", seen.body_length);
    assert_eq!(answer.text(), expected);
    let told: Value = serde_json::from_slice(&seen.body).unwrap();
    assert_eq!(told["phoneNumber"], "13580006666");
    assert_eq!(told["watermark"]["appid"], APPID);
    assert_eq!(seen.header("x-wx-openid"), [world.openid("alice")]);
    assert_eq!(seen.header("x-wx-source"), ["wx_client"]);
    assert_eq!(seen.header("content-type"), ["application/json"]);
    assert_eq!(seen.header("x-forwarded-for"), ["127.0.0.1"]);
    let unionid = seen.header("x-wx-unionid");
    assert!(unionid != ["uForged"] && unionid.len() == 1, "{unionid:?}");
    for name in [
        "x_wx_openid",
        "cookie",
        "authorization",
        "x-http-method-override",
    ] {
        assert!(seen.header(name).is_empty(), "{name}: {seen:?}");
    }
}

#[tokio::test]
async fn by_itself_the_path_is_the_one_that_the_client_asked_for() {
    let world = Setup::with("[phone]\ndeliver = \"upstream\"").start().await;
    let token = world.login("alice").await;
    let request = world.phone_request(&token, &world.tap("alice"));
    assert_eq!(request.send().await.status, 200);
    assert_eq!(world.app.last().target, "/wx/phone");
    assert_eq!(world.app.count(), 1);
}

#[tokio::test]
async fn the_app_servers_answer_is_returned_whatever_it_is() {
    for (path, status) in [
        ("/hook/refuses", 403),
        ("/hook/fails", 500),
        ("/hangup", 502),
    ] {
        let config = format!("[phone]\ndeliver = \"upstream\"\ndeliver_to = \"{path}\"");
        let world = Setup::with(&config).start().await;
        let token = world.login("alice").await;
        let answer = world.phone(&token, &world.tap("alice")).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
    }
}
