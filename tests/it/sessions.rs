//! How sessions end, what a client may know of its own, and what it is told when it has none.

use std::time::Duration;

use serde_json::json;
use wxgate::domain::clock::Clock;

use crate::support::raw::Answer;
use crate::support::{APPID, Setup, World};

/// A token of the right shape that nobody was given.
fn unknown() -> String {
    format!("wxg_{}", "A".repeat(43))
}

/// Checks that a request was refused for its session, and that the client is told how to get one.
#[track_caller]
fn is_unauthorized(answer: &Answer, code: &str) {
    answer.is_refused(401, code, "relogin");
    let challenge = answer.header("www-authenticate").unwrap();
    assert!(challenge.starts_with("Bearer "), "{challenge}");
    let invalid = challenge.contains(r#"error="invalid_token""#);
    assert_eq!(invalid, code == "session_expired", "{challenge}");
    for told in ["log in", "Authorization: Bearer"] {
        assert!(answer.detail().contains(told), "{told}: {answer:?}");
    }
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

impl World {
    /// Checks whether each token is taken, in turn.
    async fn live(&self, tokens: &[&str], live: &[bool]) {
        let mut found = Vec::new();
        for token in tokens {
            let answer = self.get("/me").bearer(token).send().await;
            if answer.status != 200 {
                is_unauthorized(&answer, "session_expired");
            }
            found.push(answer.status == 200);
        }
        assert_eq!(found, live);
    }

    async fn end(&self, method: &str, target: &str, token: &str) {
        let answer = self.request(method, target).bearer(token).send().await;
        assert_eq!(answer.status, 204, "{answer:?}");
        assert!(answer.body.is_empty(), "{answer:?}");
    }
}

#[tokio::test]
async fn who_has_no_session_is_told_how_to_get_one_on_every_route() {
    let world = World::start().await;
    for (method, target) in [
        ("GET", "/me"),
        ("POST", "/anything?x=1"),
        ("GET", "/wx/session"),
        ("DELETE", "/wx/session"),
        ("POST", "/wx/logout"),
        ("POST", "/wx/decrypt"),
        ("POST", "/wx/phone"),
    ] {
        let missing = world.request(method, target).send().await;
        is_unauthorized(&missing, "session_required");
        let other = world
            .request(method, target)
            .header("Authorization", "Basic eDp5");
        is_unauthorized(&other.send().await, "session_required");
        let wrong = world
            .request(method, target)
            .bearer(&unknown())
            .send()
            .await;
        is_unauthorized(&wrong, "session_expired");
    }
    assert_eq!(world.app.count(), 0);
}

#[tokio::test]
async fn what_is_almost_a_token_is_not_one() {
    let world = World::start().await;
    let token = world.login("alice").await;
    let short = &token[..token.len() - 1];
    let last = if token.ends_with('A') { "E" } else { "A" };
    let other = format!("{short}{last}");
    let refused = world.get("/me").bearer(&other).send().await;
    is_unauthorized(&refused, "session_expired");
    // What has not the exact shape belongs to the app server, and is no token.
    for value in [
        format!("Bearer {short}"),
        format!("Bearer {token}A"),
        format!("Bearer {}", token.to_uppercase()),
        format!("Basic {token}"),
        token.clone(),
    ] {
        let request = world.get("/me").header("Authorization", &value);
        is_unauthorized(&request.send().await, "session_required");
    }
    assert_eq!(world.app.count(), 0);
}

#[tokio::test]
async fn a_malformed_token_in_a_place_of_the_gate_is_an_expired_one() {
    let setup = Setup::with("[session]\ntoken_from = [\"header:X-Token\", \"authorization\"]");
    let world = setup.start().await;
    let token = world.login("alice").await;
    for junk in ["junk", "", "undefined", "null", "Bearer", &token[..46]] {
        let answer = world.get("/me").header("X-Token", junk).send().await;
        is_unauthorized(&answer, "session_expired");
    }
    assert_eq!(world.app.count(), 0);
    let answer = world.get("/me").header("X-Token", &token).send().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    world.live(&[&token], &[true]).await;
}

#[tokio::test]
async fn two_different_tokens_are_a_bad_request() {
    let setup = Setup::with("[session]\ntoken_from = [\"header:X-Token\", \"authorization\"]");
    let world = setup.start().await;
    let (one, two) = (world.login("alice").await, world.login("bob").await);
    let request = world.get("/me").header("X-Token", &one).bearer(&two);
    request.send().await.is_refused(400, "bad_request", "fix");
    let request = world
        .get("/me")
        .header("X-Token", &one)
        .header("X-Token", &one);
    request.send().await.is_refused(400, "bad_request", "fix");
    assert_eq!(world.app.count(), 0);
}

#[tokio::test]
async fn a_session_ends_with_its_life_however_much_it_is_used() {
    let world = Setup::with("[session]\nttl = \"2h\"").start().await;
    let token = world.login("alice").await;
    for _ in 0..3 {
        world.clock.advance(Duration::from_mins(30));
        world.live(&[&token], &[true]).await;
    }
    world
        .clock
        .advance(Duration::from_millis(30 * 60 * 1000 - 1));
    world.live(&[&token], &[true]).await;
    world.clock.advance(Duration::from_millis(1));
    world.live(&[&token], &[false]).await;
}

#[tokio::test]
async fn a_session_ends_after_seven_days_when_nothing_is_said() {
    let world = World::start().await;
    let token = world.login("alice").await;
    world.clock.advance(Duration::from_secs(7 * 24 * 3600 - 1));
    world.live(&[&token], &[true]).await;
    world.clock.advance(Duration::from_secs(1));
    world.live(&[&token], &[false]).await;
}

#[tokio::test]
async fn an_idle_session_ends_and_a_used_one_slides_on() {
    let setup = Setup::with("[session]\nttl = \"1d\"\nidle_ttl = \"10m\"");
    let world = setup.start().await;
    let (used, idle) = (world.login("alice").await, world.login("alice").await);
    world.clock.advance(Duration::from_mins(6));
    world.live(&[&used], &[true]).await;
    world.clock.advance(Duration::from_mins(4));
    world.live(&[&used, &idle], &[true, false]).await;
    for _ in 0..10 {
        world.clock.advance(Duration::from_mins(9));
        world.live(&[&used], &[true]).await;
    }
    world.clock.advance(Duration::from_mins(10));
    world.live(&[&used], &[false]).await;
}

#[tokio::test]
async fn a_logout_ends_this_session_and_no_other() {
    let world = World::start().await;
    for (method, target) in [
        ("DELETE", "/wx/session"),
        ("POST", "/wx/logout"),
        ("POST", "/wx/logout?all=false"),
        ("DELETE", "/wx/session?all="),
        ("POST", "/wx/logout?wall=true"),
    ] {
        let mine = world.login("alice").await;
        let (other, bobs) = (world.login("alice").await, world.login("bob").await);
        world.end(method, target, &mine).await;
        world
            .live(&[&mine, &other, &bobs], &[false, true, true])
            .await;
        let again = world.request(method, target).bearer(&mine).send().await;
        is_unauthorized(&again, "session_expired");
    }
}

#[tokio::test]
async fn a_logout_everywhere_ends_all_of_the_users_and_nobody_elses() {
    let world = World::start().await;
    for (method, target) in [
        ("DELETE", "/wx/session?all=true"),
        ("POST", "/wx/logout?x=1&all=true"),
    ] {
        let mine = world.login("alice").await;
        let (other, bobs) = (world.login("alice").await, world.login("bob").await);
        // One that was replaced, and has its minute yet.
        let body = json!({ "code": world.code("alice") });
        let newest = world
            .post("/wx/login")
            .bearer(&other)
            .json(&body)
            .send()
            .await
            .token();
        world
            .live(&[&mine, &other, &newest, &bobs], &[true; 4])
            .await;
        world.end(method, target, &mine).await;
        let expected = [false, false, false, true];
        world
            .live(&[&mine, &other, &newest, &bobs], &expected)
            .await;
        let anew = world.login("alice").await;
        world.live(&[&anew], &[true]).await;
    }
}

#[tokio::test]
async fn over_the_cap_the_oldest_session_of_the_user_goes() {
    let world = Setup::with("[session]\nmax_per_user = 2").start().await;
    let bobs = world.login("bob").await;
    let (one, two) = (world.login("alice").await, world.login("alice").await);
    world.live(&[&one, &two], &[true, true]).await;
    let three = world.login("alice").await;
    world
        .live(&[&one, &two, &three, &bobs], &[false, true, true, true])
        .await;
}

#[tokio::test]
async fn without_a_cap_no_session_goes() {
    let world = Setup::with("[session]\nmax_per_user = 0").start().await;
    let mut tokens = Vec::new();
    for _ in 0..12 {
        tokens.push(world.login("alice").await);
    }
    world.live(&[&tokens[0], &tokens[11]], &[true, true]).await;
}

#[tokio::test]
async fn a_client_may_know_when_its_session_began_and_ends_and_nothing_more() {
    let world = Setup::with("[session]\nttl = \"1h\"").start().await;
    let began = Clock::Held(world.clock.clone()).now().as_secs();
    let token = world.login("alice").await;
    world.clock.advance(Duration::from_mins(10));
    let answer = world.get("/wx/session").bearer(&token).send().await;
    let expected = json!({ "appid": APPID, "expires_in": 3000, "created_at": began });
    assert_eq!(answer.json(), expected);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let body = json!({ "code": world.code("alice") });
    world
        .post("/wx/login")
        .bearer(&token)
        .json(&body)
        .send()
        .await
        .token();
    let replaced = world.get("/wx/session").bearer(&token).send().await;
    assert_eq!(replaced.json()["expires_in"], 60);
}

#[tokio::test]
async fn the_session_routes_take_their_methods_only() {
    let world = World::start().await;
    let token = world.login("alice").await;
    for (method, target, allowed) in [
        ("POST", "/wx/session", "GET, DELETE"),
        ("PUT", "/wx/session", "GET, DELETE"),
        ("GET", "/wx/logout", "POST"),
        ("DELETE", "/wx/logout", "POST"),
    ] {
        let answer = world.request(method, target).bearer(&token).send().await;
        answer.is_refused(405, "method_not_allowed", "fix");
        assert_eq!(answer.header("allow"), Some(allowed), "{method} {target}");
        assert!(answer.detail().contains(allowed), "{answer:?}");
    }
    world.live(&[&token], &[true]).await;
    assert_eq!(world.app.count(), 1);
}

#[tokio::test]
async fn a_full_store_refuses_no_login_and_lets_the_least_used_go() {
    let world = Setup::with("[store]\nmax_sessions = 4").start().await;
    let first = world.login("first").await;
    let mut last = String::new();
    for number in 0..300 {
        last = world.login(&format!("user-{number}")).await;
        let answer = world.get("/me").bearer(&last).send().await;
        assert_eq!(answer.status, 200, "login {number}: {answer:?}");
    }
    world.live(&[&first, &last], &[false, true]).await;
}
