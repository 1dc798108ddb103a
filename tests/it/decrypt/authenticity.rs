//! `decrypt.authenticate_phone`: a phone number that WeChat does not know goes nowhere, and neither
//! does one while WeChat cannot be asked.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde_json::{Value, json};
use wxgate::sim::wechat::{Api, Misbehaviour};

use crate::decrypt::with;
use crate::support::{APPID, Setup, World, appid, person};

const ON: &str = "[decrypt]\nauthenticate_phone = true\n";

impl World {
    /// What the phone button of old base libraries hands over.
    fn sealed_phone(&self, user: &str) -> Value {
        let sealed = self.wechat.phone(&appid(APPID), &person(user));
        sealed.to_json()
    }

    /// The same by somebody who has the user's key, or works it out from answers.
    fn forged_phone(&self, user: &str, fields: &Value) -> Value {
        let mut fields = fields.clone();
        let seconds = self.now().as_secs();
        fields["watermark"] = json!({ "timestamp": seconds, "appid": APPID });
        self.sealed_text(user, &fields.to_string())
    }

    fn checks(&self) -> u64 {
        self.wechat.calls_of(Api::CheckEncrypted)
    }

    fn next_check_fails(&self, how: Misbehaviour) {
        self.wechat.misbehave_at(Api::CheckEncrypted, 1, how);
    }
}

fn forged_fields() -> [Value; 4] {
    [
        json!({ "phoneNumber": "110", "purePhoneNumber": "110", "countryCode": "86" }),
        json!({ "phoneNumber": "110" }),
        json!({ "PHONENUMBER": "110" }),
        json!({ "openData": 1, "purePhoneNumber": 110 }),
    ]
}

#[tokio::test]
async fn a_number_that_wechat_does_not_know_is_data_that_does_not_open() {
    let world = Setup::with(ON).start().await;
    let token = world.login("alice").await;
    let junk = json!({ "encryptedData": "AAAA", "iv": "AAAA" });
    let plain = world.decrypt(&token, &junk).await.json();
    for fields in forged_fields() {
        let forged = world.forged_phone("alice", &fields);
        world.stays_shut(&token, &forged).await;
        let mut told = world.decrypt(&token, &forged).await.json();
        told["request_id"] = plain["request_id"].clone();
        assert_eq!(told, plain, "{fields}");
    }
    // Two of the same that WeChat was asked about: what it does not know is not remembered.
    assert_eq!(world.checks(), 2);
    let made_up: u32 = forged_fields().iter().map(|_| 2).sum();
    let labels = [("result", "not_authentic"), ("key_age", "none")];
    world
        .counts("wxgate_decrypts_total", &labels, made_up.into())
        .await;
}

#[tokio::test]
async fn without_the_setting_wechat_is_not_asked() {
    let world = World::start().await;
    let token = world.login("alice").await;
    let [forged, ..] = forged_fields();
    world
        .opens(&token, &world.forged_phone("alice", &forged))
        .await;
    assert_eq!(world.checks(), 0);
}

#[tokio::test]
async fn another_iv_that_renames_a_number_makes_it_none_of_wechats() {
    let world = Setup::with(ON).start().await;
    let token = world.login("alice").await;
    let sealed = world.sealed_phone("alice");
    let text = world.decrypt(&token, &sealed).await.text();
    assert!(text.starts_with(r#"{"countryCode":""#), "{text}");
    // WeChat's hash leaves the iv out, so it knows the data with any.
    let change = |to: &str| {
        let mut iv = STANDARD.decode(sealed["iv"].as_str().unwrap()).unwrap();
        for ((byte, is), to) in iv.iter_mut().zip(text.bytes()).zip(to.bytes()) {
            *byte ^= is ^ to;
        }
        with(&sealed, "iv", &STANDARD.encode(iv))
    };
    let renamed = change(r#"{"phonenumber":""#);
    world.stays_shut(&token, &renamed).await;
    // What says nothing of a number passes, as it would in data that is not authenticated.
    world.opens(&token, &change(r#"{"CountryCode":""#)).await;
}

#[tokio::test]
async fn nothing_forged_is_delivered_or_put_in_flight() {
    let world = Setup::with(&format!(
        "{ON}deliver = \"upstream\"\ndeliver_to = \"/internal\"\nin_flight = [\"/profile\"]"
    ));
    let world = world.start().await;
    let token = world.login("alice").await;
    let good = world.sealed_phone("alice");
    let [forged, ..] = forged_fields();
    let forged = world.forged_phone("alice", &forged);
    for path in ["/wx/decrypt", "/profile"] {
        let send = |body: &Value| world.post(path).bearer(&token).json(body).send();
        let answer = send(&forged).await;
        answer.is_refused(422, "decrypt_failed", "reacquire");
        world.next_check_fails(Misbehaviour::Errcode(-1));
        let answer = send(&good).await;
        answer.is_refused(503, "wechat_unavailable", "retry");
    }
    assert_eq!(world.app.count(), 0);
    for path in ["/wx/decrypt", "/profile"] {
        let answer = world.post(path).bearer(&token).json(&good).send().await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let seen = world.app.seen();
    let told: Vec<Value> = seen
        .iter()
        .map(|seen| serde_json::from_slice(&seen.body).unwrap())
        .collect();
    assert_eq!(seen[0].target, "/internal");
    assert_eq!(told[0]["phoneNumber"], "13580006666");
    assert_eq!(told[1]["openData"]["phoneNumber"], "13580006666");
    // The first answer was remembered.
    assert_eq!(world.checks(), 5);
}

#[tokio::test]
async fn a_wechat_that_cannot_say_lets_nothing_pass_and_uses_nothing_up() {
    let limit = "[limits]\ndecrypt_failures_per_session = \"1/1m\"";
    for (trouble, status, code, action) in [
        (
            Misbehaviour::Errcode(-1),
            503,
            "wechat_unavailable",
            "retry",
        ),
        (Misbehaviour::Reset, 503, "wechat_unavailable", "retry"),
        (
            Misbehaviour::Status(StatusCode::BAD_GATEWAY),
            503,
            "wechat_unavailable",
            "retry",
        ),
        (Misbehaviour::Errcode(45011), 429, "rate_limited", "retry"),
        (
            Misbehaviour::Errcode(48001),
            502,
            "wechat_misconfigured",
            "none",
        ),
        (Misbehaviour::Errcode(40097), 502, "wechat_error", "retry"),
        (Misbehaviour::Garbage, 502, "wechat_error", "retry"),
        (
            Misbehaviour::Body(r#"{"errcode":0}"#.into()),
            502,
            "wechat_error",
            "retry",
        ),
    ] {
        let world = Setup::with(&format!("{ON}{limit}")).start().await;
        let token = world.login("alice").await;
        let sealed = world.sealed_phone("alice");
        for _ in 0..2 {
            world.next_check_fails(trouble.clone());
            let answer = world.decrypt(&token, &sealed).await;
            answer.is_refused(status, code, action);
            // WeChat may not be asked for a moment, and a failure is not forgotten so soon.
            world.clock.advance(Duration::from_secs(20));
        }
        world.opens(&token, &sealed).await;
    }
    let world = Setup::with(ON).start().await;
    let token = world.login("alice").await;
    world.next_check_fails(Misbehaviour::Body(r#"{"errcode":0,"vaild":false}"#.into()));
    world.stays_shut(&token, &world.sealed_phone("alice")).await;
}

#[tokio::test]
async fn a_number_costs_one_call_however_often_it_is_sent_and_other_data_none() {
    let world = Setup::with(ON).start().await;
    let token = world.login("alice").await;
    world.opens(&token, &world.profile_of("alice")).await;
    assert_eq!(world.checks(), 0);
    let sealed = world.sealed_phone("alice");
    for _ in 0..20 {
        world.opens(&token, &sealed).await;
    }
    assert_eq!(world.checks(), 1);
    // Known to WeChat or not, data of another user does not open.
    let bob = world.login("bob").await;
    world.stays_shut(&bob, &sealed).await;
    assert_eq!(world.checks(), 1);
}

#[tokio::test]
async fn what_wechat_does_not_know_is_counted_as_a_failure() {
    let limit = "[limits]\ndecrypt_failures_per_session = \"2/1m\"";
    let world = Setup::with(&format!("{ON}{limit}")).start().await;
    let token = world.login("alice").await;
    let [forged, ..] = forged_fields();
    let forged = world.forged_phone("alice", &forged);
    world.stays_shut(&token, &forged).await;
    world.stays_shut(&token, &forged).await;
    let answer = world.decrypt(&token, &forged).await;
    answer.is_refused(429, "rate_limited", "retry");
    assert_eq!(world.checks(), 2);
}
