//! Every way in which data can fail to open is one answer: a client that could tell them apart could
//! make data of its own (AES-CBC without a MAC).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use wxgate::domain::clock::Timestamp;
use wxgate::sim::wechat::Wanted;

use crate::decrypt::{IV, with};
use crate::support::{APPID, APPID2, Setup, World};

fn bytes(body: &Value, field: &str) -> Vec<u8> {
    STANDARD.decode(body[field].as_str().unwrap()).unwrap()
}

/// The bytes with one bit of one byte changed.
fn flipped(mut bytes: Vec<u8>, index: usize) -> Vec<u8> {
    bytes[index] ^= 1;
    bytes
}

/// What can be wrong with the fields, by name; each made from data that opens.
fn wrong_fields(world: &World) -> Vec<(&'static str, Value)> {
    let good = world.profile_of("alice");
    let (data, iv) = (bytes(&good, "encryptedData"), bytes(&good, "iv"));
    let last = data.len() - 1;
    let data_is = |data: &[u8]| with(&good, "encryptedData", &STANDARD.encode(data));
    let iv_is = |iv: &[u8]| with(&good, "iv", &STANDARD.encode(iv));
    let openid = world.openid("alice");
    let mark = watermark(world);
    // A changed iv changes the first block at will, which is why the session knows who it is.
    let named = world.sealed_text("alice", &format!(r#"{{"openId":"{openid}",{mark}}}"#));
    let rewritten = STANDARD.encode(flipped(IV.to_vec(), 13));
    // A whole number of blocks, so that the last one is padding and nothing else.
    let spaces = " ".repeat(15 - (mark.len() + 1) % 16);
    let blocks = world.sealed_text("alice", &format!("{{{mark}{spaces}}}"));
    let blocks = bytes(&blocks, "encryptedData");
    let unpadded = STANDARD.encode(&blocks[..blocks.len() - 16]);
    vec![
        ("bad base64", with(&good, "encryptedData", "@@@@")),
        ("spaces for plus", with(&good, "encryptedData", "a b=")),
        ("nothing", with(&good, "encryptedData", "")),
        ("bad iv", with(&good, "iv", "@@@@")),
        ("short iv", iv_is(&iv[..15])),
        ("no iv", iv_is(&[])),
        ("tampered iv", iv_is(&flipped(iv.clone(), 0))),
        ("rewritten openId", with(&named, "iv", &rewritten)),
        ("tampered beginning", data_is(&flipped(data.clone(), 0))),
        ("tampered end", data_is(&flipped(data.clone(), last))),
        ("truncated", data_is(&data[..data.len() - 7])),
        ("a block less", data_is(&data[..data.len() - 16])),
        ("no padding", with(&named, "encryptedData", &unpadded)),
        ("wrong signature", with(&good, "signature", "0")),
        ("other user's key", world.profile_of("bob")),
    ]
}

/// What can be wrong with the data itself, encrypted as it should be.
fn wrong_data(world: &World) -> Vec<(&'static str, Value)> {
    let text = |text: &str| world.sealed_text("alice", text);
    let marked = |mark: Value| world.sealed_fields("alice", &json!({ "watermark": mark }));
    let openid = |openid: Value| world.sealed_fields("alice", &json!({ "openId": openid }));
    let (mark, now) = (watermark(world), world.now());
    let stale = Timestamp::from_millis(now.as_millis() - 3_601_000);
    let stale = Wanted {
        data: None,
        at: Some(stale),
    };
    let other_app = json!({ "timestamp": now.as_secs(), "appid": APPID2 });
    vec![
        ("not JSON", text("{")),
        ("no object", text("[]")),
        ("a key twice", text(&format!(r#"{{"a":1,"a":2,{mark}}}"#))),
        ("no watermark", text("{}")),
        ("other app", marked(other_app)),
        ("no appid", marked(json!({ "timestamp": now.as_secs() }))),
        ("no timestamp", marked(json!({ "appid": APPID }))),
        ("stale", world.sealed("alice", stale).to_json()),
        ("other user", openid(json!(world.openid("bob")))),
        ("openId no text", openid(json!(null))),
    ]
}

fn watermark(world: &World) -> String {
    let seconds = world.now().as_secs();
    format!(r#""watermark":{{"timestamp":{seconds},"appid":"{APPID}"}}"#)
}

#[tokio::test]
async fn every_failure_is_the_same_answer_byte_for_byte() {
    let setup = Setup {
        server: "trusted_proxies = [\"127.0.0.0/8\"]".to_owned(),
        // More failures than a session is allowed otherwise.
        ..Setup::with("[limits]\ndecrypt_failures_per_session = \"0\"")
    };
    let world = setup.start().await;
    let token = world.login("alice").await;
    world.login("bob").await;
    let send = async |body: Value| {
        let request = world.decrypt_request(&token, &body);
        let mut answer = request
            .header("X-Request-Id", "one-and-the-same")
            .send()
            .await;
        answer.headers.retain(|(name, _)| name != "date");
        answer
    };
    world.opens(&token, &world.profile_of("alice")).await;
    let mut failures = wrong_fields(&world);
    failures.append(&mut wrong_data(&world));
    world.rotate("alice");
    failures.push(("wrong key", world.profile_of("alice")));
    let first = send(failures[0].1.clone()).await;
    first.is_refused(422, "decrypt_failed", "reacquire");
    assert_eq!(first.json()["request_id"], "one-and-the-same");
    for (name, body) in failures {
        let answer = send(body).await;
        assert_eq!(answer.status, first.status, "{name}: {answer:?}");
        assert_eq!(answer.headers, first.headers, "{name}");
        assert_eq!(answer.text(), first.text(), "{name}");
    }
}
