//! The keys that are published: to whom, and in which words.

use std::path::Path;

use http::Method;
use serde_json::Value;
use wxgate::app::explain::explain;

use crate::signed::{Keys, Vectors};
use crate::support::raw::Answer;
use crate::support::{APPID, SECRET, Setup, World};

const ROUTE: &str = "[paths]\njwks = \"/.well-known/jwks.json\"";
const PATH: &str = "/.well-known/jwks.json";

async fn rotating() -> World {
    let keys = Keys::new();
    let jwt = keys.jwt("current", &keys.beside("previous"));
    Setup::with(&format!("{jwt}{ROUTE}")).start().await
}

fn etag(answer: &Answer) -> String {
    answer.header("etag").unwrap().to_owned()
}

#[tokio::test]
async fn while_keys_change_over_both_are_published_and_only_the_new_one_signs() {
    let world = rotating().await;
    let answer = world.get(PATH).send().await;
    assert_eq!(answer.status, 200);
    assert_eq!(&answer.json(), Vectors::read().jwks());
    assert!(!answer.text().contains("\"d\""), "{answer:?}");
    assert_eq!(
        answer.header("content-type"),
        Some("application/jwk-set+json")
    );
    let token = world.login("alice").await;
    world.get("/me").bearer(&token).send().await;
    let header = crate::signed::part(&crate::signed::assertion(&world), 0);
    assert_eq!(header["kid"], answer.json()["keys"][0]["kid"]);
    assert_eq!(world.app.count(), 1, "the route is the gate's own");
}

#[tokio::test]
async fn at_no_step_of_a_change_signs_a_key_that_was_not_published_the_step_before() {
    let keys = Keys::new();
    let [old, new] = ["current", "previous"];
    let steps = [(old, None), (old, Some(new)), (new, Some(old)), (new, None)];
    let mut published: Option<Value> = None;
    for (signs, beside) in steps {
        let beside = beside.map_or_else(String::new, |name| keys.beside(name));
        let world = Setup::with(&keys.jwt(signs, &beside)).start().await;
        let token = world.login("alice").await;
        world.get("/me").bearer(&token).send().await;
        let kid = crate::signed::part(&crate::signed::assertion(&world), 0)["kid"].clone();
        let now = world.ask_admin("GET", PATH).await.json();
        let has = |set: &Value| {
            let mut set = set["keys"].as_array().unwrap().iter();
            set.any(|key| key["kid"] == kid)
        };
        assert!(has(&now), "{now}");
        assert!(published.is_none_or(|before| has(&before)), "{signs}");
        published = Some(now);
    }
}

#[tokio::test]
async fn keys_are_public_and_may_be_kept() {
    let world = rotating().await;
    let answer = world.get(PATH).bearer("wxg_whatever").send().await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
    let etag = etag(&answer);
    let known = |tags: &str| world.get(PATH).header("If-None-Match", tags).send();
    for tags in [
        etag.clone(),
        format!("W/{etag}"),
        format!("\"x\", {etag}"),
        "*".to_owned(),
    ] {
        let answer = known(&tags).await;
        assert_eq!((answer.status, answer.body.len()), (304, 0), "{tags}");
        assert_eq!(answer.header("etag"), Some(&*etag));
    }
    for tags in ["", "\"x\"", etag.trim_matches('"')] {
        assert_eq!(known(tags).await.status, 200, "{tags}");
    }
}

#[tokio::test]
async fn keys_are_for_reading() {
    let world = rotating().await;
    let head = world.request("HEAD", PATH).send().await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(
        head.header("content-length")
            .is_some_and(|length| length != "0")
    );
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let answer = world.request(method, PATH).send().await;
        answer.is_refused(405, "method_not_allowed", "fix");
        assert_eq!(answer.header("allow"), Some("GET, HEAD"));
    }
}

#[tokio::test]
async fn other_keys_have_another_tag() {
    let keys = Keys::new();
    let alone = format!("{}{ROUTE}", keys.jwt("current", ""));
    let alone = Setup::with(&alone).start().await.get(PATH).send().await;
    let both = rotating().await.get(PATH).send().await;
    assert_ne!(etag(&alone), etag(&both));
}

#[tokio::test]
async fn operators_see_the_keys_on_the_admin_listener_and_nobody_a_route_that_is_off() {
    let world = Setup::with(&Keys::new().jwt("current", "")).start().await;
    let answer = world.ask_admin("GET", PATH).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        Some("application/jwk-set+json")
    );
    assert_eq!(answer.json()["keys"].as_array().map(Vec::len), Some(1));
    assert_eq!(world.ask_admin("HEAD", PATH).await.status, 200);
    assert_eq!(world.ask_admin("POST", PATH).await.status, 405);
    let answer = world.get(PATH).send().await;
    answer.is_refused(401, "session_required", "relogin");
    let unsigned = World::start().await;
    assert_eq!(unsigned.ask_admin("GET", PATH).await.status, 404);
}

#[tokio::test]
async fn the_envelope_of_answers_is_not_put_around_keys() {
    let keys = Keys::new();
    let tables = format!(
        "{}{ROUTE}\n[errors]\nenvelope = \"code-msg-data\"",
        keys.jwt("current", "")
    );
    let answer = Setup::with(&tables).start().await.get(PATH).send().await;
    assert!(
        matches!(answer.json()["keys"], Value::Array(_)),
        "{answer:?}"
    );
}

#[test]
fn what_is_signed_is_told_to_operators_who_ask_what_is_injected() {
    let keys = Keys::new();
    let explained = |tables: &str| {
        let text = format!(
            "[upstream]\nurl = \"http://127.0.0.1:3000\"\n[[apps]]\nappid = \"{APPID}\"\n\
             secret = \"{SECRET}\"\n{tables}"
        );
        let loaded = wxgate::config::parse(&text, Path::new("test.toml"), []).unwrap();
        explain(&loaded.config, &Method::GET, "/me")
    };
    let signed = explained(&keys.tables());
    let plain = explained("");
    for name in ["X-WX-Assertion", "X-WX-Proof"] {
        assert!(signed.contains(name), "{signed}");
        assert!(!plain.contains(name), "{plain}");
    }
}
