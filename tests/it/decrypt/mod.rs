//! `POST /wx/decrypt`: what opens, with which keys, and that every failure looks the same.

mod authenticity;
mod failures;
mod freshness;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use wxgate::crypto::{session_key, user_data};
use wxgate::domain::clock::{Clock, Timestamp};
use wxgate::sim::wechat::{Sealed, Wanted};

use crate::support::raw::{Answer, Request};
use crate::support::{APPID, Setup, World, appid, person};

const IV: &[u8; 16] = b"0123456789abcdef";

impl World {
    fn now(&self) -> Timestamp {
        Clock::Held(self.clock.clone()).now()
    }

    /// What `wx.getUserInfo` hands over at this moment.
    fn profile_of(&self, user: &str) -> Value {
        self.sealed(user, Wanted::default()).to_json()
    }

    fn sealed(&self, user: &str, wanted: Wanted) -> Sealed {
        self.wechat.user_data(&appid(APPID), &person(user), wanted)
    }

    /// These fields and a good watermark, or these with a watermark among them.
    fn sealed_fields(&self, user: &str, data: &Value) -> Value {
        let data = Some(data.as_object().unwrap().clone());
        self.sealed(user, Wanted { data, at: None }).to_json()
    }

    /// This text, with the user's key of this moment.
    fn sealed_text(&self, user: &str, text: &str) -> Value {
        let key = self
            .wechat
            .session_key_text_of(&appid(APPID), &person(user));
        let key = session_key::parse(&key).unwrap();
        json!({ "encryptedData": user_data::seal(&key, IV, text), "iv": STANDARD.encode(IV) })
    }

    fn rotate(&self, user: &str) {
        self.wechat.rotate(&appid(APPID), &person(user));
    }

    fn decrypt_request(&self, token: &str, body: &Value) -> Request {
        self.post("/wx/decrypt").bearer(token).json(body)
    }

    async fn decrypt(&self, token: &str, body: &Value) -> Answer {
        self.decrypt_request(token, body).send().await
    }

    /// Checks that the data opens.
    async fn opens(&self, token: &str, body: &Value) {
        let answer = self.decrypt(token, body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["watermark"]["appid"], APPID);
    }

    /// Checks that the data does not open.
    async fn stays_shut(&self, token: &str, body: &Value) {
        let answer = self.decrypt(token, body).await;
        answer.is_refused(422, "decrypt_failed", "reacquire");
    }
}

/// The body with another value in a field.
fn with(body: &Value, field: &str, value: &str) -> Value {
    let mut fields: Map<String, Value> = body.as_object().unwrap().clone();
    fields.insert(field.to_owned(), json!(value));
    Value::Object(fields)
}

#[tokio::test]
async fn data_comes_back_byte_for_byte_as_it_was_encrypted() {
    let world = World::start().await;
    let token = world.login("alice").await;
    let openid = world.openid("alice");
    let seconds = world.now().as_secs();
    let text = format!(
        " {{\"z\" :1.50,\"a\":\"\\u5f20\\/张 三\\\"\",\"openId\":\"{openid}\",\"big\":12345678901234567890123,\
         \"watermark\":{{\"timestamp\":{seconds},\"appid\":\"{APPID}\"}}, \"steps\":[ ]}}\n"
    );
    let answer = world
        .decrypt(&token, &world.sealed_text("alice", &text))
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.text(), text);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(world.app.count(), 0, "the route is the gate's own");
}

#[tokio::test]
async fn a_form_opens_too() {
    let world = World::start().await;
    let token = world.login("alice").await;
    let body = world.profile_of("alice");
    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair("encryptedData", body["encryptedData"].as_str().unwrap())
        .append_pair("iv", body["iv"].as_str().unwrap())
        .finish();
    let request = world.post("/wx/decrypt").bearer(&token);
    let request = request.header("Content-Type", "application/x-www-form-urlencoded");
    let answer = request.body(form).send().await;
    assert_eq!(answer.json()["openId"], world.openid("alice"));
}

#[tokio::test]
async fn raw_data_must_fit_its_signature_when_it_comes_along() {
    let world = World::start().await;
    let token = world.login("alice").await;
    let body = world.profile_of("alice");
    assert!(body["rawData"].is_string() && body["signature"].is_string());
    world.opens(&token, &body).await;
    let upper = body["signature"].as_str().unwrap().to_uppercase();
    for wrong in [
        with(&body, "signature", &"0".repeat(40)),
        with(&body, "signature", &upper),
        with(&body, "signature", ""),
        with(&body, "rawData", "{}"),
    ] {
        world.stays_shut(&token, &wrong).await;
    }
    for missing in ["rawData", "signature"] {
        let mut half = body.as_object().unwrap().clone();
        half.remove(missing);
        let answer = world.decrypt(&token, &Value::Object(half)).await;
        answer.is_refused(400, "bad_request", "fix");
    }
}

#[tokio::test]
async fn the_tutorials_body_works_and_its_session_key_is_ignored() {
    let setup = Setup::with("[paths]\ndecrypt = [\"/wx/decrypt\", \"/decryptData\"]");
    let world = setup.start().await;
    let token = world.login("alice").await;
    let body = world.profile_of("alice");
    for held in ["D1ZWEygStjuLCnZ9IN2l4Q==", "", "not base64"] {
        for path in ["/decryptData", "/wx/decrypt"] {
            let request = world.post(path).bearer(&token);
            let answer = request.json(&with(&body, "sessionKey", held)).send().await;
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(answer.json()["openId"], world.openid("alice"));
        }
    }
    // Nor does it help: data of another key does not open with the key that came along.
    world.rotate("alice");
    let key = world
        .wechat
        .session_key_text_of(&appid(APPID), &person("alice"));
    let body = with(&world.profile_of("alice"), "sessionKey", &key);
    world.stays_shut(&token, &body).await;
}

#[tokio::test]
async fn a_replaced_key_opens_its_data_for_the_grace_and_not_after() {
    let world = World::start().await;
    let token = world.login("alice").await;
    let old = world.profile_of("alice");
    world.rotate("alice");
    world.stays_shut(&token, &world.profile_of("alice")).await;
    let newer = world.login("alice").await;
    let new = world.profile_of("alice");
    world.clock.advance(Duration::from_secs(9 * 60 + 59));
    for token in [&token, &newer] {
        world.opens(token, &old).await;
        world.opens(token, &new).await;
    }
    world.clock.advance(Duration::from_secs(2));
    for token in [&token, &newer] {
        world.stays_shut(token, &old).await;
        world.opens(token, &new).await;
    }
}

#[tokio::test]
async fn three_keys_are_tried_and_no_fourth() {
    let world = World::start().await;
    let mut token = String::new();
    let mut made = Vec::new();
    for _ in 0..4 {
        world.rotate("alice");
        token = world.login("alice").await;
        made.push(world.profile_of("alice"));
    }
    world.stays_shut(&token, &made[0]).await;
    for body in &made[1..] {
        world.opens(&token, body).await;
    }
}

#[tokio::test]
async fn data_opens_while_its_watermark_is_fresh() {
    let world = World::start().await;
    let token = world.login("alice").await;
    let body = world.profile_of("alice");
    world.clock.advance(Duration::from_hours(1));
    world.opens(&token, &body).await;
    world.clock.advance(Duration::from_secs(1));
    world.stays_shut(&token, &body).await;
    let at = |ahead| Wanted {
        data: None,
        at: Some(world.now().plus(Duration::from_secs(ahead))),
    };
    let (near, far) = (world.sealed("alice", at(60)), world.sealed("alice", at(61)));
    world.opens(&token, &near.to_json()).await;
    world.stays_shut(&token, &far.to_json()).await;
}

#[tokio::test]
async fn any_age_will_do_where_the_limit_is_off() {
    let world = Setup::with("[decrypt]\nmax_age = \"0\"\n[session]\nttl = \"90d\"");
    let world = world.start().await;
    let token = world.login("alice").await;
    let body = world.profile_of("alice");
    world.clock.advance(Duration::from_hours(24 * 60));
    world.opens(&token, &body).await;
}

#[tokio::test]
async fn data_of_one_user_does_not_open_with_the_token_of_another() {
    let world = World::start().await;
    let (alice, bob) = (world.login("alice").await, world.login("bob").await);
    let body = world.profile_of("alice");
    world.opens(&alice, &body).await;
    world.stays_shut(&bob, &body).await;
}

#[tokio::test]
async fn who_is_not_logged_in_decrypts_nothing() {
    let world = World::start().await;
    world.login("alice").await;
    let body = world.profile_of("alice");
    let answer = world.post("/wx/decrypt").json(&body).send().await;
    answer.is_refused(401, "session_required", "relogin");
    let unknown = format!("wxg_{}", "A".repeat(43));
    let answer = world.decrypt(&unknown, &body).await;
    answer.is_refused(401, "session_expired", "relogin");
}

#[tokio::test]
async fn a_request_of_the_wrong_form_is_told_so() {
    let world = World::start().await;
    let token = world.login("alice").await;
    for body in [
        json!({}),
        json!({ "encryptedData": "AAAA" }),
        json!({ "iv": "AAAA" }),
        json!({ "encryptedData": 1, "iv": "AAAA" }),
    ] {
        let answer = world.decrypt(&token, &body).await;
        answer.is_refused(400, "bad_request", "fix");
    }
    let answer = world.get("/wx/decrypt").bearer(&token).send().await;
    answer.is_refused(405, "method_not_allowed", "fix");
    let request = world.post("/wx/decrypt").bearer(&token);
    let answer = request
        .header("Content-Type", "text/plain")
        .body("{}")
        .send()
        .await;
    answer.is_refused(415, "unsupported_media_type", "fix");
}

#[tokio::test]
async fn a_body_of_300_kib_is_too_large_and_one_of_255_kib_is_not() {
    let world = World::start().await;
    let token = world.login("alice").await;
    let body = |kib: usize| with(&world.profile_of("alice"), "pad", &"x".repeat(kib * 1024));
    let answer = world.decrypt(&token, &body(300)).await;
    answer.is_refused(413, "body_too_large", "fix");
    world.opens(&token, &body(255)).await;
}

#[tokio::test]
async fn keys_die_with_the_last_session_of_their_user() {
    // By a logout everywhere, by the end of the only session, and by running out.
    for way in ["/wx/logout?all=true", "/wx/logout", "time"] {
        let world = Setup::with("[session]\nttl = \"1h\"").start().await;
        let token = world.login("alice").await;
        if way == "time" {
            world.clock.advance(Duration::from_hours(1));
        } else {
            let ended = world.post(way).bearer(&token).send().await;
            assert_eq!(ended.status, 204, "{ended:?}");
        }
        let old = world.profile_of("alice");
        world.rotate("alice");
        let token = world.login("alice").await;
        world.stays_shut(&token, &old).await;
        world.opens(&token, &world.profile_of("alice")).await;
    }
}

#[tokio::test]
async fn keys_outlive_a_session_that_is_not_the_last() {
    let world = World::start().await;
    let (first, second) = (world.login("alice").await, world.login("alice").await);
    let ended = world.post("/wx/logout").bearer(&first).send().await;
    assert_eq!(ended.status, 204, "{ended:?}");
    world.opens(&second, &world.profile_of("alice")).await;
}
