//! The simulated token APIs over a socket.

use super::*;

impl Served {
    async fn token(&self, query: &[(&str, &str)]) -> Value {
        let url = format!("http://{}/cgi-bin/token", self.address);
        let answer = client().get(url).query(query).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }

    async fn stable_token(&self, body: impl Into<reqwest::Body>) -> Value {
        self.post_to("/cgi-bin/stable_token", body).await
    }
}

const ASKER: [(&str, &str); 3] = [
    ("grant_type", "client_credential"),
    ("appid", "wx1"),
    ("secret", "secret"),
];

fn asker() -> Value {
    json!({"grant_type": "client_credential", "appid": "wx1", "secret": "secret"})
}

async fn with_one_app() -> Served {
    let secret = AppSecret::new("secret".to_owned());
    served(Codes::Strict, Apps::Only(vec![(app(), secret)])).await
}

#[tokio::test]
async fn whoever_asks_wrongly_for_a_token_is_told_what_is_wrong() {
    let served = with_one_app().await;
    for (field, wrong, errcode) in [
        ("grant_type", "", 40002),
        ("grant_type", "authorization_code", 40002),
        ("appid", "", 41002),
        ("appid", "wx2", 40013),
        ("secret", "", 41004),
        ("secret", "other", 40125),
    ] {
        let mut body = asker();
        body[field] = json!(wrong);
        let stable = served.stable_token(body.to_string()).await;
        assert_eq!(stable["errcode"], errcode, "{field} {wrong}");
        let query = ASKER.map(|(key, value)| (key, if key == field { wrong } else { value }));
        assert_eq!(served.token(&query).await["errcode"], errcode);
    }
    assert_eq!(served.stable_token("").await["errcode"], 44002);
    assert_eq!(served.stable_token("{").await["errcode"], 47001);
    let forced = json!({"force_refresh": "yes"});
    let forced = served.stable_token(forced.to_string()).await;
    assert_eq!(forced["errcode"], 47001);
    let url = format!("http://{}/cgi-bin/stable_token", served.address);
    let got = client().get(url).query(&ASKER).send().await.unwrap();
    assert!(got.text().await.unwrap().contains("43002"));
    let posted = served.post_to("/cgi-bin/token", "").await;
    assert_eq!(posted["errcode"], 43001);
}

#[tokio::test]
async fn a_stable_token_is_the_same_for_all_and_a_plain_one_is_new_each_time() {
    let served = with_one_app().await;
    let first = served.stable_token(asker().to_string()).await;
    served.clock.advance(Duration::from_secs(100));
    let second = served.stable_token(asker().to_string()).await;
    assert_eq!(first["access_token"], second["access_token"]);
    assert_eq!(
        (&first["expires_in"], &second["expires_in"]),
        (&json!(7200), &json!(7100))
    );
    assert!(first["access_token"].as_str().unwrap().len() <= 512);
    let plain = served.token(&ASKER).await;
    assert_eq!(plain["expires_in"], 7200);
    assert_ne!(
        plain["access_token"],
        served.token(&ASKER).await["access_token"]
    );
}

#[tokio::test]
async fn a_forced_refresh_gives_a_new_token_and_an_invalidated_one_is_replaced() {
    let served = with_one_app().await;
    let first = served.stable_token(asker().to_string()).await;
    let mut force = asker();
    force["force_refresh"] = json!(true);
    let forced = served.stable_token(force.to_string()).await;
    assert_ne!(forced["access_token"], first["access_token"]);
    let (status, _none) = served
        .post("invalidate_tokens", &json!({"appid": "wx1"}))
        .await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let next = served.stable_token(asker().to_string()).await;
    assert_ne!(next["access_token"], forced["access_token"]);
    for _ in 1..20 {
        served.clock.advance(Duration::from_secs(30));
        let forced = served.stable_token(force.to_string()).await;
        assert!(forced["access_token"].is_string(), "{forced}");
    }
    served.clock.advance(Duration::from_secs(30));
    let one_too_many = served.stable_token(force.to_string()).await;
    assert_eq!(one_too_many["errcode"], 45009);
}

#[tokio::test]
async fn misbehaviour_and_counts_are_of_one_api() {
    let served = with_one_app().await;
    let order = json!({"times": 1, "api": "/cgi-bin/stable_token", "with": {"errcode": -1}});
    let (status, _none) = served.post("misbehave", &order).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let wechat = &served.wechat;
    wechat.misbehave_at(Api::StableToken, 1, Misbehaviour::Errcode(45011));
    assert!(served.log_in("wx1", "mock-alice").await["openid"].is_string());
    assert!(served.token(&ASKER).await["access_token"].is_string());
    for errcode in [-1, 45011] {
        let failed = served.stable_token(asker().to_string()).await;
        assert_eq!(failed["errcode"], errcode);
    }
    let good = served.stable_token(asker().to_string()).await;
    assert!(good["access_token"].is_string());
    let counts = [Api::Jscode2session, Api::Token, Api::StableToken];
    assert_eq!(counts.map(|api| wechat.calls_of(api)), [1, 1, 3]);

    let order = json!({"times": 1, "api": "/cgi-bin/nothing", "with": {"errcode": -1}});
    let (status, why) = served.post("misbehave", &order).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(why["error"].as_str().unwrap().starts_with("api"));
}
