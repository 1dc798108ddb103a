//! The simulated APIs that take an access token, over a socket.

use super::*;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::crypto::signature;
use crate::domain::hex::hex;

/// Those that take a token, each with whether it takes POST.
const WITH_TOKEN: [(Api, bool); 7] = [
    (Api::PhoneNumber, true),
    (Api::CheckEncrypted, true),
    (Api::CheckSession, false),
    (Api::ResetSessionKey, false),
    (Api::CheckContent, true),
    (Api::MiniProgramCode, true),
    (Api::SendSubscribed, true),
];

impl Served {
    async fn stable(&self, appid: &str) -> String {
        let asker = json!({"grant_type": "client_credential", "appid": appid, "secret": "s"});
        let answer = self
            .post_to("/cgi-bin/stable_token", asker.to_string())
            .await;
        answer["access_token"].as_str().unwrap().to_owned()
    }

    /// Calls an API with a token, by POST when there is a body.
    async fn with_token(&self, api: Api, query: &[(&str, &str)], body: Option<&Value>) -> Value {
        let url = format!("http://{}{}", self.address, api.path());
        let call = match body {
            None => client().get(url),
            Some(body) => client().post(url).body(body.to_string()),
        };
        let answer = call.query(query).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }

    async fn post_with(&self, token: &str, api: Api, body: &Value) -> Value {
        let query = [("access_token", token)];
        self.with_token(api, &query, Some(body)).await
    }

    /// A call in the name of alice, signed with this session_key.
    async fn signed(&self, token: &str, api: Api, key: &str, method: &str) -> Value {
        let openid = self.wechat.openid_of(&app(), &alice());
        let signature = signature::session(&session_key::parse(key).unwrap(), b"");
        let query = [
            ("access_token", token),
            ("openid", openid.as_str()),
            ("signature", &signature),
            ("sig_method", method),
        ];
        self.with_token(api, &query, None).await
    }
}

#[tokio::test]
async fn a_token_that_is_not_good_has_an_errcode_for_why() {
    let served = strict().await;
    let (expired, invalid) = (served.stable("wx1").await, served.stable("wx2").await);
    served
        .wechat
        .invalidate_tokens(&AppId::parse("wx2").unwrap());
    served.clock.advance(Duration::from_hours(2));
    for (api, post) in WITH_TOKEN {
        let body = json!({});
        let body = post.then_some(&body);
        for (token, errcode) in [
            ("", 41001),
            ("x", 40014),
            (invalid.as_str(), 40001),
            (expired.as_str(), 42001),
        ] {
            let answer = served
                .with_token(api, &[("access_token", token)], body)
                .await;
            assert_eq!(answer["errcode"], errcode, "{api:?}");
        }
        let other_method = if post { None } else { Some(&json!({})) };
        let answer = served.with_token(api, &[], other_method).await;
        let errcode = if post { 43002 } else { 43001 };
        assert_eq!(answer["errcode"], errcode, "{api:?}");
    }
}

#[tokio::test]
async fn a_post_without_json_is_refused() {
    let served = strict().await;
    let token = served.stable("wx1").await;
    for (api, _post) in WITH_TOKEN.into_iter().filter(|(_api, post)| *post) {
        let path = format!("{}?access_token={token}", api.path());
        assert_eq!(served.post_to(&path, "").await["errcode"], 44002, "{api:?}");
        assert_eq!(
            served.post_to(&path, "{").await["errcode"],
            47001,
            "{api:?}"
        );
    }
}

#[tokio::test]
async fn a_phone_code_works_once_for_its_user_and_app() {
    let served = strict().await;
    let token = served.stable("wx1").await;
    let ask =
        async |token: &str, body: Value| served.post_with(token, Api::PhoneNumber, &body).await;
    let new_code = || served.wechat.issue_phone_code(&app(), &alice());
    let openid = served.wechat.openid_of(&app(), &alice());

    let code = new_code();
    let others = served.stable("wx2").await;
    assert_eq!(ask(&others, json!({"code": code})).await["errcode"], 40013);
    let answer = ask(&token, json!({"code": code, "openid": openid.as_str()})).await;
    assert_eq!(answer["errcode"], 0);
    let info = &answer["phone_info"];
    assert_eq!(info["purePhoneNumber"], "13580006666");
    assert_eq!(info["watermark"]["appid"], "wx1");
    assert_eq!(info["watermark"]["timestamp"], NOW.as_secs());
    assert_eq!(ask(&token, json!({"code": code})).await["errcode"], 40029);

    let of_login = served.wechat.issue_code(&app(), &alice());
    assert_eq!(
        ask(&token, json!({"code": of_login})).await["errcode"],
        40029
    );
    assert_eq!(ask(&token, json!({"code": ""})).await["errcode"], 40097);
    let bob = served
        .wechat
        .openid_of(&app(), &UserName::parse("bob").unwrap());
    let not_his = json!({"code": new_code(), "openid": bob.as_str()});
    assert_eq!(ask(&token, not_his).await["errcode"], 40003);
    let (_ok, issued) = served
        .post("phone_code", &json!({"appid": "wx1", "user": "alice"}))
        .await;
    served.clock.advance(Duration::from_mins(5));
    assert_eq!(
        ask(&token, json!({"code": issued["code"]})).await["errcode"],
        40029
    );
}

#[tokio::test]
async fn a_lenient_simulator_takes_unknown_phone_codes_for_the_developer_tools() {
    let served = served(Codes::Lenient, Apps::Any).await;
    let token = served.stable("wx1").await;
    let devtools = served.wechat.openid_of(&app(), &UserName::devtools());
    let body = json!({"code": "e31968a7f94cc5ee", "openid": devtools.as_str()});
    for _ in 0..2 {
        let answer = served.post_with(&token, Api::PhoneNumber, &body).await;
        assert_eq!(answer["errcode"], 0);
    }
}

#[tokio::test]
async fn a_session_key_is_checked_by_its_signature_and_reset_by_the_current_one_only() {
    let served = strict().await;
    let token = served.stable("wx1").await;
    let method = "hmac_sha256";
    let stale = served.wechat.session_key_text_of(&app(), &alice());
    served.wechat.rotate(&app(), &alice());
    let key = served.wechat.session_key_text_of(&app(), &alice());
    for api in [Api::CheckSession, Api::ResetSessionKey] {
        let answer = served.signed(&token, api, &stale, method).await;
        assert_eq!(answer["errcode"], 87009);
        let answer = served.signed(&token, api, &key, "md5").await;
        assert_eq!(answer["errcode"], 87008);
        let others = served.stable("wx2").await;
        let answer = served.signed(&others, api, &key, method).await;
        assert_eq!(answer["errcode"], 40003);
    }
    let checked = served.signed(&token, Api::CheckSession, &key, method).await;
    assert_eq!(checked, json!({"errcode": 0, "errmsg": "ok"}));

    let reset = served
        .signed(&token, Api::ResetSessionKey, &key, method)
        .await;
    assert_eq!(reset["errcode"], 0);
    let openid = served.wechat.openid_of(&app(), &alice());
    assert_eq!(reset["openid"], openid.as_str());
    let next = reset["session_key"].as_str().unwrap();
    assert_ne!(next, key.as_str());
    let old = served.signed(&token, Api::CheckSession, &key, method).await;
    assert_eq!(old["errcode"], 87009);
    let new = served.signed(&token, Api::CheckSession, next, method).await;
    assert_eq!(new["errcode"], 0);
}

#[tokio::test]
async fn what_was_encrypted_here_is_known_by_its_hash_for_three_days() {
    let served = strict().await;
    let sealed = served.wechat.phone(&app(), &alice());
    let of_text = hex(&Sha256::digest(&sealed.encrypted_data));
    let of_bytes = hex(&Sha256::digest(
        STANDARD.decode(&sealed.encrypted_data).unwrap(),
    ));
    let check = async |appid: &str, hash: &str| {
        let token = served.stable(appid).await;
        let body = json!({"encrypted_msg_hash": hash});
        served.post_with(&token, Api::CheckEncrypted, &body).await
    };
    for hash in [&of_text, &of_bytes] {
        let known = check("wx1", hash).await;
        assert_eq!(
            (&known["errcode"], &known["vaild"]),
            (&json!(0), &json!(true))
        );
        assert_eq!(known["create_time"], NOW.as_secs());
        assert_eq!(check("wx2", hash).await["errcode"], 1);
    }
    assert_eq!(check("wx1", &hex(&Sha256::digest("x"))).await["errcode"], 1);
    assert_eq!(check("wx1", "x").await["errcode"], 40097);
    served.clock.advance(Duration::from_hours(72));
    assert_eq!(check("wx1", &of_text).await["errcode"], 1);
}

#[tokio::test]
async fn only_the_documented_text_is_risky_and_a_wrong_check_is_refused() {
    let served = strict().await;
    let token = served.stable("wx1").await;
    served.log_in("wx1", "mock-alice").await;
    let elsewhere = served.log_in("wx2", "mock-alice").await;
    let openid = served.wechat.openid_of(&app(), &alice());
    let good = json!({"content": "hello", "version": 2, "scene": 1, "openid": openid.as_str()});
    let check = async |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        served.post_with(&token, Api::CheckContent, &body).await
    };
    let fine = check("content", json!("hello")).await;
    assert_eq!(fine["result"], json!({"suggest": "pass", "label": 100}));
    let risky = format!("so {} it is", "特3456书yuuo莞6543李zxcz蒜7782法fgnv级");
    let risky = check("content", json!(risky)).await;
    assert_eq!(risky["result"]["suggest"], "risky");
    for (field, value, errcode) in [
        ("content", json!(""), 40097),
        ("content", json!("字".repeat(2501)), 45002),
        ("version", json!(1), 40097),
        ("scene", json!(5), 40129),
        ("openid", json!(null), 40003),
        ("openid", json!("o"), 40003),
        ("openid", json!(elsewhere["openid"]), 43104),
    ] {
        assert_eq!(check(field, value).await["errcode"], errcode, "{field}");
    }
}

#[tokio::test]
async fn a_mini_program_code_is_a_picture_and_a_refusal_is_json() {
    let served = strict().await;
    let token = served.stable("wx1").await;
    let url = format!(
        "http://{}{}?access_token={token}",
        served.address,
        Api::MiniProgramCode.path()
    );
    let call = client().post(url).body(r#"{"scene":"a=1"}"#);
    let picture = call.send().await.unwrap();
    assert_eq!(picture.headers()["content-type"], "image/jpeg");
    let picture = picture.bytes().await.unwrap();
    assert!(picture.starts_with(b"\xff\xd8\xff"));
    for scene in [json!(""), json!(null), json!("a".repeat(33))] {
        let body = json!({"scene": scene});
        let refused = served.post_with(&token, Api::MiniProgramCode, &body).await;
        assert_eq!(refused["errcode"], 40169);
    }
}

#[tokio::test]
async fn a_subscribed_message_comes_back_byte_for_byte() {
    let served = strict().await;
    let token = served.stable("wx1").await;
    let sent = "{ \"touser\" :\"o\",\"data\":{\"a\":\"\\u5f20张\"}}";
    let path = format!("{}?access_token={token}", Api::SendSubscribed.path());
    let answer = served.post_to(&path, sent).await;
    assert_eq!(answer["errcode"], 0);
    assert_eq!(answer["echo"], sent);
}
