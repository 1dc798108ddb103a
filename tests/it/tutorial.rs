//! The steps of the tutorial that most mini programs began with, in its order, through the gate to
//! the demo app: `wx.login`, keep the token, save the profile, decrypt, save what was decrypted.

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use wxgate::sim::demo::DemoApp;
use wxgate::sim::wechat::Wanted;

use crate::support::{APPID, Setup, World, appid, person};

/// A gate before the demo app, with the tutorial's paths. The app ends with the guard.
async fn tutorial() -> (World, DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    tokio::spawn(DemoApp::new().serve(listener, stop.clone()));
    let setup = Setup {
        toml: "[paths]\ndecrypt = [\"/wx/decrypt\", \"/decryptData\"]\n\
               [[access.rules]]\npath = \"/public/**\"\nrequire = \"public\""
            .to_owned(),
        upstream_url: Some(url),
        ..Setup::default()
    };
    (setup.start().await, stop.drop_guard())
}

/// What the tutorial's page sends to be decrypted, the key that it should not have included.
fn tutorial_body(world: &World, user: &str) -> Value {
    let (app, user) = (appid(APPID), person(user));
    let sealed = world.wechat.user_data(&app, &user, Wanted::default());
    json!({
        "encryptedData": sealed.encrypted_data,
        "iv": sealed.iv,
        "sessionKey": "D1ZWEygStjuLCnZ9IN2l4Q==",
    })
}

async fn profile(world: &World, token: &str) -> Value {
    let answer = world.get("/me").bearer(token).send().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[tokio::test]
async fn the_tutorial_works_step_by_step() {
    let (world, _app) = tutorial().await;
    let hello = world.get("/public/hello").send().await;
    assert_eq!(hello.status, 200, "{hello:?}");

    let token = world.redeem(&world.code("alice")).await.token();
    let before = profile(&world, &token).await;
    assert_eq!(before["openid"], world.openid("alice"));
    assert_eq!(before["appid"], APPID);
    assert_eq!(before["profile"], Value::Null);

    let told = json!({ "nickName": "爱丽丝", "avatarUrl": "https://example.com/a.png" });
    let save = world.post("/saveUserInfo").bearer(&token).json(&told);
    let saved = save.send().await;
    assert_eq!(saved.status, 200, "{saved:?}");
    assert_eq!(profile(&world, &token).await["profile"], told);

    let body = tutorial_body(&world, "alice");
    let decrypt = world.post("/decryptData").bearer(&token).json(&body);
    let decrypted = decrypt.send().await;
    assert_eq!(decrypted.status, 200, "{decrypted:?}");
    assert_eq!(decrypted.json()["openId"], world.openid("alice"));
    assert_eq!(decrypted.json()["nickName"], "alice");
    assert_eq!(decrypted.json()["watermark"]["appid"], APPID);

    let save = world.post("/saveUserInfo").bearer(&token);
    let saved = save.json(&decrypted.json()).send().await;
    assert_eq!(saved.status, 200, "{saved:?}");
    // The next start of the mini program: a new code, a new token, the same user.
    let token = world.login("alice").await;
    assert_eq!(profile(&world, &token).await["profile"], decrypted.json());
}

#[tokio::test]
async fn without_a_token_each_step_says_what_to_do() {
    let (world, _app) = tutorial().await;
    let alice = world.login("alice").await;
    for (method, target) in [
        ("GET", "/me"),
        ("POST", "/saveUserInfo"),
        ("POST", "/decryptData"),
        ("GET", "/avatar"),
        ("GET", "/no-such-page"),
    ] {
        let body = tutorial_body(&world, "alice");
        let request = world.request(method, target).json(&body);
        // Saying who one is does not help.
        let openid = world.openid("alice");
        let request = request
            .header("X-WX-OPENID", &openid)
            .header("X-WX-APPID", APPID);
        let answer = request.send().await;
        answer.is_refused(401, "session_required", "relogin");
        for told in ["wx.login", "login route", "Authorization: Bearer"] {
            assert!(answer.detail().contains(told), "{told}: {answer:?}");
        }
    }
    assert_eq!(profile(&world, &alice).await["profile"], Value::Null);
}

#[tokio::test]
async fn what_one_user_saves_is_not_what_another_sees() {
    let (world, _app) = tutorial().await;
    let (alice, bob) = (world.login("alice").await, world.login("bob").await);
    let save = world.post("/saveUserInfo").bearer(&alice);
    let save = save.header("X-WX-OPENID", &world.openid("bob"));
    let saved = save.json(&json!({ "nickName": "Alice" })).send().await;
    assert_eq!(saved.status, 200, "{saved:?}");
    assert_eq!(
        profile(&world, &alice).await["profile"]["nickName"],
        "Alice"
    );
    assert_eq!(profile(&world, &bob).await["profile"], Value::Null);
    let body = tutorial_body(&world, "alice");
    let decrypt = world.post("/decryptData").bearer(&bob).json(&body);
    decrypt
        .send()
        .await
        .is_refused(422, "decrypt_failed", "reacquire");
}
