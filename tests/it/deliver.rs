//! `[decrypt] deliver` and `in_flight`: what the gate opens reaches the app server as the gate's
//! word, and no client can say it itself.

use serde_json::{Value, json};
use wxgate::sim::wechat::Wanted;

use crate::support::raw::{Answer, Request};
use crate::support::{APPID, Setup, World, appid, person};

const DELIVERING: &str = "[decrypt]\ndeliver = \"upstream\"\ndeliver_to = \"/internal/profile\"";

const IN_FLIGHT: &str = r#"
[decrypt]
in_flight = ["/profile", "/orders/*/phone"]
[access]
default = "public"
"#;

impl World {
    /// What `wx.getUserInfo` hands over at this moment.
    fn sealed_profile(&self, user: &str) -> Value {
        let wanted = Wanted::default();
        let sealed = self.wechat.user_data(&appid(APPID), &person(user), wanted);
        sealed.to_json()
    }

    /// What the app server got last, as JSON.
    fn told(&self) -> Value {
        serde_json::from_slice(&self.app.last().body).unwrap()
    }

    /// A request of this session with a JSON body.
    fn json(&self, method: &str, target: &str, token: &str, body: impl Into<Vec<u8>>) -> Request {
        self.request(method, target)
            .bearer(token)
            .header("Content-Type", "application/json")
            .body(body)
    }

    async fn profile(&self, token: &str, body: impl Into<Vec<u8>>) -> Answer {
        self.json("POST", "/profile", token, body).send().await
    }
}

fn with_headers(request: Request, headers: &[(&str, &str)]) -> Request {
    let add = |request: Request, (name, value): &(&str, &str)| request.header(name, value);
    headers.iter().fold(request, add)
}

/// These fields beside the encrypted ones.
fn beside(sealed: &Value, others: &Value) -> String {
    let mut all = sealed.as_object().unwrap().clone();
    all.extend(others.as_object().unwrap().clone());
    Value::Object(all).to_string()
}

#[tokio::test]
async fn what_is_decrypted_goes_to_the_app_server_and_its_answer_to_the_client() {
    let world = Setup::with(DELIVERING).start().await;
    let token = world.login("alice").await;
    let sealed = world.sealed_profile("alice");
    let answer = world
        .post("/wx/decrypt?a=b")
        .bearer(&token)
        .header("Host", "other.example")
        .header("X-WX-OPENID", "oForged")
        .header("x_wx_openid", "oForged")
        .header("Cookie", "a=b")
        .json(&sealed)
        .send()
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let seen = world.app.last();
    let expected = format!("POST /internal/profile {} bytes", seen.body_length);
    assert_eq!(answer.text(), expected);
    assert_eq!(world.told()["watermark"]["appid"], APPID);
    assert_eq!(seen.header("x-wx-openid"), [world.openid("alice")]);
    assert_eq!(seen.header("x-wx-source"), ["wx_client"]);
    assert_eq!(seen.header("content-type"), ["application/json"]);
    assert_eq!(seen.header("host"), [world.app.address.to_string()]);
    assert_eq!(seen.header("x-forwarded-for"), ["127.0.0.1"]);
    for name in ["x_wx_openid", "cookie", "authorization"] {
        assert!(seen.header(name).is_empty(), "{name}: {seen:?}");
    }
}

#[tokio::test]
async fn what_is_not_decrypted_is_not_delivered() {
    let world = Setup::with(DELIVERING).start().await;
    let token = world.login("alice").await;
    world.login("bob").await;
    let decrypt = |body: Value| world.post("/wx/decrypt").json(&body);
    let others = world.sealed_profile("bob");
    let answer = decrypt(others.clone()).bearer(&token).send().await;
    answer.is_refused(422, "decrypt_failed", "reacquire");
    let answer = decrypt(others).send().await;
    answer.is_refused(401, "session_required", "relogin");
    let answer = decrypt(json!({ "openData": {} }))
        .bearer(&token)
        .send()
        .await;
    answer.is_refused(400, "bad_request", "fix");
    assert_eq!(world.app.count(), 0);
}

#[tokio::test]
async fn by_itself_the_path_is_the_one_that_the_client_asked_for() {
    let config = "[decrypt]\ndeliver = \"upstream\"\n[paths]\ndecrypt = [\"/a/open\", \"/b/open\"]";
    let world = Setup::with(config).start().await;
    let token = world.login("alice").await;
    let sealed = world.sealed_profile("alice");
    for path in ["/a/open", "/b/open"] {
        let request = world.post(&format!("{path}?x=y")).bearer(&token);
        assert_eq!(request.json(&sealed).send().await.status, 200);
        assert_eq!(world.app.last().target, path);
    }
}

#[tokio::test]
async fn the_app_servers_answer_is_returned_whatever_it_is() {
    for (path, status) in [
        ("/hook/refuses", 403),
        ("/hook/fails", 500),
        ("/hangup", 502),
    ] {
        let config = format!("[decrypt]\ndeliver = \"upstream\"\ndeliver_to = \"{path}\"");
        let world = Setup::with(&config).start().await;
        let token = world.login("alice").await;
        let sealed = world.sealed_profile("alice");
        let request = world.post("/wx/decrypt").bearer(&token).json(&sealed);
        assert_eq!(request.send().await.status, status, "{path}");
    }
}

#[tokio::test]
async fn nobody_but_the_gate_says_open_data() {
    let world = Setup::with(IN_FLIGHT).start().await;
    let token = world.login("alice").await;
    let sealed = world.sealed_profile("alice");
    let forged = json!({ "openData": { "phoneNumber": "1" } });
    for body in [
        forged.to_string(),
        beside(&sealed, &forged),
        r#"{"OpenData":1}"#.to_owned(),
        r#"{"open\u0044ata":1}"#.to_owned(),
        r#"{"open_data":1}"#.to_owned(),
        r#"{"open-data":1}"#.to_owned(),
        r#"{"OPEN_DATA":1}"#.to_owned(),
        r#"{"\u006fpen\u005fdata":1}"#.to_owned(),
        r#"{"openData[]":1}"#.to_owned(),
        r#"{"profile":{"open_data":1}}"#.to_owned(),
        r#"{"a":1,"openData":1,"openData":null}"#.to_owned(),
        r#"{"openData":1"#.to_owned(),
        "\u{feff}{\"openData\":1}".to_owned(),
        "openData=1".to_owned(),
        String::from("// openData\n{\"openData\":1}"),
    ] {
        let answer = world.profile(&token, body.clone()).await;
        answer.is_refused(400, "bad_request", "fix");
    }
    for headers in [
        &[("Content-Type", "application/x-www-form-urlencoded")][..],
        &[("Content-Type", "text/plain")],
        &[("Content-Type", "application/json; charset=utf-16")],
        &[
            ("Content-Type", "application/json"),
            ("Content-Type", "text/json"),
        ],
        &[
            ("Content-Type", "application/json"),
            ("Content-Encoding", "gzip"),
        ],
        &[],
    ] {
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            let request = world.request(method, "/profile").bearer(&token);
            let request = with_headers(request, headers);
            let answer = request.body("{\"a\":1}").send().await;
            answer.is_refused(415, "unsupported_media_type", "fix");
        }
    }
    assert_eq!(world.app.count(), 0);
}

/// Whoever decides what to let through and whoever uses it must not read two different things.
#[tokio::test]
async fn a_body_that_two_readers_may_read_differently_goes_nowhere() {
    let world = Setup::with(IN_FLIGHT).start().await;
    let token = world.login("alice").await;
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let forged = r#"{"openData":{"phoneNumber":"1"}}"#;
    let bodies: [Vec<u8>; 22] = [
        br#"{"\ud800":1,"openData":{"phoneNumber":"1"}}"#.into(),
        b"{\"\xff\":1,\"openData\":{\"phoneNumber\":\"1\"}}".into(),
        b"{\"a\":\"\xff\",\"openData\":1}".into(),
        b"{\"a\":\"\xff\"}".into(),
        br#"{"a":{"\udfff":1}}"#.into(),
        br#"{"a":"\ud800"}"#.into(),
        b"[\"\xc0\xaf\"]".into(),
        format!("\u{feff}{forged}").into(),
        wide(forged),
        wide(&format!("\u{feff}{forged}")),
        forged
            .chars()
            .flat_map(|c| u32::from(c).to_be_bytes())
            .collect(),
        format!("\u{a0}{forged}").into(),
        format!("\x0b{forged}").into(),
        format!("\0{forged}").into(),
        format!("{{}}{forged}").into(),
        format!("{{}}\n{forged}").into(),
        format!("null,{forged}").into(),
        b"{}\0".into(),
        b"{'openData':1}".into(),
        b"{openData:1}".into(),
        b"{\"a\":1,}".into(),
        deep(1000).into(),
    ];
    for body in bodies {
        let answer = world.profile(&token, body.clone()).await;
        assert_eq!(world.app.count(), 0, "{}", body.escape_ascii());
        answer.is_refused(400, "bad_request", "fix");
    }
}

#[tokio::test]
async fn open_data_is_the_gates_at_every_depth() {
    let world = Setup::with(IN_FLIGHT).start().await;
    let token = world.login("alice").await;
    let sealed = world.sealed_profile("alice");
    for body in [
        r#"[{"openData":1}]"#.to_owned(),
        r#"[1,[{"a":{"openData":1}}]]"#.to_owned(),
        r#"{"profile":{"openData":1},"b":2}"#.to_owned(),
        r#"{"profile":{"\u006fpenData":1}}"#.to_owned(),
        r#"{"a":[{"openData":1},{}]}"#.to_owned(),
        beside(&sealed, &json!({ "profile": { "openData": 1 } })),
    ] {
        let answer = world.profile(&token, body.clone()).await;
        assert_eq!(world.app.count(), 0, "{body}");
        answer.is_refused(400, "bad_request", "fix");
    }
}

#[tokio::test]
async fn no_spelling_of_the_path_goes_past_the_opening() {
    let world = Setup::with(IN_FLIGHT).start().await;
    let token = world.login("alice").await;
    for target in [
        "/Profile",
        "/profile/",
        "/pro%66ile",
        "//profile",
        "/x/../profile",
        "/profile;v",
        "/orders/7/Phone",
    ] {
        let request = world.json("POST", target, &token, r#"{"openData":1}"#);
        request
            .send()
            .await
            .is_refused(400, "ambiguous_path", "fix");
    }
    assert_eq!(world.app.count(), 0);
}

#[tokio::test]
async fn a_body_to_be_opened_needs_a_session_whatever_its_rule_says() {
    let world = Setup::with(IN_FLIGHT).start().await;
    world.login("alice").await;
    let sealed = world.sealed_profile("alice");
    let request = world.post("/profile").json(&sealed);
    request
        .send()
        .await
        .is_refused(401, "session_required", "relogin");
    assert_eq!(world.app.count(), 0);
}

#[tokio::test]
async fn encrypted_data_arrives_open_and_the_rest_as_it_was() {
    let world = Setup::with(IN_FLIGHT).start().await;
    let token = world.login("alice").await;
    let sealed = world.sealed_profile("alice");
    let (data, iv) = (&sealed["encryptedData"], &sealed["iv"]);
    let body = format!(
        r#"{{"z":12345678901234567890123,"encryptedData":{data},"list":[1.0, 2],"iv":{iv},"a":null}}"#
    );
    let request = world.json("POST", "/orders/7/phone?x=y", &token, body);
    let request = request
        .header("X-WX-OPENID", "oForged")
        .header("Content-MD5", "stale")
        .header("X-Own", "kept");
    assert_eq!(request.send().await.status, 200);
    let seen = world.app.last();
    let text = String::from_utf8(seen.body.clone()).unwrap();
    let start = r#"{"z":12345678901234567890123,"list":[1.0, 2],"a":null,"openData":{"#;
    assert!(text.starts_with(start), "{text}");
    assert_eq!(world.told()["openData"]["watermark"]["appid"], APPID);
    assert_eq!(seen.target, "/orders/7/phone?x=y");
    assert_eq!(seen.header("content-length"), [text.len().to_string()]);
    assert_eq!(seen.header("x-wx-openid"), [world.openid("alice")]);
    assert_eq!(seen.header("x-own"), ["kept"]);
    assert!(seen.header("content-md5").is_empty());
}

#[tokio::test]
async fn a_body_without_encrypted_data_passes_unchanged() {
    let world = Setup::with(IN_FLIGHT).start().await;
    let token = world.login("alice").await;
    for body in [
        r#"{ "b" : 1,"a":2.0, "b":3 }"#,
        r#"{"iv":"only"}"#,
        r#"{"encryptedData":"only"}"#,
        "[1, 2]",
        "null",
    ] {
        assert_eq!(world.profile(&token, body).await.status, 200, "{body}");
        assert_eq!(world.app.last().body, body.as_bytes());
    }
    let answer = world.get("/profile").send().await;
    assert_eq!(
        answer.status, 200,
        "without a body its rule decides: {answer:?}"
    );
}

#[tokio::test]
async fn what_cannot_be_opened_goes_nowhere() {
    let world = Setup::with(IN_FLIGHT).start().await;
    let token = world.login("alice").await;
    world.login("bob").await;
    let others = world.sealed_profile("bob").to_string();
    for body in [others.as_str(), r#"{"encryptedData":"AA==","iv":"AA=="}"#] {
        let answer = world.profile(&token, body).await;
        answer.is_refused(422, "decrypt_failed", "reacquire");
    }
    for body in [
        r#"{"encryptedData":1,"iv":"AA=="}"#,
        r#"{"encryptedData":"a","iv":"b","iv":"c"}"#,
    ] {
        world
            .profile(&token, body)
            .await
            .is_refused(400, "bad_request", "fix");
    }
    let huge = json!({ "a": "x".repeat(256 * 1024) }).to_string();
    world
        .profile(&token, huge)
        .await
        .is_refused(413, "body_too_large", "fix");
    assert_eq!(world.app.count(), 0);
}
