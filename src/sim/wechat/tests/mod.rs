//! The simulated WeChat over a socket, as the gate and a developer meet it.

mod apis;
mod pushes;
mod tokens;

use super::*;

use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use http::header::HeaderValue;
use serde_json::json;
use tokio_util::sync::DropGuard;

use crate::crypto::user_data::{self as opener, Expected};
use crate::domain::clock::HeldClock;
use crate::sim::tests::{client, listener};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

struct Served {
    wechat: MockWechat,
    address: SocketAddr,
    clock: HeldClock,
    _stop: DropGuard,
}

async fn served(codes: Codes, apps: Apps) -> Served {
    let clock = HeldClock::at(NOW);
    let wechat = MockWechat::new(Options {
        codes,
        apps,
        clock: Clock::Held(clock.clone()),
    });
    let (listener, address) = listener().await;
    let stop = CancellationToken::new();
    tokio::spawn(wechat.clone().serve(listener, stop.clone()));
    Served {
        wechat,
        address,
        clock,
        _stop: stop.drop_guard(),
    }
}

async fn strict() -> Served {
    served(Codes::Strict, Apps::Any).await
}

impl Served {
    async fn call(&self, query: &[(&str, &str)]) -> reqwest::Result<reqwest::Response> {
        let url = format!("http://{}/sns/jscode2session", self.address);
        client().get(url).query(query).send().await
    }

    async fn answer(&self, query: &[(&str, &str)]) -> Value {
        let answer = self.call(query).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let content_type = &answer.headers()["content-type"];
        assert!(content_type.to_str().unwrap().starts_with("text/plain"));
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }

    async fn log_in(&self, appid: &str, code: &str) -> Value {
        self.answer(&[
            ("appid", appid),
            ("secret", "secret"),
            ("js_code", code),
            ("grant_type", "authorization_code"),
        ])
        .await
    }

    /// Posts to an API, which answers with JSON and status 200.
    async fn post_to(&self, path: &str, body: impl Into<reqwest::Body>) -> Value {
        let url = format!("http://{}{path}", self.address);
        let answer = client().post(url).body(body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }

    async fn post(&self, route: &str, body: &Value) -> (StatusCode, Value) {
        let url = format!("http://{}/_mock/{route}", self.address);
        let answer = client().post(url).body(body.to_string()).send().await;
        let answer = answer.unwrap();
        let status = answer.status();
        let body = answer.bytes().await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }
}

fn app() -> AppId {
    AppId::parse("wx1").unwrap()
}

fn alice() -> UserName {
    UserName::parse("alice").unwrap()
}

#[tokio::test]
async fn an_issued_code_works_once() {
    let served = strict().await;
    let code = served.wechat.issue_code(&app(), &alice());
    let answer = served.log_in("wx1", &code).await;
    let openid = served.wechat.openid_of(&app(), &alice());
    assert_eq!(answer["openid"], openid.as_str());
    let key = served.wechat.session_key_text_of(&app(), &alice());
    assert_eq!(answer["session_key"], key.as_str());
    assert!(answer["unionid"].as_str().unwrap().starts_with('o'));
    assert_eq!(served.log_in("wx1", &code).await["errcode"], 40163);
    assert_eq!(served.wechat.calls(), 2);
}

#[tokio::test]
async fn a_code_expires_and_is_no_good_for_another_app() {
    let served = strict().await;
    let code = served.wechat.issue_code(&app(), &alice());
    assert_eq!(served.log_in("wx2", &code).await["errcode"], 40029);
    served.clock.advance(Duration::from_mins(5));
    assert_eq!(served.log_in("wx1", &code).await["errcode"], 40029);
}

#[tokio::test]
async fn a_named_code_works_as_often_as_wanted_and_an_unknown_one_never() {
    let served = strict().await;
    let first = served.log_in("wx1", "mock-alice").await;
    assert_eq!(first, served.log_in("wx1", "mock-alice").await);
    assert_ne!(
        first["openid"],
        served.log_in("wx1", "mock-bob").await["openid"]
    );
    for unknown in ["unknown", "mock-", "mock-a b", "the code is a mock one"] {
        assert_eq!(served.log_in("wx1", unknown).await["errcode"], 40029);
    }
}

#[tokio::test]
async fn a_lenient_simulator_takes_unknown_codes_for_the_developer_tools() {
    let served = served(Codes::Lenient, Apps::Any).await;
    let devtools = served.log_in("wx1", "mock-devtools").await;
    for code in ["0716AVll20uHk94SLDml27etM946AVlq", "the code is a mock one"] {
        assert_eq!(served.log_in("wx1", code).await, devtools);
    }
    let code = served.wechat.issue_code(&app(), &alice());
    served.log_in("wx1", &code).await;
    assert_eq!(served.log_in("wx1", &code).await["errcode"], 40163);
}

#[tokio::test]
async fn a_wrong_appid_and_a_wrong_secret_are_told_apart() {
    let secret = |text: &str| AppSecret::new(text.to_owned());
    let apps = vec![
        (app(), secret("secret")),
        (AppId::parse("wx2").unwrap(), secret("other")),
    ];
    let served = served(Codes::Strict, Apps::Only(apps)).await;
    assert!(served.log_in("wx1", "mock-alice").await["openid"].is_string());
    assert_eq!(served.log_in("wx2", "mock-alice").await["errcode"], 40125);
    assert_eq!(served.log_in("wx3", "mock-alice").await["errcode"], 40013);
}

#[tokio::test]
async fn a_missing_parameter_has_its_own_errcode() {
    let served = strict().await;
    let whole = [
        ("appid", "wx1"),
        ("secret", "s"),
        ("js_code", "mock-alice"),
        ("grant_type", "authorization_code"),
    ];
    for (index, errcode) in [41002, 41004, 41008, 40002].into_iter().enumerate() {
        let mut empty = whole;
        empty[index].1 = "";
        assert_eq!(served.answer(&empty).await["errcode"], errcode);
        let mut missing = whole.to_vec();
        missing.remove(index);
        assert_eq!(served.answer(&missing).await["errcode"], errcode);
    }
    let url = format!("http://{}/sns/jscode2session", served.address);
    let posted = client().post(url).send().await.unwrap();
    assert!(posted.text().await.unwrap().contains("43001"));
}

#[tokio::test]
async fn a_session_key_lasts_until_it_is_rotated() {
    let served = strict().await;
    let before = served.log_in("wx1", "mock-alice").await;
    let (status, _none) = served
        .post("rotate", &json!({"appid": "wx1", "user": "alice"}))
        .await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let after = served.log_in("wx1", "mock-alice").await;
    assert_eq!(before["openid"], after["openid"]);
    assert_ne!(before["session_key"], after["session_key"]);
    let key = served.wechat.session_key_text_of(&app(), &alice());
    assert_eq!(after["session_key"], key.as_str());
}

#[tokio::test]
async fn user_data_opens_with_the_key_of_the_last_login() {
    let served = strict().await;
    let login = served.log_in("wx1", "mock-alice").await;
    let key = session_key::parse(login["session_key"].as_str().unwrap()).unwrap();
    let openid = served.wechat.openid_of(&app(), &alice());
    let open = |sealed: &Value| {
        let expected = Expected {
            app: &app(),
            openid: Some(&openid),
            now: NOW,
            max_age: Some(Duration::from_mins(5)),
        };
        let field = |name: &str| sealed[name].as_str().unwrap().to_owned();
        opener::open(&key, &field("iv"), &field("encryptedData"), &expected)
    };

    let who = json!({"appid": "wx1", "user": "alice"});
    let (_ok, sealed) = served.post("userdata", &who).await;
    let data: Value = serde_json::from_str(&open(&sealed).unwrap()).unwrap();
    assert_eq!(data["openId"], sealed["openid"]);
    assert_eq!(data["unionId"], login["unionid"]);
    let raw = sealed["rawData"].as_str().unwrap();
    assert!(raw.contains("nickName") && !raw.contains("openId"));
    let signed = crate::crypto::signature::raw_data(raw, &key);
    assert_eq!(sealed["signature"], signed);

    let (_ok, phone) = served.post("phone", &who).await;
    assert!(open(&phone).unwrap().contains("13580006666"));
    assert!(phone.get("rawData").is_none());

    let stale = json!({"appid": "wx1", "user": "alice", "timestamp": 1, "data": {"a": 1}});
    let (_ok, stale) = served.post("userdata", &stale).await;
    assert!(open(&stale).is_err());
    let unmarked = json!({"appid": "wx1", "user": "alice", "data": {"watermark": null}});
    let (_ok, unmarked) = served.post("userdata", &unmarked).await;
    assert!(open(&unmarked).is_err());
}

#[tokio::test]
async fn misbehaviour_is_followed_in_turn_and_then_forgotten() {
    let served = strict().await;
    let order = json!({"times": 2, "with": {"errcode": "45011"}});
    let (status, _none) = served.post("misbehave", &order).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    served
        .wechat
        .misbehave(1, Misbehaviour::Body("{}".to_owned()));
    let code = served.wechat.issue_code(&app(), &alice());
    for _ in 0..2 {
        assert_eq!(served.log_in("wx1", &code).await["errcode"], "45011");
    }
    assert_eq!(served.log_in("wx1", &code).await, json!({}));
    assert!(served.log_in("wx1", &code).await["openid"].is_string());

    served.wechat.misbehave(9, Misbehaviour::Errcode(-1));
    let url = format!("http://{}/_mock/misbehave", served.address);
    client().delete(url).send().await.unwrap();
    assert!(served.log_in("wx1", "mock-alice").await["openid"].is_string());
}

#[tokio::test]
async fn every_broken_answer_is_broken_in_its_own_way() {
    let served = strict().await;
    let call = async |how: Misbehaviour| {
        served.wechat.misbehave(1, how);
        served.call(&[]).await
    };
    let gateway = call(Misbehaviour::Status(StatusCode::BAD_GATEWAY)).await;
    assert_eq!(gateway.unwrap().status(), StatusCode::BAD_GATEWAY);

    let elsewhere = HeaderValue::from_static("http://elsewhere.test/");
    let redirect = call(Misbehaviour::Redirect(elsewhere.clone()))
        .await
        .unwrap();
    assert_eq!(redirect.status(), StatusCode::FOUND);
    assert_eq!(redirect.headers()["location"], elsewhere);

    let garbage = call(Misbehaviour::Garbage).await.unwrap();
    let garbage = garbage.bytes().await.unwrap();
    assert!(std::str::from_utf8(&garbage).is_err());

    let reset = call(Misbehaviour::Reset).await.unwrap();
    assert!(reset.bytes().await.is_err());

    let huge = call(Misbehaviour::Huge(100_000)).await.unwrap();
    let huge = huge.bytes().await.unwrap();
    assert!(huge.len() > 100_000);
    let still_json: Value = serde_json::from_slice(&huge).unwrap();
    assert_eq!(still_json["errcode"], 41002);
}

#[tokio::test]
async fn a_late_answer_has_spent_its_code_whether_or_not_anybody_waits() {
    let wechat = MockWechat::new(Options::default());
    let code = wechat.issue_code(&app(), &alice());
    let late = Misbehaviour::Delay(Duration::from_hours(1));
    let query = format!("appid=wx1&secret=s&js_code={code}&grant_type=authorization_code");
    let call = Call {
        method: http::Method::GET,
        query,
        body: bytes::Bytes::new(),
    };
    let honest = || wechat.jscode2session(&call);
    // A zero deadline polls once: the call is taken, and nobody waits for its answer.
    let answer = tokio::time::timeout(Duration::ZERO, late.answer(honest)).await;
    assert!(answer.is_err());
    let again: Value = serde_json::from_slice(&honest().body).unwrap();
    assert_eq!(again["errcode"], 40163);
}

#[tokio::test]
async fn control_requests_that_make_no_sense_say_why() {
    let served = strict().await;
    for (route, body, status) in [
        ("code", json!({"appid": "wx1"}), StatusCode::BAD_REQUEST),
        (
            "code",
            json!({"appid": "wx1", "user": "a b"}),
            StatusCode::BAD_REQUEST,
        ),
        (
            "code",
            json!({"appid": "", "user": "a"}),
            StatusCode::BAD_REQUEST,
        ),
        (
            "misbehave",
            json!({"times": 1, "with": {"status": 7}}),
            StatusCode::BAD_REQUEST,
        ),
        (
            "code",
            json!({"appid": "a".repeat(65_536)}),
            StatusCode::PAYLOAD_TOO_LARGE,
        ),
        ("calls", json!({}), StatusCode::METHOD_NOT_ALLOWED),
        ("nothing", json!({}), StatusCode::NOT_FOUND),
    ] {
        let (answered, body) = served.post(route, &body).await;
        assert_eq!(answered, status, "{route} {body}");
        assert!(body["error"].is_string(), "{route}");
    }
}

#[tokio::test]
async fn help_and_calls_can_be_read() {
    let served = strict().await;
    served.log_in("wx1", "mock-alice").await;
    let get = async |path: &str| {
        let url = format!("http://{}{path}", served.address);
        let answer = client().get(url).send().await.unwrap();
        answer.text().await.unwrap()
    };
    let calls: Value = serde_json::from_str(&get("/_mock/calls").await).unwrap();
    assert_eq!(calls["/sns/jscode2session"], 1);
    for api in Api::ALL {
        assert_eq!(calls[api.path()], served.wechat.calls_of(api));
    }
    let help = get("/_mock/").await;
    for route in [
        "code",
        "userdata",
        "phone",
        "phone_code",
        "push",
        "push_verify",
        "rotate",
        "invalidate_tokens",
        "misbehave",
        "calls",
    ] {
        assert!(help.contains(&format!("/_mock/{route} ")), "{route}");
    }
    for api in Api::ALL {
        assert!(help.contains(api.path()), "{api:?}");
    }
}
