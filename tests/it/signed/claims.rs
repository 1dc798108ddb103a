//! What an assertion says, and for how long.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use crate::signed::Vectors;
use crate::signed::{Keys, assertion, now, part, signing};
use crate::support::{APPID, Setup, World};

async fn visit(world: &World, token: &str) -> String {
    assert_eq!(world.get("/me").bearer(token).send().await.status, 200);
    assertion(world)
}

#[tokio::test]
async fn an_assertion_says_who_the_user_is_and_nothing_that_opens_anything() {
    let world = signing("").await;
    let token = world.login("alice").await;
    let signed = visit(&world, &token).await;
    let (header, claims) = (part(&signed, 0), part(&signed, 1));
    let kid = Vectors::read().jwks()["keys"][0]["kid"].clone();
    assert_eq!(header, json!({ "alg": "EdDSA", "kid": kid, "typ": "JWT" }));
    let unionid = world.app.last().header("x-wx-unionid").join("");
    let expected = json!({
        "iss": "wxgate", "aud": "shop", "sub": world.openid("alice"), "appid": APPID,
        "unionid": unionid, "sid": claims["sid"], "iat": now(&world), "exp": now(&world) + 60,
    });
    assert_eq!(claims, expected);
    let sid = claims["sid"].as_str().unwrap();
    assert_eq!(sid.len(), 22);
    assert!(!signed.contains("wxg_") && !token.contains(sid), "{claims}");
    for opens in [sid, &signed, &format!("wxg_{sid}{}", &sid[..21])] {
        let answer = world.get("/me").bearer(opens).send().await;
        assert_eq!(answer.status, 401, "{opens}");
    }
}

#[tokio::test]
async fn every_session_has_an_id_of_its_own_and_keeps_it() {
    let world = signing("").await;
    let mut ids = BTreeSet::new();
    for user in ["alice", "alice", "bob"] {
        let token = world.login(user).await;
        let id = part(&visit(&world, &token).await, 1)["sid"].clone();
        world.clock.advance(Duration::from_mins(5));
        let later = part(&visit(&world, &token).await, 1);
        assert_eq!(later["sid"], id);
        assert_eq!(later["sub"], world.openid(user));
        ids.insert(id.to_string());
    }
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn an_assertion_is_sent_again_until_half_of_its_time_is_over() {
    // Of P-256 no two signatures are the same.
    let world = Setup::with(&Keys::new().jwt("previous", "ttl = \"40s\""))
        .start()
        .await;
    let token = world.login("alice").await;
    let first = visit(&world, &token).await;
    world.clock.advance(Duration::from_millis(19_999));
    assert_eq!(visit(&world, &token).await, first);
    world.clock.advance(Duration::from_millis(1));
    let second = visit(&world, &token).await;
    assert_ne!(second, first);
    assert_eq!(part(&second, 1)["exp"], now(&world) + 40);
    // One that seems to be signed in the future would be refused.
    world.clock.set_back(Duration::from_secs(5));
    let third = visit(&world, &token).await;
    assert_eq!(part(&third, 1)["iat"], now(&world));
}

#[tokio::test]
async fn no_session_is_sent_with_the_assertion_of_another_whatever_ended() {
    let world = signing("").await;
    let (alice, bob) = (world.login("alice").await, world.login("bob").await);
    for _ in 0..3 {
        for (user, token) in [("alice", &alice), ("bob", &bob)] {
            let claims = part(&visit(&world, token).await, 1);
            assert_eq!(claims["sub"], world.openid(user));
        }
    }
    let before = world.app.count();
    assert_eq!(
        world.post("/wx/logout").bearer(&alice).send().await.status,
        204
    );
    assert_eq!(world.get("/me").bearer(&alice).send().await.status, 401);
    assert_eq!(world.app.count(), before);
    let anew = world.login("alice").await;
    let claims = part(&visit(&world, &anew).await, 1);
    assert_eq!(claims["sub"], world.openid("alice"));
}

#[tokio::test]
async fn without_an_audience_there_is_no_such_claim() {
    let keys = Keys::new();
    let tables = keys
        .jwt("current", "")
        .replace("audience = \"shop\"\n", "issuer = \"me\"\n");
    let world = Setup::with(&tables).start().await;
    let token = world.login("alice").await;
    let claims = part(&visit(&world, &token).await, 1);
    assert_eq!(claims["iss"], "me");
    assert!(claims.get("aud").is_none(), "{claims}");
}
