//! `POST /wx/phone`: a code of the phone button becomes a phone number, by WeChat's word alone.

mod delivered;
mod failures;

use serde_json::{Value, json};
use wxgate::sim::wechat::Api;

use crate::support::raw::{Answer, Request};
use crate::support::{APPID, APPID2, Setup, World, appid, person};

impl World {
    /// What a tap on the phone button gives the mini program.
    fn tap(&self, user: &str) -> String {
        self.wechat.issue_phone_code(&appid(APPID), &person(user))
    }

    fn phone_request(&self, token: &str, code: &str) -> Request {
        let body = json!({ "code": code });
        self.post("/wx/phone").bearer(token).json(&body)
    }

    async fn phone(&self, token: &str, code: &str) -> Answer {
        self.phone_request(token, code).send().await
    }

    /// How often WeChat was asked for a number.
    fn asked(&self) -> u64 {
        self.wechat.calls_of(Api::PhoneNumber)
    }
}

#[track_caller]
fn is_number(answer: &Answer) {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["phoneNumber"], "13580006666", "{answer:?}");
}

#[tokio::test]
async fn who_is_not_logged_in_gets_no_number_and_wechat_is_not_asked() {
    let world = World::start().await;
    let code = world.tap("alice");
    let answer = world.post("/wx/phone").json(&json!({ "code": code }));
    let answer = answer.send().await;
    answer.is_refused(401, "session_required", "relogin");
    let unknown = format!("wxg_{}", "A".repeat(43));
    let answer = world.phone(&unknown, &code).await;
    answer.is_refused(401, "session_expired", "relogin");
    assert_eq!(world.asked(), 0);
    is_number(&world.phone(&world.login("alice").await, &code).await);
}

#[tokio::test]
async fn a_request_of_the_wrong_form_is_told_so_and_wechat_is_not_asked() {
    let world = World::start().await;
    let token = world.login("alice").await;
    let request = || world.post("/wx/phone").bearer(&token);
    for body in [
        json!({}),
        json!([]),
        json!({ "code": null }),
        json!({ "code": 1 }),
        json!({ "code": "" }),
        json!({ "code": "two words" }),
        json!({ "code": "line\nbreak" }),
        json!({ "code": "密" }),
        json!({ "code": "a".repeat(129) }),
    ] {
        let answer = request().json(&body).send().await;
        answer.is_refused(400, "bad_request", "fix");
    }
    for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
        let answer = world.request(method, "/wx/phone").bearer(&token);
        let answer = answer.send().await;
        answer.is_refused(405, "method_not_allowed", "fix");
        assert_eq!(answer.header("allow"), Some("POST"));
    }
    let text = request().header("Content-Type", "text/plain").body("{}");
    let answer = text.send().await;
    answer.is_refused(415, "unsupported_media_type", "fix");
    let code = world.tap("alice");
    let padded = |kib: usize| json!({ "code": code, "pad": "x".repeat(kib * 1024) });
    let answer = request().json(&padded(16)).send().await;
    answer.is_refused(413, "body_too_large", "fix");
    assert_eq!(world.asked(), 0);
    is_number(&request().json(&padded(15)).send().await);
}

#[tokio::test]
async fn a_number_is_what_wechat_says_of_it_and_reaches_nobody_else() {
    let world = World::start().await;
    let token = world.login("alice").await;
    let answer = world.phone(&token, &world.tap("alice")).await;
    is_number(&answer);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let told = answer.json();
    assert_eq!(told["purePhoneNumber"], "13580006666");
    assert_eq!(told["countryCode"], "86");
    assert_eq!(told["watermark"]["appid"], APPID);
    assert_eq!(told.as_object().unwrap().len(), 4, "{told}");
    assert_eq!(world.app.count(), 0, "the route is the gate's own");
}

#[tokio::test]
async fn a_form_and_other_names_of_the_field_will_do() {
    let names = "[compat]\nfield_names = { code = [\"phone_code\"] }";
    let world = Setup::with(names).start().await;
    let token = world.login("alice").await;
    let form = |name: &str| {
        let request = world.post("/wx/phone").bearer(&token);
        let request = request.header("Content-Type", "application/x-www-form-urlencoded");
        request.body(format!("{name}={}", world.tap("alice")))
    };
    is_number(&form("code").send().await);
    is_number(&form("phone_code").send().await);
    let both = json!({ "code": world.tap("alice"), "phone_code": world.tap("alice") });
    let answer = world.post("/wx/phone").bearer(&token).json(&both);
    answer.send().await.is_refused(400, "bad_request", "fix");
}

#[tokio::test]
async fn the_envelope_and_the_language_are_those_of_every_answer() {
    let setup = Setup::with("[errors]\nenvelope = \"code-msg-data\"");
    let world = setup.start().await;
    let login = world.redeem(&world.code("alice")).await.json();
    let token = login["data"]["token"].as_str().unwrap();
    let answer = world.phone(token, &world.tap("alice")).await.json();
    assert_eq!((&answer["code"], &answer["msg"]), (&json!(0), &json!("ok")));
    assert_eq!(answer["data"]["phoneNumber"], "13580006666");
    let request = world.phone_request(token, "never-made");
    let refused = request.header("Accept-Language", "zh-CN").send().await;
    assert_eq!(refused.status, 422, "{refused:?}");
    assert_eq!(refused.json()["msg"], "手机号凭证无效");
    let told: Value = refused.json()["data"].clone();
    assert_eq!(told["code"], "phone_code_invalid");
    assert!(told["detail"].as_str().unwrap().contains("重新点击按钮"));
}

#[tokio::test]
async fn the_route_is_where_the_configuration_says_or_nowhere() {
    let two = Setup::with("[paths]\nphone = [\"/a/phone\", \"/b/phone\"]");
    let world = two.start().await;
    let token = world.login("alice").await;
    let ask = async |path: &str| {
        let body = json!({ "code": world.tap("alice") });
        world.post(path).bearer(&token).json(&body).send().await
    };
    for path in ["/a/phone", "/b/phone"] {
        is_number(&ask(path).await);
    }
    assert_eq!(world.app.count(), 0);
    assert_eq!(ask("/wx/phone").await.status, 200);
    assert_eq!(world.app.last().target, "/wx/phone", "the app server's own");

    let off = Setup::with("[paths]\nphone = \"\"").start().await;
    let token = off.login("alice").await;
    assert_eq!(off.phone(&token, &off.tap("alice")).await.status, 200);
    assert_eq!(
        (off.app.last().target.as_str(), off.asked()),
        ("/wx/phone", 0)
    );
}

#[tokio::test]
async fn each_mini_program_asks_in_its_own_name() {
    let setup = Setup {
        two_apps: true,
        ..Setup::default()
    };
    let world = setup.start().await;
    let body = json!({ "appid": APPID2, "code": world.code_of(APPID2, "alice") });
    let token = world.post("/wx/login").json(&body).send().await.token();
    let code = world
        .wechat
        .issue_phone_code(&appid(APPID2), &person("alice"));
    let answer = world.phone(&token, &code).await;
    assert_eq!(answer.json()["watermark"]["appid"], APPID2, "{answer:?}");
    let answer = world.phone(&token, &world.tap("alice")).await;
    answer.is_refused(422, "phone_code_invalid", "reacquire");
}
