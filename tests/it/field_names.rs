//! `compat.field_names`: fields under names that clients had before the gate.

use serde_json::{Value, json};
use wxgate::sim::wechat::Wanted;

use crate::support::{APPID, Setup, World, appid, person};

const NAMES: &str = "[compat]\nfield_names = { code = [\"js_code\", \"jsCode\"], appid = [\"app_id\"], \
                     encryptedData = [\"encrypted_data\"], rawData = [\"raw_data\"], \
                     iv = [\"vector\"], signature = [\"sign\"] }";

async fn start() -> World {
    Setup::with(NAMES).start().await
}

/// What WeChat gave the client, under these names for `encryptedData`, `iv`, `rawData` and
/// `signature`.
fn sealed(world: &World, names: [&str; 4]) -> Value {
    let wanted = Wanted::default();
    let sealed = world
        .wechat
        .user_data(&appid(APPID), &person("alice"), wanted);
    let sealed = sealed.to_json();
    let own = ["encryptedData", "iv", "rawData", "signature"];
    let named = own.iter().zip(names);
    let fields = named.map(|(own, name)| (name.to_owned(), sealed[*own].clone()));
    Value::Object(fields.collect())
}

#[tokio::test]
async fn other_names_mean_nothing_unless_they_are_configured() {
    let world = World::start().await;
    let code = json!({ "js_code": world.code("alice") });
    let answer = world.post("/wx/login").json(&code).send().await;
    answer.is_refused(400, "bad_request", "fix");
    let both = json!({ "code": world.code("alice"), "js_code": "anything" });
    let token = world.post("/wx/login").json(&both).send().await.token();
    let body = sealed(&world, ["encrypted_data", "vector", "raw_data", "sign"]);
    let answer = world.post("/wx/decrypt").bearer(&token).json(&body);
    answer.send().await.is_refused(400, "bad_request", "fix");
}

#[tokio::test]
async fn a_field_under_two_names_is_refused_and_nobody_is_asked() {
    let world = start().await;
    let code = world.code("alice");
    for body in [
        json!({ "code": code, "js_code": code }),
        json!({ "jsCode": code, "js_code": code }),
        json!({ "code": code, "js_code": 1 }),
        json!({ "code": code, "appid": APPID, "app_id": APPID }),
    ] {
        let answer = world.post("/wx/login").json(&body).send().await;
        answer.is_refused(400, "bad_request", "fix");
        assert!(answer.detail().contains("two of its names"), "{answer:?}");
    }
    let form = world
        .post("/wx/login")
        .body(format!("code={code}&js_code="));
    let form = form.header("Content-Type", "application/x-www-form-urlencoded");
    form.send().await.is_refused(400, "bad_request", "fix");
    // The code is as good as new.
    assert_eq!(world.redeem(&code).await.status, 200);
}

#[tokio::test]
async fn a_login_takes_every_configured_name() {
    let world = start().await;
    for name in ["code", "js_code", "jsCode"] {
        let body = json!({ name: world.code("alice"), "app_id": APPID });
        world.post("/wx/login").json(&body).send().await.token();
    }
    let form = format!("js_code={}", world.code("alice"));
    let request = world.post("/wx/login").body(form);
    let request = request.header("Content-Type", "application/x-www-form-urlencoded");
    request.send().await.token();
    let elsewhere = json!({ "code": world.code("alice"), "app_id": "wx00000000000000ff" });
    let answer = world.post("/wx/login").json(&elsewhere).send().await;
    answer.is_refused(400, "unknown_app", "fix");
}

#[tokio::test]
async fn decryption_takes_every_configured_name() {
    let world = start().await;
    let token = world.login("alice").await;
    for names in [
        ["encryptedData", "iv", "rawData", "signature"],
        ["encrypted_data", "vector", "raw_data", "sign"],
    ] {
        let body = sealed(&world, names);
        let request = world.post("/wx/decrypt").bearer(&token).json(&body);
        let answer = request.send().await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let mut twice = sealed(&world, ["encryptedData", "iv", "rawData", "signature"]);
    twice["raw_data"] = json!("{}");
    let answer = world.post("/wx/decrypt").bearer(&token).json(&twice);
    answer.send().await.is_refused(400, "bad_request", "fix");
}
