//! After a failed decryption the gate asks WeChat, for its log, whether the key is still the user's:
//! seldom, and so that no client notices.

use std::time::Duration;

use serde_json::{Value, json};
use wxgate::sim::wechat::{Api, Misbehaviour};

use crate::support::app::until;
use crate::support::process::Gate;
use crate::support::{APPID, Setup, World, appid, person};

const NO_LIMIT: &str = "[limits]\ndecrypt_failures_per_session = \"0\"\n";

fn junk() -> Value {
    json!({ "encryptedData": "AAAAAAAAAAAAAAAAAAAAAA==", "iv": "AAAAAAAAAAAAAAAAAAAAAA==" })
}

impl World {
    fn key_checks(&self) -> u64 {
        self.wechat.calls_of(Api::CheckSession)
    }

    async fn keys_are_checked(&self, times: u64) {
        until("WeChat is asked", || self.key_checks() >= times).await;
        assert_eq!(self.key_checks(), times);
    }
}

#[tokio::test]
async fn a_session_costs_one_call_a_minute_however_much_of_it_fails() {
    let world = Setup::with(NO_LIMIT).start().await;
    let (alice, bob) = (world.login("alice").await, world.login("bob").await);
    for _ in 0..20 {
        world.stays_shut(&alice, &junk()).await;
    }
    world.keys_are_checked(1).await;
    // Another session has a minute of its own.
    world.stays_shut(&bob, &junk()).await;
    world.keys_are_checked(2).await;
    world.clock.advance(Duration::from_secs(59));
    world.stays_shut(&alice, &junk()).await;
    world.stays_shut(&bob, &junk()).await;
    world.clock.advance(Duration::from_secs(1));
    world.stays_shut(&alice, &junk()).await;
    world.keys_are_checked(3).await;
}

#[tokio::test]
async fn what_opens_or_is_no_data_at_all_costs_no_call() {
    let world = Setup::with(NO_LIMIT).start().await;
    let (alice, bob) = (world.login("alice").await, world.login("bob").await);
    world.opens(&alice, &world.profile_of("alice")).await;
    let answer = world.decrypt(&alice, &json!({ "iv": "AAAA" })).await;
    answer.is_refused(400, "bad_request", "fix");
    // This would come after the others.
    world.stays_shut(&bob, &junk()).await;
    world.keys_are_checked(1).await;
}

#[tokio::test]
async fn nobody_waits_for_it_and_it_takes_no_place_from_logins() {
    let setup = Setup {
        // Longer than a test may take, and so few calls that those for the log could take them all.
        wechat: "timeout = \"1m\"\nmax_in_flight = 4".to_owned(),
        ..Setup::with(NO_LIMIT)
    };
    let world = setup.start().await;
    let never = Misbehaviour::Delay(Duration::from_hours(1));
    world.wechat.misbehave_at(Api::CheckSession, 100, never);
    let mut tokens = Vec::new();
    for n in 0..8 {
        tokens.push(world.login(&format!("user{n}")).await);
    }
    for token in &tokens {
        world.stays_shut(token, &junk()).await;
    }
    until("WeChat is asked", || world.key_checks() == 2).await;
    world.login("alice").await;
    assert_eq!(world.key_checks(), 2);
}

#[tokio::test]
async fn what_wechat_says_of_the_keys_is_counted() {
    let world = Setup::default().start().await;
    let (app, alice) = (appid(APPID), person("alice"));
    for (user, expected) in [("alice", "stale"), ("bob", "current"), ("carol", "unknown")] {
        let token = world.login(user).await;
        match expected {
            "stale" => world.wechat.rotate(&app, &alice),
            "unknown" => {
                let down = Misbehaviour::Errcode(-1);
                world.wechat.misbehave_at(Api::CheckSession, 1, down);
            }
            _ => {}
        }
        world.stays_shut(&token, &junk()).await;
        let labels = [("appid", APPID), ("result", expected)];
        let name = "wxgate_session_key_checks_total";
        world.counts(name, &labels, 1.0).await;
    }
}

#[tokio::test]
async fn the_log_tells_a_stale_key_from_changed_data_and_nothing_of_either() {
    let setup = Setup::with("[log]\nformat = \"json\"\naccess = false\nuser = \"off\"");
    let gate = Gate::start(setup).await;
    let (app, alice) = (appid(APPID), person("alice"));
    for (user, expected) in [("alice", "stale"), ("bob", "current"), ("carol", "unknown")] {
        let token = gate.login(user).await;
        match expected {
            "stale" => gate.wechat.rotate(&app, &alice),
            "unknown" => {
                let down = Misbehaviour::Errcode(-1);
                gate.wechat.misbehave_at(Api::CheckSession, 1, down);
            }
            _ => {}
        }
        let request = gate.request("POST", "/wx/decrypt").bearer(&token);
        let answer = request.json(&junk()).send().await;
        answer.is_refused(422, "decrypt_failed", "reacquire");
        let marked = format!("\"key\":\"{expected}\"");
        let line: Value = serde_json::from_str(&gate.program.line(&marked).await).unwrap();
        assert_eq!(line["msg"], "session key checked after a failed decryption");
        assert_eq!(line["level"], "info");
        assert_eq!(line["appid"], APPID);
        assert_eq!(line["request_id"], answer.json()["request_id"]);
        let said = gate.program.said();
        let openid = gate.wechat.openid_of(&app, &person(user));
        let key = gate.wechat.session_key_text_of(&app, &person(user));
        for secret in [openid.as_str(), key.as_str(), token.as_str(), "signature="] {
            assert!(!said.contains(secret), "{secret}: {said}");
        }
    }
}
